//! The frozen ViT: its shape, its canonical weights, and the fingerprint that identifies both.
//!
//! Canonical form: LayerScale is folded into `proj` and `fc2`, q, k and v are three linears, prefix tokens (CLS, then
//! registers) carry their position rows, the position table is kept as stored. Tensor names and shapes are those of
//! [`Weights`].
#![forbid(unsafe_code)]

mod architecture;
mod canonical;
mod config;
mod error;
mod fingerprint;
mod inventory;
mod load;
mod names;
mod npy;
mod plan;
mod positions;
mod random;
mod report;
mod shape;
mod source;
mod weights;
mod write;

pub use error::{BackboneError, BackboneProblem};
pub use fingerprint::fingerprint;
pub use load::{Files, LoadOptions, Loaded, from_bytes, load};
pub use positions::PositionTables;
pub use random::random;
pub use report::{Ignored, LoadReport};
pub use shape::{Activation, Shape};
pub use weights::{Linear, Norm, Tensor, Weights};
pub use write::{CheckpointNames, checkpoint_tensors};

use serde::{Deserialize, Serialize};

/// `sha256:` + 64 hex digits over shape and canonical weights; one set of weights has one fingerprint in every
/// checkpoint format. The exact bytes hashed are specified in adapters/README.md.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a position table is resampled when the picture's grid is not the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionRule {
    /// Bicubic, a = -0.75, by target size, no antialias: Hugging Face ViT and DINOv2.
    BicubicSize,
    /// Bicubic, a = -0.5, antialiased: timm, and DINOv2 with registers.
    BicubicAntialias,
    /// Bicubic, a = -0.75, scale factor (grid + 0.1) / stored: the original DINOv2 repository.
    BicubicOffset,
    /// Bilinear with corners aligned: Google's checkpoints (scipy zoom, order 1).
    BilinearCorners,
}

impl PositionRule {
    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::BicubicSize => "bicubic_size",
            Self::BicubicAntialias => "bicubic_antialias",
            Self::BicubicOffset => "bicubic_offset",
            Self::BilinearCorners => "bilinear_corners",
        }
    }
}

/// A backbone as it was loaded: everything about it except the weights, which move into an engine.
#[derive(Clone, Debug)]
pub struct Backbone {
    /// Sizes of the network.
    pub shape: Shape,
    /// Identity of shape and weights.
    pub fingerprint: Fingerprint,
    /// Rows and columns of the stored position table.
    pub stored_grid: (usize, usize),
    /// Picture side in pixels that the checkpoint was made for (not part of the fingerprint).
    pub image_size: usize,
    /// What the checkpoint's own code does when the grid differs.
    pub position_rule: PositionRule,
    /// The rows `[grid_h * grid_w, width]` of the stored position table, row-major by grid row.
    pub position_table: std::sync::Arc<[f32]>,
}
