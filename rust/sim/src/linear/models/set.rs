use std::collections::BTreeSet;

use super::super::{Model, Value};
use super::{ModelError, fits, may_fit};

/// What a set is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SetCall {
    /// Puts this in; answers whether it is new, or nothing.
    Add(Value),
    /// Takes this out; answers whether it was there, or nothing.
    Remove(Value),
    /// Answers whether this is in.
    Contains(Value),
    /// Answers everything that is in, as an ascending list.
    Read,
}

/// Values without order, each once. They do not concern each other, unless the whole set is read.
#[derive(Clone, Debug, Default)]
pub struct Set;

impl Model for Set {
    type Call = SetCall;
    type Output = Value;
    type State = BTreeSet<Value>;
    type Key = Value;
    type Error = ModelError;

    fn init(&mut self) -> Result<BTreeSet<Value>, ModelError> {
        Ok(BTreeSet::new())
    }

    fn step(
        &mut self,
        state: &BTreeSet<Value>,
        call: &SetCall,
        output: Option<&Value>,
    ) -> Result<Option<BTreeSet<Value>>, ModelError> {
        let changed = |fits: bool, change: &dyn Fn(&mut BTreeSet<Value>) -> bool| {
            fits.then(|| {
                let mut after = state.clone();
                change(&mut after);
                after
            })
        };
        Ok(match call {
            SetCall::Add(value) => {
                let new = Value::truth(!state.contains(value));
                changed(may_fit(output, &new), &|after| after.insert(value.clone()))
            }
            SetCall::Remove(value) => {
                let there = Value::truth(state.contains(value));
                changed(may_fit(output, &there), &|after| after.remove(value))
            }
            SetCall::Contains(value) => fits(output, &Value::truth(state.contains(value))).then(|| state.clone()),
            SetCall::Read => {
                let fits = match output {
                    None => true,
                    Some(Value::List(values)) => state.iter().eq(values.iter()),
                    Some(Value::Nil) => state.is_empty(),
                    Some(_) => false,
                };
                fits.then(|| state.clone())
            }
        })
    }

    fn reads(&mut self, call: &SetCall, output: Option<&Value>) -> Result<bool, ModelError> {
        Ok(match call {
            SetCall::Contains(_) | SetCall::Read => true,
            // Nothing was changed where nothing was new, or nothing was there.
            SetCall::Add(_) | SetCall::Remove(_) => output == Some(&Value::truth(false)),
        })
    }

    fn partition(&mut self, call: &SetCall) -> Result<Option<Value>, ModelError> {
        Ok(match call {
            SetCall::Read => None,
            SetCall::Add(value) | SetCall::Remove(value) | SetCall::Contains(value) => Some(value.clone()),
        })
    }
}
