use super::config::Stated;
use super::error::BackboneProblem;
use super::inventory::Inventory;
use super::names::{Arrangement, Half, Part, Slot};
use super::{Activation, LoadOptions, Shape};
use crate::vit::Layer;

/// More blocks than any ViT has, so that a name like `blocks.99999999.` cannot ask for a list of missing tensors.
const DEPTH_MAX: usize = 1_024;
/// Larger than any ViT's sizes, and small enough that no product of a few of them overflows.
const SIZE_MAX: usize = 1 << 16;

/// Sizes of the network as its tensors and config.json tell, every one checked.
pub(super) struct Plan {
    pub shape: Shape,
    /// Rows and columns of the position table.
    pub grid: (usize, usize),
    /// Rows of the position table before the grid: none, CLS's, or one for every prefix token.
    pub position_rows: usize,
    pub layer_scale: bool,
    pub qkv_bias: bool,
    /// What was concluded rather than read.
    pub assumed: Vec<String>,
}

/// Compares the inventory with what a whole backbone needs; every fault at once.
pub(super) fn plan(
    inventory: &Inventory,
    stated: &Stated,
    options: &LoadOptions,
) -> Result<Plan, Vec<BackboneProblem>> {
    let mut survey =
        Survey { inventory, stated, problems: inventory.problems.clone(), assumed: stated.assumed.clone() };
    let plan = survey.sizes(options).and_then(|sizes| survey.complete(sizes));
    survey.problems.sort();
    match plan {
        Some(plan) if survey.problems.is_empty() => Ok(Plan { assumed: survey.assumed, ..plan }),
        _ => Err(survey.problems),
    }
}

struct Survey<'a> {
    inventory: &'a Inventory,
    stated: &'a Stated,
    problems: Vec<BackboneProblem>,
    assumed: Vec<String>,
}

const PATCHES: Slot = Slot { part: Part::PatchEmbed, block: 0, half: Half::Weight };
const CLS: Slot = Slot { part: Part::ClsToken, block: 0, half: Half::Whole };
const REGISTERS: Slot = Slot { part: Part::Registers, block: 0, half: Half::Whole };
const POSITIONS: Slot = Slot { part: Part::Positions, block: 0, half: Half::Whole };

impl Survey<'_> {
    fn problem(&mut self, place: impl Into<String>, problem: impl Into<String>) {
        self.problems.push(BackboneProblem::new(place, problem));
    }

    /// What the anchors' shapes and config.json say; `None` when too little is there to go on.
    fn sizes(&mut self, options: &LoadOptions) -> Option<Shape> {
        let (width, channels, patch) = self.patch_embed()?;
        let depth = self.depth();
        let mlp = self.mlp().or(self.stated.mlp).unwrap_or(width);
        let registers = self.inventory.shape(REGISTERS).and_then(|s| s.get(1)).copied().unwrap_or(0);
        let cls = usize::from(self.inventory.slots.contains_key(&CLS));
        let stated = self.stated;
        for (what, size) in [
            ("width", width),
            ("MLP size", mlp),
            ("patch size", patch),
            ("channels", channels),
            ("registers", registers),
        ] {
            if size > SIZE_MAX {
                self.problem(what, format!("is {size}, at most {SIZE_MAX} is supported"));
                return None;
            }
        }
        self.agree("width", stated.width, width);
        self.agree("number of blocks", stated.depth, depth);
        self.agree("MLP size", stated.mlp, mlp);
        self.agree("patch size", stated.patch, patch);
        self.agree("number of channels", stated.channels, channels);
        self.agree("number of register tokens", stated.registers, registers);
        if registers > 0 && cls == 0 {
            self.problem(self.inventory.name(REGISTERS), "register tokens without a class token are not supported");
        }
        let heads = self.heads(width, options)?;
        let (eps, activation) = (self.eps(options), self.activation());
        Some(Shape { width, depth, heads, mlp, patch, channels, prefix_tokens: cls + registers, eps, activation })
    }

    fn patch_embed(&mut self) -> Option<(usize, usize, usize)> {
        let shape = self.inventory.shape(PATCHES)?;
        let sizes = match (self.inventory.spelling.arrangement, shape) {
            (Arrangement::Torch, &[width, channels, h, w]) | (Arrangement::Flax, &[h, w, channels, width]) => {
                Some((width, channels, h)).filter(|_| h == w && width > 0 && channels > 0 && h > 0)
            }
            _ => None,
        };
        if sizes.is_none() {
            let problem = format!("has shape {shape:?}; a convolution with square patches is expected");
            self.problem(self.inventory.name(PATCHES), problem);
        }
        sizes
    }

    fn depth(&mut self) -> usize {
        let blocks = self.inventory.slots.keys().filter(|slot| slot.part.is_inner()).map(|slot| slot.block);
        let found = blocks.max().map_or(0, |last| last.saturating_add(1));
        let depth = found.max(self.stated.depth.unwrap_or(0));
        if depth == 0 || depth > DEPTH_MAX {
            self.problem("number of blocks", format!("is {depth}; 1 to {DEPTH_MAX} are supported"));
        }
        depth.min(DEPTH_MAX)
    }

    fn mlp(&self) -> Option<usize> {
        let part = Part::Linear(Layer::Fc1);
        let shape = self.inventory.shape(Slot { part, block: 0, half: Half::Weight })?;
        match self.inventory.spelling.arrangement {
            Arrangement::Torch => shape.first().copied(),
            Arrangement::Flax => shape.last().copied(),
        }
    }

    fn agree(&mut self, what: &str, stated: Option<usize>, found: usize) {
        if let Some(stated) = stated.filter(|&stated| stated != found) {
            self.problem(what, format!("config.json says {stated}, the tensors say {found}"));
        }
    }

    fn heads(&mut self, width: usize, options: &LoadOptions) -> Option<usize> {
        let heads = options.heads.or(self.stated.heads).or_else(|| self.heads_of_kernel());
        match heads {
            None => self.problem(
                "number of heads",
                "neither config.json nor the tensors state it; say it with --heads (usually width / 64)",
            ),
            Some(heads) if heads == 0 || !width.is_multiple_of(heads) => {
                self.problem("number of heads", format!("{heads} does not divide the width {width}"));
            }
            Some(heads) => {
                if let Some(stated) = self.stated.heads.filter(|&stated| stated != heads) {
                    self.assumed.push(format!("{heads} heads, as --heads says (config.json: {stated})"));
                }
                return Some(heads);
            }
        }
        // Any divisor lets the tensors be checked too.
        Some(1)
    }

    /// Flax kernels keep the heads as an axis.
    fn heads_of_kernel(&self) -> Option<usize> {
        let slot = Slot { part: Part::Linear(Layer::Q), block: 0, half: Half::Weight };
        let flax = self.inventory.spelling.arrangement == Arrangement::Flax;
        self.inventory.shape(slot).filter(|_| flax)?.get(1).copied()
    }

    fn eps(&mut self, options: &LoadOptions) -> f64 {
        let eps = match (options.layer_norm_eps, self.stated.eps) {
            (Some(eps), Some(stated)) => {
                self.assumed
                    .push(format!("layer_norm_eps {eps:e}, as --layer-norm-eps says (config.json: {stated:e})"));
                eps
            }
            (Some(eps), None) | (None, Some(eps)) => eps,
            (None, None) => {
                let eps = self.inventory.spelling.default_eps;
                self.assumed.push(format!("layer_norm_eps {eps:e}, the default of {}", self.inventory.spelling.name));
                eps
            }
        };
        if !(eps > 0.0 && eps < 1.0) {
            self.problem("layer_norm_eps", format!("is {eps}; it must lie between 0 and 1"));
        }
        eps
    }

    fn activation(&mut self) -> Activation {
        self.stated.activation.unwrap_or_else(|| {
            self.assumed.push("activation gelu (erf), which is not stated".into());
            Activation::Gelu
        })
    }

    /// Checks every tensor against the sizes.
    fn complete(&mut self, shape: Shape) -> Option<Plan> {
        let layer_scale = self.inventory.slots.keys().any(|slot| matches!(slot.part, Part::LayerScale(_)));
        let qkv_bias = self.qkv_bias();
        for slot in self.required(&shape, layer_scale, qkv_bias) {
            self.check(slot, &file_shape(slot, &shape, self.inventory.spelling.arrangement));
        }
        let (position_rows, grid) = self.positions(&shape)?;
        Some(Plan { shape, grid, position_rows, layer_scale, qkv_bias, assumed: Vec::new() })
    }

    /// Whether q, k and v have biases. A checkpoint without a single one has none by design, unless its config says
    /// that it should.
    fn qkv_bias(&mut self) -> bool {
        let is_qkv = |part| matches!(part, Part::Qkv | Part::Linear(Layer::Q | Layer::K | Layer::V));
        let found = self.inventory.slots.keys().any(|slot| is_qkv(slot.part) && slot.half == Half::Bias);
        if !found && self.stated.qkv_bias != Some(true) {
            self.assumed.push("q, k and v have no biases in this checkpoint: zeros".into());
            return false;
        }
        true
    }

    fn required(&self, shape: &Shape, layer_scale: bool, qkv_bias: bool) -> Vec<Slot> {
        let whole = |part, block| vec![Slot { part, block, half: Half::Whole }];
        let both = |part, block| [Half::Weight, Half::Bias].map(|half| Slot { part, block, half }).to_vec();
        let weight = |part, block| vec![Slot { part, block, half: Half::Weight }];
        let qkv: &[Part] = match self.inventory.spelling.is_fused() {
            true => &[Part::Qkv],
            false => &[Part::Linear(Layer::Q), Part::Linear(Layer::K), Part::Linear(Layer::V)],
        };
        let mut slots = [both(Part::PatchEmbed, 0), both(Part::Norm, 0)].concat();
        if shape.prefix_tokens > 0 || self.inventory.spelling.needs_cls {
            slots.extend(whole(Part::ClsToken, 0));
        }
        if self.inventory.slots.contains_key(&REGISTERS) {
            slots.push(REGISTERS);
        }
        for block in 0..shape.depth {
            for part in
                [Part::Norm1, Part::Norm2].into_iter().chain([Layer::Proj, Layer::Fc1, Layer::Fc2].map(Part::Linear))
            {
                slots.extend(both(part, block));
            }
            for &part in qkv {
                slots.extend(if qkv_bias { both(part, block) } else { weight(part, block) });
            }
            if layer_scale {
                slots.extend([Layer::Proj, Layer::Fc2].into_iter().flat_map(|l| whole(Part::LayerScale(l), block)));
            }
        }
        slots
    }

    fn check(&mut self, slot: Slot, expected: &[usize]) {
        match self.inventory.shape(slot) {
            None => self.problem(self.inventory.name(slot), format!("missing; shape {expected:?} is expected")),
            Some(found) if found != expected => {
                let problem = format!("has shape {found:?}; {expected:?} is expected");
                self.problem(self.inventory.name(slot), problem);
            }
            Some(_) => {}
        }
    }

    /// Prefix rows and grid of the position table: the grid is the picture's in patches, else a square.
    fn positions(&mut self, shape: &Shape) -> Option<(usize, (usize, usize))> {
        let name = self.inventory.name(POSITIONS);
        let rows = match self.inventory.shape(POSITIONS) {
            Some(&[1, rows, width]) if width == shape.width => rows,
            found => {
                let found = found.map_or("missing".into(), |found| format!("has shape {found:?}"));
                self.problem(name, format!("{found}; [1, positions, {}] is expected", shape.width));
                return None;
            }
        };
        let allowed: &[usize] = match (self.inventory.spelling.needs_cls, shape.prefix_tokens) {
            (true, _) => &[1],
            (_, 0) => &[0],
            (false, prefix) => &[prefix, 1, 0],
        };
        let stated = self.stated.image.map(|(height, width)| (height / shape.patch, width / shape.patch));
        let grids = allowed.iter().filter_map(|&prefix| Some((prefix, rows.checked_sub(prefix).filter(|&n| n > 0)?)));
        let grids: Vec<_> = grids.collect();
        let fits = |n| stated.filter(|(h, w)| h.checked_mul(*w) == Some(n));
        let of_picture = grids.iter().find_map(|&(prefix, n)| Some((prefix, fits(n)?)));
        let found = of_picture.or_else(|| grids.iter().find_map(|&(prefix, n)| Some((prefix, square(n)?))));
        if found.is_none() {
            self.problem(name, format!("has {rows} rows, which is no grid of patches after the prefix tokens"));
        } else if let Some((height, width)) = stated.filter(|_| of_picture.is_none()) {
            self.assumed.push(format!(
                "the position table's own grid; config.json's picture size would be {height} x {width} patches"
            ));
        }
        found
    }
}

fn square(n: usize) -> Option<(usize, usize)> {
    let side = n.isqrt();
    (side * side == n).then_some((side, side))
}

/// The shape that a file of this arrangement has at a place.
fn file_shape(slot: Slot, shape: &Shape, arrangement: Arrangement) -> Vec<usize> {
    let &Shape { width, mlp, patch, channels, heads, .. } = shape;
    let flax = arrangement == Arrangement::Flax;
    let head = width / heads;
    let matrix = |outputs: usize, inputs: usize| match (slot.half, flax) {
        (Half::Weight, false) => vec![outputs, inputs],
        (Half::Weight, true) => vec![inputs, outputs],
        _ => vec![outputs],
    };
    match slot.part {
        Part::PatchEmbed if slot.half == Half::Bias => vec![width],
        Part::PatchEmbed if flax => vec![patch, patch, channels, width],
        Part::PatchEmbed => vec![width, channels, patch, patch],
        Part::ClsToken => vec![1, 1, width],
        Part::Registers => vec![1, shape.prefix_tokens.saturating_sub(1), width],
        // Its rows are what the grid is found from.
        Part::Positions => Vec::new(),
        Part::Norm | Part::Norm1 | Part::Norm2 | Part::LayerScale(_) => vec![width],
        Part::Qkv => matrix(3 * width, width),
        Part::Linear(Layer::Q | Layer::K | Layer::V) if flax => match slot.half {
            Half::Weight => vec![width, heads, head],
            _ => vec![heads, head],
        },
        Part::Linear(Layer::Proj) if flax && slot.half == Half::Weight => vec![heads, head, width],
        Part::Linear(Layer::Q | Layer::K | Layer::V | Layer::Proj) => matrix(width, width),
        Part::Linear(Layer::Fc1) => matrix(mlp, width),
        Part::Linear(Layer::Fc2) => matrix(width, mlp),
    }
}
