//! Asking to become a member, and taking such questions.

use std::time::Duration;

use d_engine_node::{Admission, JoinError, JoinRequest};
use d_engine_raft::Configuration;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tonic::Status;

use crate::address;
use crate::codec::{CodecError, error_to_wire};
use crate::codec::{NEWEST_FORMAT, OLDEST_FORMAT, identity, identity_bytes, member_to_wire, open_error, open_member};
use crate::shared::{Shared, excerpt};
use crate::stream;
use crate::wire;
use crate::wire::join_response::Result as Answer;
use crate::wire::peer_service_client::PeerServiceClient;

/// A member answers within this time, whatever the asker says.
const LONGEST: Duration = Duration::from_secs(8);
/// What a question may take longer than the member's own deadline for it.
const GRACE: Duration = Duration::from_millis(500);

/// Asks the member at that address, on a runtime of its own; blocks.
pub(crate) fn ask(address: &str, request: &JoinRequest, limit: Duration) -> Result<Admission, JoinError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| JoinError::Other(format!("cannot make a runtime: {error}")))?;
    let limit = limit.min(LONGEST);
    let answer =
        runtime.block_on(async { tokio::time::timeout(limit + GRACE, converse(address, request, limit)).await });
    runtime.shutdown_background();
    match answer {
        Ok(Ok(answer)) => open(answer, request),
        Ok(Err(status)) => Err(JoinError::Unanswered(excerpt(status.message()))),
        Err(_) => Err(JoinError::Unanswered("no answer in time".into())),
    }
}

async fn converse(address: &str, request: &JoinRequest, limit: Duration) -> Result<wire::JoinResponse, Status> {
    let tcp = address::connect(address).await.map_err(|error| Status::unavailable(error.to_string()))?;
    let (http, connection) = stream::connect(tcp).await?;
    let origin = stream::origin("member")?;
    let request = wire::JoinRequest {
        oldest_format: OLDEST_FORMAT,
        newest_format: NEWEST_FORMAT,
        cluster: request.cluster.clone(),
        group: request.group,
        member: Some(member_to_wire(request.member.clone())),
        timeout_micros: u64::try_from(limit.as_micros()).unwrap_or(u64::MAX),
    };
    let answer = PeerServiceClient::with_origin(http, origin).join(request).await?;
    drop(connection);
    Ok(answer.into_inner())
}

fn open(answer: wire::JoinResponse, request: &JoinRequest) -> Result<Admission, JoinError> {
    match answer.result {
        Some(Answer::Admission(admission)) => open_admission(&admission).map_err(JoinError::Other),
        Some(Answer::Refused(why)) => match open_error(why) {
            Ok(why) => Err(JoinError::Refused(why)),
            Err(error) => Err(JoinError::Other(garbled(&error))),
        },
        Some(Answer::OtherCluster(found)) => {
            Err(JoinError::WrongCluster { expected: request.cluster.clone(), found: excerpt(&found) })
        }
        Some(Answer::SameNode(id)) => Err(JoinError::SameNode(id)),
        Some(Answer::Unanswered(why)) => Err(JoinError::Unanswered(excerpt(&why))),
        None => Err(JoinError::Other("the answer is of a later release".into())),
    }
}

fn garbled(error: &CodecError) -> String {
    format!("the answer cannot be read: {error}")
}

fn open_admission(admission: &wire::Admission) -> Result<Admission, String> {
    let configuration = Configuration::decode(&admission.configuration).map_err(|error| error.to_string())?;
    Ok(Admission {
        cluster: admission.cluster.clone(),
        cluster_id: identity(&admission.cluster_id, "cluster_id").map_err(|error| garbled(&error))?,
        group: admission.group,
        recovery_epoch: admission.recovery_epoch,
        configuration,
    })
}

/// Answers on the second thread; the node's own threads do the rest.
pub(crate) async fn answer(shared: &Shared, request: wire::JoinRequest) -> Result<wire::JoinResponse, Status> {
    if request.oldest_format > NEWEST_FORMAT || request.newest_format < OLDEST_FORMAT {
        let (oldest, newest) = (request.oldest_format, request.newest_format);
        return Err(Status::failed_precondition(format!(
            "it speaks protocol {oldest} to {newest}, this build speaks {OLDEST_FORMAT} to {NEWEST_FORMAT}; upgrade the older one"
        )));
    }
    let member = request.member.ok_or_else(|| Status::invalid_argument("the member is missing"))?;
    let member = open_member(member).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let timeout = Duration::from_micros(request.timeout_micros).min(LONGEST);
    let request = JoinRequest { cluster: request.cluster, group: request.group, member };
    let (done, result) = oneshot::channel();
    // The asker may have gone meanwhile.
    shared.inbound.join(request, timeout, Box::new(move |result| drop(done.send(result))));
    let result = result.await.unwrap_or_else(|_| Err(JoinError::Unanswered("the node has stopped".into())));
    let result = match result {
        Ok(admission) => Answer::Admission(wire::Admission {
            cluster: admission.cluster,
            cluster_id: identity_bytes(admission.cluster_id),
            group: admission.group,
            recovery_epoch: admission.recovery_epoch,
            configuration: admission.configuration.encode().into(),
        }),
        Err(JoinError::Refused(why)) => Answer::Refused(error_to_wire(why)),
        Err(JoinError::WrongCluster { found, .. }) => Answer::OtherCluster(found),
        Err(JoinError::SameNode(id)) => Answer::SameNode(id),
        Err(JoinError::Unanswered(why)) => Answer::Unanswered(why),
        Err(other @ (JoinError::Unsupported | JoinError::Other(_))) => {
            return Err(Status::unavailable(other.to_string()));
        }
    };
    Ok(wire::JoinResponse { result: Some(result) })
}
