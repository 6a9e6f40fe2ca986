//! Who may talk to whom: checked by the receiver of a stream, with an answer that both sides can show.

use std::fmt;

use bytes::Bytes;
use d_engine_raft::{Incarnation, NodeId};
use prost::Message as _;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::codec::{NEWEST_FORMAT, OLDEST_FORMAT};
use crate::shared::{Shared, excerpt};
use crate::wire::{self, RejectionReason};

/// The trailer that holds an encoded `Rejection`.
const TRAILER: &str = "d-engine-rejection-bin";

/// Why a stream was refused, on either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The kind.
    pub reason: RejectionReason,
    /// Both sides' values, and what to do.
    pub text: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl Rejection {
    pub(crate) const fn new(reason: RejectionReason, text: String) -> Self {
        Self { reason, text }
    }

    /// The answer to the dialler.
    pub(crate) fn into_status(self, node: NodeId) -> Status {
        let detail = wire::Rejection { reason: self.reason.into(), node_id: node }.encode_to_vec();
        let mut status = Status::new(Code::FailedPrecondition, self.text);
        status.metadata_mut().insert_bin(TRAILER, MetadataValue::from_bytes(&detail));
        status
    }

    /// Reads such an answer; `None`: the status means something else.
    pub(crate) fn from_status(status: &Status) -> Option<Self> {
        let detail = status.metadata().get_bin(TRAILER)?.to_bytes().ok()?;
        let detail = wire::Rejection::decode(detail).ok()?;
        Some(Self { reason: detail.reason(), text: excerpt(status.message()) })
    }
}

/// What the dialler of a stream says.
pub(crate) fn hello(shared: &Shared, to: NodeId) -> wire::Hello {
    let own = &shared.hello;
    wire::Hello {
        oldest_format: OLDEST_FORMAT,
        newest_format: NEWEST_FORMAT,
        cluster_id: bytes(own.cluster_id),
        cluster: own.cluster.clone(),
        group: own.group,
        recovery_epoch: own.recovery_epoch,
        from: own.node,
        to,
        incarnation: bytes(own.incarnation.0),
        expected_incarnation: shared.recorded(to).map_or_else(Bytes::new, |incarnation| bytes(incarnation.0)),
        admitted: shared.admitted(),
        members: excerpt(&own.initial.to_string()),
        address: shared.own_address(),
    }
}

/// What the receiver of an accepted stream says.
pub(crate) fn welcome(shared: &Shared) -> wire::Welcome {
    wire::Welcome {
        format: NEWEST_FORMAT,
        node_id: shared.hello.node,
        incarnation: bytes(shared.hello.incarnation.0),
        cluster_id: bytes(shared.hello.cluster_id),
    }
}

fn bytes(identity: u128) -> Bytes {
    Bytes::copy_from_slice(&identity.to_be_bytes())
}

fn identity(bytes: &[u8]) -> Option<u128> {
    Some(u128::from_be_bytes(bytes.try_into().ok()?))
}

/// An accepted dialler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
}

/// Decides whether a dialler may go on.
pub(crate) fn judge(shared: &Shared, hello: &wire::Hello) -> Result<Accepted, Rejection> {
    let own = &shared.hello;
    let them = format!(
        "node {} of cluster {:?} ({}; {})",
        hello.from,
        excerpt(&hello.cluster),
        identity(&hello.cluster_id).map_or_else(|| "no id".into(), |id| format!("{id:032x}")),
        excerpt(&hello.members)
    );
    let us = shared.describe();
    let refuse = |reason, why: String| Err(Rejection::new(reason, format!("{us} refuses {them}: {why}")));
    let (Some(cluster_id), Some(incarnation)) = (identity(&hello.cluster_id), identity(&hello.incarnation)) else {
        return refuse(RejectionReason::Hello, "it does not say who it is (cluster id or incarnation)".into());
    };
    if hello.oldest_format > NEWEST_FORMAT || hello.newest_format < OLDEST_FORMAT {
        let (oldest, newest) = (hello.oldest_format, hello.newest_format);
        let why = format!(
            "it speaks protocol {oldest} to {newest}, this build speaks {OLDEST_FORMAT} to {NEWEST_FORMAT}; upgrade the older one"
        );
        return refuse(RejectionReason::Version, why);
    }
    if cluster_id != own.cluster_id {
        return refuse(
            RejectionReason::Cluster,
            "another cluster; check the name, `peers` and the data directory".into(),
        );
    }
    if hello.recovery_epoch != own.recovery_epoch {
        let (found, expected) = (hello.recovery_epoch, own.recovery_epoch);
        let why = format!(
            "its recovery epoch is {found}, ours is {expected}; the lower one took no part in a recovery and must join anew"
        );
        return refuse(RejectionReason::RecoveryEpoch, why);
    }
    if hello.group != own.group {
        return refuse(
            RejectionReason::Group,
            format!("it asks for group {}, this is group {}", hello.group, own.group),
        );
    }
    if hello.to != own.node {
        let why = format!("it wants node {} at this address; check the addresses in `peers`", hello.to);
        return refuse(RejectionReason::Node, why);
    }
    if hello.from == own.node || hello.from == 0 {
        return refuse(
            RejectionReason::Node,
            format!("it calls itself node {} as well; every node needs its own id", hello.from),
        );
    }
    check_incarnations(shared, hello, Incarnation(incarnation)).or_else(|why| refuse(RejectionReason::Incarnation, why))
}

/// A node with another data directory than its configuration names has lost its memory. Unless its own newest configuration names
/// the new one: then it has been admitted again, and the side that names the old one only has not heard of it yet.
fn check_incarnations(shared: &Shared, hello: &wire::Hello, found: Incarnation) -> Result<Accepted, String> {
    let advice = "was its disk wiped? It must be removed and admitted again";
    if let Some(expected) = shared.recorded(hello.from)
        && expected != found
        && !hello.admitted
    {
        return Err(format!(
            "the configuration names incarnation {expected} for node {}, it has {found}; {advice}",
            hello.from
        ));
    }
    let own = &shared.hello;
    if let Some(expected) = identity(&hello.expected_incarnation).map(Incarnation)
        && expected != own.incarnation
        && !shared.admitted()
    {
        let (node, found) = (own.node, own.incarnation);
        return Err(format!(
            "its configuration names incarnation {expected} for node {node}, this storage is {found}; {advice}"
        ));
    }
    Ok(Accepted { node: hello.from, incarnation: found })
}

/// Checks the answer, on the dialler's side: the receiver has checked the rest.
pub(crate) fn check_welcome(shared: &Shared, to: NodeId, welcome: &wire::Welcome) -> Result<Incarnation, Rejection> {
    let refuse = |reason, why: String| {
        Err(Rejection::new(reason, format!("{} refuses the answer of node {to}: {why}", shared.describe())))
    };
    if !(OLDEST_FORMAT..=NEWEST_FORMAT).contains(&welcome.format) {
        return refuse(RejectionReason::Version, format!("it wants protocol {}", welcome.format));
    }
    if welcome.node_id != to {
        return refuse(
            RejectionReason::Node,
            format!("it is node {}; check the addresses in `peers`", welcome.node_id),
        );
    }
    if identity(&welcome.cluster_id) != Some(shared.hello.cluster_id) {
        return refuse(RejectionReason::Cluster, "it belongs to another cluster".into());
    }
    match identity(&welcome.incarnation) {
        Some(incarnation) => Ok(Incarnation(incarnation)),
        None => refuse(RejectionReason::Hello, "it does not say its incarnation".into()),
    }
}
