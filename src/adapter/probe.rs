use serde::Serialize;

/// Known answers carried by the file, checked on the serving engine before a version goes live.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Pictures in `pixels`; at most [`PROBE_PICTURES_MAX`](super::format::PROBE_PICTURES_MAX).
    pub count: usize,
    /// `[count, height, width, 3]` after resize and crop.
    pub pixels: Vec<u8>,
    /// Picture size (height, width).
    pub size: (usize, usize),
    /// `[count, classes]`, before the temperature.
    pub logits: Vec<f32>,
}

/// How far an engine's answers are from a probe's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeReport {
    /// Whether every picture passed.
    pub passed: bool,
    /// Pictures compared.
    pub pictures: usize,
    /// Largest |Δ| of a logit; none when an answer was not finite or had another length.
    pub max_difference: Option<f32>,
    /// The bound of the picture with that difference: tolerance · (1 + max |logit|).
    pub allowed: f32,
    /// Pictures whose first class differs although its margin is above the bound.
    pub flips: usize,
}

impl Probe {
    /// The pictures, each `[height, width, 3]`.
    pub fn pictures(&self) -> impl Iterator<Item = &[u8]> {
        self.pixels.chunks_exact((self.size.0 * self.size.1 * 3).max(1))
    }

    /// The known logits, one row per picture.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.logits.chunks_exact((self.logits.len() / self.count.max(1)).max(1))
    }

    /// Compares an engine's logits, one row per picture, with the known ones. A picture passes when every |Δ| is at
    /// most `tolerance · (1 + max |logit|)` and the first class agrees, unless its margin is under that bound.
    pub fn compare(&self, answers: &[Vec<f32>], tolerance: f32) -> ProbeReport {
        let mut report =
            ProbeReport { passed: true, pictures: self.count, max_difference: Some(0.0), allowed: 0.0, flips: 0 };
        report.passed = answers.len() == self.count;
        for (known, answer) in self.rows().zip(answers) {
            let allowed = tolerance * (1.0 + known.iter().fold(0.0f32, |max, v| max.max(v.abs())));
            let difference = difference(known, answer);
            let flipped = first(known) != first(answer) && margin(known) > allowed;
            report.flips += usize::from(flipped);
            report.passed &= !flipped && difference.is_some_and(|d| d <= allowed);
            if report.max_difference.is_some_and(|max| difference.is_none_or(|d| d >= max)) {
                (report.max_difference, report.allowed) = (difference, allowed);
            }
        }
        report
    }
}

/// Largest |Δ|; none when lengths differ or a value is not finite.
fn difference(known: &[f32], answer: &[f32]) -> Option<f32> {
    let finite = known.len() == answer.len() && answer.iter().all(|v| v.is_finite());
    finite.then(|| known.iter().zip(answer).fold(0.0, |max: f32, (a, b)| max.max((a - b).abs())))
}

/// Index of the largest value; the first of equals.
fn first(values: &[f32]) -> Option<usize> {
    (0..values.len()).reduce(|best, i| if values[i] > values[best] { i } else { best })
}

/// How far the largest value is ahead of the second; infinite when there is one class.
fn margin(values: &[f32]) -> f32 {
    let (best, second) = values.iter().fold((f32::NEG_INFINITY, f32::NEG_INFINITY), |(best, second), &v| {
        if v > best { (v, best) } else { (best, second.max(v)) }
    });
    best - second
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(logits: &[f32]) -> Probe {
        Probe { count: 2, pixels: vec![0; 2 * 3], size: (1, 1), logits: logits.to_vec() }
    }

    #[test]
    fn small_differences_pass_and_are_reported() {
        let report = probe(&[1.0, 3.0, -3.0, 0.0]).compare(&[vec![1.0, 3.002], vec![-3.0, 0.001]], 1e-3);
        assert!(report.passed, "{report:?}");
        assert_eq!(report.flips, 0);
        assert!((report.max_difference.expect("finite") - 0.002).abs() < 1e-6);
        assert!((report.allowed - 0.004).abs() < 1e-6);
    }

    #[test]
    fn a_large_difference_fails() {
        assert!(!probe(&[1.0, 3.0, -3.0, 0.0]).compare(&[vec![1.0, 3.1], vec![-3.0, 0.0]], 1e-3).passed);
    }

    #[test]
    fn a_flip_counts_only_above_the_margin() {
        let close = probe(&[1.0, 1.001, 0.0, 5.0]).compare(&[vec![1.0005, 1.0], vec![0.0, 5.0]], 1e-3);
        assert!(close.passed && close.flips == 0, "{close:?}");
        let far = probe(&[1.0, 2.0, 0.0, 5.0]).compare(&[vec![2.0, 1.0], vec![0.0, 5.0]], 1e-3);
        assert!(!far.passed && far.flips == 1, "{far:?}");
    }

    #[test]
    fn a_nan_or_a_missing_answer_fails() {
        let known = probe(&[1.0, 2.0, 0.0, 5.0]);
        let nan = known.compare(&[vec![f32::NAN, 2.0], vec![0.0, 5.0]], 1e-3);
        assert!(!nan.passed && nan.max_difference.is_none());
        assert!(!known.compare(&[vec![1.0, 2.0]], 1e-3).passed);
        assert!(!known.compare(&[vec![1.0], vec![0.0, 5.0]], 1e-3).passed);
    }
}
