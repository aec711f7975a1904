//! Checkpoints as real timm and transformers save them give, through the reference engine, the tokens that those
//! libraries compute. scripts/peers/make_backbones.py writes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use manylens::adapter::{Adapter, Layout};
use manylens::backbone::{Backbone, LoadOptions, Loaded, PositionRule, PositionTables, load};
use manylens::engine::native::{self, Native};
use manylens::engine::onnx::OnnxSettings;
use manylens::engine::reference::Reference;
use manylens::engine::{Backend as _, EngineSettings, Form};
use manylens::image::Pixels;
use manylens::tensors::TensorFile;
use ndarray::Array2;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/backbones");

/// A tensor of a file.
fn tensor(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = TensorFile::parse(&bytes).expect("a safetensors file");
    file.f32(name).unwrap_or_else(|| panic!("{} has no {name}", path.display())).expect("floats")
}

fn pixels(path: &Path, name: &str) -> Pixels {
    let (shape, data) = tensor(path, name);
    Pixels::F32 { height: shape[2], width: shape[3], data: data.into() }
}

/// The bare backbone as an adapter, for pictures that are normalised already.
fn neutral(backbone: &Backbone) -> Adapter {
    let rescale = Layout::of(&backbone.shape).neutral();
    Adapter { rescale, ..manylens::adapter::random(backbone, 1, 0) }
}

/// Largest difference between the reference engine's tokens of a picture and what the file says.
fn tokens_distance(loaded: Loaded, expected: &Path, pairs: &[(&str, &str)]) -> f32 {
    let Loaded { backbone, weights, .. } = loaded;
    let backbone = Arc::new(backbone);
    let adapter = Arc::new(neutral(&backbone));
    let engine = Reference::<f32>::new(backbone, weights, 0);
    let lens = engine.prepare(adapter, Form::Rescaled).expect("a reference lens");
    let distance = |&(picture, tokens): &(&str, &str)| {
        distance(&engine.tokens(&lens, &pixels(expected, picture)), &tensor(expected, tokens))
    };
    pairs.iter().map(distance).fold(0.0, f32::max)
}

/// Largest difference between tokens and a tensor `[1, tokens, width]`.
fn distance(found: &Array2<f32>, (shape, stated): &(Vec<usize>, Vec<f32>)) -> f32 {
    assert_eq!(found.dim(), (shape[1], shape[2]));
    found.iter().zip(stated).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn tokens_are_those_of_timm_and_transformers() {
    let cases = [
        ("hf-vit", "Hugging Face ViT", "vit.", PositionRule::BicubicSize),
        ("hf-vit-5", "Hugging Face ViT", "", PositionRule::BicubicSize),
        ("hf-vit-unusual", "Hugging Face ViT", "vit.", PositionRule::BicubicSize),
        ("hf-dinov2", "Hugging Face DINOv2", "", PositionRule::BicubicSize),
        ("hf-dinov2-5-bf16", "Hugging Face DINOv2", "dinov2.", PositionRule::BicubicSize),
        ("hf-dinov2-registers", "Hugging Face DINOv2", "", PositionRule::BicubicAntialias),
        ("timm", "timm", "", PositionRule::BicubicAntialias),
        ("timm-registers", "timm", "", PositionRule::BicubicAntialias),
        ("timm-registers-embedded", "timm", "", PositionRule::BicubicAntialias),
        ("timm-gap", "timm", "", PositionRule::BicubicAntialias),
    ];
    for (name, names, prefix, rule) in cases {
        let folder = Path::new(DATA).join(name);
        let loaded = load(&folder, &LoadOptions::default()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((loaded.report.names, loaded.report.prefix.as_str()), (names, prefix), "{name}");
        assert_eq!(loaded.backbone.position_rule, rule, "{name}");
        let pairs = [("pixels.a", "tokens.a"), ("pixels.b", "tokens.b")];
        let distance = tokens_distance(loaded, &folder.join("expected.safetensors"), &pairs);
        println!("{name}: {distance:e}");
        assert!(distance < 2e-5, "{name}: {distance}");
    }
}

#[test]
fn position_tables_are_those_of_pytorch_and_scipy() {
    let file = Path::new(DATA).join("positions.safetensors");
    let rules = [
        PositionRule::BicubicSize,
        PositionRule::BicubicAntialias,
        PositionRule::BicubicOffset,
        PositionRule::BilinearCorners,
    ];
    for stored in [(7, 7), (4, 6)] {
        let (shape, table) = tensor(&file, &format!("stored.{}x{}", stored.0, stored.1));
        let loaded = load(&Path::new(DATA).join("timm"), &LoadOptions::default()).expect("a backbone");
        let mut backbone = loaded.backbone;
        (backbone.stored_grid, backbone.position_table, backbone.shape.width) = (stored, table.into(), shape[2]);
        let tables = PositionTables::new(&backbone);
        for rule in rules {
            for grid in [(3, 3), (12, 5), (5, 12), (16, 16), (1, 1)] {
                let name = format!("{}.{}x{}.{}x{}", rule.name(), stored.0, stored.1, grid.0, grid.1);
                let (_, expected) = tensor(&file, &name);
                let found = tables.get(rule, grid);
                let distance = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(distance < 5e-6 && found.len() == expected.len(), "{name}: {distance:e}");
            }
        }
    }
}

/// Where scripts/demo-backbone puts the demo's backbone.
fn demo_backbone() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cache/models/vit-s14-focus")
}

/// What ONNX Runtime gives for the demo's backbone; not in the repository, since its picture's licence is unknown.
fn demo_reference() -> Option<PathBuf> {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.map(|folder| folder.join("shared/demo-backbone/reference.safetensors")).find(|path| path.is_file())
}

/// The demo's backbone and what is stated of it, where both are there.
fn demo() -> Option<(Loaded, PathBuf)> {
    let folder = demo_backbone();
    let Some(reference) = demo_reference().filter(|_| folder.is_dir()) else {
        println!("skipped: {} (scripts/demo-backbone) or shared/demo-backbone is not there", folder.display());
        return None;
    };
    Some((load(&folder, &LoadOptions::default()).expect("a backbone"), reference))
}

#[test]
fn the_demos_backbone_answers_as_its_origin() {
    let Some((loaded, reference)) = demo() else { return };
    assert_eq!((loaded.backbone.stored_grid, loaded.report.layer_scale_folded), ((37, 37), true));
    let distance = tokens_distance(loaded, &reference, &[("pixel_values", "last_hidden_state")]);
    println!("last_hidden_state: {distance:e}");
    assert!(distance < 1e-3, "{distance}");
}

/// Tokens reach 10; a bf16 has 8 bits, which is what the second bound allows of that.
#[test]
fn every_kernel_gives_the_tokens_of_the_demos_backbone() {
    let Some((Loaded { backbone, weights, .. }, reference)) = demo() else { return };
    let backbone = Arc::new(backbone);
    let (picture, stated) = (pixels(&reference, "pixel_values"), tensor(&reference, "last_hidden_state"));
    let largest = stated.1.iter().fold(0.0, |max: f32, value| max.max(value.abs()));
    for kernel in native::kernels() {
        let settings = EngineSettings {
            onnxruntime_lib: None,
            cache_dir: PathBuf::new(),
            precision: None,
            kernel: Some(kernel.into()),
            onnx: OnnxSettings::default(),
            threads: 2,
            merge_bytes_max: 0,
        };
        let engine = Native::new(backbone.clone(), &weights, &settings).expect("the engine opens");
        let lens = engine.prepare(Arc::new(neutral(&backbone)), Form::Rescaled).expect("a lens");
        let distance = distance(&engine.tokens(&lens, &picture), &stated);
        println!("{kernel}: {distance:e} of {largest}");
        let bound = if engine.describe().precision == "f32" { 1e-3 } else { 5e-2 * (1.0 + largest) };
        assert!(distance <= bound, "{kernel}: {distance}");
    }
}
