//! The digest: the same for the same inputs, another one after everything that counts.

use crate::common::{Solo, incarnation, known, log_of, message, seen, settings};
use d_engine_raft::{Body, Change, Incarnation, Input, LogId, Member, MemberRole, Role};

/// Two cores that are told the same.
struct Twins {
    pair: [Solo; 2],
    before: [u8; 32],
}

impl Twins {
    fn new(make: impl Fn() -> Solo) -> Self {
        let pair = [make(), make()];
        let before = pair[0].cluster.core(1).digest();
        assert_eq!(before, pair[1].cluster.core(1).digest());
        Self { pair, before }
    }

    /// Both take it: they stay alike, and are not what they were.
    fn both<T>(&mut self, what: &str, act: impl Fn(&mut Solo) -> T) {
        let digests = self.pair.each_mut().map(|solo| {
            act(solo);
            solo.cluster.core(1).digest()
        });
        assert_eq!(digests[0], digests[1], "{what}: the same inputs");
        assert_ne!(digests[0], self.before, "{what}: it shows");
        self.before = digests[0];
    }
}

#[test]
fn an_election_shows_step_by_step() {
    let mut twins = Twins::new(|| Solo::new(3, 4, log_of(&[4, 4])));
    twins.both("a leader", |solo| solo.hear(2, 4, Body::Heartbeat { round: 1, commit: 1 }));
    twins.both("a pre-campaign", |solo| solo.cluster.due(1));
    twins.both("a refusal", |solo| solo.hear(3, 4, Body::PreVoteReply { granted: false }));
    twins.pair.iter_mut().for_each(Solo::slow_disk);
    twins.both("a campaign", |solo| solo.hear(2, 5, Body::PreVoteReply { granted: true }));
    twins.both("its term on disk", Solo::persist);
    twins.both("a vote", |solo| solo.hear(2, 5, Body::VoteReply { granted: true }));
    assert_eq!(twins.pair[0].role(), Role::Leader);
}

#[test]
fn what_a_leader_knows_shows() {
    let mut twins = Twins::new(|| Solo::ready(3));
    twins.pair.iter_mut().for_each(Solo::slow_disk);
    twins.both("a proposal", |solo| solo.propose(b"one"));
    twins.both("an acknowledgement", |solo| solo.accepted(2, 3));
    twins.both("durable", Solo::persist);
    twins.both("a rejection", |solo| solo.rejected(3, 2, LogId::new(1, 4)));
    twins.both("a lost connection", |solo| solo.step(Input::Unreachable(3)));
    twins.both("a read", Solo::read);
    twins.both("a read behind it", Solo::read);
    twins.both("a round", |solo| solo.heartbeat_reply(2, 2, 3));
    twins.both("the end of a log that lags", |solo| solo.heartbeat_reply(3, 2, 1));
    twins.both("a wiped member", |solo| {
        let other = Incarnation(99);
        assert_ne!(other, incarnation(3));
        let stranger = message(3, 1, 5, Body::HeartbeatReply { round: 2, last: 3, apply_stopped: false });
        solo.hear_message(d_engine_raft::Message { incarnation: other, ..stranger })
    });
    twins.both("a snapshot", |solo| solo.step(Input::SnapshotTaken(LogId::new(2, 5))));
    twins.both("a purge", |solo| solo.step(Input::Purge { upto: 1 }));
    twins.both("a transfer", |solo| solo.cluster.transfer(1, Some(2)));
    twins.both("no apply any more", |solo| solo.step(Input::ApplyStopped));
    twins.both("another leader", |solo| solo.hear(2, 6, Body::Heartbeat { round: 1, commit: 3 }));
}

#[test]
fn reads_of_the_log_show() {
    let mut twins = Twins::new(|| {
        let mut solo = Solo::leading_with(&settings(), &seen(3), 4, log_of(&[4, 4, 4]));
        solo.slow_reads = true;
        solo
    });
    twins.both("an apply read from disk", |solo| solo.accepted(2, 4));
    twins.both("an append read from disk", |solo| solo.rejected(3, 3, LogId::new(1, 4)));
}

#[test]
fn members_who_come_and_go_show() {
    let mut twins = Twins::new(|| {
        let mut configuration = seen(4);
        configuration.members[3] = Member {
            role: MemberRole::Learner,
            auto_promote: true,
            client_address: Some("outside:1".to_owned()),
            ..known(4)
        };
        let mut solo = Solo::leading_with(&settings(), &configuration, 4, log_of(&[4]));
        solo.accepted(2, 2);
        solo.heartbeat_reply(2, 1, 2);
        solo
    });
    twins.both("a learner's first round", |solo| solo.heartbeat_reply(4, 1, 0));
    twins.both("a member that leaves", |solo| solo.change(vec![Change::Remove(3)]));
    twins.both("its removal, committed", |solo| solo.accepted(2, 3));
    twins.both("and told", Solo::due);
}

#[test]
fn a_follower_that_waits_for_its_disk_shows_what_it_will_answer() {
    let mut twins = Twins::new(|| Solo::new(3, 4, log_of(&[4])));
    twins.pair.iter_mut().for_each(Solo::slow_disk);
    twins.both("an append", |solo| solo.append(2, 4, LogId::new(1, 4), log_of(&[4, 4])[1..].to_vec()));
    twins.both("a vote that waits", |solo| solo.hear(3, 5, Body::Vote { last: LogId::new(2, 4), transfer: true }));
    twins.both("on disk", Solo::persist_all);
    twins.both("closing", |solo| solo.step(Input::Close { handover: false }));
}
