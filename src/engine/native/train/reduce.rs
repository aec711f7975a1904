//! The gradients of a rescaled linear's scale_in, scale_out and shift.
//!
//! With the gradient dW' = dYᵀ · X of the rescaled weight, d scale_in[i] = Σ_o dW'[o, i] W[o, i] scale_out[o],
//! d scale_out[o] = Σ_i dW'[o, i] W[o, i] scale_in[i] and d shift[o] = Σ dY[·, o]. dW' exists as one tile at a time,
//! which is multiplied with W and summed while it is in the first-level cache. The tokens are the inner axis, cut into
//! blocks so that a panel of X stays in the second-level cache.
//!
//! A panel of inputs belongs to one thread, and sums over panels are taken in order: threads change no bit.

use crate::engine::native::buffer::{LINE, Matrix};
use crate::engine::native::claims;
use crate::engine::native::kernel::{COLUMNS_MAX, Finish, Kernel, ROWS_MAX, Reduce, Tile};
use crate::engine::native::panels::Panels;
use crate::engine::native::team::Team;

/// Words of tokens per block, at most.
const WORDS_MAX: usize = 512;
const LINE_WORDS: usize = LINE / size_of::<u32>();

static NO_BIAS: [f32; COLUMNS_MAX] = [0.0; COLUMNS_MAX];

/// A linear whose outputs' gradient stands in some columns of dY.
pub struct Part<'a> {
    /// The backbone's weight, transposed.
    pub panels: &'a Panels,
    /// `[inputs]`
    pub scale_in: &'a [f32],
    /// `[outputs]`
    pub scale_out: &'a [f32],
    /// First column of dY.
    pub column: usize,
}

/// Gradients of a linear's vectors.
pub struct Sums {
    /// `[inputs]`
    pub scale_in: Vec<f32>,
    /// `[outputs]`
    pub scale_out: Vec<f32>,
    /// `[outputs]`
    pub shift: Vec<f32>,
}

/// From elements X `[tokens, inputs]` and dY `[tokens, columns]`.
pub fn run(team: &mut Team, x: &Matrix, d: &Matrix, parts: &[Part<'_>]) -> Vec<Sums> {
    let kernel = team.kernel();
    let blocks = Blocks::of(kernel, x.rows);
    let left = transpose(team, d, &blocks);
    let product = Product { kernel, x, left: &left, columns: d.pitch, blocks };
    let units: Vec<_> =
        parts.iter().flat_map(|part| (0..part.panels.count()).map(move |panel| (part, panel))).collect();
    let scratch = (product.blocks.words * COLUMNS_MAX + LINE_WORDS) * size_of::<u32>();
    let mut sums = claims::map(team, scratch, units.len(), &|unit, scratch| {
        let (part, panel) = units[unit];
        product.panel(part, panel, bytemuck::cast_slice_mut(scratch))
    })
    .into_iter();
    parts.iter().map(|part| joined(sums.by_ref().take(part.panels.count()))).collect()
}

/// Sums of panels side by side in the inputs.
fn joined(panels: impl Iterator<Item = Sums>) -> Sums {
    let join = |mut all: Sums, panel: Sums| {
        all.scale_in.extend(panel.scale_in);
        all.scale_out.iter_mut().zip(panel.scale_out).for_each(|(sum, part)| *sum += part);
        all
    };
    panels.reduce(join).expect("a weight has a panel")
}

/// The tokens, cut into blocks of whole vectors of words.
struct Blocks {
    tokens: usize,
    /// Tokens per word.
    per_word: usize,
    /// Words of each block but the last one.
    words: usize,
    count: usize,
}

impl Blocks {
    fn of(kernel: &Kernel, tokens: usize) -> Self {
        let per_word = kernel.precision.per_word();
        let all = tokens.div_ceil(per_word);
        let words = all.div_ceil(all.div_ceil(WORDS_MAX)).next_multiple_of(LINE_WORDS);
        Self { tokens, per_word, words, count: all.div_ceil(words) }
    }

    /// A block's first token, and its words.
    fn get(&self, block: usize) -> (usize, usize) {
        let words = self.tokens.div_ceil(self.per_word) - block * self.words;
        (block * self.words * self.per_word, words.min(self.words))
    }

    /// Words from row to row of the transposed side: a line more, so that rows do not share cache sets.
    fn pitch(&self) -> usize {
        self.words + LINE_WORDS
    }
}

/// dY with tokens as the inner axis: block after block, a row of words per column.
fn transpose(team: &mut Team, d: &Matrix, blocks: &Blocks) -> Matrix {
    let kernel = team.kernel();
    let mut out = Matrix::take(&team.arena, blocks.count * d.pitch, blocks.pitch(), size_of::<u32>());
    let to = out.target();
    let strips = blocks.words / kernel.lanes;
    claims::map(team, 0, blocks.count * strips, &|unit, _| {
        let (block, word) = (unit / strips, unit % strips * kernel.lanes);
        let token = blocks.get(block).0 + word * blocks.per_word;
        let rows = d.rows.saturating_sub(token);
        for column in (0..if rows > 0 { d.pitch } else { 0 }).step_by(kernel.lanes) {
            let to = to.at(block * d.pitch + column, word).cast();
            // SAFETY: `rows` rows of a vector; as many rows of words of this block, which are this unit's.
            unsafe { (kernel.backward.transpose)(d.at(token, column), d.pitch, rows, to, blocks.pitch()) };
        }
    });
    out
}

struct Product<'a> {
    kernel: &'static Kernel,
    x: &'a Matrix,
    left: &'a Matrix,
    /// Rows of a block of the left side.
    columns: usize,
    blocks: Blocks,
}

impl Product<'_> {
    fn panel(&self, part: &Part<'_>, panel: usize, scratch: &mut [u32]) -> Sums {
        let first = part.panels.column(panel);
        let inputs = (part.panels.outputs() - first).min(self.kernel.columns());
        let outputs = part.scale_out.len();
        let mut scale_in = [0.0; COLUMNS_MAX];
        scale_in[..inputs].copy_from_slice(&part.scale_in[first..first + inputs]);
        let mut d_in = [0.0; COLUMNS_MAX];
        let mut sums = Sums { scale_in: Vec::new(), scale_out: vec![0.0; outputs], shift: vec![0.0; outputs] };
        for block in 0..self.blocks.count {
            let right = self.pack(block, (part, panel), scratch);
            for output in (0..outputs).step_by(self.kernel.rows) {
                let rows = (outputs - output).min(self.kernel.rows);
                let at = self.left.at(block * self.columns + part.column + output, 0).cast();
                let tile = self.tile(at, rows, right, part.panels.vectors(panel));
                let reduce = Reduce {
                    rows,
                    sums: tile.as_ptr(),
                    weights: part.panels.words(panel, output).as_ptr(),
                    scale_in: scale_in.as_ptr(),
                    scale_out: part.scale_out[output..].as_ptr(),
                    d_in: d_in.as_mut_ptr(),
                    d_out: sums.scale_out[output..].as_mut_ptr(),
                };
                // SAFETY: tile and panel hold `rows` rows of the panel's vectors, the sides full panels and `rows` rows.
                unsafe { self.kernel.backward.reduce[part.panels.vectors(panel) - 1](&reduce) };
                // Every panel sees all of dY; one of them is enough.
                for row in 0..if panel == 0 { rows } else { 0 } {
                    let (words, at) = (self.blocks.get(block).1, at.wrapping_add(row * self.blocks.pitch()));
                    // SAFETY: the row holds the block's words.
                    sums.shift[output + row] += unsafe { (self.kernel.backward.row_sum)(words, at) };
                }
            }
        }
        sums.scale_in = d_in[..inputs].to_vec();
        sums
    }

    /// A panel of a block of X with tokens as the inner axis, zeros beyond the inputs.
    fn pack<'a>(&self, block: usize, (part, panel): (&Part<'_>, usize), to: &'a mut [u32]) -> &'a [u32] {
        let (first, words) = self.blocks.get(block);
        let (lanes, vectors) = (self.kernel.lanes, part.panels.vectors(panel));
        let column = part.panels.column(panel);
        let to = &mut to[..words * vectors * lanes];
        let inputs = part.panels.outputs() - column;
        for (word, to) in to.chunks_exact_mut(vectors * lanes).enumerate() {
            let token = first + word * self.blocks.per_word;
            let rows = (self.x.rows - token).min(self.blocks.per_word);
            for (vector, to) in to.chunks_exact_mut(lanes).enumerate() {
                let from = self.x.at(token, column + vector * lanes);
                // SAFETY: `rows` rows of a vector; rows are whole vectors.
                unsafe { (self.kernel.interleave)(from, self.x.pitch, rows, to.as_mut_ptr()) };
            }
            // What stands in the padding might be no number at all.
            if inputs < to.len() {
                to[inputs..].fill(0);
            }
        }
        to
    }

    fn tile(&self, left: *const u32, rows: usize, right: &[u32], vectors: usize) -> [f32; ROWS_MAX * COLUMNS_MAX] {
        let mut sums = [0.0; ROWS_MAX * COLUMNS_MAX];
        let pitch = vectors * self.kernel.lanes;
        let tile = Tile {
            words: right.len() / pitch,
            left,
            left_pitch: self.blocks.pitch(),
            right: right.as_ptr(),
            bias: NO_BIAS.as_ptr(),
            to: sums.as_mut_ptr().cast(),
            pitch,
            resume: false,
            finish: Finish::Floats,
            next: left.wrapping_add(rows * self.blocks.pitch()).cast(),
        };
        // SAFETY: the left side holds `rows` rows of the block, the right side `vectors` vectors per word; the target
        // holds the largest tile.
        unsafe { self.kernel.tile(rows, vectors)(&tile) };
        sums
    }
}
