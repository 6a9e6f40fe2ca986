//! Nothing that a peer says makes a core panic, grow without bound, or forget what it knows (Law 8).

use crate::common::{Cluster, ELECTION, HEARTBEAT, Solo, entry, incarnation, log_of, message, seen, settings, stamped};
use d_engine_raft::{
    AppendReply, Body, Draft, Entry, EntryKind, FetchId, Incarnation, Input, LogId, Message, NodeId, Refusal, Role,
    SplitMix64,
};

const EDGES: [u64; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 1 << 32, (1 << 62) - 1, u64::MAX - 1, u64::MAX];

fn id(random: &mut SplitMix64) -> LogId {
    LogId::new(edge(random), edge(random))
}

fn edge(random: &mut SplitMix64) -> u64 {
    // Small numbers mostly: they come close to what is true.
    let range = if random.between(0, 3) == 0 { EDGES.len() } else { 8 } as u64;
    EDGES[usize::try_from(random.between(0, range - 1)).unwrap()]
}

fn entries(random: &mut SplitMix64) -> Vec<Entry> {
    let payload = seen(3).encode();
    (0..random.between(0, 3))
        .map(|_| {
            let (index, term) = (edge(random).min(u64::MAX - 1), edge(random));
            match random.between(0, 3) {
                0 => stamped(index, term, EntryKind::Configuration, b"not one"),
                1 => stamped(index, term, EntryKind::Configuration, &payload),
                _ => entry(index, term, b"x"),
            }
        })
        .collect()
}

fn anything(random: &mut SplitMix64) -> Message {
    let body = match random.between(0, 14) {
        0 => Body::PreVote { last: id(random) },
        1 => Body::PreVoteReply { granted: random.next() & 1 == 0 },
        2 => Body::Vote { last: id(random), transfer: random.next() & 1 == 0 },
        3 => Body::VoteReply { granted: random.next() & 1 == 0 },
        4 | 5 => Body::Append { prev: id(random), commit: edge(random), entries: entries(random).into() },
        6 => Body::AppendReply(AppendReply::Accepted { matched: edge(random) }),
        7 => Body::AppendReply(AppendReply::Rejected { prev: edge(random), hint: id(random) }),
        8 => Body::Heartbeat { round: edge(random), commit: edge(random) },
        9 => Body::HeartbeatReply { round: edge(random), last: edge(random), apply_stopped: random.next() & 1 == 0 },
        10 => Body::SnapshotReply { matched: edge(random) },
        11 => Body::TimeoutNow { target: incarnation(edge(random)) },
        12 => Body::Propose { id: edge(random), entries: Draft::command(b"x") },
        13 => Body::ReadIndex { id: edge(random), lease: random.next().is_multiple_of(2) },
        _ => Body::ProposeReply { id: edge(random), result: Err(Refusal::NotLeader) },
    };
    let from = random.between(0, 5);
    Message { from, incarnation: incarnation(from), to: 1, term: edge(random), body }
}

/// Steps garbage, without the checks that hold among members who keep the rules.
fn feed(random: &mut SplitMix64, leading: bool) {
    let mut solo = if leading { Solo::leading(3, 4, log_of(&[1, 4, 4])) } else { Solo::new(3, 4, log_of(&[1, 4, 4])) };
    let mut core = solo.cluster.node(1).core.take().unwrap();
    let mut effects = Vec::new();
    let mut now = solo.cluster.now;
    for _ in 0..60 {
        now += random.between(0, 2 * HEARTBEAT);
        let input = match random.between(0, 20) {
            0 => Input::Time { wall: edge(random) },
            1 => Input::Persisted(edge(random)),
            2 => Input::Applied(edge(random)),
            3 => Input::SnapshotSent { to: edge(random), delivered: Some(edge(random)) },
            4 => Input::Unreachable(edge(random)),
            5 => Input::Purge { upto: edge(random) },
            6 => Input::Fetched { id: edge(random) as FetchId, entries: Some(entries(random)) },
            _ => Input::Message { wall: edge(random), message: anything(random) },
        };
        core.step(now, input, &mut effects);
        let _ = (core.status(), core.deadline(), core.lease_until());
        effects.clear();
    }
}

#[test]
fn no_garbage_of_peers_panics() {
    let mut random = SplitMix64::new(11);
    for round in 0..3_000 {
        feed(&mut random, round % 2 == 0);
    }
}

#[test]
fn a_term_or_an_index_near_the_end_of_all_numbers_is_damage() {
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    for term in [u64::MAX, u64::MAX - 1, 1 << 63, 1 << 62] {
        solo.hear(2, term, Body::Heartbeat { round: 1, commit: 0 });
        solo.hear(2, term, Body::PreVoteReply { granted: false });
    }
    assert_eq!(solo.term(), 4, "or no node could ever be elected again");
    solo.hear(2, 4, Body::Heartbeat { round: 1, commit: u64::MAX });
    assert_eq!(solo.commit(), 0);
}

#[test]
fn appends_with_gaps_or_terms_that_go_back_are_dropped_whole() {
    let mut solo = Solo::new(3, 9, log_of(&[1, 4]));
    let prev = LogId::new(2, 4);
    let wrong = [
        vec![entry(4, 5, b"gap")],
        vec![entry(3, 5, b"a"), entry(5, 5, b"gap")],
        vec![entry(3, 3, b"older than what it follows")],
        vec![entry(3, 6, b"a"), entry(4, 5, b"back")],
        vec![entry(3, 10, b"newer than its leader")],
        vec![stamped(3, 9, EntryKind::Configuration, b"unreadable")],
    ];
    for entries in wrong {
        assert!(solo.append(2, 9, prev, entries).is_empty());
        assert_eq!(solo.last(), prev);
    }
    assert_eq!(solo.append(2, 9, prev, vec![entry(3, 9, b"right")]).len(), 1);
}

#[test]
fn messages_for_others_from_oneself_and_from_a_leader_of_the_same_term_are_ignored() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    let beat = || Body::Heartbeat { round: 1, commit: 0 };
    assert!(solo.hear(2, 5, beat()).is_empty(), "two leaders in a term cannot be");
    assert!(solo.hear(1, 9, beat()).is_empty());
    solo.cluster.step(1, Input::Message { wall: 0, message: message(2, 3, 9, beat()) });
    assert_eq!((solo.role(), solo.term()), (Role::Leader, 5));
}

#[test]
fn answers_to_what_was_never_sent_count_for_nothing() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    solo.accepted(2, 100);
    assert_eq!(solo.commit(), 0);
    solo.accepted(9, 2);
    assert_eq!(solo.commit(), 0, "a stranger");
    solo.heartbeat_reply(2, 100, 2);
    assert_eq!(solo.cluster.core(1).lease_until(), None);
}

#[test]
fn strangers_and_wiped_members_leave_nothing_behind() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    for number in 0..5_000u64 {
        let stranger: NodeId = 100 + number;
        solo.hear(stranger, 5, Body::HeartbeatReply { round: 1, last: 1, apply_stopped: false });
        let mut wiped = message(2, 1, 5, Body::VoteReply { granted: true });
        wiped.incarnation = Incarnation(u128::from(number));
        solo.hear_message(wiped);
    }
    assert_eq!(solo.cluster.status(1).progress.len(), 2);
    let shown = solo.cluster.nodes[&1].events.len();
    assert!(shown >= 5_000, "every new one is said once: {shown}");
}

#[test]
fn an_empty_proposal_takes_no_room() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    for id in 0..100 {
        let last = solo.last();
        solo.hear(2, 0, Body::Propose { id, entries: Draft::default() });
        assert_eq!(solo.last(), last);
    }
}

#[test]
fn a_cluster_survives_a_member_that_talks_nonsense() {
    let mut cluster = Cluster::with(3, &settings(), &seen(3), 2);
    cluster.elect(1);
    let mut random = SplitMix64::new(5);
    for _ in 0..2_000 {
        let mut noise = anything(&mut random);
        // Lies about the protocol can do harm; damage and strangers cannot.
        noise.from = 4 + random.between(0, 3);
        noise.term = random.between(0, 1);
        cluster.tell(noise);
        cluster.settle();
    }
    cluster.advance(4 * ELECTION.1);
    let leader = cluster.leader().unwrap();
    cluster.propose(leader, b"still here");
    cluster.advance(HEARTBEAT);
    cluster.assert_equal();
}
