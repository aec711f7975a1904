//! What an engine's matrices are made of.

use std::str::FromStr;

use crate::word::word;

/// Precision of matrix operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits: 8 of exponent, 7 of fraction.
    Bf16,
    /// 16 bits: 5 of exponent, 10 of fraction. Of the onnx engine only.
    F16,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::F16];

    /// Its name on the command line, in tables and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// How far a probe's logits may be from the oracle's.
    pub fn tolerance(self) -> f32 {
        match self {
            Self::F32 => 1e-3,
            Self::Bf16 | Self::F16 => 5e-2,
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        word(name, &Self::ALL.map(|precision| (precision.name(), precision)))
    }
}
