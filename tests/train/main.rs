//! `manylens train` as a process: same bytes, kill -9 and go on, Ctrl-C, what it says when it cannot, and serving.

mod bench;
mod faults;
mod onnx;
mod tune;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use bench::{BINARY, Bench, EPOCHS, kill, text};

/// As Ctrl-C does.
fn interrupt(child: &Child) {
    let done = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(done.success());
}

fn log_lines(run: &Path) -> usize {
    fs::read_to_string(run.join("log.jsonl")).expect("a log").lines().count()
}

#[test]
fn the_same_seed_gives_the_same_file() {
    let bench = Bench::new("native");
    let first = bench.trained("a.safetensors", &["--epochs", "3", "--threads", "3"]);
    assert_eq!(first, bench.trained("b.safetensors", &["--epochs", "3"]));
    assert_ne!(first, bench.trained("c.safetensors", &["--epochs", "3", "--seed", "2"]));
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_file() {
    let bench = Bench::new("reference");
    let whole = bench.trained("whole.safetensors", &[]);
    kill(bench.started("cut.safetensors", 2, &["--checkpoint-seconds", "0"]));
    assert!(!bench.path("cut.safetensors").exists());
    let refused = bench.train("cut.safetensors", &[]).output().expect("it runs");
    assert!(text(&refused.stderr).contains("go on with it by --resume"), "{}", text(&refused.stderr));
    assert_eq!(bench.trained("cut.safetensors", &["--resume"]), whole);
    assert_eq!(log_lines(&bench.path("cut.run")).to_string(), EPOCHS);
}

/// On the engine that trains for real, with everything that is random, again and again within an epoch.
#[test]
fn a_run_that_is_killed_at_any_moment_goes_on_to_the_same_file() {
    let bench = Bench::new("native");
    let flags = ["--sampler", "balanced", "--random-crop", "--accumulate", "2", "--checkpoint-seconds", "0"];
    let whole = bench.trained("whole.safetensors", &flags);
    let resumed = [&flags[..], &["--resume"]].concat();
    for (epoch, then_us) in [(1, 0), (5, 900), (9, 2_300), (14, 5_100), (20, 9_700), (27, 17_000), (33, 30_000)] {
        let child = bench.started("cut.safetensors", epoch, &resumed);
        // Not to wait for anything: to be somewhere within a step, a validation or a write.
        sleep(Duration::from_micros(then_us));
        kill(child);
    }
    assert_eq!(bench.trained("cut.safetensors", &resumed), whole);
    assert_eq!(log_lines(&bench.path("cut.run")).to_string(), EPOCHS);
}

/// Until a run has begun there is nothing to keep, and nothing waits: not even a picture that never comes.
#[test]
fn ctrl_c_while_pictures_are_read_ends_the_process() {
    let bench = Bench::new("native");
    let endless = bench.path("data/endless.png");
    assert!(Command::new("mkfifo").arg(&endless).status().expect("mkfifo runs").success());
    bench.write("train800.txt", "cat.png 0\nendless.png 1\n");
    let mut child = bench.train("a.safetensors", &[]).spawn().expect("it runs");
    // Opens when the other end is opened.
    let _writer = fs::OpenOptions::new().write(true).open(&endless).expect("a pipe");
    interrupt(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(!bench.path("a.run").exists());
}

#[test]
fn ctrl_c_keeps_the_step_and_stops() {
    let bench = Bench::new("reference");
    let mut child = bench.started("a.safetensors", 1, &[]);
    interrupt(&child);
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(bench.path("a.run/checkpoint.safetensors").exists());
    assert_eq!(bench.trained("a.safetensors", &["--resume"]), bench.trained("b.safetensors", &[]));
}

#[test]
fn a_run_whose_lines_nobody_reads_any_more_goes_on() {
    let bench = Bench::new("reference");
    let mut child = bench.started("a.safetensors", 1, &[]);
    drop(child.stderr.take());
    assert!(child.wait().expect("it ends").success());
    assert_eq!(log_lines(&bench.path("a.run")).to_string(), EPOCHS);
}

/// A server of that backbone, and where it listens.
fn served(backbone: &Path, data: &Path) -> (Child, String) {
    let mut server = Command::new(BINARY)
        .env_clear()
        .args(["serve", "--engine", "reference", "--listen", "127.0.0.1:0", "--log-format", "json"])
        .args(["--shutdown-delay-ms", "0"])
        .arg("--backbone")
        .arg(backbone)
        .arg("--data-dir")
        .arg(data)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(server.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("listening")).expect("an address");
    let line: serde_json::Value = serde_json::from_str(&line).expect("one JSON object a line");
    (server, format!("http://{}", line["address"].as_str().expect("an address")))
}

#[test]
fn a_server_that_would_not_take_the_adapter_is_found_out_before_training() {
    let bench = Bench::new("reference");
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/backbones/hf-vit");
    let (server, url) = served(&other, &bench.path("served"));
    let said = bench.refused(&["--publish", &url, "--task", "cats"]);
    assert!(said.contains("would not take such an adapter") && said.contains("does it serve this backbone?"), "{said}");
    assert!(!said.contains("epoch 1") && !bench.path("refused.run").exists(), "{said}");
    kill(server);
}

#[test]
fn a_trained_adapter_is_published_and_answers() {
    let bench = Bench::new("reference");
    let (server, url) = served(&bench.path("backbone"), &bench.path("served"));
    let arguments = ["--recipe", "reference", "--epochs", "20", "--publish", &url, "--task", "cats", "--json"];
    let output = bench.train("cats.safetensors", &arguments).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let written: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&written["published"]["version"], &written["chosen_epoch"]), (&1.into(), &20.into()));
    assert_eq!(written["published"]["hash"], written["hash"]);
    let picture = fs::read(bench.path("data/cat.png")).expect("there");
    let answer = ureq::post(format!("{url}/v1/tasks/cats/classify")).send(&picture[..]).expect("an answer");
    let answer: serde_json::Value = serde_json::from_reader(answer.into_body().into_reader()).expect("JSON");
    assert_eq!(answer["predictions"][0]["label"], "cat");
    bench.write("classes.txt", "cat\ndog\n");
    let refused = bench.train("other.safetensors", &["--publish", &url, "--task", "cats"]).output().expect("it runs");
    let said = text(&refused.stderr);
    assert!(said.contains("is another one (\"cat\", \"other\") than the data's (\"cat\", \"dog\")"), "{said}");
    assert!(!bench.path("other.run").exists());
    kill(server);
}
