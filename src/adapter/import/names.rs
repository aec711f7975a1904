//! The names that the paper's code gives its tensors, and ours.

use crate::adapter::Layout;

/// The canonical name of a checkpoint's tensor; none when it is neither official nor canonical.
pub fn canonical(name: &str, layout: &Layout) -> Option<String> {
    let name = name.strip_prefix("module.").unwrap_or(name);
    if matches!(name, "head.weight" | "head.bias") || layout.find(name).is_some() {
        return Some(name.to_owned());
    }
    let canonical = official(name.strip_prefix("transformer.")?)?;
    layout.find(&canonical).is_some().then_some(canonical)
}

fn official(name: &str) -> Option<String> {
    if let Some(kind) = name.strip_prefix("embeddings.ssf_").and_then(|rest| rest.strip_suffix("_patch")) {
        return Some(format!("patch_embed.{kind}"));
    }
    let name = name.strip_prefix("encoder.")?;
    if let Some(kind) = name.strip_prefix("ssf_").and_then(|rest| rest.strip_suffix("_enc_norm")) {
        return Some(format!("norm.{kind}"));
    }
    let (block, name) = name.strip_prefix("layer.")?.split_once('.')?;
    Some(format!("blocks.{block}.{}", in_block(name)?))
}

fn in_block(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("ssf_") {
        let (kind, norm) = rest.split_once('_')?;
        let norm = match norm {
            "attn_norm" => "norm1",
            "ffn_norm" => "norm2",
            _ => return None,
        };
        return Some(format!("{norm}.{kind}"));
    }
    let (layer, vector) = name.rsplit_once('.')?;
    let layer = match layer {
        "attn.query" => "attn.q",
        "attn.key" => "attn.k",
        "attn.value" => "attn.v",
        "attn.out" => "attn.proj",
        "ffn.fc1" => "mlp.fc1",
        "ffn.fc2" => "mlp.fc2",
        _ => return None,
    };
    let vector = match vector {
        "scale_col" => "scale_in",
        "scale_line" => "scale_out",
        "shift_bias" => "shift",
        _ => return None,
    };
    Some(format!("{layer}.{vector}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::Shape;

    #[test]
    fn every_official_name_of_vit_b_has_its_own_canonical_one() {
        let layout = Layout::of(&Shape::vit_b16());
        let mut names = Vec::new();
        for kind in ["scale", "shift"] {
            names.push(format!("transformer.embeddings.ssf_{kind}_patch"));
            names.push(format!("transformer.encoder.ssf_{kind}_enc_norm"));
        }
        for block in (0..12).map(|i| format!("transformer.encoder.layer.{i}")) {
            for norm in ["attn_norm", "ffn_norm"] {
                names.extend(["scale", "shift"].map(|kind| format!("{block}.ssf_{kind}_{norm}")));
            }
            for linear in ["attn.query", "attn.key", "attn.value", "attn.out", "ffn.fc1", "ffn.fc2"] {
                names.extend(["scale_col", "scale_line", "shift_bias"].map(|v| format!("{block}.{linear}.{v}")));
            }
        }
        names.extend(["head.weight", "head.bias"].map(str::to_owned));
        assert_eq!(names.len(), 270, "the paper's checkpoints have 270 tensors");
        let mut canonical: Vec<_> = names.iter().map(|n| canonical(n, &layout).expect("official")).collect();
        canonical.sort();
        canonical.dedup();
        assert_eq!(canonical.len(), 270);
        assert!(canonical.contains(&"blocks.11.attn.proj.scale_out".to_owned()));
    }

    #[test]
    fn other_names_are_not_guessed() {
        let layout = Layout::of(&Shape::vit_b16());
        for name in ["", "transformer.", "transformer.encoder.layer.12.attn.key.shift_bias", "head", "module.x"] {
            assert_eq!(canonical(name, &layout), None, "{name}");
        }
        assert_eq!(canonical("module.norm.scale", &layout).as_deref(), Some("norm.scale"));
    }
}
