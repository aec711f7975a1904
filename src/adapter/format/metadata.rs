use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::Fields;
use super::problem::{Problem, Problems};
use super::{AdapterError, FORMAT, FORMAT_VERSION, Limits, rules};
use crate::adapter::{Decision, Method, Pooling, Problem as Exclusion};
use crate::backbone::{Fingerprint, PositionRule};
use crate::image::Preprocess;

/// The metadata as far as it could be understood; a key with a fault is `None` and its fault is gathered.
pub(super) struct Metadata {
    pub method: Option<Method>,
    pub backbone: Option<Fingerprint>,
    pub labels: Option<Vec<String>>,
    pub problem: Option<Exclusion>,
    pub decision: Option<Decision>,
    pub position_rule: Option<PositionRule>,
    pub pooling: Option<Pooling>,
    pub preprocess: Option<Preprocess>,
    pub temperature: Option<f32>,
    pub lineage: Option<Value>,
    pub extra: BTreeMap<String, String>,
}

/// Reads every key. A file of another format or of a higher version is not looked at further.
pub(super) fn read(
    metadata: &BTreeMap<String, String>,
    limits: &Limits,
    problems: &mut Problems,
) -> Result<Metadata, AdapterError> {
    check_format(metadata)?;
    let mut fields = Fields::metadata(metadata, problems);
    let version = fields.json::<u32>("format_version");
    let read = Metadata {
        method: fields.word("method"),
        backbone: fields.word("backbone"),
        labels: fields.json("labels"),
        problem: fields.word("problem"),
        decision: fields.object("decision", decision),
        position_rule: fields.word("position_rule"),
        pooling: fields.word("pooling"),
        preprocess: fields.object("preprocess", preprocess),
        temperature: fields.json("temperature"),
        lineage: fields.free("lineage", limits.lineage_bytes_max),
        extra: fields.rest().into_iter().filter(|(key, _)| key != "format").collect(),
    };
    if version == Some(0) {
        problems.push(Problem::new("format_version", "versions begin at 1").found(0));
    }
    Ok(read)
}

fn check_format(metadata: &BTreeMap<String, String>) -> Result<(), AdapterError> {
    let Some(format) = metadata.get("format").filter(|format| *format == FORMAT) else {
        let found = metadata.get("format").map_or("there is none".into(), |f| format!("it is `{f:.60}`"));
        return Err(AdapterError::NotAnAdapter(format!(
            "a safetensors file, but no manylens adapter: its metadata key `format` must be `{FORMAT}`, and {found}. \
             Convert checkpoints with `manylens import official FILE --out …`"
        )));
    };
    let version = metadata.get("format_version").and_then(|v| v.parse::<u64>().ok());
    match version.filter(|&version| version > u64::from(FORMAT_VERSION)) {
        Some(version) => Err(AdapterError::Invalid(vec![
            Problem::new("format_version", format!("{format} of a newer version: update manylens"))
                .expected(format!("at most {FORMAT_VERSION}"))
                .found(version),
        ])),
        None => Ok(()),
    }
}

/// Reads a `preprocess` object alone, as strictly as inside a file. Whether it fits a backbone is not checked.
pub fn read_preprocess(json: &str, limits: &Limits) -> Result<Preprocess, AdapterError> {
    let mut problems = Problems::new(limits.problems_max);
    let metadata = BTreeMap::from([("preprocess".to_owned(), json.to_owned())]);
    let read = Fields::metadata(&metadata, &mut problems).object("preprocess", preprocess);
    if let Some(preprocess) = &read {
        rules::check_preprocess(preprocess, &mut problems);
    }
    read.filter(|_| problems.is_empty()).ok_or_else(|| AdapterError::Invalid(problems.into_vec()))
}

fn decision(fields: &mut Fields<'_, Value>) -> Option<Decision> {
    let (rule, thresholds, abstain_below) =
        (fields.value("rule"), fields.optional("thresholds"), fields.optional("abstain_below"));
    Some(Decision { rule: rule?, thresholds: thresholds?.unwrap_or_default(), abstain_below: abstain_below? })
}

/// Every field is read before any is missed, so that all faults are reported.
fn preprocess(fields: &mut Fields<'_, Value>) -> Option<Preprocess> {
    let resize = fields.value("resize");
    let size = fields.value("size");
    let interpolation = fields.value("interpolation");
    let antialias = fields.value("antialias");
    let pad_color = fields.optional("pad_color");
    let crop = fields.optional("crop");
    let alpha = fields.value("alpha");
    let depth16 = fields.value("depth16");
    let mean = fields.value("mean");
    let std = fields.value("std");
    let exif = fields.value("exif");
    Some(Preprocess {
        resize: resize?,
        size: size?,
        interpolation: interpolation?,
        antialias: antialias?,
        pad_color: pad_color?,
        crop: crop?,
        alpha: alpha?,
        depth16: depth16?,
        mean: mean?,
        std: std?,
        exif: exif?,
    })
}
