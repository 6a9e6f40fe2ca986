use super::super::{Model, Value};
use super::{ModelError, RegisterCall, may_fit};

/// What a map is asked, each for one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MapCall {
    /// As a register.
    Register(Value, RegisterCall),
    /// Puts this behind what is there.
    Append(Value, Value),
    /// Takes the key out; answers whether it was there, or nothing.
    Delete(Value),
}

/// A map of keys to values. Keys do not concern each other.
#[derive(Clone, Debug, Default)]
pub struct Map {
    /// What is answered for a key that is not there.
    pub initial: Value,
}

impl Model for Map {
    type Call = MapCall;
    type Output = Value;
    type State = Value;
    type Key = Value;
    type Error = ModelError;

    fn init(&mut self) -> Result<Value, ModelError> {
        Ok(self.initial.clone())
    }

    fn step(&mut self, state: &Value, call: &MapCall, output: Option<&Value>) -> Result<Option<Value>, ModelError> {
        match call {
            MapCall::Register(_, call) => Ok(call.step(state, output)),
            MapCall::Append(_, value) => match state.joined(value) {
                Some(joined) => Ok(Some(joined)),
                None => Err(ModelError(format!("{value} cannot be appended to {state}"))),
            },
            MapCall::Delete(_) => {
                let was_there = Value::truth(*state != self.initial);
                Ok(may_fit(output, &was_there).then(|| self.initial.clone()))
            }
        }
    }

    fn reads(&mut self, call: &MapCall, output: Option<&Value>) -> Result<bool, ModelError> {
        Ok(match call {
            MapCall::Register(_, call) => call.reads(output),
            MapCall::Append(..) => false,
            MapCall::Delete(_) => output == Some(&Value::truth(false)),
        })
    }

    fn partition(&mut self, call: &MapCall) -> Result<Option<Value>, ModelError> {
        let (MapCall::Register(key, _) | MapCall::Append(key, _) | MapCall::Delete(key)) = call;
        Ok(Some(key.clone()))
    }
}
