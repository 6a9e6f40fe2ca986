use super::super::{Model, Value};
use super::{ModelError, fits};

/// What a register is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RegisterCall {
    /// Answers what it holds.
    Read,
    /// Holds this from now on; the answer says nothing.
    Write(Value),
    /// Holds this from now on; answers what it held before.
    Swap(Value),
    /// Holds `new` if it held `old`; answers whether it did.
    Cas {
        /// What must be there.
        old: Value,
        /// What is there afterwards.
        new: Value,
    },
}

/// One value, written and read as a whole, with compare-and-set.
#[derive(Clone, Debug, Default)]
pub struct Register {
    /// What it holds before all calls.
    pub initial: Value,
}

impl RegisterCall {
    /// The value afterwards, if it can have answered that.
    pub(super) fn step(&self, state: &Value, output: Option<&Value>) -> Option<Value> {
        match self {
            Self::Read => fits(output, state).then(|| state.clone()),
            Self::Write(value) => Some(value.clone()),
            Self::Swap(value) => fits(output, state).then(|| value.clone()),
            Self::Cas { old, new } => {
                let swaps = state == old;
                fits(output, &Value::truth(swaps)).then(|| if swaps { new.clone() } else { state.clone() })
            }
        }
    }

    pub(super) fn reads(&self, output: Option<&Value>) -> bool {
        match self {
            Self::Read => true,
            Self::Cas { .. } => output == Some(&Value::truth(false)),
            Self::Write(_) | Self::Swap(_) => false,
        }
    }
}

impl Model for Register {
    type Call = RegisterCall;
    type Output = Value;
    type State = Value;
    type Key = ();
    type Error = ModelError;

    fn init(&mut self) -> Result<Value, ModelError> {
        Ok(self.initial.clone())
    }

    fn step(
        &mut self,
        state: &Value,
        call: &RegisterCall,
        output: Option<&Value>,
    ) -> Result<Option<Value>, ModelError> {
        Ok(call.step(state, output))
    }

    fn reads(&mut self, call: &RegisterCall, output: Option<&Value>) -> Result<bool, ModelError> {
        Ok(call.reads(output))
    }

    fn partition(&mut self, _call: &RegisterCall) -> Result<Option<()>, ModelError> {
        Ok(Some(()))
    }
}
