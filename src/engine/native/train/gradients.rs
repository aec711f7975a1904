//! The derivatives of the network's operations.

use std::ops::Range;

use ndarray::Array2;

use super::reduce;
use super::{Matrix, Training, pitch};
use crate::adapter::SsfRange;
use crate::engine::native::attention;
use crate::engine::native::buffer::Target;
use crate::engine::native::claims;
use crate::engine::native::kernel::NormBackward;
use crate::engine::native::linear::{self, Part, Rescale, Share, Store};
use crate::engine::native::ops::{floats, floats_mut, pictures, row_units};
use crate::vit::{Gradients, Layer, LinearAt, NormAt, Ops, Then};

const QKV: [Layer; 3] = [Layer::Q, Layer::K, Layer::V];

impl Ops for Training<'_> {
    type Pictures = ();
    type Act = Matrix;
    type Qkv = Matrix;
    type Features = Array2<f32>;

    fn embed(&mut self, pictures: &()) -> Matrix {
        self.forward.embed(pictures)
    }

    fn norm(&mut self, x: &Matrix, at: NormAt) -> Matrix {
        self.forward.norm(x, at)
    }

    fn qkv(&mut self, x: &Matrix, block: usize) -> Matrix {
        self.forward.qkv(x, block)
    }

    fn attend(&mut self, qkv: &Matrix) -> Matrix {
        self.forward.attend(qkv)
    }

    fn linear(&mut self, x: &Matrix, at: LinearAt, then: Then<'_, Matrix>) -> Matrix {
        match then {
            Then::Activate => {
                let [_, after] = self.up(x, at.block);
                after
            }
            Then::Add(residual) if self.drops(at) => self.linear_dropped(x, at, residual),
            Then::Add(residual) => self.forward.linear(x, at, Then::Add(residual)),
        }
    }

    fn pool(&mut self, x: &Matrix) -> Array2<f32> {
        self.forward.pool(x)
    }
}

impl Gradients for Training<'_> {
    /// Elements before and after the activation.
    type Hidden = [Matrix; 2];

    fn up(&mut self, x: &Matrix, block: usize) -> [Matrix; 2] {
        let mut before = self.elements(x.rows, self.forward.shape.mlp);
        let to = before.target();
        self.forward.linears(x, &[LinearAt { block, layer: Layer::Fc1 }], Store::Elements(None), to);
        let mut after = self.elements(x.rows, self.forward.shape.mlp);
        let (to, shape) = (after.target(), self.forward.shape);
        let activate = self.forward.team.kernel().backward.activate;
        self.each_row(&|row| {
            // SAFETY: rows of whole vectors; the row is this call's.
            unsafe { activate(shape.mlp, shape.activation, before.at(row, 0), to.at(row, 0)) };
        });
        [before, after]
    }

    fn down(&mut self, [_, after]: &[Matrix; 2], block: usize, residual: &Matrix) -> Matrix {
        self.linear(after, LinearAt { block, layer: Layer::Fc2 }, Then::Add(residual))
    }

    fn pool_backward(&mut self, d: &Array2<f32>, x: &Matrix) -> Matrix {
        let (width, prefix) = (self.forward.shape.width, self.forward.shape.prefix_tokens);
        let mut out = self.forward.matrix(x.rows, x.pitch, size_of::<f32>());
        let to = out.target();
        self.each_picture(&|picture, tokens| {
            let d = d.row(picture);
            #[expect(clippy::cast_precision_loss, reason = "token counts are small")]
            let count = (tokens.len() - prefix) as f32;
            for (token, row) in tokens.enumerate() {
                // SAFETY: a picture's rows are this call's.
                let out = unsafe { floats_mut(to, row, width) };
                if token >= prefix {
                    out.iter_mut().zip(d.iter().skip(width)).for_each(|(out, d)| *out = d / count);
                } else if token == 0 {
                    out.iter_mut().zip(d).for_each(|(out, d)| *out = *d);
                } else {
                    out.fill(0.0);
                }
            }
        });
        out
    }

    fn norm_backward(&mut self, x: &Matrix, d: Matrix, at: NormAt, d_residual: Option<Matrix>) -> Matrix {
        let fresh = d_residual.is_none();
        let mut out = d_residual.unwrap_or_else(|| self.forward.matrix(x.rows, x.pitch, size_of::<f32>()));
        let (to, width, padded) = (out.target(), self.forward.shape.width, pitch(self.forward.shape.width));
        let range = self.forward.layout.norm(at);
        let [mut gain, mut bias] = self.forward.packed.norm(at).clone();
        let mut slope: Vec<f32> = gain.iter().zip(&self.vector[range.scale.clone()]).map(|(g, s)| g * s).collect();
        for padding in [&mut gain, &mut bias, &mut slope] {
            padding.resize(padded, 0.0);
        }
        #[expect(clippy::cast_possible_truncation, reason = "the network computes in f32")]
        let eps = self.forward.shape.eps as f32;
        let units = row_units(self.forward.groups);
        let norm = self.forward.team.kernel().backward.norm;
        let sums = claims::map(self.forward.team, 0, units.len(), &|unit, _| {
            let parameters = NormBackward { gain: gain.as_ptr(), bias: bias.as_ptr(), slope: slope.as_ptr(), eps };
            let mut sums = [vec![0.0; padded], vec![0.0; padded]];
            for row in units[unit].1.clone() {
                if fresh {
                    // SAFETY: the row is this unit's.
                    unsafe { floats_mut(to, row, width) }.fill(0.0);
                }
                let (x, d, to) = (x.at(row, 0).cast(), d.at(row, 0).cast(), to.at(row, 0).cast());
                // SAFETY: all are rows of whole vectors, and the row is this unit's.
                unsafe { norm(width, x, d, &parameters, to, sums.each_mut().map(|sum| sum.as_mut_ptr())) };
            }
            sums
        });
        self.add_ssf(&range, &sums);
        out
    }

    fn down_backward(&mut self, [before, after]: [Matrix; 2], d: &Matrix, block: usize) -> Matrix {
        let at = LinearAt { block, layer: Layer::Fc2 };
        let d = self.dropped(d, at);
        self.reduce(&after, &d, &[at]);
        drop(after);
        let mut out = self.elements(d.rows, self.forward.shape.mlp);
        let to = out.target();
        self.through(&d, (at, 0), Store::Elements(None), to);
        let (shape, activate) = (self.forward.shape, self.forward.team.kernel().backward.activate_backward);
        self.each_row(&|row| {
            // SAFETY: rows of whole vectors; the row is this call's.
            unsafe { activate(shape.mlp, shape.activation, before.at(row, 0), to.at(row, 0)) };
        });
        out
    }

    /// As floats for the norm that comes next, as elements for attention.
    fn linear_backward(&mut self, x: &Matrix, d: &Matrix, at: LinearAt) -> Matrix {
        if at.layer == Layer::Fc1 {
            self.reduce(x, d, &[at]);
            let mut out = self.forward.matrix(x.rows, x.pitch, size_of::<f32>());
            let to = out.target();
            self.through(d, (at, 0), Store::Floats, to);
            return out;
        }
        let d = self.dropped(d, at);
        self.reduce(x, &d, &[at]);
        let mut out = self.elements(x.rows, self.forward.shape.width);
        let to = out.target();
        self.through(&d, (at, 0), Store::Elements(None), to);
        out
    }

    fn attend_backward(&mut self, qkv: Matrix, attended: Matrix, d: Matrix) -> Matrix {
        drop(attended);
        let mut out = self.forward.matrix(qkv.rows, qkv.pitch, qkv.size);
        let to = out.target();
        let rows: Vec<_> = pictures(self.forward.groups).into_iter().map(|(g, row)| g.picture(row)).collect();
        let apart = qkv.pitch / QKV.len();
        attention::run_backward(self.forward.team, self.forward.shape, (&qkv, apart), &d, &rows, to);
        out
    }

    fn qkv_backward(&mut self, x: &Matrix, d: Matrix, block: usize) -> Matrix {
        let places = QKV.map(|layer| LinearAt { block, layer });
        self.reduce(x, &d, &places);
        let apart = d.pitch / QKV.len();
        let mut sum: Option<Matrix> = None;
        for (i, at) in places.into_iter().enumerate() {
            let mut out = self.forward.matrix(x.rows, x.pitch, size_of::<f32>());
            let to = out.target();
            self.through(&d, (at, i * apart), sum.as_ref().map_or(Store::Floats, Store::Add), to);
            sum = Some(out);
        }
        sum.expect("there are three")
    }

    fn embed_backward(&mut self, (): &(), d: Matrix) {
        let embedded = self.forward.embedded();
        let (width, prefix) = (self.forward.shape.width, self.forward.shape.prefix_tokens);
        let units = pictures(self.forward.groups);
        let sums = claims::map(self.forward.team, 0, units.len(), &|unit, _| {
            let (group, picture) = units[unit];
            let mut sums = [vec![0.0; width], vec![0.0; width]];
            let [scale, shift] = &mut sums;
            let first = group.first_patch + picture * (group.tokens - prefix);
            for (patch, row) in group.picture(picture).skip(prefix).enumerate() {
                let (d, x) = (floats(&d, row, width), floats(&embedded, first + patch, width));
                scale.iter_mut().zip(d).zip(x).for_each(|((sum, d), x)| *sum += d * x);
                shift.iter_mut().zip(d).for_each(|(sum, d)| *sum += d);
            }
            sums
        });
        self.add_ssf(&self.forward.layout.patch_embed(), &sums);
    }
}

impl Training<'_> {
    fn elements(&self, rows: usize, columns: usize) -> Matrix {
        self.forward.matrix(rows, pitch(columns), self.forward.element_size())
    }

    fn drops(&self, at: LinearAt) -> bool {
        self.perturb.keep_row(at, 0, 0).is_some()
    }

    fn each_row(&mut self, f: &(dyn Fn(usize) + Sync)) {
        let units = row_units(self.forward.groups);
        claims::map(self.forward.team, 0, units.len(), &|unit, _| units[unit].1.clone().for_each(f));
    }

    /// `f` gets a picture's place in the pass and its tokens.
    fn each_picture(&mut self, f: &(dyn Fn(usize, Range<usize>) + Sync)) {
        let units = pictures(self.forward.groups);
        claims::map(self.forward.team, 0, units.len(), &|unit, _| f(unit, units[unit].0.picture(units[unit].1)));
    }

    /// A linear whose output is dropped out before the residual is added.
    fn linear_dropped(&mut self, x: &Matrix, at: LinearAt, residual: &Matrix) -> Matrix {
        let mut out = self.forward.matrix(residual.rows, residual.pitch, size_of::<f32>());
        let to = out.target();
        self.forward.linears(x, &[at], Store::Floats, to);
        let (perturb, width) = (self.perturb, self.forward.shape.width);
        let drop_out_add = self.forward.team.kernel().backward.drop_out_add;
        self.each_picture(&|picture, tokens| {
            for (token, row) in tokens.enumerate() {
                if let Some(keep) = perturb.keep_row(at, picture, token) {
                    // SAFETY: rows of whole vectors; a picture's rows are this call's.
                    unsafe { drop_out_add(width, residual.at(row, 0).cast(), &keep, to.at(row, 0).cast()) };
                }
            }
        });
        out
    }

    /// The stream's gradient behind the dropout of a linear's output, as elements.
    fn dropped(&mut self, d: &Matrix, at: LinearAt) -> Matrix {
        let (perturb, width) = (self.perturb, self.forward.shape.width);
        let mut out = self.elements(d.rows, width);
        let to = out.target();
        let kernel = self.forward.team.kernel();
        self.each_picture(&|picture, tokens| {
            for (token, row) in tokens.enumerate() {
                let (d, to) = (d.at(row, 0).cast(), to.at(row, 0));
                match perturb.keep_row(at, picture, token) {
                    // SAFETY: rows of whole vectors; a picture's rows are this call's.
                    Some(keep) => unsafe { (kernel.backward.drop_out)(width, d, &keep, to) },
                    // SAFETY: as above.
                    None => unsafe { (kernel.convert)(width, d, to) },
                }
            }
        });
        out
    }

    /// d · W' with the transposed weight, where `from` is the first column of `d`.
    fn through(&mut self, d: &Matrix, (at, from): (LinearAt, usize), store: Store<'_>, to: Target) {
        let range = self.forward.layout.linear(at);
        let panels = self.transposed.at(at);
        let shares = self.forward.groups.iter().map(|group| {
            let vector = group.vector.expect("training binds a vector");
            let rescale = Rescale {
                scale_in: &vector[range.scale_out.clone()],
                scale_out: &vector[range.scale_in.clone()],
                shift: &self.zeros,
            };
            let part = Part { panels, rescale: Some(rescale), from, column: 0 };
            Share { rows: group.range(), parts: vec![part] }
        });
        let shares: Vec<_> = shares.collect();
        linear::run(self.forward.team, d, &shares, store, to);
    }

    /// The gradients of the vectors of linears of `x`, whose outputs' gradients stand side by side in `d`.
    fn reduce(&mut self, x: &Matrix, d: &Matrix, places: &[LinearAt]) {
        let apart = d.pitch / places.len();
        let noisy = self.perturb.is_noisy(places[0]).then(|| self.times_noise(d, places));
        let ranges: Vec<_> = places.iter().map(|&at| self.forward.layout.linear(at)).collect();
        let part = |(i, &at): (usize, &LinearAt)| reduce::Part {
            panels: self.transposed.at(at),
            scale_in: &self.vector[ranges[i].scale_in.clone()],
            scale_out: &self.vector[ranges[i].scale_out.clone()],
            column: i * apart,
        };
        let parts: Vec<_> = places.iter().enumerate().map(part).collect();
        let sums = reduce::run(self.forward.team, x, noisy.as_ref().unwrap_or(d), &parts);
        for (range, sums) in ranges.into_iter().zip(sums) {
            self.gradient[range.scale_in].copy_from_slice(&sums.scale_in);
            self.gradient[range.scale_out].copy_from_slice(&sums.scale_out);
            self.gradient[range.shift].copy_from_slice(&sums.shift);
        }
    }

    /// The outputs' gradients times each picture's noise.
    fn times_noise(&mut self, d: &Matrix, places: &[LinearAt]) -> Matrix {
        let mut out = self.forward.matrix(d.rows, d.pitch, d.size);
        let (to, apart, perturb) = (out.target(), d.pitch / places.len(), self.perturb);
        let scale = self.forward.team.kernel().backward.scale;
        self.each_picture(&|picture, tokens| {
            let noise = places.iter().flat_map(|&at| (0..apart).map(move |output| perturb.noise(at, picture, output)));
            let noise: Vec<f32> = noise.collect();
            for row in tokens {
                // SAFETY: rows of whole vectors; a picture's rows are this call's.
                unsafe { scale(d.pitch, d.at(row, 0), noise.as_ptr(), to.at(row, 0)) };
            }
        });
        out
    }

    /// Adds sums `[scale, shift]`, in their order.
    fn add_ssf(&mut self, range: &SsfRange, sums: &[[Vec<f32>; 2]]) {
        for [scale, shift] in sums {
            for (range, part) in [(range.scale.clone(), scale), (range.shift.clone(), shift)] {
                self.gradient[range].iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            }
        }
    }
}
