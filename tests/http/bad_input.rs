//! The table of bad input: each with its status, its type and its sentence.

use std::fmt::Write as _;

use crate::server::{bmp, picture};
use crate::{Reply, World, call, json};
use serde_json::json;

/// A PNG that announces a size and has nothing behind it.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let mut out = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    let crc = crc32(&chunk);
    out.extend(chunk);
    out.extend(crc.to_be_bytes());
    out.extend(b"\0\0\0\x0aIDAT\x78\x9c\x63\0\0\0\x01\0\x01");
    out
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

fn row(table: &mut String, name: &str, reply: &Reply) {
    let body = reply.json();
    assert_eq!(reply.error_type(), body["error_type"], "{name}");
    let sentence = body["error"].as_str().expect("a sentence");
    // Fingerprints and hashes are the same in every run, and unreadable.
    writeln!(table, "{name}: {} {}: {sentence}", reply.status, body["error_type"].as_str().expect("a word"))
        .expect("written");
}

#[test]
fn pictures() {
    let world = World::new();
    let server = world.serve();
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &world.file(1)).status, 201);
    let classify =
        |query: &str, body: &[u8]| call(server.address, &format!("POST /v1/tasks/insects/classify{query}"), &[], body);
    let mut table = String::new();
    let huge = vec![b'x'; (1 << 20) + 1];
    let long = bmp(1, 30_000, &vec![7; 90_000]);
    for (name, reply) in [
        ("not a picture", classify("", b"hello, this is text")),
        ("a zip", classify("", b"PK\x03\x04\x14\0\0\0\x08\0bomb")),
        ("a gzip", classify("", b"\x1f\x8b\x08\0\0\0\0\0\0\x03bomb")),
        ("a pdf", classify("", b"%PDF-1.7\n")),
        ("truncated picture", classify("", &picture(1)[..100])),
        ("30,000 x 30,000 header", classify("", &png_header(30_000, 30_000))),
        ("zero size header", classify("", &png_header(0, 16))),
        ("a 1 x 30,000 picture", classify("", &long)),
        ("empty body", classify("", b"")),
        ("huge body", classify("", &huge)),
        ("wrong task", call(server.address, "POST /v1/tasks/digits/classify", &[], &picture(1))),
        ("a name that is none", call(server.address, "POST /v1/tasks/Insects!/classify", &[], &picture(1))),
        ("wrong version", classify("?version=7", &picture(1))),
        ("an alias", classify("?version=stable", &picture(1))),
        ("too many rows", json(server.address, "POST /v1/tasks/insects/classify", &json!({ "images": vec!["AA"; 9] }))),
        ("a task twice", call(server.address, "POST /v1/classify?tasks=insects,insects", &[], &picture(1))),
        ("no tasks", call(server.address, "POST /v1/classify", &[], &picture(1))),
        ("unknown query", classify("?topk=1", &picture(1))),
        ("top_k of 0", classify("?top_k=0", &picture(1))),
        ("threshold above 1", classify("?threshold=1.5", &picture(1))),
        ("timeout of 0", classify("?timeout_ms=0", &picture(1))),
        ("logits maybe", classify("?logits=maybe", &picture(1))),
        (
            "broken JSON",
            call(server.address, "POST /v1/tasks/insects/classify", &[("content-type", "application/json")], b"{"),
        ),
        (
            "a form without boundary",
            call(server.address, "POST /v1/tasks/insects/classify", &[("content-type", "multipart/form-data")], b"x"),
        ),
    ] {
        row(&mut table, name, &reply);
    }
    insta::assert_snapshot!(table);
}

#[test]
fn adapters() {
    let world = World::new();
    let server = world.serve();
    let good = world.file(1);
    assert_eq!(call(server.address, "PUT /v1/tasks/insects", &[], &good).status, 201);
    let put = |body: &[u8]| call(server.address, "PUT /v1/tasks/insects", &[], body);
    let file = |change: &dyn Fn(&mut manylens::adapter::Adapter)| {
        let mut file = world.adapter(1);
        change(&mut file.adapter);
        world.bytes(&file)
    };
    let other = "0b".repeat(32);
    let mut long_header = good.clone();
    long_header[..8].copy_from_slice(&(good.len() as u64 * 2).to_le_bytes());
    let replaced = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len(), "lengths stay, so that only this changes");
        let at = good.windows(from.len()).position(|part| part == from.as_bytes()).expect("it is there");
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let mut table = String::new();
    for (name, reply) in [
        ("empty", put(b"")),
        ("a pickle", put(b"\x80\x02}q\0.")),
        ("a zip of a pickle", put(b"PK\x03\x04\x14\0\0\0")),
        ("another backbone", put(&file(&|a| a.backbone.0 = format!("sha256:{other}")))),
        ("truncated", put(&good[..good.len() / 2])),
        ("header longer than the file", put(&long_header)),
        ("a tensor renamed", put(&replaced("blocks.1.attn.q.shift", "blocks.7.attn.q.shift"))),
        ("NaN", put(&file(&|a| a.head.bias[1] = f32::NAN))),
        ("unknown preprocess key", put(&replaced("interpolation", "interpolatiom"))),
        ("labels that do not fit", put(&file(&|a| a.labels.truncate(2)))),
        ("other labels", put(&file(&|a| a.labels[0] = "dragonfly".into()))),
        ("a name that is none", call(server.address, "PUT /v1/tasks/All!", &[], &good)),
        ("the reserved name", call(server.address, "PUT /v1/tasks/all", &[], &good)),
        ("unknown query", call(server.address, "PUT /v1/tasks/insects?activ=1", &[], &good)),
        ("unknown permission", call(server.address, "PUT /v1/tasks/insects?allow=all", &[], &good)),
        ("the bare form", call(server.address, "PUT /v1/tasks/insects?form=bare", &[], &good)),
    ] {
        row(&mut table, name, &reply);
    }
    insta::assert_snapshot!(table);
}
