use std::sync::Arc;

use super::metadata::Metadata;
use super::problem::{Problem, Problems};
use super::{Limits, PROBE_PICTURES_MAX};
use crate::adapter::{Head, Layout, Method, Probe};
use crate::tensors::{Dtype, TensorFile, View, to_f32};

const HEAD_WEIGHT: &str = "head.weight";
const HEAD_BIAS: &str = "head.bias";
const PROBE_PIXELS: &str = "probe.pixels";
const PROBE_LOGITS: &str = "probe.logits";
const OTHERS: [&str; 4] = [HEAD_WEIGHT, HEAD_BIAS, PROBE_PIXELS, PROBE_LOGITS];

/// The tensors of a container, read with faults gathered.
pub(super) struct Contents<'a, 'p> {
    pub file: &'a TensorFile<'a>,
    pub problems: &'p mut Problems,
}

impl Contents<'_, '_> {
    /// The flat vector.
    pub fn rescale(&mut self, layout: &Layout, method: Method) -> Option<Arc<[f32]>> {
        match method {
            Method::Rlrr => self.every_segment(layout),
            Method::Linear => self.neutral_segments(layout),
        }
    }

    fn every_segment(&mut self, layout: &Layout) -> Option<Arc<[f32]>> {
        let mut flat = vec![0.0; layout.len()];
        let mut complete = true;
        for segment in layout.segments() {
            match self.values(&segment.name, &[segment.range.len()]) {
                Some(values) => flat[segment.range.clone()].copy_from_slice(&values),
                None => complete = false,
            }
        }
        complete.then(|| flat.into())
    }

    /// A head-only file may leave segments out; those that it has must be neutral.
    fn neutral_segments(&mut self, layout: &Layout) -> Option<Arc<[f32]>> {
        let file = self.file;
        for segment in layout.segments().iter().filter(|segment| file.with(&segment.name, |_| ()).is_some()) {
            let Some(values) = self.values(&segment.name, &[segment.range.len()]) else { continue };
            if values.iter().any(|&value| value != segment.neutral) {
                let problem = Problem::new(&segment.name, "the method linear is a head only; this tensor rescales");
                self.problems.push(problem.expected(format!("{} everywhere, or no tensor", segment.neutral)));
            }
        }
        Some(layout.neutral())
    }

    /// The classifier of `features` inputs; as many classes as labels.
    pub fn head(&mut self, features: usize, metadata: &Metadata, limits: &Limits) -> Option<Head> {
        let classes = self.shape(HEAD_WEIGHT).and_then(|shape| shape.first().copied());
        let labels = metadata.labels.as_ref().map(Vec::len);
        if let Some((classes, labels)) = classes.zip(labels).filter(|(classes, labels)| classes != labels) {
            let problem = Problem::new("labels", "there must be one label per row of head.weight");
            self.problems.push(problem.expected(classes).found(labels));
        }
        let classes = classes.or(labels).unwrap_or(0);
        if classes > limits.classes_max {
            let problem = Problem::new(HEAD_WEIGHT, "too many classes");
            self.problems.push(problem.expected(format!("at most {}", limits.classes_max)).found(classes));
            return None;
        }
        let (weight, bias) = (self.values(HEAD_WEIGHT, &[classes, features]), self.values(HEAD_BIAS, &[classes]));
        Some(Head { weight: weight?, bias: bias? })
    }

    /// The known answers, if there are any, for pictures of `side` pixels.
    pub fn probe(&mut self, classes: usize, side: usize) -> Option<Probe> {
        let (pixels, has_logits) = (self.shape(PROBE_PIXELS), self.shape(PROBE_LOGITS).is_some());
        if pixels.is_some() != has_logits {
            let (missing, there) = if has_logits { (PROBE_PIXELS, PROBE_LOGITS) } else { (PROBE_LOGITS, PROBE_PIXELS) };
            self.problems.push(Problem::new(missing, format!("missing tensor; {there} needs it")));
        }
        let pixels = pixels.filter(|_| has_logits)?;
        let count = pixels.first().copied().unwrap_or(0);
        if !(1..=PROBE_PICTURES_MAX).contains(&count) || pixels != [count, side, side, 3] {
            let expected = format!("[1 to {PROBE_PICTURES_MAX}, {side}, {side}, 3], the final size of preprocess");
            self.problems.push(Problem::new(PROBE_PIXELS, "wrong shape").expected(expected).found(shown(&pixels)));
            return None;
        }
        let bytes = self.file.with(PROBE_PIXELS, |view| (view.dtype == Dtype::U8).then(|| view.bytes.to_vec()));
        let Some(pixels) = bytes.flatten() else {
            self.problems.push(Problem::new(PROBE_PIXELS, "wrong type").expected("U8"));
            return None;
        };
        let logits = self.values(PROBE_LOGITS, &[count, classes])?;
        Some(Probe { count, pixels, size: (side, side), logits })
    }

    /// Every tensor must have a meaning.
    pub fn refuse_unknown(&mut self, layout: &Layout) {
        let mut names = self.file.names();
        names.retain(|name| layout.find(name).is_none() && !OTHERS.contains(&name.as_str()));
        names.sort_unstable();
        for name in names {
            self.problems.push(Problem::new(name, "unknown tensor; ignoring it could change answers"));
        }
    }

    /// Finite floats of exactly this shape.
    fn values(&mut self, name: &str, shape: &[usize]) -> Option<Vec<f32>> {
        let read = self.file.with(name, |view| finite_floats(name, shape, view));
        let read = read.unwrap_or_else(|| Err(Problem::new(name, "missing tensor").expected(shown(shape))));
        read.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.file.with(name, |view| view.shape.to_vec())
    }
}

fn finite_floats(name: &str, shape: &[usize], view: View<'_>) -> Result<Vec<f32>, Problem> {
    if view.shape != shape {
        return Err(Problem::new(name, "wrong shape").expected(shown(shape)).found(shown(view.shape)));
    }
    let float = matches!(view.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16);
    let wrong_type =
        || Problem::new(name, "wrong type").expected("F32, F16 or BF16").found(format!("{:?}", view.dtype));
    let values = Some(view).filter(|_| float).and_then(|view| to_f32(name, view).ok()).ok_or_else(wrong_type)?;
    let bad = values.iter().filter(|v| !v.is_finite()).count();
    if bad > 0 {
        let found = format!("{bad} of {} are NaN or infinite", values.len());
        return Err(Problem::new(name, "values must be finite").found(found));
    }
    Ok(values)
}

fn shown(shape: &[usize]) -> String {
    format!("{shape:?}")
}
