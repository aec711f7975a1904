use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::backbone::Shape;
use crate::vit::{Layer, LinearAt, NormAt};

/// A named run of values inside an adapter's flat vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Canonical tensor name, e.g. `blocks.0.attn.q.scale_in`.
    pub name: String,
    /// Place inside the flat vector.
    pub range: Range<usize>,
    /// The value that leaves the backbone as it is: 0 for scales of linears and all shifts, 1 for SSF scales.
    pub neutral: f32,
}

/// Where the vectors of one rescaled linear lie in the flat vector.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearRange {
    /// `[in]`
    pub scale_in: Range<usize>,
    /// `[out]`
    pub scale_out: Range<usize>,
    /// `[out]`
    pub shift: Range<usize>,
}

/// Where scale and shift `[width]` of an SSF lie in the flat vector.
#[derive(Clone, Debug, PartialEq)]
pub struct SsfRange {
    /// Multiplies.
    pub scale: Range<usize>,
    /// Adds.
    pub shift: Range<usize>,
}

/// The order of named segments in an adapter's flat vector, derived from the backbone's shape: `patch_embed`, then per
/// block `norm1`, `attn.q`, `attn.k`, `attn.v`, `attn.proj`, `norm2`, `mlp.fc1`, `mlp.fc2`, then `norm`. A linear is
/// `scale_in`, `scale_out`, `shift`; an SSF is `scale`, `shift`. The head is not part of it.
#[derive(Clone, Debug)]
pub struct Layout {
    segments: Vec<Segment>,
    index: HashMap<String, usize>,
    len: usize,
    neutral: Arc<[f32]>,
}

impl Layout {
    /// The layout of every adapter for a backbone of this shape.
    pub fn of(shape: &Shape) -> Self {
        let mut layout = Self { segments: Vec::new(), index: HashMap::new(), len: 0, neutral: Arc::default() };
        layout.push_ssf("patch_embed", shape.width);
        for block in 0..shape.depth {
            layout.push_ssf(&NormAt::Attention(block).to_string(), shape.width);
            for layer in [Layer::Q, Layer::K, Layer::V, Layer::Proj] {
                layout.push_linear(LinearAt { block, layer }, shape);
            }
            layout.push_ssf(&NormAt::Mlp(block).to_string(), shape.width);
            for layer in [Layer::Fc1, Layer::Fc2] {
                layout.push_linear(LinearAt { block, layer }, shape);
            }
        }
        layout.push_ssf(&NormAt::Final.to_string(), shape.width);
        let values = layout.segments.iter().flat_map(|s| std::iter::repeat_n(s.neutral, s.range.len()));
        layout.neutral = values.collect();
        layout
    }

    fn push(&mut self, name: String, len: usize, neutral: f32) {
        self.index.insert(name.clone(), self.segments.len());
        self.segments.push(Segment { name, range: self.len..self.len + len, neutral });
        self.len += len;
    }

    fn push_ssf(&mut self, place: &str, width: usize) {
        self.push(format!("{place}.scale"), width, 1.0);
        self.push(format!("{place}.shift"), width, 0.0);
    }

    fn push_linear(&mut self, at: LinearAt, shape: &Shape) {
        let (inputs, outputs) = match at.layer {
            Layer::Fc1 => (shape.width, shape.mlp),
            Layer::Fc2 => (shape.mlp, shape.width),
            Layer::Q | Layer::K | Layer::V | Layer::Proj => (shape.width, shape.width),
        };
        self.push(format!("{at}.scale_in"), inputs, 0.0);
        self.push(format!("{at}.scale_out"), outputs, 0.0);
        self.push(format!("{at}.shift"), outputs, 0.0);
    }

    /// Every segment, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Length of the flat vector (288,768 for ViT-B/16).
    #[expect(clippy::len_without_is_empty, reason = "a layout is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The segment of that canonical name.
    pub fn find(&self, name: &str) -> Option<&Segment> {
        self.index.get(name).map(|&i| &self.segments[i])
    }

    /// The flat vector that reproduces the bare backbone; every caller shares it.
    pub fn neutral(&self) -> Arc<[f32]> {
        self.neutral.clone()
    }

    fn range(&self, name: &str) -> Range<usize> {
        self.find(name).unwrap_or_else(|| panic!("no segment {name}")).range.clone()
    }

    /// The vectors of a linear layer.
    pub fn linear(&self, at: LinearAt) -> LinearRange {
        LinearRange {
            scale_in: self.range(&format!("{at}.scale_in")),
            scale_out: self.range(&format!("{at}.scale_out")),
            shift: self.range(&format!("{at}.shift")),
        }
    }

    /// The SSF of a LayerNorm.
    pub fn norm(&self, at: NormAt) -> SsfRange {
        self.ssf(&at.to_string())
    }

    /// The SSF of the patch embedding.
    pub fn patch_embed(&self) -> SsfRange {
        self.ssf("patch_embed")
    }

    fn ssf(&self, place: &str) -> SsfRange {
        SsfRange { scale: self.range(&format!("{place}.scale")), shift: self.range(&format!("{place}.shift")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vit_b16_adapter_has_the_papers_number_of_values() {
        assert_eq!(Layout::of(&Shape::vit_b16()).len(), 288_768);
    }

    #[test]
    fn vit_l_and_vit_h_match_the_design() {
        let large = Shape { width: 1024, depth: 24, heads: 16, mlp: 4096, ..Shape::vit_b16() };
        let huge = Shape { width: 1280, depth: 32, heads: 16, mlp: 5120, ..Shape::vit_b16() };
        assert_eq!(Layout::of(&large).len(), 765_952);
        assert_eq!(Layout::of(&huge).len(), 1_274_880);
    }

    #[test]
    fn segments_tile_the_vector_without_gaps() {
        let layout = Layout::of(&Shape::vit_b16());
        let mut end = 0;
        for segment in layout.segments() {
            assert_eq!(segment.range.start, end, "{}", segment.name);
            end = segment.range.end;
        }
        assert_eq!(end, layout.len());
    }
}
