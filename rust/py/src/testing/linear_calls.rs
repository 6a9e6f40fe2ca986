//! Calls of the built-in models, as tuples of Python: ("write", 3).

use d_engine_sim::linear::Value;
use d_engine_sim::linear::models::{AppendListCall, CounterCall, LockCall, MapCall, QueueCall, RegisterCall, SetCall};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::linear_values::{Values, refused};

/// One operation as it is read.
pub struct Read<'a, 'py> {
    /// Its place in the history.
    pub at: usize,
    pub call: &'a Bound<'py, PyAny>,
    /// `None`: nobody knows.
    pub result: Option<&'a Bound<'py, PyAny>>,
}

/// What the result of a call must be.
enum Answer {
    /// Anything.
    Any,
    /// Yes or no.
    Truth,
    /// Yes, no or nothing.
    MaybeTruth,
    /// A number.
    Number,
    /// A number or nothing.
    MaybeNumber,
    /// Values in any order.
    Members,
}

/// Calls of one model.
pub trait Calls: Sized {
    /// The call of that name, and what it answers; `None`: there is no such call with so many arguments.
    fn named(name: &str, arguments: &[Value]) -> Option<(Self, Shape)>;
    /// All names, for whoever used another one.
    const NAMES: &'static str;

    /// The call, and its output if it is known.
    fn read<'py>(read: &Read<'_, 'py>, values: &mut Values<'py>) -> PyResult<(Self, Option<Value>)> {
        let (name, arguments) = split(read, values)?;
        let Some((call, Shape(answer))) = Self::named(&name, &arguments) else {
            return Err(refused(read.at, read.call, &format!("the calls of this model are {}", Self::NAMES)));
        };
        let output = read.result.map(|result| read.output(&answer, result, values)).transpose()?;
        Ok((call, output))
    }
}

/// What a call answers. Only this module can look inside.
pub struct Shape(Answer);

impl<'py> Read<'_, 'py> {
    fn output(&self, answer: &Answer, result: &Bound<'py, PyAny>, values: &mut Values<'py>) -> PyResult<Value> {
        let value = match answer {
            Answer::Members if !result.is_none() => {
                let Value::List(members) = values.read_all(result)? else { return Ok(Value::Nil) };
                let mut members = members.to_vec();
                members.sort();
                return Ok(Value::List(members.into()));
            }
            _ => values.read(result)?,
        };
        let (fits, needed) = match answer {
            Answer::Any | Answer::Members => (true, ""),
            Answer::Truth => (matches!(value, Value::Int(0 | 1)), "True or False"),
            Answer::MaybeTruth => (matches!(value, Value::Nil | Value::Int(0 | 1)), "True, False or None"),
            Answer::Number => (matches!(value, Value::Int(_)), "a number of at most 64 bits"),
            Answer::MaybeNumber => {
                (matches!(value, Value::Nil | Value::Int(_)), "a number of at most 64 bits, or None")
            }
        };
        if fits {
            return Ok(value);
        }
        let result = result.repr()?;
        Err(refused(self.at, self.call, &format!("its result is {result}, where {needed} is needed")))
    }
}

/// The name and the arguments; a name alone is a call without arguments.
fn split<'py>(read: &Read<'_, 'py>, values: &mut Values<'py>) -> PyResult<(String, Vec<Value>)> {
    if let Ok(name) = read.call.cast::<PyString>() {
        return Ok((name.to_str()?.to_owned(), Vec::new()));
    }
    let parts = read.call.cast::<PyTuple>().ok().filter(|parts| !parts.is_empty());
    let parts = parts.ok_or_else(|| refused(read.at, read.call, "a tuple is needed, a name and its arguments"))?;
    let name = parts.get_item(0)?;
    let name = name.cast::<PyString>().map_err(|_| refused(read.at, read.call, "the first item is no name"))?;
    let arguments = parts.iter().skip(1).map(|argument| values.read(&argument)).collect::<PyResult<_>>()?;
    Ok((name.to_str()?.to_owned(), arguments))
}

impl Calls for RegisterCall {
    const NAMES: &'static str = "('read',), ('write', value), ('swap', value) and ('cas', old, new)";

    fn named(name: &str, arguments: &[Value]) -> Option<(Self, Shape)> {
        Some(match (name, arguments) {
            ("read" | "get", []) => (Self::Read, Shape(Answer::Any)),
            ("write" | "put" | "set", [value]) => (Self::Write(value.clone()), Shape(Answer::Any)),
            ("swap", [value]) => (Self::Swap(value.clone()), Shape(Answer::Any)),
            ("cas", [old, new]) => (Self::Cas { old: old.clone(), new: new.clone() }, Shape(Answer::Truth)),
            _ => return None,
        })
    }
}

impl Calls for MapCall {
    const NAMES: &'static str = "('read', key), ('write', key, value), ('swap', key, value), ('cas', key, old, new), \
                                 ('append', key, value) and ('delete', key)";

    fn named(name: &str, arguments: &[Value]) -> Option<(Self, Shape)> {
        let (key, rest) = arguments.split_first()?;
        Some(match (name, rest) {
            ("append", [value]) => (Self::Append(key.clone(), value.clone()), Shape(Answer::Any)),
            ("delete" | "remove", []) => (Self::Delete(key.clone()), Shape(Answer::MaybeTruth)),
            _ => {
                let (call, shape) = RegisterCall::named(name, rest)?;
                (Self::Register(key.clone(), call), shape)
            }
        })
    }
}

impl Calls for CounterCall {
    const NAMES: &'static str = "('add', number), ('increment',), ('decrement',) and ('read',)";

    fn named(name: &str, arguments: &[Value]) -> Option<(Self, Shape)> {
        Some(match (name, arguments) {
            ("add" | "increment", [Value::Int(number)]) => (Self::Add(*number), Shape(Answer::MaybeNumber)),
            ("decrement", [Value::Int(number)]) => (Self::Add(number.checked_neg()?), Shape(Answer::MaybeNumber)),
            ("increment", []) => (Self::Add(1), Shape(Answer::MaybeNumber)),
            ("decrement", []) => (Self::Add(-1), Shape(Answer::MaybeNumber)),
            ("read" | "get", []) => (Self::Read, Shape(Answer::Number)),
            _ => return None,
        })
    }
}

impl Calls for AppendListCall {
    const NAMES: &'static str = "('append', value) and ('read',)";

    fn named(name: &str, arguments: &[Value]) -> Option<(Self, Shape)> {
        Some(match (name, arguments) {
            ("append", [value]) => (Self::Append(value.clone()), Shape(Answer::MaybeNumber)),
            ("read" | "get", []) => (Self::Read, Shape(Answer::Any)),
            _ => return None,
        })
    }
}

impl Calls for QueueCall {
    const NAMES: &'static str = "('enqueue', value) and ('dequeue',)";

    fn named(name: &str, arguments: &[Value]) -> Option<(Self, Shape)> {
        Some(match (name, arguments) {
            ("enqueue" | "push", [value]) => (Self::Enqueue(value.clone()), Shape(Answer::Any)),
            ("dequeue" | "pop", []) => (Self::Dequeue, Shape(Answer::Any)),
            _ => return None,
        })
    }
}

impl Calls for SetCall {
    const NAMES: &'static str = "('add', value), ('remove', value), ('contains', value) and ('read',)";

    fn named(name: &str, arguments: &[Value]) -> Option<(Self, Shape)> {
        Some(match (name, arguments) {
            ("add", [value]) => (Self::Add(value.clone()), Shape(Answer::MaybeTruth)),
            ("remove" | "delete", [value]) => (Self::Remove(value.clone()), Shape(Answer::MaybeTruth)),
            ("contains", [value]) => (Self::Contains(value.clone()), Shape(Answer::Truth)),
            ("read" | "get", []) => (Self::Read, Shape(Answer::Members)),
            _ => return None,
        })
    }
}

impl Calls for LockCall {
    const NAMES: &'static str = "('acquire',), ('release',), ('acquire', owner) and ('release', owner)";

    fn named(name: &str, arguments: &[Value]) -> Option<(Self, Shape)> {
        // Without owners, whoever releases is the one who holds it.
        let owner = match arguments {
            [] => Value::Nil,
            [owner] => owner.clone(),
            _ => return None,
        };
        Some(match name {
            "acquire" => (Self::Acquire(owner), Shape(Answer::MaybeTruth)),
            "release" => (Self::Release(owner), Shape(Answer::MaybeTruth)),
            _ => return None,
        })
    }
}
