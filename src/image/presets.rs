use super::preprocess::{Alpha, Depth16, Exif, Interpolation, Preprocess, Resize};

const HALVES: [f32; 3] = [0.5; 3];
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

impl Preprocess {
    /// Names that [`Self::preset`] knows.
    pub const PRESETS: [&str; 4] = ["vtab", "fgvc", "timm", "dinov2"];

    /// What a known training code does to its test pictures, for a final side of `image_size` pixels; none for an
    /// unknown name.
    ///
    /// All of them decode with Pillow's `convert("RGB")`: alpha dropped, EXIF ignored. At 224 pixels:
    /// - `vtab`: RLRR's VTAB-1k code: squash to 224, bicubic, mean and std 0.5.
    /// - `fgvc`: RLRR's FGVC code: squash to 256, bilinear, crop 224, mean and std 0.5.
    /// - `timm`: timm's ViTs (crop_pct 0.9): short edge 248, bicubic, crop 224, mean and std 0.5.
    /// - `dinov2`: short edge 256, bicubic, crop 224, ImageNet's mean and std.
    pub fn preset(name: &str, image_size: usize) -> Option<Self> {
        let cropped = |size| (size, Some(image_size));
        let (resize, (size, crop), interpolation) = match name {
            "vtab" => (Resize::Squash, (image_size, None), Interpolation::Bicubic),
            "fgvc" => (Resize::Squash, cropped(image_size.saturating_mul(8) / 7), Interpolation::Bilinear),
            "timm" => (Resize::ShortEdge, cropped(image_size.saturating_mul(10) / 9), Interpolation::Bicubic),
            "dinov2" => (Resize::ShortEdge, cropped(image_size.saturating_mul(8) / 7), Interpolation::Bicubic),
            _ => return None,
        };
        let (mean, std) = if name == "dinov2" { (IMAGENET_MEAN, IMAGENET_STD) } else { (HALVES, HALVES) };
        Some(Self {
            resize,
            size,
            interpolation,
            antialias: true,
            pad_color: None,
            crop,
            alpha: Alpha::Drop,
            depth16: Depth16::Clip,
            mean,
            std,
            exif: Exif::Ignore,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_at_their_own_size_and_scaled() {
        let sizes = |name, image_size| {
            let preset = Preprocess::preset(name, image_size).unwrap();
            assert_eq!(preset.final_size(), image_size);
            (preset.size, preset.crop)
        };
        assert_eq!(sizes("vtab", 224), (224, None));
        assert_eq!(sizes("fgvc", 224), (256, Some(224)));
        assert_eq!(sizes("timm", 224), (248, Some(224)));
        assert_eq!(sizes("timm", 384), (426, Some(384)));
        assert_eq!(sizes("dinov2", 224), (256, Some(224)));
        assert_eq!(sizes("dinov2", 112), (128, Some(112)));
        assert_eq!(Preprocess::preset("imagenet", 224), None);
    }

    #[test]
    fn presets_are_valid() {
        for name in Preprocess::PRESETS {
            let preprocess = Preprocess::preset(name, 224).unwrap();
            assert_eq!((preprocess.check(), preprocess.check_fit(16, 2048, 1)), (vec![], None));
        }
    }
}
