use std::ops::Range;

use ndarray::{Array1, Array2, Axis, Zip, s};

use super::ops::{
    Network, Pictures, activate, activate_backward, affine, attention, attention_scale, head_columns, standardise,
};
use super::real::Real;
use crate::adapter::SsfRange;
use crate::vit::{Gradients, Layer, LinearAt, NormAt, Ops, Then};

impl<T: Real> Gradients for Network<'_, T> {
    /// Before and after the activation.
    type Hidden = [Vec<Array2<T>>; 2];

    fn up(&mut self, x: &Self::Act, block: usize) -> Self::Hidden {
        let before = self.rescaled(x, LinearAt { block, layer: Layer::Fc1 });
        let mut after = before.clone();
        after.iter_mut().for_each(|y| activate(y, self.shape.activation));
        [before, after]
    }

    fn down(&mut self, [_, after]: &Self::Hidden, block: usize, residual: &Self::Act) -> Self::Act {
        self.linear(after, LinearAt { block, layer: Layer::Fc2 }, Then::Add(residual))
    }

    fn pool_backward(&mut self, d: &Array2<T>, x: &Self::Act) -> Self::Act {
        let (width, prefix) = (self.shape.width, self.shape.prefix_tokens);
        let tokens = |(d, x): (ndarray::ArrayView1<'_, T>, &Array2<T>)| {
            let mut tokens = Array2::zeros(x.dim());
            let (mut before, mut patches) = tokens.view_mut().split_at(Axis(0), prefix);
            if prefix > 0 {
                before.row_mut(0).assign(&d.slice(s![..width]));
            }
            let count = T::of(patches.nrows() as f64);
            patches.rows_mut().into_iter().for_each(|mut row| row.assign(&d.slice(s![width..]).mapv(|d| d / count)));
            tokens
        };
        d.rows().into_iter().zip(x).map(tokens).collect()
    }

    fn norm_backward(&mut self, x: &Self::Act, d: Self::Act, at: NormAt, d_residual: Option<Self::Act>) -> Self::Act {
        let (gain, bias) = self.gain_and_bias(at);
        let ssf = self.layout.norm(at);
        let mut d_x = d_residual.unwrap_or_else(|| x.iter().map(|x| Array2::zeros(x.dim())).collect());
        for ((x, d), d_x) in x.iter().zip(d).zip(&mut d_x) {
            let standard = standardise(x, self.shape.eps);
            let d = self.ssf_backward(&(&standard * &gain + &bias), d, &ssf);
            *d_x += &standardise_backward(x, &standard, d * &gain, self.shape.eps);
        }
        d_x
    }

    fn down_backward(&mut self, [before, after]: Self::Hidden, d: &Self::Act, block: usize) -> Self::Act {
        let mut d = self.linear_backward(&after, d, LinearAt { block, layer: Layer::Fc2 });
        d.iter_mut().zip(&before).for_each(|(d, x)| activate_backward(d, x, self.shape.activation));
        d
    }

    fn linear_backward(&mut self, x: &Self::Act, d: &Self::Act, at: LinearAt) -> Self::Act {
        let mut d = d.clone();
        self.drop_out(&mut d, at);
        let pictures = x.iter().zip(d).enumerate();
        pictures.map(|(picture, (x, d))| self.rescaled_backward(x, &d, at, picture)).collect()
    }

    fn attend_backward(&mut self, [q, k, v]: Self::Qkv, _: Self::Act, d: Self::Act) -> Self::Qkv {
        let mut out = [q.clone(), k.clone(), v.clone()];
        let [d_q, d_k, d_v] = &mut out;
        for (picture, d) in d.iter().enumerate() {
            for head in 0..self.shape.heads {
                let columns = head_columns(self.shape, head);
                let [q, k, v] = [&q, &k, &v].map(|x| x[picture].slice(columns));
                let d = d.slice(columns);
                let weights = attention(q, k);
                d_v[picture].slice_mut(columns).assign(&weights.t().dot(&d));
                let d_scores = softmax_backward(&weights, d.dot(&v.t())) * attention_scale::<T>(q.ncols());
                d_q[picture].slice_mut(columns).assign(&d_scores.dot(&k));
                d_k[picture].slice_mut(columns).assign(&d_scores.t().dot(&q));
            }
        }
        out
    }

    fn qkv_backward(&mut self, x: &Self::Act, d: Self::Qkv, block: usize) -> Self::Act {
        let layers = [Layer::Q, Layer::K, Layer::V].into_iter().zip(d);
        let parts = layers.map(|(layer, d)| self.linear_backward(x, &d, LinearAt { block, layer }));
        let sum = |mut sum: Self::Act, part: Self::Act| {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += &part);
            sum
        };
        parts.reduce(sum).expect("there are three")
    }

    fn embed_backward(&mut self, pictures: &Pictures<T>, d: Self::Act) {
        let linear = self.patch_embed();
        let ssf = self.layout.patch_embed();
        for (patches, d) in pictures.patches.iter().zip(d) {
            let d = d.slice(s![self.shape.prefix_tokens.., ..]).to_owned();
            self.ssf_backward(&affine(patches, &linear), d, &ssf);
        }
    }
}

impl<T: Real> Network<'_, T> {
    /// Through one picture's rescaled linear. With dW' = (z ∘ dY)ᵀ X: d scale_out sums dW' ∘ W ∘ scale_in over inputs,
    /// d scale_in sums dW' ∘ W ∘ scale_out over outputs, d shift sums z ∘ dY over tokens.
    fn rescaled_backward(&mut self, x: &Array2<T>, d: &Array2<T>, at: LinearAt, picture: usize) -> Array2<T> {
        let (effective, _) = self.effective(at, picture);
        if let Some(vector) = &self.rescale {
            let range = self.layout.linear(at);
            let noisy = d * &self.noise(at, picture, d.ncols());
            let d_rescaling = noisy.t().dot(x) * super::ops::widen2::<T>(self.weights.linear(at).weight);
            let d_in = vector.slice(s![range.scale_out.clone()]).dot(&d_rescaling);
            let d_out = d_rescaling.dot(&vector.slice(s![range.scale_in.clone()]));
            self.add(range.scale_in, &d_in);
            self.add(range.scale_out, &d_out);
            self.add(range.shift, &noisy.sum_axis(Axis(0)));
        }
        d.dot(&effective)
    }

    /// Through scale and shift of `x`.
    fn ssf_backward(&mut self, x: &Array2<T>, d: Array2<T>, at: &SsfRange) -> Array2<T> {
        let Some(vector) = &self.rescale else { return d };
        let d_x = &d * &vector.slice(s![at.scale.clone()]);
        self.add(at.scale.clone(), &(x * &d).sum_axis(Axis(0)));
        self.add(at.shift.clone(), &d.sum_axis(Axis(0)));
        d_x
    }

    fn add(&mut self, range: Range<usize>, part: &Array1<T>) {
        let mut sum = self.gradient.slice_mut(s![range]);
        sum += part;
    }
}

/// dx = (d - mean(d) - standard · mean(d ∘ standard)) / deviation, per token.
fn standardise_backward<T: Real>(x: &Array2<T>, standard: &Array2<T>, mut d: Array2<T>, eps: f64) -> Array2<T> {
    let count = T::of(x.ncols() as f64);
    let tokens = d.rows_mut().into_iter().zip(x.rows()).zip(standard.rows());
    for ((mut d, x), standard) in tokens {
        let mean = x.sum() / count;
        let variance = x.fold(T::zero(), |sum, &v| sum + (v - mean) * (v - mean)) / count;
        let (d_mean, along) = (d.sum() / count, d.dot(&standard) / count);
        Zip::from(&mut d).and(standard).for_each(|d, &s| *d -= d_mean + s * along);
        d /= (variance + T::of(eps)).sqrt();
    }
    d
}

/// dS = P ∘ (d - rowsum(d ∘ P)).
fn softmax_backward<T: Real>(weights: &Array2<T>, mut d: Array2<T>) -> Array2<T> {
    for (mut d, weights) in d.rows_mut().into_iter().zip(weights.rows()) {
        let along = d.dot(&weights);
        Zip::from(&mut d).and(weights).for_each(|d, &w| *d = w * (*d - along));
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::Layout;
    use crate::backbone::{Activation, Shape};
    use crate::engine::reference::{Reference, Shared, widened};
    use crate::engine::testing::random;
    use crate::engine::training::Perturb;
    use crate::vit;

    fn network<'a>(shared: &'a Shared, vector: Array1<f64>, perturb: &'a Perturb) -> Network<'a, f64> {
        Network {
            shape: &shared.backbone.shape,
            weights: &shared.weights,
            layout: &shared.layout,
            gradient: Array1::zeros(vector.len()),
            rescale: Some(vector),
            perturb,
        }
    }

    /// Σ weights ∘ features, which has every feature's derivative.
    fn weights(features: &Array2<f64>) -> Array2<f64> {
        Array2::from_shape_fn(features.dim(), |(row, column)| ((3 * row + 7 * column) % 11) as f64 / 5.0 - 1.0)
    }

    /// Every derivative of a small network against central differences; names of segments whose gradient is zero.
    fn compare(shape: Shape, perturb: &Perturb) -> Vec<String> {
        let (backbone, values) = random::backbone(shape, 2, 1);
        let adapter = random::adapter(&backbone, 2);
        let shared = Reference::<f64>::new(backbone.clone(), values, 0).shared;
        let pictures = [1, 2].map(|seed| random::picture((2 * shape.patch, 3 * shape.patch), seed));
        let pictures: Vec<_> = pictures.iter().collect();
        let pictures = shared.pictures::<f64>(&adapter.preprocess, adapter.position_rule, &pictures);
        let vector: Array1<f64> = widened(&adapter.rescale);
        let loss = |vector: Array1<f64>| {
            let features = vit::forward(&mut network(&shared, vector, perturb), shape.depth, &pictures);
            (&features * &weights(&features)).sum()
        };
        let mut trained = network(&shared, vector.clone(), perturb);
        vit::gradient(&mut trained, shape.depth, 1, &pictures, weights);
        let gradient = trained.gradient;
        for (i, &found) in gradient.iter().enumerate() {
            const STEP: f64 = 1e-5;
            let [up, down] = [STEP, -STEP].map(|step| {
                let mut vector = vector.clone();
                vector[i] += step;
                loss(vector)
            });
            let expected = (up - down) / (2.0 * STEP);
            assert!((found - expected).abs() <= 1e-7 * (1.0 + expected.abs()), "{shape:?} {i}: {found}, {expected}");
        }
        let layout = Layout::of(&shape);
        let zero = |range: Range<usize>| gradient.slice(s![range]).iter().all(|g| g.abs() < 1e-9);
        layout.segments().iter().filter(|segment| zero(segment.range.clone())).map(|s| s.name.clone()).collect()
    }

    #[test]
    fn every_derivative_is_the_limit_of_differences() {
        let base = Shape { width: 6, depth: 2, heads: 2, mlp: 5, patch: 2, ..Shape::vit_b16() };
        let shapes = [
            base,
            Shape { prefix_tokens: 0, activation: Activation::GeluTanh, ..base },
            Shape { prefix_tokens: 3, heads: 3, ..base },
        ];
        let perturbed = Perturb { seed: 5, dropout: vec![0.2, 0.5], noise: vec![0.0, 0.4] };
        for shape in shapes {
            for perturb in [&Perturb::none(), &perturbed] {
                // Softmax ignores what is added to all keys.
                assert_eq!(compare(shape, perturb), ["blocks.0.attn.k.shift", "blocks.1.attn.k.shift"]);
            }
        }
    }
}
