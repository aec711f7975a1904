use std::fmt;

/// The picture formats that [`super::decode`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Baseline and progressive, grey, colour and CMYK.
    Jpeg,
    /// Every colour type and depth.
    Png,
    /// Lossy and lossless, with or without alpha; the first frame of an animation.
    WebP,
    /// Windows bitmap.
    Bmp,
    /// The first frame.
    Gif,
    /// The first page; integer samples.
    Tiff,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::Tiff => "TIFF",
        })
    }
}

/// Why bytes did not become pixels. [`ImageError::NotAPicture`] is about the kind of the bytes, every other variant
/// about a picture of an accepted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Not one byte.
    #[error("the picture is empty: send the bytes of a JPEG, PNG, WebP, BMP, GIF or TIFF file")]
    Empty,
    /// The first bytes belong to no accepted format.
    #[error("this is not a picture but {looks_like}: send the bytes of a JPEG, PNG, WebP, BMP, GIF or TIFF file")]
    NotAPicture {
        /// What the bytes look like, as a noun with its article.
        looks_like: &'static str,
    },
    /// The bytes end before the picture does.
    #[error("the {format} picture is truncated: send the whole file")]
    Truncated {
        /// What the first bytes say.
        format: Format,
    },
    /// A picture of an accepted format that is damaged, or of an unsupported kind of it.
    #[error("the {format} picture cannot be decoded: {why}")]
    Bad {
        /// What the first bytes say.
        format: Format,
        /// The decoder's words.
        why: String,
    },
    /// Above a [`super::DecodeLimits`]; found in the header, before any pixel was allocated.
    #[error("the picture's {what} is {found}, the limit is {max}: send a smaller picture")]
    TooLarge {
        /// The measured quantity, with its unit.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// 16 bits per channel, and the adapter says [`super::Depth16::Refuse`].
    #[error("the picture has 16 bits per channel and this task takes 8: convert the picture to 8 bits")]
    Depth16,
    /// A [`super::Preprocess`] that [`super::Preprocess::check`] refuses.
    #[error("preprocess.{key} {problem}")]
    Preprocess {
        /// The offending key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}
