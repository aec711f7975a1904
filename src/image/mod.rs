//! Picture bytes to pixels: decode with limits first, then what the adapter's [`Preprocess`] says.
//!
//! A [`Picture`] keeps the channels and the depth of its file, so that one decoding serves adapters of different
//! habits; [`Picture::pixels`] is Pillow's `convert("RGB")`, resize and crop, value for value.

mod band;
mod check;
mod decode;
mod error;
mod filter;
mod geometry;
mod gif;
mod jpeg;
mod kernels;
mod limits;
mod name;
mod orientation;
mod picture;
mod pixels;
mod preprocess;
mod presets;
mod resample;
mod sniff;
mod webp;

pub use check::{PreprocessFault, SIZE_MAX};
pub use decode::decode;
pub use error::{Format, ImageError};
pub use limits::DecodeLimits;
pub use name::is_picture_name;
pub use picture::Picture;
pub use pixels::Pixels;
pub use preprocess::{Alpha, Depth16, Exif, Interpolation, Preprocess, Resize};
pub use presets::{Preset, UnknownPreset};
