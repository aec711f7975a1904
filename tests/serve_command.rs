//! `manylens serve` as a process: its help, its settings, its signals.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_manylens");

fn manylens(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command.output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn help() {
    insta::assert_snapshot!("serve_help", text(&manylens(&["serve", "--help"], &[]).stdout));
    insta::assert_snapshot!("classify_help", text(&manylens(&["classify", "--help"], &[]).stdout));
}

#[test]
fn no_flag_ends_like_a_variable_that_kubernetes_injects() {
    let help = text(&manylens(&["serve", "--help"], &[]).stdout);
    for flag in help.split_whitespace().filter(|word| word.starts_with("--")) {
        assert!(!["-port", "-host", "-service"].iter().any(|end| flag.ends_with(end)), "{flag}");
    }
}

#[test]
fn print_config_says_where_each_value_comes_from() {
    let arguments =
        ["serve", "--print-config", "--backbone", ".", "--data-dir=data", "--threads", "3", "--decode-threads=2"];
    let variables = [("MANYLENS_LISTEN", "127.0.0.1:9000"), ("MANYLENS_ADMIN_KEY", "secret")];
    let output = manylens(&arguments, &variables);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let listing = text(&output.stdout);
    assert!(!listing.contains("secret"));
    insta::assert_snapshot!("print_config", listing);
}

#[test]
fn every_bad_setting_is_reported_at_once() {
    let arguments =
        ["serve", "--backbone", "/nowhere", "--listen", "localhost", "--queue-rows-max", "0", "--engine", "gpu"];
    let output = manylens(&arguments, &[("MANYLENS_HEADER_TIMEOUT_MS", "soon")]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!("bad_settings", text(&output.stderr));
}

#[test]
fn an_engine_that_waits_for_more_rows_cannot_count_as_stuck() {
    let with = |delay_us| {
        let stall = ["--max-batch-delay-us", delay_us, "--engine-stall-timeout-ms", "40"];
        let output =
            manylens(&[&["serve", "--print-config", "--backbone", ".", "--data-dir=data"], &stall[..]].concat(), &[]);
        (output.status.code(), text(&output.stderr))
    };
    assert_eq!(with("20000"), (Some(0), String::new()));
    let (code, problem) = with("20001");
    assert_eq!(code, Some(1));
    assert!(problem.contains("--max-batch-delay-us: 20001 \u{b5}s is more than half of"), "{problem}");
}

/// A folder with the golden backbone, as people have it.
fn golden() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let from = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rlrr-tiny/");
    for (name, to) in [("config.json", "config.json"), ("backbone.timm.safetensors", "model.safetensors")] {
        std::fs::copy(format!("{from}{name}"), folder.path().join(to)).expect("copied");
    }
    folder
}

/// The first processor that we may use, by the kernel's word.
#[cfg(target_os = "linux")]
fn a_processor() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process has a status");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("listed");
    list.trim().split([',', '-']).next().expect("never empty").to_owned()
}

/// Names of a process's threads.
#[cfg(target_os = "linux")]
fn threads(process: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    tasks.filter_map(|task| name(task.ok()?)).map(|name| name.trim().to_owned()).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_may_use_one_processor_computes_with_one_thread() {
    if Command::new("taskset").arg("--version").output().is_err() {
        println!("skipped: there is no taskset");
        return;
    }
    let folder = golden();
    let mut child = Command::new("taskset")
        .args(["-c", &a_processor(), BINARY, "serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--backbone"])
        .arg(folder.path())
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = log(&mut child);
    let loaded = lines.find(|line| line.contains("loaded")).expect("it says what it loaded");
    let loaded: serde_json::Value = serde_json::from_str(&loaded).expect("one JSON object a line");
    // taskset becomes the program: the process is the same.
    let threads = threads(child.id());
    child.kill().and_then(|()| child.wait()).expect("it ends");
    assert_eq!((&loaded["engine_threads"], &loaded["decode_threads"]), (&1.into(), &1.into()), "{loaded}");
    let named = |name: &str| threads.iter().filter(|thread| thread.starts_with(name)).count();
    assert_eq!(named("manylens-engine"), 1, "{threads:?}");
    assert_eq!((named("native-"), named("manylens-decode")), (0, 1), "{threads:?}");
}

/// A server of the golden backbone whose log is read.
fn reference(folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(BINARY);
    command
        .args(["serve", "--engine", "reference", "--listen", "127.0.0.1:0", "--log-format", "json"])
        .args(["--shutdown-delay-ms", "0", "--backbone"])
        .arg(folder.path())
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .stderr(Stdio::piped());
    command
}

fn log(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok)
}

fn readyz(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).expect("one JSON object a line");
    format!("http://{}/readyz", line["address"].as_str().expect("an address"))
}

#[test]
fn a_process_serves_warns_and_ends() {
    let folder = golden();
    let mut child = reference(&folder).env("MANYLENS_LISTN", "typo").spawn().expect("it runs");
    let mut lines = log(&mut child);
    let mut line_with = |part: &str| lines.find(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part}"));
    assert!(line_with("mean nothing").contains("MANYLENS_LISTN"));
    let url = readyz(&line_with("listening"));
    let reply = ureq_get(&url);
    assert_eq!(reply, 200);
    let access: serde_json::Value = serde_json::from_str(&line_with("/readyz")).expect("one JSON object a line");
    assert_eq!((&access["status"], &access["route"]), (&serde_json::json!(200), &serde_json::json!("/readyz")));
    let signal = |name: &str| {
        let kill = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill runs");
        assert!(kill.success());
    };
    signal("-HUP");
    line_with("keys were read again");
    signal("-TERM");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

/// A collector of logs that dies takes no answer with it.
#[test]
fn a_process_whose_log_has_no_reader_any_more_answers_and_ends() {
    let folder = golden();
    let mut child = reference(&folder).spawn().expect("it runs");
    let mut lines = log(&mut child);
    let url = readyz(&lines.find(|line| line.contains("listening")).expect("an address"));
    drop(lines);
    assert_eq!([ureq_get(&url), ureq_get(&url)], [200, 200]);
    let ended = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(ended.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

fn ureq_get(url: &str) -> u16 {
    ureq::get(url).call().expect("an answer").status().as_u16()
}
