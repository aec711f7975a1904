use std::str::FromStr;

use super::preprocess::{Alpha, Depth16, Exif, Interpolation, Preprocess, Resize};

const HALF: [f32; 3] = [0.5; 3];
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Ways of preparing pictures that checkpoints were trained with. All read pictures as Pillow's `convert("RGB")` does:
/// alpha dropped, 16-bit grey clipped, EXIF ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// RLRR on VTAB-1k: squash, bicubic; mean and std 0.5.
    Vtab,
    /// RLRR on FGVC: squash to 8/7 of the size, bilinear, then a centre crop; mean and std 0.5.
    Fgvc,
    /// timm's evaluation of ViTs: short edge to size / 0.9, bicubic, then a centre crop; mean and std 0.5.
    Timm,
    /// DINOv2's evaluation: short edge to 8/7 of the size, bicubic, then a centre crop; ImageNet's mean and std.
    Dinov2,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 4] = [Self::Vtab, Self::Fgvc, Self::Timm, Self::Dinov2];

    /// The preset for pictures of `size` pixels a side; at 224, resizes are 256 (fgvc, dinov2) and 248 (timm).
    pub fn at(self, size: usize) -> Preprocess {
        let eight_sevenths = size.saturating_mul(8) / 7;
        let (resize, resized, interpolation) = match self {
            Self::Vtab => (Resize::Squash, size, Interpolation::Bicubic),
            Self::Fgvc => (Resize::Squash, eight_sevenths, Interpolation::Bilinear),
            Self::Timm => (Resize::ShortEdge, size.saturating_mul(10) / 9, Interpolation::Bicubic),
            Self::Dinov2 => (Resize::ShortEdge, eight_sevenths, Interpolation::Bicubic),
        };
        let (mean, std) = if self == Self::Dinov2 { (IMAGENET_MEAN, IMAGENET_STD) } else { (HALF, HALF) };
        Preprocess {
            resize,
            size: resized,
            interpolation,
            antialias: true,
            pad_color: None,
            crop: (self != Self::Vtab).then_some(size),
            alpha: Alpha::Drop,
            depth16: Depth16::Clip,
            mean,
            std,
            exif: Exif::Ignore,
        }
    }
}

/// A word that is no preset's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPreset;

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        match name {
            "vtab" => Ok(Self::Vtab),
            "fgvc" => Ok(Self::Fgvc),
            "timm" => Ok(Self::Timm),
            "dinov2" => Ok(Self::Dinov2),
            _ => Err(UnknownPreset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resizes_scale_with_the_picture() {
        let sizes = |preset: Preset, size| (preset.at(size).size, preset.at(size).final_size());
        assert_eq!(sizes(Preset::Vtab, 224), (224, 224));
        assert_eq!(sizes(Preset::Fgvc, 224), (256, 224));
        assert_eq!(sizes(Preset::Timm, 224), (248, 224));
        assert_eq!(sizes(Preset::Timm, 384), (426, 384));
        assert_eq!(sizes(Preset::Dinov2, 112), (128, 112));
    }

    #[test]
    fn presets_are_valid() {
        for preset in Preset::ALL {
            let preprocess = preset.at(224);
            assert_eq!((preprocess.check(), preprocess.check_fit(16, 2048, 1)), (vec![], None));
        }
    }
}
