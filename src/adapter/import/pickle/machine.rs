use std::collections::HashMap;

use super::{Global, Objects, PickleError, Storage, TensorView, Value};

/// A description that is used again and again must not make the work more than linear.
const DIMENSIONS_MAX: usize = 8;

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
