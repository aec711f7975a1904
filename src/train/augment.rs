use crate::image::{Pixels, Preprocess, Resize};
use crate::random::Random;

/// How a picture that is trained on becomes pixels: as it will be served, unless it is mirrored or cut out at random.
#[derive(Clone, Debug)]
pub struct Augment {
    /// Up to the crop.
    preprocess: Preprocess,
    side: usize,
    flip: bool,
}

impl Augment {
    /// Pictures of the size that `preprocess` gives. For a random crop they are resized to what it says before its own
    /// crop, or larger by 8/7 where it has none.
    pub fn new(preprocess: &Preprocess, flip: bool, random_crop: bool) -> Self {
        let side = preprocess.final_size();
        let mut preprocess = preprocess.clone();
        if random_crop {
            preprocess.size = if preprocess.crop.is_some() { preprocess.size } else { side.saturating_mul(8) / 7 };
            preprocess.crop = None;
            // The window is cut out of a square.
            preprocess.resize = if preprocess.resize == Resize::Pad { Resize::Pad } else { Resize::Squash };
        }
        Self { preprocess, side, flip }
    }

    /// Whether equal pictures always give equal pixels.
    pub fn is_constant(&self) -> bool {
        !self.flip && self.preprocess.final_size() == self.side
    }

    /// What a picture is prepared with before [`Self::apply`].
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Mirrored and cut out as `random` says.
    pub fn apply(&self, pixels: &Pixels, random: &mut Random) -> Pixels {
        let Pixels::U8 { height, width, data } = pixels else { return pixels.clone() };
        let top = random.below(height - self.side + 1);
        let left = random.below(width - self.side + 1);
        let mirrored = self.flip && random.below(2) == 1;
        if self.side == *height && !mirrored {
            return pixels.clone();
        }
        let mut out = Vec::with_capacity(self.side * self.side * 3);
        for row in data.chunks_exact(width * 3).skip(top).take(self.side) {
            let row = &row.as_chunks::<3>().0[left..left + self.side];
            match mirrored {
                false => row.iter().for_each(|pixel| out.extend_from_slice(pixel)),
                true => row.iter().rev().for_each(|pixel| out.extend_from_slice(pixel)),
            }
        }
        Pixels::U8 { height: self.side, width: self.side, data: out.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::import::Preset;
    use crate::image::{DecodeLimits, decode};

    fn prepared(preprocess: &Preprocess) -> Pixels {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/preprocess/images/cat.png");
        let picture = decode(&std::fs::read(path).expect("committed"), &DecodeLimits::default()).expect("a picture");
        picture.pixels(preprocess).expect("pixels")
    }

    fn augmented(augment: &Augment, seed: u64) -> Pixels {
        augment.apply(&prepared(augment.preprocess()), &mut Random::seeded(seed))
    }

    fn rows(pixels: &Pixels) -> Vec<Vec<[u8; 3]>> {
        let Pixels::U8 { width, data, .. } = pixels else { panic!("bytes") };
        data.chunks_exact(width * 3).map(|row| row.as_chunks::<3>().0.to_vec()).collect()
    }

    #[test]
    fn without_augmentation_pixels_are_those_of_serving() {
        for preset in [Preset::Vtab, Preset::Timm] {
            let preprocess = preset.at(56);
            let augment = Augment::new(&preprocess, false, false);
            assert_eq!(augmented(&augment, 1), prepared(&preprocess));
            assert!(augment.is_constant());
        }
    }

    #[test]
    fn half_of_the_pictures_are_mirrored() {
        let preprocess = Preset::Vtab.at(28);
        let plain = rows(&prepared(&preprocess));
        let mirrored: Vec<Vec<[u8; 3]>> = plain.iter().map(|row| row.iter().rev().copied().collect()).collect();
        let augment = Augment::new(&preprocess, true, false);
        let count = (0..200)
            .filter(|&seed| {
                let found = rows(&augmented(&augment, seed));
                assert!(found == plain || found == mirrored);
                found == mirrored
            })
            .count();
        assert!((70..130).contains(&count), "{count}");
    }

    #[test]
    fn a_random_crop_is_a_window_of_the_larger_picture() {
        let preprocess = Preset::Fgvc.at(28);
        let large = rows(&prepared(&Preprocess { crop: None, ..preprocess.clone() }));
        let augment = Augment::new(&preprocess, false, true);
        assert!(!augment.is_constant());
        let mut corners = Vec::new();
        for seed in 0..50 {
            let found = rows(&augmented(&augment, seed));
            let at = |top: usize, left: usize| (0..28).all(|y| found[y] == large[top + y][left..left + 28]);
            let corner = (0..25).map(|i| (i / 5, i % 5)).find(|&(top, left)| at(top, left));
            corners.push(corner.expect("a window"));
        }
        corners.sort_unstable();
        corners.dedup();
        assert!(corners.len() > 15, "{corners:?}");
    }
}
