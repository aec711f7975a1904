//! The network in our own kernels on the CPU: many tasks in one pass over the weights.
//!
//! Weights are packed once, in bf16 where the processor multiplies it, else in f32. An adapter's rescaling happens
//! while a weight panel is moved to the second-level cache, once per group, so that a mixed batch costs little more
//! than one of a single task. A row's bits depend on its pixels and its adapter alone.

mod attention;
mod batch;
mod buffer;
mod claims;
mod kernel;
mod linear;
mod measure;
mod ops;
mod panels;
mod pool;
mod team;
mod train;
mod weights;

use std::sync::{Arc, OnceLock};

use ndarray::{Array2, s};

use super::budget::{Budget, Reservation};
use super::training::{TrainSettings, Trainable};
use super::{Backend, Description, Engine, EngineError, EngineSettings, Form, Group, Lens, Rates, patches};
use crate::adapter::{Adapter, Layout};
use crate::backbone::{Backbone, PositionTables, Shape, Weights};
use crate::engine;
use crate::vit;
pub use kernel::Kernel;
use kernel::Precision;
use ops::Forward;
use team::Team;
use train::Trainer;
use weights::{Linears, Packed};

/// Tokens per pass: enough rows to pay for moving the weights, few enough for the caches.
const TOKENS_MAX: usize = 2048;

/// The shared half: packed weights and tables.
pub struct Native(Arc<Shared>);

struct Shared {
    backbone: Arc<Backbone>,
    layout: Layout,
    positions: PositionTables,
    packed: Packed,
    /// For the backward pass; made when it is first asked for.
    transposed: OnceLock<Linears>,
    kernel: &'static Kernel,
    threads: usize,
    budget: Arc<Budget>,
}

/// What a merged lens carries.
struct Merged {
    linears: Linears,
    _reserved: Reservation,
}

struct Worker {
    shared: Arc<Shared>,
    team: Team,
}

impl Native {
    /// Packs the weights and drops them.
    pub fn new(backbone: Arc<Backbone>, weights: &Weights, settings: &EngineSettings) -> Result<Self, EngineError> {
        let kernel = choose(settings, &backbone.shape)?;
        let shared = Shared {
            layout: Layout::of(&backbone.shape),
            positions: PositionTables::new(&backbone),
            packed: Packed::pack(kernel, &backbone.shape, weights, settings.threads),
            budget: Budget::new(settings.merge_bytes_max),
            transposed: OnceLock::new(),
            threads: settings.threads,
            kernel,
            backbone,
        };
        Ok(Self(Arc::new(shared)))
    }

    /// Every token `[prefix_tokens + grid_h * grid_w, width]` of one picture after the final norm.
    pub fn tokens(&self, lens: &Lens, picture: &crate::image::Pixels) -> Array2<f32> {
        let mut team = Team::new(self.0.kernel, self.0.threads);
        let batch = [Group { lens, rows: vec![picture] }];
        let groups = self.0.bind(&batch, &[(0, 0..1)]);
        let mut forward = self.0.forward(&mut team, &groups);
        let tokens = vit::forward_tokens(&mut forward, self.0.backbone.shape.depth, &());
        let width = self.0.backbone.shape.width;
        Array2::from_shape_fn((tokens.rows, width), |(row, column)| tokens.float(row, column))
    }
}

/// Names of the kernels that this processor can run, fastest first.
pub fn kernels() -> Vec<&'static str> {
    Kernel::all().iter().filter(|k| k.is_available()).map(|k| k.name).collect()
}

/// The kernel that was asked for, or the best one for this processor and backbone.
fn choose(settings: &EngineSettings, shape: &Shape) -> Result<&'static Kernel, EngineError> {
    let unavailable = |why: String| Err(EngineError::Unavailable(why));
    // A pair of bf16 must not straddle two heads.
    let pairs = shape.head_size().is_multiple_of(2) && shape.mlp.is_multiple_of(2);
    let precision = match settings.precision {
        Some(engine::Precision::F16) => {
            return unavailable(
                "the native engine computes in f32 or bf16; use --precision f32 or leave it out".into(),
            );
        }
        Some(engine::Precision::Bf16) => Some(Precision::Bf16),
        Some(engine::Precision::F32) => Some(Precision::F32),
        None => None,
    };
    let kernel = match &settings.kernel {
        None => Kernel::best(precision.or_else(|| (!pairs).then_some(Precision::F32))),
        Some(name) => match Kernel::named(name) {
            Some(kernel) if kernel.is_available() => Some(kernel),
            _ => {
                let names = kernels().join(", ");
                return unavailable(format!("this processor has no kernel {name}; --kernel takes {names}"));
            }
        },
    };
    match kernel {
        None => unavailable("this processor has no bf16 products (AVX512-BF16); use --precision f32".into()),
        Some(kernel) if kernel.precision == Precision::Bf16 && !pairs => {
            unavailable("bf16 needs an even head size and MLP width; use --precision f32".into())
        }
        Some(kernel) if precision.is_some_and(|p| p != kernel.precision) => {
            let (name, precision) = (kernel.name, engine::Precision::from(kernel.precision).name());
            unavailable(format!("kernel {name} computes in {precision}; leave out --precision or --kernel"))
        }
        Some(kernel) => Ok(kernel),
    }
}

impl Backend for Native {
    fn describe(&self) -> Description {
        let precision = engine::Precision::from(self.0.kernel.precision);
        Description {
            engine: "native".into(),
            precision: precision.name().into(),
            kernel: self.0.kernel.name.into(),
            tolerance: precision.tolerance(),
        }
    }

    fn prepare(&self, adapter: Arc<Adapter>, form: Form) -> Result<Lens, EngineError> {
        if form != Form::Merged {
            return Ok(Lens { adapter, form, prepared: None, prepared_bytes: 0 });
        }
        let bytes = self.0.packed.linears().bytes();
        let reserved = self.0.budget.reserve(bytes)?;
        // One thread: the others are serving.
        let linears = self.0.packed.linears().merged(&self.0.layout, &adapter.rescale, 1);
        let prepared = Arc::new(Merged { linears, _reserved: reserved });
        Ok(Lens { adapter, form, prepared: Some(prepared), prepared_bytes: bytes })
    }

    fn rates(&self, pictures: usize) -> Option<Rates> {
        Some(measure::rates(&self.0, pictures))
    }

    fn start(&self) -> Result<Box<dyn Engine>, EngineError> {
        let team = Team::new(self.0.kernel, self.0.threads);
        Ok(Box::new(Worker { shared: self.0.clone(), team }))
    }

    fn trainable(&self, settings: &TrainSettings) -> Result<Box<dyn Trainable>, EngineError> {
        Ok(Box::new(Trainer::new(self.0.clone(), *settings)))
    }
}

impl Engine for Worker {
    fn run(&mut self, batch: &[Group<'_>]) -> Result<Vec<Array2<f32>>, EngineError> {
        let shape = &self.shared.backbone.shape;
        let sizes: Vec<_> = batch.iter().map(|g| (g.rows.len(), tokens(g, shape))).collect();
        let features = |g: &Group<'_>| Array2::zeros((g.rows.len(), 2 * shape.width));
        let mut answers: Vec<_> = batch.iter().map(features).collect();
        for pass in batch::passes(&sizes, TOKENS_MAX) {
            let groups = self.shared.bind(batch, &pass);
            let features = vit::forward(&mut self.shared.forward(&mut self.team, &groups), shape.depth, &());
            let mut first = 0;
            for (group, rows) in pass {
                let end = first + rows.len();
                answers[group].slice_mut(s![rows, ..]).assign(&features.slice(s![first..end, ..]));
                first = end;
            }
        }
        Ok(answers)
    }
}

fn tokens(group: &Group<'_>, shape: &Shape) -> usize {
    let (height, width) = group.rows[0].size();
    shape.tokens(height, width)
}

impl Shared {
    fn forward<'a>(&'a self, team: &'a mut Team, groups: &'a [batch::Group<'a>]) -> Forward<'a> {
        Forward { team, shape: &self.backbone.shape, layout: &self.layout, packed: &self.packed, groups }
    }

    /// The pieces of a batch as one pass.
    fn bind<'a>(&self, batch: &'a [Group<'a>], pieces: &[batch::Piece]) -> Vec<batch::Group<'a>> {
        let shape = &self.backbone.shape;
        let (mut first, mut first_patch) = (0, 0);
        let piece = |(index, rows): &batch::Piece| {
            let group = &batch[*index];
            let lens = group.lens;
            let grid = patches::grid(group.rows[0], shape.patch);
            let merged = lens.prepared.as_ref().and_then(|p| p.downcast_ref::<Merged>());
            let bound = batch::Group {
                rows: &group.rows[rows.clone()],
                preprocess: &lens.adapter.preprocess,
                grid,
                positions: self.positions.get(lens.adapter.position_rule, grid),
                vector: (lens.form != Form::Bare).then_some(&*lens.adapter.rescale),
                merged: merged.map(|m| &m.linears),
                tokens: tokens(group, shape),
                first,
                first_patch,
            };
            first = bound.range().end;
            first_patch += bound.patches();
            bound
        };
        pieces.iter().map(piece).collect()
    }
}
