//! `manylens compare` against a server.

use std::process::ExitCode;
use std::time::Duration;

use manylens::commands::compare::{Arguments, run};

use crate::server::picture;
use crate::{World, call};

#[test]
fn two_versions_are_compared_on_a_folder() {
    let world = World::new();
    let server = world.serve();
    for (line, seed) in [("PUT /v1/tasks/insects", 1), ("PUT /v1/tasks/insects?activate=false", 2)] {
        assert_eq!(call(server.address, line, &[], &world.file(seed)).status, 201);
    }
    let folder = tempfile::tempdir().expect("a folder");
    for seed in 0..24 {
        std::fs::write(folder.path().join(format!("{seed:02}.bmp")), picture(seed)).expect("written");
    }
    let page = folder.path().join("page.html");
    let arguments = |versions, flips_max, html| Arguments {
        task: "insects".into(),
        versions,
        pictures: folder.path().into(),
        url: format!("http://{}", server.address),
        key: None,
        timeout: Duration::from_secs(60),
        flips_max,
        html,
        json: true,
    };
    let allowed = run(&arguments([1, 2], None, None)).expect("compared");
    assert_eq!(allowed, ExitCode::SUCCESS, "any number of flips is allowed");
    assert!(run(&arguments([1, 1], None, None)).is_err(), "a version is not compared with itself");
    let different = run(&arguments([1, 2], Some(0), Some(page.clone()))).expect("compared");
    assert_eq!(different, ExitCode::FAILURE, "random adapters differ on 24 random pictures");
    let html = std::fs::read_to_string(page).expect("written");
    assert!(html.contains("versions 1 and 2 agree on") && html.contains("data:image;base64,Qk"), "{html}");
    let unknown = run(&arguments([1, 9], None, None)).expect("compared");
    assert_eq!(unknown, ExitCode::FAILURE, "pictures without answers");
}
