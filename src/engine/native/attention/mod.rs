//! Softmax attention, one head of one picture at a time, in the caches of one thread.
#![allow(unsafe_code, reason = "calls kernels; each block says why its pointers are good")]

mod backward;
mod head;

use std::ops::Range;

use super::buffer::{Matrix, Target, padded};
use super::claims::Claims;
use super::kernel::Kernel;
use super::team::Team;
use crate::backbone::Shape;
pub use backward::run as run_backward;
use head::{Head, Left, divide, total};

/// Query rows that pass by at once: their scores stay in the second-level cache, however many tokens there are.
const QUERIES: usize = 48;

/// Attention of every picture: `qkv` holds elements, query, key and value `column` columns apart; `pictures` are its
/// ranges of rows.
pub fn run(team: &mut Team, shape: &Shape, qkv: &Matrix, column: usize, pictures: &[Range<usize>], to: Target) {
    let claims = Claims::new(pictures.len() * shape.heads);
    let tokens_max = pictures.iter().map(Range::len).max().unwrap_or(0);
    let kernel = team.kernel();
    let sizes = sizes(kernel, shape, tokens_max);
    team.run(total(sizes), &|scratch| {
        let [keys, values, mask, scores, weights, mixed] = divide(scratch, sizes);
        let scratch = &mut Scratch {
            keys: bytemuck::cast_slice_mut(keys),
            values: bytemuck::cast_slice_mut(values),
            mask: bytemuck::cast_slice_mut(mask),
            scores: bytemuck::cast_slice_mut(scores),
            weights: bytemuck::cast_slice_mut(weights),
            mixed: bytemuck::cast_slice_mut(mixed),
        };
        claims.each(|unit| {
            let rows = pictures[unit / shape.heads].clone();
            let size = shape.head_size();
            Unit { kernel, qkv, column, rows, first: unit % shape.heads * size, size, to }.run(scratch);
        });
    });
}

/// Bytes of each part of a thread's scratch.
fn sizes(kernel: &Kernel, shape: &Shape, tokens: usize) -> [usize; 6] {
    let head = padded(shape.head_size());
    let padded = padded(tokens) + kernel.columns();
    [padded * head, padded * head, padded, QUERIES * padded, QUERIES * padded, QUERIES * head]
        .map(|values| values * size_of::<f32>())
}

/// A thread's scratch.
struct Scratch<'a> {
    keys: &'a mut [u32],
    values: &'a mut [u32],
    mask: &'a mut [f32],
    scores: &'a mut [f32],
    weights: &'a mut [u8],
    mixed: &'a mut [u8],
}

/// One head of one picture.
struct Unit<'a> {
    kernel: &'static Kernel,
    qkv: &'a Matrix,
    column: usize,
    rows: Range<usize>,
    first: usize,
    size: usize,
    to: Target,
}

impl Unit<'_> {
    fn run(&self, scratch: &mut Scratch<'_>) {
        let [query, key, value] = [0, 1, 2].map(|part| Head {
            kernel: self.kernel,
            matrix: self.qkv,
            rows: self.rows.clone(),
            column: part * self.column + self.first,
            size: self.size,
        });
        let (keys, values) = (key.pack_across(scratch.keys), value.pack_along(scratch.values));
        let tokens = self.rows.len();
        mask(tokens, &mut scratch.mask[..keys.columns]);
        for first in (0..tokens).step_by(QUERIES) {
            let count = (tokens - first).min(QUERIES);
            keys.floats(query.left(first), count, Some(scratch.mask), scratch.scores);
            softmax(self.kernel, self.size, (count, keys.columns), scratch.scores, scratch.weights);
            let left = weights_as_left(self.kernel, scratch.weights, keys.columns);
            // A head that is no whole number of vectors would write into its neighbour, which is another thread's.
            if values.columns == self.size {
                let to = (self.to.at(self.rows.start + first, self.first), self.to.pitch);
                // SAFETY: the head's columns of these rows are written by nobody else.
                unsafe { values.elements(left, count, to) };
            } else {
                let mixed = (scratch.mixed.as_mut_ptr(), values.columns);
                // SAFETY: scratch holds `QUERIES` rows of the head's whole vectors.
                unsafe { values.elements(left, count, mixed) };
                let to = |row| self.to.at(self.rows.start + first + row, self.first);
                let bytes = self.size * element_size(self.kernel);
                for (row, mixed) in scratch.mixed.chunks_exact(row_bytes(self.kernel, values.columns)).enumerate() {
                    if row < count {
                        // SAFETY: the head's columns of this row, written by this thread alone.
                        unsafe { std::ptr::copy_nonoverlapping(mixed.as_ptr(), to(row), bytes) };
                    }
                }
            }
        }
    }
}

/// 0 for tokens, -∞ beyond the last one.
fn mask(tokens: usize, to: &mut [f32]) {
    for (token, bias) in to.iter_mut().enumerate() {
        *bias = if token < tokens { 0.0 } else { f32::NEG_INFINITY };
    }
}

/// Attention weights `[queries, padded]` as elements, from scores.
fn softmax(kernel: &Kernel, head_size: usize, (queries, padded): (usize, usize), scores: &mut [f32], to: &mut [u8]) {
    let rows = scores.chunks_exact_mut(padded).zip(to.chunks_exact_mut(row_bytes(kernel, padded)));
    for (scores, to) in rows.take(queries) {
        // SAFETY: both hold `padded` values, whole vectors.
        unsafe { (kernel.softmax)(padded, scores.as_mut_ptr(), scale(head_size), to.as_mut_ptr()) };
    }
}

#[expect(clippy::cast_precision_loss, reason = "head sizes are small")]
fn scale(head_size: usize) -> f32 {
    1.0 / (head_size as f32).sqrt()
}

fn weights_as_left(kernel: &Kernel, weights: &[u8], padded: usize) -> Left {
    Left { at: weights.as_ptr().cast(), pitch: padded / kernel.precision.per_word() }
}

fn element_size(kernel: &Kernel) -> usize {
    size_of::<u32>() / kernel.precision.per_word()
}

fn row_bytes(kernel: &Kernel, columns: usize) -> usize {
    columns * element_size(kernel)
}
