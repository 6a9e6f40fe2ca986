//! The wire: frames of `proto/d_engine/v1`, and the gRPC transport that carries them between members.
#![forbid(unsafe_code)]

mod accept;
mod address;
pub mod codec;
mod handshake;
mod join;
mod link;
mod park;
mod queue;
mod receive;
mod shared;
mod stream;
mod transport;

/// Types and services generated from `proto/`.
#[allow(missing_docs, unused_qualifications, clippy::pedantic, reason = "generated code follows its generator's style")]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/d_engine.v1.rs"));
}

pub use address::check_address;
pub use handshake::Rejection;
pub use transport::{GrpcHandle, GrpcOptions, GrpcTransport, PeerStatus};
