//! Seeded random numbers: the same on every machine, for tests and benchmarks. Never for secrets.

/// Steele, Lea and Flood's splitmix64 (OOPSLA 2014).
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// That many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.bits().to_le_bytes()[7]).collect()
    }

    /// Uniform values, at most `spread` away from `center`.
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit an f32")]
    pub fn values(&mut self, count: usize, center: f32, spread: f32) -> Vec<f32> {
        let mut unit = || (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (0..count).map(|_| center + spread * unit()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_authors_first_numbers() {
        let mut random = Random::seeded(1_234_567);
        assert_eq!([random.bits(), random.bits()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn values_stay_in_their_range() {
        let values = Random::seeded(1).values(10_000, 2.0, 0.5);
        assert!(values.iter().all(|v| (1.5..=2.5).contains(v)));
        let mean = values.iter().sum::<f32>() / 10_000.0;
        assert!((mean - 2.0).abs() < 0.02, "{mean}");
    }
}
