//! Backbones as folders: every spelling of the golden one, and what is said about broken ones.

use std::collections::BTreeMap;
use std::path::Path;

use manylens::backbone::{BackboneError, LoadOptions, Loaded, PositionRule, load};
use manylens::tensors::{self, Named, TensorFile};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rlrr-tiny");
const FINGERPRINT: &str = "sha256:ecce225685f28b70363e4b0960a7730c3141a7a49fcd49c0607367406ebebd5b";

/// A folder with copies of these golden files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (from, to) in files {
        std::fs::copy(Path::new(GOLDEN).join(from), folder.path().join(to)).expect("golden files are committed");
    }
    folder
}

fn loaded(files: &[(&str, &str)], options: &LoadOptions) -> Loaded {
    load(folder(files).path(), options).unwrap_or_else(|error| panic!("{files:?}: {error}"))
}

const CONFIG: (&str, &str) = ("config.json", "config.json");

#[test]
fn three_spellings_of_the_golden_are_one_backbone() {
    let spellings = [
        ("backbone.timm.safetensors", "model.safetensors", "timm"),
        ("backbone.hf.safetensors", "model.safetensors", "Hugging Face ViT"),
        ("backbone.npz", "backbone.npz", "Google (Flax)"),
    ];
    for (from, to, names) in spellings {
        let loaded = loaded(&[CONFIG, (from, to)], &LoadOptions::default());
        assert_eq!(loaded.report.names, names);
        assert_eq!(loaded.backbone.fingerprint.0, FINGERPRINT, "{from}");
        assert_eq!((loaded.backbone.stored_grid, loaded.backbone.image_size), ((4, 4), 32));
    }
}

#[test]
fn another_epsilon_is_another_backbone() {
    let options = LoadOptions { layer_norm_eps: Some(1e-12), heads: None };
    let loaded = loaded(&[CONFIG, ("backbone.timm.safetensors", "model.safetensors")], &options);
    let expected = "sha256:6d8bd791df0aeadaa238e76af626bd1221800fca4624d44357fc610f4a28997b";
    assert_eq!(loaded.backbone.fingerprint.0, expected);
    assert!(loaded.report.assumed.iter().any(|line| line.contains("--layer-norm-eps")), "{:?}", loaded.report.assumed);
}

#[test]
fn an_npz_needs_no_config() {
    let loaded = loaded(&[("backbone.npz", "ViT.npz")], &LoadOptions::default());
    assert_eq!(loaded.backbone.fingerprint.0, FINGERPRINT);
    assert_eq!(loaded.backbone.position_rule, PositionRule::BilinearCorners);
    assert_eq!(loaded.report.config, None);
    assert_eq!(loaded.report.assumed.len(), 2, "{:?}", loaded.report.assumed);
}

#[test]
fn unknown_heads_name_the_flag() {
    let timm = [("backbone.timm.safetensors", "model.safetensors")];
    let error = load(folder(&timm).path(), &LoadOptions::default()).expect_err("heads are not in timm's tensors");
    assert!(error.to_string().contains("--heads"), "{error}");
    let options = LoadOptions { heads: Some(4), layer_norm_eps: None };
    assert_eq!(loaded(&timm, &options).backbone.fingerprint.0, FINGERPRINT);
}

/// The golden in timm's names, changed, in a folder with its config.
fn changed(change: impl FnOnce(&mut BTreeMap<String, (Vec<usize>, Vec<f32>)>)) -> Result<Loaded, BackboneError> {
    let bytes = std::fs::read(Path::new(GOLDEN).join("backbone.timm.safetensors")).expect("committed");
    let file = TensorFile::parse(&bytes).expect("valid");
    let read = |name: String| (file.f32(&name).expect("named").expect("floats"), name);
    let mut tensors = file.names().into_iter().map(read).map(|(tensor, name)| (name, tensor)).collect();
    change(&mut tensors);
    let named: Vec<_> = tensors.iter().map(|(name, (shape, values))| Named::f32(name, shape.clone(), values)).collect();
    let folder = folder(&[CONFIG]);
    let bytes = tensors::serialize(&named, &BTreeMap::new());
    std::fs::write(folder.path().join("model.safetensors"), bytes).expect("written");
    load(folder.path(), &LoadOptions::default())
}

fn problems(result: Result<Loaded, BackboneError>) -> Vec<(String, String)> {
    match result.expect_err("refused") {
        BackboneError::Unfit { problems, .. } => problems.into_iter().map(|p| (p.place, p.problem)).collect(),
        other => panic!("{other}"),
    }
}

#[test]
fn every_offender_is_named_at_once() {
    let problems = problems(changed(|tensors| {
        tensors.remove("blocks.1.norm2.bias");
        tensors.insert("blocks.0.attn.q_norm.weight".into(), (vec![16], vec![1.0; 16]));
        tensors.insert("blocks.2.mlp.fc1.weight".into(), (vec![128, 32], vec![0.0; 128 * 32]));
        tensors.insert("fc_norm.weight".into(), (vec![64], vec![1.0; 64]));
        tensors.insert("register_tokens".into(), (vec![1, 2, 64], vec![0.0; 128]));
        tensors.insert("reg_token".into(), (vec![1, 2, 64], vec![0.0; 128]));
    }));
    let expected = [
        ("blocks.0.attn.q_norm.weight", "not a tensor of a timm backbone"),
        ("blocks.1.norm2.bias", "missing; shape [64] is expected"),
        ("blocks.2.mlp.fc1.weight", "has shape [128, 32]; [128, 64] is expected"),
        ("fc_norm.weight", "not a tensor of a timm backbone"),
        ("register_tokens", "means the same tensor as reg_token"),
    ];
    assert_eq!(problems, expected.map(|(place, problem)| (place.to_owned(), problem.to_owned())));
}

#[test]
fn values_that_are_not_finite_are_refused() {
    let problems = problems(changed(|tensors| {
        tensors.get_mut("norm.weight").expect("there").1[3] = f32::NAN;
        tensors.get_mut("pos_embed").expect("there").1[0] = f32::INFINITY;
    }));
    let places: Vec<_> = problems.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, ["norm.weight", "pos_embed"]);
}

#[test]
fn blocks_that_the_config_promises_are_missed() {
    let problems = problems(changed(|tensors| {
        tensors.retain(|name, _| !name.starts_with("blocks.2."));
    }));
    assert_eq!(problems.len(), 12, "{problems:?}");
    assert!(problems.contains(&("blocks.2.attn.qkv.bias".into(), "missing; shape [192] is expected".into())));
}

#[test]
fn heads_classifiers_and_mask_tokens_are_left_out() {
    let loaded = changed(|tensors| {
        tensors.insert("head.weight".into(), (vec![5, 64], vec![0.0; 320]));
        tensors.insert("mask_token".into(), (vec![1, 64], vec![0.0; 64]));
    });
    let loaded = loaded.expect("a backbone");
    assert_eq!(loaded.backbone.fingerprint.0, FINGERPRINT);
    let ignored: Vec<_> = loaded.report.ignored.iter().map(|i| (i.name.as_str(), i.why)).collect();
    assert_eq!(ignored, [("head.weight", "classifier"), ("mask_token", "mask token")]);
}

#[test]
fn a_prefix_is_found_wherever_it_comes_from() {
    let loaded = changed(|tensors| {
        let bare = std::mem::take(tensors);
        tensors.extend(bare.into_iter().map(|(name, tensor)| (format!("model.backbone.{name}"), tensor)));
        tensors.insert("classifier.weight".into(), (vec![5, 64], vec![0.0; 320]));
    });
    let loaded = loaded.expect("a backbone");
    assert_eq!(
        (loaded.backbone.fingerprint.0.as_str(), loaded.report.prefix.as_str()),
        (FINGERPRINT, "model.backbone.")
    );
}

#[test]
fn registers_and_a_table_without_prefix_rows_are_understood() {
    let rows = |tensors: &mut BTreeMap<String, (Vec<usize>, Vec<f32>)>| {
        let registers = (vec![1, 2, 64], (0..128).map(|i| i as f32).collect());
        tensors.insert("reg_token".into(), registers);
        tensors["pos_embed"].1.clone()
    };
    let with_cls_row = changed(|tensors| drop(rows(tensors))).expect("a backbone");
    let without = changed(|tensors| {
        let mut table = rows(tensors);
        let patches = table.split_off(64);
        tensors.get_mut("cls_token").expect("there").1.iter_mut().zip(table).for_each(|(c, p)| *c += p);
        tensors.insert("pos_embed".into(), (vec![1, 16, 64], patches));
    });
    let with_all_rows = changed(|tensors| {
        let mut table = rows(tensors);
        table.splice(64..64, vec![0.0; 128]);
        tensors.insert("pos_embed".into(), (vec![1, 19, 64], table));
    });
    assert_eq!(with_cls_row.backbone.shape.prefix_tokens, 3);
    for other in [without, with_all_rows] {
        assert_eq!(other.expect("a backbone").backbone.fingerprint, with_cls_row.backbone.fingerprint);
    }
}
