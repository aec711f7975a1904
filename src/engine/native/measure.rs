//! How near the linear layers come to what the machine can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::batch::Group;
use super::buffer::{Matrix, pitch};
use super::team::Team;
use super::{Rates, Shared};
use crate::adapter;
use crate::engine::{self, Form, Lens};
use crate::image::Pixels;
use crate::vit::{Layer, LinearAt, Ops, Then};

/// Peak and linear layers take turns this often; the medians count, since other work comes and goes.
const ROUNDS: usize = 9;
/// Turns of the register loop that take about 10 ms.
const TURNS: usize = 1_000_000;

/// Measures with that many pictures of one task, of the backbone's own size.
pub fn rates(shared: &Shared, pictures: usize) -> Rates {
    let mut team = Team::new(shared.kernel, shared.threads);
    let backbone = &shared.backbone;
    let adapter = Arc::new(adapter::random(backbone, 1, 0));
    let lens = Lens { adapter, form: Form::Rescaled, prepared: None, prepared_bytes: 0 };
    let side = backbone.image_size;
    let picture = Pixels::U8 { height: side, width: side, data: vec![0; 3 * side * side].into() };
    let batch = [engine::Group { lens: &lens, rows: vec![&picture; pictures] }];
    let groups = shared.bind(&batch, &[(0, 0..pictures)]);
    let (mut peaks, mut linears) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let peak = peak(&mut team);
        let linear = linear(shared, &mut team, &groups);
        // The first round faults memory in.
        if round > 0 {
            peaks.push(peak);
            linears.push(linear);
        }
    }
    Rates { peak_gflops: median(peaks), linear_gflops: median(linears) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn peak(team: &mut Team) -> f64 {
    let kernel = team.kernel();
    let operations = AtomicU64::new(0);
    let start = Instant::now();
    team.run(0, &|_| {
        operations.fetch_add(kernel.spin(TURNS), Ordering::Relaxed);
    });
    gflops(operations.into_inner(), start.elapsed())
}

/// Every linear layer of the backbone once, each with its own weights, so that they come from memory as in a forward
/// pass.
fn linear(shared: &Shared, team: &mut Team, groups: &[Group<'_>]) -> f64 {
    let shape = &shared.backbone.shape;
    let tokens = groups.last().map_or(0, |g| g.range().end);
    let size = size_of::<u32>() / team.kernel().precision.per_word();
    let arena = team.arena.clone();
    let narrow = Matrix::take(&arena, tokens, pitch(shape.width), size);
    let residual = Matrix::take(&arena, tokens, pitch(shape.width), size_of::<f32>());
    let mut forward = shared.forward(team, groups);
    let start = Instant::now();
    for block in 0..shape.depth {
        forward.qkv(&narrow, block);
        forward.linear(&narrow, LinearAt { block, layer: Layer::Proj }, Then::Add(&residual));
        let wide = forward.linear(&narrow, LinearAt { block, layer: Layer::Fc1 }, Then::Activate);
        forward.linear(&wide, LinearAt { block, layer: Layer::Fc2 }, Then::Add(&residual));
    }
    let weights = shape.depth * (4 * shape.width + 2 * shape.mlp) * shape.width;
    gflops((2 * weights * tokens) as u64, start.elapsed())
}

#[expect(clippy::cast_precision_loss, reason = "a rate of three digits")]
fn gflops(operations: u64, time: Duration) -> f64 {
    operations as f64 / time.as_secs_f64() / 1e9
}
