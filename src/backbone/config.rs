//! config.json in four dialects: Hugging Face `vit`, Hugging Face `dinov2` and `dinov2_with_registers`, timm, and our
//! own. It states what tensors cannot show (heads, epsilon, activation, picture size); sizes that it states too are
//! compared with the tensors.

use serde_json::{Map, Value};

use super::{Activation, architecture};

/// What a config.json states; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Stated {
    /// The dialect, for reports; empty without a config.
    pub dialect: &'static str,
    pub width: Option<usize>,
    pub depth: Option<usize>,
    pub heads: Option<usize>,
    pub mlp: Option<usize>,
    pub patch: Option<usize>,
    pub channels: Option<usize>,
    pub registers: Option<usize>,
    pub eps: Option<f64>,
    pub activation: Option<Activation>,
    /// Height and width of pictures in pixels.
    pub image: Option<(usize, usize)>,
    /// Whether q, k and v have biases.
    pub qkv_bias: Option<bool>,
    /// What was concluded rather than read.
    pub assumed: Vec<String>,
}

type Object = Map<String, Value>;

/// Reads a config.json, whatever its dialect.
pub(super) fn parse(bytes: &[u8]) -> Result<Stated, String> {
    let config: Object = serde_json::from_slice(bytes).map_err(|e| format!("is not a JSON object: {e}"))?;
    match config.get("model_type").and_then(Value::as_str) {
        Some("vit") => hugging_face(&config, "Hugging Face vit"),
        Some("dinov2") => hugging_face(&config, "Hugging Face dinov2"),
        Some("dinov2_with_registers") => hugging_face(&config, "Hugging Face dinov2_with_registers"),
        Some(other) => Err(format!("has model_type \"{other}\"; vit, dinov2 and dinov2_with_registers are known")),
        None if config.contains_key("architecture") => timm(&config),
        None if config.contains_key("hidden_size") => own(&config),
        None => Err("has neither model_type (Hugging Face), architecture (timm) nor hidden_size (manylens)".into()),
    }
}

fn hugging_face(config: &Object, dialect: &'static str) -> Result<Stated, String> {
    if config.get("use_swiglu_ffn") == Some(&Value::Bool(true)) {
        return Err("has use_swiglu_ffn: gated MLPs are not supported".into());
    }
    let width = count(config, "hidden_size")?;
    Ok(Stated {
        dialect,
        width,
        depth: count(config, "num_hidden_layers")?,
        heads: count(config, "num_attention_heads")?,
        mlp: count(config, "intermediate_size")?.or(mlp_of_ratio(config, width)?),
        patch: side(config, "patch_size")?,
        channels: count(config, "num_channels")?,
        registers: count(config, "num_register_tokens")?,
        eps: float(config, "layer_norm_eps")?,
        activation: activation(config, "hidden_act")?,
        image: size(config, "image_size")?,
        qkv_bias: boolean(config, "qkv_bias")?,
        assumed: Vec::new(),
    })
}

fn own(config: &Object) -> Result<Stated, String> {
    Ok(Stated {
        dialect: "manylens",
        width: count(config, "hidden_size")?,
        depth: count(config, "num_layers")?,
        heads: count(config, "num_heads")?,
        mlp: count(config, "mlp_dim")?,
        patch: side(config, "patch_size")?,
        eps: float(config, "layer_norm_eps")?,
        activation: activation(config, "activation")?,
        image: size(config, "image_size")?,
        ..Stated::default()
    })
}

/// A timm hub config: the architecture's name, `model_args` that differ from it, `pretrained_cfg`.
fn timm(config: &Object) -> Result<Stated, String> {
    let architecture =
        config.get("architecture").and_then(Value::as_str).ok_or("has an architecture that is no name")?;
    let empty = Object::new();
    let object = |key: &str| config.get(key).and_then(Value::as_object).unwrap_or(&empty);
    let (args, pretrained) = (object("model_args"), object("pretrained_cfg"));
    let mut stated = Stated {
        dialect: "timm",
        width: count(args, "embed_dim")?,
        depth: count(args, "depth")?,
        heads: count(args, "num_heads")?,
        patch: side(args, "patch_size")?,
        channels: count(args, "in_chans")?,
        registers: count(args, "reg_tokens")?,
        activation: activation(args, "act_layer")?,
        image: size(args, "img_size")?.or(input_size(pretrained)?),
        qkv_bias: boolean(args, "qkv_bias")?,
        ..Stated::default()
    };
    stated.mlp = mlp_of_ratio(args, stated.width)?;
    if stated.heads.is_none() {
        stated.heads = architecture::heads(architecture);
        stated.assumed.extend(stated.heads.map(|n| format!("{n} heads, from the architecture's name {architecture}")));
    }
    if stated.activation.is_none() {
        let activation = architecture::activation(architecture);
        stated.activation = Some(activation);
        stated.assumed.push(format!("activation {}, from the architecture's name", activation.name()));
    }
    Ok(stated)
}

fn input_size(pretrained: &Object) -> Result<Option<(usize, usize)>, String> {
    match pretrained.get("input_size") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(sizes)) if sizes.len() == 3 => {
            Ok(Some((number(&sizes[1], "input_size")?, number(&sizes[2], "input_size")?)))
        }
        Some(other) => Err(format!("has input_size {other}, [channels, height, width] is expected")),
    }
}

fn mlp_of_ratio(config: &Object, width: Option<usize>) -> Result<Option<usize>, String> {
    let Some((ratio, width)) = float(config, "mlp_ratio")?.zip(width) else { return Ok(None) };
    // timm and Hugging Face both truncate.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "as they do"
    )]
    Ok(Some((width as f64 * ratio) as usize))
}

fn activation(config: &Object, key: &str) -> Result<Option<Activation>, String> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => match name.as_str() {
            "gelu" | "gelu_erf" => Ok(Some(Activation::Gelu)),
            "gelu_tanh" | "gelu_new" | "gelu_pytorch_tanh" => Ok(Some(Activation::GeluTanh)),
            other => Err(format!("has {key} \"{other}\"; gelu, gelu_tanh, gelu_new and gelu_pytorch_tanh are known")),
        },
        Some(other) => Err(format!("has {key} {other}, which is no name")),
    }
}

fn number(value: &Value, key: &str) -> Result<usize, String> {
    let number = value.as_u64().and_then(|n| u32::try_from(n).ok());
    number.map(|n| n as usize).ok_or_else(|| format!("has {key} {value}, which is no whole number"))
}

fn get<'a, T>(
    config: &'a Object,
    key: &str,
    read: impl FnOnce(&'a Value) -> Result<T, String>,
) -> Result<Option<T>, String> {
    config.get(key).filter(|value| !value.is_null()).map(read).transpose()
}

fn count(config: &Object, key: &str) -> Result<Option<usize>, String> {
    get(config, key, |value| number(value, key))
}

fn float(config: &Object, key: &str) -> Result<Option<f64>, String> {
    get(config, key, |value| value.as_f64().ok_or_else(|| format!("has {key} {value}, which is no number")))
}

fn boolean(config: &Object, key: &str) -> Result<Option<bool>, String> {
    get(config, key, |value| {
        value.as_bool().ok_or_else(|| format!("has {key} {value}, which is neither true nor false"))
    })
}

/// One number, or `[height, width]`.
fn size(config: &Object, key: &str) -> Result<Option<(usize, usize)>, String> {
    get(config, key, |value| match value.as_array().map(Vec::as_slice) {
        Some([height, width]) => Ok((number(height, key)?, number(width, key)?)),
        Some(_) => Err(format!("has {key} {value}, one number or [height, width] is expected")),
        None => number(value, key).map(|side| (side, side)),
    })
}

fn side(config: &Object, key: &str) -> Result<Option<usize>, String> {
    match size(config, key)? {
        Some((height, width)) if height != width => Err(format!("has {key} {height} x {width}; it must be square")),
        size => Ok(size.map(|(height, _)| height)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(json: &str) -> Stated {
        parse(json.as_bytes()).expect("valid")
    }

    #[test]
    fn hugging_face_says_what_transformers_writes() {
        let vit = stated(
            r#"{"model_type": "vit", "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
                "intermediate_size": 3072, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "image_size": 224,
                "patch_size": 16, "num_channels": 3, "qkv_bias": true}"#,
        );
        assert_eq!((vit.heads, vit.eps, vit.mlp, vit.image), (Some(12), Some(1e-12), Some(3072), Some((224, 224))));
        let dino = stated(
            r#"{"model_type": "dinov2_with_registers", "hidden_size": 384, "mlp_ratio": 4, "num_attention_heads": 6,
                "num_register_tokens": 4, "image_size": [518, 518], "use_swiglu_ffn": false}"#,
        );
        assert_eq!((dino.mlp, dino.registers, dino.image), (Some(1536), Some(4), Some((518, 518))));
    }

    #[test]
    fn timm_says_little_and_its_name_the_rest() {
        let timm = stated(
            r#"{"architecture": "vit_base_patch14_reg4_dinov2", "num_features": 768,
                "model_args": {"img_size": 518, "init_values": 1e-05},
                "pretrained_cfg": {"input_size": [3, 224, 224]}}"#,
        );
        assert_eq!((timm.heads, timm.image, timm.width), (Some(12), Some((518, 518)), None));
        assert_eq!(timm.assumed.len(), 2);
        let custom = stated(r#"{"architecture": "vit_custom", "model_args": {"num_heads": 4, "act_layer": "gelu"}}"#);
        assert_eq!((custom.heads, custom.assumed.len()), (Some(4), 0));
        assert_eq!(stated(r#"{"architecture": "vit_custom"}"#).heads, None);
    }

    #[test]
    fn our_own_is_the_goldens() {
        let own = stated(include_str!("../../tests/data/rlrr-tiny/config.json"));
        assert_eq!((own.dialect, own.width, own.depth, own.heads), ("manylens", Some(64), Some(3), Some(4)));
        assert_eq!((own.eps, own.activation, own.image), (Some(1e-6), Some(Activation::Gelu), Some((32, 32))));
    }

    proptest::proptest! {
        #[test]
        fn no_config_makes_the_reader_panic(
            key in "(model_type|architecture|hidden_size|mlp_ratio|image_size|input_size|hidden_act|num_heads)",
            value in r#"(-?[0-9]{1,20}|1e400|-?[0-9]e[0-9]{1,3}|null|true|"vit"|"dinov2"|\[[0-9, ]{0,9}\]|\{\})"#,
            model in r#"("model_type": "dinov2"|"architecture": "vit_base"|"hidden_size": 8)"#,
        ) {
            let json = format!("{{{model}, \"{key}\": {value}, \"model_args\": {{\"{key}\": {value}}}}}");
            _ = parse(json.as_bytes());
        }
    }

    #[test]
    fn what_would_change_the_network_is_refused() {
        let refused = [
            "[]",
            "{",
            "{}",
            r#"{"model_type": "swin"}"#,
            r#"{"model_type": "dinov2", "use_swiglu_ffn": true}"#,
            r#"{"model_type": "vit", "hidden_act": "quick_gelu"}"#,
            r#"{"model_type": "vit", "hidden_size": -1}"#,
            r#"{"model_type": "vit", "hidden_size": 1e99}"#,
            r#"{"model_type": "vit", "patch_size": [16, 8]}"#,
            r#"{"architecture": 3}"#,
            r#"{"architecture": "vit_base", "pretrained_cfg": {"input_size": [224]}}"#,
        ];
        for json in refused {
            assert!(parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}
