//! The models that are built in. All hold and answer `Value`s.

mod append_list;
mod counter;
mod lock;
mod map;
mod queue;
mod register;
mod set;

pub use append_list::{AppendList, AppendListCall};
pub use counter::{Counter, CounterCall};
pub use lock::{Lock, LockCall};
pub use map::{Map, MapCall};
pub use queue::{Queue, QueueCall};
pub use register::{Register, RegisterCall};
pub use set::{Set, SetCall};

/// A step that cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ModelError(pub String);

/// Whether a call may have answered that; nobody knows better if there is no output.
fn fits(output: Option<&super::Value>, expected: &super::Value) -> bool {
    output.is_none_or(|output| output == expected)
}

/// The same for an output that need not be told: nothing says nothing.
fn may_fit(output: Option<&super::Value>, expected: &super::Value) -> bool {
    output.is_none_or(|output| *output == super::Value::Nil || output == expected)
}
