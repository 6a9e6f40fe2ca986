use std::collections::VecDeque;

use super::super::{Model, Value};
use super::{ModelError, fits};

/// What a queue is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QueueCall {
    /// Puts this at the end; the answer says nothing.
    Enqueue(Value),
    /// Takes the first value out and answers it; nothing if there is none.
    Dequeue,
}

/// First in, first out.
#[derive(Clone, Debug, Default)]
pub struct Queue;

impl Model for Queue {
    type Call = QueueCall;
    type Output = Value;
    type State = VecDeque<Value>;
    type Key = ();
    type Error = ModelError;

    fn init(&mut self) -> Result<VecDeque<Value>, ModelError> {
        Ok(VecDeque::new())
    }

    fn step(
        &mut self,
        state: &VecDeque<Value>,
        call: &QueueCall,
        output: Option<&Value>,
    ) -> Result<Option<VecDeque<Value>>, ModelError> {
        Ok(match call {
            QueueCall::Enqueue(value) => {
                let mut after = state.clone();
                after.push_back(value.clone());
                Some(after)
            }
            QueueCall::Dequeue => fits(output, state.front().unwrap_or(&Value::Nil)).then(|| {
                let mut after = state.clone();
                after.pop_front();
                after
            }),
        })
    }

    fn reads(&mut self, call: &QueueCall, output: Option<&Value>) -> Result<bool, ModelError> {
        let empty = *call == QueueCall::Dequeue && output == Some(&Value::Nil);
        Ok(empty)
    }

    fn partition(&mut self, _call: &QueueCall) -> Result<Option<()>, ModelError> {
        Ok(Some(()))
    }
}
