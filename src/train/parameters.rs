use std::ops::Range;

use super::optimizer::Span;
use super::recipe::Method;
use crate::adapter::Layout;
use crate::random::{Random, key};

/// The vector that is trained: the adapter's flat vector, then the head's weight `[classes, features]` and bias
/// `[classes]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The adapter's flat vector, in layout order.
    pub vector: Range<usize>,
    /// `[classes, features]`.
    pub weight: Range<usize>,
    /// `[classes]`.
    pub bias: Range<usize>,
}

impl Places {
    /// For a layout and a head.
    pub fn new(layout: &Layout, classes: usize, features: usize) -> Self {
        let vector = 0..layout.len();
        let weight = vector.end..vector.end + classes * features;
        let bias = weight.end..weight.end + classes;
        Self { vector, weight, bias }
    }

    /// Parameters in all.
    pub fn count(&self) -> usize {
        self.bias.end
    }

    /// What the method trains. Weight decay draws towards 0: the scales of linears, scale and shift of the patch
    /// embedding, and the head's weight. Shifts of linears, everything of norms, and the head's bias are left alone.
    pub fn spans(&self, layout: &Layout, method: Method) -> Vec<Span> {
        let trained = layout.segments().iter().filter(|segment| method.trains(&segment.name));
        let decays = |name: &str| !name.contains("norm") && (name.starts_with("patch_embed") || name.contains("scale"));
        let vector = trained.map(|s| Span { range: s.range.clone(), decays: decays(&s.name) });
        let head = [(&self.weight, true), (&self.bias, false)];
        vector.chain(head.map(|(range, decays)| Span { range: range.clone(), decays })).collect()
    }

    /// Where training starts. A rescaling starts as RLRR's code does: scale_in ~ U(±√(6/in)), scale_out ~ U(±√6),
    /// shifts 0, SSF scales ~ N(1, 0.02²), SSF shifts ~ N(0, 0.02²), the head 0. The neutral adapter is no place to
    /// start from: with both scales 0 neither has a gradient.
    #[expect(clippy::cast_precision_loss, reason = "a layer has far fewer than 2^24 inputs")]
    pub fn initial(&self, layout: &Layout, method: Method, seed: u64) -> Vec<f32> {
        let mut random = Random::seeded(key(&[seed, INITIAL]));
        let mut values = vec![0.0; self.count()];
        values[self.vector.clone()].copy_from_slice(&layout.neutral());
        for segment in layout.segments() {
            let count = segment.range.len();
            let (place, kind) = segment.name.rsplit_once('.').unwrap_or_default();
            let is_ssf = place == "patch_embed" || place.contains("norm");
            let start = match (method, kind) {
                (Method::Rlrr, "scale_in") => random.values(count, 0.0, (6.0 / count as f32).sqrt()),
                (Method::Rlrr, "scale_out") => random.values(count, 0.0, 6f32.sqrt()),
                (Method::Ssf, "scale_in") => vec![1.0; count],
                (Method::Ssf, "scale_out") => random.normals(count, 0.0, DEVIATION),
                (Method::Ssf, "shift") if !is_ssf => random.normals(count, 0.0, DEVIATION),
                (Method::Rlrr | Method::Ssf, _) if is_ssf => random.normals(count, segment.neutral, DEVIATION),
                _ => continue,
            };
            values[segment.range.clone()].copy_from_slice(&start);
        }
        values
    }
}

/// Of the normal distributions.
const DEVIATION: f32 = 0.02;
/// Tells this use of the seed from others.
const INITIAL: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::Shape;

    fn vit_b16() -> (Layout, Places) {
        let layout = Layout::of(&Shape::vit_b16());
        let places = Places::new(&layout, 10, 768);
        (layout, places)
    }

    #[test]
    fn decay_is_the_papers() {
        let (layout, places) = vit_b16();
        let spans = places.spans(&layout, Method::Rlrr);
        let decays = |name: &str| {
            let range = &layout.find(name).expect("a segment").range;
            spans.iter().find(|span| span.range == *range).expect("trained").decays
        };
        for name in ["patch_embed.scale", "patch_embed.shift", "blocks.3.attn.k.scale_in", "blocks.3.mlp.fc2.scale_out"]
        {
            assert!(decays(name), "{name}");
        }
        for name in
            ["blocks.3.attn.k.shift", "blocks.3.norm1.scale", "blocks.3.norm2.shift", "norm.scale", "norm.shift"]
        {
            assert!(!decays(name), "{name}");
        }
        assert!(spans[spans.len() - 2].decays && !spans[spans.len() - 1].decays);
    }

    #[test]
    fn methods_train_their_parts() {
        let (layout, places) = vit_b16();
        let count = |method| places.spans(&layout, method).iter().map(|span| span.range.len()).sum::<usize>();
        let head = 10 * 768 + 10;
        assert_eq!(count(Method::Rlrr), 288_768 + head);
        assert_eq!(count(Method::Linear), head);
        let (outputs, ssf) = (12 * (5 * 768 + 3072), (2 + 4 * 12 + 2) * 768);
        assert_eq!(count(Method::Ssf), 2 * outputs + ssf + head);
        assert_eq!(count(Method::Shifts), outputs + ssf / 2 + head);
    }

    #[test]
    fn rlrr_starts_away_from_the_neutral_adapter() {
        let (layout, places) = vit_b16();
        let values = places.initial(&layout, Method::Rlrr, 1);
        let max = |name: &str| {
            values[layout.find(name).expect("there").range.clone()].iter().fold(0f32, |m, v| m.max(v.abs()))
        };
        let (scale_in, scale_out) = (max("blocks.0.mlp.fc2.scale_in"), max("blocks.0.mlp.fc2.scale_out"));
        assert!((0.042..0.0442).contains(&scale_in) && (2.4..2.45).contains(&scale_out), "{scale_in} {scale_out}");
        assert_eq!(max("blocks.0.mlp.fc2.shift"), 0.0);
        assert!((1.03..1.15).contains(&max("norm.scale")));
        assert!(values[places.weight.start..].iter().all(|&v| v == 0.0));
        assert_ne!(values, places.initial(&layout, Method::Rlrr, 2));
    }

    #[test]
    fn a_linear_probe_is_the_bare_backbone() {
        let (layout, places) = vit_b16();
        for method in [Method::Linear, Method::Shifts] {
            assert_eq!(values_of(&places, &layout, method), *layout.neutral());
        }
    }

    fn values_of(places: &Places, layout: &Layout, method: Method) -> Vec<f32> {
        places.initial(layout, method, 1)[places.vector.clone()].to_vec()
    }
}
