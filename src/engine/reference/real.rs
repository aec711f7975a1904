use ndarray::NdFloat;

/// The precisions in which the oracle can compute.
pub trait Real: NdFloat {
    /// Its name in tables and metrics.
    const PRECISION: &'static str;
    /// Rounds to this precision.
    fn of(value: f64) -> Self;
    /// Widens.
    fn f64(self) -> f64;
    /// Rounds to f32, in which features leave an engine.
    fn f32(self) -> f32;
}

impl Real for f32 {
    const PRECISION: &'static str = "f32";

    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is asked for")]
    fn of(value: f64) -> Self {
        value as Self
    }

    fn f64(self) -> f64 {
        f64::from(self)
    }

    fn f32(self) -> f32 {
        self
    }
}

impl Real for f64 {
    const PRECISION: &'static str = "f64";

    fn of(value: f64) -> Self {
        value
    }

    fn f64(self) -> f64 {
        self
    }

    #[expect(clippy::cast_possible_truncation, reason = "rounding is what is asked for")]
    fn f32(self) -> f32 {
        self as f32
    }
}
