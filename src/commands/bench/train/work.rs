use crate::backbone::Shape;

/// Billions of floating-point operations of a training step on one picture of that many tokens: three times those of the
/// forward pass, since each product has two derivatives. A multiplication and an addition are two operations; only matrix
/// products count. What is computed a second time to save memory does not count, nor that the patch embedding and the
/// first layers need no derivative of their inputs.
#[expect(clippy::cast_precision_loss, reason = "a count of four digits")]
pub fn training_gflop(shape: &Shape, tokens: usize) -> f64 {
    let Shape { width, depth, mlp, .. } = *shape;
    let linears = tokens * width * (4 * width + 2 * mlp);
    let attention = 2 * tokens * tokens * width;
    let embedding = (tokens - shape.prefix_tokens) * shape.patch_values() * width;
    let forward = 2 * (depth * (linears + attention) + embedding);
    3.0 * forward as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 17.56 billion multiplications in the forward pass, as the literature counts a ViT-B/16 at 224 px.
    #[test]
    fn a_vit_b16_takes_105_gflop() {
        let found = training_gflop(&Shape::vit_b16(), 197);
        assert!((found - 6.0 * 17.563).abs() < 0.01, "{found}");
    }
}
