//! The derivative of attention, one head of one picture at a time: weights are computed again from query and key.

use std::ops::Range;

use super::head::{Head, Left, Right, divide, total};
use super::{element_size, mask, row_bytes, scale, softmax, weights_as_left};
use crate::backbone::Shape;
use crate::engine::native::buffer::{LINE, Line, Matrix, Target, padded};
use crate::engine::native::claims::Claims;
use crate::engine::native::kernel::Kernel;
use crate::engine::native::team::Team;

/// Query rows that pass by at once: whole vectors of words of every kernel.
const QUERIES: usize = 64;

/// From the gradient `d` of what attention answered (elements) to those of query, key and value, which lie in `to` like
/// `qkv`: `column` columns apart.
pub fn run(
    team: &mut Team,
    shape: &Shape,
    (qkv, column): (&Matrix, usize),
    d: &Matrix,
    pictures: &[Range<usize>],
    to: Target,
) {
    let claims = Claims::new(pictures.len() * shape.heads);
    let kernel = team.kernel();
    let tokens_max = pictures.iter().map(Range::len).max().unwrap_or(0);
    let sizes = sizes(kernel, shape, tokens_max);
    team.run(total(sizes), &|scratch| {
        claims.each(|unit| {
            let scratch = divide(scratch, sizes);
            let size = shape.head_size();
            let (rows, first) = (pictures[unit / shape.heads].clone(), unit % shape.heads * size);
            let head = |matrix, column| Head { kernel, matrix, rows: rows.clone(), column, size };
            let [query, key, value] = [0, 1, 2].map(|part| head(qkv, part * column + first));
            let to = Gradients { to, column, rows: rows.clone(), first, size };
            Unit { kernel, query, key, value, d: head(d, first), to }.run(scratch);
        });
    });
}

/// Bytes of five packed heads, of what passes by with a block of queries, and of two transposed squares.
fn sizes(kernel: &Kernel, shape: &Shape, tokens: usize) -> [usize; 13] {
    let head = padded(shape.head_size());
    let padded = padded(tokens) + kernel.columns();
    let square = padded * pitch_words(kernel, tokens);
    let (packed, floats, out) = (padded * head, QUERIES * padded, padded * head);
    let sizes = [packed, packed, packed, packed, packed, padded, floats, floats, floats, floats, square, square, out];
    sizes.map(|values| values * size_of::<f32>())
}

/// Words from row to row of a transposed square, whole vectors, and a line more so that rows do not share cache sets.
fn pitch_words(kernel: &Kernel, tokens: usize) -> usize {
    tokens.next_multiple_of(QUERIES) / kernel.precision.per_word() + LINE / size_of::<u32>()
}

/// Where one head's gradients go.
struct Gradients {
    to: Target,
    column: usize,
    rows: Range<usize>,
    first: usize,
    size: usize,
}

impl Gradients {
    /// Writes rows of the head, from `token` on, to the part for query, key or value.
    fn write(&self, kernel: &Kernel, part: usize, token: usize, (rows, columns): (usize, usize), from: &[u8]) {
        for (row, from) in from.chunks_exact(row_bytes(kernel, columns)).take(rows).enumerate() {
            let to = self.to.at(self.rows.start + token + row, part * self.column + self.first);
            let bytes = self.size * element_size(kernel);
            // SAFETY: the head's columns of this row, written by this thread alone.
            unsafe { std::ptr::copy_nonoverlapping(from[..bytes].as_ptr(), to, bytes) };
        }
    }
}

/// One head of one picture.
struct Unit<'a> {
    kernel: &'static Kernel,
    query: Head<'a>,
    key: Head<'a>,
    value: Head<'a>,
    d: Head<'a>,
    to: Gradients,
}

impl Unit<'_> {
    fn run(&self, scratch: [&mut [Line]; 13]) {
        let [keys, values, key, query, d, bias, scores, d_weights, weights, d_scores, weights_t, d_scores_t, out] =
            scratch;
        let keys = self.key.pack_across(bytemuck::cast_slice_mut(keys));
        let values = self.value.pack_across(bytemuck::cast_slice_mut(values));
        let key = self.key.pack_along(bytemuck::cast_slice_mut(key));
        let query = self.query.pack_along(bytemuck::cast_slice_mut(query));
        let d = self.d.pack_along(bytemuck::cast_slice_mut(d));
        let [bias, scores, d_weights] = [bias, scores, d_weights].map(bytemuck::cast_slice_mut::<Line, f32>);
        let [weights, d_scores, out] = [weights, d_scores, out].map(bytemuck::cast_slice_mut::<Line, u8>);
        let [weights_t, d_scores_t] = [weights_t, d_scores_t].map(bytemuck::cast_slice_mut::<Line, u32>);
        let (tokens, padded) = (self.query.rows.len(), keys.columns);
        mask(tokens, &mut bias[..padded]);
        for first in (0..tokens).step_by(QUERIES) {
            let count = (tokens - first).min(QUERIES);
            keys.floats(self.query.left(first), count, Some(bias), scores);
            softmax(self.kernel, self.query.size, (count, padded), scores, weights);
            values.floats(self.d.left(first), count, None, d_weights);
            self.softmax_backward((count, padded), weights, d_weights, d_scores);
            self.transpose((first, count, padded), weights, weights_t);
            self.transpose((first, count, padded), d_scores, d_scores_t);
            self.write(0, (first, count), weights_as_left(self.kernel, d_scores, padded), &key, out);
        }
        let left = |words: &[u32]| Left { at: words.as_ptr(), pitch: pitch_words(self.kernel, tokens) };
        self.write(1, (0, tokens), left(d_scores_t), &query, out);
        self.write(2, (0, tokens), left(weights_t), &d, out);
    }

    fn softmax_backward(&self, (count, padded): (usize, usize), weights: &[u8], d: &[f32], to: &mut [u8]) {
        let bytes = row_bytes(self.kernel, padded);
        let rows = weights.chunks_exact(bytes).zip(d.chunks_exact(padded)).zip(to.chunks_exact_mut(bytes));
        for ((weights, d), to) in rows.take(count) {
            let scale = scale(self.query.size);
            // SAFETY: all hold `padded` values, whole vectors.
            unsafe { (self.kernel.backward.softmax)(padded, weights.as_ptr(), d.as_ptr(), scale, to.as_mut_ptr()) };
        }
    }

    /// Rows `[count, padded]`, which belong to the queries from `first` on, to columns.
    fn transpose(&self, (first, count, padded): (usize, usize, usize), from: &[u8], to: &mut [u32]) {
        let kernel = self.kernel;
        let pitch = pitch_words(kernel, self.query.rows.len());
        let step = kernel.lanes * kernel.precision.per_word();
        for row in (0..count).step_by(step) {
            for column in (0..padded).step_by(kernel.lanes) {
                let from = &from[row * row_bytes(kernel, padded) + column * element_size(kernel)..];
                let word = (first + row) / kernel.precision.per_word();
                let to = &mut to[column * pitch + word..];
                assert!((kernel.lanes - 1) * pitch + kernel.lanes <= to.len());
                // SAFETY: the rows that there are, of one vector; the target's extent is asserted above.
                unsafe { (kernel.backward.transpose)(from.as_ptr(), padded, count - row, to.as_mut_ptr(), pitch) };
            }
        }
    }

    /// A product `[rows, head]` to the gradients from token `first` on.
    fn write(&self, part: usize, (first, rows): (usize, usize), left: Left, right: &Right<'_>, out: &mut [u8]) {
        assert!(rows * row_bytes(self.kernel, right.columns) <= out.len());
        // SAFETY: `out` holds the product, as asserted.
        unsafe { right.elements(left, rows, (out.as_mut_ptr(), right.columns)) };
        self.to.write(self.kernel, part, first, (rows, right.columns), out);
    }
}
