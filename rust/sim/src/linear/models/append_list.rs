use std::collections::HashMap;

use super::super::{Model, Value};
use super::ModelError;

/// What a list is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AppendListCall {
    /// Puts this at the end; answers the new length, or nothing.
    Append(Value),
    /// Answers the whole list.
    Read,
}

/// A list that only grows.
///
/// A state is the number of a node in a tree of all lists that were met: each node is its parent's list with one value more. So
/// long lists are neither copied nor compared.
#[derive(Clone, Debug)]
pub struct AppendList {
    nodes: Vec<Node>,
    children: HashMap<(u32, Value), u32>,
}

#[derive(Clone, Debug)]
struct Node {
    parent: u32,
    value: Value,
    length: i64,
}

impl Default for AppendList {
    fn default() -> Self {
        Self { nodes: vec![Node { parent: 0, value: Value::Nil, length: 0 }], children: HashMap::new() }
    }
}

impl AppendList {
    /// What a state holds.
    #[must_use]
    pub fn shown(&self, state: u32) -> Value {
        let mut values = Vec::new();
        let mut at = state;
        while at != 0 {
            let node = &self.nodes[at as usize];
            values.push(node.value.clone());
            at = node.parent;
        }
        values.reverse();
        Value::List(values.into())
    }

    fn child(&mut self, parent: u32, value: &Value) -> Result<u32, ModelError> {
        let key = (parent, value.clone());
        if let Some(&known) = self.children.get(&key) {
            return Ok(known);
        }
        let new = u32::try_from(self.nodes.len()).map_err(|_| ModelError("too many lists".to_owned()))?;
        let length = self.nodes[parent as usize].length + 1;
        self.nodes.push(Node { parent, value: value.clone(), length });
        self.children.insert(key, new);
        Ok(new)
    }

    /// Whether a state holds exactly these values.
    fn holds(&self, state: u32, values: &[Value]) -> bool {
        if usize::try_from(self.nodes[state as usize].length) != Ok(values.len()) {
            return false;
        }
        let mut at = state;
        values.iter().rev().all(|value| {
            let node = &self.nodes[at as usize];
            at = node.parent;
            node.value == *value
        })
    }
}

impl Model for AppendList {
    type Call = AppendListCall;
    type Output = Value;
    type State = u32;
    type Key = ();
    type Error = ModelError;

    fn init(&mut self) -> Result<u32, ModelError> {
        Ok(0)
    }

    fn step(&mut self, state: &u32, call: &AppendListCall, output: Option<&Value>) -> Result<Option<u32>, ModelError> {
        match call {
            AppendListCall::Append(value) => {
                let length = self.nodes[*state as usize].length + 1;
                let fits = super::may_fit(output, &Value::Int(length));
                if fits { self.child(*state, value).map(Some) } else { Ok(None) }
            }
            AppendListCall::Read => Ok(match output {
                None => true,
                Some(Value::List(values)) => self.holds(*state, values),
                // A list that nobody has appended to may be shown as nothing.
                Some(Value::Nil) => *state == 0,
                Some(_) => false,
            }
            .then_some(*state)),
        }
    }

    fn reads(&mut self, call: &AppendListCall, _output: Option<&Value>) -> Result<bool, ModelError> {
        Ok(*call == AppendListCall::Read)
    }

    fn partition(&mut self, _call: &AppendListCall) -> Result<Option<()>, ModelError> {
        Ok(Some(()))
    }
}
