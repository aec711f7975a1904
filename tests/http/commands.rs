//! `manylens classify` against a server.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::server::picture;
use crate::{Running, World, call};

fn classify(server: &Running, arguments: &[&str]) -> Output {
    let url = format!("http://{}", server.address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_manylens"));
    command.args(["classify", "--url", &url]).args(arguments).env_clear().output().expect("it runs")
}

#[test]
fn classify_prints_answers_and_fails_when_one_is_missing() {
    let world = World::new();
    let server = world.serve();
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(1)).status, 201);
    let write = |name: &str, bytes: &[u8]| {
        let path = world.folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (good, bad) = (write("good.bmp", &picture(1)), write("bad.bmp", &picture(1)[..100]));
    let output = classify(&server, &[&good, "--task", "insects@1", "--json", "--top-k", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let answer = call(server.address, "POST /v1/tasks/insects/classify?top_k=1", &[], &picture(1)).json();
    let result = &printed["results"][0];
    assert_eq!(result["picture"], json!(good));
    for field in ["task", "version", "hash", "predictions", "decision"] {
        assert_eq!(result[field], answer[field], "{field}");
    }
    let table = classify(&server, &[&good, &bad, "--task", "insects"]);
    assert_eq!(table.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&table.stdout).contains("good.bmp"));
    assert!(String::from_utf8_lossy(&table.stderr).contains("truncated"));
    let unknown = classify(&server, &[&good, "--task", "birds"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there is no task `birds`"));
}
