//! The wire: frames of `proto/d_engine/v1` and the gRPC transport that carries them between members.
#![forbid(unsafe_code)]

pub mod codec;

/// Types and services generated from `proto/`.
#[allow(missing_docs, unused_qualifications, clippy::pedantic, reason = "generated code follows its generator's style")]
pub mod wire {
    include!(concat!(env!("OUT_DIR"), "/d_engine.v1.rs"));
}
