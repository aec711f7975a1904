use super::fake::adapter;
use super::*;
use crate::adapter::{Adapter, Head, Layout};
use crate::backbone::{self, Activation, Shape};
use crate::engine::reference::Reference;
use crate::engine::{Form, Group, Lens, head};
use crate::image::{Pixels, Preset};
use crate::registry::TaskName;

const SHAPE: Shape = Shape {
    width: 8,
    depth: 2,
    heads: 2,
    mlp: 16,
    patch: 4,
    channels: 3,
    prefix_tokens: 1,
    eps: 1e-6,
    activation: Activation::Gelu,
};

fn backend() -> Arc<dyn Backend> {
    let (backbone, weights) = backbone::random(SHAPE, 8, 1);
    Arc::new(Reference::<f32>::new(Arc::new(backbone), weights, 0))
}

/// An adapter whose every parameter depends on `seed`.
fn tuned(seed: usize, side: usize, classes: usize) -> Adapter {
    let wave = |i: usize| ((i * 7 + seed * 13) % 19) as f32 / 19.0 - 0.5;
    let rescale = (0..Layout::of(&SHAPE).len()).map(|i| 1.0 + 0.5 * wave(i)).collect();
    let weight = (0..classes * SHAPE.width).map(|i| wave(i + 5)).collect();
    let head = Head { weight, bias: (0..classes).map(wave).collect() };
    let labels = (0..classes).map(|i| i.to_string()).collect();
    Adapter { rescale, head, labels, preprocess: Preset::Vtab.at(side), ..adapter(0.0, side) }
}

fn tuned_version(backend: &dyn Backend, task: &str, adapter: Adapter) -> Arc<Version> {
    let lens = backend.prepare(Arc::new(adapter), Form::Rescaled).unwrap();
    Arc::new(Version { task: TaskName::parse(task).unwrap(), number: 1, hash: "sha256:0".into(), lens })
}

/// What the engine says of one row by itself.
fn alone(backend: &dyn Backend, lens: &Lens, pixels: &Pixels) -> Vec<f32> {
    let features = backend.start().unwrap().run(&[Group { lens, rows: vec![pixels] }]).unwrap();
    head::logits(&lens.adapter, features[0].as_slice().unwrap())
}

#[tokio::test]
async fn an_answer_does_not_depend_on_the_batch_that_it_was_made_in() {
    let backend = backend();
    let metrics = Arc::new(Metrics::new(vec![]));
    let settings = Settings { batch_rows_max: 9, batch_delay_max: Duration::from_secs(20), ..settings() };
    let serving = Serving::start_with(Arc::new(FakeDecode::default()), backend.clone(), settings, metrics).unwrap();
    let versions = [(1, "a", 8, 2), (2, "b", 12, 3), (3, "c", 8, 5)];
    let versions =
        versions.map(|(seed, task, side, classes)| tuned_version(&*backend, task, tuned(seed, side, classes)));
    let request = Request {
        pictures: [10, 90, 250].map(|value: u8| Bytes::copy_from_slice(&[value])).to_vec(),
        versions: versions.to_vec(),
        deadline: None,
        permits: serving.admit_rows(3, &versions).unwrap(),
        bytes_permit: serving.reserve_bytes(3).unwrap(),
    };
    let rows = serving.classify(request).await;
    assert!(rows.iter().all(|row| row.batch_rows == 9), "all rows meet in one batch");
    for row in &rows {
        let lens = &versions[row.version].lens;
        let pixels = picture([10, 90, 250][row.picture], lens.adapter.preprocess.final_size());
        assert_eq!(row.result.as_ref().unwrap(), &alone(&*backend, lens, &pixels), "bit for bit");
    }
}
