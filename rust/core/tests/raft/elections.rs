//! Elections: sections 5.2 and 5.4.1, thesis 4.2.3, 6.4.1 and 9.6.

use crate::common::{
    Cluster, ELECTION, HEARTBEAT, Solo, entry, incarnation, kinds, log_of, message, seen, settings, unseen,
};
use d_engine_raft::{
    AppendReply, Body, Event, HardState, Incarnation, LogId, MemberRole, Message, Micros, NodeId, Role, SplitMix64,
};

fn vote(last: LogId) -> Body {
    Body::Vote { last, transfer: false }
}

fn granted(messages: &[Message]) -> Vec<bool> {
    let answer = |message: &Message| match message.body {
        Body::VoteReply { granted } | Body::PreVoteReply { granted } => Some(granted),
        _ => None,
    };
    messages.iter().filter_map(answer).collect()
}

// --- PreVote (thesis 9.6)

#[test]
fn a_cut_off_node_does_not_raise_terms_and_disturbs_nobody_when_it_returns() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    let term = cluster.core(1).term();
    cluster.isolate(3);
    cluster.advance(50 * ELECTION.1);
    assert_eq!(cluster.core(3).term(), term);
    assert_eq!(cluster.core(3).role(), Role::PreCandidate);
    cluster.heal();
    cluster.advance(10 * ELECTION.1);
    assert_eq!((cluster.leader(), cluster.core(1).term()), (Some(1), term));
    assert_eq!(cluster.core(3).leader(), Some(1));
}

#[test]
fn a_pre_vote_promises_nothing_and_touches_no_timer() {
    let mut solo = Solo::new(3, 4, log_of(&[1, 4]));
    let deadline = solo.cluster.core(1).deadline();
    let ask = || Body::PreVote { last: LogId::new(2, 4) };
    assert_eq!(granted(&solo.hear(2, 5, ask())), [true]);
    assert_eq!(granted(&solo.hear(3, 5, ask())), [true], "both may hear yes");
    assert_eq!(solo.cluster.core(1).deadline(), deadline);
    assert_eq!((solo.term(), solo.cluster.status(1).vote), (4, None));
    assert!(solo.cluster.nodes[&1].disk.queue.is_empty());
}

#[test]
fn a_pre_vote_is_refused_to_an_old_term_and_to_a_shorter_log() {
    let mut solo = Solo::new(3, 4, log_of(&[1, 4]));
    for (term, last) in [(4, LogId::new(9, 4)), (5, LogId::new(1, 4)), (5, LogId::new(9, 3))] {
        let answer = solo.hear(2, term, Body::PreVote { last });
        assert_eq!(granted(&answer), [false], "term {term}, log {last}");
        assert_eq!(answer[0].term, 4, "a refusal shows the term that is in the way");
    }
}

#[test]
fn class_16_prevote_and_checkquorum_do_not_get_stuck_on_a_higher_term() {
    // etcd #8501: the leader's term is behind that of a follower, whose log is too short to win.
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.crash(3, 0);
    cluster.propose(1, b"3 misses it");
    cluster.advance(HEARTBEAT);
    cluster.node(3).disk.hard_state = HardState { term: 9, vote: Some(3) };
    cluster.start(3);
    cluster.advance(8 * ELECTION.1);
    let leader = cluster.leader().expect("a leader");
    assert!(cluster.core(leader).term() >= 9);
    assert!(cluster.ids().iter().all(|&id| cluster.core(id).leader() == Some(leader)));
    cluster.assert_equal();
}

#[test]
fn class_16_the_longer_log_in_the_lower_term_wins_in_the_end() {
    // etcd #8243: one has the term, the other one the log, and the third is gone.
    let mut cluster = Cluster::idle(3, &settings(), &seen(3), 1);
    cluster.node(1).disk.hard_state = HardState { term: 5, vote: None };
    cluster.node(1).disk.entries = log_of(&[1]).into();
    cluster.node(2).disk.hard_state = HardState { term: 4, vote: None };
    cluster.node(2).disk.entries = log_of(&[1, 4]).into();
    cluster.start(1);
    cluster.start(2);
    cluster.advance(8 * ELECTION.1);
    assert_eq!(cluster.leader(), Some(2));
}

#[test]
fn class_17_a_pre_vote_is_granted_to_the_own_leader_and_does_not_count_as_contact() {
    // hashicorp #606: the leader has stepped down and asks to be elected again.
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    solo.hear(2, 4, Body::Heartbeat { round: 1, commit: 0 });
    let deadline = solo.cluster.core(1).deadline();
    let ask = || Body::PreVote { last: LogId::new(1, 4) };
    assert_eq!(granted(&solo.hear(2, 5, ask())), [true]);
    assert!(solo.hear(3, 5, ask()).is_empty(), "but nobody else while it may still lead");
    assert_eq!(solo.cluster.core(1).deadline(), deadline);
}

#[test]
fn class_40_a_refused_pre_vote_with_a_higher_term_is_taken_over() {
    // openraft d6a6d562: the pre-candidate must learn the term that stands in its way, but only that.
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    solo.due();
    assert_eq!(solo.role(), Role::PreCandidate);
    solo.hear(2, 7, Body::PreVoteReply { granted: false });
    let status = solo.cluster.status(1);
    assert_eq!((status.role, status.term, status.vote), (Role::Follower, 7, None));
    let requests = solo.due();
    assert!(requests.iter().all(|message| message.term == 8));
}

#[test]
fn class_40_a_granted_pre_vote_of_another_election_does_not_count() {
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    solo.due();
    for term in [4, 6, 1 << 40] {
        solo.hear(2, term, Body::PreVoteReply { granted: true });
        assert_eq!((solo.role(), solo.term()), (Role::PreCandidate, 4), "granted for term {term}");
    }
    solo.hear(2, 5, Body::PreVoteReply { granted: true });
    assert_eq!((solo.role(), solo.term()), (Role::Candidate, 5));
}

#[test]
fn class_40_a_stale_timeout_now_starts_no_election() {
    // openraft d000ee20.
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    let now = |id: NodeId| Body::TimeoutNow { target: incarnation(id) };
    solo.hear(2, 4, now(1));
    assert_eq!(solo.term(), 4, "node 2 does not lead");
    solo.hear(2, 4, Body::Heartbeat { round: 1, commit: 0 });
    solo.hear(2, 3, now(1));
    solo.hear(3, 4, now(1));
    solo.hear(2, 4, now(3));
    assert_eq!((solo.role(), solo.term()), (Role::Follower, 4), "an old term, another sender, another data directory");
    solo.hear(2, 4, now(1));
    assert_eq!((solo.role(), solo.term()), (Role::Candidate, 5));
    solo.hear(2, 4, now(1));
    assert_eq!(solo.term(), 5, "it came twice");
}

// --- votes

#[test]
fn class_11_one_vote_a_term_and_a_leader_votes_for_nobody_else() {
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    let last = LogId::new(1, 4);
    assert_eq!(granted(&solo.hear(2, 5, vote(last))), [true]);
    assert_eq!(granted(&solo.hear(3, 5, vote(last))), [false]);
    assert_eq!(granted(&solo.hear(2, 5, vote(last))), [true], "asked again by the same one");
    let mut leader = Solo::leading(3, 4, log_of(&[4]));
    assert_eq!(granted(&leader.hear(3, 5, vote(LogId::new(9, 5)))), [false]);
    assert_eq!(leader.role(), Role::Leader);
    // A follower that knows the term's leader is not free either, though it has not voted.
    let mut follower = Solo::new(3, 4, log_of(&[4]));
    follower.hear(2, 5, Body::Heartbeat { round: 1, commit: 0 });
    follower.cluster.now += ELECTION.0;
    assert_eq!(granted(&follower.hear(3, 5, vote(last))), [false]);
}

#[test]
fn class_03_a_vote_compares_the_log_as_it_is_at_that_moment() {
    let mut solo = Solo::new(3, 4, log_of(&[1, 3]));
    assert_eq!(granted(&solo.hear(2, 5, vote(LogId::new(1, 3)))), [false], "shorter");
    assert_eq!(granted(&solo.hear(2, 5, vote(LogId::new(7, 2)))), [false], "longer, but of an older term");
    // What has just been appended counts, durable or not.
    solo.slow_disk();
    solo.append(3, 6, LogId::new(2, 3), vec![entry(3, 6, b"new")]);
    solo.cluster.now += 2 * ELECTION.0;
    solo.hear(2, 7, vote(LogId::new(2, 3)));
    assert_eq!(granted(&solo.persist_all()), [false]);
    assert_eq!(granted(&solo.hear(2, 8, vote(LogId::new(3, 6)))), []);
    assert_eq!(granted(&solo.persist_all()), [true], "equal is enough");
}

#[test]
fn votes_are_withheld_while_a_leader_is_heard() {
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    let better = LogId::new(9, 4);
    solo.hear(2, 4, Body::Heartbeat { round: 1, commit: 0 });
    solo.cluster.now += ELECTION.0 - 1;
    assert!(solo.hear(3, 5, Body::PreVote { last: better }).is_empty());
    assert!(solo.hear(3, 5, vote(better)).is_empty());
    assert_eq!(solo.term(), 4, "the term is not taken over either (thesis 4.2.3)");
    solo.cluster.now += 1;
    assert_eq!(granted(&solo.hear(3, 5, vote(better))), [true]);
}

#[test]
fn a_leader_refuses_votes_within_its_lease_and_gives_way_after_it() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    let better = LogId::new(9, 9);
    solo.heartbeat_reply(2, 1, 2);
    let until = solo.cluster.core(1).lease_until().expect("a quorum has answered");
    solo.cluster.now = until - 1;
    assert!(solo.hear(3, 6, vote(better)).is_empty());
    assert_eq!(solo.role(), Role::Leader);
    solo.cluster.now = until;
    assert_eq!(granted(&solo.hear(3, 6, vote(better))), [true]);
    assert_eq!((solo.role(), solo.term()), (Role::Follower, 6));
}

#[test]
fn after_a_start_no_vote_is_given_and_no_campaign_begun_for_the_minimum_timeout() {
    let state = HardState { term: 4, vote: None };
    let mut solo = Solo::just_started(&settings(), &seen(3), state, log_of(&[4]));
    let better = LogId::new(9, 4);
    assert!(solo.cluster.core(1).deadline().is_some_and(|at| at >= solo.cluster.now + ELECTION.0));
    solo.cluster.now += ELECTION.0 - 1;
    assert!(solo.hear(2, 5, vote(better)).is_empty());
    assert!(solo.hear(2, 5, Body::PreVote { last: better }).is_empty());
    solo.hear(2, 5, Body::Vote { last: better, transfer: true });
    assert_eq!(solo.term(), 5, "unless the old leader has asked for the election");
    let mut solo = Solo::just_started(&settings(), &seen(3), state, log_of(&[4]));
    solo.cluster.now += ELECTION.0;
    assert_eq!(granted(&solo.hear(2, 5, vote(better))), [true]);
}

#[test]
fn a_vote_ends_the_voters_own_pre_candidacy() {
    let mut solo = Solo::new(3, 4, log_of(&[4]));
    solo.hear(3, 5, Body::HeartbeatReply { round: 0, last: 0, apply_stopped: false });
    solo.due();
    assert_eq!(solo.role(), Role::PreCandidate);
    assert_eq!(granted(&solo.hear(2, 5, vote(LogId::new(1, 4)))), [true]);
    assert_eq!(solo.role(), Role::Follower);
    solo.hear(3, 6, Body::PreVoteReply { granted: true });
    assert_eq!(solo.term(), 5);
}

#[test]
fn timeouts_are_random_within_their_bounds() {
    let mut timeouts: Vec<Micros> = Vec::new();
    for seed in 0..200 {
        let cluster = Cluster::with(3, &settings(), &seen(3), seed);
        for id in cluster.ids() {
            timeouts.push(cluster.core(id).deadline().unwrap() - cluster.now);
        }
    }
    assert!(timeouts.iter().all(|&timeout| (ELECTION.0..=ELECTION.1).contains(&timeout)));
    let middle = ELECTION.0.midpoint(ELECTION.1);
    let late = timeouts.iter().filter(|&&timeout| timeout > middle).count();
    assert!((200..400).contains(&late), "{late} of 600 in the upper half");
    timeouts.sort_unstable();
    timeouts.dedup();
    assert!(timeouts.len() > 590);
}

#[test]
fn the_random_stream_is_the_published_one() {
    // The reference implementation's first numbers for seed 1234567.
    let mut random = SplitMix64::new(1_234_567);
    let first: Vec<u64> = (0..3).map(|_| random.next()).collect();
    assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    assert!((0..1000).all(|_| (3..=5).contains(&random.between(3, 5))));
    assert_eq!((random.between(7, 7), random.between(9, 2)), (7, 9));
    random.between(0, u64::MAX);
}

// --- CheckQuorum (thesis 6.2)

#[test]
fn a_leader_that_no_quorum_hears_steps_down() {
    let mut cluster = Cluster::led_by(5, 1);
    cluster.advance(HEARTBEAT);
    for id in [3, 4, 5] {
        cluster.isolate(id);
    }
    cluster.advance(ELECTION.1 + HEARTBEAT);
    assert_ne!(cluster.core(1).role(), Role::Leader);
    let mut cluster = Cluster::led_by(5, 1);
    for id in [4, 5] {
        cluster.isolate(id);
    }
    cluster.advance(20 * ELECTION.1);
    assert_eq!(cluster.core(1).role(), Role::Leader, "three of five are a quorum");
}

// --- who counts (a wiped disk may have forgotten a vote)

#[test]
fn class_26_a_wiped_voter_neither_votes_nor_acknowledges() {
    let mut solo = Solo::leading(3, 4, log_of(&[4]));
    let wiped = Incarnation(99);
    let ack = Body::AppendReply(AppendReply::Accepted { matched: 2 });
    let mut ack = message(2, 1, 5, ack);
    ack.incarnation = wiped;
    solo.hear_message(ack.clone());
    assert_eq!(solo.commit(), 0);
    solo.hear_message(ack);
    let shown = solo.cluster.nodes[&1].events.iter();
    let shown = shown.filter(|event| matches!(event, Event::WipedMember { id: 2, found, .. } if *found == wiped));
    assert_eq!(shown.count(), 1, "said once");
    solo.accepted(2, 2);
    assert_eq!(solo.commit(), 2, "the member that the cluster knows counts");

    let mut candidate = Solo::new(3, 4, log_of(&[4]));
    candidate.due();
    let mut yes = message(2, 1, 5, Body::PreVoteReply { granted: true });
    yes.incarnation = wiped;
    candidate.hear_message(yes);
    assert_eq!(candidate.role(), Role::PreCandidate);
}

#[test]
fn class_26_one_wiped_disk_and_one_crash_lose_nothing() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.isolate(3);
    let write = cluster.propose(1, b"on 1 and 2");
    cluster.advance(HEARTBEAT);
    let at = cluster.placed(1, write).unwrap();
    assert!(cluster.core(1).commit() >= at.index);
    // 2 has forgotten, 3 has never known, and 1 is down.
    cluster.wipe(2);
    cluster.start(2);
    cluster.crash(1, 0);
    cluster.heal();
    cluster.advance(40 * ELECTION.1);
    assert_eq!(cluster.leader(), None, "2 and 3 would be a quorum that has lost the entry");
    cluster.start(1);
    cluster.advance(8 * ELECTION.1);
    assert_eq!(cluster.leader(), Some(1));
}

#[test]
fn while_incarnations_are_unknown_every_voter_must_grant() {
    let mut solo = Solo::with(&settings(), &unseen(5), 0, Vec::new());
    solo.due();
    for id in [2, 3, 4] {
        solo.hear(id, 1, Body::PreVoteReply { granted: true });
    }
    assert_eq!(solo.role(), Role::PreCandidate);
    assert_eq!(solo.cluster.status(1).missing, [5]);
    solo.hear(5, 1, Body::PreVoteReply { granted: true });
    assert_eq!(solo.role(), Role::Candidate);
    for id in [2, 3, 4] {
        solo.hear(id, 1, Body::VoteReply { granted: true });
    }
    assert_eq!(solo.role(), Role::Candidate, "three of five are not enough yet");
    let first = solo.hear(5, 1, Body::VoteReply { granted: true });
    assert_eq!(solo.role(), Role::Leader);
    let Some(Body::Append { entries, .. }) =
        first.iter().map(|message| &message.body).find(|body| matches!(body, Body::Append { .. }))
    else {
        panic!("an append");
    };
    assert_eq!(entries.len(), 1, "the first entry is the configuration with all incarnations");
    let configuration = solo.cluster.status(1).configuration;
    assert!(configuration.members.iter().all(|member| member.incarnation == Some(incarnation(member.id))));
}

#[test]
fn witnesses_learners_and_strangers_never_campaign() {
    for role in [MemberRole::Witness, MemberRole::Learner] {
        let mut configuration = seen(3);
        configuration.members[0].role = role;
        let solo = Solo::with(&settings(), &configuration, 4, log_of(&[4]));
        assert_eq!(solo.cluster.core(1).deadline(), None, "{role:?}");
    }
    let mut configuration = seen(3);
    configuration.members[0].incarnation = Some(Incarnation(99));
    let solo = Solo::with(&settings(), &configuration, 4, log_of(&[4]));
    assert_eq!(solo.cluster.core(1).deadline(), None, "on another disk than the cluster knows");
}

#[test]
fn a_candidate_retries_and_asks_all_other_voters() {
    let mut solo = Solo::new(5, 4, log_of(&[4]));
    for _ in 0..3 {
        let asked = solo.due();
        for id in 2..=5 {
            assert_eq!(kinds(&asked, id), ["PreVote"]);
        }
        assert_eq!(solo.term(), 4);
    }
}
