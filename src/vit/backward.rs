//! The backward pass, written once over the operations' derivatives.

use super::{Layer, LinearAt, NormAt, Ops, Then};

/// The operations' derivatives. Each takes the gradient of its output and answers with that of its input; gradients of
/// the adapter's flat vector gather inside an implementation, by place. A derivative sees the very dropout and noise that
/// its forward operation saw. What is passed by value is not needed any more.
pub trait Gradients: Ops {
    /// What the MLP's first layer leaves for the backward pass.
    type Hidden;

    /// [`Ops::linear`] at `fc1` with [`Then::Activate`], keeping what [`Self::down_backward`] needs.
    fn up(&mut self, x: &Self::Act, block: usize) -> Self::Hidden;
    /// [`Ops::linear`] at `fc2` with [`Then::Add`].
    fn down(&mut self, hidden: &Self::Hidden, block: usize, residual: &Self::Act) -> Self::Act;

    /// From the features to the tokens that were pooled; `x` has their shape.
    fn pool_backward(&mut self, d: &Self::Features, x: &Self::Act) -> Self::Act;
    /// Through a LayerNorm of `x` and its SSF; adds the gradient `d_residual` of the stream that passed it by.
    fn norm_backward(&mut self, x: &Self::Act, d: Self::Act, at: NormAt, d_residual: Option<Self::Act>) -> Self::Act;
    /// Through `fc2` (without its residual) and the activation, to `fc1`'s output before the activation.
    fn down_backward(&mut self, hidden: Self::Hidden, d: &Self::Act, block: usize) -> Self::Act;
    /// Through the linear of `x` at `fc1` or `proj` (without its residual).
    fn linear_backward(&mut self, x: &Self::Act, d: &Self::Act, at: LinearAt) -> Self::Act;
    /// Through attention, which answered `attended`.
    fn attend_backward(&mut self, qkv: Self::Qkv, attended: Self::Act, d: Self::Act) -> Self::Qkv;
    /// Through the three linears of `x` in front of attention.
    fn qkv_backward(&mut self, x: &Self::Act, d: Self::Qkv, block: usize) -> Self::Act;
    /// `x`, from which the inside of a block is computed again, not before `d` is known. Only what does not compute at
    /// once has to do something for it.
    fn not_before(&mut self, x: Self::Act, _d: &Self::Act) -> Self::Act {
        x
    }
    /// Through the SSF of the patch embedding.
    fn embed_backward(&mut self, pictures: &Self::Pictures, d: Self::Act);
}

/// Runs forward, asks `loss` for d loss / d features, and runs backward. The insides of the last `kept` blocks wait in
/// memory for the backward pass; those of the others are computed again from their inputs.
pub fn gradient<G: Gradients>(
    ops: &mut G,
    depth: usize,
    kept: usize,
    pictures: &G::Pictures,
    loss: impl FnOnce(&G::Features) -> G::Features,
) {
    let mut tapes: Vec<(G::Act, Option<Inside<G>>)> = Vec::with_capacity(depth);
    let mut x = ops.embed(pictures);
    for block in 0..depth {
        let (next, inside) = if depth - block <= kept {
            let (next, inside) = forward_block(ops, block, &x);
            (next, Some(inside))
        } else {
            (super::forward_block(ops, block, &x), None)
        };
        tapes.push((std::mem::replace(&mut x, next), inside));
    }
    let d_features = {
        let tokens = ops.norm(&x, NormAt::Final);
        let features = ops.pool(&tokens);
        loss(&features)
    };
    let d = ops.pool_backward(&d_features, &x);
    let mut d = ops.norm_backward(&x, d, NormAt::Final, None);
    drop(x);
    for (block, (x, inside)) in tapes.into_iter().enumerate().rev() {
        let (x, inside) = match inside {
            Some(inside) => (x, inside),
            None => {
                let x = ops.not_before(x, &d);
                let inside = forward_block(ops, block, &x).1;
                (x, inside)
            }
        };
        d = backward_block(ops, block, &x, inside, d);
    }
    ops.embed_backward(pictures, d);
}

/// What is computed between a block's input and its output.
struct Inside<G: Gradients> {
    /// After the first norm.
    to_attention: G::Act,
    qkv: G::Qkv,
    attended: G::Act,
    /// The residual stream between attention and MLP.
    middle: G::Act,
    /// After the second norm.
    to_mlp: G::Act,
    hidden: G::Hidden,
}

fn forward_block<G: Gradients>(ops: &mut G, block: usize, x: &G::Act) -> (G::Act, Inside<G>) {
    let to_attention = ops.norm(x, NormAt::Attention(block));
    let qkv = ops.qkv(&to_attention, block);
    let attended = ops.attend(&qkv);
    let middle = ops.linear(&attended, LinearAt { block, layer: Layer::Proj }, Then::Add(x));
    let to_mlp = ops.norm(&middle, NormAt::Mlp(block));
    let hidden = ops.up(&to_mlp, block);
    let out = ops.down(&hidden, block, &middle);
    (out, Inside { to_attention, qkv, attended, middle, to_mlp, hidden })
}

/// From the gradient of a block's output to that of its input `x`.
fn backward_block<G: Gradients>(ops: &mut G, block: usize, x: &G::Act, inside: Inside<G>, d: G::Act) -> G::Act {
    let Inside { to_attention, qkv, attended, middle, to_mlp, hidden } = inside;
    let at = |layer| LinearAt { block, layer };
    let d_up = ops.down_backward(hidden, &d, block);
    let d_to_mlp = ops.linear_backward(&to_mlp, &d_up, at(Layer::Fc1));
    drop((to_mlp, d_up));
    let d_middle = ops.norm_backward(&middle, d_to_mlp, NormAt::Mlp(block), Some(d));
    drop(middle);
    let d_attended = ops.linear_backward(&attended, &d_middle, at(Layer::Proj));
    let d_qkv = ops.attend_backward(qkv, attended, d_attended);
    let d_to_attention = ops.qkv_backward(&to_attention, d_qkv, block);
    drop(to_attention);
    ops.norm_backward(x, d_to_attention, NormAt::Attention(block), Some(d_middle))
}
