//! What cannot be trained is said in a sentence, and what was trained before is not lost.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::bench::{Bench, TRAIN, kill, text};

const SEVERAL: &str = "path,label,split
cat.png,animal|grey,train
astronaut_32.png,person,train
cat.bmp,animal,train
rocket.jpg,grey,train
cat_444.jpg,animal|person,train
tall.png,animal,val
wide.png,person|grey,val
";

#[test]
fn what_cannot_be_trained_is_said_in_a_sentence() {
    let bench = Bench::new("reference");
    let says = |arguments: &[&str], part: &str| {
        let said = bench.refused(arguments);
        assert!(said.contains(part), "{said}");
    };
    says(&["--lr", "1e38", "--force"], "is no finite number any more (epoch 2");
    says(&["--image-size", "33", "--force"], "expected a multiple of 8, found 33); give another --image-size");
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
fn a_run_that_diverges_keeps_what_it_had() {
    let bench = Bench::new("native");
    bench.write("several.csv", SEVERAL);
    let csv = bench.path("data/several.csv");
    let several = ["--data", csv.to_str().expect("UTF-8")];
    // The first epoch's rate is tiny.
    for (out, data) in [("one.safetensors", &[][..]), ("several.safetensors", &several)] {
        let output = bench.train_on(data, out, &["--lr", "1e38"]).output().expect("it runs");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("is no finite number any more (epoch 2"), "{said}");
        assert!(said.contains("lower --lr"), "{said}");
        let kept = fs::metadata(bench.path(out).with_extension("run").join("checkpoint.safetensors"));
        assert!(kept.is_ok() && !bench.path(out).exists());
    }
}

#[test]
fn a_run_that_led_away_from_the_data_is_doubted() {
    let bench = Bench::new("native");
    let output = bench.train_on(&[], "far.safetensors", &["--lr", "1e4", "--epochs", "3"]).output().expect("it runs");
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("larger loss than it began with"), "{said}");
}

#[test]
fn several_labels_a_picture_train_alike_and_are_checked_alike() {
    let bench = Bench::new("native");
    bench.write("several.csv", SEVERAL);
    let csv = bench.path("data/several.csv");
    let train = |out: &str, flags: &[&str]| {
        bench.train_on(&["--data", csv.to_str().expect("UTF-8")], out, flags).output().expect("it runs")
    };
    for out in ["a.safetensors", "b.safetensors"] {
        let output = train(out, &["--epochs", "3"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let [a, b] = ["a.safetensors", "b.safetensors"].map(|out| fs::read(bench.path(out)).expect("an adapter"));
    assert_eq!(a, b);
    assert!(String::from_utf8_lossy(&a).contains(r#""problem":"multi_label""#));
    bench.write("several.csv", &SEVERAL.replace("person|grey", &format!("person|{}", "x".repeat(257))));
    let said = text(&train("c.safetensors", &[]).stderr);
    assert!(said.contains("wrong length (expected 1 to 256 bytes, found 257); give the class another name"), "{said}");
    fs::write(bench.path("data/empty.png"), []).expect("written");
    bench.write("several.csv", &format!("{SEVERAL}empty.png,grey,train\n"));
    let said = text(&train("c.safetensors", &[]).stderr);
    assert!(said.contains("empty.png: the picture is empty"), "{said}");
    assert!(!bench.path("c.safetensors").exists() && !bench.path("c.run").exists());
}

#[test]
fn pictures_without_any_label_are_refused() {
    let bench = Bench::new("native");
    bench.write("none.csv", "path,label\ncat.png,\nrocket.jpg,\n");
    let csv = bench.path("data/none.csv");
    let output = bench.train_on(&["--data", csv.to_str().expect("UTF-8")], "a.safetensors", &[]).output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("no picture has a label"), "{}", text(&output.stderr));
}

#[test]
fn a_name_that_is_no_tasks_is_found_out_before_training() {
    let said = Bench::new("native").refused(&["--publish", "http://127.0.0.1:9", "--task", "Two words"]);
    assert!(said.contains("--task: `Two words` is no task name") && !said.contains("epoch 1"), "{said}");
}

/// A mistyped folder has no run to go on with: what lies at `--out` is of another one.
#[test]
fn resuming_where_there_is_no_run_replaces_no_adapter() {
    let bench = Bench::new("native");
    let whole = bench.trained("a.safetensors", &["--epochs", "2"]);
    let other = bench.path("typo.run");
    let flags = ["--epochs", "2", "--resume", "--run-dir", other.to_str().expect("UTF-8")];
    let output = bench.train("a.safetensors", &flags).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(!other.exists());
    assert_eq!(fs::read(bench.path("a.safetensors")).expect("there"), whole);
}

#[test]
fn a_class_without_pictures_is_named() {
    let bench = Bench::new("native");
    bench.write("classes.txt", "cat\nother\nnobody\n");
    let output = bench.train("a.safetensors", &["--epochs", "1"]).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no picture to fit on is of class \"nobody\""), "{}", text(&output.stderr));
    let folders = bench.path("folders");
    for class in ["cat", "other", "nobody"] {
        fs::create_dir_all(folders.join(class)).expect("made");
    }
    for (from, to) in [("cat.png", "cat/1.png"), ("rocket.jpg", "other/1.jpg")] {
        fs::copy(bench.path("data").join(from), folders.join(to)).expect("copied");
    }
    let data = ["--data", folders.to_str().expect("UTF-8")];
    let output = bench.train_on(&data, "b.safetensors", &[]).output().expect("it runs");
    let said = text(&output.stderr);
    assert!(said.contains("nobody: there is no picture of this class; give some, or remove the folder"), "{said}");
}

/// A limit on files' sizes stands for a disk that is full: writes fail in the middle.
#[test]
fn a_full_disk_loses_nothing() {
    let bench = Bench::new("native");
    let whole = bench.trained("whole.safetensors", &[]);
    kill(bench.started("cut.safetensors", 3, &["--checkpoint-seconds", "0"]));
    let checkpoint = bench.path("cut.run/checkpoint.safetensors");
    let before = fs::read(&checkpoint).expect("a checkpoint");

    let train = bench.train("cut.safetensors", &["--resume"]);
    let mut limited = Command::new("sh");
    // Blocks of 512 or 1,024 bytes: room for the settings, not for a checkpoint.
    limited.args(["-c", r#"trap "" XFSZ; ulimit -f 32; exec "$0" "$@""#]).arg(train.get_program());
    limited.args(train.get_args()).env_clear().envs(train.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = limited.output().expect("sh runs");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("checkpoint.safetensors: File too large"), "{said}");
    assert!(said.contains("go on with --resume"), "{said}");
    assert_eq!(fs::read(&checkpoint).expect("a checkpoint"), before);
    assert_eq!(bench.trained("cut.safetensors", &["--resume"]), whole);
}

#[test]
fn an_adapter_that_cannot_be_written_is_not_lost() {
    let bench = Bench::new("native");
    let flags = ["--epochs", "2", "--run-dir", bench.path("run").to_str().expect("UTF-8")].map(str::to_owned);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let place = bench.path("later/a.safetensors");
    fs::create_dir_all(&place).expect("a folder is in the way");
    let output = bench.train("later/a.safetensors", &[&flags[..], &["--force"]].concat()).output().expect("it runs");
    assert!(text(&output.stderr).contains("there is a folder of this name") && !bench.path("run").exists());
    fs::remove_dir(&place).expect("removed");
    let mut child = bench.train("later/a.safetensors", &flags).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("7 pictures") || line.contains("the run is in")));
    fs::create_dir_all(&place).expect("a folder comes in the way");
    let said = lines.collect::<Vec<_>>().join("\n");
    child.wait().expect("it ends");
    assert!(said.contains("the trained state is kept: mend this, and go on with --resume"), "{said}");
    fs::remove_dir(&place).expect("removed");
    let resumed = [&flags[..], &["--resume"]].concat();
    let whole = bench.trained("whole.safetensors", &["--epochs", "2"]);
    assert_eq!(bench.trained("later/a.safetensors", &resumed), whole);
}

#[test]
fn a_place_that_cannot_be_is_found_out_before_training() {
    let bench = Bench::new("native");
    fs::write(bench.path("file"), b"in the way").expect("written");
    let run = bench.path("run");
    let flags = ["--run-dir", run.to_str().expect("UTF-8")];
    let output = bench.train("file/a.safetensors", &flags).output().expect("it runs");
    let said = text(&output.stderr);
    assert!(said.contains("file: the folder cannot be made") && said.contains("give another --out"), "{said}");
    assert!(!said.contains("epoch 1") && !run.exists(), "{said}");
}

#[test]
fn one_name_for_the_adapter_and_the_run_is_refused() {
    let bench = Bench::new("native");
    let run = bench.path("a.safetensors");
    let output = bench.train("a.safetensors", &["--run-dir", run.to_str().expect("UTF-8")]).output().expect("it runs");
    assert!(text(&output.stderr).contains("--out is the run's folder"), "{}", text(&output.stderr));
    assert!(!run.exists());
}

#[test]
fn a_server_that_is_not_there_is_found_out_before_training() {
    let said = Bench::new("native").refused(&["--publish", "http://127.0.0.1:9", "--task", "cats"]);
    assert!(said.contains("asked before anything is trained") && said.contains("leave --publish out"), "{said}");
    assert!(!said.contains("epoch 1"), "{said}");
}

#[test]
fn pictures_in_both_splits_are_counted_aloud() {
    let bench = Bench::new("native");
    fs::copy(bench.path("data/cat.png"), bench.path("data/copy.png")).expect("copied");
    bench.write("val200.txt", "copy.png 0\ntall.png 1\n");
    let output = bench.train("a.safetensors", &["--epochs", "1"]).output().expect("it runs");
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("byte for byte: 1, the first is ") && said.contains("copy.png"));
}

#[test]
fn a_run_among_classes_is_refused() {
    let bench = Bench::new("native");
    let folders = bench.path("folders");
    fs::create_dir_all(folders.join("cat")).expect("made");
    fs::copy(bench.path("data/cat.png"), folders.join("cat/1.png")).expect("copied");
    let output = bench.train_on(&["--data", folders.to_str().expect("UTF-8")], "folders/a.safetensors", &[]).output();
    let said = text(&output.expect("it runs").stderr);
    assert!(said.contains("give --out and --run-dir another place"), "{said}");
    assert!(!folders.join("a.run").exists());
}

#[test]
fn a_complete_run_is_not_replaced_by_the_way() {
    let bench = Bench::new("native");
    bench.trained("a.safetensors", &["--epochs", "1"]);
    fs::rename(bench.path("a.safetensors"), bench.path("kept.safetensors")).expect("moved");
    let output = bench.train("a.safetensors", &["--epochs", "1"]).output().expect("it runs");
    assert!(text(&output.stderr).contains("has a complete run"), "{}", text(&output.stderr));
    bench.trained("a.safetensors", &["--epochs", "1", "--force"]);
}

/// What was fitted on it since is not the run's to replace.
#[test]
fn resuming_a_complete_run_leaves_an_adapter_that_was_changed_since() {
    let bench = Bench::new("native");
    let (out, whole) = (bench.path("a.safetensors"), bench.trained("a.safetensors", &["--epochs", "1"]));
    assert_eq!(bench.trained("a.safetensors", &["--epochs", "1", "--resume"]), whole);
    fs::write(&out, b"changed").expect("written");
    let output = bench.train("a.safetensors", &["--epochs", "1", "--resume"]).output().expect("it runs");
    assert!(text(&output.stderr).contains("the file exists"), "{}", text(&output.stderr));
    assert_eq!(fs::read(&out).expect("there"), b"changed");
    fs::remove_file(&out).expect("removed");
    assert_eq!(bench.trained("a.safetensors", &["--epochs", "1", "--resume"]), whole);
}
