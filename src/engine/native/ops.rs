//! The network's operations over a whole batch: groups lie one after the other in the rows of each matrix.
#![allow(unsafe_code, reason = "calls kernels; each block says why its pointers are good")]

use std::ops::Range;

use ndarray::Array2;

use super::attention;
use super::batch::Group;
use super::buffer::{LINE, Line, Matrix, Target, pitch};
use super::claims::Claims;
use super::kernel::Norm;
use super::linear::{self, Part, Rescale, Share, Store};
use super::team::Team;
use super::weights::Packed;
use crate::adapter::Layout;
use crate::backbone::Shape;
use crate::engine::patches;
use crate::vit::{Layer, LinearAt, NormAt, Ops, Then};

/// One forward pass of a batch.
pub struct Forward<'a> {
    /// Threads and their memory.
    pub team: &'a mut Team,
    /// Sizes of the network.
    pub shape: &'a Shape,
    /// Where an adapter's vectors lie.
    pub layout: &'a Layout,
    /// The backbone.
    pub packed: &'a Packed,
    /// At least one, one after the other.
    pub groups: &'a [Group<'a>],
}

impl<'a> Forward<'a> {
    /// A linear as one group sees it.
    fn part(&self, group: &'a Group<'a>, at: LinearAt, column: usize) -> Part<'a> {
        let linears = group.merged.unwrap_or(self.packed.linears());
        let rescale = group.vector.filter(|_| group.merged.is_none()).map(|vector| {
            let range = self.layout.linear(at);
            Rescale {
                scale_in: &vector[range.scale_in],
                scale_out: &vector[range.scale_out],
                shift: &vector[range.shift],
            }
        });
        Part { panels: linears.at(at), rescale, from: 0, column }
    }

    /// Tokens of the pass.
    pub fn tokens(&self) -> usize {
        self.groups.last().map_or(0, |g| g.range().end)
    }

    /// Bytes of an element of the kernel.
    pub fn element_size(&self) -> usize {
        size_of::<u32>() / self.team.kernel().precision.per_word()
    }

    /// A matrix from the team's arena.
    pub fn matrix(&self, rows: usize, pitch: usize, size: usize) -> Matrix {
        Matrix::take(&self.team.arena, rows, pitch, size)
    }

    /// Runs the linears at these places, side by side in the target, for all groups in one pass over the weights.
    pub fn linears(&mut self, x: &Matrix, places: &[LinearAt], store: Store<'_>, to: Target) {
        let apart = to.pitch / places.len();
        let parts = |group| places.iter().enumerate().map(|(i, &at)| self.part(group, at, i * apart)).collect();
        let shares: Vec<_> = self.groups.iter().map(|g| Share { rows: g.range(), parts: parts(g) }).collect();
        linear::run(self.team, x, &shares, store, to);
    }

    /// Patches of all pictures as elements, one row of patches at a time.
    fn patches(&mut self) -> Matrix {
        let values = self.shape.patch_values();
        let patches = self.groups.iter().map(Group::patches).sum();
        let mut out = self.matrix(patches, pitch(values), self.element_size());
        let to = out.target();
        let strips = strips(self.groups);
        let columns_max = strips.iter().map(|s| s.columns).max().unwrap_or(0);
        let (patch, convert) = (self.shape.patch, self.team.kernel().convert);
        let claims = Claims::new(strips.len());
        self.team.run((columns_max * values + LINE) * size_of::<f32>(), &|scratch| {
            claims.each(|unit| {
                let Strip { group, picture, line, columns, first } = &strips[unit];
                let floats = &mut bytemuck::cast_slice_mut::<Line, f32>(scratch)[..columns * values + LINE];
                let (used, spare) = floats.split_at_mut(columns * values);
                spare.fill(0.0);
                patches::write_line(group.rows[*picture], group.preprocess, patch, *line, used);
                for column in 0..*columns {
                    // SAFETY: `values` floats and the spare ones behind the last patch; the row is a whole number of
                    // vectors and belongs to this unit.
                    unsafe { convert(values, floats[column * values..].as_ptr(), to.at(first + column, 0)) };
                }
            });
        });
        out
    }

    /// All patches through the patch embedding, as floats.
    pub fn embedded(&mut self) -> Matrix {
        let patches = self.patches();
        let mut embedded = self.matrix(patches.rows, pitch(self.shape.width), size_of::<f32>());
        let part = Part { panels: &self.packed.patch_embed, rescale: None, from: 0, column: 0 };
        let share = Share { rows: 0..patches.rows, parts: vec![part] };
        linear::run(self.team, &patches, &[share], Store::Floats, embedded.target());
        embedded
    }

    /// scale * patch + shift + position, behind the prefix tokens.
    fn assemble(&mut self, embedded: &Matrix) -> Matrix {
        let width = self.shape.width;
        let mut x = self.matrix(self.tokens(), pitch(width), size_of::<f32>());
        let to = x.target();
        let ssf = self.layout.patch_embed();
        let prefix = self.shape.prefix_tokens;
        let packed = self.packed;
        let units = pictures(self.groups);
        let claims = Claims::new(units.len());
        self.team.run(0, &|_| {
            claims.each(|unit| {
                let (group, picture) = units[unit];
                let tokens = group.picture(picture);
                for (token, row) in tokens.clone().enumerate() {
                    // SAFETY: a picture's rows belong to its unit.
                    let out = unsafe { floats_mut(to, row, width) };
                    let Some(patch) = token.checked_sub(prefix) else {
                        out.copy_from_slice(&packed.prefix_tokens[token * width..][..width]);
                        continue;
                    };
                    let embedded =
                        floats(embedded, group.first_patch + picture * (group.tokens - prefix) + patch, width);
                    let positions = &group.positions[patch * width..][..width];
                    match group.vector {
                        None => add(out, embedded, positions),
                        Some(vector) => {
                            let (scale, shift) = (&vector[ssf.scale.clone()], &vector[ssf.shift.clone()]);
                            scale_shift_add(out, embedded, (scale, shift), positions);
                        }
                    }
                }
            });
        });
        x
    }

    /// Gain and bias of a LayerNorm as each group sees them, zeros behind the width.
    fn gains(&self, at: NormAt) -> Vec<[Vec<f32>; 2]> {
        let [gain, bias] = self.packed.norm(at);
        let range = self.layout.norm(at);
        let padded = pitch(self.shape.width);
        let group = |group: &Group<'_>| {
            let (mut gain, mut bias) = (gain.clone(), bias.clone());
            if let Some(vector) = group.vector {
                let (scale, shift) = (&vector[range.scale.clone()], &vector[range.shift.clone()]);
                gain.iter_mut().zip(scale).for_each(|(g, s)| *g *= s);
                bias.iter_mut().zip(scale).zip(shift).for_each(|((b, s), t)| *b = *b * s + t);
            }
            gain.resize(padded, 0.0);
            bias.resize(padded, 0.0);
            [gain, bias]
        };
        self.groups.iter().map(group).collect()
    }
}

impl Ops for Forward<'_> {
    type Pictures = ();
    type Act = Matrix;
    type Qkv = Matrix;
    type Features = Array2<f32>;

    fn embed(&mut self, (): &()) -> Matrix {
        let embedded = self.embedded();
        self.assemble(&embedded)
    }

    /// Elements for the linears that follow; the final norm's output stays in floats.
    fn norm(&mut self, x: &Matrix, at: NormAt) -> Matrix {
        let gains = self.gains(at);
        let to_elements = at != NormAt::Final;
        let size = if to_elements { self.element_size() } else { size_of::<f32>() };
        let mut out = self.matrix(x.rows, x.pitch, size);
        let to = out.target();
        let units = row_units(self.groups);
        let claims = Claims::new(units.len());
        let (width, norm) = (self.shape.width, self.team.kernel().norm);
        #[expect(clippy::cast_possible_truncation, reason = "the network computes in f32")]
        let eps = self.shape.eps as f32;
        self.team.run(0, &|_| {
            claims.each(|unit| {
                let (group, rows) = units[unit].clone();
                let [gain, bias] = &gains[group];
                let parameters = Norm { gain: gain.as_ptr(), bias: bias.as_ptr(), eps };
                for row in rows {
                    // SAFETY: rows are whole vectors on both sides, gain and bias are padded to them, and the row
                    // belongs to this unit.
                    unsafe { norm(width, x.at(row, 0).cast(), &parameters, to.at(row, 0), to_elements) };
                }
            });
        });
        out
    }

    fn qkv(&mut self, x: &Matrix, block: usize) -> Matrix {
        let mut out = self.matrix(x.rows, 3 * pitch(self.shape.width), self.element_size());
        let places = [Layer::Q, Layer::K, Layer::V].map(|layer| LinearAt { block, layer });
        let to = out.target();
        self.linears(x, &places, Store::Elements(None), to);
        out
    }

    fn attend(&mut self, qkv: &Matrix) -> Matrix {
        let apart = pitch(self.shape.width);
        let mut out = self.matrix(qkv.rows, apart, self.element_size());
        let to = out.target();
        let rows: Vec<Range<usize>> = pictures(self.groups).into_iter().map(|(g, row)| g.picture(row)).collect();
        attention::run(self.team, self.shape, qkv, apart, &rows, to);
        out
    }

    fn linear(&mut self, x: &Matrix, at: LinearAt, then: Then<'_, Matrix>) -> Matrix {
        let outputs = if at.layer == Layer::Fc1 { self.shape.mlp } else { self.shape.width };
        let (store, size) = match then {
            Then::Activate => (Store::Elements(Some(self.shape.activation)), self.element_size()),
            Then::Add(residual) => (Store::Add(residual), size_of::<f32>()),
        };
        let mut out = self.matrix(x.rows, pitch(outputs), size);
        let to = out.target();
        self.linears(x, &[at], store, to);
        out
    }

    fn pool(&mut self, x: &Matrix) -> Array2<f32> {
        let (width, prefix) = (self.shape.width, self.shape.prefix_tokens);
        let mut features = Array2::zeros((self.groups.iter().map(|g| g.rows.len()).sum(), 2 * width));
        for ((group, picture), mut out) in pictures(self.groups).into_iter().zip(features.rows_mut()) {
            let out = out.as_slice_mut().expect("rows of a fresh array are contiguous");
            let (cls, mean) = out.split_at_mut(width);
            let tokens = group.picture(picture);
            if prefix > 0 {
                cls.copy_from_slice(floats(x, tokens.start, width));
            }
            for row in tokens.clone().skip(prefix) {
                mean.iter_mut().zip(floats(x, row, width)).for_each(|(sum, v)| *sum += v);
            }
            #[expect(clippy::cast_precision_loss, reason = "token counts are small")]
            let count = (tokens.len() - prefix) as f32;
            mean.iter_mut().for_each(|sum| *sum /= count);
        }
        features
    }
}

/// One row of patches of one picture.
struct Strip<'a> {
    group: &'a Group<'a>,
    picture: usize,
    line: usize,
    columns: usize,
    /// Its first patch in the batch.
    first: usize,
}

fn strips<'a>(groups: &'a [Group<'a>]) -> Vec<Strip<'a>> {
    let mut strips = Vec::new();
    let mut first = 0;
    for (group, picture) in pictures(groups) {
        let (lines, columns) = group.grid;
        for line in 0..lines {
            strips.push(Strip { group, picture, line, columns, first });
            first += columns;
        }
    }
    strips
}

/// Every picture of the batch: its group, and its place in it.
pub fn pictures<'a>(groups: &'a [Group<'a>]) -> Vec<(&'a Group<'a>, usize)> {
    groups.iter().flat_map(|g| (0..g.rows.len()).map(move |row| (g, row))).collect()
}

/// Runs of rows of one group: short enough to balance, long enough not to be felt.
pub fn row_units(groups: &[Group<'_>]) -> Vec<(usize, Range<usize>)> {
    const ROWS: usize = 32;
    let runs = |(index, group): (usize, &Group<'_>)| {
        let range = group.range();
        let end = range.end;
        range.step_by(ROWS).map(move |first| (index, first..(first + ROWS).min(end))).collect::<Vec<_>>()
    };
    groups.iter().enumerate().flat_map(runs).collect()
}

/// The first `width` floats of a row.
pub fn floats(x: &Matrix, row: usize, width: usize) -> &[f32] {
    assert!(width <= x.pitch && x.size == size_of::<f32>());
    // SAFETY: the row holds `pitch` floats.
    unsafe { std::slice::from_raw_parts(x.at(row, 0).cast(), width) }
}

/// The first `width` floats of a row.
///
/// # Safety
/// Only the unit that owns the row asks for it, once at a time, while the matrix is alive.
pub unsafe fn floats_mut<'a>(to: Target, row: usize, width: usize) -> &'a mut [f32] {
    assert!(width <= to.pitch);
    // SAFETY: the row holds `pitch` floats; see the contract.
    unsafe { std::slice::from_raw_parts_mut(to.at(row, 0).cast(), width) }
}

fn add(out: &mut [f32], a: &[f32], b: &[f32]) {
    out.iter_mut().zip(a).zip(b).for_each(|((out, a), b)| *out = a + b);
}

fn scale_shift_add(out: &mut [f32], x: &[f32], (scale, shift): (&[f32], &[f32]), add: &[f32]) {
    let values = x.iter().zip(scale).zip(shift).zip(add);
    out.iter_mut().zip(values).for_each(|(out, (((x, scale), shift), add))| *out = x * scale + shift + add);
}
