//! What `d_engine.testing` does natively.

mod linear;
mod linear_calls;
mod linear_python;
mod linear_values;
mod storage;

pub use linear::linear_check;
pub use storage::NativeStorage;
