use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// The learning rate of the first epoch, from which warm-up starts.
const START: f64 = 1e-7;
/// The learning rate at which the cosine ends and cool-down stays.
const FLOOR: f64 = 1e-8;

/// The learning rate by epoch: linear warm-up, then a cosine counted from epoch 0, then cool-down at the floor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Epochs of warm-up and cosine.
    pub epochs: usize,
    /// Epochs of the linear warm-up.
    pub warmup_epochs: usize,
    /// Epochs at the floor after the others.
    pub cooldown_epochs: usize,
    /// Whether the first epoch's rate is used twice, as in the code of RLRR, whose schedule is advanced one epoch late.
    pub late: bool,
}

impl Schedule {
    /// Epochs in all.
    pub fn total(&self) -> usize {
        self.epochs + self.cooldown_epochs
    }

    /// The rate of an epoch for a peak of `rate`.
    #[expect(clippy::cast_precision_loss, reason = "epochs are far fewer than 2^52")]
    pub fn rate(&self, epoch: usize, rate: f64) -> f64 {
        let epoch = if self.late { epoch.saturating_sub(1) } else { epoch };
        if epoch < self.warmup_epochs {
            START + (rate - START) * epoch as f64 / self.warmup_epochs as f64
        } else if epoch < self.epochs {
            FLOOR + 0.5 * (rate - FLOOR) * (1.0 + (PI * epoch as f64 / self.epochs as f64).cos())
        } else {
            FLOOR
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: &Schedule, rate: f64) -> Vec<f64> {
        (0..schedule.total()).map(|epoch| schedule.rate(epoch, rate)).collect()
    }

    #[test]
    fn the_published_schedule() {
        let rates = rates(&Schedule { epochs: 100, warmup_epochs: 10, cooldown_epochs: 10, late: true }, 1e-3);
        assert_eq!(rates.len(), 110);
        assert_eq!(rates[..2], [1e-7, 1e-7]);
        let peak = rates.iter().copied().fold(0.0, f64::max);
        assert_eq!(rates[11], peak);
        assert!((peak / 1e-3 - 0.976).abs() < 1e-3, "{peak}");
        assert!(rates[101..].iter().all(|&rate| rate == FLOOR));
    }

    #[test]
    fn the_schedule_of_the_reference() {
        let rates = rates(&Schedule { epochs: 20, warmup_epochs: 2, cooldown_epochs: 0, late: false }, 3e-3);
        let cosine = |epoch: f64| 1.5e-3 * (1.0 + (PI * epoch / 20.0).cos());
        let expected = [1e-7, 1.5e-3, cosine(2.0), cosine(3.0)];
        assert!(rates.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-7), "{rates:?}");
        assert!((rates[19] - cosine(19.0)).abs() < 1e-7);
    }
}
