use std::sync::Arc;

use serde_json::Value;

use super::job::Job;
use super::recipe::Method;
use crate::adapter::{self, Adapter, Decision, Head, Problem, Rule};

impl Job {
    /// The adapter of these parameters: what serving computes with them is what training computed.
    pub fn adapter(&self, parameters: &[f32], lineage: Value) -> Adapter {
        let (task, places) = (&self.task, &self.places);
        Adapter {
            method: match self.recipe.method {
                Method::Linear => adapter::Method::Linear,
                Method::Rlrr | Method::Ssf | Method::Shifts => adapter::Method::Rlrr,
            },
            backbone: self.backbone.fingerprint.clone(),
            rescale: Arc::from(&parameters[places.vector.clone()]),
            head: Head {
                weight: parameters[places.weight.clone()].to_vec(),
                bias: parameters[places.bias.clone()].to_vec(),
            },
            labels: task.labels.clone(),
            problem: task.problem,
            decision: decision(task.problem, task.labels.len()),
            position_rule: task.position_rule,
            pooling: task.pooling,
            preprocess: task.preprocess.clone(),
            temperature: 1.0,
            lineage,
        }
    }
}

/// The most probable class; of classes that don't exclude each other, every one that is more probable than not.
fn decision(problem: Problem, classes: usize) -> Decision {
    match problem {
        Problem::SingleLabel => Decision { rule: Rule::Argmax, thresholds: Vec::new(), abstain_below: None },
        Problem::MultiLabel => Decision { rule: Rule::Threshold, thresholds: vec![0.5; classes], abstain_below: None },
    }
}
