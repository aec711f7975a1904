//! Full, late and gone are answers, not bugs.

use std::io::{Read, Write};
use std::time::Duration;

use crate::client::{connect, read, request};
use crate::gate::Gate;
use crate::server::{bmp, picture};
use crate::{Running, World, call, get};

const LINE: &str = "POST /v1/tasks/insects/classify";

/// A server with a task, and room for `rows_max` rows; a task that holds some leaves one of three to others.
fn gated(world: &World, rows_max: usize) -> (Running, Gate) {
    let (server, gate) = world.serve_gated(|settings| {
        settings.serving.rows_max = rows_max;
        settings.serving.batch_rows_max = 1;
    });
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(1)).status, 201);
    (server, gate)
}

/// A request that is sent, and whose answer nobody reads yet.
fn send(server: &Running, line: &str, seed: u32) -> std::net::TcpStream {
    let mut stream = connect(server.address);
    stream.write_all(&request(server.address, line, &[], &picture(seed))).expect("sent");
    stream
}

pub fn metric(server: &Running, series: &str) -> f64 {
    let text = get(server.address, "/metrics").text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().expect("a number")
}

/// Asks until it is so; the server is busy with it.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("never: {what}");
}

#[test]
fn a_full_server_says_when_to_come_back() {
    let world = World::new();
    let (server, gate) = gated(&world, 3);
    gate.close();
    let waiting = [send(&server, LINE, 1), send(&server, LINE, 2)];
    until("two rows are in flight", || metric(&server, "manylens_in_flight_requests") == 2.0);
    let refused = call(server.address, LINE, &[], &picture(3));
    assert_eq!((refused.status, refused.error_type().as_str()), (429, "overloaded"));
    assert!(refused.header("retry-after").and_then(|s| s.parse::<u64>().ok()).is_some_and(|s| s >= 1));
    assert!(refused.json()["retry_after_ms"].is_u64());
    assert_eq!(get(server.address, "/readyz").status, 200, "ready under any load");
    assert_eq!(get(server.address, "/healthz").status, 200);
    gate.open();
    for stream in waiting {
        assert_eq!(read(stream).status, 200);
    }
    assert_eq!(metric(&server, r#"manylens_rows_total{outcome="overloaded",task="insects"}"#), 1.0);
    assert_eq!(metric(&server, r#"manylens_requests_total{outcome="overloaded",task="insects"}"#), 1.0);
}

#[test]
fn bytes_are_reserved_before_the_body_is_read() {
    let world = World::new();
    let server = world.serve_with(|settings| settings.serving.bytes_max = 4096);
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(1)).error_type(), "overloaded");
    let small = world.serve_with(|settings| {
        settings.store.data_dir = world.folder.path().join("other");
        settings.serving.bytes_max = 1 << 20;
        settings.requests.body_bytes_max = 1 << 20;
    });
    assert_eq!(call(small.address, "PUT /v1/tasks/insects", &[], &world.file(1)).status, 201);
    // A body of unknown length takes the whole limit, so a second one finds no room.
    let mut first = connect(small.address);
    first.write_all(&request(small.address, LINE, &[("transfer-encoding", "chunked")], b"")).expect("sent");
    until("the limit is reserved", || metric(&small, "manylens_in_flight_bytes") == f64::from(1 << 20));
    assert_eq!(call(small.address, LINE, &[], &picture(1)).error_type(), "overloaded");
    let body = picture(1);
    write!(first, "{:x}\r\n", body.len()).expect("sent");
    first.write_all(&[&body[..], b"\r\n0\r\n\r\n"].concat()).expect("sent");
    assert_eq!(read(first).status, 200);
    assert_eq!(metric(&small, "manylens_in_flight_bytes"), 0.0);
}

#[test]
fn versions_that_are_not_active_are_held_by_few_calls_at_once() {
    let world = World::new();
    let server = world.serve_with(|settings| settings.serving.rows_max = 1);
    for seed in [1, 2, 3] {
        assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(seed)).status, 201);
    }
    let inactive = |number: u32| format!("{LINE}?version={number}");
    let mut slow = connect(server.address);
    slow.write_all(&request(server.address, &inactive(1), &[("transfer-encoding", "chunked")], b"")).expect("sent");
    until("its body is waited for", || metric(&server, "manylens_in_flight_bytes") > 0.0);
    let refused = call(server.address, &inactive(2), &[], &picture(1));
    assert_eq!((refused.status, refused.error_type().as_str()), (429, "overloaded"));
    assert_eq!(call(server.address, &inactive(3), &[], &picture(1)).status, 200, "the active one is in memory anyway");
    drop(slow);
    until("the place is free", || call(server.address, &inactive(2), &[], &picture(1)).status == 200);
}

#[test]
fn the_limit_of_a_form_is_that_of_every_body() {
    let world = World::new();
    let server = world.serve_with(|settings| settings.requests.body_bytes_max = 8 << 20);
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(1)).status, 201);
    let big = bmp(640, 640, &vec![7; 640 * 640 * 3]);
    let field = b"--x\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\n";
    let form = [&field[..], &big, b"\r\n", field, &big, b"\r\n--x--\r\n"].concat();
    assert!(form.len() > 2 << 20);
    let reply = call(server.address, LINE, &[("content-type", "multipart/form-data; boundary=x")], &form);
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[test]
fn a_row_that_is_too_late_never_runs() {
    let world = World::new();
    let (server, gate) = gated(&world, 8);
    gate.close();
    let first = send(&server, LINE, 1);
    gate.wait_for_batch();
    let late = send(&server, &format!("{LINE}?timeout_ms=1"), 2);
    let late = read(late);
    assert_eq!((late.status, late.error_type().as_str()), (504, "deadline_exceeded"));
    gate.open();
    assert_eq!(read(first).status, 200);
    assert_eq!(metric(&server, "manylens_engine_rows_total"), 1.0);
    assert_eq!(metric(&server, r#"manylens_requests_total{outcome="deadline",task="insects"}"#), 1.0);
}

#[test]
fn a_client_that_leaves_frees_its_place() {
    let world = World::new();
    let (server, gate) = gated(&world, 3);
    gate.close();
    let first = send(&server, LINE, 1);
    gate.wait_for_batch();
    let second = send(&server, LINE, 2);
    until("two rows are in flight", || metric(&server, "manylens_in_flight_requests") == 2.0);
    drop(second);
    until("the second place is free", || metric(&server, "manylens_in_flight_requests") == 1.0);
    let third = send(&server, LINE, 3);
    until("it is taken again", || metric(&server, "manylens_in_flight_requests") == 2.0);
    gate.open();
    assert_eq!((read(first).status, read(third).status), (200, 200));
    assert_eq!(metric(&server, r#"manylens_requests_total{outcome="cancelled",task="insects"}"#), 1.0);
    assert_eq!(metric(&server, "manylens_engine_rows_total"), 2.0);
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    let world = World::new();
    let server = world.serve_with(|settings| settings.network.header_timeout = Duration::from_millis(50));
    let mut stream = connect(server.address);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nx-slow: ").expect("sent");
    let mut rest = Vec::new();
    // Closed or reset; what matters is that the server ends it.
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
    assert_eq!(get(server.address, "/healthz").status, 200);
}

#[test]
fn a_quiet_connection_is_closed_and_makes_room() {
    let world = World::new();
    let server = world.serve_with(|settings| {
        settings.network.idle_timeout = Duration::from_millis(50);
        settings.network.connections_max = 1;
    });
    // Takes the only place; the next caller waits in the kernel until it is closed.
    let mut quiet = connect(server.address);
    assert_eq!(get(server.address, "/healthz").status, 200);
    assert_eq!(quiet.read(&mut [0; 1]).expect("closed, not reset"), 0);
}

#[test]
fn a_body_that_never_ends_is_given_up() {
    let world = World::new();
    let server = world.serve_with(|settings| settings.network.body_timeout = Duration::from_millis(50));
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(1)).status, 201);
    let mut stream = connect(server.address);
    stream.write_all(&request(server.address, LINE, &[("content-length", "1000")], b"BM")).expect("sent");
    let reply = read(stream);
    assert_eq!((reply.status, reply.error_type().as_str()), (408, "request_timeout"));
    assert_eq!(metric(&server, "manylens_in_flight_bytes"), 0.0);
}

#[test]
fn a_refused_body_is_taken_in_so_that_the_answer_arrives() {
    let world = World::new();
    let server = world.serve();
    // More than the kernel's buffers hold: without draining, the client would see a reset instead of the answer.
    let big = vec![b'x'; 900_000];
    for _ in 0..20 {
        assert_eq!(call(server.address, "POST /v1/tasks/unknown/classify", &[], &big).error_type(), "unknown_task");
    }
}
