//! One batch of ViT-Ti/16 at 64 pixels through every engine, random weights: `cargo bench --bench engine`. Small enough
//! to see what is not matrix products; `manylens bench` measures real sizes.

use std::sync::Arc;

use divan::Bencher;
use manylens::engine::onnx::OnnxSettings;
use manylens::engine::{self, Engine, EngineKind, EngineSettings, Form, Group, Lens};
use manylens::image::Pixels;
use manylens::random::Random;
use manylens::{adapter, backbone};

const SIDE: usize = 64;

fn main() {
    divan::main();
}

#[divan::bench(args = cases())]
fn batch(bencher: Bencher, (kind, form, rows): (EngineKind, Form, usize)) {
    let (mut engine, lens) = match ready(kind, form) {
        Ok(ready) => ready,
        Err(why) => return eprintln!("{kind} is left out: {why}"),
    };
    let picture = picture();
    bencher.bench_local(|| engine.run(&[Group { lens: &lens, rows: vec![&picture; rows] }]));
}

fn cases() -> impl Iterator<Item = (EngineKind, Form, usize)> {
    let forms = [Form::Rescaled, Form::Merged];
    let kinds = EngineKind::ALL.into_iter().flat_map(move |kind| forms.map(|form| (kind, form)));
    kinds.flat_map(|(kind, form)| [1, 8].map(|rows| (kind, form, rows)))
}

fn ready(kind: EngineKind, form: Form) -> Result<(Box<dyn Engine>, Lens), engine::EngineError> {
    let (_, shape) = backbone::Shape::NAMED[0];
    let (backbone, weights) = backbone::random(shape, SIDE, 1);
    let backbone = Arc::new(backbone);
    let settings = EngineSettings {
        onnxruntime_lib: None,
        cache_dir: "cache".into(),
        precision: None,
        kernel: None,
        onnx: OnnxSettings::default(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        merge_bytes_max: usize::MAX,
    };
    let backend = engine::open(kind, backbone.clone(), weights, &settings)?;
    let lens = backend.prepare(Arc::new(adapter::random(&backbone, 10, 1)), form)?;
    Ok((backend.start()?, lens))
}

fn picture() -> Pixels {
    Pixels::U8 { height: SIDE, width: SIDE, data: Random::seeded(1).bytes(SIDE * SIDE * 3).into() }
}
