use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::lineage;

use crate::adapter::format::{Limits, Range, Summary, Target, ValidationReport, report};
use crate::adapter::{Layout, Rule};
use crate::backbone::Backbone;
use crate::image::Preprocess;
use crate::table::{printable, table};

/// An adapter file for people (`Display`) and for programs (JSON).
#[derive(Serialize)]
pub struct Description {
    kind: &'static str,
    file: PathBuf,
    #[serde(flatten)]
    report: ValidationReport,
}

impl Description {
    /// Describes a file's bytes; with a backbone, also whether it fits.
    pub fn of(file: &Path, bytes: &[u8], backbone: Option<&Backbone>) -> Self {
        let limits = Limits::default();
        let report = match backbone {
            None => report(bytes, None, &limits),
            Some(Backbone { shape, fingerprint, .. }) => {
                let layout = &Layout::of(shape);
                report(bytes, Some(&Target { shape, layout, fingerprint, limits }), &limits)
            }
        };
        Self { kind: "adapter", file: file.to_owned(), report }
    }

    /// Whether nothing is wrong with the file.
    pub fn valid(&self) -> bool {
        self.report.valid
    }

    fn properties(&self) -> Vec<Vec<String>> {
        let mut rows = vec![
            ("file", self.file.display().to_string()),
            ("bytes", self.report.bytes.to_string()),
            ("hash", self.report.hash.clone()),
        ];
        if let Some(summary) = &self.report.summary {
            rows.extend(summarised(summary));
        }
        if let Some(coverage) = &self.report.coverage {
            let of = format!("{} of {}, {} values", coverage.present, coverage.expected, coverage.values);
            rows.push(("rescale tensors", of));
        }
        let mut rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), printable(&value)]).collect();
        let lineage = self.report.summary.as_ref().and_then(|summary| summary.lineage.as_ref());
        rows.extend(lineage.map_or(Vec::new(), lineage::rows));
        rows
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", table(&["adapter", ""], &self.properties()))?;
        if !self.report.ranges.is_empty() {
            let rows: Vec<_> = self.report.ranges.iter().map(range).collect();
            let titles = ["tensors of a kind", "count", "values", "smallest", "mean", "largest", "not finite"];
            write!(f, "\n{}", table(&titles, &rows))?;
        }
        self.report.problems.iter().try_for_each(|problem| write!(f, "\nfault: {problem}"))
    }
}

/// A faulty key is `?`; its fault is listed.
fn summarised(summary: &Summary) -> Vec<(&'static str, String)> {
    let fits = match summary.backbone_matches {
        Some(true) => ", the one given",
        Some(false) => ", another than the one given",
        None => "",
    };
    let Summary { labels, problem, pooling, position_rule, method, .. } = summary;
    vec![
        ("backbone", summary.backbone.as_ref().map_or("?".into(), |b| format!("{b}{fits}"))),
        ("method", word(method.as_ref())),
        ("labels", labels.as_ref().map_or("?".into(), |labels| shortened(labels))),
        ("problem", word(problem.as_ref())),
        ("decision", summary.decision.as_ref().map_or("?".into(), decision)),
        ("pooling", word(pooling.as_ref())),
        ("position rule", word(position_rule.as_ref())),
        ("picture", summary.preprocess.as_ref().map_or("?".into(), picture)),
        ("mean, std", summary.preprocess.as_ref().map_or("?".into(), |p| format!("{:?}, {:?}", p.mean, p.std))),
        ("temperature", summary.temperature.map_or("?".into(), |t| t.to_string())),
        ("probe", format!("{} pictures", summary.probe_pictures)),
        ("unknown keys", if summary.extra_keys.is_empty() { "none".into() } else { summary.extra_keys.join(", ") }),
    ]
}

/// The word that the file has for it.
fn word<T: Serialize>(value: Option<&T>) -> String {
    let json = value.and_then(|value| serde_json::to_value(value).ok());
    json.as_ref().and_then(|json| json.as_str()).unwrap_or("?").to_owned()
}

const LABELS_SHOWN: usize = 12;

fn shortened(labels: &[String]) -> String {
    let shown = labels.iter().take(LABELS_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if labels.len() > LABELS_SHOWN { ", …" } else { "" };
    format!("{}: {shown}{more}", labels.len())
}

fn decision(decision: &crate::adapter::Decision) -> String {
    let rule = match decision.rule {
        Rule::Argmax => "the most probable class".to_owned(),
        Rule::Threshold => format!("every class at or above its threshold, {:?}", decision.thresholds),
    };
    let abstain = decision.abstain_below.map_or(String::new(), |limit| format!("; none below {limit}"));
    rule + &abstain
}

fn picture(preprocess: &Preprocess) -> String {
    let Preprocess { resize, size, interpolation, antialias, crop, alpha, depth16, exif, .. } = preprocess;
    let crop = crop.map_or(String::new(), |crop| format!(", crop {crop}"));
    let antialias = if *antialias { "antialiased" } else { "not antialiased" };
    format!(
        "{} to {size}{crop}, {} {antialias}; alpha {}, 16 bit {}, EXIF {}",
        word(Some(resize)),
        word(Some(interpolation)),
        word(Some(alpha)),
        word(Some(depth16)),
        word(Some(exif))
    )
}

fn range(range: &Range) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.4}"));
    vec![
        printable(&range.kind),
        range.tensors.to_string(),
        range.values.to_string(),
        number(range.min.map(f64::from)),
        number(range.mean),
        number(range.max.map(f64::from)),
        range.non_finite.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &[u8] = include_bytes!("../../../tests/data/formats/adapter-v1.safetensors");

    #[test]
    fn a_good_file_is_a_table() {
        insta::assert_snapshot!(Description::of(Path::new("adapter-v1.safetensors"), SAMPLE, None));
    }

    #[test]
    fn faults_are_listed_below_it() {
        let (backbone, _) = crate::backbone::random(crate::adapter::testing::Tiny::new().shape, 8, 1);
        let text = Description::of(Path::new("x"), SAMPLE, Some(&backbone)).to_string();
        assert!(text.contains("another than the one given"), "{text}");
        assert!(text.contains("\nfault: backbone: the adapter belongs to another backbone"), "{text}");
        let text = Description::of(Path::new("x"), b"", None).to_string();
        assert!(
            text.ends_with("fault: file: the file is empty: an adapter is a .safetensors file with manylens metadata")
        );
    }

    #[test]
    fn programs_get_the_report() {
        let json = serde_json::json!(Description::of(Path::new("x"), SAMPLE, None));
        assert_eq!(json["kind"], "adapter");
        assert_eq!(json["valid"], true);
        assert_eq!(json["summary"]["labels"][1], "dog");
        assert_eq!(json["ranges"][0]["kind"], "attn.k.scale_in");
    }
}
