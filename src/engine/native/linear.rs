//! The rescaled linear: y = x · (W * (1 + scale_out ⊗ scale_in))ᵀ + bias + shift (RLRR, CVPR 2024), for many adapters
//! in one pass over the weights.
//!
//! A weight panel is claimed by one thread. For each group it is rescaled into that thread's scratch, which stays in
//! the second-level cache while all rows of the group pass by; the panel itself is read from memory once per pass.
#![allow(unsafe_code, reason = "calls kernels; each block says why its pointers are good")]

use std::ops::Range;

use super::batch::{Piece, passes};
use super::buffer::{Line, Matrix, Target};
use super::claims::Claims;
use super::kernel::{COLUMNS_MAX, Finish, Kernel, Tile};
use super::panels::{Block, Panels};
use super::team::Team;
use crate::backbone::Activation;

/// How a linear's outputs are stored.
#[derive(Clone, Copy)]
pub enum Store<'a> {
    /// As floats.
    Floats,
    /// As floats, with the same place of this matrix (same pitch) added.
    Add(&'a Matrix),
    /// As matrix elements, activated if asked for.
    Elements(Option<Activation>),
}

/// An adapter's vectors for one linear.
#[derive(Clone, Copy)]
pub struct Rescale<'a> {
    /// `[inputs]`
    pub scale_in: &'a [f32],
    /// `[outputs]`
    pub scale_out: &'a [f32],
    /// `[outputs]`
    pub shift: &'a [f32],
}

/// One weight of a pass, as one group sees it.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// The weight.
    pub panels: &'a Panels,
    /// The group's adapter, unless its weight is used as it is.
    pub rescale: Option<Rescale<'a>>,
    /// First column of the left side that it reads.
    pub from: usize,
    /// First column of the target that it writes.
    pub column: usize,
}

/// Rows that share their weights.
pub struct Share<'a> {
    /// Rows of the left side and of the target.
    pub rows: Range<usize>,
    /// The weights, side by side in the target: one, or query, key and value. All shares have parts of the same sizes.
    pub parts: Vec<Part<'a>>,
}

/// Rows that pass by at once: the left side of the widest layers then stays in the cache while panel after panel meets
/// it.
const ROWS_MAX: usize = 2048;

/// Runs all shares. `left` holds elements `[rows, inputs]`.
pub fn run(team: &mut Team, left: &Matrix, shares: &[Share<'_>], store: Store<'_>, to: Target) {
    let rows: usize = shares.iter().map(|share| share.rows.len()).sum();
    let rows_max = rows.div_ceil(rows.div_ceil(ROWS_MAX).max(1));
    let lengths: Vec<_> = shares.iter().map(|share| (share.rows.len(), 1)).collect();
    for pieces in passes(&lengths, rows_max) {
        let piece = |(share, rows): Piece| {
            let first = shares[share].rows.start;
            Share { rows: first + rows.start..first + rows.end, parts: shares[share].parts.clone() }
        };
        run_pass(team, left, &pieces.into_iter().map(piece).collect::<Vec<_>>(), store, to);
    }
}

fn run_pass(team: &mut Team, left: &Matrix, shares: &[Share<'_>], store: Store<'_>, to: Target) {
    let Some(first) = shares.first() else { return };
    let counts: Vec<usize> = first.parts.iter().map(|p| p.panels.count()).collect();
    let claims = Claims::new(counts.iter().sum());
    let place = |unit: usize| {
        let mut panel = unit;
        let mut part = 0;
        while panel >= counts[part] {
            panel -= counts[part];
            part += 1;
        }
        (part, panel)
    };
    let pass = Pass { kernel: team.kernel(), left, store, to };
    let scratch_words = first.parts.iter().map(|p| p.panels.scratch_words()).max().unwrap_or(0);
    team.run(scratch_words * size_of::<u32>(), &|scratch| {
        let mut claimed = claims.claim();
        while let Some(unit) = claimed {
            claimed = claims.claim();
            let (part, panel) = place(unit);
            let next = claimed.map_or(&[][..], |unit| {
                let (part, panel) = place(unit);
                first.parts[part].panels.whole(panel)
            });
            let mut ahead = Ahead { next, at: 0 };
            for share in shares {
                pass.panel(&share.parts[part], panel, share.rows.clone(), scratch, &mut ahead);
            }
        }
    });
}

/// What is common to all panels of a pass.
struct Pass<'a> {
    kernel: &'static Kernel,
    left: &'a Matrix,
    store: Store<'a>,
    to: Target,
}

/// The next panel, fetched line by line into the second-level cache by the tiles of this one.
struct Ahead<'a> {
    next: &'a [u32],
    at: usize,
}

impl Ahead<'_> {
    /// The address from which a tile of that many words fetches.
    fn advance(&mut self, words: usize) -> *const u8 {
        // One line every four words: see `tile::UNROLL`.
        let at = self.next.as_ptr().cast::<u8>().wrapping_add(self.at);
        if self.at + words * 16 < size_of_val(self.next) {
            self.at += words * 16;
        }
        at
    }
}

impl Pass<'_> {
    fn panel(&self, part: &Part<'_>, panel: usize, rows: Range<usize>, scratch: &mut [Line], ahead: &mut Ahead<'_>) {
        let panels = part.panels;
        let mut bias = [0.0; COLUMNS_MAX];
        bias[..panels.bias(panel).len()].copy_from_slice(panels.bias(panel));
        if let Some(r) = &part.rescale {
            let shift = &r.shift[panels.column(panel)..];
            bias.iter_mut().zip(shift).for_each(|(bias, shift)| *bias += shift);
        }
        for block in panels.blocks() {
            let raw = panels.data(panel, &block);
            let weights = match &part.rescale {
                None => raw,
                Some(r) => {
                    let scratch = &mut bytemuck::cast_slice_mut::<Line, u32>(scratch)[..raw.len()];
                    rescale(panels, panel, &block, r.scale_in, r.scale_out, scratch);
                    scratch
                }
            };
            let left = part.from + block.first * self.kernel.precision.per_word();
            let columns = [left, part.column + panels.column(panel)];
            self.tiles(&block, weights, (&bias, panels.vectors(panel)), columns, rows.clone(), ahead);
        }
    }

    fn tiles(
        &self,
        block: &Block,
        weights: &[u32],
        (bias, vectors): (&[f32; COLUMNS_MAX], usize),
        [from, column]: [usize; 2],
        rows: Range<usize>,
        ahead: &mut Ahead<'_>,
    ) {
        let mut row = rows.start;
        while row < rows.end {
            let count = (rows.end - row).min(self.kernel.rows);
            let finish = match self.store {
                _ if !block.completes => Finish::Partial,
                Store::Floats => Finish::Floats,
                Store::Add(residual) => Finish::Add { residual: residual.at(row, column).cast() },
                Store::Elements(activation) => Finish::Elements(activation),
            };
            let tile = Tile {
                words: block.words,
                left: self.left.at(row, from).cast(),
                left_pitch: self.left.pitch / self.kernel.precision.per_word(),
                right: weights.as_ptr(),
                bias: bias.as_ptr(),
                to: self.to.at(row, column),
                pitch: self.to.pitch,
                resume: block.resumes,
                finish,
                next: ahead.advance(block.words),
            };
            // SAFETY: `count` rows from `row` are inside left side and target, whose pitches are whole vectors; the
            // panel holds `vectors` vectors per word; this panel's columns of these rows belong to this thread.
            unsafe { self.kernel.tile(count, vectors)(&tile) };
            row += count;
        }
    }
}

/// Writes one rescaled block of a panel to `to`, which is as long as the block.
pub fn rescale(panels: &Panels, panel: usize, block: &Block, scale_in: &[f32], scale_out: &[f32], to: &mut [u32]) {
    let kernel = panels.kernel();
    let from = panels.data(panel, block);
    assert_eq!(from.len(), to.len());
    // Columns beyond the outputs have weights of zero, and stay zero with a scale of zero.
    let mut outs = [0.0; COLUMNS_MAX];
    let own = &scale_out[panels.column(panel)..];
    let own = &own[..own.len().min(kernel.columns())];
    outs[..own.len()].copy_from_slice(own);
    let per_word = kernel.precision.per_word();
    let ins = &scale_in[block.first * per_word..][..block.words * per_word];
    // SAFETY: both sides hold the block, `outs` a full panel's columns, `ins` one float per element.
    unsafe {
        kernel.rescale(panels.vectors(panel))(block.words, from.as_ptr(), to.as_mut_ptr(), outs.as_ptr(), ins.as_ptr());
    }
}
