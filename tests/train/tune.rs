//! `manylens tune` as a process: a table, the best trial's adapter, and going on after kill -9.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::bench::{BINARY, Bench, text};

fn tune(bench: &Bench, out: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().args(["tune", "--engine", "native", "--threads", "1", "--batch-size", "2"]);
    command.args(["--trials", "4", "--epochs", "9"]);
    command.arg("--backbone").arg(bench.path("backbone")).arg("--data").arg(bench.path("data"));
    command.arg("--out").arg(bench.path(out)).args(arguments);
    command
}

#[test]
fn tuning_that_was_killed_goes_on_and_finds_the_same() {
    let bench = Bench::new("native");
    let whole = tune(&bench, "whole.safetensors", &["--json"]).output().expect("it runs");
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let tried: Value = serde_json::from_slice(&whole.stdout).expect("JSON");
    let tried = tried.as_array().expect("a list");
    let rungs: Vec<u64> = tried.iter().map(|one| one["epochs"].as_u64().expect("epochs")).collect();
    assert_eq!(rungs, [9, 3, 3, 3, 3], "the last rung first");

    let mut child = tune(&bench, "cut.safetensors", &[]).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stderr.as_mut().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "trial 3 of 4, 3 epochs"));
    assert!(lines.any(|line| line.starts_with("epoch 1/3: ")));
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(!bench.path("cut.safetensors").exists());
    let again = tune(&bench, "cut.safetensors", &["--json"]).output().expect("it runs");
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert_eq!(text(&again.stdout), text(&whole.stdout));
    let [whole, cut] =
        ["whole", "cut"].map(|name| fs::read(bench.path(&format!("{name}.safetensors"))).expect("there"));
    assert_eq!(whole, cut);
    let refused = tune(&bench, "cut.safetensors", &[]).output().expect("it runs");
    assert!(text(&refused.stderr).contains("the file exists"), "{}", text(&refused.stderr));
}
