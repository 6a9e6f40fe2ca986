//! The private module `d_engine._core`. `python/d_engine/_core.pyi` is its contract; one file per Python class.
//!
//! Three rules hold everywhere: the core thread never attaches to the interpreter; nobody attaches, or detaches, while holding a
//! lock; what belongs to Python is converted while attached, then the thread detaches, then the node is touched.

mod answer;
mod boundary;
mod calls;
mod completions;
mod convert;
mod core;
mod entries;
mod entry;
mod errors;
mod fork;
mod grpc;
mod inspect;
mod lend;
mod local;
mod logs;
mod machine;
mod node;
mod queue;
mod receive;
mod results;
mod slot;
mod snapshot_file;
mod snapshots;
mod starting;
mod status;
mod storage;
mod testing;
mod threads;
mod transport;
mod wake;
mod watch;

/// The native part of d-engine-core. Private: use the package `d_engine`.
#[pyo3::pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::completions::Completions;
    #[pymodule_export]
    use crate::core::{NativeCore, NativeDriver, change, committed_index, vote_result};
    #[pymodule_export]
    use crate::entries::Entries;
    #[pymodule_export]
    use crate::entry::Entry;
    #[pymodule_export]
    use crate::grpc::GrpcTransport;
    #[pymodule_export]
    use crate::inspect::{log_inspect, log_verify};
    #[pymodule_export]
    use crate::local::LocalTransport;
    #[pymodule_export]
    use crate::logs::{log_level, log_take, log_wake};
    #[pymodule_export]
    use crate::node::Node;
    #[pymodule_export]
    use crate::receive::Receive;
    #[pymodule_export]
    use crate::testing::{NativeStorage, linear_check};

    /// What this build has: for `doctor`.
    #[pyfunction]
    fn features() -> Vec<&'static str> {
        let mut features = vec!["native", "grpc", "local"];
        if cfg!(feature = "abi3-py311") {
            features.push("abi3-py311");
        }
        if cfg!(feature = "abi3t-py315") {
            features.push("abi3t-py315");
        }
        if cfg!(feature = "mutants") {
            features.push("mutants");
        }
        if cfg!(debug_assertions) {
            features.push("debug");
        }
        features
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
