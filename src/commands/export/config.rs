use serde_json::{Map, Value, json};

use super::target::Target;
use crate::adapter::{Adapter, Pooling, Problem};
use crate::backbone::{Activation, Backbone, Shape};
use crate::image::{Interpolation, Preprocess, Resize};

/// config.json with which the target's library loads the checkpoint.
pub fn config(target: Target, backbone: &Backbone, adapter: &Adapter) -> Value {
    match target {
        Target::Timm => timm(backbone, adapter),
        Target::Vit => hugging_face(backbone, adapter, "vit", "ViTForImageClassification"),
        Target::Dinov2 => hugging_face(backbone, adapter, "dinov2", "Dinov2ForImageClassification"),
        Target::Dinov2WithRegisters => {
            hugging_face(backbone, adapter, "dinov2_with_registers", "Dinov2WithRegistersForImageClassification")
        }
    }
}

fn hugging_face(backbone: &Backbone, adapter: &Adapter, model_type: &str, class: &str) -> Value {
    let shape = &backbone.shape;
    let numbered = || adapter.labels.iter().enumerate();
    let id2label: Map<_, _> = numbered().map(|(id, label)| (id.to_string(), json!(label))).collect();
    let label2id: Map<_, _> = numbered().map(|(id, label)| (label.clone(), json!(id))).collect();
    let mut config = json!({
        "architectures": [class],
        "model_type": model_type,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.depth,
        "num_attention_heads": shape.heads,
        "hidden_act": match shape.activation {
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_pytorch_tanh",
        },
        "layer_norm_eps": shape.eps,
        "patch_size": shape.patch,
        "image_size": backbone.image_size,
        "num_channels": shape.channels,
        "qkv_bias": true,
        "dtype": "float32",
        "problem_type": match adapter.problem {
            Problem::SingleLabel => "single_label_classification",
            Problem::MultiLabel => "multi_label_classification",
        },
        "id2label": id2label,
        "label2id": label2id,
    });
    if model_type == "vit" {
        config["intermediate_size"] = json!(shape.mlp);
    } else {
        config["mlp_ratio"] = mlp_ratio(shape);
        config["layerscale_value"] = json!(1.0);
        config["use_swiglu_ffn"] = json!(false);
    }
    if model_type == "dinov2_with_registers" {
        config["num_register_tokens"] = json!(shape.prefix_tokens - 1);
    }
    config
}

/// Every argument that differs between ViTs is stated, so the architecture's name decides nothing.
fn timm(backbone: &Backbone, adapter: &Adapter) -> Value {
    let shape = &backbone.shape;
    let (rows, columns) = backbone.stored_grid;
    let pooling = if adapter.pooling == Pooling::Mean { "avg" } else { "token" };
    let preprocess = &adapter.preprocess;
    let (size, crop) = (preprocess.size as f64, preprocess.final_size());
    json!({
        "architecture": "vit_base_patch16_224",
        "num_classes": adapter.labels.len(),
        "num_features": shape.width,
        "global_pool": pooling,
        "label_names": adapter.labels,
        "model_args": {
            "img_size": [rows * shape.patch, columns * shape.patch],
            "dynamic_img_size": true,
            "patch_size": shape.patch,
            "in_chans": shape.channels,
            "embed_dim": shape.width,
            "depth": shape.depth,
            "num_heads": shape.heads,
            "mlp_ratio": mlp_ratio(shape),
            "class_token": shape.prefix_tokens > 0,
            "reg_tokens": shape.prefix_tokens.saturating_sub(1),
            "no_embed_class": true,
            "global_pool": pooling,
            "fc_norm": false,
            "act_layer": shape.activation.name(),
        },
        "pretrained_cfg": {
            "input_size": [shape.channels, crop, crop],
            "interpolation": interpolation(preprocess.interpolation),
            "crop_pct": crop as f64 / size,
            "crop_mode": match preprocess.resize {
                Resize::Squash => "squash",
                Resize::ShortEdge => "center",
                Resize::Pad => "border",
            },
            "mean": preprocess.mean.map(decimal),
            "std": preprocess.std.map(decimal),
            "num_classes": adapter.labels.len(),
            "pool_size": null,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    })
}

/// preprocessor_config.json for transformers; `None` for a resize that its image processors do not have.
pub fn image_processor(preprocess: &Preprocess) -> Option<Value> {
    let Preprocess { size, crop, mean, std, interpolation, .. } = preprocess;
    let size = match preprocess.resize {
        Resize::Squash => json!({"height": size, "width": size}),
        Resize::ShortEdge => json!({"shortest_edge": size}),
        Resize::Pad => return None,
    };
    let resample = match interpolation {
        Interpolation::Nearest => 0,
        Interpolation::Bilinear => 2,
        Interpolation::Bicubic => 3,
    };
    let mut processor = json!({
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": true,
        "do_resize": true,
        "size": size,
        "resample": resample,
        "do_center_crop": crop.is_some(),
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": mean.map(decimal),
        "image_std": std.map(decimal),
    });
    if let Some(crop) = crop {
        processor["crop_size"] = json!({"height": crop, "width": crop});
    }
    Some(processor)
}

fn interpolation(interpolation: Interpolation) -> &'static str {
    match interpolation {
        Interpolation::Nearest => "nearest",
        Interpolation::Bilinear => "bilinear",
        Interpolation::Bicubic => "bicubic",
    }
}

/// The f64 that reads as the f32 does: 0.485 instead of 0.48500001430511475.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().expect("a float's own digits")
}

/// A ratio that, times the width and truncated as both libraries do, is the MLP's size.
fn mlp_ratio(shape: &Shape) -> Value {
    if shape.mlp.is_multiple_of(shape.width) {
        json!(shape.mlp / shape.width)
    } else {
        json!((shape.mlp as f64 + 0.5) / shape.width as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_give_the_size_back() {
        for (width, mlp) in [(768, 3072), (1152, 4304), (7, 3), (1000, 999), (3, 65_536)] {
            let ratio = mlp_ratio(&Shape { width, mlp, ..Shape::vit_b16() }).as_f64().expect("a number");
            assert_eq!((width as f64 * ratio) as usize, mlp, "{width} {ratio}");
        }
    }
}
