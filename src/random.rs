//! Seeded random numbers for training, tests and benchmarks: the same for the same seed. Never for secrets.

/// Steele, Lea and Flood's splitmix64 (OOPSLA 2014).
pub struct Random(u64);

/// The step between two states.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Splitmix64's output function: every input bit changes about half of the output's.
pub fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One key from several counters; their order counts.
pub fn key(counters: &[u64]) -> u64 {
    counters.iter().fold(0, |key, &counter| mix(key.wrapping_add(GOLDEN) ^ mix(counter.wrapping_add(GOLDEN))))
}

/// A standard normal value from 64 random bits (Box and Muller 1958); at most 6.7 in magnitude.
#[expect(clippy::cast_precision_loss, reason = "32 bits fit an f64")]
pub fn normal(bits: u64) -> f64 {
    const UNIT: f64 = 1.0 / (1u64 << 32) as f64;
    let (radius, turn) = ((bits >> 32) as f64 + 1.0, (bits & 0xffff_ffff) as f64);
    (-2.0 * (radius * UNIT).ln()).sqrt() * (std::f64::consts::TAU * turn * UNIT).cos()
}

impl Random {
    /// The numbers of this seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
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

    /// Values of a normal distribution.
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what is asked for")]
    pub fn normals(&mut self, count: usize, mean: f32, deviation: f32) -> Vec<f32> {
        (0..count).map(|_| mean + deviation * normal(self.bits()) as f32).collect()
    }

    /// A whole number below `end` (Lemire's multiplication; its bias is below end / 2^64).
    ///
    /// # Panics
    /// When there is none.
    #[expect(clippy::cast_possible_truncation, reason = "the high half of the product is below `end`")]
    pub fn below(&mut self, end: usize) -> usize {
        assert!(end > 0, "no number is below 0");
        ((u128::from(self.bits()) * end as u128) >> 64) as usize
    }

    /// Puts the items into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
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

    #[test]
    fn normals_have_their_mean_and_deviation() {
        let values = Random::seeded(1).normals(100_000, 1.0, 0.5);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 1e5;
        let deviation = (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / 1e5).sqrt();
        assert!((mean - 1.0).abs() < 0.01 && (deviation - 0.5).abs() < 0.01, "{mean} {deviation}");
        assert!([0, u64::MAX].iter().all(|&bits| normal(bits).is_finite()));
    }

    #[test]
    fn a_shuffle_is_a_permutation_and_any_item_can_be_first() {
        let mut firsts = [0; 5];
        for seed in 0..500 {
            let mut items = [0, 1, 2, 3, 4];
            Random::seeded(seed).shuffle(&mut items);
            firsts[items[0]] += 1;
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3, 4]);
        }
        assert!(firsts.iter().all(|&n| n > 60), "{firsts:?}");
    }

    #[test]
    fn keys_depend_on_every_counter_and_their_order() {
        let keys = [key(&[1, 2]), key(&[2, 1]), key(&[1, 2, 0]), key(&[1]), key(&[0, 1])];
        assert!((0..keys.len()).all(|i| !keys[..i].contains(&keys[i])), "{keys:?}");
    }
}
