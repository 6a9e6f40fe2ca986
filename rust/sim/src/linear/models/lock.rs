use super::super::{Model, Value};
use super::{ModelError, may_fit};

/// What a lock is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LockCall {
    /// Takes it for this owner; answers whether it was free, where nothing means that it was.
    Acquire(Value),
    /// Frees it; answers whether this owner held it, where nothing means that it did.
    Release(Value),
}

/// A lock that one owner holds at a time, and does not take twice.
#[derive(Clone, Debug, Default)]
pub struct Lock;

impl Model for Lock {
    type Call = LockCall;
    type Output = Value;
    type State = Option<Value>;
    type Key = ();
    type Error = ModelError;

    fn init(&mut self) -> Result<Option<Value>, ModelError> {
        Ok(None)
    }

    fn step(
        &mut self,
        state: &Option<Value>,
        call: &LockCall,
        output: Option<&Value>,
    ) -> Result<Option<Option<Value>>, ModelError> {
        let (possible, after) = match call {
            LockCall::Acquire(owner) => (state.is_none(), Some(owner.clone())),
            LockCall::Release(owner) => (state.as_ref() == Some(owner), None),
        };
        let told = match output {
            Some(Value::Nil) => Some(&Value::Int(1)),
            told => told,
        };
        let fits = may_fit(told, &Value::truth(possible));
        Ok(fits.then(|| if possible { after } else { state.clone() }))
    }

    fn reads(&mut self, _call: &LockCall, output: Option<&Value>) -> Result<bool, ModelError> {
        Ok(output == Some(&Value::truth(false)))
    }

    fn partition(&mut self, _call: &LockCall) -> Result<Option<()>, ModelError> {
        Ok(Some(()))
    }
}
