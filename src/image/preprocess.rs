use serde::{Deserialize, Serialize};

/// How the picture is fitted to its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// To `size` x `size`, aspect ratio ignored.
    Squash,
    /// The short edge to `size` (torchvision's rule for the long one).
    ShortEdge,
    /// The long edge to `size`, the rest filled with `pad_color`, picture centred.
    Pad,
}

/// The resampling filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Nearest neighbour (Pillow's).
    Nearest,
    /// Triangle filter.
    Bilinear,
    /// Cubic convolution, a = -0.5.
    Bicubic,
}

/// What becomes of an alpha channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Alpha {
    /// Ignored, as Pillow's `convert("RGB")` does.
    Drop,
    /// Composited over white, as Pillow's `alpha_composite`.
    White,
    /// Composited over black.
    Black,
}

/// What becomes of 16 bits per channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth16 {
    /// Such a picture is refused.
    Refuse,
    /// As Pillow's `convert("RGB")`: in grey pictures values above 255 become 255, in others the high byte is kept.
    Clip,
    /// Divided by 257, rounded to the nearest.
    Scale,
}

/// What becomes of the EXIF orientation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exif {
    /// The picture is turned upright.
    Apply,
    /// The stored pixels are taken as they are.
    Ignore,
}

/// Picture to pixels, a property of the adapter. Every key is required in the file except `pad_color` and `crop`;
/// an unknown key or value is refused by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// How `size` is reached.
    pub resize: Resize,
    /// Target side in pixels of the resize.
    pub size: usize,
    /// Filter.
    pub interpolation: Interpolation,
    /// Whether the filter widens when shrinking (Pillow always does). Without it a small fixed neighbourhood of each
    /// sampling point is weighed and the rest is skipped. Means nothing to `nearest`.
    pub antialias: bool,
    /// RGB of the border for `pad`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad_color: Option<[u8; 3]>,
    /// Side of the centre crop after the resize; none for `squash` and `pad` at their own size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<usize>,
    /// Alpha channel.
    pub alpha: Alpha,
    /// 16-bit channels.
    pub depth16: Depth16,
    /// Subtracted per channel from x/255.
    pub mean: [f32; 3],
    /// Divides per channel, after the mean.
    pub std: [f32; 3],
    /// EXIF orientation.
    pub exif: Exif,
}

impl Preprocess {
    /// Side in pixels of the square picture that the backbone sees.
    pub fn final_size(&self) -> usize {
        self.crop.unwrap_or(self.size)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::image::Preset;

    /// Pillow's habits without a crop.
    pub fn plain(resize: Resize, size: usize) -> Preprocess {
        Preprocess { resize, ..Preset::Vtab.at(size) }
    }

    #[test]
    fn unknown_keys_and_values_are_refused_by_name() {
        let mut json = serde_json::to_value(plain(Resize::Squash, 224)).unwrap();
        assert!(serde_json::from_value::<Preprocess>(json.clone()).is_ok());
        json["sharpen"] = true.into();
        let error = serde_json::from_value::<Preprocess>(json.clone()).unwrap_err();
        assert!(error.to_string().contains("unknown field `sharpen`"), "{error}");
        json.as_object_mut().unwrap().remove("sharpen");
        json["resize"] = "stretch".into();
        let error = serde_json::from_value::<Preprocess>(json).unwrap_err();
        assert!(error.to_string().contains("unknown variant `stretch`"), "{error}");
    }
}
