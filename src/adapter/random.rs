use super::{Adapter, Decision, Head, Layout, Method, Pooling, Problem, Rule};
use crate::backbone::Backbone;
use crate::image::Preset;
use crate::random::Random;

/// An adapter that changes every segment, for pictures of the backbone's own size: the same for the same arguments.
/// For benchmarks and tests.
pub fn random(backbone: &Backbone, classes: usize, seed: u64) -> Adapter {
    let mut random = Random::seeded(seed);
    let layout = Layout::of(&backbone.shape);
    let rescale = layout.segments().iter().flat_map(|s| random.values(s.range.len(), s.neutral, 0.3)).collect();
    let pooling = Pooling::ClsMean;
    let weights = classes * pooling.features(backbone.shape.width);
    Adapter {
        method: Method::Rlrr,
        backbone: backbone.fingerprint.clone(),
        rescale,
        head: Head { weight: random.values(weights, 0.0, 0.1), bias: random.values(classes, 0.0, 0.1) },
        labels: (0..classes).map(|class| class.to_string()).collect(),
        problem: Problem::SingleLabel,
        decision: Decision { rule: Rule::Argmax, thresholds: Vec::new(), abstain_below: None },
        position_rule: backbone.position_rule,
        pooling,
        preprocess: Preset::Vtab.at(backbone.image_size),
        temperature: 1.0,
        lineage: serde_json::Value::Null,
    }
}
