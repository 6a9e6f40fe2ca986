//! Laws 1 and 5: what depends on the disk is not there before the disk has answered. Every other test checks that too, for
//! every message (`common/checks.rs`).

use crate::common::{Cluster, ELECTION, HEARTBEAT, Job, Solo, entry, kinds, log_of, seen, settings};
use d_engine_raft::{AppendReply, Body, HardState, Input, LogId, Message, Reply, Role};

fn acks(messages: &[Message]) -> Vec<u64> {
    let ack = |message: &Message| match message.body {
        Body::AppendReply(AppendReply::Accepted { matched }) | Body::SnapshotReply { matched } => Some(matched),
        _ => None,
    };
    messages.iter().filter_map(ack).collect()
}

fn vote() -> Body {
    Body::Vote { last: LogId::new(9, 4), transfer: false }
}

fn slow(term: u64, terms: &[u64]) -> Solo {
    let mut solo = Solo::new(3, term, log_of(terms));
    solo.slow_disk();
    solo
}

#[test]
fn class_01_a_vote_leaves_after_it_is_durable() {
    // PySyncObj #201.
    let mut solo = slow(4, &[4]);
    assert!(solo.hear(2, 5, vote()).is_empty());
    assert!(solo.hear(2, 5, vote()).is_empty(), "nor when asked again");
    let sent = solo.persist();
    assert_eq!(kinds(&sent, 2), ["VoteReply"], "once, though asked twice");
    assert_eq!(solo.cluster.nodes[&1].disk.hard_state, HardState { term: 5, vote: Some(2) });
}

#[test]
fn class_01_after_a_crash_a_vote_that_was_not_durable_was_not_given_and_one_that_was_is_kept() {
    for kept in [0, 1] {
        let mut solo = slow(4, &[4]);
        solo.hear(2, 5, vote());
        solo.cluster.crash(1, kept);
        solo.cluster.start(1);
        solo.cluster.now += ELECTION.0;
        solo.hear(3, 5, vote());
        let sent = solo.persist_all();
        let given = sent.iter().any(|message| matches!(message.body, Body::VoteReply { granted: true }));
        assert_eq!(given, kept == 0);
    }
}

#[test]
fn class_02_term_and_vote_are_written_as_one() {
    // ClickHouse #111551.
    let mut solo = slow(4, &[4]);
    solo.hear(2, 5, vote());
    let queue = &solo.cluster.nodes[&1].disk.queue;
    let Some(Job::Persist(persist)) = queue.front() else { panic!("a persist") };
    assert_eq!((queue.len(), persist.hard_state), (1, Some(HardState { term: 5, vote: Some(2) })));
}

#[test]
fn class_34_an_append_is_acknowledged_after_it_is_durable() {
    // etcd #14370.
    let mut solo = slow(4, &[4]);
    assert!(solo.append(2, 4, LogId::new(1, 4), vec![entry(2, 4, b"a")]).is_empty());
    assert!(solo.append(2, 4, LogId::new(2, 4), vec![entry(3, 4, b"b")]).is_empty());
    assert!(solo.append(2, 4, LogId::new(2, 4), vec![entry(3, 4, b"b")]).is_empty(), "known, but not durable");
    assert_eq!(acks(&solo.append(2, 4, LogId::new(1, 4), Vec::new())), [1], "what is durable is acknowledged at once");
    assert_eq!(acks(&solo.persist()), [2]);
    assert_eq!(acks(&solo.persist()), [3]);
}

#[test]
fn one_token_answers_for_all_before_it_with_one_acknowledgement() {
    let mut solo = slow(4, &[4]);
    for index in 2..10 {
        solo.append(2, 4, LogId::new(index - 1, 4), vec![entry(index, 4, b"x")]);
    }
    // An old append comes again, late.
    solo.append(2, 4, LogId::new(2, 4), vec![entry(3, 4, b"x")]);
    solo.cluster.node(1).disk.crash(8);
    solo.cluster.step(1, Input::Persisted(8));
    assert_eq!(acks(&solo.sent()), [9], "the furthest, not the latest");
}

#[test]
fn a_candidates_requests_and_its_own_vote_wait() {
    let mut solo = slow(4, &[4]);
    solo.due();
    assert!(solo.hear(2, 5, Body::PreVoteReply { granted: true }).is_empty());
    assert_eq!((solo.role(), solo.term()), (Role::Candidate, 5));
    // A vote cannot have been given to a request that has not left; here it counts, and is not enough by itself.
    solo.hear(2, 5, Body::VoteReply { granted: true });
    assert_eq!(solo.role(), Role::Candidate, "its own vote is not durable");
    let sent = solo.persist();
    assert_eq!(solo.role(), Role::Leader);
    assert_eq!(kinds(&sent, 3)[0], "Vote");
}

#[test]
fn a_reply_that_first_shows_a_term_waits_for_it() {
    let mut solo = slow(4, &[4]);
    assert!(solo.hear(2, 6, Body::Heartbeat { round: 1, commit: 0 }).is_empty());
    assert!(solo.append(2, 6, LogId::new(5, 6), Vec::new()).is_empty(), "a rejection too");
    assert!(solo.hear(3, 5, vote()).is_empty(), "and an old candidate's answer");
    let sent = solo.persist();
    assert_eq!(kinds(&sent, 2), ["HeartbeatReply", "AppendReply"]);
    assert_eq!(kinds(&sent, 3), ["VoteReply"]);
    assert!(sent.iter().all(|message| message.term == 6));
}

#[test]
fn heartbeat_answers_in_a_durable_term_and_a_leaders_appends_do_not_wait() {
    let mut solo = slow(4, &[4]);
    solo.append(2, 4, LogId::new(1, 4), vec![entry(2, 4, b"x")]);
    let sent = solo.hear(2, 4, Body::Heartbeat { round: 7, commit: 0 });
    assert!(matches!(sent[0].body, Body::HeartbeatReply { round: 7, last: 2, .. }), "the end may not be durable");
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    solo.accepted(2, 2);
    solo.slow_disk();
    let (_, sent) = solo.propose(b"x");
    assert_eq!(kinds(&sent, 2), ["Append"], "in parallel with the own disk");
}

#[test]
fn what_waited_for_a_term_that_has_passed_is_dropped() {
    let mut solo = slow(4, &[4]);
    solo.hear(2, 5, vote());
    solo.hear(3, 6, Body::Vote { last: LogId::new(9, 4), transfer: true });
    let sent = solo.persist_all();
    assert!(kinds(&sent, 2).is_empty(), "the vote of term 5 is void");
    assert_eq!(kinds(&sent, 3), ["VoteReply"]);
    // An acknowledgement that waits keeps the term that it was made in.
    let mut solo = slow(4, &[4]);
    solo.append(2, 4, LogId::new(1, 4), vec![entry(2, 4, b"x")]);
    solo.hear(3, 5, Body::Heartbeat { round: 1, commit: 0 });
    let sent = solo.persist_all();
    assert!(acks(&sent).is_empty());
}

#[test]
fn class_32_a_token_of_before_a_truncation_makes_nothing_of_after_it_durable() {
    // etcd/raft #8: A writes 2 and 3, B overwrites them, then A's write completes.
    let mut solo = slow(4, &[4]);
    solo.append(2, 5, LogId::new(1, 4), vec![entry(2, 5, b"a"), entry(3, 5, b"a")]);
    solo.append(3, 6, LogId::new(1, 4), vec![entry(2, 6, b"b"), entry(3, 6, b"b")]);
    assert!(acks(&solo.persist()).is_empty());
    assert_eq!(solo.cluster.status(1).durable, 1);
    assert_eq!(acks(&solo.persist()), [3]);
    assert_eq!(solo.cluster.status(1).durable, 3);
}

#[test]
fn class_32_the_same_entry_written_twice_waits_for_the_second_write() {
    // ABA: A's entry, B's instead of it, A's again.
    let mut solo = slow(4, &[4]);
    let first = || entry(2, 5, b"a");
    solo.append(2, 5, LogId::new(1, 4), vec![first()]);
    solo.append(3, 6, LogId::new(1, 4), vec![entry(2, 6, b"b")]);
    solo.append(2, 7, LogId::new(1, 4), vec![first()]);
    assert!(acks(&solo.persist()).is_empty());
    assert!(acks(&solo.persist()).is_empty());
    assert_eq!(solo.cluster.status(1).durable, 1);
    let sent = solo.persist();
    assert_eq!((sent[0].to, acks(&sent)), (2, vec![2]));
}

#[test]
fn class_34_with_two_hanging_disks_nothing_is_acknowledged() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.node(2).auto_persist = false;
    cluster.node(3).auto_persist = false;
    let commit = cluster.core(1).commit();
    cluster.propose(1, b"x");
    cluster.advance(20 * ELECTION.1);
    assert_eq!(cluster.core(1).commit(), commit);
    assert_eq!(cluster.leader(), Some(1), "but leadership does not depend on disks");
    assert!(cluster.nodes.values().all(|node| node.machine.applied.index <= commit));
    cluster.node(3).auto_persist = true;
    cluster.advance(HEARTBEAT);
    assert!(cluster.core(1).commit() > commit);
}

#[test]
fn a_hanging_disk_does_not_fill_the_memory_with_answers() {
    let mut solo = slow(4, &[4]);
    for round in 1..1_000 {
        solo.hear(2, 5, Body::Heartbeat { round, commit: 0 });
        solo.append(2, 5, LogId::new(1, 4), vec![entry(2, 5, b"x")]);
        solo.append(2, 5, LogId::new(8, 5), Vec::new());
    }
    let sent = solo.persist_all();
    assert!(sent.len() <= 4, "{} answers", sent.len());
    assert!(sent.iter().any(|message| matches!(message.body, Body::HeartbeatReply { round: 999, .. })), "the newest");
}

#[test]
fn class_35_after_a_failed_write_a_node_is_silent() {
    // Rebello ATC'20: nothing that it says could be kept, and trying again proves nothing.
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    solo.slow_disk();
    solo.propose(b"x");
    let (read, _) = solo.read();
    solo.cluster.step(1, Input::PersistFailed(3));
    assert!(matches!(solo.cluster.answers(1, read)[..], [Reply::Refused { .. }]), "who waits is told");
    assert!(solo.sent().is_empty());
    assert_eq!(solo.cluster.core(1).deadline(), None);
    solo.cluster.node(1).disk.queue.clear();
    for input in [Input::Persisted(9), Input::Time { wall: 0 }] {
        assert!(solo.step(input).is_empty());
    }
    assert!(solo.hear(2, 9, vote()).is_empty());
    let nothing = solo.cluster.nodes[&1].disk.queue.is_empty();
    assert!(nothing && solo.role() != Role::Leader);
}

#[test]
fn requests_of_users_show_no_term_at_all() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.sent.clear();
    cluster.propose(2, b"x");
    cluster.read(3);
    cluster.advance(HEARTBEAT);
    let outside = ["Propose", "ProposeReply", "ReadIndex", "ReadIndexReply"];
    let shown: Vec<_> = cluster.sent.iter().filter(|(_, _, _, body)| outside.contains(body)).collect();
    assert!(shown.len() == 4 && shown.iter().all(|(_, _, term, _)| *term == 0), "{shown:?}");
}

#[test]
fn a_node_that_comes_up_has_nothing_to_say_before_its_first_step() {
    let mut solo = Solo::just_started(&settings(), &seen(3), HardState { term: 4, vote: Some(1) }, log_of(&[4]));
    assert!(solo.sent().is_empty());
    assert!(solo.cluster.nodes[&1].disk.queue.is_empty());
}
