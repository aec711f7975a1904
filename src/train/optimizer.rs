use std::ops::Range;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f32 = 1e-8;

/// A run of parameters that is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Place in the vector of parameters.
    pub range: Range<usize>,
    /// Whether weight decay draws it towards 0.
    pub decays: bool,
}

/// AdamW (Loshchilov and Hutter 2019) with PyTorch's defaults and order of operations: β = (0.9, 0.999), ε = 1e-8.
#[derive(Clone, Debug, PartialEq)]
pub struct AdamW {
    /// Updates made.
    pub steps: u32,
    /// Running mean of the gradient.
    pub mean: Vec<f32>,
    /// Running mean of its square.
    pub square: Vec<f32>,
}

impl AdamW {
    /// Before the first update of that many parameters.
    pub fn new(parameters: usize) -> Self {
        Self { steps: 0, mean: vec![0.0; parameters], square: vec![0.0; parameters] }
    }

    /// One update of the spans; other parameters stay as they are.
    #[expect(clippy::cast_possible_truncation, reason = "factors are computed in f64 and applied in f32")]
    pub fn update(&mut self, parameters: &mut [f32], gradient: &[f32], spans: &[Span], rate: f64, decay: f64) {
        self.steps += 1;
        let corrected = |beta: f64| 1.0 - beta.powf(f64::from(self.steps));
        let step = (rate / corrected(BETA1)) as f32;
        let root = corrected(BETA2).sqrt() as f32;
        let (keep_mean, keep_square) = ((1.0 - BETA1) as f32, 1.0 - BETA2);
        for Span { range, decays } in spans {
            let shrink = if *decays { (1.0 - rate * decay) as f32 } else { 1.0 };
            let moments = self.mean[range.clone()].iter_mut().zip(&mut self.square[range.clone()]);
            let values = parameters[range.clone()].iter_mut().zip(&gradient[range.clone()]);
            for ((mean, square), (value, &g)) in moments.zip(values) {
                *mean += keep_mean * (g - *mean);
                *square = BETA2 as f32 * *square + keep_square as f32 * g * g;
                *value = *value * shrink - step * (*mean / (square.sqrt() / root + EPSILON));
            }
        }
    }
}

/// Scales the gradient down to that Euclidean norm over the spans; answers with the norm that it had.
#[expect(clippy::cast_possible_truncation, reason = "the factor is computed in f64 and applied in f32")]
pub fn clip(gradient: &mut [f32], spans: &[Span], norm_max: f32) -> f64 {
    let square = |span: &Span| gradient[span.range.clone()].iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
    let norm = spans.iter().map(square).sum::<f64>().sqrt();
    if norm > f64::from(norm_max) {
        let factor = (f64::from(norm_max) / norm) as f32;
        gradient.iter_mut().for_each(|g| *g *= factor);
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{Adapter, Layout, Problem};
    use crate::engine::reference::Reference;
    use crate::engine::testing::{golden, onnxruntime, settings};
    use crate::engine::training::{Pass, Perturb, TrainSettings};
    use crate::engine::{Backend, EngineKind, EngineSettings, open};
    use crate::train::head::Head;
    use crate::train::loss::Loss;
    use crate::train::parameters::Places;
    use crate::train::recipe::Method;

    fn flat(adapter: &Adapter) -> Vec<f32> {
        [&adapter.rescale[..], &adapter.head.weight, &adapter.head.bias].concat()
    }

    #[test]
    fn five_steps_are_pytorchs() {
        let (backbone, weights) = golden::backbone();
        five_steps(&Reference::<f64>::new(backbone, weights, 0));
    }

    #[test]
    fn five_steps_of_the_graphs_are_pytorchs() {
        let Some(library) = onnxruntime::newest() else { return };
        let (backbone, weights) = golden::backbone();
        let settings = EngineSettings { onnxruntime_lib: Some(library), ..settings() };
        five_steps(&*open(EngineKind::Onnx, backbone, weights, &settings).expect("the engine opens"));
    }

    /// Parameters, gradient and loss of the golden task go through head, loss and engine as in training.
    fn five_steps(backend: &dyn Backend) {
        let (backbone, _) = golden::backbone();
        let (adapter, layout) = (golden::adapters(&backbone).remove(0), Layout::of(&backbone.shape));
        let mut engine = backend.trainable(&TrainSettings { memory_bytes_max: usize::MAX }).expect("it trains");
        let (pictures, labels) = (golden::forward().0, golden::labels());
        let (pictures, labels): (Vec<_>, Vec<_>) = (pictures.iter().collect(), labels.chunks(1).collect());
        let places = Places::new(&layout, 5, adapter.head.features());
        let spans = places.spans(&layout, Method::Rlrr);
        let judge = Loss { problem: Problem::SingleLabel, smoothing: 0.0, weights: vec![1.0; 5], no_weights: vec![] };
        let (mut parameters, mut optimizer) = (flat(&adapter), AdamW::new(places.count()));
        for expected in golden::LOSSES {
            let mut d_head = vec![0.0; places.count() - layout.len()];
            let head = Head::new(&parameters, &places, adapter.pooling);
            let pass = Pass {
                pictures: &pictures,
                preprocess: &adapter.preprocess,
                position_rule: adapter.position_rule,
                vector: &parameters[places.vector.clone()],
                perturb: &Perturb::none(),
            };
            let gradient = engine.gradient(&pass, &mut |features| {
                let (loss, d) = judge.backward(&head.logits(features), &labels, 4.0);
                assert!((loss - expected).abs() < 1e-5, "{loss} {expected}");
                head.backward(features, &d, &mut d_head)
            });
            let gradient = [gradient.expect("it runs"), d_head].concat();
            optimizer.update(&mut parameters, &gradient, &spans, 3e-3, 0.05);
        }
        compare(&parameters, &flat(&golden::after_5_steps(&backbone)), &flat(&golden::gradient(&backbone)), &layout);
    }

    /// Where the gradient is tiny, AdamW's first step turns its rounding noise into a step of any size up to the rate.
    fn compare(found: &[f32], expected: &[f32], gradient: &[f32], layout: &Layout) {
        let no_gradient =
            |i| layout.segments().iter().any(|s| s.name.ends_with("attn.k.shift") && s.range.contains(&i));
        for i in (0..found.len()).filter(|&i| !no_gradient(i)) {
            let tolerance = if gradient[i].abs() < 1e-5 { 1e-4 } else { 1e-5 };
            let off = (found[i] - expected[i]).abs();
            assert!(off <= tolerance, "parameter {i}: {} instead of {}", found[i], expected[i]);
        }
    }

    #[test]
    fn the_first_step_is_the_rate_against_the_gradient() {
        let mut parameters = [1.0, 1.0, 1.0];
        let spans = [Span { range: 0..1, decays: true }, Span { range: 1..2, decays: false }];
        AdamW::new(3).update(&mut parameters, &[0.5, -2.0, 1.0], &spans, 0.1, 0.5);
        let expected = [0.95 - 0.1, 1.1, 1.0];
        assert!(parameters.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6), "{parameters:?}");
    }

    #[test]
    fn clipping_scales_to_the_norm_of_what_is_trained() {
        let spans = [Span { range: 0..2, decays: false }];
        let mut gradient = [3.0, 4.0, 100.0];
        assert_eq!(clip(&mut gradient, &spans, 10.0), 5.0);
        assert_eq!(gradient[..2], [3.0, 4.0]);
        assert_eq!(clip(&mut gradient, &spans, 1.0), 5.0);
        assert!((gradient[0] - 0.6).abs() < 1e-6 && (gradient[1] - 0.8).abs() < 1e-6);
    }
}
