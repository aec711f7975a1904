//! The derivative of attention.

use super::write::Training;
use crate::engine::onnx::graph::{Attribute, Graph, Value, as_i64};
use crate::engine::onnx::ops::Constants;

use Attribute::{Int, Ints};

impl<C: Constants> Training<'_, C> {
    /// Through O = P · V with P = softmax(Q · Kᵀ / √head_size): dV = Pᵀ · dO, dS = P ∘ (dO · Vᵀ - rowsum(dO ∘ O)), and
    /// from dS to dQ and dK. The softmax is computed again from query and key; rowsum(dO ∘ O) is what it weighs dO · Vᵀ
    /// to (Dao et al., FlashAttention, 2022, appendix B). Gradients are `[rows * tokens, width]`.
    pub(super) fn attention_backward(&mut self, qkv: &[Value; 3], attended: &Value, d: &Value) -> [Value; 3] {
        self.writer.graph.enter("attention");
        let [q, k, v] = qkv.each_ref().map(|x| self.heads(x));
        let [attended, d] = [attended, d].map(|x| {
            let x = self.writer.tokens(x);
            self.heads(&x)
        });
        #[expect(clippy::cast_precision_loss, reason = "a head has far fewer than 2^24 features")]
        let scale = self.writer.scalar("scale", 1.0 / (self.writer.shape.head_size() as f32).sqrt());
        let graph = &mut self.writer.graph;
        let q = graph.op("Mul", &[&q, &scale], &[]);
        let [k_turned, v_turned] = [&k, &v].map(|x| turned(graph, x));
        let scores = graph.op("MatMul", &[&q, &k_turned], &[]);
        let shares = graph.op("Softmax", &[&scores], &[("axis", Int(-1))]);
        let d_shares = graph.op("MatMul", &[&d, &v_turned], &[]);
        let weighed = graph.op("Mul", &[&d, &attended], &[]);
        let last = graph.ints(&[-1]);
        let weighed = graph.op("ReduceSum", &[&weighed, &last], &[("keepdims", Int(1))]);
        let d_scores = graph.op("Sub", &[&d_shares, &weighed], &[]);
        let d_scores = graph.op("Mul", &[&shares, &d_scores], &[]);
        let [shares_turned, d_scores_turned] = [&shares, &d_scores].map(|x| turned(graph, x));
        let d_q = graph.op("MatMul", &[&d_scores, &k], &[]);
        let d_q = graph.op("Mul", &[&d_q, &scale], &[]);
        let d_k = graph.op("MatMul", &[&d_scores_turned, &q], &[]);
        let d_v = graph.op("MatMul", &[&shares_turned, &d], &[]);
        [d_q, d_k, d_v].map(|x| self.joined(&x))
    }

    /// `[rows, tokens, width]` to `[rows, heads, tokens, head_size]`.
    fn heads(&mut self, x: &Value) -> Value {
        let [heads, head_size] = [self.writer.shape.heads, self.writer.shape.head_size()].map(as_i64);
        let graph = &mut self.writer.graph;
        let sizes = graph.ints(&[0, 0, heads, head_size]);
        let x = graph.op("Reshape", &[x, &sizes], &[]);
        graph.op("Transpose", &[&x], &[("perm", Ints(vec![0, 2, 1, 3]))])
    }

    /// `[rows, heads, tokens, head_size]` to `[rows * tokens, width]`.
    fn joined(&mut self, x: &Value) -> Value {
        let x = self.writer.graph.op("Transpose", &[x], &[("perm", Ints(vec![0, 2, 1, 3]))]);
        self.writer.flatten(&x, self.writer.shape.width)
    }
}

/// Every matrix transposed.
fn turned(graph: &mut Graph, x: &Value) -> Value {
    graph.op("Transpose", &[x], &[("perm", Ints(vec![0, 1, 3, 2]))])
}
