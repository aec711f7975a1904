use super::{Fingerprint, Shape, Weights};
use crate::hash::Hasher;

/// Values hashed at once.
const CHUNK_VALUES: usize = 16_384;

/// The identity of a shape and canonical weights; the bytes are specified in adapters/README.md.
pub fn fingerprint(shape: &Shape, weights: &Weights) -> Fingerprint {
    let mut hasher = Hasher::default();
    hasher.update(first_line(shape).as_bytes());
    let mut bytes = Vec::with_capacity(4 * CHUNK_VALUES);
    for (name, tensor) in &weights.0 {
        hasher.update(tensor_line(name, &tensor.shape).as_bytes());
        for chunk in tensor.data.chunks(CHUNK_VALUES) {
            bytes.clear();
            bytes.extend(chunk.iter().flat_map(|v| v.to_le_bytes()));
            hasher.update(&bytes);
        }
    }
    Fingerprint(hasher.finish())
}

/// `manylens.backbone/1 {…}\n`: keys sorted, no spaces, as Python's
/// `json.dumps(shape, sort_keys=True, separators=(",", ":"))` writes it.
fn first_line(shape: &Shape) -> String {
    let Shape { width, depth, heads, mlp, patch, channels, prefix_tokens, eps, activation } = shape;
    let (eps, activation) = (python_float(*eps), activation.name());
    format!(
        "manylens.backbone/1 {{\"activation\":\"{activation}\",\"channels\":{channels},\"depth\":{depth},\"eps\":{eps},\
         \"heads\":{heads},\"mlp\":{mlp},\"patch\":{patch},\"prefix_tokens\":{prefix_tokens},\"width\":{width}}}\n"
    )
}

/// `blocks.0.norm1.weight [64]\n`, the values follow.
fn tensor_line(name: &str, shape: &[usize]) -> String {
    let sizes: Vec<_> = shape.iter().map(usize::to_string).collect();
    format!("{name} [{}]\n", sizes.join(","))
}

/// Python's `repr` of a finite float: shortest digits that read back, an exponent of at least two digits below 1e-4
/// and from 1e16.
fn python_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("LowerExp always writes an exponent");
    let exponent: i32 = exponent.parse().expect("LowerExp writes a whole exponent");
    if (-4..16).contains(&exponent) {
        return format!("{value:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::backbone::Tensor;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        let known = [
            (1e-6, "1e-06"),
            (1e-12, "1e-12"),
            (1e-5, "1e-05"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (0.25, "0.25"),
            (1.0, "1.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1e100, "1e+100"),
        ];
        for (value, text) in known {
            assert_eq!(python_float(value), text);
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let tensor = |shape: &[usize], data: &[f32]| Tensor { shape: shape.to_vec(), data: data.to_vec() };
        let weights = BTreeMap::from([
            ("norm.weight".to_owned(), tensor(&[2], &[1.0, -0.5])),
            ("blocks.10.x".to_owned(), tensor(&[1, 1], &[0.0])),
            ("blocks.2.x".to_owned(), tensor(&[1, 1], &[-0.0])),
        ]);
        let mut expected = b"manylens.backbone/1 {\"activation\":\"gelu\",\"channels\":3,\"depth\":12,\"eps\":1e-06,\
            \"heads\":12,\"mlp\":3072,\"patch\":16,\"prefix_tokens\":1,\"width\":768}\n"
            .to_vec();
        expected.extend(b"blocks.10.x [1,1]\n\x00\x00\x00\x00");
        expected.extend(b"blocks.2.x [1,1]\n\x00\x00\x00\x80");
        expected.extend(b"norm.weight [2]\n\x00\x00\x80\x3f\x00\x00\x00\xbf");
        let fingerprint = fingerprint(&Shape::vit_b16(), &Weights(weights));
        assert_eq!(fingerprint.0, crate::hash::content_hash(&expected));
    }
}
