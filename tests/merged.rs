//! `export --merged`, loaded back as a backbone with a neutral adapter and the same head, gives the adapter's logits.

use std::path::Path;
use std::sync::Arc;

use manylens::adapter::format::{self, AdapterFile};
use manylens::adapter::{Adapter, Head, Layout, Pooling};
use manylens::backbone::{Backbone, LoadOptions, Loaded, PositionRule, load};
use manylens::commands::export::{Args, Names, Out, run};
use manylens::engine::reference::Reference;
use manylens::engine::{Backend as _, Form, Group, head};
use manylens::image::{Pixels, Preprocess};
use manylens::random::Random;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/backbones");
const CLASSES: usize = 3;

/// A random adapter whose every value matters.
fn adapter(backbone: &Backbone, pooling: Pooling, size: usize) -> Adapter {
    let adapter = manylens::adapter::random(backbone, CLASSES, 9);
    let features = pooling.features(backbone.shape.width);
    let weight = Random::seeded(5).values(CLASSES * features, 0.0, 0.5);
    let (head, preprocess) = (Head { weight, ..adapter.head }, Preprocess { size, ..adapter.preprocess });
    Adapter { pooling, head, preprocess, ..adapter }
}

/// Exports the adapter, and says what went wrong.
fn export(backbone: &Path, adapter: Adapter, names: Names, out: &Path) -> Result<(), String> {
    run(&args(backbone, adapter, names, out)).map(drop).map_err(|error| error.to_string())
}

/// Writes the adapter beside the folder that it is to be exported to.
fn args(backbone: &Path, adapter: Adapter, names: Names, out: &Path) -> Args {
    let loaded = load(backbone, &LoadOptions::default()).expect("a backbone");
    let file = AdapterFile { adapter, probe: None, extra: Default::default() };
    let path = out.with_extension("safetensors");
    std::fs::write(&path, format::write(&file, &Layout::of(&loaded.backbone.shape))).expect("written");
    Args {
        backbone: backbone.into(),
        load: LoadOptions::default(),
        adapter: path,
        out: Out::Merged { folder: out.into(), names },
        force: false,
    }
}

fn logits(loaded: Loaded, adapter: Adapter, pictures: &[Pixels]) -> Vec<f32> {
    let adapter = Arc::new(adapter);
    let backend = Reference::<f32>::new(Arc::new(loaded.backbone), loaded.weights, 0);
    let lens = backend.prepare(adapter.clone(), Form::Rescaled).expect("nothing to merge");
    let group = Group { lens: &lens, rows: pictures.iter().collect() };
    let features = backend.start().expect("starts").run(&[group]).expect("runs").remove(0);
    features.rows().into_iter().flat_map(|row| head::logits(&adapter, row.as_slice().expect("row-major"))).collect()
}

fn pictures(size: usize) -> Vec<Pixels> {
    let mut random = Random::seeded(3);
    let picture = |_| Pixels::U8 { height: size, width: size, data: random.bytes(size * size * 3).into() };
    (0..3).map(picture).collect()
}

#[test]
fn a_merged_checkpoint_gives_the_adapters_logits() {
    use {Names::*, Pooling::*};
    let cases = [
        ("hf-vit", Cls, HuggingFace, 16, "Hugging Face ViT"),
        ("hf-vit", Cls, HuggingFace, 24, "Hugging Face ViT"),
        ("hf-vit-unusual", Cls, HuggingFace, 16, "Hugging Face ViT"),
        ("hf-dinov2", ClsMean, HuggingFace, 24, "Hugging Face DINOv2"),
        ("hf-dinov2", Cls, Timm, 16, "timm"),
        ("hf-dinov2-registers", ClsMean, HuggingFace, 24, "Hugging Face DINOv2"),
        ("timm", Cls, Timm, 24, "timm"),
        ("timm", Cls, HuggingFace, 16, "Hugging Face ViT"),
        ("timm-registers", Cls, Timm, 16, "timm"),
        ("timm-registers-embedded", Mean, Timm, 24, "timm"),
        ("timm-gap", Mean, Timm, 24, "timm"),
    ];
    for (name, pooling, names, size, spelling) in cases {
        let case = format!("{name} {pooling:?} {names:?} {size}");
        let folder = Path::new(DATA).join(name);
        let loaded = load(&folder, &LoadOptions::default()).expect("a backbone");
        let adapter = adapter(&loaded.backbone, pooling, size);
        let out = tempfile::tempdir().expect("a temporary folder");
        let out = out.path().join("merged");
        export(&folder, adapter.clone(), names, &out).unwrap_or_else(|error| panic!("{case}: {error}"));

        let merged = load(&out, &LoadOptions::default()).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!((merged.report.names, merged.report.ignored.len() >= 2), (spelling, true), "{case}");
        assert_ne!(merged.backbone.fingerprint, loaded.backbone.fingerprint);
        assert_eq!(merged.backbone.shape, loaded.backbone.shape, "{case}");
        let neutral = Adapter { rescale: Layout::of(&merged.backbone.shape).neutral(), ..adapter.clone() };
        let pictures = pictures(size);
        let (expected, found) = (logits(loaded, adapter, &pictures), logits(merged, neutral, &pictures));
        let distance = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{case}: {distance:e}");
        assert!(distance < 1e-4 && found.len() == 3 * CLASSES, "{case}: {distance:e}");
    }
}

#[test]
fn what_the_library_cannot_compute_is_refused_with_a_way_out() {
    let vit = |name: &str, pooling, size| {
        let folder = Path::new(DATA).join(name);
        let loaded = load(&folder, &LoadOptions::default()).expect("a backbone");
        (folder, adapter(&loaded.backbone, pooling, size))
    };
    let offset =
        |(folder, adapter): (_, Adapter)| (folder, Adapter { position_rule: PositionRule::BicubicOffset, ..adapter });
    let cases = [
        (vit("hf-dinov2", Pooling::ClsMean, 16), Names::Timm, "timm cannot pool cls_mean"),
        (vit("hf-vit", Pooling::Mean, 16), Names::HuggingFace, "transformers cannot pool mean"),
        (vit("hf-vit", Pooling::Cls, 16), Names::Timm, "layer_norm_eps 1e-6, the backbone has 1e-12"),
        (vit("timm", Pooling::Cls, 24), Names::HuggingFace, "6 x 6 by bicubic_antialias, transformers does it by"),
        (offset(vit("timm", Pooling::Cls, 24)), Names::Timm, "by bicubic_offset, timm does it by bicubic_antialias"),
    ];
    for ((folder, adapter), names, expected) in cases {
        let out = tempfile::tempdir().expect("a temporary folder");
        let out = out.path().join("merged");
        let error = export(&folder, adapter, names, &out).expect_err("refused");
        assert!(error.contains(expected) && error.contains("--onnx"), "{error}");
        assert!(!out.exists(), "a refused export leaves nothing");
    }
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let folder = Path::new(DATA).join("timm");
    let loaded = load(&folder, &LoadOptions::default()).expect("a backbone");
    let out = tempfile::tempdir().expect("a temporary folder");
    let out = out.path().join("mine");
    std::fs::create_dir(&out).expect("created");
    std::fs::write(out.join("notes.txt"), "mine").expect("written");
    let adapter = adapter(&loaded.backbone, Pooling::Cls, 16);
    let error = export(&folder, adapter, Names::Timm, &out).expect_err("refused");
    assert!(error.contains("not empty"), "{error}");
    assert_eq!(std::fs::read_dir(&out).expect("there").count(), 1);
}

#[test]
fn a_folder_that_has_something_is_written_into_by_force_only() {
    let folder = Path::new(DATA).join("hf-vit");
    let loaded = load(&folder, &LoadOptions::default()).expect("a backbone");
    let out = tempfile::tempdir().expect("a temporary folder");
    let merged = out.path().join("merged");
    let adapter = adapter(&loaded.backbone, Pooling::Cls, 16);
    let mut args = args(&folder, adapter, Names::HuggingFace, &merged);
    run(&args).expect("a new folder");
    std::fs::write(merged.join("config.json"), "{}").expect("written");
    let error = run(&args).expect_err("not empty").to_string();
    assert!(error.contains("--force"), "{error}");
    args.force = true;
    run(&args).expect("by force");
    load(&merged, &LoadOptions::default()).expect("a whole checkpoint");
}
