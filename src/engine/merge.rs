//! An adapter folded into canonical weights: what is left is an ordinary backbone.

use crate::adapter::Layout;
use crate::backbone::{Tensor, Weights};

/// Weights that give by themselves what the backbone gives with the adapter's flat vector.
///
/// Linears: W * (1 + scale_out ⊗ scale_in), bias + shift. Norms: gain * scale, bias * scale + shift. The patch
/// embedding's SSF goes into its rows and bias.
pub fn merged(weights: &Weights, layout: &Layout, rescale: &[f32]) -> Weights {
    let vector = |name: String| layout.find(&name).map(|segment| &rescale[segment.range.clone()]);
    let merge = |(name, tensor): (&String, &Tensor)| {
        let mut tensor = tensor.clone();
        let Some((place, part)) = name.rsplit_once('.') else { return (name.clone(), tensor) };
        let get = |what: &str| vector(format!("{place}.{what}"));
        match (part, get("scale"), get("scale_in"), get("scale_out"), get("shift")) {
            ("weight", Some(scale), ..) => scale_rows(&mut tensor, scale),
            ("bias", Some(scale), .., Some(shift)) => affine(&mut tensor, scale, shift),
            ("weight", None, Some(scale_in), Some(scale_out), _) => rescale_matrix(&mut tensor, scale_in, scale_out),
            ("bias", None, _, _, Some(shift)) => add(&mut tensor, shift),
            _ => {}
        }
        (name.clone(), tensor)
    };
    Weights(weights.0.iter().map(merge).collect())
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

fn affine(tensor: &mut Tensor, scale: &[f32], shift: &[f32]) {
    for ((b, scale), shift) in tensor.data.iter_mut().zip(scale).zip(shift) {
        *b = *b * scale + shift;
    }
}

fn add(tensor: &mut Tensor, shift: &[f32]) {
    tensor.data.iter_mut().zip(shift).for_each(|(b, shift)| *b += shift);
}
