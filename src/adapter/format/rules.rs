use std::collections::HashSet;

use super::Limits;
use super::metadata::Metadata;
use super::problem::{Problem, Problems};
use crate::adapter::{Decision, Pooling, Rule};
use crate::backbone::{Fingerprint, Shape};
use crate::image::{Preprocess, PreprocessFault};

/// What holds for the metadata of any backbone's adapter.
pub(super) fn check(metadata: &Metadata, limits: &Limits, problems: &mut Problems) {
    let fingerprint = metadata.backbone.as_ref().filter(|fingerprint| !is_fingerprint(fingerprint));
    if let Some(text) = fingerprint {
        problems.push(Problem::new("backbone", "no fingerprint").expected("sha256: and 64 hex digits").found(text));
    }
    if let Some(labels) = &metadata.labels {
        check_labels(labels, limits, problems);
    }
    if let Some(decision) = &metadata.decision {
        check_decision(decision, metadata.labels.as_ref().map(Vec::len), problems);
    }
    if let Some(temperature) = metadata.temperature.filter(|t| !(t.is_finite() && *t > 0.0)) {
        problems.push(Problem::new("temperature", "must be finite and above 0").found(temperature));
    }
    if let Some(preprocess) = &metadata.preprocess {
        check_preprocess(preprocess, problems);
    }
}

/// What holds only together with a backbone.
pub(super) fn check_fit(metadata: &Metadata, shape: &Shape, limits: &Limits, problems: &mut Problems) {
    let needs_cls = matches!(metadata.pooling, Some(Pooling::Cls | Pooling::ClsMean));
    if needs_cls && shape.prefix_tokens == 0 {
        problems.push(Problem::new("pooling", "the backbone has no CLS token").expected("mean"));
    }
    let preprocess = metadata.preprocess.as_ref();
    let fault = preprocess.and_then(|it| it.check_fit(shape.patch, limits.tokens_max, shape.prefix_tokens));
    if let Some(fault) = fault {
        problems.push(in_preprocess(fault));
    }
}

/// `sha256:` and 64 lowercase hex digits.
pub(super) fn is_fingerprint(Fingerprint(text): &Fingerprint) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.strip_prefix("sha256:").is_some_and(|digits| digits.len() == 64 && digits.bytes().all(hex))
}

fn check_labels(labels: &[String], limits: &Limits, problems: &mut Problems) {
    if labels.is_empty() || labels.len() > limits.classes_max {
        let expected = format!("1 to {} labels", limits.classes_max);
        problems.push(Problem::new("labels", "wrong number of labels").expected(expected).found(labels.len()));
        return;
    }
    let mut seen = HashSet::new();
    for (index, label) in labels.iter().enumerate() {
        let place = || format!("labels[{index}]");
        if label.is_empty() || label.len() > limits.label_bytes_max {
            let expected = format!("1 to {} bytes", limits.label_bytes_max);
            problems.push(Problem::new(place(), "wrong length").expected(expected).found(label.len()));
        }
        if !seen.insert(label) {
            problems.push(Problem::new(place(), "the label appears twice").found(label));
        }
    }
}

fn check_decision(decision: &Decision, classes: Option<usize>, problems: &mut Problems) {
    let count = decision.thresholds.len();
    match decision.rule {
        Rule::Argmax if count > 0 => {
            problems.push(Problem::new("decision.thresholds", "the rule argmax has no thresholds").found(count));
        }
        Rule::Threshold if classes.is_some_and(|classes| classes != count) => {
            let expected = format!("one per label, {}", classes.unwrap_or_default());
            problems.push(
                Problem::new("decision.thresholds", "wrong number of thresholds").expected(expected).found(count),
            );
        }
        Rule::Argmax | Rule::Threshold => {}
    }
    let thresholds = decision.thresholds.iter().enumerate().map(|(i, v)| (format!("decision.thresholds[{i}]"), *v));
    let abstain = decision.abstain_below.map(|v| ("decision.abstain_below".to_owned(), v));
    for (place, value) in thresholds.chain(abstain).filter(|(_, value)| !(0.0..=1.0).contains(value)) {
        problems.push(Problem::new(place, "no probability").expected("0 to 1").found(value));
    }
}

pub(super) fn check_preprocess(preprocess: &Preprocess, problems: &mut Problems) {
    for fault in preprocess.check() {
        problems.push(in_preprocess(fault));
    }
}

fn in_preprocess(fault: PreprocessFault) -> Problem {
    let place = format!("preprocess.{}", fault.key);
    Problem::new(place, fault.problem).expected(fault.expected).found(fault.found)
}
