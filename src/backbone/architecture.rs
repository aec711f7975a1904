//! What timm knows by a model's name alone and its config.json does not say. Compared with every loadable model of
//! timm 1.0.31.

use super::Activation;

/// Attention heads by a part of the architecture's name; the first that fits counts.
const HEADS: &[(&str, usize)] = &[
    ("base_patch16_gap_", 16),
    ("_plus_", 14),
    ("tiny", 3),
    ("small", 6),
    ("medium", 8),
    ("base", 12),
    ("large", 16),
    ("huge", 16),
    ("giant", 16),
    ("gigantic", 16),
    ("so150m", 14),
    ("so400m", 16),
];

/// SigLIP 2's image towers, whose MLPs use the tanh approximation.
const TANH: &[&str] = &[
    "vit_base_patch32_siglip_gap_",
    "vit_base_patch32_siglip_256",
    "vit_large_patch16_siglip_gap_512",
    "vit_large_patch16_siglip_512",
    "vit_so400m_patch16_siglip_",
    "vit_giantopt_patch16_siglip_",
];

/// Attention heads of a timm architecture.
pub(super) fn heads(architecture: &str) -> Option<usize> {
    let is_vit = ["vit_", "flexivit_", "deit_", "deit3_"].iter().any(|family| architecture.starts_with(family));
    HEADS.iter().find(|(part, _)| is_vit && architecture.contains(part)).map(|&(_, heads)| heads)
}

/// Activation of a timm architecture.
pub(super) fn activation(architecture: &str) -> Activation {
    if TANH.iter().any(|begin| architecture.starts_with(begin)) { Activation::GeluTanh } else { Activation::Gelu }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_timms() {
        let known = [
            ("vit_tiny_patch16_224.augreg_in21k", 3),
            ("vit_small_patch14_reg4_dinov2.lvd142m", 6),
            ("vit_base_patch16_224", 12),
            ("vit_base_patch16_gap_224", 16),
            ("vit_base_patch16_siglip_gap_224", 12),
            ("vit_base_patch16_plus_240", 14),
            ("deit3_medium_patch16_224", 8),
            ("flexivit_large", 16),
            ("vit_huge_patch14_224", 16),
            ("vit_giant_patch14_224", 16),
            ("vit_gigantic_patch14_224", 16),
            ("vit_so150m_patch16_reg4_gap_256", 14),
            ("vit_so400m_patch14_siglip_gap_224", 16),
        ];
        for (architecture, heads) in known {
            assert_eq!(super::heads(architecture), Some(heads), "{architecture}");
        }
        assert_eq!(super::heads("resnet50"), None);
        assert_eq!(super::heads("swin_base_patch4_window7_224"), None);
    }

    #[test]
    fn siglip_2_is_the_exception() {
        assert_eq!(activation("vit_base_patch16_224"), Activation::Gelu);
        assert_eq!(activation("vit_so400m_patch14_siglip_gap_224"), Activation::Gelu);
        assert_eq!(activation("vit_so400m_patch16_siglip_gap_256"), Activation::GeluTanh);
    }
}
