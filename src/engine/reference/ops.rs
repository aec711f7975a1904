use ndarray::{
    Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis, Ix2, SliceInfo, SliceInfoElem, Zip, concatenate, s,
};

use super::real::Real;
use crate::adapter::{Layout, SsfRange};
use crate::backbone::{Activation, Shape, Weights};
use crate::engine::training::Perturb;
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
pub(super) struct Network<'a, T> {
    pub shape: &'a Shape,
    pub weights: &'a Weights,
    pub layout: &'a Layout,
    pub rescale: Option<Array1<T>>,
    pub perturb: &'a Perturb,
    /// What the backward pass adds up, in layout order; empty when there is none.
    pub gradient: Array1<T>,
}

impl<T: Real> Network<'_, T> {
    /// x · (W * (1 + scale_out ⊗ scale_in))ᵀ + bias + shift, scale_out and shift times that picture's noise.
    pub(super) fn rescaled(&self, x: &[Array2<T>], at: LinearAt) -> Vec<Array2<T>> {
        if self.perturb.is_noisy(at) {
            let each = |(picture, x): (usize, &Array2<T>)| affine(x, &self.effective(at, picture));
            return x.iter().enumerate().map(each).collect();
        }
        let same = self.effective(at, 0);
        x.iter().map(|x| affine(x, &same)).collect()
    }

    /// Weight `[out, in]` and bias `[out]` of a linear as that picture meets them.
    pub(super) fn effective(&self, at: LinearAt, picture: usize) -> (Array2<T>, Array1<T>) {
        let linear = self.weights.linear(at);
        let (mut weight, mut bias) = (widen2(linear.weight), widen1(linear.bias));
        if let Some(vector) = &self.rescale {
            let range = self.layout.linear(at);
            let noise = self.noise(at, picture, bias.len());
            let (scale_in, scale_out) = (vector.slice(s![range.scale_in]), &noise * &vector.slice(s![range.scale_out]));
            for (mut row, &scale_out) in weight.rows_mut().into_iter().zip(&scale_out) {
                Zip::from(&mut row).and(scale_in).for_each(|w, &scale_in| *w *= T::one() + scale_out * scale_in);
            }
            bias += &(noise * vector.slice(s![range.shift]));
        }
        (weight, bias)
    }

    /// The factors of the adapter's part of that picture's outputs.
    pub(super) fn noise(&self, at: LinearAt, picture: usize, outputs: usize) -> Array1<T> {
        Array1::from_shape_fn(outputs, |output| T::of(f64::from(self.perturb.noise(at, picture, output))))
    }

    /// Applies that layer's dropout masks.
    pub(super) fn drop_out(&self, y: &mut [Array2<T>], at: LinearAt) {
        for (picture, y) in y.iter_mut().enumerate() {
            for (token, y) in y.rows_mut().into_iter().enumerate() {
                if let Some(keep) = self.perturb.keep_row(at, picture, token) {
                    y.into_iter().enumerate().for_each(|(column, y)| *y *= T::of(f64::from(keep.factor(column))));
                }
            }
        }
    }

    /// The frozen patch embedding.
    pub(super) fn patch_embed(&self) -> (Array2<T>, Array1<T>) {
        let linear = self.weights.patch_embed();
        (widen2(linear.weight), widen1(linear.bias))
    }

    /// Gain and bias of a frozen LayerNorm.
    pub(super) fn gain_and_bias(&self, at: NormAt) -> (Array1<T>, Array1<T>) {
        let norm = self.weights.norm(at);
        (widen1(norm.weight), widen1(norm.bias))
    }

    fn ssf(&self, x: &mut Array2<T>, at: &SsfRange) {
        if let Some(vector) = &self.rescale {
            *x *= &vector.slice(s![at.scale.clone()]);
            *x += &vector.slice(s![at.shift.clone()]);
        }
    }
}

impl<T: Real> Ops for Network<'_, T> {
    type Pictures = Pictures<T>;
    type Act = Vec<Array2<T>>;
    type Qkv = [Vec<Array2<T>>; 3];
    type Features = Array2<T>;

    fn embed(&mut self, pictures: &Pictures<T>) -> Self::Act {
        let linear = self.patch_embed();
        let prefix = self.weights.prefix_tokens().map(widen2);
        let embed = |patches: &Array2<T>| {
            let mut x = affine(patches, &linear);
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
        let (gain, bias) = self.gain_and_bias(at);
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
            Then::Add(residual) => {
                self.drop_out(&mut y, at);
                y.iter_mut().zip(residual).for_each(|(y, residual)| *y += residual);
            }
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

pub(super) fn affine<T: Real>(x: &Array2<T>, (weight, bias): &(Array2<T>, Array1<T>)) -> Array2<T> {
    x.dot(&weight.t()) + bias
}

/// Zero mean and unit variance per token, without gain and bias.
pub(super) fn standardise<T: Real>(x: &Array2<T>, eps: f64) -> Array2<T> {
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
    for head in 0..shape.heads {
        let columns = head_columns(shape, head);
        let weights = attention(q.slice(columns), k.slice(columns));
        out.slice_mut(columns).assign(&weights.dot(&v.slice(columns)));
    }
    out
}

/// The columns of a head.
pub(super) fn head_columns(shape: &Shape, head: usize) -> SliceInfo<[SliceInfoElem; 2], Ix2, Ix2> {
    s![.., head * shape.head_size()..(head + 1) * shape.head_size()]
}

/// How much each token `[tokens, tokens]` of one head attends to each.
pub(super) fn attention<T: Real>(q: ArrayView2<'_, T>, k: ArrayView2<'_, T>) -> Array2<T> {
    let mut scores = q.dot(&k.t()) * attention_scale::<T>(q.ncols());
    scores.rows_mut().into_iter().for_each(softmax);
    scores
}

/// 1/√head_size.
pub(super) fn attention_scale<T: Real>(head_size: usize) -> T {
    T::one() / T::of(head_size as f64).sqrt()
}

fn softmax<T: Real>(mut scores: ArrayViewMut1<'_, T>) {
    let max = scores.fold(T::neg_infinity(), |max, &v| max.max(v));
    scores.mapv_inplace(|v| (v - max).exp());
    let sum = scores.sum();
    scores /= sum;
}

pub(super) fn activate<T: Real>(x: &mut Array2<T>, activation: Activation) {
    match activation {
        Activation::Gelu => x.mapv_inplace(|v| T::of(gelu(v.f64()))),
        Activation::GeluTanh => x.mapv_inplace(|v| T::of(gelu_tanh(v.f64()))),
    }
}

/// Multiplies `d` by the activation's derivative at `x`.
pub(super) fn activate_backward<T: Real>(d: &mut Array2<T>, x: &Array2<T>, activation: Activation) {
    let derivative = match activation {
        Activation::Gelu => gelu_derivative,
        Activation::GeluTanh => gelu_tanh_derivative,
    };
    Zip::from(d).and(x).for_each(|d, &x| *d *= T::of(derivative(x.f64())));
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))
}

/// Φ(x) + x · φ(x).
fn gelu_derivative(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    0.5 * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)) + x * density
}

fn gelu_tanh(x: f64) -> f64 {
    let inner = std::f64::consts::FRAC_2_PI.sqrt() * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}

fn gelu_tanh_derivative(x: f64) -> f64 {
    let root = std::f64::consts::FRAC_2_PI.sqrt();
    let tanh = (root * (x + 0.044_715 * x * x * x)).tanh();
    0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * root * (1.0 + 3.0 * 0.044_715 * x * x)
}

pub(super) fn widen1<T: Real>(x: ArrayView1<'_, f32>) -> Array1<T> {
    x.mapv(|v| T::of(f64::from(v)))
}

pub(super) fn widen2<T: Real>(x: ArrayView2<'_, f32>) -> Array2<T> {
    x.mapv(|v| T::of(f64::from(v)))
}
