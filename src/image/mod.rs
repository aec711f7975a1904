//! Picture bytes to pixels: decode with limits first, then what the adapter's [`Preprocess`] says.

mod pixels;
mod preprocess;

pub use pixels::Pixels;
pub use preprocess::{Alpha, Depth16, Exif, Interpolation, Preprocess, Resize};
