use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis, Slice};

use super::parameters::Places;
use crate::adapter::Pooling;

/// The task's classifier while it is trained, in f32.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    weight: ArrayView2<'a, f32>,
    bias: ArrayView1<'a, f32>,
    pooling: Pooling,
}

impl<'a> Head<'a> {
    /// The head inside the parameters.
    pub fn new(parameters: &'a [f32], places: &Places, pooling: Pooling) -> Self {
        let bias = ArrayView1::from(&parameters[places.bias.clone()]);
        let shape = (bias.len(), places.weight.len() / bias.len());
        let weight = ArrayView2::from_shape(shape, &parameters[places.weight.clone()]).expect("as many as places say");
        Self { weight, bias, pooling }
    }

    /// Logits `[rows, classes]` of features `[rows, 2 * width]`.
    pub fn logits(&self, features: &Array2<f32>) -> Array2<f32> {
        self.pooled(features).dot(&self.weight.t()) + self.bias
    }

    /// Adds the derivatives of weight and bias to `d_head`, which holds one after the other, and answers with that of the
    /// features.
    pub fn backward(&self, features: &Array2<f32>, d_logits: &Array2<f32>, d_head: &mut [f32]) -> Array2<f32> {
        let (d_weight, d_bias) = d_head.split_at_mut(self.weight.len());
        let shaped = ArrayViewMut2::from_shape(self.weight.dim(), d_weight);
        let mut d_weight = shaped.expect("as many as the head has");
        d_weight += &d_logits.t().dot(&self.pooled(features));
        let mut d_bias = ArrayViewMut1::from(d_bias);
        d_bias += &d_logits.sum_axis(Axis(0));
        let mut d = Array2::zeros(features.dim());
        d.slice_axis_mut(Axis(1), self.columns(features)).assign(&d_logits.dot(&self.weight));
        d
    }

    fn pooled<'f>(&self, features: &'f Array2<f32>) -> ArrayView2<'f, f32> {
        features.slice_axis(Axis(1), self.columns(features))
    }

    fn columns(&self, features: &Array2<f32>) -> Slice {
        let width = features.ncols() / 2;
        match self.pooling {
            Pooling::Cls => Slice::from(..width),
            Pooling::Mean => Slice::from(width..),
            Pooling::ClsMean => Slice::from(..),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::Layout;
    use crate::backbone::Shape;

    /// Σ d ∘ logits is linear in every parameter and feature, so its differences are its derivatives.
    #[test]
    fn derivatives_are_differences() {
        let layout = Layout::of(&Shape { width: 2, depth: 1, heads: 1, mlp: 2, ..Shape::vit_b16() });
        for pooling in [Pooling::Cls, Pooling::Mean, Pooling::ClsMean] {
            let places = Places::new(&layout, 3, pooling.features(2));
            let parameters: Vec<f32> = (0..places.count()).map(|i| (i % 7) as f32 - 3.0).collect();
            let features = Array2::from_shape_fn((2, 4), |(row, column)| (row * 4 + column) as f32);
            let d_logits = Array2::from_shape_fn((2, 3), |(row, class)| (row * 3 + class) as f32 - 2.0);
            let loss = |parameters: &[f32], features: &Array2<f32>| {
                (Head::new(parameters, &places, pooling).logits(features) * &d_logits).sum()
            };
            let before = loss(&parameters, &features);
            let mut gradient = vec![0.0; places.count()];
            let (_, d_head) = gradient.split_at_mut(places.weight.start);
            let d = Head::new(&parameters, &places, pooling).backward(&features, &d_logits, d_head);
            for i in places.vector.end..places.count() {
                let mut parameters = parameters.clone();
                parameters[i] += 1.0;
                assert_eq!(loss(&parameters, &features) - before, gradient[i], "{pooling:?} {i}");
            }
            for at in (0..2).flat_map(|row| (0..4).map(move |column| (row, column))) {
                let mut features = features.clone();
                features[at] += 1.0;
                assert_eq!(loss(&parameters, &features) - before, d[at], "{pooling:?} {at:?}");
            }
        }
    }
}
