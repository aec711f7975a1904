//! PUT, POST, answer.

use serde_json::{Value, json};

use crate::server::{bmp, picture, pixels};
use crate::{World, call, get, json};

fn classify(world: &World) -> (crate::Running, Vec<f32>) {
    let server = world.serve();
    let reply = call(server.address, "PUT /v1/tasks/insects", &[], &world.file(1));
    assert_eq!(reply.status, 201, "{}", reply.text());
    let logits = world.logits(&world.adapter(1).adapter, &pixels(5));
    (server, logits)
}

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number") as f32).collect()
}

#[test]
fn a_picture_is_answered_as_the_reference_engine_does() {
    let world = World::new();
    let (server, expected) = classify(&world);
    let reply = call(server.address, "POST /v1/tasks/insects/classify?logits=true", &[], &picture(5));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    assert_eq!(numbers(&answer["logits"]), expected, "lossless pixels and the same engine give the same numbers");
    let best = expected.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("three").0;
    assert_eq!(answer["predictions"][0]["index"], best);
    assert_eq!(answer["decision"]["labels"][0], answer["predictions"][0]["label"]);
    assert_eq!((&answer["item"], &answer["task"], &answer["version"]), (&json!(0), &json!("insects"), &json!(1)));
    let total: f64 = answer["predictions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| p["probability"].as_f64().expect("a number"))
        .sum();
    assert!((total - 1.0).abs() < 1e-5, "{total}");
    assert_eq!(reply.header("x-task-version"), Some("1"));
    assert_eq!(reply.header("x-batch-size"), Some("1"));
    let timing = reply.header("server-timing").expect("times");
    assert!(["decode;dur=", "queue;dur=", "inference;dur="].iter().all(|part| timing.contains(part)), "{timing}");
}

#[test]
fn equal_requests_give_equal_bodies() {
    let world = World::new();
    let (server, _) = classify(&world);
    let once = || call(server.address, "POST /v1/tasks/insects/classify", &[], &picture(5));
    let (first, second) = (once(), once());
    assert_eq!(first.body, second.body);
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

#[test]
fn the_form_of_the_request_decides_the_form_of_the_answer() {
    use base64::Engine as _;
    let world = World::new();
    let (server, _) = classify(&world);
    let line = "POST /v1/tasks/insects/classify";
    let encoded = |seed| base64::engine::general_purpose::STANDARD.encode(picture(seed));
    let one = call(server.address, line, &[], &picture(5)).json();
    assert_eq!(json(server.address, line, &json!({ "image": encoded(5) })).json(), one);
    assert_eq!(json(server.address, line, &json!({ "images": [encoded(5)] })).json(), json!({ "results": [one] }));
    let mut form = Vec::new();
    for seed in [5, 6] {
        form.extend(b"--cut\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a\"\r\n\r\n");
        form.extend(picture(seed));
        form.extend(b"\r\n");
    }
    form.extend(b"--cut--\r\n");
    let kind = [("content-type", "multipart/form-data; boundary=cut")];
    let many = call(server.address, line, &kind, &form).json();
    let two = call(server.address, line, &[], &picture(6)).json();
    assert_eq!(many["results"][0], one);
    assert_eq!(many["results"][1]["predictions"], two["predictions"]);
    assert_eq!(many["results"][1]["item"], 1);
}

#[test]
fn one_picture_goes_through_many_tasks_and_versions() {
    let world = World::new();
    let (server, _) = classify(&world);
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(2)).status, 201);
    assert_eq!(call(server.address, "PUT /v1/tasks/birds", &[], &world.file(3)).status, 201);
    let reply = call(server.address, "POST /v1/classify?tasks=insects,birds,insects@1", &[], &picture(5));
    let answers = reply.json();
    let told: Vec<_> = answers["results"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| (item["task"].as_str().expect("a task"), item["version"].as_u64().expect("a version")))
        .collect();
    assert_eq!(told, [("insects", 2), ("birds", 1), ("insects", 1)]);
    assert_eq!(reply.header("x-task-version"), Some("2,1,1"));
    assert_eq!(reply.header("x-batch-size"), Some("3"), "decoded once, in one batch");
    let old = call(server.address, "POST /v1/tasks/insects/classify?version=1", &[], &picture(5)).json();
    assert_eq!(answers["results"][2], old);
    let all = call(server.address, "POST /v1/classify?tasks=all", &[], &picture(5)).json();
    assert_eq!((&all["results"][0], &all["results"][1]), (&answers["results"][1], &answers["results"][0]));
}

#[test]
fn the_query_filters_the_list_and_never_the_decision() {
    let world = World::new();
    let (server, _) = classify(&world);
    let ask =
        |query: &str| call(server.address, &format!("POST /v1/tasks/insects/classify{query}"), &[], &picture(5)).json();
    let all = ask("");
    let top = ask("?top_k=1");
    assert_eq!(top["predictions"].as_array().map(Vec::len), Some(1));
    let none = ask("?threshold=1");
    assert_eq!(none["predictions"], json!([]));
    assert_eq!((&top["decision"], &none["decision"]), (&all["decision"], &all["decision"]));
}

#[test]
fn a_call_is_answered_when_any_of_its_pictures_is() {
    use base64::Engine as _;
    let world = World::new();
    let (server, _) = classify(&world);
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let good = encode(&picture(5));
    let line = "POST /v1/tasks/insects/classify";
    let mixed = json(server.address, line, &json!({ "images": [encode(b"hello"), good] }));
    assert_eq!(mixed.status, 200);
    let results = mixed.json()["results"].clone();
    assert_eq!((&results[0]["error_type"], &results[0]["code"]), (&json!("not_a_picture"), &json!(415)));
    assert!(results[1]["predictions"].is_array());
    let cut = encode(&bmp(16, 16, &pixels(1))[..200]);
    let bad = json(server.address, line, &json!({ "images": [cut, encode(b"hello")] }));
    assert_eq!((bad.status, bad.error_type().as_str()), (422, "bad_picture"), "the first item's");
    assert_eq!(bad.json()["results"].as_array().map(Vec::len), Some(2));
}

#[test]
fn what_happened_is_counted() {
    let world = World::new();
    let (server, _) = classify(&world);
    call(server.address, "POST /v1/tasks/insects/classify", &[], &picture(5));
    call(server.address, "POST /v1/tasks/insects/classify", &[], b"no picture");
    call(server.address, "POST /v1/tasks/unknown/classify", &[], &picture(5));
    let metrics = get(server.address, "/metrics").text();
    for line in [
        r#"manylens_requests_total{outcome="ok",task="insects"} 1"#,
        r#"manylens_requests_total{outcome="invalid",task="insects"} 1"#,
        r#"manylens_rows_total{outcome="ok",task="insects"} 1"#,
        r#"manylens_rows_total{outcome="invalid",task="insects"} 1"#,
        "manylens_in_flight_requests 0",
        "manylens_in_flight_bytes 0",
        r#"manylens_request_duration_seconds_count{endpoint="/v1/tasks/{task}/classify"} 3"#,
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("unknown"), "a name that is no task is never a label");
    let described = get(server.address, "/v1/tasks/insects").json();
    assert_eq!(described["counters"]["rows"]["ok"], 1);
}

#[test]
fn values_that_are_not_finite_spoil_no_other_row() {
    let world = World::new();
    let (server, _) = classify(&world);
    let mut overflowing = world.adapter(2);
    overflowing.adapter.head.weight.iter_mut().for_each(|w| *w = f32::MAX);
    let uploaded = call(server.address, "PUT /v1/tasks/broken", &[], &world.bytes(&overflowing));
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    let alone = call(server.address, "POST /v1/tasks/broken/classify", &[], &picture(5));
    assert_eq!((alone.status, alone.error_type().as_str()), (500, "non_finite_output"));
    let both = call(server.address, "POST /v1/classify?tasks=broken,insects", &[], &picture(5));
    assert_eq!((both.status, &both.json()["results"][0]["code"]), (200, &json!(500)));
    let one = call(server.address, "POST /v1/tasks/insects/classify", &[], &picture(5)).json();
    assert_eq!(both.json()["results"][1], one);
}
