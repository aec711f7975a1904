//! `manylens eval` as a person calls it: class folders in, figures and a fitted adapter out.

use std::path::Path;
use std::process::{Command, Output};

use manylens::adapter::format::{self, AdapterFile};
use manylens::adapter::{Adapter, Layout, random};
use manylens::backbone::{LoadOptions, load};
use manylens::random::Random;
use serde_json::Value;

const BACKBONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/backbones/hf-vit");

/// A 24-bit BMP of noise.
fn picture(seed: u64) -> Vec<u8> {
    const SIDE: usize = 16;
    let mut bytes = b"BM".to_vec();
    for field in [54 + 3 * SIDE * SIDE, 0, 54, 40, SIDE, SIDE, 1 + (24 << 16), 0, 0, 0, 0, 0, 0] {
        bytes.extend(u32::try_from(field).expect("small").to_le_bytes());
    }
    bytes.extend(Random::seeded(seed).bytes(3 * SIDE * SIDE));
    bytes
}

/// Two classes with ten pictures of each in every split, and an adapter that knows both.
fn prepare(folder: &Path) {
    for (split, first) in [("train", 0), ("val", 100), ("test", 200)] {
        for (class, offset) in [("cat", 0), ("dog", 50)] {
            let class = folder.join("data").join(split).join(class);
            std::fs::create_dir_all(&class).expect("created");
            let write = |i: u64| std::fs::write(class.join(format!("{i}.bmp")), picture(first + offset + i));
            (0..10).for_each(|i| write(i).expect("written"));
        }
    }
    let backbone = load(Path::new(BACKBONE), &LoadOptions::default()).expect("a backbone").backbone;
    let adapter = Adapter { labels: vec!["dog".into(), "cat".into()], ..random(&backbone, 2, 3) };
    let file = AdapterFile { adapter, probe: None, extra: Default::default() };
    let bytes = format::write(&file, &Layout::of(&backbone.shape));
    std::fs::write(folder.join("pets.safetensors"), bytes).expect("written");
}

fn eval(folder: &Path, adapter: &str, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_manylens"));
    command.current_dir(folder).args([
        "eval",
        adapter,
        "--data",
        "data",
        "--backbone",
        BACKBONE,
        "--engine",
        "reference",
    ]);
    command.args(flags).output().expect("it runs")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn what_is_fitted_is_written_and_measured() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    let flags = ["--fit-temperature", "--operating-point", "recall=0.9:dog", "--out", "fitted.safetensors", "--json"];
    let fitted = json(&eval(folder.path(), "pets.safetensors", &flags));
    assert_eq!(
        (&fitted["split"], &fitted["n"], &fitted["fitted"]["pictures"]),
        (&"test".into(), &20.into(), &20.into())
    );
    let point = &fitted["fitted"]["operating_points"][0];
    assert!(point["recall"]["value"].as_f64() >= Some(0.9), "{point}");

    let held = &fitted["held"][0];
    assert_eq!((&held["label"], &held["reached"]), (&"dog".into(), &fitted["report"]["classes"][0]["recall"]));
    let goes = held["reached"]["interval"][1].as_f64() >= Some(0.9);
    assert_eq!(held["holds"], goes);
    let again = json(&eval(folder.path(), "fitted.safetensors", &["--json"]));
    assert_eq!(again["report"], fitted["report"]);
    let validation = json(&eval(folder.path(), "fitted.safetensors", &["--split", "validation", "--json"]));
    assert_eq!(validation["report"]["classes"][0]["recall"], point["recall"]);
    let before = json(&eval(folder.path(), "pets.safetensors", &["--split", "validation", "--json"]));
    let loss = |report: &Value| report["report"]["calibration"]["negative_log_likelihood"].as_f64().expect("a loss");
    assert!(loss(&validation) <= loss(&before));
    assert_eq!(validation["top1"], before["top1"]);

    let refused = eval(folder.path(), "pets.safetensors", &flags);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("--force"));
}

#[test]
fn points_are_told_with_what_they_do_on_the_other_pictures() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    let point = |points: &[&str]| {
        let flags: Vec<&str> = points.iter().flat_map(|point| ["--operating-point", point]).collect();
        eval(folder.path(), "pets.safetensors", &flags)
    };
    let table = String::from_utf8_lossy(&point(&["recall=0.5:dog"]).stdout).into_owned();
    assert!(table.contains("dog: recall ") && table.contains(" on test: the goal 50.00 % "), "{table}");
    let refused = point(&["recall=0.5:dog", "precision=0.5:dog"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("two operating points are of class \"dog\""), "{error}");
}

#[test]
fn a_bad_file_is_named_and_left_out_only_if_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    std::fs::write(folder.path().join("data/test/cat/empty.png"), []).expect("written");
    let refused = eval(folder.path(), "pets.safetensors", &[]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && error.contains("empty.png") && error.contains("--on-bad-file skip"),
        "{error}"
    );
    let report = json(&eval(folder.path(), "pets.safetensors", &["--on-bad-file", "skip", "--json"]));
    assert_eq!((&report["bad_files"], &report["n"]), (&1.into(), &20.into()));
    let table = eval(folder.path(), "pets.safetensors", &["--on-bad-file", "skip"]);
    assert!(String::from_utf8_lossy(&table.stdout).contains("balanced accuracy"));
}

/// The keys that programs read first, and the adapter given as a flag.
#[test]
fn the_first_figures_are_plain_fractions() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    let by_flag = |flags: &[&str]| eval(folder.path(), "--adapter=pets.safetensors", flags);
    let found = json(&by_flag(&["--json", "--top-k", "1"]));
    let report = &found["report"];
    let figures = [&found["top1"], &found["balanced"], &found["ece"]];
    let whole = [&report["top1"]["value"], &report["balanced_accuracy"], &report["calibration"]["expected_error"]];
    assert_eq!(figures, whole);
    assert_eq!((&found["n"], &found["top5"], &report["k"]), (&20.into(), &1.0.into(), &1.into()));
    assert!(!by_flag(&["--top-k", "0"]).status.success());
}

#[test]
fn a_temperature_under_fitted_thresholds_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    let fit = |adapter: &str, flags: &[&str]| eval(folder.path(), adapter, flags);
    let fitted = fit("pets.safetensors", &["--operating-point", "recall=0.9:dog", "--out", "fitted.safetensors"]);
    assert!(fitted.status.success());
    let error = String::from_utf8_lossy(&fit("fitted.safetensors", &["--fit-temperature"]).stderr).into_owned();
    assert!(error.contains("its former temperature and limit: \"dog\"; fit them again in the same call"), "{error}");
    let again = fit("fitted.safetensors", &["--fit-temperature", "--operating-point", "recall=0.8:dog"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let limit = fit("fitted.safetensors", &["--operating-point", "precision=0.1"]);
    assert!(String::from_utf8_lossy(&limit.stderr).contains("\"dog\"; fit them again"));
}

#[test]
fn an_adapter_that_was_trained_on_validation_pictures_is_doubted() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    let path = folder.path().join("pets.safetensors");
    let backbone = load(Path::new(BACKBONE), &LoadOptions::default()).expect("a backbone").backbone;
    let lineage = serde_json::json!({"recipe": {"fit_on": "all"}});
    let adapter = Adapter { labels: vec!["dog".into(), "cat".into()], lineage, ..random(&backbone, 2, 3) };
    let file = AdapterFile { adapter, probe: None, extra: Default::default() };
    std::fs::write(path, format::write(&file, &Layout::of(&backbone.shape))).expect("written");
    let warned = |flags: &[&str]| {
        let output = eval(folder.path(), "pets.safetensors", &[flags, &["--json"]].concat());
        let found = json(&output)["warnings"].as_array().expect("a list").len();
        assert_eq!(String::from_utf8_lossy(&output.stderr).contains("promises too much"), found == 1);
        found == 1
    };
    assert!(!warned(&[]) && warned(&["--split", "validation"]) && warned(&["--operating-point", "recall=0.9:dog"]));
}

#[test]
fn pictures_without_splits_may_all_be_looked_at() {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    let path = folder.path();
    std::fs::rename(path.join("data/train"), path.join("loose")).expect("moved");
    let eval = |flags: &[&str]| eval(path, "pets.safetensors", &[flags, &["--json"]].concat());
    assert_eq!(json(&eval(&["--split", "all"]))["n"], 40);
    std::fs::remove_dir_all(path.join("data")).expect("removed");
    std::fs::rename(path.join("loose"), path.join("data")).expect("moved");
    let cut = eval(&[]);
    assert_eq!(json(&cut)["n"], 4);
    assert!(String::from_utf8_lossy(&cut.stderr).contains("4 of 20 pictures are test; --split all takes all"));
    assert_eq!(json(&eval(&["--split", "all"]))["n"], 20);
}
