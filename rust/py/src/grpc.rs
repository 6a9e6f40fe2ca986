//! `GrpcTransport`.

use d_engine_node::Transport;
use d_engine_rpc::{GrpcHandle, GrpcOptions};
use pyo3::prelude::*;

/// gRPC between the members, served on the core thread. One object serves one node at a time. Making one does no I/O.
#[pyclass(frozen, module = "d_engine._core")]
pub struct GrpcTransport;

/// Tells where a transport that was started is bound.
pub struct Listening(GrpcHandle);

impl Listening {
    pub fn address(self) -> Option<String> {
        self.0.local_addr().map(|address| address.to_string())
    }
}

impl GrpcTransport {
    /// A node's end. Without `listen` it binds the node's own address.
    pub fn end(listen: Option<String>, insecure: bool) -> (Box<dyn Transport>, Listening) {
        let transport = d_engine_rpc::GrpcTransport::new(GrpcOptions { listen, listener: None, insecure });
        let listening = Listening(transport.handle());
        (Box::new(transport), listening)
    }
}

#[pymethods]
impl GrpcTransport {
    #[new]
    const fn new() -> Self {
        Self
    }
}
