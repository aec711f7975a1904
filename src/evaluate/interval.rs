use serde::Serialize;

use super::{ratio, real};

/// A share of pictures, with the interval that holds the true share in 95 of 100 such samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Pictures of which it is true.
    pub part: usize,
    /// Pictures.
    pub all: usize,
    /// Part of all; none of nothing.
    pub value: Option<f64>,
    /// Lower and upper end; 0 and 1 of nothing.
    pub interval: (f64, f64),
}

impl Share {
    /// `part` of `all`.
    pub fn of(part: usize, all: usize) -> Self {
        Self { part, all, value: ratio(part, all), interval: wilson(part, all) }
    }
}

/// The 97.5 % point of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's score interval (1927) at 95 %; it is inside [0, 1] and not empty where the share is 0 or 1.
pub fn wilson(part: usize, all: usize) -> (f64, f64) {
    let Some(p) = ratio(part, all) else { return (0.0, 1.0) };
    let (n, z2) = (real(all), Z * Z);
    let center = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    ((center - half).max(0.0), (center + half).min(1.0))
}
