//! What operators do: look, upload, stage, switch, delete.

use std::fs;

use manylens::app::Server;
use serde_json::{Value, json};

use crate::server::picture;
use crate::{Reply, Running, World, call, get, json};

const TASK: &str = "/v1/tasks/insects";

fn put(server: &Running, query: &str, headers: &[(&str, &str)], bytes: &[u8]) -> Reply {
    call(server.address, &format!("PUT {TASK}{query}"), headers, bytes)
}

fn active(server: &Running) -> Value {
    get(server.address, TASK).json()["version"].clone()
}

#[test]
fn an_upload_is_live_and_a_replayed_one_changes_nothing() {
    let world = World::new();
    let server = world.serve();
    let first = put(&server, "", &[], &world.file(1));
    assert_eq!(first.status, 201, "{}", first.text());
    let body = first.json();
    assert_eq!((&body["task"], &body["version"], &body["active"]), (&json!("insects"), &json!(1), &json!(true)));
    assert_eq!(body["probe"]["outcome"], "absent");
    assert_eq!(put(&server, "", &[], &world.file(2)).json()["version"], 2);
    let again = put(&server, "", &[], &world.file(1));
    assert_eq!((again.status, again.json()["version"].clone(), active(&server)), (200, json!(1), json!(2)));
    assert_eq!(again.json()["hash"], body["hash"]);
    let back = put(&server, "?activate=true", &[], &world.file(1));
    assert_eq!((back.status, active(&server)), (200, json!(1)));
}

#[test]
fn a_probe_is_run_before_a_version_is_live() {
    let world = World::new();
    let server = world.serve();
    let good = put(&server, "", &[], &world.bytes(&world.probed(1)));
    assert_eq!(good.json()["probe"]["outcome"], "passed", "{}", good.text());
    let mut lying = world.probed(2);
    lying.probe.as_mut().expect("it has one").logits[0] += 1.0;
    let bad = put(&server, "", &[], &world.bytes(&lying));
    assert_eq!((bad.status, bad.error_type().as_str(), active(&server)), (422, "probe_failed", json!(1)));
    let report = call(server.address, "POST /v1/adapters/validate", &[], &world.bytes(&lying));
    assert_eq!((report.status, &report.json()["valid"]), (200, &json!(false)));
    assert_eq!(report.json()["probe"]["outcome"], "failed");
}

#[test]
fn versions_are_staged_switched_and_deleted() {
    let world = World::new();
    let server = world.serve();
    put(&server, "", &[], &world.file(1));
    let staged = put(&server, "?activate=false", &[], &world.file(2));
    assert_eq!((staged.status, &staged.json()["active"], active(&server)), (201, &json!(false), json!(1)));
    let line = format!("POST {TASK}/activate");
    let switched = json(server.address, &line, &json!({ "version": 2 }));
    assert_eq!((switched.status, active(&server)), (200, json!(2)), "{}", switched.text());
    let merged = json(server.address, &format!("{line}?form=merged"), &json!({ "version": 1 }));
    assert_eq!(merged.json()["form"], "merged");
    assert_eq!(json(server.address, &line, &json!({ "version": 9 })).error_type(), "unknown_version");
    for body in [json!({ "version": "1" }), json!([1])] {
        assert_eq!(json(server.address, &line, &body).error_type(), "malformed_request", "{body}");
    }
    let delete = |number: u32| call(server.address, &format!("DELETE {TASK}/versions/{number}"), &[], b"");
    assert_eq!(delete(1).error_type(), "conflict", "it is the active one");
    assert_eq!(delete(2).status, 204);
    assert_eq!(get(server.address, &format!("{TASK}/versions/2")).error_type(), "unknown_version");
    assert_eq!(put(&server, "", &[], &world.file(2)).json()["version"], 3, "numbers are not used again");
    assert_eq!(call(server.address, &format!("DELETE {TASK}"), &[], b"").status, 204);
    assert_eq!(get(server.address, TASK).error_type(), "unknown_task");
    assert_eq!(put(&server, "", &[], &world.file(1)).json()["version"], 4, "not even after the task is gone");
}

#[test]
fn a_change_can_be_conditional() {
    let world = World::new();
    let server = world.serve();
    put(&server, "", &[], &world.file(1));
    let etag = get(server.address, TASK).header("etag").expect("an ETag").to_owned();
    assert_eq!(etag, "\"1\"");
    let mine = [("if-match", etag.as_str())];
    assert_eq!(put(&server, "", &mine, &world.file(2)).status, 201);
    for reply in [
        put(&server, "", &mine, &world.file(3)),
        call(server.address, &format!("POST {TASK}/activate"), &mine, br#"{"version":1}"#),
        call(server.address, &format!("DELETE {TASK}/versions/1"), &mine, b""),
        call(server.address, &format!("DELETE {TASK}"), &mine, b""),
    ] {
        assert_eq!((reply.status, reply.error_type().as_str()), (412, "precondition_failed"));
    }
    assert_eq!(active(&server), 2);
}

#[test]
fn other_labels_need_a_word() {
    let world = World::new();
    let server = world.serve();
    put(&server, "", &[], &world.file(1));
    let mut other = world.adapter(2);
    other.adapter.labels = ["ant", "wasp", "bee"].map(str::to_owned).to_vec();
    let other = world.bytes(&other);
    let refused = put(&server, "", &[], &other);
    assert_eq!((refused.status, refused.error_type().as_str()), (409, "labels_changed"));
    let problems: Vec<_> =
        refused.json()["details"].as_array().expect("a list").iter().map(|d| d["found"].clone()).collect();
    assert_eq!(problems, [json!("wasp"), json!("cat"), json!("bee")], "added, removed, moved");
    assert_eq!(put(&server, "?activate=false", &[], &other).status, 201, "staging is free");
    assert_eq!(put(&server, "?activate=true&allow=labels_changed", &[], &other).status, 200);
    assert_eq!(active(&server), 2);
}

#[test]
fn the_stored_file_comes_back() {
    let world = World::new();
    let server = world.serve();
    let file = world.file(1);
    let hash = put(&server, "", &[], &file).json()["hash"].as_str().expect("a hash").to_owned();
    let reply = get(server.address, &format!("{TASK}/versions/1/adapter"));
    assert_eq!(reply.body, file);
    assert_eq!(reply.header("content-disposition"), Some("attachment; filename=\"insects-1.safetensors\""));
    assert_eq!(reply.header("etag"), Some(format!("\"{hash}\"").as_str()));
    assert_eq!(get(server.address, &format!("{TASK}/versions/1")).json()["hash"], hash.as_str());
}

#[test]
fn tasks_are_listed_in_pages() {
    let world = World::new();
    let server = world.serve();
    for task in ["b", "a", "c"] {
        assert_eq!(call(server.address, &format!("PUT /v1/tasks/{task}"), &[], &world.file(1)).status, 201);
    }
    let names =
        |page: &Value| page["tasks"].as_array().expect("a list").iter().map(|t| t["task"].clone()).collect::<Vec<_>>();
    let first = get(server.address, "/v1/tasks?limit=2").json();
    assert_eq!((names(&first), &first["next"]), (vec![json!("a"), json!("b")], &json!("b")));
    let rest = get(server.address, "/v1/tasks?limit=2&after=b").json();
    assert_eq!((names(&rest), &rest["next"]), (vec![json!("c")], &Value::Null));
    assert_eq!(get(server.address, "/v1/tasks?limit=0").error_type(), "malformed_request");
}

#[test]
fn limits_of_the_store_are_named() {
    let world = World::new();
    let server = world.serve_with(|settings| settings.store.limits.tasks_max = 1);
    put(&server, "", &[], &world.file(1));
    let reply = call(server.address, "PUT /v1/tasks/birds", &[], &world.file(1));
    assert_eq!((reply.status, reply.error_type().as_str()), (507, "store_limit"));
    assert_eq!(reply.json()["details"][0]["where"], "--tasks-max");
}

#[test]
fn tasks_survive_and_a_folder_of_adapters_fills_what_is_missing() {
    let world = World::new();
    let folder = world.folder.path().join("adapters");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("birds.safetensors"), world.file(3)).expect("written");
    fs::write(folder.join("insects.safetensors"), world.file(4)).expect("written");
    fs::write(folder.join("README.md"), "not an adapter").expect("written");
    let first = world.serve();
    put(&first, "", &[], &world.file(1));
    let answer = call(first.address, &format!("POST {TASK}/classify"), &[], &picture(1));
    drop(first);
    let second = world.serve_with(|settings| settings.store.adapters = Some(folder));
    assert_eq!(call(second.address, &format!("POST {TASK}/classify"), &[], &picture(1)).body, answer.body);
    assert_eq!(get(second.address, "/v1/tasks/birds").json()["version"], 1);
    assert_eq!(get(second.address, TASK).json()["versions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_deleted_task_does_not_come_back_from_the_folder_of_adapters() {
    let world = World::new();
    let folder = world.folder.path().join("adapters");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("insects.safetensors"), world.file(1)).expect("written");
    let serve = || world.serve_with(|settings| settings.store.adapters = Some(folder.clone()));
    let first = serve();
    assert_eq!(call(first.address, &format!("DELETE {TASK}"), &[], b"").status, 204);
    drop(first);
    let second = serve();
    assert_eq!(get(second.address, TASK).error_type(), "unknown_task");
    put(&second, "", &[], &world.file(1));
    assert_eq!(get(second.address, TASK).json()["version"], 2, "its numbers stay used up");
}

#[test]
fn every_bad_file_of_the_folder_of_adapters_is_named() {
    let world = World::new();
    let folder = world.folder.path().join("adapters");
    fs::create_dir(&folder).expect("a folder");
    for (name, bytes) in [("bees", &b"text"[..]), ("Birds", &world.file(1)), ("cats", &world.file(2)), ("dogs", b"")] {
        fs::write(folder.join(name).with_extension("safetensors"), bytes).expect("written");
    }
    let mut settings = world.settings();
    settings.store.adapters = Some(folder);
    let refused = Server::open_on(settings, world.backbone.clone(), world.reference()).err();
    let message = refused.expect("three files are bad").to_string();
    let named = ["bees", "Birds", "cats", "dogs"].map(|name| message.contains(&format!("{name}.safetensors: ")));
    assert_eq!(named, [true, true, false, true], "{message}");
}

#[test]
fn a_task_of_another_backbone_is_listed_and_does_not_answer() {
    let world = World::new();
    let first = world.serve();
    put(&first, "", &[], &world.file(1));
    drop(first);
    let other = World::of_seed(8);
    let server = other.serve_with(|settings| settings.store.data_dir = world.data_dir());
    let task = get(server.address, TASK).json();
    assert_eq!((&task["status"], &task["versions"][0]["version"]), (&json!("incompatible"), &json!(1)));
    let line = format!("POST {TASK}/classify");
    let reply = call(server.address, &line, &[], &picture(1));
    assert_eq!((reply.status, reply.error_type().as_str()), (503, "incompatible_task"));
    let all = call(server.address, "POST /v1/classify?tasks=all", &[], &picture(1));
    assert!(all.text().contains("none of the 1 tasks here answers"), "{}", all.text());
    drop(server);
    let again = world.serve();
    assert_eq!(call(again.address, &line, &[], &picture(1)).status, 200, "its files are untouched");
}
