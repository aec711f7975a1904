//! Products with one head of one picture.

use std::ops::Range;

use crate::engine::native::buffer::{Line, Matrix};
use crate::engine::native::kernel::{COLUMNS_MAX, Finish, Kernel, Tile};

static NO_BIAS: [f32; COLUMNS_MAX] = [0.0; COLUMNS_MAX];

/// One head of one picture in a matrix of elements: `[tokens, size]`.
pub struct Head<'a> {
    pub kernel: &'static Kernel,
    pub matrix: &'a Matrix,
    /// The picture's tokens.
    pub rows: Range<usize>,
    /// The head's first column.
    pub column: usize,
    pub size: usize,
}

impl Head<'_> {
    /// Packed as the right side of x · headᵀ: columns are tokens up to whole vectors, zeros beyond the last token.
    pub fn pack_across<'a>(&self, to: &'a mut [u32]) -> Right<'a> {
        let tokens = self.rows.len();
        let words = self.size / self.kernel.precision.per_word();
        let columns = tokens.next_multiple_of(self.kernel.lanes);
        let to = &mut to[..columns * words];
        for (panel, to) in to.chunks_mut(self.kernel.columns() * words).enumerate() {
            let columns = to.len() / words;
            for (column, token) in (panel * self.kernel.columns()..).take(columns).enumerate() {
                let row = (token < tokens).then(|| self.words(token));
                for word in 0..words {
                    to[word * columns + column] = row.map_or(0, |row| row[word]);
                }
            }
        }
        Right { kernel: self.kernel, data: to, words, columns, step: self.kernel.columns() }
    }

    /// Packed as the right side of x · head: columns are the head's up to whole vectors, tokens the inner axis. Panels
    /// are as few as there can be, of nearly the same width (4 vectors are 2 and 2, not 3 and 1).
    pub fn pack_along<'a>(&self, to: &'a mut [u32]) -> Right<'a> {
        let (lanes, per_word) = (self.kernel.lanes, self.kernel.precision.per_word());
        let vectors = self.size.div_ceil(lanes);
        let step = vectors.div_ceil(vectors.div_ceil(self.kernel.vectors)) * lanes;
        let (columns, words) = (vectors * lanes, self.rows.len().div_ceil(per_word));
        let mut at = 0;
        for panel in (0..columns).step_by(step) {
            for word in 0..words {
                let token = word * per_word;
                let rows = (self.rows.len() - token).min(per_word);
                for column in (panel..(panel + step).min(columns)).step_by(lanes) {
                    let from = self.matrix.at(self.rows.start + token, self.column + column);
                    let to = &mut to[at..at + lanes];
                    // SAFETY: `rows` rows of one vector; one beyond the head is still inside the matrix, which ends
                    // with a spare line. The product of what is read there is never stored.
                    unsafe { (self.kernel.interleave)(from, self.matrix.pitch, rows, to.as_mut_ptr()) };
                    at += lanes;
                }
            }
        }
        Right { kernel: self.kernel, data: &to[..at], words, columns, step }
    }

    /// As the left side of a product, from this token on.
    pub fn left(&self, token: usize) -> Left {
        Left {
            at: self.matrix.at(self.rows.start + token, self.column).cast(),
            pitch: self.matrix.pitch / self.kernel.precision.per_word(),
        }
    }

    fn words(&self, token: usize) -> &[u32] {
        // SAFETY: the row holds the head's elements from there on; heads begin at whole words.
        unsafe { std::slice::from_raw_parts(self.left(token).at, self.size / self.kernel.precision.per_word()) }
    }
}

/// The left side of a product: words, row-major.
#[derive(Clone, Copy)]
pub struct Left {
    pub at: *const u32,
    /// Words from row to row.
    pub pitch: usize,
}

/// The right side of a product, packed in panels of `step` columns.
#[derive(Clone, Copy)]
pub struct Right<'a> {
    kernel: &'static Kernel,
    data: &'a [u32],
    words: usize,
    /// Columns of the product, whole vectors.
    pub columns: usize,
    step: usize,
}

impl Right<'_> {
    /// Left rows times the right side, plus a bias of `columns` floats, as floats `[rows, columns]`.
    pub fn floats(&self, left: Left, rows: usize, bias: Option<&[f32]>, to: &mut [f32]) {
        assert!(rows * self.columns <= to.len() && bias.is_none_or(|bias| bias.len() >= self.columns));
        let bias = bias.map(<[f32]>::as_ptr);
        // SAFETY: extents are asserted; the left side is its maker's duty.
        unsafe { self.run(left, rows, bias, (to.as_mut_ptr().cast(), self.columns, size_of::<f32>()), Finish::Floats) };
    }

    /// Left rows times the right side, as elements, `pitch` elements from row to row.
    ///
    /// # Safety
    /// `rows` rows of `columns` elements from `to` on belong to the caller.
    pub unsafe fn elements(&self, left: Left, rows: usize, (to, pitch): (*mut u8, usize)) {
        let size = size_of::<u32>() / self.kernel.precision.per_word();
        // SAFETY: see the contract.
        unsafe { self.run(left, rows, None, (to, pitch, size), Finish::Elements(None)) };
    }

    unsafe fn run(
        &self,
        left: Left,
        rows: usize,
        bias: Option<*const f32>,
        (to, pitch, size): (*mut u8, usize, usize),
        finish: Finish,
    ) {
        for panel in (0..self.columns).step_by(self.step) {
            let vectors = (self.columns - panel).min(self.step) / self.kernel.lanes;
            let right = &self.data[panel * self.words..][..vectors * self.kernel.lanes * self.words];
            for row in (0..rows).step_by(self.kernel.rows) {
                let tile = Tile {
                    words: self.words,
                    left: left.at.wrapping_add(row * left.pitch),
                    left_pitch: left.pitch,
                    right: right.as_ptr(),
                    bias: bias.map_or(NO_BIAS.as_ptr(), |bias| bias.wrapping_add(panel)),
                    to: to.wrapping_add((row * pitch + panel) * size),
                    pitch,
                    resume: false,
                    finish,
                    next: right.as_ptr().cast(),
                };
                // SAFETY: the panel holds `vectors` vectors per word; the rest is the caller's duty.
                unsafe { self.kernel.tile((rows - row).min(self.kernel.rows), vectors)(&tile) };
            }
        }
    }
}

/// Scratch in parts of that many bytes each, and a line more.
pub fn divide<const N: usize>(mut scratch: &mut [Line], bytes: [usize; N]) -> [&mut [Line]; N] {
    bytes.map(|bytes| {
        let (part, rest) = std::mem::take(&mut scratch).split_at_mut(lines_of(bytes));
        scratch = rest;
        part
    })
}

/// Bytes that [`divide`] needs.
pub fn total<const N: usize>(bytes: [usize; N]) -> usize {
    bytes.iter().map(|&bytes| lines_of(bytes) * size_of::<Line>()).sum()
}

fn lines_of(bytes: usize) -> usize {
    bytes.div_ceil(size_of::<Line>()) + 1
}
