//! What every answer has in common, and what describes the whole.

use std::collections::BTreeSet;

use crate::client::{connect, read};
use crate::server::picture;
use crate::{World, call, get};

#[test]
fn the_frameworks_own_errors_are_the_same_object() {
    let world = World::new();
    let server = world.serve();
    let kind = |line: &str| {
        let reply = call(server.address, line, &[], b"");
        assert_eq!(reply.header("content-type"), Some("application/json"), "{line}");
        (reply.status, reply.error_type())
    };
    assert_eq!(kind("GET /nothing"), (404, "unknown_route".into()));
    assert_eq!(kind("GET /v1/classify"), (405, "method_not_allowed".into()));
    assert_eq!(kind("PATCH /v1/tasks/insects"), (405, "method_not_allowed".into()));
    assert_eq!(kind("GET /v1/tasks/%FF"), (400, "malformed_request".into()));
    assert_eq!(kind("GET /v1/tasks?limit=many"), (400, "malformed_request".into()));
    let reply = call(server.address, "GET /v1/classify", &[], b"");
    assert_eq!(reply.header("allow"), Some("POST"));
    let head = call(server.address, "HEAD /healthz", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn a_head_that_is_no_http_is_refused() {
    use std::io::Write;
    let world = World::new();
    let server = world.serve();
    let mut stream = connect(server.address);
    stream.write_all(b"hello\r\n\r\n").expect("sent");
    assert_eq!(read(stream).status, 400);
}

#[test]
fn a_requests_id_is_its_own() {
    let world = World::new();
    let server = world.serve();
    let id = |own: &str| {
        let reply = call(server.address, "GET /healthz", &[("x-request-id", own)], b"");
        reply.header("x-request-id").expect("always").to_owned()
    };
    assert_eq!(id("order-7_a.b"), "order-7_a.b");
    assert_ne!(id("not an id"), "not an id");
}

#[test]
fn the_metrics_are_those_of_the_documentation() {
    let world = World::new();
    let server = world.serve_with(|settings| settings.telemetry.task_histograms = vec!["insects".into()]);
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(1)).status, 201);
    assert_eq!(call(server.address, "POST /v1/tasks/insects/classify", &[], &picture(1)).status, 200);
    let metrics = get(server.address, "/metrics");
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = metrics.text();
    let served: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| format!("{name} {kind}"))
        .collect();
    let documented: BTreeSet<_> = include_str!("../../docs/metrics.md")
        .lines()
        .take_while(|line| *line != "## Of a device")
        .filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some(format!("{name} {}", cells.next()?))
        })
        .collect();
    assert_eq!(served, documented);
}

#[test]
fn the_description_is_stable() {
    let world = World::new();
    let server = world.serve();
    let text = serde_json::to_string_pretty(&get(server.address, "/openapi.json").json()).expect("JSON");
    insta::with_settings!({ filters => vec![(r#""version": "\d+\.\d+\.\d+""#, r#""version": "…""#)] }, {
        insta::assert_snapshot!(text);
    });
}

#[test]
fn the_page_needs_no_other_host() {
    let world = World::new();
    let server = world.serve();
    let page = get(server.address, "/docs");
    assert_eq!(page.status, 200);
    let text = page.text();
    assert!(text.contains("/openapi.json"));
    assert!(get(server.address, "/docs/errors").text().starts_with("# Errors\n"));
    assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("src=\"//"), "no other host");
}
