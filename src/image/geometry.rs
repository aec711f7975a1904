use std::ops::Range;

use super::error::ImageError;
use super::preprocess::{Preprocess, Resize};

/// One direction of a resize: which part of the full result is wanted, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Pixels of the source.
    pub input: usize,
    /// Pixels of the whole resized picture.
    pub output: usize,
    /// The part of it that the crop shows.
    pub window: Range<usize>,
    /// Where the window begins in the final picture; not 0 only for a padded one.
    pub offset: usize,
}

/// What to compute for one picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub horizontal: Axis,
    pub vertical: Axis,
    /// Which pass comes first; its result is rounded to bytes, so the order shows in the values.
    pub vertical_first: bool,
    /// Side of the final picture.
    pub side: usize,
}

/// The resize and the centre crop as torchvision computes them, reduced to the window that remains.
pub(super) fn plan((width, height): (usize, usize), preprocess: &Preprocess) -> Result<Plan, ImageError> {
    preprocess.check_sizes()?;
    let (size, side) = (preprocess.size, preprocess.final_size());
    let (resized_width, resized_height) = resized((width, height), preprocess.resize, size);
    let axis = |input, output| match preprocess.resize {
        Resize::Pad => padded(input, output, size, side),
        Resize::Squash | Resize::ShortEdge => {
            let start = crop_start(output, side);
            Axis { input, output, window: start..start + side, offset: 0 }
        }
    };
    let (horizontal, vertical) = (axis(width, resized_width), axis(height, resized_height));
    let vertical_first = vertical_first(&horizontal, &vertical);
    Ok(Plan { horizontal, vertical, vertical_first, side })
}

/// Pillow 13's rule: the vertical pass comes first when it takes away more than twice the lines that the horizontal
/// one takes. (Before 13 it never came first.)
fn vertical_first(horizontal: &Axis, vertical: &Axis) -> bool {
    let shrinks = |axis: &Axis| axis.input as i64 - axis.output as i64;
    shrinks(vertical) > 0 && shrinks(vertical) > 2 * shrinks(horizontal)
}

/// Size of the whole resized picture. Long and short edges follow torchvision: `int(size * other / this)`; a pad's
/// short edge keeps at least one pixel.
fn resized((width, height): (usize, usize), resize: Resize, size: usize) -> (usize, usize) {
    let scaled = |other: usize, this: usize| (size * other / this).max(1);
    match (resize, width <= height) {
        (Resize::Squash, _) => (size, size),
        (Resize::ShortEdge, true) | (Resize::Pad, false) => (size, scaled(height, width)),
        (Resize::ShortEdge, false) | (Resize::Pad, true) => (scaled(width, height), size),
    }
}

/// torchvision's `int(round((length - crop) / 2.0))`: Python rounds halves to even.
fn crop_start(length: usize, crop: usize) -> usize {
    let twice = length - crop;
    let half = twice / 2;
    half + (twice % 2) * (half % 2)
}

/// `output` pixels centred in `size` (the odd one goes right), seen through a centred crop of `side`.
fn padded(input: usize, output: usize, size: usize, side: usize) -> Axis {
    let picture = (size - output) / 2;
    let crop = crop_start(size, side);
    let first = crop.clamp(picture, picture + output);
    let last = (crop + side).clamp(picture, picture + output);
    Axis { input, output, window: first - picture..last - picture, offset: (first - crop.min(first)).min(side) }
}

#[cfg(test)]
mod tests {
    use super::super::preprocess::tests::plain;
    use super::*;

    fn windows(size: (usize, usize), preprocess: &Preprocess) -> [(usize, Range<usize>, usize); 2] {
        let plan = plan(size, preprocess).unwrap();
        [plan.horizontal, plan.vertical].map(|axis| (axis.output, axis.window, axis.offset))
    }

    #[test]
    fn short_edge_and_crop_are_torchvisions() {
        let prep = |size, crop| Preprocess { crop: Some(crop), ..plain(Resize::ShortEdge, size) };
        // 248 * 640 / 427 = 371.7; (371 - 224) / 2 = 73.5 rounds to the even 74.
        assert_eq!(windows((640, 427), &prep(248, 224)), [(371, 74..298, 0), (248, 12..236, 0)]);
        assert_eq!(windows((427, 640), &prep(248, 224)), [(248, 12..236, 0), (371, 74..298, 0)]);
        // (373 - 224) / 2 = 74.5 rounds to the even 74.
        assert_eq!(crop_start(373, 224), 74);
        assert_eq!(crop_start(371, 224), 74);
        assert_eq!(windows((1, 16_384), &prep(256, 224))[1], (4_194_304, 2_097_040..2_097_264, 0));
    }

    #[test]
    fn pad_is_centred_and_cropped() {
        let pad = |size, crop| Preprocess { crop, pad_color: Some([0; 3]), ..plain(Resize::Pad, size) };
        assert_eq!(windows((640, 320), &pad(224, None)), [(224, 0..224, 0), (112, 0..112, 56)]);
        assert_eq!(windows((640, 320), &pad(224, Some(100))), [(224, 62..162, 0), (112, 6..106, 0)]);
        assert_eq!(windows((1, 1000), &pad(7, None)), [(1, 0..1, 3), (7, 0..7, 0)]);
        // The picture is column 1 of four and the crop is column 2: only padding is left.
        assert!(windows((1, 1000), &pad(4, Some(1)))[0].1.is_empty());
    }
}
