use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis, Zip, concatenate, s};

use super::real::Real;
use crate::adapter::{Layout, SsfRange};
use crate::backbone::{Activation, Shape, Weights};
use crate::vit::{Layer, LinearAt, NormAt, Ops, Then};

/// Patches of the group's pictures and the position rows of their grid.
pub(super) struct Pictures<T> {
    /// One `[grid_h * grid_w, channels * patch * patch]` per row.
    pub patches: Vec<Array2<T>>,
    /// `[grid_h * grid_w, width]`.
    pub positions: Array2<T>,
}

/// The network of one group: frozen weights and, unless they are merged or bare, an adapter's flat vector. Rows are
/// computed one by one, so that no row can depend on another.
pub(super) struct Forward<'a, T> {
    pub shape: &'a Shape,
    pub weights: &'a Weights,
    pub layout: &'a Layout,
    pub rescale: Option<Array1<T>>,
}

impl<T: Real> Forward<'_, T> {
    /// x · (W * (1 + scale_out ⊗ scale_in))ᵀ + bias + shift.
    fn rescaled(&self, x: &[Array2<T>], at: LinearAt) -> Vec<Array2<T>> {
        let linear = self.weights.linear(at);
        let (mut weight, mut bias) = (widen2(linear.weight), widen1(linear.bias));
        if let Some(vector) = &self.rescale {
            let range = self.layout.linear(at);
            let (scale_in, scale_out) = (vector.slice(s![range.scale_in]), vector.slice(s![range.scale_out]));
            for (mut row, &scale_out) in weight.rows_mut().into_iter().zip(scale_out) {
                Zip::from(&mut row).and(scale_in).for_each(|w, &scale_in| *w *= T::one() + scale_out * scale_in);
            }
            bias += &vector.slice(s![range.shift]);
        }
        x.iter().map(|x| x.dot(&weight.t()) + &bias).collect()
    }

    fn ssf(&self, x: &mut Array2<T>, at: &SsfRange) {
        if let Some(vector) = &self.rescale {
            *x *= &vector.slice(s![at.scale.clone()]);
            *x += &vector.slice(s![at.shift.clone()]);
        }
    }
}

impl<T: Real> Ops for Forward<'_, T> {
    type Pictures = Pictures<T>;
    type Act = Vec<Array2<T>>;
    type Qkv = [Vec<Array2<T>>; 3];
    type Features = Array2<T>;

    fn embed(&mut self, pictures: &Pictures<T>) -> Self::Act {
        let linear = self.weights.patch_embed();
        let (weight, bias) = (widen2(linear.weight), widen1(linear.bias));
        let prefix = self.weights.prefix_tokens().map(widen2);
        let embed = |patches: &Array2<T>| {
            let mut x = patches.dot(&weight.t()) + &bias;
            self.ssf(&mut x, &self.layout.patch_embed());
            x += &pictures.positions;
            match &prefix {
                None => x,
                Some(prefix) => concatenate![Axis(0), *prefix, x],
            }
        };
        pictures.patches.iter().map(embed).collect()
    }

    fn norm(&mut self, x: &Self::Act, at: NormAt) -> Self::Act {
        let norm = self.weights.norm(at);
        let (gain, bias) = (widen1(norm.weight), widen1(norm.bias));
        let ssf = self.layout.norm(at);
        let norm = |x: &Array2<T>| {
            let mut y = standardise(x, self.shape.eps) * &gain + &bias;
            self.ssf(&mut y, &ssf);
            y
        };
        x.iter().map(norm).collect()
    }

    fn qkv(&mut self, x: &Self::Act, block: usize) -> Self::Qkv {
        [Layer::Q, Layer::K, Layer::V].map(|layer| self.rescaled(x, LinearAt { block, layer }))
    }

    fn attend(&mut self, [q, k, v]: &Self::Qkv) -> Self::Act {
        let rows = q.iter().zip(k).zip(v);
        rows.map(|((q, k), v)| attend(q, k, v, self.shape)).collect()
    }

    fn linear(&mut self, x: &Self::Act, at: LinearAt, then: Then<'_, Self::Act>) -> Self::Act {
        let mut y = self.rescaled(x, at);
        match then {
            Then::Activate => y.iter_mut().for_each(|y| activate(y, self.shape.activation)),
            Then::Add(residual) => y.iter_mut().zip(residual).for_each(|(y, residual)| *y += residual),
        }
        y
    }

    fn pool(&mut self, x: &Self::Act) -> Array2<T> {
        let width = self.shape.width;
        let mut features = Array2::zeros((x.len(), 2 * width));
        for (x, mut features) in x.iter().zip(features.rows_mut()) {
            let (prefix, patches) = x.view().split_at(Axis(0), self.shape.prefix_tokens);
            if let Some(cls) = prefix.rows().into_iter().next() {
                features.slice_mut(s![..width]).assign(&cls);
            }
            let mean = patches.sum_axis(Axis(0)) / T::of(patches.nrows() as f64);
            features.slice_mut(s![width..]).assign(&mean);
        }
        features
    }
}

/// Zero mean and unit variance per token, without gain and bias.
fn standardise<T: Real>(x: &Array2<T>, eps: f64) -> Array2<T> {
    let mut y = x.clone();
    for mut token in y.rows_mut() {
        let count = T::of(token.len() as f64);
        let mean = token.sum() / count;
        token -= mean;
        let variance = token.fold(T::zero(), |sum, &v| sum + v * v) / count;
        token /= (variance + T::of(eps)).sqrt();
    }
    y
}

/// Softmax attention of one picture, head by head.
fn attend<T: Real>(q: &Array2<T>, k: &Array2<T>, v: &Array2<T>, shape: &Shape) -> Array2<T> {
    let mut out = Array2::zeros(q.dim());
    let scale = T::one() / T::of(shape.head_size() as f64).sqrt();
    for head in 0..shape.heads {
        let columns = s![.., head * shape.head_size()..(head + 1) * shape.head_size()];
        let mut scores = q.slice(columns).dot(&k.slice(columns).t()) * scale;
        scores.rows_mut().into_iter().for_each(softmax);
        out.slice_mut(columns).assign(&scores.dot(&v.slice(columns)));
    }
    out
}

fn softmax<T: Real>(mut scores: ArrayViewMut1<'_, T>) {
    let max = scores.fold(T::neg_infinity(), |max, &v| max.max(v));
    scores.mapv_inplace(|v| (v - max).exp());
    let sum = scores.sum();
    scores /= sum;
}

fn activate<T: Real>(x: &mut Array2<T>, activation: Activation) {
    match activation {
        Activation::Gelu => x.mapv_inplace(|v| T::of(gelu(v.f64()))),
        Activation::GeluTanh => x.mapv_inplace(|v| T::of(gelu_tanh(v.f64()))),
    }
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

fn gelu_tanh(x: f64) -> f64 {
    let inner = std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}

fn widen1<T: Real>(x: ArrayView1<'_, f32>) -> Array1<T> {
    x.mapv(|v| T::of(f64::from(v)))
}

fn widen2<T: Real>(x: ArrayView2<'_, f32>) -> Array2<T> {
    x.mapv(|v| T::of(f64::from(v)))
}
