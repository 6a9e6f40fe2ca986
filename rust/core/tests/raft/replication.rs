//! Log replication: section 5.3, thesis 3.5, 10.2.1.

use crate::common::{Cluster, ELECTION, HEARTBEAT, MS, Solo, entry, kinds, log_of, seen, settings};
use d_engine_raft::{AppendReply, Body, Entry, Index, Input, LogId, Message, Role, Settings, Term};

fn tight() -> Settings {
    let mut settings = settings();
    settings.max_append_bytes = 300;
    settings.max_inflight_messages = 3;
    settings.max_inflight_bytes = 100_000;
    settings
}

/// The answers to appends among those messages.
fn answers(messages: &[Message]) -> Vec<AppendReply> {
    let answer = |message: &Message| match message.body {
        Body::AppendReply(reply) => Some(reply),
        _ => None,
    };
    messages.iter().filter_map(answer).collect()
}

/// What was sent to a member: what each append follows, and its entries.
fn appends(messages: &[Message], to: u64) -> Vec<(LogId, Vec<Index>)> {
    let append = |message: &Message| match &message.body {
        Body::Append { prev, entries, .. } if message.to == to => {
            Some((*prev, entries.iter().map(Entry::index).collect()))
        }
        _ => None,
    };
    messages.iter().filter_map(append).collect()
}

fn accepted(matched: Index) -> Vec<AppendReply> {
    vec![AppendReply::Accepted { matched }]
}

fn rejected(prev: Index, index: Index, term: Term) -> Vec<AppendReply> {
    vec![AppendReply::Rejected { prev, hint: LogId::new(index, term) }]
}

// --- a follower

#[test]
fn a_follower_takes_what_follows_its_log_and_cuts_what_conflicts() {
    let mut solo = Solo::new(3, 3, log_of(&[1, 1, 2, 2]));
    let sent = solo.append(2, 3, LogId::new(2, 1), vec![entry(3, 3, b"a"), entry(4, 3, b"b")]);
    assert_eq!(answers(&sent), accepted(4));
    assert_eq!(solo.last(), LogId::new(4, 3));
    assert_eq!(solo.cluster.nodes[&1].disk.term(3), Some(3));
}

#[test]
fn class_08_a_late_or_shorter_append_cuts_nothing() {
    // CCF #5991, RaftOS #26.
    let mut solo = Solo::new(3, 3, log_of(&[1, 1, 3, 3]));
    assert_eq!(answers(&solo.append(2, 3, LogId::new(1, 1), vec![log_of(&[1, 1])[1].clone()])), accepted(2));
    assert_eq!(answers(&solo.append(2, 3, LogId::new(1, 1), Vec::new())), accepted(1));
    solo.hear(2, 3, Body::Heartbeat { round: 1, commit: 0 });
    assert_eq!(solo.last(), LogId::new(4, 3));
    assert!(solo.cluster.nodes[&1].disk.queue.is_empty(), "and nothing was written");
}

#[test]
fn class_09_an_acknowledgement_never_goes_beyond_its_append() {
    // CCF #6001: the rest of the log may be an old leader's.
    let mut solo = Solo::new(3, 3, log_of(&[1, 2, 2, 2]));
    assert_eq!(answers(&solo.append(2, 3, LogId::new(1, 1), Vec::new())), accepted(1));
    let same = log_of(&[1, 2])[1].clone();
    assert_eq!(answers(&solo.append(2, 3, LogId::new(1, 1), vec![same])), accepted(2));
}

#[test]
fn class_10_a_rejection_names_what_was_asked_and_the_best_guess() {
    // CCF #2835.
    let mut solo = Solo::new(3, 9, log_of(&[1, 1, 4, 4, 4, 7]));
    let mut ask = |index, term| answers(&solo.append(2, 9, LogId::new(index, term), Vec::new()));
    assert_eq!(ask(20, 9), rejected(20, 6, 7), "the log is shorter");
    assert_eq!(ask(6, 6), rejected(6, 5, 4), "of a newer term than the leader's there");
    assert_eq!(ask(5, 3), rejected(5, 2, 1), "a whole term at once");
}

#[test]
fn class_39_an_append_that_brings_nothing_new_is_acknowledged() {
    // yugabyte #8879: else its sender repeats it for ever.
    let mut solo = Solo::new(3, 3, log_of(&[1, 3, 3]));
    for _ in 0..3 {
        let again = log_of(&[1, 3, 3]);
        assert_eq!(answers(&solo.append(2, 3, LogId::ZERO, again)), accepted(3));
    }
    // Committed here, or purged even: the same.
    solo.hear(2, 3, Body::Heartbeat { round: 1, commit: 3 });
    assert_eq!(answers(&solo.append(2, 3, LogId::ZERO, log_of(&[1, 3, 3])[..2].to_vec())), accepted(2));
    solo.cluster.snapshot(1, 0);
    solo.persist_all();
    assert_eq!(solo.cluster.status(1).purged.index, 3);
    let more = log_of(&[1, 3, 3, 3]);
    assert_eq!(answers(&solo.append(2, 3, LogId::ZERO, more)), accepted(4), "what is new in it is taken");
    assert_eq!(solo.last(), LogId::new(4, 3));
}

#[test]
fn class_37_what_is_committed_is_never_rolled_back() {
    // NuRaft #185: even a leader that should not exist cannot cut it.
    let mut solo = Solo::new(3, 3, Vec::new());
    solo.append_committed(2, 3, LogId::ZERO, log_of(&[1, 3, 3]), 2);
    assert_eq!(solo.commit(), 2);
    solo.append(3, 4, LogId::ZERO, vec![entry(1, 4, b"x"), entry(2, 4, b"y"), entry(3, 4, b"z")]);
    let disk = &solo.cluster.nodes[&1].disk;
    assert_eq!((disk.term(1), disk.term(2), disk.term(3)), (Some(1), Some(3), Some(4)));
    assert_eq!(solo.commit(), 2);
}

#[test]
fn class_33_a_truncated_entry_is_not_given_out_from_memory() {
    // cockroach #63302: the tail in memory follows every truncation.
    let mut solo = Solo::new(3, 3, Vec::new());
    solo.append(2, 3, LogId::ZERO, vec![entry(1, 3, b"old"), entry(2, 3, b"old too")]);
    solo.append_committed(3, 4, LogId::ZERO, vec![entry(1, 4, b"new")], 1);
    assert_eq!(solo.cluster.checks.applied[&1].payload(), b"new".as_slice());
    assert_eq!(solo.last(), LogId::new(1, 4));
    solo.append_committed(3, 4, LogId::new(1, 4), vec![entry(2, 4, b"new too")], 2);
    assert_eq!(solo.cluster.checks.applied[&2].payload(), b"new too".as_slice());
}

#[test]
fn class_33_entries_that_came_together_are_cut_in_their_middle() {
    let mut solo = Solo::new(3, 3, Vec::new());
    solo.append(2, 3, LogId::ZERO, vec![entry(1, 3, b"one"), entry(2, 3, b"old"), entry(3, 3, b"old too")]);
    solo.append(3, 4, LogId::new(1, 3), vec![entry(2, 4, b"new")]);
    // It leads, and sends from memory.
    solo.win();
    let sent = solo.rejected(2, 2, LogId::ZERO);
    let Some(Body::Append { entries, .. }) = sent.iter().find(|message| message.to == 2).map(|message| &message.body)
    else {
        panic!("{sent:?}")
    };
    let held: Vec<_> = entries.iter().take(2).map(|entry| (entry.id(), entry.payload().to_vec())).collect();
    assert_eq!(held, [(LogId::new(1, 3), b"one".to_vec()), (LogId::new(2, 4), b"new".to_vec())]);
}

#[test]
fn an_old_terms_leader_is_told_the_new_term() {
    let mut solo = Solo::new(3, 5, log_of(&[1]));
    let sent = solo.append(2, 4, LogId::new(1, 1), vec![entry(2, 4, b"x")]);
    assert_eq!((sent[0].term, answers(&sent)), (5, rejected(1, 1, 1)));
    let sent = solo.hear(2, 4, Body::Heartbeat { round: 3, commit: 1 });
    assert_eq!((sent[0].term, kinds(&sent, 2)), (5, vec!["HeartbeatReply"]));
    assert_eq!((solo.commit(), solo.last().index), (0, 1));
}

#[test]
fn a_follower_whose_disk_does_not_keep_up_takes_no_more_than_a_bound() {
    let mut settings = tight();
    settings.max_inflight_bytes = 1_000;
    let mut solo = Solo::with(&settings, &seen(3), 3, Vec::new());
    solo.slow_disk();
    let mut prev = LogId::ZERO;
    for index in 1..100 {
        solo.append(2, 3, prev, vec![entry(index, 3, &[0; 36])]);
        prev = LogId::new(index, 3);
    }
    let taken = solo.last().index;
    assert!((20..=21).contains(&taken), "{taken} entries of 100 bytes");
    solo.persist_all();
    solo.append(2, 3, LogId::new(taken, 3), vec![entry(taken + 1, 3, &[0; 36])]);
    assert_eq!(solo.last().index, taken + 1);
}

// --- a leader

#[test]
fn a_new_leader_probes_with_one_message_and_then_streams() {
    let mut solo = Solo::with(&tight(), &seen(3), 4, log_of(&[1, 4]));
    let sent = solo.win();
    assert_eq!(appends(&sent, 2), [(LogId::new(2, 4), vec![3])]);
    for _ in 0..10 {
        solo.propose(&[0; 200]);
    }
    assert_eq!(solo.cluster.status(1).progress[0].state, "probe");
    let sent = solo.accepted(2, 3);
    assert_eq!(appends(&sent, 2).len(), 3, "the window is three messages");
    assert_eq!(solo.cluster.status(1).progress[0].state, "replicate");
    assert!(solo.propose(b"more").1.iter().all(|message| message.to != 2));
    let sent = solo.accepted(2, 4);
    assert_eq!(appends(&sent, 2).len(), 1, "one answered, one more");
}

#[test]
fn the_window_is_bounded_in_bytes_too() {
    let mut settings = tight();
    settings.max_inflight_messages = 100;
    settings.max_inflight_bytes = 1_000;
    let mut solo = Solo::leading_with(&settings, &seen(3), 4, log_of(&[4]));
    for _ in 0..50 {
        solo.propose(&[0; 200]);
    }
    let sent = solo.accepted(2, 2);
    let count = appends(&sent, 2).len();
    assert!((3..=5).contains(&count), "{count} messages of 264 bytes");
}

#[test]
fn an_entry_beyond_the_message_bound_is_sent_alone() {
    let mut solo = Solo::leading_with(&tight(), &seen(3), 4, log_of(&[4]));
    solo.accepted(2, 2);
    let big = solo.propose_many(&[b"small", &[0; 5_000], b"small"]);
    assert_eq!(appends(&big, 2).iter().map(|(_, entries)| entries.clone()).collect::<Vec<_>>(), [[3], [4], [5]]);
}

#[test]
fn waiting_proposals_make_one_persist_and_one_append_a_follower() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    solo.accepted(2, 2);
    solo.accepted(3, 2);
    solo.slow_disk();
    let payloads: Vec<&[u8]> = (0..64).map(|_| b"x".as_slice()).collect();
    let sent = solo.propose_many(&payloads);
    assert_eq!(solo.cluster.nodes[&1].disk.queue.len(), 1);
    for id in [2, 3] {
        assert_eq!(appends(&sent, id), [(LogId::new(2, 5), (3..67).collect())]);
    }
}

#[test]
fn conflict_hints_skip_a_whole_term_in_one_round() {
    // Section 5.3, end: figure 7 f. The follower has three terms that the leader never had.
    let mut solo = Solo::leading(3, 9, log_of(&[1, 1, 1, 4, 4, 5, 5, 6, 6, 6]));
    let rounds = |solo: &mut Solo, follower: &[Term]| {
        let follower = log_of(follower);
        let holds = |id: LogId| id == LogId::ZERO || follower.iter().any(|entry| entry.id() == id);
        let mut prev = LogId::new(10, 6);
        for round in 1..20 {
            if holds(prev) {
                return round;
            }
            // What a follower's core says (`class_10` above).
            let hint = follower.iter().rev().map(Entry::id).find(|id| id.index <= prev.index && id.term <= prev.term);
            let sent = solo.rejected(2, prev.index, hint.unwrap_or(LogId::ZERO));
            prev = appends(&sent, 2)[0].0;
        }
        panic!("does not end");
    };
    assert_eq!(rounds(&mut solo, &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]), 2);
    let mut solo = Solo::leading(3, 9, log_of(&[1, 1, 1, 4, 4, 4, 4, 4, 4, 4]));
    assert!(rounds(&mut solo, &[1, 1, 1, 3, 3, 3, 3, 3, 3, 3]) <= 2);
}

#[test]
fn class_07_what_a_follower_holds_never_goes_back() {
    // CCF #5324: old answers come late.
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    solo.accepted(2, 2);
    solo.propose(b"x");
    solo.propose(b"y");
    solo.accepted(2, 4);
    let before = solo.cluster.status(1).progress[0];
    solo.accepted(2, 3);
    solo.accepted(2, 0);
    solo.rejected(2, 2, LogId::ZERO);
    solo.rejected(2, 4, LogId::ZERO);
    let after = solo.cluster.status(1).progress[0];
    assert_eq!((before.matched, before.next, before.state), (after.matched, after.next, after.state));
    assert_eq!(solo.commit(), 4);
}

#[test]
fn class_30_a_follower_behind_a_fully_purged_log_gets_a_snapshot() {
    // openraft afd6508b: the leader's log is empty.
    let mut cluster = Cluster::led_by(3, 1);
    cluster.isolate(3);
    cluster.propose(1, b"x");
    cluster.advance(HEARTBEAT);
    cluster.snapshot(1, 0);
    cluster.settle();
    let status = cluster.status(1);
    assert_eq!(status.purged, status.last);
    cluster.heal();
    cluster.advance(4 * HEARTBEAT);
    cluster.assert_equal();
    assert_eq!(cluster.status(1).progress[1].state, "replicate");
}

#[test]
fn nobody_who_is_not_there_is_sent_a_snapshot() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.crash(3, 0);
    cluster.advance(HEARTBEAT);
    cluster.propose(1, b"x");
    cluster.advance(HEARTBEAT);
    cluster.snapshot(1, 0);
    cluster.elect(2);
    cluster.advance(HEARTBEAT);
    cluster.snapshot(2, 0);
    cluster.advance(4 * HEARTBEAT);
    assert_eq!(cluster.status(2).progress[1].state, "probe");
}

// --- losses

#[test]
fn a_lost_append_is_noticed_and_sent_again() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.cut.insert((1, 2));
    cluster.cut.insert((1, 3));
    let write = cluster.propose(1, b"lost");
    cluster.settle();
    cluster.heal();
    cluster.advance(3 * HEARTBEAT);
    let at = cluster.placed(1, write).unwrap();
    assert!(cluster.nodes[&2].machine.applied >= at, "without another proposal");
    cluster.assert_equal();
}

#[test]
fn a_lost_acknowledgement_is_asked_for_again() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.cut.insert((2, 1));
    cluster.cut.insert((3, 1));
    let write = cluster.propose(1, b"not heard of");
    cluster.settle();
    cluster.heal();
    cluster.advance(4 * HEARTBEAT);
    let at = cluster.placed(1, write).unwrap();
    assert!(cluster.core(1).commit() >= at.index);
}

#[test]
fn a_slow_follower_is_not_sent_everything_again_because_of_frequent_reads() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    solo.accepted(2, 2);
    solo.accepted(3, 2);
    solo.propose(b"x");
    for _ in 0..20 {
        let (_, sent) = solo.read();
        solo.cluster.now += MS;
        let sent = solo.heartbeat_reply(2, Solo::round(&sent), 2);
        assert!(appends(&sent, 2).is_empty(), "the append is on its way");
    }
    solo.cluster.now += HEARTBEAT;
    assert_eq!(appends(&solo.heartbeat_reply(2, 1, 2), 2), [(LogId::new(2, 5), vec![3])], "now it is not");
}

#[test]
fn an_unreachable_follower_is_left_alone_until_it_answers() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    solo.accepted(2, 2);
    solo.propose(b"in flight");
    solo.step(Input::Unreachable(2));
    let (_, sent) = solo.propose(b"more");
    assert!(appends(&sent, 2).is_empty());
    let sent = solo.heartbeat_reply(2, 1, 2);
    assert_eq!(appends(&sent, 2), [(LogId::new(2, 5), vec![3, 4])], "from what it is known to hold");
}

#[test]
fn fetched_entries_are_sent_once_and_only_while_they_are_wanted() {
    let mut small = settings();
    small.tail_bytes = 0;
    let mut solo = Solo::with(&small, &seen(3), 4, log_of(&[4, 4, 4, 4]));
    solo.win();
    solo.slow_reads = true;
    solo.rejected(2, 4, LogId::ZERO);
    let fetch = solo.cluster.nodes[&1].fetches[0];
    assert_eq!((fetch.1, fetch.2), (1, 6), "from the disk");
    // It turns out meanwhile that the follower has more.
    solo.accepted(2, 2);
    assert_eq!(solo.cluster.nodes[&1].fetches.len(), 1, "one read at a time");
    assert!(solo.cluster.answer_fetch(1));
    assert!(solo.sent().is_empty(), "the answer to the first wish is of no use any more");
    assert!(solo.cluster.answer_fetch(1));
    assert_eq!(appends(&solo.sent(), 2), [(LogId::new(2, 4), vec![3, 4, 5])]);
}

#[test]
fn a_fetch_that_finds_its_entries_purged_ends_in_a_snapshot() {
    let mut small = settings();
    small.tail_bytes = 0;
    let mut cluster = Cluster::with(3, &small, &seen(3), 5);
    cluster.elect(1);
    cluster.isolate(3);
    for _ in 0..10 {
        cluster.propose(1, b"x");
        cluster.settle();
    }
    cluster.advance(HEARTBEAT);
    cluster.heal();
    // Node 3 answers, the leader wants to read, and purges before the read is done.
    while cluster.nodes[&1].fetches.is_empty() {
        assert!(
            cluster.deliver() || {
                cluster.due(1);
                true
            }
        );
        cluster.persist_all(3);
    }
    cluster.snapshot(1, 0);
    cluster.persist_all(1);
    cluster.advance(4 * HEARTBEAT);
    cluster.assert_equal();
}

#[test]
fn class_38_a_forwarded_proposal_is_sent_once() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.cut.insert((2, 1));
    cluster.sent.clear();
    let write = cluster.propose(2, b"once");
    cluster.advance(8 * HEARTBEAT);
    cluster.heal();
    cluster.advance(4 * ELECTION.1);
    assert_eq!(cluster.count(2, "Propose"), 1, "its fate is unknown, so it is not sent again");
    assert_eq!(cluster.answers(2, write).len(), 1);
    // Lost on the way back instead: the entry stands in the log, once.
    let leader = cluster.leader().unwrap();
    let follower = cluster.ids().into_iter().find(|&id| id != leader).unwrap();
    cluster.cut.insert((leader, follower));
    cluster.propose(follower, b"twice?");
    cluster.settle();
    cluster.heal();
    cluster.advance(4 * ELECTION.1);
    cluster.checks.exactly_once();
    assert!(cluster.checks.applied.values().any(|entry| entry.payload() == b"twice?".as_slice()));
    assert_eq!(cluster.core(leader).role(), Role::Leader);
}
