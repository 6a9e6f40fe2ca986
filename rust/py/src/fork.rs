//! Use after `fork`: a child has the objects of its parent, but not the threads that these rely on.

use std::process;

use pyo3::prelude::*;

use crate::errors::Report;

/// Something that works in the process that made it only. In a child it is neither used nor freed: its threads do not exist
/// there, and its locks may be held by them for ever.
pub struct Native<T> {
    value: Option<T>,
    process: u32,
    what: &'static str,
}

impl<T> Native<T> {
    /// `what` names it in errors.
    pub fn new(what: &'static str, value: T) -> Self {
        Self { value: Some(value), process: process::id(), what }
    }

    /// Refuses use in a child.
    pub fn get(&self, py: Python<'_>) -> PyResult<&T> {
        match &self.value {
            Some(value) if self.process == process::id() => Ok(value),
            _ => Err(Report::new(
                "ForkError",
                format!("this {} was made before os.fork() and is used in the child", self.what),
            )
            .text("hint", "Make it in the process that uses it; with multiprocessing choose the start method 'spawn'")
            .raise(py)),
        }
    }

    /// Without an error to raise: for clean-up.
    pub fn peek(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.process == process::id())
    }
}

impl<T> Drop for Native<T> {
    fn drop(&mut self) {
        if self.process != process::id() {
            std::mem::forget(self.value.take());
        }
    }
}
