/// Probe pictures `[count, side, side, 3]`: smooth waves of another direction in each channel, with noise that grows
/// from picture to picture. The same arguments give the same bytes on every machine.
pub fn probe_pictures(count: usize, side: usize) -> Vec<u8> {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut pixels = Vec::with_capacity(count * side * side * 3);
    for picture in 0..count {
        let amplitude = (picture * 64 + 16).min(255);
        for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
            let waves = [x + picture * y, y + 2 * picture * x, x + y];
            pixels.extend(waves.map(|phase| {
                let smooth = triangle(phase * 512 / side.max(1));
                let noise = noise.next() * amplitude / 256;
                u8::try_from(smooth * (256 - amplitude) / 256 + noise).unwrap_or(u8::MAX)
            }));
        }
    }
    pixels
}

/// 0 … 255 … 0 over 512 steps.
fn triangle(phase: usize) -> usize {
    let phase = phase % 512;
    if phase < 256 { phase } else { 511 - phase }
}

/// xorshift64*, one byte at a time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::from((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_the_same_every_time_and_differ_from_each_other() {
        let pixels = probe_pictures(4, 16);
        assert_eq!(pixels, probe_pictures(4, 16));
        let hash = "sha256:0f8489ea43cbbec7676e99908dc6c628cca958fb22b3d35e6484128a2861e157";
        assert_eq!(crate::hash::content_hash(&pixels), hash, "files would change");
        let pictures: Vec<_> = pixels.chunks_exact(16 * 16 * 3).collect();
        assert!((1..4).all(|i| pictures[i] != pictures[i - 1]));
        assert!(pictures.iter().all(|p| p.iter().max() > Some(&200) && p.iter().min() < Some(&50)));
    }
}
