use serde::{Deserialize, Serialize};

/// PACE's rule (NeurIPS 2024), applied to RLRR: the adapter's part of every linear is multiplied by noise, and logits of
/// the same picture under different noise are drawn together: loss + λ · mean over pictures of Σ over classes of their
/// squared difference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consistency {
    /// With which other logits.
    pub mode: Mode,
    /// How much the difference counts.
    pub lambda: f32,
    /// Standard deviation of the noise in block 1, where it is largest.
    pub sigma: f32,
}

/// What a picture's noisy logits are drawn towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Those of a second noisy pass, drawn towards the first ones as well: twice the time.
    Full,
    /// Those that the picture had in the previous epoch: no extra time.
    Fast,
}

impl Consistency {
    /// In that mode, as much as was best on validation splits of two tasks (docs/accuracy.md): more of it, σ = 0.5 and
    /// λ = 0.1, did better yet on natural pictures and much worse at counting.
    pub fn of(mode: Mode) -> Self {
        Self { mode, lambda: 0.02, sigma: 0.25 }
    }

    /// Both numbers are positive.
    pub fn is_valid(&self) -> bool {
        [self.lambda, self.sigma].iter().all(|&value| value > 0.0 && value.is_finite())
    }

    /// Deviation of the noise per block: none in block 0, sigma in block 1, falling evenly to sigma / depth in the last.
    #[expect(clippy::cast_precision_loss, reason = "blocks are far fewer than 2^24")]
    pub fn noise_by_block(&self, depth: usize) -> Vec<f32> {
        let last = 1.0 / depth as f32;
        let steps = depth.saturating_sub(2).max(1) as f32;
        let fall = |block: usize| 1.0 - (1.0 - last) * (block - 1) as f32 / steps;
        (0..depth).map(|block| if block == 0 { 0.0 } else { self.sigma * fall(block) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_falls_from_the_second_block_to_the_last() {
        let consistency = Consistency { mode: Mode::Fast, lambda: 1.0, sigma: 0.6 };
        let noise = consistency.noise_by_block(4);
        let expected = [0.0, 0.6, 0.6 * 0.625, 0.15];
        assert!(noise.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{noise:?}");
        assert_eq!(consistency.noise_by_block(2), [0.0, 0.6]);
        assert_eq!(consistency.noise_by_block(1), [0.0]);
    }
}
