//! An HTTP request: its first line is `METHOD path?query`, headers follow, a line each, then an empty line and the body.
//! Paths, queries, headers, forms, JSON and base64 never make the server fail, and a refusal is the API's error object.
#![no_main]

use std::sync::{Arc, LazyLock, atomic::AtomicBool};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use libfuzzer_sys::{Corpus, fuzz_target};
use manylens::adapter::format::{AdapterFile, write};
use manylens::adapter::{self, Layout};
use manylens::backbone::{self, Shape};
use manylens::config::{AccessLog, Keys, Network, Requests, Secret};
use manylens::engine::{Backend, reference::Reference};
use manylens::http::{App, Face, Keyring, Lanes, Shared, router};
use manylens::metrics::Metrics;
use manylens::registry::{Limits, Manager, Parts, TaskName, UploadOptions};
use manylens::serving::{self, Serving};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;

/// Without DELETE, so that tasks stay; PUT needs a backbone's fingerprint that no input has.
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
/// The admin key of the server.
const KEY: &str = "fuzz";

struct Server {
    router: Router,
    runtime: Runtime,
    _data_dir: TempDir,
}

static SERVER: LazyLock<Server> = LazyLock::new(server);

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some(request) = request(bytes) else { return Corpus::Reject };
    let Server { router, runtime, .. } = &*SERVER;
    runtime.block_on(async {
        let response = router.clone().oneshot(request).await.expect("a router answers");
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a whole body");
        assert_ne!(status, 500, "{}", String::from_utf8_lossy(&body));
        if status.is_client_error() || status.is_server_error() {
            let error: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert!(error["error_type"].is_string(), "{error}");
        }
    });
    Corpus::Keep
});

fn request(bytes: &[u8]) -> Option<Request<Body>> {
    let end = bytes.windows(2).position(|two| two == b"\n\n")?;
    let mut lines = bytes[..end].split(|&byte| byte == b'\n');
    let (method, path) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let known = Request::builder().method(METHODS.into_iter().find(|known| *known == method)?).uri(path);
    let known = known.header("authorization", format!("Bearer {KEY}"));
    let with = lines.try_fold(known, |request, line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        Some(request.header(&line[..colon], &line[colon + 1..]))
    });
    with?.body(Body::from(bytes[end + 2..].to_vec())).ok()
}

fn server() -> Server {
    let shape = Shape { width: 16, depth: 1, heads: 2, mlp: 32, patch: 8, ..Shape::vit_b16() };
    let (backbone, weights) = backbone::random(shape, 16, 7);
    let backbone = Arc::new(backbone);
    let backend: Arc<dyn Backend> = Arc::new(Reference::<f32>::new(backbone.clone(), weights, 1 << 20));
    let metrics = Arc::new(Metrics::new(vec![]));
    let settings = serving::Settings { decode_threads: 1, bytes_max: 1 << 24, ..Default::default() };
    let serving = Arc::new(Serving::start(backend.clone(), settings, metrics.clone()).expect("it starts"));
    let parts = Parts {
        backbone: backbone.clone(),
        backend,
        prober: serving.clone(),
        metrics: metrics.clone(),
        tokens_max: 64,
        limits: Limits { free_disk_bytes_min: 0, ..Limits::default() },
    };
    let data_dir = tempfile::tempdir().expect("a folder");
    let manager = Arc::new(Manager::open(data_dir.path(), parts).expect("an empty folder"));
    for (name, seed) in [("a", 1), ("a", 2), ("b", 3)] {
        let adapter = adapter::random(&backbone, 3, seed);
        let file = AdapterFile { adapter, probe: None, extra: Default::default() };
        let task = TaskName::parse(name).expect("a name");
        let bytes = write(&file, &Layout::of(&shape));
        manager.upload(&task, &bytes, &UploadOptions::default()).expect("a good adapter");
    }
    let app = App::new(Shared {
        manager,
        serving,
        metrics,
        keys: Keyring::load(&Keys { admin: Some(Secret(KEY.into())), ..Keys::default() }).expect("no files"),
        requests: Requests { body_bytes_max: 1 << 20, rows_max: 8, timeout_max: Duration::from_secs(10) },
        network: network(),
        lanes: Lanes::new(16),
        adapter_bytes_max: 1 << 20,
        access_log: AccessLog::Off,
        draining: AtomicBool::new(false),
    });
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    Server { router: router(&app, Face::Both), runtime, _data_dir: data_dir }
}

fn network() -> Network {
    let timeout = Duration::from_secs(10);
    Network {
        listen: ([127, 0, 0, 1], 0).into(),
        admin_listen: None,
        connections_max: 1,
        idle_timeout: timeout,
        header_timeout: timeout,
        body_timeout: timeout,
        write_timeout: timeout,
    }
}
