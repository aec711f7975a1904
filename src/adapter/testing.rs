//! A small adapter for the tests of this room and of rooms above it.

use std::collections::BTreeMap;

use super::format::{AdapterFile, Limits, Target};
use super::{Adapter, Decision, Head, Layout, Method, Pooling, Probe, Problem, Rule};
use crate::backbone::{Activation, Fingerprint, PositionRule, Shape};
use crate::image::{Preprocess, Preset};

/// Two blocks of width 4.
pub struct Tiny {
    pub shape: Shape,
    pub layout: Layout,
    pub fingerprint: Fingerprint,
}

impl Tiny {
    pub fn new() -> Self {
        let shape = Shape {
            width: 4,
            depth: 2,
            heads: 2,
            mlp: 8,
            patch: 4,
            channels: 3,
            prefix_tokens: 1,
            eps: 1e-6,
            activation: Activation::Gelu,
        };
        let fingerprint = Fingerprint(format!("sha256:{}", "0a".repeat(32)));
        Self { layout: Layout::of(&shape), shape, fingerprint }
    }

    pub fn target(&self) -> Target<'_> {
        Target { shape: &self.shape, layout: &self.layout, fingerprint: &self.fingerprint, limits: Limits::default() }
    }

    /// An RLRR adapter of three classes with a probe of two 8 x 8 pictures; every value differs from its neighbours.
    pub fn file(&self) -> AdapterFile {
        let ramp = |n: usize, step: f32| (0..n).map(|i| (i as f32 - 3.0) * step).collect::<Vec<f32>>();
        let adapter = Adapter {
            method: Method::Rlrr,
            backbone: self.fingerprint.clone(),
            rescale: ramp(self.layout.len(), 0.001).into(),
            head: Head { weight: ramp(3 * 8, 0.1), bias: ramp(3, 0.5) },
            labels: ["cat", "dog", "größer"].map(str::to_owned).to_vec(),
            problem: Problem::SingleLabel,
            decision: Decision { rule: Rule::Argmax, thresholds: Vec::new(), abstain_below: Some(0.25) },
            position_rule: PositionRule::BicubicSize,
            pooling: Pooling::ClsMean,
            preprocess: Preprocess { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], ..Preset::Vtab.at(8) },
            temperature: 1.25,
            lineage: serde_json::json!({"tool": "test", "metrics": {"top1": 0.9, "n": 500}}),
        };
        let pixels = (0..2 * 8 * 8 * 3u32).map(|i| (i * 7 % 256) as u8).collect();
        let probe = Probe { count: 2, pixels, size: (8, 8), logits: ramp(6, 0.7) };
        AdapterFile { adapter, probe: Some(probe), extra: BTreeMap::from([("x-note".into(), "kept".into())]) }
    }
}
