//! `manylens bench` as a program calls it.

use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_manylens"));
    command.args(["bench", "--engine", "reference", "--shape", "vit-ti16", "--rounds", "2"]).args(arguments);
    command.output().expect("the program starts")
}

#[test]
fn json_has_a_row_for_every_combination() {
    let output =
        bench(&["--image-size", "16", "--form", "rescaled,merged", "--batch", "1,3", "--tasks", "1,2", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    let field = |row: &serde_json::Value, name: &str| row[name].to_string();
    let rows = report["results"].as_array().expect("rows");
    let cases: Vec<_> =
        rows.iter().map(|row| ["form", "batch", "tasks"].map(|name| field(row, name)).join(" ")).collect();
    let expected = ["1 1", "3 1", "3 2"];
    let expected = [r#""rescaled""#, r#""merged""#].map(|form| expected.map(|rest| format!("{form} {rest}"))).concat();
    assert_eq!(cases, expected);
    for row in rows {
        let number = |name: &str| row[name].as_f64().expect("a number");
        assert!((number("images_per_second") * number("p50_ms") / 1e3 - number("batch")).abs() < 1e-6);
        assert!(number("p50_ms") <= number("p99_ms"));
    }
}

#[test]
fn a_picture_that_cannot_be_cut_into_patches_is_refused() {
    let output = bench(&["--image-size", "30"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("30 pixels cannot be cut into patches of 16"), "{message}");
}
