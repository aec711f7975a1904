use std::ops::Range;

use super::filter::{FRACTION_BITS, Filter, Taps, nearest};
use super::geometry::Plan;
use super::kernels;
use super::picture::{MARGIN, Rows};
use super::preprocess::Preprocess;

/// The final picture, `[side, side, 3]`.
///
/// Two passes over bytes with fixed-point weights, each rounded to bytes: Pillow's `ImagingResample`. A pass is
/// computed where the window needs it and nowhere else.
pub(super) fn resample(rows: &Rows<'_>, plan: &Plan, preprocess: &Preprocess) -> Vec<u8> {
    let window = if plan.horizontal.window.is_empty() || plan.vertical.window.is_empty() {
        Vec::new()
    } else {
        match Filter::of(preprocess.interpolation) {
            None => sample(rows, plan),
            Some(filter) => filtered(rows, plan, filter, preprocess.antialias),
        }
    };
    let side = plan.side;
    if window.len() == 3 * side * side {
        return window;
    }
    on_canvas(&window, plan, preprocess.pad_color.unwrap_or_default())
}

fn filtered(rows: &Rows<'_>, plan: &Plan, filter: Filter, antialias: bool) -> Vec<u8> {
    let across = Taps::new(&plan.horizontal, filter, antialias);
    let down = Taps::new(&plan.vertical, filter, antialias);
    let mut window = vec![0; 3 * plan.horizontal.window.len() * plan.vertical.window.len()];
    if plan.vertical_first {
        vertical_first(rows, across, &down, &mut window);
    } else {
        horizontal_first(rows, &across, &down, &mut window);
    }
    window
}

fn horizontal_first(rows: &Rows<'_>, across: &Taps, down: &Taps, window: &mut [u8]) {
    let stride = 3 * across.iter().len();
    let mut scratch = Vec::new();
    let mut narrowed = Band::new(stride, down);
    for ((first, weights), out) in down.iter().zip(window.chunks_exact_mut(stride)) {
        let lines = narrowed.lines(first, weights.len(), |y, line| {
            kernels::horizontal(rows.row(y, &mut scratch), across, line);
        });
        kernels::vertical(lines, weights, out);
    }
}

fn vertical_first(rows: &Rows<'_>, across: Taps, down: &Taps, window: &mut [u8]) {
    let columns = across.span();
    let (stride, across) = (3 * columns.len(), across.from(columns.start));
    let mut scratch = Vec::new();
    let mut source = Band::new(stride, down);
    let mut line = vec![0; stride + MARGIN];
    for ((first, weights), out) in down.iter().zip(window.chunks_exact_mut(3 * across.iter().len())) {
        let lines = source.lines(first, weights.len(), |y, line| {
            line.copy_from_slice(&rows.row(y, &mut scratch)[3 * columns.start..3 * columns.end]);
        });
        kernels::vertical(lines, weights, &mut line[..stride]);
        kernels::horizontal(&line, &across, out);
    }
}

/// The few adjacent lines that one output line is made of, kept while the next ones need them: small enough to stay
/// in the first cache, whatever the picture's height.
struct Band {
    stride: usize,
    lines: Vec<u8>,
    /// Picture rows that `lines` holds from `begin` on.
    held: Range<usize>,
    begin: usize,
}

impl Band {
    fn new(stride: usize, down: &Taps) -> Self {
        let most = down.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        Self { stride, lines: vec![0; 2 * most * stride], held: 0..0, begin: 0 }
    }

    /// Lines `first..first + count`, which never move up; new ones are written by `make`.
    fn lines(&mut self, first: usize, count: usize, mut make: impl FnMut(usize, &mut [u8])) -> &[u8] {
        let kept = first.min(self.held.end).max(self.held.start);
        self.begin += (kept - self.held.start) * self.stride;
        self.held = if kept < self.held.end { kept..self.held.end } else { first..first };
        if self.begin + count * self.stride > self.lines.len() {
            self.lines.copy_within(self.begin..self.begin + self.held.len() * self.stride, 0);
            self.begin = 0;
        }
        for y in self.held.end..first + count {
            let at = self.begin + (y - self.held.start) * self.stride;
            make(y, &mut self.lines[at..at + self.stride]);
            self.held.end = y + 1;
        }
        &self.lines[self.begin..self.begin + count * self.stride]
    }
}

fn sample(rows: &Rows<'_>, plan: &Plan) -> Vec<u8> {
    let columns = nearest(&plan.horizontal);
    let mut window = Vec::with_capacity(3 * columns.len() * plan.vertical.window.len());
    let mut scratch = Vec::new();
    for y in nearest(&plan.vertical) {
        let row = rows.row(y, &mut scratch);
        for &x in &columns {
            window.extend_from_slice(&row[3 * x..3 * x + 3]);
        }
    }
    window
}

/// The window in its place on a square of `color`.
fn on_canvas(window: &[u8], plan: &Plan, color: [u8; 3]) -> Vec<u8> {
    let side = plan.side;
    let mut canvas = color.repeat(side * side);
    let (left, top) = (plan.horizontal.offset, plan.vertical.offset);
    let stride = 3 * plan.horizontal.window.len();
    if stride > 0 {
        for (row, line) in window.chunks_exact(stride).zip(canvas.chunks_exact_mut(3 * side).skip(top)) {
            line[3 * left..3 * left + stride].copy_from_slice(row);
        }
    }
    canvas
}

/// The rounding half of the fixed-point sums.
pub(super) const HALF: i32 = 1 << (FRACTION_BITS - 1);
