use std::sync::{Arc, Mutex, PoisonError};

use super::{Backbone, PositionRule};

/// Tables kept at once; a server meets a handful of picture sizes.
const TABLES_MAX: usize = 64;

type Key = (PositionRule, (usize, usize));

/// Position tables resampled to the grids that pictures need, each computed once.
pub struct PositionTables {
    stored: Arc<[f32]>,
    grid: (usize, usize),
    width: usize,
    resampled: Mutex<Vec<(Key, Arc<[f32]>)>>,
}

impl PositionTables {
    /// Tables of this backbone.
    pub fn new(backbone: &Backbone) -> Self {
        Self {
            stored: backbone.position_table.clone(),
            grid: backbone.stored_grid,
            width: backbone.shape.width,
            resampled: Mutex::default(),
        }
    }

    /// The rows `[grid_h * grid_w, width]` for that grid; the stored table itself when the grid is the stored one.
    pub fn get(&self, rule: PositionRule, grid: (usize, usize)) -> Arc<[f32]> {
        if grid == self.grid {
            return self.stored.clone();
        }
        let key = (rule, grid);
        let mut tables = self.resampled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, table)) = tables.iter().find(|(k, _)| *k == key) {
            return table.clone();
        }
        if tables.len() == TABLES_MAX {
            tables.remove(0);
        }
        let table = resample(&self.stored, self.grid, grid, self.width, rule);
        tables.push((key, table.clone()));
        table
    }
}

/// One output position: which stored positions it mixes, with weights that add up to 1.
type Taps = Vec<(usize, f64)>;

/// Resamples columns, then rows.
fn resample(
    table: &[f32],
    (rows, columns): (usize, usize),
    (out_rows, out_columns): (usize, usize),
    width: usize,
    rule: PositionRule,
) -> Arc<[f32]> {
    let across = taps(rule, columns, out_columns);
    let down = taps(rule, rows, out_rows);
    let mut wide = vec![0.0; rows * out_columns * width];
    for (row, wide) in table.chunks_exact(columns * width).zip(wide.chunks_exact_mut(out_columns * width)) {
        mix(row, &across, wide, width);
    }
    let mut out = vec![0.0; out_rows * out_columns * width];
    mix(&wide, &down, &mut out, out_columns * width);
    #[expect(clippy::cast_possible_truncation, reason = "sums are rounded to f32 once, at the end")]
    out.iter().map(|&v: &f64| v as f32).collect()
}

/// Weighted sums of `source`'s rows, `width` values each.
fn mix<T: Copy + Into<f64>>(source: &[T], taps: &[Taps], out: &mut [f64], width: usize) {
    for (out, taps) in out.chunks_exact_mut(width).zip(taps) {
        for &(at, weight) in taps {
            for (out, &value) in out.iter_mut().zip(&source[at * width..]) {
                *out += weight * value.into();
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "grids are far smaller than 2^52")]
fn taps(rule: PositionRule, stored: usize, wanted: usize) -> Vec<Taps> {
    let (n, m) = (stored as f64, wanted as f64);
    let each = |taps: &dyn Fn(f64) -> Taps| (0..wanted).map(|i| taps(i as f64)).collect();
    match rule {
        PositionRule::BicubicSize => each(&|i| bicubic((i + 0.5) * n / m - 0.5, stored)),
        PositionRule::BicubicOffset => each(&|i| bicubic((i + 0.5) * n / (m + 0.1) - 0.5, stored)),
        PositionRule::BicubicAntialias => each(&|i| antialiased((i + 0.5) * n / m, (n / m).max(1.0), stored)),
        PositionRule::BilinearCorners => each(&|i| bilinear(i * (n - 1.0) / (m - 1.0).max(1.0), stored)),
    }
}

/// The cubic convolution kernel of Keys.
fn cubic(a: f64, x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((x - 5.0) * x + 8.0) * x * a - 4.0 * a
    } else {
        0.0
    }
}

/// Four taps around `at`, edges repeated (PyTorch's bicubic, a = -0.75).
fn bicubic(at: f64, stored: usize) -> Taps {
    let first = at.floor() - 1.0;
    (0..4).map(|k| first + f64::from(k)).map(|x| (clamp(x, stored), cubic(-0.75, at - x))).collect()
}

/// Pillow's and PyTorch's antialiased bicubic (a = -0.5): the kernel widens by `scale`, edges are left out.
fn antialiased(center: f64, scale: f64, stored: usize) -> Taps {
    let first = clamp((center - 2.0 * scale + 0.5).floor(), stored);
    let end = clamp((center + 2.0 * scale + 0.5).floor() - 1.0, stored) + 1;
    #[expect(clippy::cast_precision_loss, reason = "grids are far smaller than 2^52")]
    let weight = |i: usize| cubic(-0.5, (i as f64 + 0.5 - center) / scale);
    let sum: f64 = (first..end).map(weight).sum();
    (first..end).map(|i| (i, weight(i) / sum)).collect()
}

fn bilinear(at: f64, stored: usize) -> Taps {
    let part = at - at.floor();
    vec![(clamp(at.floor(), stored), 1.0 - part), (clamp(at.floor() + 1.0, stored), part)]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a grid's positions first")]
fn clamp(at: f64, stored: usize) -> usize {
    (at.max(0.0) as usize).min(stored - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [PositionRule; 4] = [
        PositionRule::BicubicSize,
        PositionRule::BicubicAntialias,
        PositionRule::BicubicOffset,
        PositionRule::BilinearCorners,
    ];

    #[test]
    fn weights_of_every_output_add_up_to_one() {
        for rule in RULES {
            for (stored, wanted) in [(37, 8), (8, 37), (14, 24), (5, 1), (1, 5), (16, 16)] {
                for taps in taps(rule, stored, wanted) {
                    let sum: f64 = taps.iter().map(|(_, w)| w).sum();
                    assert!((sum - 1.0).abs() < 1e-12, "{rule:?} {stored} {wanted} {sum}");
                    assert!(taps.iter().all(|&(at, _)| at < stored));
                }
            }
        }
    }

    #[test]
    fn rows_and_columns_are_not_swapped() {
        let table: Vec<f32> = [0.0, 1.0, 2.0].iter().flat_map(|&row| [row; 2]).collect();
        let out = resample(&table, (3, 2), (5, 2), 1, PositionRule::BilinearCorners);
        assert_eq!(&out[..], [0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0]);
    }
}
