//! The pickle of a torch.save archive, read without executing anything: an interpreter of the opcodes that a state
//! dict needs, whose only objects are the ones below. Opcodes are those of CPython's Lib/pickletools.py.

use std::collections::HashMap;

use crate::tensors::Dtype;

/// A description that is used again and again must not make the work more than linear.
const DIMENSIONS_MAX: usize = 8;

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

/// Runs the stream to its STOP. Time and memory are linear in its length.
pub fn read(stream: &[u8]) -> Result<(Value<'_>, Objects<'_>), PickleError> {
    let mut machine = Machine {
        input: stream,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        objects: Objects::default(),
    };
    while machine.step()? {}
    let value = machine.pop()?;
    Ok((value, machine.objects))
}

struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at each MARK.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
    objects: Objects<'a>,
}

type Step<T> = Result<T, PickleError>;

impl<'a> Machine<'a> {
    /// One opcode; false at STOP.
    fn step(&mut self) -> Step<bool> {
        let at = self.at;
        match self.byte()? {
            b'.' => return Ok(false),
            0x80 => _ = self.byte()?,
            0x95 => _ = self.take(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b'}' => self.push_dict(Vec::new()),
            b')' | b']' => self.push_list(Vec::new()),
            b't' | b'l' => {
                let items = self.above_mark()?;
                self.push_list(items);
            }
            b'd' => {
                let items = self.above_mark()?;
                self.push_dict(Vec::new());
                self.set_items(items)?;
            }
            opcode @ 0x85..=0x87 => self.short_tuple(usize::from(opcode - 0x84))?,
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Other),
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Other);
            }
            b'J' => {
                let value = i32::from_le_bytes(self.chunk()?);
                self.stack.push(Value::Int(value.into()));
            }
            b'K' => {
                let value = self.byte()?;
                self.stack.push(Value::Int(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.chunk()?);
                self.stack.push(Value::Int(value.into()));
            }
            0x8a => self.long()?,
            b'X' => {
                let length = u32::from_le_bytes(self.chunk()?);
                self.text(length as usize)?;
            }
            0x8c => {
                let length = self.byte()?;
                self.text(length.into())?;
            }
            b'q' => {
                let index = self.byte()?;
                self.memoize(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.chunk()?);
                self.memoize(index)?;
            }
            0x94 => self.memoize(u32::try_from(self.memo.len()).map_err(|_| self.damaged("too many memos"))?)?,
            b'h' => {
                let index = self.byte()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.chunk()?);
                self.recall(index)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Global(Global::named(module, name)?));
            }
            0x93 => {
                let (Value::Text(name), Value::Text(module)) = (self.pop()?, self.pop()?) else {
                    return Err(self.damaged("a global needs two strings"));
                };
                self.stack.push(Value::Global(Global::named(module, name)?));
            }
            b'Q' => self.persistent()?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(vec![key, value])?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set_items(items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.above_mark()?;
                self.append(items)?;
            }
            opcode => return Err(PickleError::Opcode { opcode, at }),
        }
        Ok(true)
    }

    fn damaged(&self, what: &'static str) -> PickleError {
        PickleError::Damaged { at: self.at, what }
    }

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let bytes = self.input.get(self.at..).and_then(|rest| rest.get(..count));
        let bytes = bytes.ok_or_else(|| self.damaged("the stream ends"))?;
        self.at += count;
        Ok(bytes)
    }

    fn chunk<const N: usize>(&mut self) -> Step<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| self.damaged("the stream ends"))
    }

    fn byte(&mut self) -> Step<u8> {
        Ok(self.chunk::<1>()?[0])
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.input[self.at..];
        let end = rest.iter().position(|&b| b == b'\n').ok_or_else(|| self.damaged("the stream ends"))?;
        let line = str::from_utf8(&rest[..end]).map_err(|_| self.damaged("a name is not UTF-8"))?;
        self.at += end + 1;
        Ok(line)
    }

    fn text(&mut self, bytes: usize) -> Step<()> {
        let text = str::from_utf8(self.take(bytes)?).map_err(|_| self.damaged("a string is not UTF-8"))?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    /// LONG1: little-endian two's complement of any length; torch writes sizes above 2^31 so.
    fn long(&mut self) -> Step<()> {
        let length = self.byte()?;
        let bytes = self.take(length.into())?;
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
        self.stack.push(match wide.get_mut(..bytes.len()) {
            Some(low) => {
                low.copy_from_slice(bytes);
                Value::Int(i64::from_le_bytes(wide))
            }
            None => Value::Other,
        });
        Ok(())
    }

    /// Pops a value, never below the last mark.
    fn pop(&mut self) -> Step<Value<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let value = if self.stack.len() > floor { self.stack.pop() } else { None };
        value.ok_or_else(|| self.damaged("the stack is empty"))
    }

    fn above_mark(&mut self) -> Step<Vec<Value<'a>>> {
        let mark = self.marks.pop().ok_or_else(|| self.damaged("there is no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn push_list(&mut self, items: Vec<Value<'a>>) {
        self.stack.push(Value::List(self.objects.lists.len()));
        self.objects.lists.push(items);
    }

    fn push_dict(&mut self, items: Vec<(Value<'a>, Value<'a>)>) {
        self.stack.push(Value::Dict(self.objects.dicts.len()));
        self.objects.dicts.push(items);
    }

    fn short_tuple(&mut self, count: usize) -> Step<()> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Step<Vec<_>>>()?;
        items.reverse();
        self.push_list(items);
        Ok(())
    }

    fn top(&self) -> Step<Value<'a>> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(|s| s.last()).copied().ok_or_else(|| self.damaged("the stack is empty"))
    }

    fn memoize(&mut self, index: u32) -> Step<()> {
        let value = self.top()?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Step<()> {
        let value = self.memo.get(&index).copied().ok_or_else(|| self.damaged("an unknown memo is recalled"))?;
        self.stack.push(value);
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value<'a>>) -> Step<()> {
        let Value::Dict(dict) = self.top()? else { return Err(self.damaged("items are set, but not of a dict")) };
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.damaged("a key has no value"));
        }
        self.objects.dicts[dict].extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    fn append(&mut self, items: Vec<Value<'a>>) -> Step<()> {
        let Value::List(list) = self.top()? else { return Err(self.damaged("appended, but not to a list")) };
        self.objects.lists[list].extend(items);
        Ok(())
    }

    fn items(&self, value: Value<'a>) -> Step<&[Value<'a>]> {
        match value {
            Value::List(list) => Ok(&self.objects.lists[list]),
            _ => Err(self.damaged("a tuple is needed")),
        }
    }

    /// ('storage', type, key, location, number of values)
    fn persistent(&mut self) -> Step<()> {
        let id = self.pop()?;
        let &[Value::Text("storage"), Value::Global(Global::Storage(dtype)), Value::Text(key), _, Value::Int(len)] =
            self.items(id)?
        else {
            return Err(self.damaged("a storage is described in an unknown way"));
        };
        let len = usize::try_from(len).map_err(|_| self.damaged("a storage has a negative size"))?;
        self.stack.push(Value::Storage(self.objects.storages.len()));
        self.objects.storages.push(Storage { dtype, key, len });
        Ok(())
    }

    fn reduce(&mut self) -> Step<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        match function {
            Value::Global(Global::OrderedDict) if self.items(arguments)?.is_empty() => self.push_dict(Vec::new()),
            Value::Global(Global::RebuildTensor) => {
                let tensor = self.tensor(arguments)?;
                self.stack.push(Value::Tensor(self.objects.tensors.len()));
                self.objects.tensors.push(tensor);
            }
            _ => return Err(self.damaged("a call that is not needed for a state dict")),
        }
        Ok(())
    }

    /// (storage, offset, size, stride, requires_grad, hooks, …); what follows the strides changes no value.
    fn tensor(&self, arguments: Value<'a>) -> Step<TensorView<'a>> {
        let &[Value::Storage(storage), Value::Int(offset), shape, strides, ..] = self.items(arguments)? else {
            return Err(self.damaged("a tensor is described in an unknown way"));
        };
        let sizes = |value: Value<'a>| {
            let size = |value: &Value<'a>| match value {
                Value::Int(n) => usize::try_from(*n).map_err(|_| self.damaged("a tensor has a negative size")),
                _ => Err(self.damaged("a tensor's sizes must be integers")),
            };
            let values = self.items(value)?;
            if values.len() > DIMENSIONS_MAX {
                return Err(self.damaged("a tensor has too many dimensions"));
            }
            values.iter().map(size).collect::<Step<Vec<_>>>()
        };
        Ok(TensorView {
            storage: self.objects.storages[storage],
            offset: usize::try_from(offset).map_err(|_| self.damaged("a tensor has a negative offset"))?,
            shape: sizes(shape)?,
            strides: sizes(strides)?,
        })
    }

    /// The attributes of an OrderedDict (`_metadata` of a module's state dict) hold no values.
    fn build(&mut self) -> Step<()> {
        let (state, object) = (self.pop()?, self.top()?);
        match (state, object) {
            (Value::Dict(_), Value::Dict(_)) => Ok(()),
            _ => Err(self.damaged("only a dictionary's attributes may be set")),
        }
    }
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
