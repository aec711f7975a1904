//! The table of bad adapter files, each with the answer that its sender gets.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use manylens::adapter::format::{self, AdapterFile, Limits, Target};
use manylens::adapter::{Adapter, Decision, Head, Layout, Method, Pooling, Probe, Problem, Rule};
use manylens::backbone::{Fingerprint, PositionRule, Shape};
use manylens::image::Preset;
use manylens::tensors::{Dtype, Named, TensorFile, serialize};
use serde_json::json;

/// A backbone of one small block and what an adapter for it looks like.
struct World {
    shape: Shape,
    layout: Layout,
    fingerprint: Fingerprint,
}

/// A file taken apart.
#[derive(Clone)]
struct Parts {
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    metadata: BTreeMap<String, String>,
}

impl World {
    fn new() -> Self {
        let shape = Shape { width: 4, depth: 1, heads: 2, mlp: 8, patch: 16, ..Shape::vit_b16() };
        let fingerprint = Fingerprint(format!("sha256:{}", "0a".repeat(32)));
        Self { layout: Layout::of(&shape), shape, fingerprint }
    }

    fn target(&self) -> Target<'_> {
        let limits = Limits { tokens_max: 50, classes_max: 4, label_bytes_max: 10, ..Limits::default() };
        Target { shape: &self.shape, layout: &self.layout, fingerprint: &self.fingerprint, limits }
    }

    fn file(&self) -> AdapterFile {
        let adapter = Adapter {
            method: Method::Rlrr,
            backbone: self.fingerprint.clone(),
            rescale: self.layout.neutral(),
            head: Head { weight: vec![0.5; 8], bias: vec![0.0; 2] },
            labels: vec!["cat".into(), "dog".into()],
            problem: Problem::SingleLabel,
            decision: Decision { rule: Rule::Argmax, thresholds: vec![], abstain_below: None },
            position_rule: PositionRule::BicubicSize,
            pooling: Pooling::Cls,
            preprocess: Preset::Fgvc.at(32),
            temperature: 1.0,
            lineage: json!({}),
        };
        let probe = Probe { count: 1, pixels: vec![7; 32 * 32 * 3], size: (32, 32), logits: vec![1.0, 2.0] };
        AdapterFile { adapter, probe: Some(probe), extra: BTreeMap::new() }
    }

    fn parts(&self) -> Parts {
        let bytes = format::write(&self.file(), &self.layout);
        let file = TensorFile::parse(&bytes).expect("the writer writes valid files");
        let taken = |name: String| {
            let tensor = file.with(&name, |v| (v.dtype, v.shape.to_vec(), v.bytes.to_vec())).expect("there");
            (name, tensor)
        };
        Parts { tensors: file.names().into_iter().map(taken).collect(), metadata: file.metadata().clone() }
    }

    /// What the sender of these bytes is told.
    fn answer(&self, bytes: &[u8]) -> String {
        match format::read(bytes, &self.target()) {
            Ok(_) => "accepted".into(),
            Err(error) => {
                let problems = error.problems();
                problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n    ")
            }
        }
    }
}

impl Parts {
    fn bytes(&self) -> Vec<u8> {
        let tensors = self.tensors.iter().map(|(name, (dtype, shape, bytes))| Named {
            name: name.clone(),
            dtype: *dtype,
            shape: shape.clone(),
            bytes: bytes.into(),
        });
        serialize(&tensors.collect::<Vec<_>>(), &self.metadata)
    }

    fn put(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.tensors.insert(name.into(), (Dtype::F32, shape.to_vec(), bytes));
    }

    fn say(&mut self, key: &str, value: impl ToString) {
        self.metadata.insert(key.into(), value.to_string());
    }

    /// Changes the JSON object of a metadata key.
    fn edit(&mut self, key: &str, change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
        let mut object = serde_json::from_str(&self.metadata[key]).expect("an object");
        change(&mut object);
        self.say(key, serde_json::Value::Object(object));
    }
}

/// One line of the table.
type Case = (&'static str, fn(&mut Parts));

const TENSORS: &[Case] = &[
    ("nothing changed", |_| {}),
    ("missing tensor", |p| drop(p.tensors.remove("blocks.0.attn.q.scale_in"))),
    ("missing head", |p| {
        p.tensors.remove("head.weight");
        p.tensors.remove("head.bias");
    }),
    ("extra tensor", |p| p.put("blocks.0.attn.q.scale_up", &[4], &[0.0; 4])),
    ("tensor of another block", |p| p.put("blocks.1.norm1.scale", &[4], &[0.0; 4])),
    ("official name", |p| p.put("transformer.encoder.ssf_scale_enc_norm", &[4], &[0.0; 4])),
    ("mis-shaped tensor", |p| p.put("norm.scale", &[5], &[1.0; 5])),
    ("column instead of vector", |p| p.put("norm.scale", &[4, 1], &[1.0; 4])),
    ("NaN", |p| p.put("norm.shift", &[4], &[0.0, f32::NAN, f32::INFINITY, 0.0])),
    ("integers", |p| drop(p.tensors.insert("norm.shift".into(), (Dtype::I32, vec![4], vec![0; 16])))),
    ("double precision", |p| drop(p.tensors.insert("norm.shift".into(), (Dtype::F64, vec![4], vec![0; 32])))),
    ("head for another pooling", |p| p.put("head.weight", &[2, 8], &[0.0; 16])),
    ("bias of another length", |p| p.put("head.bias", &[3], &[0.0; 3])),
    ("head of too many classes", |p| {
        p.put("head.weight", &[5, 4], &[0.0; 20]);
        p.put("head.bias", &[5], &[0.0; 5]);
        p.say("labels", json!(["a", "b", "c", "d", "e"]));
    }),
    ("linear that rescales", |p| {
        p.say("method", "linear");
        p.put("norm.scale", &[4], &[2.0; 4]);
    }),
    ("probe without logits", |p| drop(p.tensors.remove("probe.logits"))),
    ("probe of another size", |p| {
        let pixels = (Dtype::U8, vec![1, 16, 16, 3], vec![0; 16 * 16 * 3]);
        p.tensors.insert("probe.pixels".into(), pixels);
    }),
    ("probe of nine pictures", |p| {
        p.tensors.insert("probe.pixels".into(), (Dtype::U8, vec![9, 32, 32, 3], vec![0; 9 * 32 * 32 * 3]));
    }),
    ("probe of floats", |p| p.put("probe.pixels", &[1, 32, 32, 3], &[0.0; 32 * 32 * 3])),
    ("probe with other classes", |p| p.put("probe.logits", &[1, 3], &[0.0; 3])),
    ("many faults at once", |p| {
        p.tensors.remove("norm.scale");
        p.put("norm.shift", &[3], &[0.0; 3]);
        p.put("surplus", &[1], &[0.0]);
        p.say("temperature", 0);
        p.edit("preprocess", |o| drop(o.remove("std")));
    }),
];

const METADATA: &[Case] = &[
    ("no metadata", |p| p.metadata.clear()),
    ("another format", |p| p.say("format", "pt")),
    ("newer version", |p| p.say("format_version", 2)),
    ("version zero", |p| p.say("format_version", 0)),
    ("version in words", |p| p.say("format_version", "one")),
    ("another backbone", |p| p.say("backbone", format!("sha256:{}", "ff".repeat(32)))),
    ("another backbone and a fault", |p| {
        p.say("backbone", format!("sha256:{}", "ff".repeat(32)));
        p.say("pooling", "max");
    }),
    ("no fingerprint", |p| p.say("backbone", "vit-b16")),
    ("missing key", |p| drop(p.metadata.remove("position_rule"))),
    ("unknown method", |p| p.say("method", "lora")),
    ("unknown problem", |p| p.say("problem", "regression")),
    ("unknown pooling", |p| p.say("pooling", "max")),
    ("unknown position rule", |p| p.say("position_rule", "lanczos")),
    ("three labels for two classes", |p| p.say("labels", json!(["a", "b", "c"]))),
    ("labels that are equal", |p| p.say("labels", json!(["cat", "cat"]))),
    ("an empty and a long label", |p| p.say("labels", json!(["", "eleven byte"]))),
    ("labels that are numbers", |p| p.say("labels", json!([1, 2]))),
    ("labels that are no JSON", |p| p.say("labels", "cat,dog")),
    ("a long lineage", |p| p.say("lineage", json!("x".repeat(300_000)))),
    ("lineage that is no JSON", |p| p.say("lineage", "by hand")),
    ("temperature below zero", |p| p.say("temperature", -1.5)),
    ("temperature that overflows", |p| p.say("temperature", "1e39")),
    ("temperature in words", |p| p.say("temperature", "warm")),
    ("thresholds for argmax", |p| p.edit("decision", |o| drop(o.insert("thresholds".into(), json!([0.5, 0.5]))))),
    ("too few thresholds", |p| p.say("decision", json!({"rule": "threshold", "thresholds": [0.5]}))),
    ("thresholds that are no probabilities", |p| {
        p.say("decision", json!({"rule": "threshold", "thresholds": [-0.1, 1.5], "abstain_below": 2}));
    }),
    ("unknown rule and key", |p| p.say("decision", json!({"rule": "vote", "quorum": 3}))),
    ("decision that is a word", |p| p.say("decision", "argmax")),
    ("key twice", |p| p.say("decision", r#"{"rule": "argmax", "rule": "threshold"}"#)),
    ("unknown top-level key is kept", |p| p.say("x-owner", "me")),
];

const PREPROCESS: &[Case] = &[
    ("unknown key", |p| p.edit("preprocess", |o| drop(o.insert("gamma".into(), json!(2.2))))),
    ("every key missing", |p| p.say("preprocess", json!({}))),
    ("unknown values", |p| {
        p.edit("preprocess", |o| {
            o.insert("resize".into(), json!("stretch"));
            o.insert("interpolation".into(), json!("lanczos"));
            o.insert("exif".into(), json!(true));
        });
    }),
    ("size that is no patch multiple", |p| p.edit("preprocess", |o| drop(o.insert("crop".into(), json!(30))))),
    ("too many tokens", |p| {
        p.edit("preprocess", |o| {
            o.insert("size".into(), json!(256));
            o.insert("crop".into(), json!(128));
        });
    }),
    ("size out of range", |p| p.edit("preprocess", |o| drop(o.insert("size".into(), json!(1_000_000))))),
    ("size beyond what a resize takes", |p| p.edit("preprocess", |o| drop(o.insert("size".into(), json!(8193))))),
    ("size zero", |p| {
        p.edit("preprocess", |o| {
            o.insert("size".into(), json!(0));
            o.remove("crop");
        });
    }),
    ("negative size", |p| p.edit("preprocess", |o| drop(o.insert("size".into(), json!(-224))))),
    ("crop larger than size", |p| p.edit("preprocess", |o| drop(o.insert("crop".into(), json!(48))))),
    ("short edge without crop", |p| {
        p.edit("preprocess", |o| {
            o.insert("resize".into(), json!("short_edge"));
            o.insert("size".into(), json!(32));
            o.remove("crop");
        });
    }),
    ("pad without colour", |p| p.edit("preprocess", |o| drop(o.insert("resize".into(), json!("pad"))))),
    ("colour without pad", |p| p.edit("preprocess", |o| drop(o.insert("pad_color".into(), json!([0, 0, 0]))))),
    ("colour out of range", |p| {
        p.edit("preprocess", |o| {
            o.insert("resize".into(), json!("pad"));
            o.insert("pad_color".into(), json!([0, 0, 256]));
        });
    }),
    ("std zero, mean too large", |p| {
        p.edit("preprocess", |o| {
            o.insert("std".into(), json!([0.5, 0.0, -1.0]));
            o.insert("mean".into(), json!([0.5, 1e300, 0.0]));
        });
    }),
    ("std that overflows", |p| p.edit("preprocess", |o| drop(o.insert("std".into(), json!([0.5, 1e-7, 0.5]))))),
    ("two means", |p| p.edit("preprocess", |o| drop(o.insert("mean".into(), json!([0.5, 0.5]))))),
];

fn table(world: &World, cases: &[Case]) -> String {
    let mut table = String::new();
    for (name, change) in cases {
        let mut parts = world.parts();
        change(&mut parts);
        writeln!(table, "{name}\n    {}", world.answer(&parts.bytes())).expect("a String takes everything");
    }
    table
}

#[test]
fn tensors() {
    insta::assert_snapshot!(table(&World::new(), TENSORS));
}

#[test]
fn metadata() {
    insta::assert_snapshot!(table(&World::new(), METADATA));
}

#[test]
fn preprocess() {
    insta::assert_snapshot!(table(&World::new(), PREPROCESS));
}

#[test]
fn other_files() {
    let world = World::new();
    let good = world.parts().bytes();
    let mut header_too_long = good.clone();
    header_too_long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let mut padded_header = (9u64 << 20).to_le_bytes().to_vec();
    padded_header.resize(10 << 20, b' ');
    let cases: [(&str, &[u8]); 17] = [
        ("empty", b""),
        ("three bytes", b"abc"),
        ("text", b"Not Found: the file that you asked for"),
        ("truncated header", &good[..100]),
        ("truncated data", &good[..good.len() - 1]),
        ("appended byte", &[&good[..], b"\n"].concat()),
        ("header longer than the file", &header_too_long),
        ("header larger than the limit", &padded_header),
        ("header that is no JSON", b"\x08\0\0\0\0\0\0\0nonsense"),
        ("pickle", b"\x80\x02}q\x00X\x01\x00\x00\x00w."),
        (".pth", include_bytes!("data/rlrr-tiny/adapter 75.60.pth")),
        ("gzip", b"\x1f\x8b\x08\x00\x00\x00\x00\x00"),
        ("web page", b"\n<!DOCTYPE html><html><body>Sign in</body></html>"),
        ("Git LFS pointer", b"version https://git-lfs.example/spec/v1\noid sha256:00\n"),
        ("picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        ("a backbone", include_bytes!("data/rlrr-tiny/backbone.timm.safetensors")),
        ("official checkpoint", include_bytes!("data/rlrr-tiny/adapter.official-names.safetensors")),
    ];
    let mut table = String::new();
    for (name, bytes) in cases {
        writeln!(table, "{name}\n    {}", world.answer(bytes)).expect("a String takes everything");
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_report_stops_at_its_limit() {
    let world = World::new();
    let mut parts = world.parts();
    for i in 0..100 {
        parts.put(&format!("surplus.{i}"), &[1], &[0.0]);
    }
    let mut target = world.target();
    target.limits.problems_max = 10;
    let error = format::read(&parts.bytes(), &target).expect_err("unknown tensors");
    let problems = error.problems();
    assert_eq!(problems.len(), 11);
    assert_eq!(problems[10].problem, "and 90 more faults");
    assert!(error.to_string().len() < 1000, "{error}");
}
