use std::ops::Range;

use super::geometry::Axis;
use super::preprocess::Interpolation;

/// Fraction bits of the fixed-point weights: 8 bits of sample and 2 of headroom leave 22 of 32 (Pillow's
/// `PRECISION_BITS`).
pub(super) const FRACTION_BITS: u32 = 32 - 8 - 2;

/// One half, which a fixed-point sum begins with.
pub(super) const HALF: i32 = 1 << (FRACTION_BITS - 1);

/// Taps that a vector kernel takes at once.
pub(super) const GROUP: usize = 4;

/// Low bits of a weight that is split into two 16-bit factors.
pub(super) const SPLIT: u32 = 11;

/// The weights of [`GROUP`] taps, `high * 2^SPLIT + low`: the high parts, then the low ones.
pub(super) type Group = [i16; 2 * GROUP];

/// For each wanted output pixel, the source pixels that make it and their weights.
pub(super) struct Taps {
    outputs: Vec<Output>,
    weights: Vec<i32>,
    /// The same, split and in groups; the last group of an output is filled up with zeros.
    groups: Vec<Group>,
}

/// One output pixel: its first source pixel, and where its weights are.
struct Output {
    first: usize,
    weights: Range<usize>,
    groups: Range<usize>,
}

impl Taps {
    /// The window's taps, computed as Pillow's `precompute_coeffs` does, in f64. Without `antialias` the filter keeps
    /// its width when shrinking, and samples the source around the same centres. Firsts never decrease.
    pub(super) fn new(axis: &Axis, filter: Filter, antialias: bool) -> Self {
        let scale = axis.input as f64 / axis.output as f64;
        let stretch = if antialias { scale.max(1.0) } else { 1.0 };
        let reach = filter.support() * stretch;
        let mut taps = Self { outputs: Vec::with_capacity(axis.window.len()), weights: vec![], groups: vec![] };
        if axis.input == axis.output {
            axis.window.clone().for_each(|output| taps.push(output, &[1.0]));
            return taps;
        }
        let (mut exact, squeeze) = (Vec::new(), 1.0 / stretch);
        for output in axis.window.clone() {
            let center = (output as f64 + 0.5) * scale;
            let first = (center - reach + 0.5).max(0.0) as usize;
            let end = ((center + reach + 0.5) as usize).min(axis.input);
            exact.clear();
            exact.extend((first..end).map(|at| filter.weight((at as f64 - center + 0.5) * squeeze)));
            taps.push(first, &exact);
        }
        taps
    }

    fn push(&mut self, first: usize, exact: &[f64]) {
        let sum: f64 = exact.iter().sum();
        let (weights, groups) = (self.weights.len(), self.groups.len());
        self.weights.extend(exact.iter().map(|weight| fixed(weight / sum)));
        self.groups.extend(self.weights[weights..].chunks(GROUP).map(split));
        let (weights, groups) = (weights..self.weights.len(), groups..self.groups.len());
        self.outputs.push(Output { first, weights, groups });
    }

    /// First source pixel and weights of each output pixel, in order.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (usize, &[i32])> {
        self.outputs.iter().map(|output| (output.first, &self.weights[output.weights.clone()]))
    }

    /// First source pixel and grouped weights of each output pixel, in order.
    pub(super) fn groups(&self) -> impl ExactSizeIterator<Item = (usize, &[Group])> {
        self.outputs.iter().map(|output| (output.first, &self.groups[output.groups.clone()]))
    }

    /// The source pixels that are read at all.
    pub(super) fn span(&self) -> Range<usize> {
        let first = self.iter().map(|(first, _)| first).min().unwrap_or(0);
        let end = self.iter().map(|(first, weights)| first + weights.len()).max().unwrap_or(0);
        first..end
    }

    /// The same taps for a source that begins at pixel `start` of this one.
    pub(super) fn from(mut self, start: usize) -> Self {
        self.outputs.iter_mut().for_each(|output| output.first -= start);
        self
    }
}

fn split(weights: &[i32]) -> Group {
    let mut group = [0; 2 * GROUP];
    for (at, weight) in weights.iter().enumerate() {
        group[at] = (weight >> SPLIT) as i16;
        group[GROUP + at] = (weight & ((1 << SPLIT) - 1)) as i16;
    }
    group
}

/// Rounded half away from zero.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << FRACTION_BITS) + 0.5_f64.copysign(weight)) as i32
}

/// A resampling kernel that weighs several source pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Triangle,
    Cubic,
}

impl Filter {
    /// None for nearest neighbour, which weighs nothing.
    pub(super) fn of(interpolation: Interpolation) -> Option<Self> {
        match interpolation {
            Interpolation::Nearest => None,
            Interpolation::Bilinear => Some(Self::Triangle),
            Interpolation::Bicubic => Some(Self::Cubic),
        }
    }

    fn support(self) -> f64 {
        match self {
            Self::Triangle => 1.0,
            Self::Cubic => 2.0,
        }
    }

    /// Keys' cubic convolution has a = -0.5 here, as in Pillow; its Horner order is Pillow's too.
    fn weight(self, at: f64) -> f64 {
        const A: f64 = -0.5;
        let x = at.abs();
        match self {
            Self::Triangle if x < 1.0 => 1.0 - x,
            Self::Cubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Self::Cubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }
}

/// Source pixels of nearest-neighbour sampling. The position is summed up step by step as Pillow's affine scaling
/// does, since its rounding decides ties.
pub(super) fn nearest(axis: &Axis) -> Vec<usize> {
    let scale = axis.input as f64 / axis.output as f64;
    let mut at = scale * 0.5;
    let mut sources = Vec::with_capacity(axis.window.len());
    for output in 0..axis.window.end {
        if output >= axis.window.start {
            sources.push((at as usize).min(axis.input - 1));
        }
        at += scale;
    }
    sources
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(input: usize, output: usize) -> Axis {
        Axis { input, output, window: 0..output, offset: 0 }
    }

    #[test]
    fn same_size_is_the_identity() {
        for filter in [Filter::Triangle, Filter::Cubic] {
            for (at, taps) in Taps::new(&whole(7, 7), filter, true).iter().enumerate() {
                assert_eq!(taps, (at, &[1 << FRACTION_BITS][..]));
            }
        }
    }

    #[test]
    fn without_antialias_the_filter_stays_narrow() {
        let taps = Taps::new(&whole(1000, 10), Filter::Triangle, false);
        assert!(taps.iter().all(|(_, weights)| weights.len() <= 3));
        assert_eq!(taps.iter().next().unwrap().0, 49);
    }

    proptest! {
        #[test]
        fn taps_lie_in_the_source_and_sum_to_one(input in 1_usize..3000, output in 1_usize..600, cubic: bool, antialias: bool) {
            let filter = if cubic { Filter::Cubic } else { Filter::Triangle };
            let taps = Taps::new(&whole(input, output), filter, antialias);
            prop_assert_eq!(taps.iter().len(), output);
            for (first, weights) in taps.iter() {
                prop_assert!(!weights.is_empty() && first + weights.len() <= input);
                let sum: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
                prop_assert!((sum - (1 << FRACTION_BITS)).unsigned_abs() as usize <= weights.len());
                // The sum over bytes must fit 32 bits with the rounding half.
                let reach: i64 = weights.iter().map(|&weight| 255 * i64::from(weight).abs()).sum();
                prop_assert!(reach + (1 << (FRACTION_BITS - 1)) < i64::from(i32::MAX));
            }
        }

        #[test]
        fn nearest_stays_inside(input in 1_usize..3000, output in 1_usize..600) {
            let sources = nearest(&whole(input, output));
            prop_assert!(sources.len() == output && sources.is_sorted() && sources[output - 1] < input);
        }
    }
}
