//! The safetensors container: named tensors and string metadata, read without copying, written deterministically.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

pub use safetensors::Dtype;
use safetensors::{SafeTensorError, SafeTensors};

/// A file that is no safetensors container, or a tensor that cannot be read as asked.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// The file could not be opened or mapped.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Fewer bytes than the header says that it has.
    #[error("the file has {file} bytes, fewer than its header says it has: it was cut off, or is something else")]
    HeaderCut {
        /// Bytes of the file.
        file: usize,
    },
    /// The tensors of the header and the bytes after it are not equally long.
    #[error(
        "the file has {file} bytes, which is not what its header describes: it was cut off, or something was added"
    )]
    Size {
        /// Bytes of the file.
        file: usize,
    },
    /// Header or offsets are wrong; the reader's own words.
    #[error("not a valid safetensors file: {0}")]
    Malformed(String),
    /// Values that are not F32, F16, BF16 or F64.
    #[error("tensor {name} has type {dtype:?}; F32, F16, BF16 and F64 can be read")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: Dtype,
    },
}

/// A read-only memory mapping of a whole file.
pub struct Mapped {
    path: PathBuf,
    map: memmap2::Mmap,
}

impl Mapped {
    /// Maps a file.
    pub fn open(path: &Path) -> Result<Self, TensorError> {
        let io = |source| TensorError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: read-only and private to this process. A file that is truncated while mapped would raise SIGBUS;
        // checkpoints are only mapped while loading, before the server is ready.
        #[expect(unsafe_code, reason = "mapping a file is unsafe by nature; see the line above")]
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        Ok(Self { path: path.to_owned(), map })
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Where it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A tensor inside a file's bytes.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Element type.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub shape: &'a [usize],
    /// Little-endian values in row-major order.
    pub bytes: &'a [u8],
}

/// Shape and values, row-major.
pub type Floats = (Vec<usize>, Vec<f32>);

/// A parsed container that borrows the file's bytes.
pub struct TensorFile<'a> {
    tensors: SafeTensors<'a>,
    metadata: BTreeMap<String, String>,
}

impl<'a> TensorFile<'a> {
    /// Parses and validates the header; values are not touched. Duplicate names and overlapping or missing ranges are
    /// refused by the reader.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TensorError> {
        let malformed = |error: SafeTensorError| match error {
            _ if header_bytes(bytes) > bytes.len() as u64 => TensorError::HeaderCut { file: bytes.len() },
            SafeTensorError::MetadataIncompleteBuffer => TensorError::Size { file: bytes.len() },
            error => TensorError::Malformed(error.to_string()),
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
        let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
        let tensors = SafeTensors::deserialize(bytes).map_err(malformed)?;
        Ok(Self { tensors, metadata })
    }

    /// The `__metadata__` map.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Tensor names in no particular order.
    pub fn names(&self) -> Vec<String> {
        self.tensors.names().into_iter().map(str::to_owned).collect()
    }

    /// Runs `f` on the tensor of that name, if there is one.
    pub fn with<R>(&self, name: &str, f: impl FnOnce(View<'_>) -> R) -> Option<R> {
        let view = self.tensors.tensor(name).ok()?;
        Some(f(View { dtype: view.dtype(), shape: view.shape(), bytes: view.data() }))
    }

    /// Shape and values, widened to f32.
    pub fn f32(&self, name: &str) -> Option<Result<Floats, TensorError>> {
        self.with(name, |view| Ok((view.shape.to_vec(), to_f32(name, view)?)))
    }
}

/// What the first 8 bytes say about the header's length; too much when they are not even there.
pub fn header_bytes(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(u64::MAX, |n| u64::from_le_bytes(*n))
}

/// The values of a tensor as f32: F16 and BF16 widened, F64 rounded.
pub fn to_f32(name: &str, view: View<'_>) -> Result<Vec<f32>, TensorError> {
    fn each<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|b| read(*b)).collect()
    }
    match view.dtype {
        Dtype::F32 => Ok(each(view.bytes, f32::from_le_bytes)),
        Dtype::F16 => Ok(each(view.bytes, |b| half::f16::from_le_bytes(b).to_f32())),
        Dtype::BF16 => Ok(each(view.bytes, |b| half::bf16::from_le_bytes(b).to_f32())),
        #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what is asked for")]
        Dtype::F64 => Ok(each(view.bytes, |b| f64::from_le_bytes(b) as f32)),
        dtype => Err(TensorError::Dtype { name: name.to_owned(), dtype }),
    }
}

/// A tensor to be written.
pub struct Named<'a> {
    /// Its name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Little-endian values.
    pub bytes: std::borrow::Cow<'a, [u8]>,
}

impl Named<'_> {
    /// An F32 tensor.
    pub fn f32(name: impl Into<String>, shape: Vec<usize>, values: &[f32]) -> Named<'static> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Named { name: name.into(), dtype: Dtype::F32, shape, bytes: bytes.into() }
    }

    /// A U8 tensor.
    pub fn u8(name: impl Into<String>, shape: Vec<usize>, values: &[u8]) -> Named<'_> {
        Named { name: name.into(), dtype: Dtype::U8, shape, bytes: values.into() }
    }
}

/// What the header says about a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a str,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub shape: &'a [usize],
}

/// Header (8-byte length and JSON, padded to 8 bytes) and the byte offset of each tensor from the file's start, in the
/// order given. Equal inputs give equal bytes, which the `safetensors` writer does not promise for metadata.
pub fn header<'a>(
    tensors: impl Iterator<Item = Entry<'a>>,
    metadata: &BTreeMap<String, String>,
) -> (Vec<u8>, Vec<usize>) {
    let mut map = serde_json::Map::new();
    if !metadata.is_empty() {
        map.insert("__metadata__".into(), serde_json::json!(metadata));
    }
    let mut offset = 0;
    let mut offsets = Vec::new();
    for Entry { name, dtype, shape } in tensors {
        let end = offset + shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [offset, end]});
        map.insert(name.to_owned(), entry);
        offsets.push(offset);
        offset = end;
    }
    let mut json = serde_json::Value::Object(map).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut out = (json.len() as u64).to_le_bytes().to_vec();
    out.extend_from_slice(&json);
    for offset in &mut offsets {
        *offset += out.len();
    }
    (out, offsets)
}

/// The whole file's bytes.
pub fn serialize(tensors: &[Named<'_>], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let entries = tensors.iter().map(|t| Entry { name: &t.name, dtype: t.dtype, shape: &t.shape });
    let (mut out, _) = header(entries, metadata);
    for tensor in tensors {
        out.extend_from_slice(&tensor.bytes);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let metadata = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "é".to_owned())]);
        let tensors = [Named::f32("x", vec![2, 2], &[1.0, -2.0, 3.5, 0.0]), Named::u8("p", vec![3], &[1, 2, 3])];
        let bytes = serialize(&tensors, &metadata);
        let file = TensorFile::parse(&bytes).expect("valid");
        assert_eq!(file.metadata(), &metadata);
        let (shape, values) = file.f32("x").expect("there").expect("f32");
        assert_eq!((shape, values), (vec![2, 2], vec![1.0, -2.0, 3.5, 0.0]));
        assert_eq!(file.with("p", |v| v.bytes.to_vec()), Some(vec![1, 2, 3]));
        assert!(matches!(file.f32("p"), Some(Err(TensorError::Dtype { .. }))));
    }

    #[test]
    fn a_cut_file_is_refused() {
        let bytes = serialize(&[Named::f32("x", vec![4], &[0.0; 4])], &BTreeMap::new());
        for len in 0..bytes.len() {
            assert!(TensorFile::parse(&bytes[..len]).is_err(), "{len}");
        }
    }
}
