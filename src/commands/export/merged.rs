use std::collections::BTreeMap;

use super::config;
use super::target::{Names, Refusal, Target};
use crate::adapter::{Adapter, Layout, Rule};
use crate::backbone::{Backbone, Weights, checkpoint_tensors};
use crate::engine::merge::merged;
use crate::tensors::{Named, serialize};

/// An ordinary checkpoint: name and bytes of each file, and what it cannot carry.
pub struct Checkpoint {
    /// The class that it is for.
    pub target: Target,
    /// config.json, model.safetensors …
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// What the adapter does and the checkpoint does not, in sentences.
    pub notes: Vec<String>,
}

impl Checkpoint {
    /// Folds the adapter into the backbone, with its head as the model's classifier.
    pub fn of(backbone: &Backbone, weights: &Weights, adapter: &Adapter, names: Names) -> Result<Self, Refusal> {
        let target = Target::choose(backbone, adapter, names)?;
        let weights = merged(weights, &Layout::of(&backbone.shape), &adapter.rescale);
        let (tensor_names, prefix) = target.tensor_names();
        let mut tensors = checkpoint_tensors(&backbone.shape, &weights, tensor_names, prefix);
        tensors.extend(head(adapter, target));
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        // transformers refuses a file that does not say for which framework it is.
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let config = config::config(target, backbone, adapter);
        let mut files = vec![
            ("config.json", format!("{config:#}\n").into_bytes()),
            ("model.safetensors", serialize(&tensors, &metadata)),
        ];
        let processor = config::image_processor(&adapter.preprocess).filter(|_| target != Target::Timm);
        files.extend(processor.map(|p| ("preprocessor_config.json", format!("{p:#}\n").into_bytes())));
        Ok(Self { target, files, notes: notes(backbone, adapter, target) })
    }
}

fn head(adapter: &Adapter, target: Target) -> [Named<'static>; 2] {
    let (name, head) = (target.head(), &adapter.head);
    let shape = vec![head.classes(), head.features()];
    [
        Named::f32(format!("{name}.weight"), shape, &head.weight),
        Named::f32(format!("{name}.bias"), vec![head.classes()], &head.bias),
    ]
}

fn notes(backbone: &Backbone, adapter: &Adapter, target: Target) -> Vec<String> {
    let mut notes = Vec::new();
    let side = adapter.preprocess.final_size();
    if side != backbone.image_size && target == Target::Vit {
        notes.push(format!("pictures of {side} pixels need interpolate_pos_encoding=True when the model is called"));
    }
    #[expect(clippy::float_cmp, reason = "only exactly 1 does nothing")]
    if adapter.temperature != 1.0 {
        notes.push(format!("divide the logits by the temperature {} before softmax or sigmoid", adapter.temperature));
    }
    if adapter.decision.rule == Rule::Threshold || adapter.decision.abstain_below.is_some() {
        notes.push("thresholds and abstaining stay with the adapter file".into());
    }
    notes
}
