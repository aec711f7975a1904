//! How many threads may share a matrix product without making a row's sums depend on the rows beside it.
//!
//! ONNX Runtime's SGEMM over weights that are not prepacked (MLAS, `sgemm.cpp`) gives each thread a share of the
//! columns while there are more columns than rows, else a share of the rows; and it cuts the sums over `inner` into
//! runs, longer ones for narrow shares. Within the limit below the runs are the same for every sharing.

use crate::backbone::Shape;

/// Columns are shared in blocks of this many.
const SHARE: usize = 16;
/// Columns and length of a run before it is fitted to a product.
const STRIDE: usize = 128;
/// More threads than this are never asked for.
const THREADS_MAX: usize = 1024;

/// The most threads with which every product of the network keeps its runs.
pub fn threads_max(shape: &Shape) -> usize {
    let Shape { width, mlp, .. } = *shape;
    let products = [(width, shape.patch_values()), (width, width), (mlp, width), (width, mlp)];
    products.into_iter().map(|(columns, inner)| threads_of(columns, inner)).min().unwrap_or(1)
}

fn threads_of(columns: usize, inner: usize) -> usize {
    let whole = run_length(columns, inner);
    let keeps = |&threads: &usize| run_length(smallest_share(columns, threads), inner) == whole;
    (1..=THREADS_MAX).take_while(keeps).count()
}

/// Columns of the last thread, which has no block more than any other.
fn smallest_share(columns: usize, threads: usize) -> usize {
    let blocks = columns.div_ceil(SHARE);
    blocks / threads.min(blocks) * SHARE - (blocks * SHARE - columns)
}

/// Products that are summed before they are added to the result.
fn run_length(columns: usize, inner: usize) -> usize {
    let (mut across, mut run) = (STRIDE, STRIDE);
    if columns < inner {
        while across > SHARE && across / 2 >= columns {
            across /= 2;
            run *= 2;
        }
    }
    run.min(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_backbones_allow_fewer_threads() {
        let base = Shape::vit_b16();
        let small = Shape { width: 384, heads: 6, mlp: 1536, ..base };
        let tiny = Shape { width: 192, heads: 3, mlp: 768, ..base };
        assert_eq!([base, small, tiny].map(|shape| threads_max(&shape)), [9, 4, 2]);
    }

    #[test]
    fn sums_that_are_one_run_allow_any() {
        let shape = Shape { width: 48, mlp: 96, patch: 4, ..Shape::vit_b16() };
        assert_eq!(threads_max(&shape), THREADS_MAX);
    }
}
