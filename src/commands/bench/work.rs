use crate::backbone::Shape;

/// Billions of operations of a forward pass on one picture of that many tokens. A multiplication and an addition are two
/// operations; only matrix products count.
#[expect(clippy::cast_precision_loss, reason = "a count of some digits")]
pub fn forward_gflop(shape: &Shape, tokens: usize) -> f64 {
    let Shape { width, depth, mlp, .. } = *shape;
    let linears = tokens * width * (4 * width + 2 * mlp);
    let attention = 2 * tokens * tokens * width;
    let embedding = (tokens - shape.prefix_tokens) * shape.patch_values() * width;
    2e-9 * (depth * (linears + attention) + embedding) as f64
}

/// Of a training step: three times those of the forward pass, since each product has two derivatives. What is computed a
/// second time to save memory does not count, nor that the patch embedding and the first layers need no derivative of
/// their inputs.
pub fn training_gflop(shape: &Shape, tokens: usize) -> f64 {
    3.0 * forward_gflop(shape, tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 17.56 billion multiplications, as the literature counts a ViT-B/16 at 224 px.
    #[test]
    fn a_vit_b16_takes_35_gflop() {
        let shape = Shape::vit_b16();
        let found = forward_gflop(&shape, shape.tokens(224, 224));
        assert!((found - 2.0 * 17.563).abs() < 0.01, "{found}");
    }

    #[test]
    fn a_step_of_a_vit_b16_takes_105_gflop() {
        let found = training_gflop(&Shape::vit_b16(), 197);
        assert!((found - 6.0 * 17.563).abs() < 0.01, "{found}");
    }
}
