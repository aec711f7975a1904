//! An adapter folded into canonical weights: what is left is an ordinary backbone.

use crate::adapter::Layout;
use crate::backbone::{Tensor, Weights};

/// Weights that give by themselves what the backbone gives with the adapter's flat vector.
pub fn merged(weights: &Weights, layout: &Layout, rescale: &[f32]) -> Weights {
    let mut weights = weights.clone();
    for (name, tensor) in &mut weights.0 {
        merge(name, tensor, layout, rescale);
    }
    weights
}

/// Folds the adapter into one canonical tensor; one that no adapter touches stays as it is.
///
/// Linears: W * (1 + scale_out ⊗ scale_in), bias + shift. Norms and the patch embedding: weight rows * scale,
/// bias * scale + shift.
pub fn merge(name: &str, tensor: &mut Tensor, layout: &Layout, rescale: &[f32]) {
    let Some((place, part)) = name.rsplit_once('.') else { return };
    let vector = |what: &str| layout.find(&format!("{place}.{what}")).map(|s| &rescale[s.range.clone()]);
    let is_weight = part == "weight";
    if let (Some(scale), Some(shift)) = (vector("scale"), vector("shift")) {
        scale_rows(tensor, scale);
        if !is_weight {
            add(tensor, shift);
        }
    } else if let (Some(scale_in), Some(scale_out), Some(shift)) =
        (vector("scale_in"), vector("scale_out"), vector("shift"))
    {
        if is_weight {
            rescale_matrix(tensor, scale_in, scale_out);
        } else {
            add(tensor, shift);
        }
    }
}

/// Multiplies the entries along the outermost axis.
fn scale_rows(tensor: &mut Tensor, scale: &[f32]) {
    let row = tensor.data.len() / scale.len();
    for (row, scale) in tensor.data.chunks_exact_mut(row).zip(scale) {
        row.iter_mut().for_each(|w| *w *= scale);
    }
}

fn rescale_matrix(tensor: &mut Tensor, scale_in: &[f32], scale_out: &[f32]) {
    for (row, scale_out) in tensor.data.chunks_exact_mut(scale_in.len()).zip(scale_out) {
        row.iter_mut().zip(scale_in).for_each(|(w, scale_in)| *w *= 1.0 + scale_out * scale_in);
    }
}

fn add(tensor: &mut Tensor, shift: &[f32]) {
    tensor.data.iter_mut().zip(shift).for_each(|(b, shift)| *b += shift);
}
