//! Named tensors of a checkpoint: a torch.save archive or a .safetensors file.

use std::collections::HashSet;

use super::pickle::{self, Objects, PickleError, TensorView, Value};
use super::strides::{extent, gather};
use crate::archive::{Archive, ArchiveError, ArchiveLimits};
use crate::tensors::{Dtype, TensorError, TensorFile, View, to_f32};

/// Names under which programs keep the state dict among other things.
const NESTED: [&str; 3] = ["state_dict", "model", "model_state_dict"];

/// A tensor of the checkpoint, widened or rounded to f32.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// As in the checkpoint.
    pub name: String,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// What is refused as too large.
#[derive(Clone, Copy, Debug)]
pub struct CheckpointLimits {
    /// Members of the archive.
    pub entries_max: usize,
    /// Bytes of the pickle.
    pub pickle_bytes_max: u64,
    /// Bytes of all storages that tensors refer to, counted once for each tensor.
    pub storage_bytes_max: u64,
    /// Values of all tensors.
    pub values_max: usize,
}

impl Default for CheckpointLimits {
    fn default() -> Self {
        Self { entries_max: 65_536, pickle_bytes_max: 4 << 20, storage_bytes_max: 1 << 30, values_max: 128 << 20 }
    }
}

/// Why a checkpoint cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Neither of the two forms.
    #[error("{0}")]
    Unknown(&'static str),
    /// A damaged archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A pickle that is refused or damaged.
    #[error("{member}: {source}")]
    Pickle {
        /// The archive's member.
        member: String,
        /// What is wrong.
        source: PickleError,
    },
    /// A damaged .safetensors file.
    #[error(transparent)]
    Tensors(#[from] TensorError),
    /// A tensor that cannot be taken from its storage.
    #[error("{name}: {why}")]
    Tensor {
        /// The tensor, or the entry that is none.
        name: String,
        /// What is wrong.
        why: String,
    },
}

/// Reads every tensor, in the file's order for archives and by name for .safetensors.
pub fn read(bytes: &[u8], limits: &CheckpointLimits) -> Result<Vec<NamedTensor>, CheckpointError> {
    if bytes.starts_with(b"PK") {
        return archive(bytes, limits);
    }
    match TensorFile::parse(bytes) {
        Ok(file) => container(&file),
        Err(_) if bytes.is_empty() => Err(CheckpointError::Unknown("the file is empty")),
        Err(_) if bytes.starts_with(b"\x80") => Err(CheckpointError::Unknown(
            "a pickle outside a zip archive (torch.save before 1.6, or another program): load and save it again with a \
             newer torch",
        )),
        Err(error) => Err(error.into()),
    }
}

fn container(file: &TensorFile<'_>) -> Result<Vec<NamedTensor>, CheckpointError> {
    let mut names = file.names();
    names.sort_unstable();
    let tensor = |name: String| {
        let read = file.f32(&name)?.map(|(shape, values)| NamedTensor { name, shape, values });
        Some(read.map_err(CheckpointError::from))
    };
    names.into_iter().filter_map(tensor).collect()
}

fn archive(bytes: &[u8], limits: &CheckpointLimits) -> Result<Vec<NamedTensor>, CheckpointError> {
    let archive_limits = ArchiveLimits { entries_max: limits.entries_max, entry_bytes_max: limits.storage_bytes_max };
    let archive = Archive::open(bytes, archive_limits)?;
    let root = root(&archive)?;
    let byteorder = format!("{root}byteorder");
    if archive.names().contains(&byteorder) && archive.read_start(&byteorder, 6)? != b"little" {
        return Err(CheckpointError::Unknown("the archive was written on a big-endian machine: save it on another"));
    }
    let member = format!("{root}data.pkl");
    if archive.size(&member)? > limits.pickle_bytes_max {
        let (name, bytes, max) = (member.clone(), archive.size(&member)?, limits.pickle_bytes_max);
        return Err(ArchiveError::TooLarge { name, bytes, max }.into());
    }
    let stream = archive.read(&member)?;
    let (value, objects) = pickle::read(&stream).map_err(|source| CheckpointError::Pickle { member, source })?;
    let mut reader = Reader { archive, root, limits: *limits, storage_bytes: 0, values: 0 };
    state_dict(value, &objects)?.into_iter().map(|(name, tensor)| reader.tensor(name, tensor)).collect()
}

/// The folder that holds `data.pkl`, with its slash.
fn root(archive: &Archive<'_>) -> Result<String, CheckpointError> {
    let mut roots = archive.names().iter().filter_map(|name| name.strip_suffix("data.pkl"));
    match (roots.next(), roots.next()) {
        (Some(root), None) if root.is_empty() || root.ends_with('/') => Ok(root.to_owned()),
        _ => Err(CheckpointError::Unknown("a zip archive, but not one of torch.save: it has no data.pkl")),
    }
}

type Entries<'a, 'o> = Vec<(&'a str, &'o TensorView<'a>)>;

/// Names and tensors of the dictionary, or of the one that it holds under a usual name.
fn state_dict<'a, 'o>(value: Value<'a>, objects: &'o Objects<'a>) -> Result<Entries<'a, 'o>, CheckpointError> {
    let Value::Dict(outer) = value else {
        return Err(CheckpointError::Unknown("the checkpoint is no dictionary: save a state dict with torch.save"));
    };
    let outer = &objects.dicts[outer];
    let nested = outer.iter().find_map(|entry| match *entry {
        (Value::Text(name), Value::Dict(inner)) if NESTED.contains(&name) => Some(&objects.dicts[inner]),
        _ => None,
    });
    let mut seen = HashSet::new();
    let entries = nested.unwrap_or(outer).iter().map(|entry| {
        let wrong = |name: &str, why: &str| CheckpointError::Tensor { name: name.to_owned(), why: why.to_owned() };
        match *entry {
            (Value::Text(name), _) if !seen.insert(name) => Err(wrong(name, "appears twice")),
            (Value::Text(name), Value::Tensor(tensor)) => Ok((name, &objects.tensors[tensor])),
            (Value::Text(name), _) => Err(wrong(name, "is no tensor; save only the state dict")),
            _ => Err(wrong("a key", "is no string; save only the state dict")),
        }
    });
    entries.collect()
}

struct Reader<'a> {
    archive: Archive<'a>,
    root: String,
    limits: CheckpointLimits,
    storage_bytes: u64,
    values: usize,
}

impl Reader<'_> {
    fn tensor(&mut self, name: &str, view: &TensorView<'_>) -> Result<NamedTensor, CheckpointError> {
        let wrong = |why: String| CheckpointError::Tensor { name: name.to_owned(), why };
        let values = extent(view).map_err(wrong)?;
        self.values = self.values.saturating_add(values);
        if self.values > self.limits.values_max {
            return Err(wrong(format!("tensors hold more than {} values", self.limits.values_max)));
        }
        let member = format!("{}data/{}", self.root, view.storage.key);
        self.storage_bytes = self.storage_bytes.saturating_add(self.archive.size(&member)?);
        if self.storage_bytes > self.limits.storage_bytes_max {
            return Err(wrong(format!("storages hold more than {} bytes", self.limits.storage_bytes_max)));
        }
        let bytes = self.archive.read(&member)?;
        let dtype = view.storage.dtype;
        let expected = view.storage.len.saturating_mul(size(dtype));
        if bytes.len() != expected {
            return Err(wrong(format!("its storage should be {expected} bytes, {member} has {}", bytes.len())));
        }
        let flat = to_f32(name, View { dtype, shape: &[view.storage.len], bytes: &bytes })?;
        Ok(NamedTensor { name: name.to_owned(), shape: view.shape.clone(), values: gather(&flat, view, values) })
    }
}

fn size(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PTH: &[u8] = include_bytes!("../../../tests/data/rlrr-tiny/adapter 75.60.pth");
    const SAFETENSORS: &[u8] = include_bytes!("../../../tests/data/rlrr-tiny/adapter.official-names.safetensors");

    fn sorted(bytes: &[u8]) -> Vec<NamedTensor> {
        let mut tensors = read(bytes, &CheckpointLimits::default()).expect("valid");
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        tensors
    }

    #[test]
    fn both_forms_of_the_golden_hold_the_same_tensors() {
        let tensors = sorted(PTH);
        assert_eq!(tensors.len(), 72);
        assert_eq!(tensors, sorted(SAFETENSORS));
    }

    #[test]
    fn limits_hold() {
        let refused = |limits: CheckpointLimits| read(PTH, &limits).expect_err("too large").to_string();
        let limits = CheckpointLimits::default();
        assert!(refused(CheckpointLimits { values_max: 1000, ..limits }).contains("more than 1000 values"));
        assert!(refused(CheckpointLimits { pickle_bytes_max: 100, ..limits }).contains("at most 100"));
        assert!(refused(CheckpointLimits { entries_max: 10, ..limits }).contains("78 members"));
        let small = refused(CheckpointLimits { storage_bytes_max: 10_000, ..limits });
        assert!(small.contains("more than 10000 bytes"), "{small}");
    }

    #[test]
    fn other_files_are_answered_with_a_sentence() {
        let refused = |bytes: &[u8]| read(bytes, &CheckpointLimits::default()).expect_err("no checkpoint").to_string();
        assert_eq!(refused(b""), "the file is empty");
        assert!(refused(b"\x80\x02\x8a\x0al\xfc\x9cF").contains("newer torch"));
        assert!(refused(b"PK\x05\x06").contains("not a valid zip archive"));
        assert!(refused(b"hello, this is a text").contains("something else"));
    }

    proptest! {
        #[test]
        fn damage_never_panics(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = PTH.to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            _ = read(&bytes, &CheckpointLimits::default());
        }
    }
}
