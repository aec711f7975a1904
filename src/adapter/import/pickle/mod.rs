//! The pickle of a torch.save archive, read without executing anything: an interpreter of the opcodes that a state
//! dict needs, whose only objects are the ones below. Opcodes are those of CPython's Lib/pickletools.py.

mod machine;

pub use machine::read;

use crate::tensors::Dtype;

/// Why a pickle was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// A global that is not on the list.
    #[error(
        "it refers to `{0}`; only tensors in dictionaries are read, and nothing is executed. Save a plain state dict: \
         torch.save({{name: tensor, …}}, FILE)"
    )]
    Refused(String),
    /// An opcode that no state dict needs.
    #[error("opcode {opcode:#04x} at byte {at} is not needed for a state dict and is refused")]
    Opcode {
        /// The opcode.
        opcode: u8,
        /// Its place.
        at: usize,
    },
    /// The stream ends early, or an opcode finds other things than it needs.
    #[error("damaged at byte {at}: {what}")]
    Damaged {
        /// Where.
        at: usize,
        /// What was missing.
        what: &'static str,
    },
}

/// A run of values in the archive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Storage<'a> {
    /// Element type.
    pub dtype: Dtype,
    /// Name of the member below `data/`.
    pub key: &'a str,
    /// Number of values.
    pub len: usize,
}

/// A tensor as a view of a storage, not yet checked against it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorView<'a> {
    /// Where its values are.
    pub storage: Storage<'a>,
    /// First value.
    pub offset: usize,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Steps in values, one per size.
    pub strides: Vec<usize>,
}

/// What a pickle can hold. Numbers index the lists of [`Objects`], so values are cheap to copy and cannot form cycles
/// that own each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// None, a bool, a float or an integer beyond 64 bits: nothing that a state dict needs.
    Other,
    /// An integer.
    Int(i64),
    /// A string.
    Text(&'a str),
    /// One of the allowed names.
    Global(Global),
    /// Index of [`Objects::lists`]: a tuple or a list.
    List(usize),
    /// Index of [`Objects::dicts`].
    Dict(usize),
    /// Index of [`Objects::storages`].
    Storage(usize),
    /// Index of [`Objects::tensors`].
    Tensor(usize),
}

/// The names that may be referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Global {
    /// torch._utils._rebuild_tensor_v2
    RebuildTensor,
    /// collections.OrderedDict
    OrderedDict,
    /// torch.FloatStorage and its like.
    Storage(Dtype),
}

impl Global {
    fn named(module: &str, name: &str) -> Result<Self, PickleError> {
        Ok(match (module, name) {
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch", "FloatStorage") => Self::Storage(Dtype::F32),
            ("torch", "HalfStorage") => Self::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Dtype::BF16),
            ("torch", "DoubleStorage") => Self::Storage(Dtype::F64),
            _ => return Err(PickleError::Refused(format!("{module}.{name}").chars().take(100).collect())),
        })
    }
}

/// Everything that the stream made.
#[derive(Debug, Default)]
pub struct Objects<'a> {
    /// Tuples and lists.
    pub lists: Vec<Vec<Value<'a>>>,
    /// Dictionaries in insertion order; a repeated key appears twice.
    pub dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    /// Storages.
    pub storages: Vec<Storage<'a>>,
    /// Tensors.
    pub tensors: Vec<TensorView<'a>>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A dictionary of one tensor, as torch.save writes it, with the given global in the tensor's place.
    fn state_dict(global: &str) -> Vec<u8> {
        let mut stream = b"\x80\x02}q\x00X\x01\x00\x00\x00wc".to_vec();
        stream.extend_from_slice(global.as_bytes());
        stream.extend_from_slice(
            b"((X\x07\x00\x00\x00storagectorch\nHalfStorage\nX\x01\x00\x00\x007X\x03\x00\x00\x00cpu",
        );
        stream
            .extend_from_slice(b"K\x06tQK\x01K\x02K\x03\x86K\x01\x8a\x01\x02\x86\x89ccollections\nOrderedDict\n)RtRs.");
        stream
    }

    #[test]
    fn a_state_dict_is_read() {
        let stream = state_dict("torch._utils\n_rebuild_tensor_v2\n");
        let (value, objects) = read(&stream).expect("valid");
        assert_eq!(value, Value::Dict(0));
        assert_eq!(objects.dicts[0], [(Value::Text("w"), Value::Tensor(0))]);
        let storage = Storage { dtype: Dtype::F16, key: "7", len: 6 };
        assert_eq!(objects.tensors, [TensorView { storage, offset: 1, shape: vec![2, 3], strides: vec![1, 2] }]);
    }

    #[test]
    fn other_globals_are_refused_by_name() {
        for global in ["posix\nsystem\n", "builtins\neval\n", "torch\nLongStorage\n"] {
            let error = read(&state_dict(global)).expect_err("refused");
            assert_eq!(error, PickleError::Refused(global.trim_end().replace('\n', ".")));
        }
        let stacked = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.";
        assert_eq!(read(stacked).expect_err("refused"), PickleError::Refused("os.system".into()));
    }

    #[test]
    fn opcodes_that_call_or_import_otherwise_are_refused() {
        for opcode in [b'i', b'o', 0x81, 0x92, b'P', 0x82, b'0', b'2'] {
            let error = read(&[0x80, 2, b'}', opcode, b'.']).expect_err("refused");
            assert_eq!(error, PickleError::Opcode { opcode, at: 3 });
        }
    }

    #[test]
    fn a_call_of_the_wrong_thing_is_refused() {
        assert!(matches!(read(b"}}R."), Err(PickleError::Damaged { .. })));
        assert!(matches!(read(b"ccollections\nOrderedDict\n}\x85R."), Err(PickleError::Damaged { .. })));
    }

    #[test]
    fn a_description_used_again_and_again_stays_small() {
        let mut stream = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00((".to_vec();
        stream.extend_from_slice(
            b"X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x007X\x00\x00\x00\x00K\x01tQK\x00(",
        );
        stream.extend_from_slice(&b"K\x01".repeat(9));
        stream.extend_from_slice(b"t)tR.");
        assert!(matches!(read(&stream), Err(PickleError::Damaged { what: "a tensor has too many dimensions", .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            _ = read(&bytes);
        }

        #[test]
        fn any_damage_ends_in_a_value_or_an_error(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            let mut stream = state_dict("torch._utils\n_rebuild_tensor_v2\n");
            for (at, byte) in changes {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            _ = read(&stream);
        }
    }
}
