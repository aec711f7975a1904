//! Start, hand over, end.

use std::io::Write;
use std::net::TcpStream;

use manylens::app::AppError;
use serde_json::json;

use crate::client::{connect, read, request};
use crate::limits::metric;
use crate::server::picture;
use crate::{World, call, get, json};

const LINE: &str = "POST /v1/tasks/insects/classify";

#[test]
fn a_server_without_tasks_is_ready() {
    let world = World::new();
    let server = world.serve();
    for path in ["/readyz", "/healthz"] {
        let reply = get(server.address, path);
        assert_eq!((reply.status, reply.json()), (200, json!({ "status": "ok" })));
    }
    assert_eq!(get(server.address, "/v1/tasks").json(), json!({ "tasks": [], "next": null }));
    assert_eq!(call(server.address, "POST /v1/classify?tasks=all", &[], &picture(1)).error_type(), "unknown_task");
}

#[test]
fn what_is_in_flight_ends_before_the_server_does() {
    let world = World::new();
    let (mut server, gate) = world.serve_gated(|settings| settings.shutdown.delay = std::time::Duration::from_secs(2));
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(1)).status, 201);
    gate.close();
    let mut waiting = connect(server.address);
    waiting.write_all(&request(server.address, LINE, &[], &picture(1))).expect("sent");
    gate.wait_for_batch();
    server.terminate();
    while get(server.address, "/readyz").status == 200 {
        std::thread::yield_now();
    }
    let ready = get(server.address, "/readyz");
    assert_eq!((ready.status, ready.error_type().as_str()), (503, "not_ready"));
    assert_eq!(get(server.address, "/healthz").status, 200, "alive until the end");
    gate.open();
    assert_eq!(read(waiting).status, 200);
    let still = call(server.address, LINE, &[], &picture(2));
    assert_eq!(still.status, 200, "requests are accepted during the delay");
    assert_eq!(still.header("connection"), Some("close"));
    let address = server.address;
    server.join().expect("exit status 0");
    assert!(TcpStream::connect(address).is_err(), "the listener is closed");
}

#[test]
fn a_body_that_still_arrives_at_the_end_is_answered() {
    let world = World::new();
    let mut server = world.serve();
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(1)).status, 201);
    let request = request(server.address, LINE, &[], &picture(1));
    let (begin, rest) = request.split_at(request.len() - 100);
    let mut slow = connect(server.address);
    slow.write_all(begin).expect("sent");
    while metric(&server, "manylens_in_flight_bytes") == 0.0 {
        std::thread::yield_now();
    }
    server.terminate();
    while TcpStream::connect(server.address).is_ok() {
        std::thread::yield_now();
    }
    slow.write_all(rest).expect("sent");
    assert_eq!(read(slow).status, 200);
    server.join().expect("exit status 0");
}

#[test]
fn a_second_server_follows_and_takes_over() {
    let world = World::new();
    let first = world.serve();
    assert_eq!(call(first.address, "PUT /v1/tasks/insects", &[], &world.file(1)).status, 201);
    let second = world.serve();
    let answer = |address| call(address, LINE, &[], &picture(1)).json();
    assert_eq!(answer(second.address), answer(first.address));
    let refused = call(second.address, "PUT /v1/tasks/insects", &[], &world.file(2));
    assert_eq!((refused.status, refused.error_type().as_str()), (409, "read_only"));
    assert_eq!(call(first.address, "PUT /v1/tasks/insects", &[], &world.file(2)).status, 201);
    while answer(second.address)["version"] != 2 {
        std::thread::yield_now();
    }
    drop(first);
    while call(second.address, "PUT /v1/tasks/insects", &[], &world.file(3)).status == 409 {
        std::thread::yield_now();
    }
    assert_eq!(answer(second.address)["version"], 3);
}

#[test]
fn a_dead_engine_ends_the_server() {
    let world = World::new();
    let (server, gate) = world.serve_gated(|_| ());
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(1)).status, 201);
    gate.break_engine();
    let address = server.address;
    let broken = std::thread::spawn(move || {
        // The first failure is survived, because the engine is started again once.
        let mut kinds = vec![];
        while let Ok(mut stream) = TcpStream::connect(address) {
            let sent = stream.write_all(&request(address, LINE, &[], &picture(1)));
            let mut bytes = Vec::new();
            if sent.is_err() || std::io::Read::read_to_end(&mut stream, &mut bytes).is_err() || bytes.is_empty() {
                break;
            }
            kinds.push(String::from_utf8_lossy(&bytes).contains("engine_failed"));
        }
        kinds
    });
    assert!(matches!(server.join(), Err(AppError::EngineDied(_))));
    let kinds = broken.join().expect("no panic");
    assert!(kinds.len() >= 2 && kinds[0] && kinds[1], "{kinds:?}");
}

#[test]
fn a_switch_loses_no_request() {
    let world = World::new();
    let (server, gate) = world.serve_gated(|_| ());
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(1)).status, 201);
    gate.close();
    let mut waiting = connect(server.address);
    waiting.write_all(&request(server.address, LINE, &[], &picture(1))).expect("sent");
    gate.wait_for_batch();
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(2)).status, 201);
    assert_eq!(json(server.address, "POST /v1/tasks/insects/activate", &json!({ "version": 2 })).status, 200);
    assert_eq!(call(server.address, "DELETE /v1/tasks/insects/versions/1", &[], b"").status, 204);
    gate.open();
    let reply = read(waiting);
    assert_eq!((reply.status, &reply.json()["version"]), (200, &json!(1)), "it ends on the version that it began with");
    assert_eq!(call(server.address, LINE, &[], &picture(1)).json()["version"], 2);
}
