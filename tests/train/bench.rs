use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

pub const BINARY: &str = env!("CARGO_BIN_EXE_manylens");
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/");
pub const TRAIN: &str = "cat.png 0\nastronaut_32.png 1\ncat.bmp 0\nrocket.jpg 1\ncat_444.jpg 0\nwide.png 1\n";
pub const EPOCHS: &str = "40";

/// The golden backbone, and cats and others as a data folder.
pub struct Bench {
    folder: tempfile::TempDir,
    engine: &'static str,
}

impl Bench {
    pub fn new(engine: &'static str) -> Self {
        let bench = Self { folder: tempfile::tempdir().expect("a folder"), engine };
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

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, list: &str, text: &str) {
        fs::write(self.path("data").join(list), text).expect("written");
    }

    /// `manylens train` with everything that is random, into the file of that name.
    pub fn train(&self, out: &str, arguments: &[&str]) -> Command {
        let data = self.path("data");
        self.train_on(&["--data", data.to_str().expect("UTF-8")], out, arguments)
    }

    /// The same on other data; without any, on the usual.
    pub fn train_on(&self, data: &[&str], out: &str, arguments: &[&str]) -> Command {
        if data.is_empty() {
            return self.train(out, arguments);
        }
        let mut command = Command::new(BINARY);
        command.env_clear().env("MANYLENS_EPOCHS", EPOCHS).env("MANYLENS_THREADS", "1");
        command.arg("train").args(["--engine", self.engine, "--batch-size", "2"]);
        command.args(["--flip", "--consistency", "fast", "--dropout", "0.2"]);
        command.arg("--backbone").arg(self.path("backbone")).args(data);
        command.arg("--out").arg(self.path(out)).args(arguments);
        command
    }

    pub fn trained(&self, out: &str, arguments: &[&str]) -> Vec<u8> {
        let output = self.train(out, arguments).output().expect("it runs");
        assert!(output.status.success(), "{}", text(&output.stderr));
        fs::read(self.path(out)).expect("an adapter")
    }

    /// What is said when nothing can be trained.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let Output { status, stderr, .. } = self.train("refused.safetensors", arguments).output().expect("it runs");
        assert_eq!(status.code(), Some(1), "{}", text(&stderr));
        assert!(!self.path("refused.safetensors").exists());
        text(&stderr)
    }

    /// A run that has told of that many epochs.
    pub fn started(&self, out: &str, epochs: usize, arguments: &[&str]) -> Child {
        let mut child = self.train(out, arguments).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut lines = BufReader::new(child.stderr.as_mut().expect("piped")).lines().map_while(Result::ok);
        let line = format!("epoch {epochs}/{EPOCHS}: ");
        assert!(lines.any(|found| found.starts_with(&line)));
        child
    }
}

/// As kill -9 does, with nothing said before.
pub fn kill(mut child: Child) {
    child.kill().expect("killed");
    child.wait().expect("ended");
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
