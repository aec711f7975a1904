//! `manylens train` as a process: same bytes, kill -9 and go on, Ctrl-C, what it says when it cannot, and serving.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_manylens");
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/");
const TRAIN: &str = "cat.png 0\nastronaut_32.png 1\ncat.bmp 0\nrocket.jpg 1\ncat_444.jpg 0\nwide.png 1\n";
const EPOCHS: &str = "40";

/// The golden backbone, and cats and others as a data folder.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().expect("a folder"));
        for (from, to) in [("config.json", "config.json"), ("backbone.timm.safetensors", "model.safetensors")] {
            fs::create_dir_all(bench.path("backbone")).expect("made");
            fs::copy(format!("{FIXTURES}rlrr-tiny/{from}"), bench.path("backbone").join(to)).expect("copied");
        }
        fs::create_dir(bench.path("data")).expect("made");
        for file in fs::read_dir(format!("{FIXTURES}preprocess/images")).expect("committed") {
            let file = file.expect("a file");
            fs::copy(file.path(), bench.path("data").join(file.file_name())).expect("copied");
        }
        bench.write("classes.txt", "cat\nother\n");
        bench.write("train800.txt", TRAIN);
        bench.write("val200.txt", "cat_palette.png 0\ntall.png 1\n");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, list: &str, text: &str) {
        fs::write(self.path("data").join(list), text).expect("written");
    }

    /// `manylens train` with everything that is random, into the file of that name.
    fn train(&self, out: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.env_clear().env("MANYLENS_EPOCHS", EPOCHS);
        command.arg("train").args(["--engine", "reference", "--batch-size", "2", "--threads", "1"]);
        command.args(["--flip", "--consistency", "fast", "--dropout", "0.2"]);
        command.arg("--backbone").arg(self.path("backbone")).arg("--data").arg(self.path("data"));
        command.arg("--out").arg(self.path(out)).args(arguments);
        command
    }

    fn trained(&self, out: &str, arguments: &[&str]) -> Vec<u8> {
        let output = self.train(out, arguments).output().expect("it runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
        fs::read(self.path(out)).expect("an adapter")
    }

    /// What is said when nothing can be trained.
    fn refused(&self, arguments: &[&str]) -> String {
        let Output { status, stderr, .. } = self.train("refused.safetensors", arguments).output().expect("it runs");
        assert_eq!(status.code(), Some(1), "{}", text(&stderr));
        assert!(!self.path("refused.safetensors").exists());
        text(&stderr)
    }

    /// A run that has told of that many epochs.
    fn started(&self, out: &str, epochs: usize, arguments: &[&str]) -> Child {
        let mut child = self.train(out, arguments).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut lines = BufReader::new(child.stderr.as_mut().expect("piped")).lines().map_while(Result::ok);
        let line = format!("epoch {epochs}/{EPOCHS}: ");
        assert!(lines.any(|found| found.starts_with(&line)));
        child
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn log_lines(run: &Path) -> usize {
    fs::read_to_string(run.join("log.jsonl")).expect("a log").lines().count()
}

#[test]
fn the_same_seed_gives_the_same_file() {
    let bench = Bench::new();
    let first = bench.trained("a.safetensors", &["--epochs", "3"]);
    assert_eq!(first, bench.trained("b.safetensors", &["--epochs", "3"]));
    assert_ne!(first, bench.trained("c.safetensors", &["--epochs", "3", "--seed", "2"]));
}

#[test]
fn a_run_that_was_killed_goes_on_to_the_same_file() {
    let bench = Bench::new();
    let whole = bench.trained("whole.safetensors", &[]);
    let mut out = bench.started("cut.safetensors", 2, &["--checkpoint-seconds", "0"]);
    out.kill().expect("killed");
    out.wait().expect("ended");
    assert!(!bench.path("cut.safetensors").exists());
    let refused = bench.train("cut.safetensors", &[]).output().expect("it runs");
    assert!(text(&refused.stderr).contains("go on with it by --resume"), "{}", text(&refused.stderr));
    let mut again = bench.started("cut.safetensors", 20, &["--checkpoint-seconds", "0", "--resume"]);
    again.kill().expect("killed");
    again.wait().expect("ended");
    assert_eq!(bench.trained("cut.safetensors", &["--resume"]), whole);
    assert_eq!(log_lines(&bench.path("cut.run")).to_string(), EPOCHS);
}

#[test]
fn ctrl_c_keeps_the_step_and_stops() {
    let bench = Bench::new();
    let mut child = bench.started("a.safetensors", 1, &[]);
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(kill.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(bench.path("a.run/checkpoint.safetensors").exists());
    assert_eq!(bench.trained("a.safetensors", &["--resume"]), bench.trained("b.safetensors", &[]));
}

#[test]
fn what_cannot_be_trained_is_said_in_a_sentence() {
    let bench = Bench::new();
    let says = |arguments: &[&str], part: &str| {
        let said = bench.refused(arguments);
        assert!(said.contains(part), "{said}");
    };
    says(&["--lr", "1e38", "--force"], "is no finite number any more (epoch 2");
    says(&["--image-size", "33", "--force"], "cannot be cut into patches of 8");
    bench.write("train800.txt", "cat.png 0\nrocket.jpg 2\n");
    says(&[], "line 2 has class 2, and there are 2 classes");
    bench.write("train800.txt", "cat.png 0\ncat.bmp 0\n");
    says(&["--force"], "every picture to train on is of class \"cat\"");
    fs::write(bench.path("data/empty.png"), []).expect("written");
    bench.write("train800.txt", &format!("{TRAIN}empty.png 1\n"));
    says(&[], "empty.png: the picture is empty");
    bench.trained("skipped.safetensors", &["--on-bad-file", "skip", "--epochs", "1"]);
    let report = fs::read_to_string(bench.path("skipped.run/report.html")).expect("a report");
    assert!(report.contains("<h2>Confusion</h2>") && report.contains("<h2>How far weights moved</h2>"));
}

#[test]
fn a_trained_adapter_is_published_and_answers() {
    let bench = Bench::new();
    let mut server = Command::new(BINARY)
        .env_clear()
        .args(["serve", "--engine", "reference", "--listen", "127.0.0.1:0", "--log-format", "json"])
        .args(["--shutdown-delay-ms", "0"])
        .arg("--backbone")
        .arg(bench.path("backbone"))
        .arg("--data-dir")
        .arg(bench.path("served"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(server.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let line = lines.find(|line| line.contains("listening")).expect("an address");
    let line: serde_json::Value = serde_json::from_str(&line).expect("one JSON object a line");
    let url = format!("http://{}", line["address"].as_str().expect("an address"));
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
    server.kill().expect("killed");
    server.wait().expect("ended");
}
