//! Checkpoints of the paper's code, and tensors by canonical names, to adapter files. Offline work: the server never
//! comes here.

mod checkpoint;
mod names;
pub mod pickle;
mod pictures;
mod strides;

pub use checkpoint::{CheckpointError, CheckpointLimits, NamedTensor, read as read_checkpoint};
pub use pictures::probe_pictures;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::format::{self, AdapterError, AdapterFile, Target};
use super::{Adapter, Decision, Head, Method, Pooling, Problem, Rule};
use crate::backbone::PositionRule;
use crate::image::Preprocess;
pub use crate::image::{Preset, UnknownPreset};
use crate::tensors::{Named, serialize};

/// What a checkpoint does not say about its task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Class names, in head order.
    pub labels: Vec<String>,
    /// Picture to pixels.
    pub preprocess: Preprocess,
    /// What the head reads; told by the head's shape when none is given.
    pub pooling: Option<Pooling>,
    /// How the position table was resampled in training.
    pub position_rule: PositionRule,
}

/// Why a checkpoint gave no adapter.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Two tensors are one of ours.
    #[error("two tensors are {canonical}: {name} is the second")]
    Twice {
        /// Our name.
        canonical: String,
        /// The checkpoint's name of the second.
        name: String,
    },
    /// The head's inputs tell no pooling.
    #[error(
        "head.weight has shape {shape:?}, but the backbone gives {width} features per token: {width} inputs are one \
         pooled token, {} are cls_mean", 2 * .width
    )]
    Head {
        /// Of head.weight; empty when there is none.
        shape: Vec<usize>,
        /// Of the backbone.
        width: usize,
    },
    /// The tensors do not make an adapter of this backbone; names are canonical.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
}

/// Makes an adapter of a checkpoint's bytes, judged as an uploaded file would be. It has no probe yet.
pub fn official(
    bytes: &[u8],
    task: Task,
    target: &Target<'_>,
    limits: &CheckpointLimits,
) -> Result<AdapterFile, ImportError> {
    let tensors = canonical(read_checkpoint(bytes, limits)?, target)?;
    let rescales = tensors.keys().any(|name| target.layout.find(name).is_some());
    let pooling = match task.pooling {
        Some(pooling) => pooling,
        None => pooling_of(tensors.get("head.weight").map_or(&[], |(shape, _)| shape), target)?,
    };
    let described = Adapter {
        method: if rescales { Method::Rlrr } else { Method::Linear },
        backbone: target.fingerprint.clone(),
        rescale: Arc::default(),
        head: Head { weight: Vec::new(), bias: Vec::new() },
        labels: task.labels,
        problem: Problem::SingleLabel,
        decision: Decision { rule: Rule::Argmax, thresholds: Vec::new(), abstain_below: None },
        position_rule: task.position_rule,
        pooling,
        preprocess: task.preprocess,
        temperature: 1.0,
        lineage: serde_json::json!({
            "source": "official",
            "tool": concat!("manylens ", env!("CARGO_PKG_VERSION")),
        }),
    };
    let metadata = format::metadata(&described, &BTreeMap::new());
    let tensors = tensors.into_iter().map(|(name, (shape, values))| Named::f32(name, shape, &values));
    let file = serialize(&tensors.collect::<Vec<_>>(), &metadata);
    Ok(format::read(&file, target)?)
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// By canonical name where there is one; the paper's `(1, n)` and `(n, 1)` become `n`.
fn canonical(tensors: Vec<NamedTensor>, target: &Target<'_>) -> Result<Tensors, ImportError> {
    let mut named = Tensors::new();
    for NamedTensor { name, mut shape, values } in tensors {
        let canonical = names::canonical(&name, target.layout).unwrap_or_else(|| name.clone());
        if target.layout.find(&canonical).is_some() && shape.len() == 2 && shape.contains(&1) {
            shape = vec![values.len()];
        }
        if named.insert(canonical.clone(), (shape, values)).is_some() {
            return Err(ImportError::Twice { canonical, name });
        }
    }
    Ok(named)
}

fn pooling_of(head: &[usize], target: &Target<'_>) -> Result<Pooling, ImportError> {
    let width = target.shape.width;
    let one = if target.shape.prefix_tokens == 0 { Pooling::Mean } else { Pooling::Cls };
    match *head {
        [_, inputs] if inputs == width => Ok(one),
        [_, inputs] if inputs == 2 * width => Ok(Pooling::ClsMean),
        _ => Err(ImportError::Head { shape: head.to_vec(), width }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::Layout;
    use crate::adapter::format::Limits;
    use crate::adapter::testing::Tiny;
    use crate::backbone::{Activation, Fingerprint, Shape};

    const PTH: &[u8] = include_bytes!("../../../tests/data/rlrr-tiny/adapter 75.60.pth");
    const SAFETENSORS: &[u8] = include_bytes!("../../../tests/data/rlrr-tiny/adapter.official-names.safetensors");

    /// The golden's backbone, by its config.
    fn golden() -> (Shape, Layout) {
        let shape = Shape {
            width: 64,
            depth: 3,
            heads: 4,
            mlp: 128,
            patch: 8,
            channels: 3,
            prefix_tokens: 1,
            eps: 1e-6,
            activation: Activation::Gelu,
        };
        let layout = Layout::of(&shape);
        (shape, layout)
    }

    fn task(labels: &[&str], size: usize) -> Task {
        Task {
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            preprocess: Preset::Vtab.at(size),
            pooling: None,
            position_rule: PositionRule::BilinearCorners,
        }
    }

    fn import(bytes: &[u8], task: Task, shape: &Shape, layout: &Layout) -> Result<AdapterFile, ImportError> {
        let fingerprint = &Fingerprint(format!("sha256:{}", "00".repeat(32)));
        let target = Target { shape, layout, fingerprint, limits: Limits::default() };
        official(bytes, task, &target, &CheckpointLimits::default())
    }

    #[test]
    fn both_files_of_the_golden_give_the_same_adapter() {
        let (shape, layout) = golden();
        let task = task(&["a", "b", "c", "d", "e"], 32);
        let file = import(PTH, task.clone(), &shape, &layout).expect("valid");
        assert_eq!(file, import(SAFETENSORS, task, &shape, &layout).expect("valid"));
        assert_eq!((file.adapter.method, file.adapter.pooling), (Method::Rlrr, Pooling::Cls));
        let checkpoint = read_checkpoint(PTH, &CheckpointLimits::default()).expect("valid");
        let of = |name: &str| &checkpoint.iter().find(|t| t.name == name).expect("there").values[..];
        let segment = layout.find("blocks.1.attn.proj.scale_out").expect("there").range.clone();
        assert_eq!(file.adapter.rescale[segment], *of("transformer.encoder.layer.1.attn.out.scale_line"));
        assert_eq!(file.adapter.head.bias, of("head.bias"));
    }

    #[test]
    fn a_checkpoint_of_another_size_is_refused_with_every_fault() {
        let (mut shape, _) = golden();
        shape.depth = 4;
        let error = import(PTH, task(&["a", "b"], 32), &shape, &Layout::of(&shape)).expect_err("another depth");
        let ImportError::Adapter(AdapterError::Invalid(problems)) = error else { panic!("{error}") };
        let missing = problems.iter().filter(|p| p.place.starts_with("blocks.3.") && p.problem == "missing tensor");
        assert_eq!(missing.count(), 22);
        assert!(problems.iter().any(|p| p.place == "labels"), "{problems:?}");
    }

    #[test]
    fn canonical_tensors_without_rescaling_are_a_head() {
        let tiny = Tiny::new();
        let tensors = [Named::f32("head.weight", vec![2, 8], &[0.5; 16]), Named::f32("head.bias", vec![2], &[0.0; 2])];
        let bytes = serialize(&tensors, &BTreeMap::new());
        let file = import(&bytes, task(&["a", "b"], 8), &tiny.shape, &tiny.layout).expect("valid");
        assert_eq!((file.adapter.method, file.adapter.pooling), (Method::Linear, Pooling::ClsMean));
        assert!(Arc::ptr_eq(&file.adapter.rescale, &tiny.layout.neutral()));
    }

    #[test]
    fn one_tensor_under_two_names_is_refused() {
        let tiny = Tiny::new();
        let norm = |name| Named::f32(name, vec![4], &[1.0; 4]);
        let tensors = [norm("norm.scale"), norm("transformer.encoder.ssf_scale_enc_norm")];
        let error = import(&serialize(&tensors, &BTreeMap::new()), task(&["a"], 8), &tiny.shape, &tiny.layout);
        assert!(matches!(error, Err(ImportError::Twice { canonical, .. }) if canonical == "norm.scale"));
    }

    #[test]
    fn a_head_of_a_strange_size_needs_an_answer() {
        let tiny = Tiny::new();
        let bytes = serialize(&[Named::f32("head.weight", vec![2, 5], &[0.5; 10])], &BTreeMap::new());
        let error = import(&bytes, task(&["a", "b"], 8), &tiny.shape, &tiny.layout).expect_err("strange");
        assert_eq!(
            error.to_string(),
            "head.weight has shape [2, 5], but the backbone gives 4 features per token: 4 inputs are one pooled \
             token, 8 are cls_mean"
        );
    }
}
