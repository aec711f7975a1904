use crate::random::Random;

/// Bytes of a BMP's two headers.
const HEADERS: usize = 14 + 40;

/// A BMP of random colours (BITMAPINFOHEADER, 24 bits): it needs no encoder and costs the server no decoder, so that
/// what is measured is everything else.
pub fn picture((width, height): (u16, u16)) -> Vec<u8> {
    let row_bytes = (3 * usize::from(width)).next_multiple_of(4);
    let pixels = Random::seeded(1).bytes(row_bytes * usize::from(height));
    let mut file = b"BM".to_vec();
    let mut word = |value: usize| file.extend((value as u32).to_le_bytes());
    [HEADERS + pixels.len(), 0, HEADERS, 40, width.into(), height.into()].into_iter().for_each(&mut word);
    // One plane of 24 bits, as two half words.
    word(1 | 24 << 16);
    [0, pixels.len(), 0, 0, 0, 0].into_iter().for_each(&mut word);
    file.extend(pixels);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{DecodeLimits, Preset, decode};

    #[test]
    fn it_is_a_picture_of_its_size() {
        let picture = decode(&picture((30, 20)), &DecodeLimits::default()).expect("a picture");
        let original = Preset::Vtab.at(20);
        assert_eq!(picture.pixels(&original).expect("resized").size(), (20, 20));
    }
}
