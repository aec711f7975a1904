//! Softmax attention, one head of one picture at a time, in the caches of one thread.
#![allow(unsafe_code, reason = "calls kernels; each block says why its pointers are good")]

use std::ops::Range;

use super::buffer::{LINE, Line, Matrix, Target, pitch};
use super::claims::Claims;
use super::kernel::{COLUMNS_MAX, Finish, Kernel, Tile};
use super::team::Team;
use crate::backbone::Shape;

/// Query rows that pass by at once: their scores stay in the second-level cache, however many tokens there are.
const QUERIES: usize = 48;

static NO_BIAS: [f32; COLUMNS_MAX] = [0.0; COLUMNS_MAX];

/// Attention of every picture: `qkv` holds elements, query, key and value `column` columns apart; `pictures` are its
/// ranges of rows.
pub fn run(team: &mut Team, shape: &Shape, qkv: &Matrix, column: usize, pictures: &[Range<usize>], to: Target) {
    let claims = Claims::new(pictures.len() * shape.heads);
    let tokens_max = pictures.iter().map(Range::len).max().unwrap_or(0);
    let kernel = team.kernel();
    let sizes = Sizes::of(kernel, shape, tokens_max);
    team.run(sizes.bytes(), &|scratch| {
        let scratch = &mut sizes.divide(scratch);
        claims.each(|unit| {
            let rows = pictures[unit / shape.heads].clone();
            let head = unit % shape.heads;
            let size = shape.head_size();
            Head { kernel, qkv, column, rows, first: head * size, size, to }.run(scratch);
        });
    });
}

/// Bytes of each part of a thread's scratch.
struct Sizes {
    keys: usize,
    values: usize,
    scores: usize,
    weights: usize,
    mixed: usize,
}

/// A thread's scratch.
struct Scratch<'a> {
    keys: &'a mut [u32],
    values: &'a mut [u32],
    scores: &'a mut [f32],
    weights: &'a mut [Line],
    mixed: &'a mut [Line],
}

impl Sizes {
    fn of(kernel: &Kernel, shape: &Shape, tokens: usize) -> Self {
        let head = pitch(shape.head_size());
        let padded = pitch(tokens) + kernel.columns();
        let part = |values: usize| (values * size_of::<f32>()).next_multiple_of(LINE) + LINE;
        Self {
            keys: part(padded * head),
            values: part(padded * head),
            scores: part(QUERIES * padded),
            weights: part(QUERIES * padded),
            mixed: part(QUERIES * head),
        }
    }

    fn bytes(&self) -> usize {
        self.keys + self.values + self.scores + self.weights + self.mixed
    }

    fn divide<'a>(&self, scratch: &'a mut [Line]) -> Scratch<'a> {
        let (keys, rest) = scratch.split_at_mut(self.keys / LINE);
        let (values, rest) = rest.split_at_mut(self.values / LINE);
        let (scores, rest) = rest.split_at_mut(self.scores / LINE);
        let (weights, mixed) = rest.split_at_mut(self.weights / LINE);
        Scratch {
            keys: bytemuck::cast_slice_mut(keys),
            values: bytemuck::cast_slice_mut(values),
            scores: bytemuck::cast_slice_mut(scores),
            weights,
            mixed,
        }
    }
}

/// One head of one picture.
struct Head<'a> {
    kernel: &'static Kernel,
    qkv: &'a Matrix,
    column: usize,
    rows: Range<usize>,
    first: usize,
    size: usize,
    to: Target,
}

impl Head<'_> {
    fn run(&self, scratch: &mut Scratch<'_>) {
        self.pack_keys(scratch.keys);
        self.pack_values(scratch.values);
        let tokens = self.rows.len();
        for first in (0..tokens).step_by(QUERIES) {
            let queries = first..(first + QUERIES).min(tokens);
            self.score(queries.clone(), scratch.keys, scratch.scores);
            self.softmax(queries.len(), scratch.scores, scratch.weights);
            self.mix(queries, scratch);
        }
    }

    fn tokens(&self) -> usize {
        self.rows.len()
    }

    /// Tokens up to whole vectors.
    fn padded(&self) -> usize {
        self.tokens().next_multiple_of(self.kernel.lanes)
    }

    fn head_words(&self) -> usize {
        self.size / self.kernel.precision.per_word()
    }

    /// Vectors of the panel that begins at `column` of `columns`, where panels are `step` columns wide.
    fn vectors(&self, column: usize, columns: usize, step: usize) -> usize {
        (columns - column).min(step) / self.kernel.lanes
    }

    /// Columns of the head up to whole vectors, and the width of a value panel: as few panels as there can be, of
    /// nearly the same width (4 vectors are 2 and 2, not 3 and 1).
    fn value_columns(&self) -> (usize, usize) {
        let vectors = self.size.div_ceil(self.kernel.lanes);
        let step = vectors.div_ceil(vectors.div_ceil(self.kernel.vectors));
        (vectors * self.kernel.lanes, step * self.kernel.lanes)
    }

    /// Keys as the right side of query · keyᵀ: panels of tokens, zeros beyond the last token.
    fn pack_keys(&self, to: &mut [u32]) {
        let (words, padded) = (self.head_words(), self.padded());
        let to = &mut to[..padded * words];
        for (panel, to) in to.chunks_mut(self.kernel.columns() * words).enumerate() {
            let columns = to.len() / words;
            for (column, token) in (panel * self.kernel.columns()..).take(columns).enumerate() {
                let key = (token < self.tokens()).then(|| self.row_words(token, self.column));
                for word in 0..words {
                    to[word * columns + column] = key.map_or(0, |key| key[word]);
                }
            }
        }
    }

    /// The words of one token's vector of this head, in the part of `qkv` that begins at `column`.
    fn row_words(&self, token: usize, column: usize) -> &[u32] {
        let at = self.qkv.at(self.rows.start + token, column + self.first).cast();
        // SAFETY: the row holds the head's elements from there on; heads begin at whole words.
        unsafe { std::slice::from_raw_parts(at, self.head_words()) }
    }

    /// Values as the right side of weight · value: panels of the head's columns, tokens along the inner axis.
    fn pack_values(&self, to: &mut [u32]) {
        let (lanes, per_word) = (self.kernel.lanes, self.kernel.precision.per_word());
        let (columns, step) = self.value_columns();
        let words = self.tokens().div_ceil(per_word);
        let mut at = 0;
        for panel in (0..columns).step_by(step) {
            let vectors = self.vectors(panel, columns, step);
            for word in 0..words {
                let token = word * per_word;
                let rows = (self.tokens() - token).min(per_word);
                for vector in 0..vectors {
                    let column = 2 * self.column + self.first + panel + vector * lanes;
                    let from = self.qkv.at(self.rows.start + token, column);
                    let to = &mut to[at..at + lanes];
                    // SAFETY: `rows` rows of one vector; one beyond the head is still inside the matrix, which ends
                    // with a spare line. The product of what is read there is never stored.
                    unsafe { (self.kernel.interleave)(from, self.qkv.pitch, rows, to.as_mut_ptr()) };
                    at += lanes;
                }
            }
        }
    }

    /// Scores `[queries, padded]`, -∞ beyond the last token.
    fn score(&self, queries: Range<usize>, keys: &[u32], scores: &mut [f32]) {
        let (words, padded) = (self.head_words(), self.padded());
        for panel in (0..padded).step_by(self.kernel.columns()) {
            let mut mask = [0.0; COLUMNS_MAX];
            for (bias, token) in mask.iter_mut().zip(panel..) {
                *bias = if token < self.tokens() { 0.0 } else { f32::NEG_INFINITY };
            }
            let vectors = self.vectors(panel, padded, self.kernel.columns());
            let right = &keys[panel * words..][..vectors * self.kernel.lanes * words];
            for query in queries.clone().step_by(self.kernel.rows) {
                let rows = (queries.end - query).min(self.kernel.rows);
                let to = &mut scores[(query - queries.start) * padded + panel..];
                assert!((rows - 1) * padded + vectors * self.kernel.lanes <= to.len());
                let tile = Tile {
                    words,
                    left: self.qkv.at(self.rows.start + query, self.first).cast(),
                    left_pitch: self.qkv.pitch / self.kernel.precision.per_word(),
                    right: right.as_ptr(),
                    bias: mask.as_ptr(),
                    to: to.as_mut_ptr().cast(),
                    pitch: padded,
                    resume: false,
                    finish: Finish::Floats,
                    next: right.as_ptr().cast(),
                };
                // SAFETY: `rows` queries of the head; the panel holds `vectors` vectors per word; the target's extent
                // is asserted above.
                unsafe { self.kernel.tile(rows, vectors)(&tile) };
            }
        }
    }

    /// Attention weights `[queries, padded]` as elements.
    fn softmax(&self, queries: usize, scores: &mut [f32], weights: &mut [Line]) {
        let padded = self.padded();
        #[expect(clippy::cast_precision_loss, reason = "head sizes are small")]
        let scale = 1.0 / (self.size as f32).sqrt();
        let weights: &mut [u8] = bytemuck::cast_slice_mut(weights);
        let size = self.element_size();
        for (row, scores) in scores.chunks_exact_mut(padded).take(queries).enumerate() {
            let to = &mut weights[row * padded * size..][..padded * size];
            // SAFETY: both hold `padded` values, whole vectors.
            unsafe { (self.kernel.softmax)(padded, scores.as_mut_ptr(), scale, to.as_mut_ptr()) };
        }
    }

    fn element_size(&self) -> usize {
        size_of::<u32>() / self.kernel.precision.per_word()
    }

    /// Weighted sums of the values, to the head's columns of the target.
    fn mix(&self, queries: Range<usize>, scratch: &mut Scratch<'_>) {
        let (lanes, per_word) = (self.kernel.lanes, self.kernel.precision.per_word());
        let padded = self.padded();
        let (columns, step) = self.value_columns();
        let words = self.tokens().div_ceil(per_word);
        // A head that is no whole number of vectors would write into its neighbour, which is another thread's.
        let direct = columns == self.size;
        let weights: &[u32] = bytemuck::cast_slice(scratch.weights);
        for panel in (0..columns).step_by(step) {
            let vectors = self.vectors(panel, columns, step);
            let right = &scratch.values[panel * words..][..vectors * lanes * words];
            for query in queries.clone().step_by(self.kernel.rows) {
                let rows = (queries.end - query).min(self.kernel.rows);
                let row = query - queries.start;
                let (to, pitch) = if direct {
                    (self.to.at(self.rows.start + query, self.first + panel), self.to.pitch)
                } else {
                    let mixed: &mut [u8] = bytemuck::cast_slice_mut(scratch.mixed);
                    (mixed[(row * columns + panel) * self.element_size()..].as_mut_ptr(), columns)
                };
                let tile = Tile {
                    words,
                    left: weights[row * padded / per_word..].as_ptr(),
                    left_pitch: padded / per_word,
                    right: right.as_ptr(),
                    bias: NO_BIAS.as_ptr(),
                    to,
                    pitch,
                    resume: false,
                    finish: Finish::Elements(None),
                    next: right.as_ptr().cast(),
                };
                // SAFETY: `rows` rows of weights; the panel holds `vectors` vectors per word; the head's columns of
                // these rows, or this thread's scratch, are written by nobody else.
                unsafe { self.kernel.tile(rows, vectors)(&tile) };
            }
        }
        if !direct {
            self.copy_out(queries, columns, scratch.mixed);
        }
    }

    fn copy_out(&self, queries: Range<usize>, columns: usize, mixed: &[Line]) {
        let size = self.element_size();
        let mixed: &[u8] = bytemuck::cast_slice(mixed);
        for (row, query) in queries.enumerate() {
            let from = &mixed[row * columns * size..][..self.size * size];
            let to = self.to.at(self.rows.start + query, self.first);
            // SAFETY: the head's columns of this row, written by this thread alone.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
        }
    }
}
