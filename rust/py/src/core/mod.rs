//! The cores for Python: `d_engine.core.NativeCore`, the driver for lock step with the pure one, and the arithmetic alone.
//!
//! Inputs and effects are the records of `d_engine.pure`. What Python gives is converted as a whole before the core sees any of
//! it: bad input changes nothing.

mod alone;
mod arithmetic;
mod configuration;
mod driver_actions;
mod driver_inputs;
mod driver_records;
mod effects;
mod entries;
mod face;
mod inputs;
mod messages;
mod native_core;
mod native_driver;
mod records;
mod start;
mod status;

pub use arithmetic::{change, committed_index, vote_result};
pub use native_core::NativeCore;
pub use native_driver::NativeDriver;
