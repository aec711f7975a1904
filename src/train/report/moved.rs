use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use crate::adapter::Layout;
use crate::backbone::{Shape, Weights};
use crate::random::Random;
use crate::vit::{Layer, LinearAt};

/// Singular values that are looked at.
const SINGULAR: usize = 4;
/// Rounds of subspace iteration: a view, not a proof.
const ROUNDS: usize = 20;

/// How far an adapter moves one linear layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// Which.
    pub at: LinearAt,
    /// ‖ΔW‖ / ‖W‖ (Frobenius), with ΔW = W ∘ (scale_out ⊗ scale_in).
    pub relative: f64,
    /// uᵢᵀ ΔW vᵢ / σᵢ of the largest singular values of W: by how much each changes, to first order.
    pub singular: Vec<f64>,
}

/// The layers that are rescaled, in the order of a block.
pub const LAYERS: [(Layer, &str); 6] = [
    (Layer::Q, "q"),
    (Layer::K, "k"),
    (Layer::V, "v"),
    (Layer::Proj, "proj"),
    (Layer::Fc1, "fc1"),
    (Layer::Fc2, "fc2"),
];

/// Every linear layer of every block. `vector` is in the layout's order.
pub fn moved(weights: &Weights, shape: &Shape, layout: &Layout, vector: &[f32]) -> Vec<Moved> {
    let places = (0..shape.depth).flat_map(|block| LAYERS.map(|(layer, _)| LinearAt { block, layer }));
    let one = |at: LinearAt| {
        let range = layout.linear(at);
        let [scale_in, scale_out] = [&vector[range.scale_in.clone()], &vector[range.scale_out.clone()]];
        of_layer(at, weights.linear(at).weight, scale_in, scale_out)
    };
    places.map(one).collect()
}

fn of_layer(at: LinearAt, weight: ArrayView2<'_, f32>, scale_in: &[f32], scale_out: &[f32]) -> Moved {
    let scale_out = ArrayView1::from(scale_out).insert_axis(Axis(1));
    let change = &weight * &(&scale_out * &ArrayView1::from(scale_in));
    let relative = norm(change.view()) / norm(weight).max(f64::MIN_POSITIVE);
    let (left, right, values) = leading(weight);
    let along = |((u, v), sigma): ((ArrayView1<'_, f32>, ArrayView1<'_, f32>), &f64)| {
        f64::from(u.dot(&change.dot(&v))) / sigma.max(f64::MIN_POSITIVE)
    };
    let directions = left.columns().into_iter().zip(right.columns()).zip(&values);
    Moved { at, relative, singular: directions.map(along).collect() }
}

fn norm(matrix: ArrayView2<'_, f32>) -> f64 {
    matrix.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// The leading singular vectors `[out, k]` and `[in, k]` and values, by subspace iteration from a fixed start.
fn leading(weight: ArrayView2<'_, f32>) -> (Array2<f32>, Array2<f32>, Vec<f64>) {
    let (outputs, inputs) = weight.dim();
    let count = SINGULAR.min(outputs).min(inputs);
    let start = Random::seeded(1).normals(inputs * count, 0.0, 1.0);
    let mut right = Array2::from_shape_vec((inputs, count), start).expect("as many as there are");
    orthonormalise(&mut right);
    let mut left = weight.dot(&right);
    let mut values = orthonormalise(&mut left);
    for _ in 0..ROUNDS {
        right = weight.t().dot(&left);
        orthonormalise(&mut right);
        left = weight.dot(&right);
        values = orthonormalise(&mut left);
    }
    (left, right, values)
}

/// Gram–Schmidt on the columns; answers with their lengths before they became 1.
fn orthonormalise(columns: &mut Array2<f32>) -> Vec<f64> {
    let length = |column: &Array1<f32>| column.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let mut lengths = Vec::new();
    for i in 0..columns.ncols() {
        let mut column = columns.column(i).to_owned();
        for j in 0..i {
            let earlier = columns.column(j);
            let along = earlier.dot(&column);
            column.scaled_add(-along, &earlier);
        }
        let found = length(&column);
        #[expect(clippy::cast_possible_truncation, reason = "a length of f32 values")]
        let divisor = found.max(f64::from(f32::MIN_POSITIVE)) as f32;
        columns.column_mut(i).assign(&(column / divisor));
        lengths.push(found);
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: LinearAt = LinearAt { block: 0, layer: Layer::Q };

    #[test]
    fn a_layer_that_is_scaled_as_a_whole_moves_by_that_much_in_every_direction() {
        let weight = Array2::from_shape_vec((6, 5), Random::seeded(3).normals(30, 0.0, 1.0)).expect("30 values");
        let moved = of_layer(AT, weight.view(), &[0.5; 5], &[0.2; 6]);
        assert!((moved.relative - 0.1).abs() < 1e-6, "{moved:?}");
        assert!(moved.singular.len() == 4 && moved.singular.iter().all(|s| (s - 0.1).abs() < 1e-4), "{moved:?}");
    }

    #[test]
    fn singular_values_of_a_diagonal() {
        let weight = Array2::from_diag(&Array1::from(vec![1.0f32, 5.0, 3.0]));
        let (_, _, values) = leading(weight.view());
        assert!(
            values.iter().zip([5.0, 3.0, 1.0]).all(|(found, expected)| (found - expected).abs() < 1e-4),
            "{values:?}"
        );
        // Only the input of the largest one is scaled.
        let moved = of_layer(AT, weight.view(), &[0.0, 0.5, 0.0], &[1.0; 3]);
        assert!((moved.singular[0] - 0.5).abs() < 1e-4 && moved.singular[1].abs() < 1e-4, "{moved:?}");
    }
}
