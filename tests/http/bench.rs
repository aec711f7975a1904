//! `manylens bench serve` against a server.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::{Running, World, call};

fn bench(server: &Running, task: &str, arguments: &[&str]) -> Output {
    let url = format!("http://{}", server.address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_manylens"));
    command.args(["bench", "serve", &url, "--task", task, "--made", "32x24", "--seconds", "1", "--clients", "3"]);
    command.args(arguments).env_clear().output().expect("it runs")
}

#[test]
fn a_servers_latency_over_the_load_is_measured_and_drawn() {
    let world = World::new();
    // Room for everything that comes while a busy machine looks elsewhere.
    let server = world.serve_with(|settings| {
        settings.network.connections_max = 1024;
        settings.serving.rows_max = 4096;
    });
    for (task, seed) in [("insects", 1), ("birds", 2)] {
        assert_eq!(call(server.address, &format!("PUT /v1/tasks/{task}"), &[], &world.file(seed)).status, 201);
    }
    let svg = world.folder.path().join("curve.svg");
    let arguments = ["--loads", "0.05,0.1", "--json", "--svg", svg.to_str().expect("UTF-8")];
    let output = bench(&server, "insects,birds", &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert_eq!((&report["tasks"], &report["pictures"]), (&json!(2), &json!(1)));
    let throughput = report["throughput"].as_f64().expect("a number");
    let steps = report["results"].as_array().expect("a list");
    assert_eq!(steps.iter().map(|step| step["load"].as_f64()).collect::<Vec<_>>(), [Some(0.05), Some(0.1)]);
    for step in steps {
        let number = |name: &str| step[name].as_f64().unwrap_or_else(|| panic!("{name} in {step}"));
        assert_eq!(["overloaded", "late", "failed"].map(number), [0.0; 3], "{step}");
        assert_eq!(number("offered_per_second"), number("ok"), "one second, and every request was answered");
        assert!(number("offered_per_second") < throughput, "{report}");
        assert!(number("answered_per_second") <= number("offered_per_second"), "{step}");
        assert!(0.0 < number("p50_ms") && number("p50_ms") <= number("p99_ms"), "{step}");
    }
    let svg = std::fs::read_to_string(&svg).expect("drawn");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
    let metrics = crate::get(server.address, "/metrics").text();
    let idle = |task: &str| metrics.contains(&format!(r#"manylens_rows_total{{outcome="ok",task="{task}"}} 0"#));
    assert!(!idle("insects") && !idle("birds"), "both tasks were asked");
}

#[test]
fn a_task_that_is_not_there_is_said_before_anything_is_measured() {
    let world = World::new();
    let server = world.serve();
    let output = bench(&server, "birds", &[]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no task `birds`"));
}
