use std::fmt;

use serde::Serialize;

use crate::adapter::Layout;
use crate::backbone::{Fingerprint, LoadReport, Loaded, PositionRule, Shape};
use crate::table::table;

/// A backbone for people (`Display`) and for programs (JSON).
#[derive(Serialize)]
pub struct Description {
    kind: &'static str,
    fingerprint: Fingerprint,
    shape: Shape,
    image_size: usize,
    position_grid: (usize, usize),
    position_rule: PositionRule,
    parameters: usize,
    adapter_values: usize,
    tensors: Vec<Tensors>,
    #[serde(flatten)]
    report: LoadReport,
}

/// Canonical tensors that differ in their block only.
#[derive(Serialize)]
struct Tensors {
    /// With `{i}` for the block.
    name: String,
    shape: Vec<usize>,
    count: usize,
    parameters: usize,
}

impl Description {
    /// Describes what was loaded.
    pub fn of(loaded: &Loaded) -> Self {
        let backbone = &loaded.backbone;
        Self {
            kind: "backbone",
            fingerprint: backbone.fingerprint.clone(),
            shape: backbone.shape,
            image_size: backbone.image_size,
            position_grid: backbone.stored_grid,
            position_rule: backbone.position_rule,
            parameters: loaded.weights.parameters(),
            adapter_values: Layout::of(&backbone.shape).len(),
            tensors: tensors(loaded),
            report: loaded.report.clone(),
        }
    }

    fn properties(&self) -> Vec<Vec<String>> {
        let (shape, report) = (&self.shape, &self.report);
        let (rows, columns) = self.position_grid;
        let layer_scale = if report.layer_scale_folded { "folded into proj and fc2" } else { "none" };
        let properties = [
            ("file", report.file.display().to_string()),
            ("names", report.names.into()),
            ("prefix", if report.prefix.is_empty() { "none".into() } else { report.prefix.clone() }),
            ("config.json", report.config.unwrap_or("none").into()),
            ("stored as", report.stored_as.join(", ")),
            ("width", shape.width.to_string()),
            ("blocks", shape.depth.to_string()),
            ("heads", format!("{} of {} features", shape.heads, shape.head_size())),
            ("MLP", shape.mlp.to_string()),
            ("activation", shape.activation.name().into()),
            ("patch", format!("{0} x {0} pixels, {1} channels", shape.patch, shape.channels)),
            ("prefix tokens", shape.prefix_tokens.to_string()),
            ("layer_norm_eps", format!("{:e} (part of the fingerprint)", shape.eps)),
            ("LayerScale", layer_scale.into()),
            ("picture size", self.image_size.to_string()),
            ("position table", format!("{rows} x {columns}, resampled by {}", self.position_rule.name())),
            ("parameters", self.parameters.to_string()),
            ("values of an adapter", self.adapter_values.to_string()),
            ("fingerprint", self.fingerprint.to_string()),
        ];
        properties.map(|(name, value)| vec![name.to_owned(), value]).into()
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", table(&["backbone", ""], &self.properties()))?;
        let row =
            |t: &Tensors| vec![t.name.clone(), format!("{:?}", t.shape), t.count.to_string(), t.parameters.to_string()];
        let rows: Vec<_> = self.tensors.iter().map(row).collect();
        write!(f, "{}", table(&["canonical tensor", "shape", "count", "parameters"], &rows))?;
        let ignored = &self.report.ignored;
        if !ignored.is_empty() {
            let row = |i: &crate::backbone::Ignored| vec![i.name.clone(), format!("{:?}", i.shape), i.why.to_owned()];
            let rows: Vec<_> = ignored.iter().map(row).collect();
            write!(f, "\n{}", table(&["ignored tensor", "shape", "what it is"], &rows))?;
        }
        self.report.assumed.iter().try_for_each(|line| write!(f, "\nassumed: {line}"))
    }
}

/// Groups `blocks.0.x`, `blocks.1.x` … in the order of their first names.
fn tensors(loaded: &Loaded) -> Vec<Tensors> {
    let mut groups: Vec<Tensors> = Vec::new();
    for (name, tensor) in &loaded.weights.0 {
        let name = pattern(name);
        let group = match groups.iter().position(|group| group.name == name) {
            Some(at) => &mut groups[at],
            None => {
                groups.push(Tensors { name, shape: tensor.shape.clone(), count: 0, parameters: 0 });
                groups.last_mut().expect("just pushed")
            }
        };
        group.count += 1;
        group.parameters += tensor.data.len();
    }
    groups
}

fn pattern(name: &str) -> String {
    match name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        Some((_, inner)) => format!("blocks.{{i}}.{inner}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::{LoadOptions, load};

    #[test]
    fn people_and_programs_are_told_the_same() {
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rlrr-tiny");
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::copy(format!("{golden}/backbone.npz"), folder.path().join("backbone.npz")).expect("committed");
        let loaded = load(folder.path(), &LoadOptions::default()).expect("a backbone");
        let description = Description::of(&loaded);
        let text = description.to_string();
        for expected in [
            "sha256:ecce225685f28b70363e4b0960a7730c3141a7a49fcd49c0607367406ebebd5b",
            "4 x 4, resampled by bilinear_corners",
            "blocks.{i}.attn.q.weight",
            "assumed: layer_norm_eps 1e-6, the default of Google (Flax)",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
        let json = serde_json::to_value(&description).expect("JSON");
        let sum: u64 =
            json["tensors"].as_array().expect("groups").iter().filter_map(|t| t["parameters"].as_u64()).sum();
        assert_eq!(json["parameters"].as_u64(), Some(sum));
        assert_eq!((json["kind"].as_str(), json["shape"]["eps"].as_f64()), (Some("backbone"), Some(1e-6)));
    }
}
