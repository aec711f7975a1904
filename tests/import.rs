//! Checkpoints through `import official` to logits: the committed golden, and the PyTorch reference's ten adapters.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use manylens::adapter::format::{self, AdapterFile, Limits, Target};
use manylens::adapter::{Adapter, Layout, Pooling};
use manylens::backbone::{self, LoadOptions, Loaded, PositionRule};
use manylens::commands::import::{Labels, Official, PreprocessSource, official};
use manylens::engine::reference::Reference;
use manylens::engine::{Backend, Form, Group, head};
use manylens::image::{Pixels, Preset};
use manylens::tensors::TensorFile;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rlrr-tiny");

fn arguments(file: PathBuf, backbone: &Path, out: &Path) -> Official {
    Official {
        file,
        backbone: backbone.into(),
        load: LoadOptions::default(),
        labels: Labels::List(["a", "b", "c", "d", "e"].map(str::to_owned).to_vec()),
        preprocess: PreprocessSource::Preset(Preset::Vtab),
        image_size: None,
        mean: None,
        std: None,
        pooling: None,
        position_rule: None,
        tokens_max: 2048,
        out: out.into(),
        force: true,
        json: false,
    }
}

/// A folder with one of the golden's backbones.
fn golden_backbone(file: &str, name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::copy(Path::new(GOLDEN).join(file), folder.path().join(name)).expect("committed");
    std::fs::copy(Path::new(GOLDEN).join("config.json"), folder.path().join("config.json")).expect("committed");
    folder
}

fn read(path: &Path, loaded: &Loaded) -> AdapterFile {
    let backbone = &loaded.backbone;
    let layout = Layout::of(&backbone.shape);
    let target = Target {
        shape: &backbone.shape,
        layout: &layout,
        fingerprint: &backbone.fingerprint,
        limits: Limits::default(),
    };
    format::read(&std::fs::read(path).expect("written"), &target).expect("import writes what the reader takes")
}

/// Logits of every picture, by the reference engine.
fn logits(backend: &dyn Backend, adapter: &Adapter, pictures: &[Pixels]) -> Vec<f32> {
    let lens = backend.prepare(Arc::new(adapter.clone()), Form::Rescaled).expect("nothing to merge");
    let group = Group { lens: &lens, rows: pictures.iter().collect() };
    let features = backend.start().expect("starts").run(&[group]).expect("runs");
    features[0].rows().into_iter().flat_map(|row| head::logits(adapter, &row.to_vec())).collect()
}

fn floats(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    TensorFile::parse(&bytes).expect("valid").f32(name).expect("there").expect("floats")
}

fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(0.0, |max, v| if v.abs() > max || v.is_nan() { v.abs() } else { max })
}

#[test]
fn the_golden_checkpoints_give_the_golden_logits() {
    let out = tempfile::tempdir().expect("a temporary folder");
    let mut files = Vec::new();
    for (backbone, name) in [
        ("backbone.npz", "backbone.npz"),
        ("backbone.timm.safetensors", "model.safetensors"),
        ("backbone.hf.safetensors", "model.safetensors"),
    ] {
        let folder = golden_backbone(backbone, name);
        for checkpoint in ["adapter 75.60.pth", "adapter.official-names.safetensors"] {
            let path = out.path().join(format!("{backbone} {checkpoint}"));
            let mut arguments = arguments(Path::new(GOLDEN).join(checkpoint), folder.path(), &path);
            arguments.position_rule = Some(PositionRule::BilinearCorners);
            official(&arguments).expect("imported");
            files.push(std::fs::read(&path).expect("written"));
            assert!(files[0] == files[files.len() - 1], "{} differs", path.display());
        }
        let loaded = backbone::load(folder.path(), &LoadOptions::default()).expect("golden");
        let AdapterFile { adapter, probe, .. } =
            read(&out.path().join(format!("{backbone} adapter 75.60.pth")), &loaded);
        let backend = Reference::<f32>::new(Arc::new(loaded.backbone), loaded.weights, 0);
        let (shape, pixels) = floats(&Path::new(GOLDEN).join("forward.safetensors"), "pixel_values");
        let (height, width) = (shape[2], shape[3]);
        let pictures = pixels.chunks_exact(3 * height * width);
        let pictures: Vec<_> = pictures.map(|p| Pixels::F32 { height, width, data: p.into() }).collect();
        let (_, expected) = floats(&Path::new(GOLDEN).join("forward.safetensors"), "logits");
        let answered = logits(&backend, &adapter, &pictures);
        let distance = largest(answered.iter().zip(&expected).map(|(a, b)| a - b));
        assert!(distance <= 1e-5, "{backbone}: {distance}");
        let probe = probe.expect("import fills it");
        let pictures: Vec<_> = probe
            .pictures()
            .map(|p| Pixels::U8 { height: probe.size.0, width: probe.size.1, data: p.into() })
            .collect();
        let answers: Vec<_> = pictures.iter().map(|p| logits(&backend, &adapter, std::slice::from_ref(p))).collect();
        assert!(probe.compare(&answers, 1e-6).passed);
    }
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let folder = golden_backbone("backbone.timm.safetensors", "model.safetensors");
    let json = folder.path().join("preprocess.json");
    std::fs::write(&json, serde_json::to_string(&Preset::Vtab.at(32)).expect("JSON")).expect("writable");
    let out = folder.path().join("out.safetensors");
    let mut arguments = arguments(Path::new(GOLDEN).join("adapter 75.60.pth"), folder.path(), &out);
    arguments.preprocess = PreprocessSource::File(json.clone());
    official(&arguments).expect("a file that states a size");
    arguments.image_size = Some(32);
    assert!(official(&arguments).is_err());
    arguments.image_size = None;
    arguments.pooling = Some(Pooling::Mean);
    official(&arguments).expect("mean pooling has as many features as cls");
    std::fs::write(&json, r#"{"resize": "squash", "size": 32}"#).expect("writable");
    let error = official(&arguments).expect_err("keys are missing").to_string();
    assert!(error.contains("preprocess.mean: missing key") && error.contains("7 faults"), "{error}");
}

/// PARITY_BACKBONE is the folder of the demo's backbone, PARITY_ADAPTERS the reference trainer's output.
#[test]
#[ignore = "needs the demo's backbone and the PyTorch reference's files; see the doc comment"]
fn the_references_adapters_give_the_references_logits() {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).unwrap_or_else(|| panic!("set {name}"));
    let (folder, adapters) = (variable("PARITY_BACKBONE"), variable("PARITY_ADAPTERS"));
    let loaded = backbone::load(&folder, &LoadOptions::default()).expect("the demo's backbone");
    let backend = Reference::<f32>::new(Arc::new(loaded.backbone.clone()), loaded.weights.clone(), 0);
    let out = tempfile::tempdir().expect("a temporary folder");
    let entries = std::fs::read_dir(&adapters).expect("readable").map(|entry| entry.expect("readable").file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().expect("UTF-8")).collect();
    names.retain(|name| name.ends_with(".adapter.safetensors"));
    names.sort();
    let mut worst = 0.0f32;
    for name in &names {
        let task = name.trim_end_matches(".adapter.safetensors");
        let described = std::fs::read(adapters.join(format!("{task}.json"))).expect("one beside each adapter");
        let described: serde_json::Value = serde_json::from_slice(&described).expect("JSON");
        let numbers = |key: &str| serde_json::from_value(described[key].clone()).expect("three numbers");
        let path = out.path().join(name);
        let official_arguments = Official {
            labels: Labels::List(serde_json::from_value(described["labels"].clone()).expect("strings")),
            image_size: serde_json::from_value(described["image_size"].clone()).expect("a number"),
            mean: Some(numbers("mean")),
            std: Some(numbers("std")),
            ..arguments(adapters.join(name), &folder, &path)
        };
        official(&official_arguments).expect("imported");
        let adapter = read(&path, &loaded).adapter;
        let pixels = std::fs::read(adapters.join(format!("{task}.test_pixels_first32.safetensors"))).expect("there");
        let pixels = TensorFile::parse(&pixels).expect("valid");
        let pictures = pixels.with("pixels", |view| {
            let (height, width) = (view.shape[1], view.shape[2]);
            let pictures = view.bytes.chunks_exact(height * width * 3);
            pictures.map(|p| Pixels::U8 { height, width, data: p.into() }).collect::<Vec<_>>()
        });
        let answered = logits(&backend, &adapter, &pictures.expect("there"));
        let (_, expected) = floats(&adapters.join(format!("{task}.test_logits.safetensors")), "logits");
        let expected = &expected[..answered.len()];
        let distance = largest(answered.iter().zip(expected).map(|(a, b)| a - b)) / largest(expected.iter().copied());
        println!("{task}: {distance:.2e} of the largest |logit|");
        worst = largest([worst, distance].into_iter());
    }
    assert!(!names.is_empty() && worst <= 1e-3, "{worst} over {} adapters", names.len());
}
