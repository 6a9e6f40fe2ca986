use super::super::{Model, Value};
use super::{ModelError, fits, may_fit};

/// What a counter is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CounterCall {
    /// Adds this; answers the sum, or nothing.
    Add(i64),
    /// Answers the sum.
    Read,
}

/// A sum.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    /// The sum before all calls.
    pub initial: i64,
}

impl Model for Counter {
    type Call = CounterCall;
    type Output = Value;
    type State = i64;
    type Key = ();
    type Error = ModelError;

    fn init(&mut self) -> Result<i64, ModelError> {
        Ok(self.initial)
    }

    fn step(&mut self, state: &i64, call: &CounterCall, output: Option<&Value>) -> Result<Option<i64>, ModelError> {
        match call {
            CounterCall::Add(number) => {
                let Some(sum) = state.checked_add(*number) else {
                    return Err(ModelError(format!("{state} and {number} are more than 64 bits")));
                };
                Ok(may_fit(output, &Value::Int(sum)).then_some(sum))
            }
            CounterCall::Read => Ok(fits(output, &Value::Int(*state)).then_some(*state)),
        }
    }

    fn reads(&mut self, call: &CounterCall, _output: Option<&Value>) -> Result<bool, ModelError> {
        Ok(*call == CounterCall::Read)
    }

    fn partition(&mut self, _call: &CounterCall) -> Result<Option<()>, ModelError> {
        Ok(Some(()))
    }
}
