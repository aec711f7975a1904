//! Who may call.

use std::fs;

use manylens::config::{Keys, Secret};

use crate::server::picture;
use crate::{Reply, Running, World, call, get};

fn put(server: &Running, headers: &[(&str, &str)], world: &World) -> Reply {
    call(server.address, "PUT /v1/tasks/insects", headers, &world.file(1))
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[test]
fn without_a_key_management_is_for_plain_local_callers() {
    let world = World::new();
    let server = world.serve();
    for headers in [
        [("host", "example.org")],
        [("origin", "http://127.0.0.1")],
        [("forwarded", "for=10.0.0.1")],
        [("x-forwarded-for", "10.0.0.1")],
    ] {
        let reply = put(&server, &headers, &world);
        assert_eq!((reply.status, reply.error_type().as_str()), (403, "management_disabled"), "{headers:?}");
    }
    assert_eq!(put(&server, &[], &world).status, 201);
    let elsewhere = [("host", "example.org")];
    let line = "POST /v1/tasks/insects/classify";
    assert_eq!(call(server.address, line, &elsewhere, &picture(1)).status, 200, "classifying is open");
    for line in ["POST /v1/adapters/validate", "GET /v1/tasks/insects/versions/1/adapter", "DELETE /v1/tasks/insects"] {
        assert_eq!(call(server.address, line, &elsewhere, b"x").error_type(), "management_disabled", "{line}");
    }
}

#[test]
fn a_listener_on_every_address_is_not_local() {
    let world = World::new();
    let server = world.serve_with(|settings| settings.network.listen = ([0, 0, 0, 0], 0).into());
    let loopback = ([127, 0, 0, 1], server.address.port()).into();
    let reply = call(loopback, "PUT /v1/tasks/insects", &[], &world.file(1));
    assert_eq!((reply.status, reply.error_type().as_str()), (403, "management_disabled"));
    assert_eq!(get(loopback, "/v1/tasks").status, 200);
}

#[test]
fn with_keys_only_keys_count() {
    let world = World::new();
    let file = world.folder.path().join("admin");
    fs::write(&file, "boss\n").expect("written");
    let server = world.serve_with(|settings| {
        let inference = Some(Secret("reader".into()));
        settings.keys = Keys { admin_file: Some(file.clone()), inference, ..Keys::default() };
    });
    let with = |key: &str| put(&server, &[("authorization", &bearer(key))], &world);
    let none = put(&server, &[], &world);
    assert_eq!((none.status, none.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(with("bos").error_type(), "unauthorized");
    assert_eq!(with("reader").error_type(), "forbidden");
    assert_eq!(with("boss").status, 201);
    let line = "POST /v1/tasks/insects/classify";
    let classify = |headers: &[(&str, &str)]| call(server.address, line, headers, &picture(1)).status;
    assert_eq!(classify(&[]), 401);
    assert_eq!(classify(&[("authorization", "Bearer reader")]), 200);
    assert_eq!(classify(&[("authorization", "Bearer boss")]), 200, "an admin may classify");
    assert_eq!(get(server.address, "/v1/tasks").status, 401);
    for open in ["/healthz", "/readyz", "/metrics", "/docs", "/docs/errors", "/openapi.json"] {
        assert_eq!(get(server.address, open).status, 200, "{open}");
    }
    fs::write(&file, "chief\n").expect("written");
    (server.reload_keys)();
    assert_eq!(with("boss").error_type(), "unauthorized");
    assert_eq!(with("chief").status, 200);
}

#[test]
fn management_can_have_a_listener_of_its_own() {
    let world = World::new();
    let server = world.serve_with(|settings| settings.network.admin_listen = Some(([127, 0, 0, 1], 0).into()));
    let management = server.management.expect("its address");
    assert_eq!(put(&server, &[], &world).error_type(), "method_not_allowed");
    assert_eq!(get(server.address, "/metrics").error_type(), "unknown_route");
    assert_eq!(call(management, "PUT /v1/tasks/insects", &[], &world.file(1)).status, 201);
    assert_eq!(get(management, "/metrics").status, 200);
    let line = "POST /v1/tasks/insects/classify";
    assert_eq!(call(management, line, &[], &picture(1)).error_type(), "unknown_route");
    assert_eq!(call(server.address, line, &[], &picture(1)).status, 200);
    assert_eq!((get(server.address, "/readyz").status, get(management, "/readyz").status), (200, 200));
}
