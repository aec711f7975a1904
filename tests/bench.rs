//! `manylens bench` as a program calls it.

use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_manylens"));
    command.args(["bench", "--shape", "vit-ti16", "--rounds", "2"]).args(arguments);
    command.output().expect("the program starts")
}

fn report(arguments: &[&str]) -> serde_json::Value {
    let output = bench(&[arguments, &["--image-size", "16", "--json"]].concat());
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("JSON and nothing else: {why}"))
}

fn cases(report: &serde_json::Value) -> Vec<String> {
    let field = |row: &serde_json::Value, name: &str| row[name].to_string().replace('"', "");
    let row = |row| ["engine", "form", "batch", "tasks"].map(|name| field(row, name)).join(" ");
    report["results"].as_array().expect("rows").iter().map(row).collect()
}

#[test]
fn json_has_a_row_for_every_combination() {
    let report = report(&["--engine", "reference", "--form", "rescaled,merged", "--batch", "1,3", "--tasks", "1,2"]);
    let expected = ["1 1", "1 2", "3 1", "3 2"];
    let expected = ["rescaled", "merged"].map(|form| expected.map(|rest| format!("reference {form} {rest}"))).concat();
    assert_eq!(cases(&report), expected);
    for row in report["results"].as_array().expect("rows") {
        let number = |name: &str| row[name].as_f64().expect("a number");
        assert!((number("images_per_second") * number("p50_ms") / 1e3 - number("batch")).abs() < 1e-6);
        assert!(number("p50_ms") <= number("p99_ms"));
        assert_eq!(number("rounds"), 2.0);
    }
}

#[test]
fn engines_stand_beside_each_other_and_what_does_not_fit_is_named() {
    let engines = ["--engine", "native,reference", "--merge-bytes-max", "0"];
    let report = report(&[&engines[..], &["--form", "bare,merged", "--batch", "2", "--tasks", "1,9"]].concat());
    assert_eq!(cases(&report), ["native bare 2 1", "reference bare 2 1"]);
    let left_out = report["left_out"].as_array().expect("a list").iter();
    let left_out: Vec<_> = left_out.map(|left| left["what"].as_str().expect("text")).collect();
    let expected =
        ["native", "reference"].map(|engine| [1, 9].map(|tasks| format!("{engine}, merged, batch 2, {tasks} tasks")));
    assert_eq!(left_out, expected.concat());
    assert!(report["engines"][0]["rates"]["peak_gflops"].as_f64() > Some(0.0));
    assert!(report["results"][0]["share_of_peak"].as_f64() > Some(0.0));
}

#[test]
fn a_picture_that_cannot_be_cut_into_patches_is_refused() {
    let output = bench(&["--engine", "reference", "--image-size", "30"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("30 pixels cannot be cut into patches of 16"), "{message}");
}

fn train(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_manylens"));
    command.args(["bench", "train", "--engine", "reference", "--shape", "vit-ti16", "--image-size", "32"]);
    command.args(["--batch", "2", "--rounds", "2"]).args(arguments);
    command.output().expect("the program starts")
}

#[test]
fn a_training_step_has_its_speed_and_memory() {
    let output = train(&["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    let number = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("{name} in {report}"));
    assert_eq!(number("batch"), 2.0);
    assert_eq!(number("rounds"), 2.0);
    assert!((number("images_per_second") * number("p50_ms") / 1e3 - 2.0).abs() < 1e-6);
    assert!((number("images_per_second") * number("gflop_per_image") / number("gflops") - 1.0).abs() < 1e-6);
    // The reference engine does not know the machine's peak.
    assert!(report.get("share_of_peak").is_none());
    #[cfg(target_os = "linux")]
    assert!(number("peak_bytes") > 4.0 * 5e6, "a ViT-Ti has five million weights");
}

#[test]
fn a_training_step_that_drops_everything_is_refused() {
    let output = train(&["--dropout", "1"]);
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("--dropout") && message.contains("below 1"), "{message}");
}

#[test]
fn flags_of_the_forward_bench_do_not_reach_the_training_bench() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_manylens"));
    let output = command.args(["bench", "--form", "merged", "train"]).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
}
