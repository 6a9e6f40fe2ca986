//! Becoming a member of a running cluster: asking its members, and answering those who ask.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use d_engine_raft::{Change, ChangeError, Configuration, Incarnation, Member};

use super::inbox::{Inbox, Item, NodeInbound};
use super::{Shared, clock};
use crate::driver::DriverInput;
use crate::error::{NodeError, passes};
use crate::node::{Completion, Join};
use crate::traits::{Admission, JoinDone, JoinError, JoinRequest, StateMachine, Transport};

/// Between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks one member after the other until one answers for good. Without an incarnation the answer only says which cluster
/// it is.
///
/// # Errors
/// What the last one said.
pub fn ask(
    transport: &mut dyn Transport,
    join: &Join,
    cluster: &str,
    incarnation: Option<Incarnation>,
    patience: Duration,
) -> Result<Admission, JoinError> {
    let member = Member { incarnation, ..join.member.clone() };
    let request = JoinRequest { cluster: cluster.to_owned(), group: 0, member };
    let end = Instant::now() + patience;
    loop {
        let mut silent = Vec::new();
        for address in &join.addresses {
            let left = end.saturating_duration_since(Instant::now());
            match transport.join(address, &request, left) {
                Err(JoinError::Unanswered(why)) => silent.push(format!("{address}: {why}")),
                Err(JoinError::Refused(why)) if passes(why) => silent.push(format!("{address}: {why}")),
                answer => return answer,
            }
        }
        if end.saturating_duration_since(Instant::now()) < PAUSE {
            return Err(JoinError::Unanswered(silent.join("; ")));
        }
        thread::sleep(PAUSE);
    }
}

impl<S: StateMachine> NodeInbound<S> {
    /// Takes in a node that asks for it, on behalf of its user.
    pub(super) fn admit(&self, request: JoinRequest, timeout: Duration, done: JoinDone) {
        let hello = &self.shared.hello;
        let id = request.member.id;
        if request.cluster != hello.cluster || request.group != hello.group {
            return done(Err(JoinError::WrongCluster { expected: request.cluster, found: hello.cluster.clone() }));
        }
        if id == hello.node {
            return done(Err(JoinError::SameNode(id)));
        }
        if request.member.incarnation.is_none() {
            return done(Ok(admission(&self.shared, (*self.shared.configuration()).clone())));
        }
        let shared = Arc::clone(&self.shared);
        let waiter: Completion<Configuration> = Box::new(move |result| done(answer(&shared, result)));
        let changes = vec![Change::Add(request.member)];
        let input = DriverInput::Change { changes, waiter, deadline: clock::deadline(Some(timeout)) };
        push(&self.shared, &self.inbox, Item::Driver(input));
    }
}

fn push<S: StateMachine>(shared: &Arc<Shared>, inbox: &Inbox<S>, item: Item<S>) {
    if let Err(item) = inbox.push(item) {
        super::end_item(shared, item);
    }
}

fn answer(shared: &Shared, result: Result<Configuration, NodeError>) -> Result<Admission, JoinError> {
    match result {
        Ok(configuration) => Ok(admission(shared, configuration)),
        // It has asked before, and did not hear the answer.
        Err(NodeError::ChangeRefused { why: ChangeError::NoChange, .. }) => {
            Ok(admission(shared, (*shared.configuration()).clone()))
        }
        Err(NodeError::ChangeRefused { why, .. }) => Err(JoinError::Refused(why)),
        Err(other) => Err(JoinError::Unanswered(other.to_string())),
    }
}

fn admission(shared: &Shared, configuration: Configuration) -> Admission {
    let hello = &shared.hello;
    Admission {
        cluster: hello.cluster.clone(),
        cluster_id: hello.cluster_id,
        group: hello.group,
        recovery_epoch: hello.recovery_epoch,
        configuration,
    }
}
