//! Values of the built-in models.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

/// What the built-in models hold and answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// Nothing.
    #[default]
    Nil,
    /// A number; yes and no are 1 and 0.
    Int(i64),
    /// Characters.
    Text(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// Values in an order.
    List(Arc<[Value]>),
    /// Anything else, known by a number that is its own.
    Other(u32),
}

impl Value {
    /// Yes or no.
    #[must_use]
    pub fn truth(yes: bool) -> Self {
        Self::Int(yes.into())
    }

    /// This with the other behind it; `None` where that makes no sense.
    #[must_use]
    pub fn joined(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Nil, other) => Some(other.clone()),
            (Self::Text(one), Self::Text(other)) => Some(Self::Text([&**one, &**other].concat().into())),
            (Self::Bytes(one), Self::Bytes(other)) => Some(Self::Bytes([&**one, &**other].concat().into())),
            (Self::List(one), Self::List(other)) => Some(Self::List([&**one, &**other].concat().into())),
            _ => None,
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl<V: Into<Value>> FromIterator<V> for Value {
    fn from_iter<I: IntoIterator<Item = V>>(values: I) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("nothing"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::List(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if at == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Self::Other(number) => write!(f, "value {number}"),
        }
    }
}
