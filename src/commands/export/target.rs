use crate::adapter::{Adapter, Pooling};
use crate::backbone::{Backbone, CheckpointNames, PositionRule};

/// Whose model the merged checkpoint is for (`--names`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// timm's `VisionTransformer`.
    Timm,
    /// A model of transformers.
    HuggingFace,
}

/// A model class that can hold backbone, adapter and head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// timm's `VisionTransformer`, pooling `token` or `avg` without `fc_norm`.
    Timm,
    /// `ViTForImageClassification`: the class token.
    Vit,
    /// `Dinov2ForImageClassification`: class token and mean of the patch tokens.
    Dinov2,
    /// `Dinov2WithRegistersForImageClassification`.
    Dinov2WithRegisters,
}

/// Why no model of that library can hold the merged weights.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The pooling.
    #[error("{names} cannot pool {pooling} with {prefix_tokens} prefix tokens; {advice}")]
    Pooling {
        /// The library.
        names: &'static str,
        /// The adapter's pooling.
        pooling: &'static str,
        /// The backbone's.
        prefix_tokens: usize,
        /// What to do instead.
        advice: &'static str,
    },
    /// The position rule, at a picture size where it matters.
    #[error(
        "the adapter resamples positions to {grid} x {grid} by {rule}, {names} does it by {theirs}; \
         export a graph with --onnx instead"
    )]
    Positions {
        /// The library.
        names: &'static str,
        /// The adapter's grid.
        grid: usize,
        /// The adapter's rule.
        rule: &'static str,
        /// The library's rule.
        theirs: &'static str,
    },
    /// A position table that Hugging Face's code takes for a square.
    #[error("the position table is {rows} x {columns}, Hugging Face's must be square; use --names timm or --onnx")]
    Oblong {
        /// Its rows.
        rows: usize,
        /// Its columns.
        columns: usize,
    },
    /// An epsilon that timm's config.json cannot state.
    #[error("timm computes with layer_norm_eps 1e-6, the backbone has {eps:e}; use --names hf or --onnx")]
    Epsilon {
        /// The backbone's.
        eps: f64,
    },
}

impl Target {
    /// The class of that library that computes what backbone and adapter compute.
    pub fn choose(backbone: &Backbone, adapter: &Adapter, names: Names) -> Result<Self, Refusal> {
        let target = Self::of_pooling(backbone.shape.prefix_tokens, adapter.pooling, names)?;
        let (rows, columns) = backbone.stored_grid;
        let grid = adapter.preprocess.final_size() / backbone.shape.patch;
        let theirs = target.position_rule();
        if names == Names::HuggingFace && rows != columns {
            return Err(Refusal::Oblong { rows, columns });
        }
        #[expect(clippy::float_cmp, reason = "timm's constant itself, or another backbone")]
        if names == Names::Timm && backbone.shape.eps != 1e-6 {
            return Err(Refusal::Epsilon { eps: backbone.shape.eps });
        }
        if (grid, grid) != (rows, columns) && adapter.position_rule != theirs {
            let (rule, theirs) = (adapter.position_rule.name(), theirs.name());
            return Err(Refusal::Positions { names: names.name(), grid, rule, theirs });
        }
        Ok(target)
    }

    fn of_pooling(prefix_tokens: usize, pooling: Pooling, names: Names) -> Result<Self, Refusal> {
        let advice = match (names, pooling, prefix_tokens) {
            (Names::Timm, Pooling::Cls, 1..) | (Names::Timm, Pooling::Mean, _) => return Ok(Self::Timm),
            (Names::HuggingFace, Pooling::Cls, 1) => return Ok(Self::Vit),
            (Names::HuggingFace, Pooling::ClsMean, 1) => return Ok(Self::Dinov2),
            (Names::HuggingFace, Pooling::ClsMean, 2..) => return Ok(Self::Dinov2WithRegisters),
            (Names::Timm, Pooling::ClsMean, 1..) => "use --names hf, or export a graph with --onnx",
            (Names::HuggingFace, Pooling::Cls, 2..) | (Names::HuggingFace, Pooling::Mean, _) => {
                "use --names timm, or export a graph with --onnx"
            }
            _ => "export a graph with --onnx instead",
        };
        Err(Refusal::Pooling { names: names.name(), pooling: pooling.name(), prefix_tokens, advice })
    }

    /// How its code resamples a position table.
    fn position_rule(self) -> PositionRule {
        match self {
            Self::Timm | Self::Dinov2WithRegisters => PositionRule::BicubicAntialias,
            Self::Vit | Self::Dinov2 => PositionRule::BicubicSize,
        }
    }

    /// Names of the backbone's tensors and what stands before them.
    pub fn tensor_names(self) -> (CheckpointNames, &'static str) {
        match self {
            Self::Timm => (CheckpointNames::Timm, ""),
            Self::Vit => (CheckpointNames::HuggingFaceVit, "vit."),
            Self::Dinov2 => (CheckpointNames::HuggingFaceDinov2, "dinov2."),
            Self::Dinov2WithRegisters => (CheckpointNames::HuggingFaceDinov2, "dinov2_with_registers."),
        }
    }

    /// The name of the classifier.
    pub fn head(self) -> &'static str {
        if self == Self::Timm { "head" } else { "classifier" }
    }
}

impl Names {
    fn name(self) -> &'static str {
        match self {
            Self::Timm => "timm",
            Self::HuggingFace => "transformers",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pooling_has_its_class_or_a_way_out() {
        use {Names::*, Pooling::*};
        let classes = [
            (1, Cls, HuggingFace, Target::Vit),
            (1, ClsMean, HuggingFace, Target::Dinov2),
            (5, ClsMean, HuggingFace, Target::Dinov2WithRegisters),
            (1, Cls, Timm, Target::Timm),
            (5, Cls, Timm, Target::Timm),
            (5, Mean, Timm, Target::Timm),
            (0, Mean, Timm, Target::Timm),
        ];
        for (prefix, pooling, names, target) in classes {
            assert_eq!(Target::of_pooling(prefix, pooling, names), Ok(target));
        }
        let refused = [
            (1, ClsMean, Timm, "--names hf"),
            (1, Mean, HuggingFace, "--names timm"),
            (5, Cls, HuggingFace, "--names timm"),
            (0, Mean, HuggingFace, "--names timm"),
            (0, Cls, Timm, "--onnx"),
        ];
        for (prefix, pooling, names, advice) in refused {
            let refusal = Target::of_pooling(prefix, pooling, names).expect_err("refused").to_string();
            assert!(refusal.contains(advice) && refusal.contains("--onnx"), "{refusal}");
        }
    }
}
