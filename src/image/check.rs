use super::error::ImageError;
use super::preprocess::{Preprocess, Resize};

/// Longest side in pixels of a resize that an adapter may ask for.
pub const SIZE_MAX: usize = 8192;

/// Something in a [`Preprocess`] that no picture can be prepared by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreprocessFault {
    /// The key inside `preprocess`.
    pub key: &'static str,
    /// What is wrong, as the rest of a sentence that begins with the key.
    pub problem: String,
    /// What would be accepted.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Preprocess {
    /// Every fault that needs no backbone to be seen. Empty: pictures can be prepared.
    pub fn check(&self) -> Vec<PreprocessFault> {
        let mut faults = self.size_faults();
        faults.extend(self.pad_color_fault());
        for (key, values) in [("mean", self.mean), ("std", self.std)] {
            if !values.iter().all(|value| value.is_finite()) {
                faults.push(fault(key, "is not finite", "three finite numbers", format!("{values:?}")));
            }
        }
        // Below this, a byte's step of 1/255 would overflow what half precision holds.
        if self.std.iter().any(|&value| value.is_finite() && value < 1e-6) {
            faults.push(fault("std", "divides by too little", "three numbers from 1e-6", format!("{:?}", self.std)));
        }
        faults
    }

    /// What a backbone objects to, with patches of `patch` pixels and `prefix_tokens` tokens before them, that may see
    /// at most `tokens_max` tokens in all. Sizes that [`Self::check`] refuses are not judged.
    pub fn check_fit(&self, patch: usize, tokens_max: usize, prefix_tokens: usize) -> Option<PreprocessFault> {
        if !self.size_faults().is_empty() {
            return None;
        }
        let (side, key) = (self.final_size(), if self.crop.is_some() { "crop" } else { "size" });
        if patch == 0 || !side.is_multiple_of(patch) {
            let expected = format!("a multiple of {patch}");
            return Some(fault(key, "is no multiple of the backbone's patch", &expected, side.to_string()));
        }
        let tokens = (side / patch).pow(2) + prefix_tokens;
        let problem = "makes more tokens than --max-tokens allows";
        (tokens > tokens_max)
            .then(|| fault(key, problem, &format!("at most {tokens_max} tokens"), format!("{tokens} tokens")))
    }

    /// The part of [`Self::check`] without which a resize makes no sense.
    pub(super) fn check_sizes(&self) -> Result<(), ImageError> {
        match self.size_faults().into_iter().next() {
            None => Ok(()),
            Some(PreprocessFault { key, problem, expected, found }) => {
                Err(ImageError::Preprocess { key, problem: format!("{problem} (expected {expected}, found {found})") })
            }
        }
    }

    fn size_faults(&self) -> Vec<PreprocessFault> {
        let mut faults = Vec::new();
        if !(1..=SIZE_MAX).contains(&self.size) {
            let expected = format!("1 to {SIZE_MAX} pixels");
            faults.push(fault("size", "is out of range", &expected, self.size.to_string()));
        }
        match self.crop {
            Some(crop) if crop < 1 || crop > self.size => {
                let expected = format!("1 pixel to size = {}", self.size);
                faults.push(fault("crop", "is out of range", &expected, crop.to_string()));
            }
            None if self.resize == Resize::ShortEdge => {
                let problem = "is required with resize = short_edge, since the backbone sees squares";
                faults.push(fault("crop", problem, &format!("1 pixel to size = {}", self.size), "none".into()));
            }
            _ => {}
        }
        faults
    }

    fn pad_color_fault(&self) -> Option<PreprocessFault> {
        match (self.resize, self.pad_color) {
            (Resize::Pad, None) => {
                Some(fault("pad_color", "is required with resize = pad", "[r, g, b], 0 to 255 each", "none".into()))
            }
            (Resize::Squash | Resize::ShortEdge, Some(color)) => {
                Some(fault("pad_color", "means nothing without resize = pad", "no such key", format!("{color:?}")))
            }
            _ => None,
        }
    }
}

fn fault(key: &'static str, problem: &str, expected: &str, found: String) -> PreprocessFault {
    PreprocessFault { key, problem: problem.into(), expected: expected.into(), found }
}

#[cfg(test)]
mod tests {
    use super::super::preprocess::tests::plain;
    use super::*;

    fn keys(preprocess: &Preprocess) -> Vec<&'static str> {
        let faults = preprocess.check().into_iter().chain(preprocess.check_fit(16, 2048, 1));
        faults.map(|fault| fault.key).collect()
    }

    #[test]
    fn every_fault_is_named() {
        let squash = |size| plain(Resize::Squash, size);
        let cropped = |size, crop| Preprocess { crop: Some(crop), ..plain(Resize::ShortEdge, size) };
        for (preprocess, expected) in [
            (squash(224), &[][..]),
            (cropped(248, 224), &[]),
            (Preprocess { pad_color: Some([0; 3]), ..plain(Resize::Pad, 224) }, &[]),
            (squash(0), &["size"]),
            (squash(SIZE_MAX + 1), &["size"]),
            (squash(usize::MAX), &["size"]),
            (squash(225), &["size"]),
            (squash(45 * 16), &[]),
            (squash(46 * 16), &["size"]),
            (cropped(248, 0), &["crop"]),
            (cropped(248, 249), &["crop"]),
            (cropped(248, 225), &["crop"]),
            (plain(Resize::ShortEdge, 224), &["crop"]),
            (plain(Resize::Pad, 224), &["pad_color"]),
            (Preprocess { pad_color: Some([0; 3]), ..squash(224) }, &["pad_color"]),
            (Preprocess { mean: [0.5, f32::NAN, 0.5], ..squash(224) }, &["mean"]),
            (Preprocess { std: [0.5, f32::INFINITY, 0.5], ..squash(224) }, &["std"]),
            (Preprocess { std: [0.5, 0.0, 0.5], ..squash(224) }, &["std"]),
            (Preprocess { std: [0.5, 9e-7, 0.5], ..squash(224) }, &["std"]),
            (Preprocess { std: [0.5, 1e-6, 0.5], ..squash(224) }, &[]),
            (Preprocess { std: [0.5, -0.5, 0.5], ..squash(224) }, &["std"]),
            (
                Preprocess { std: [0.0; 3], mean: [f32::NAN; 3], ..plain(Resize::Pad, 0) },
                &["size", "pad_color", "mean", "std"],
            ),
        ] {
            assert_eq!(keys(&preprocess), expected, "{preprocess:?}");
        }
    }

    #[test]
    fn prefix_tokens_count() {
        let preprocess = plain(Resize::Squash, 64);
        assert_eq!(preprocess.check_fit(16, 17, 1), None);
        assert_eq!(preprocess.check_fit(16, 17, 5).unwrap().found, "21 tokens");
    }
}
