//! The way of a cluster from its first election to its last handover.

use crate::common::{Cluster, ELECTION, HEARTBEAT, MS, Work, settings, unseen};
use d_engine_raft::{Entry, Input, Refusal, Reply, Role};

#[test]
fn three_nodes_elect_commit_and_apply() {
    let mut cluster = Cluster::new(3);
    cluster.advance(2 * ELECTION.1);
    let leader = cluster.leader().expect("a leader");
    let request = cluster.propose(leader, b"one");
    cluster.settle();
    let at = cluster.placed(leader, request).expect("placed");
    assert!(cluster.core(leader).commit() >= at.index);
    cluster.advance(HEARTBEAT);
    for id in cluster.ids() {
        assert_eq!(cluster.nodes[&id].machine.applied, at);
    }
    cluster.assert_equal();
}

#[test]
fn a_lone_node_leads_at_once() {
    let mut cluster = Cluster::new(1);
    cluster.settle();
    assert_eq!(cluster.core(1).role(), Role::Leader);
    let write = cluster.propose(1, b"x");
    cluster.settle();
    let at = cluster.placed(1, write).expect("placed");
    assert_eq!(cluster.nodes[&1].machine.applied, at);
    let read = cluster.read(1);
    assert_eq!(cluster.read_index(1, read), Some(at.index));
    cluster.restart(1);
    cluster.settle();
    assert_eq!(cluster.core(1).role(), Role::Leader);
    assert!(cluster.nodes[&1].machine.applied > at);
}

#[test]
fn the_first_election_needs_every_voter_and_later_ones_a_quorum() {
    let mut cluster = Cluster::new(3);
    cluster.isolate(3);
    cluster.advance(20 * ELECTION.1);
    assert_eq!(cluster.leader(), None, "voter 3 has not been seen");
    assert!(cluster.status(1).missing.contains(&3));
    cluster.heal();
    cluster.advance(4 * ELECTION.1);
    let leader = cluster.leader().expect("all were seen");
    cluster.advance(HEARTBEAT);
    let configuration = cluster.status(leader).configuration;
    assert!(configuration.members.iter().all(|member| member.incarnation.is_some()));
    cluster.isolate(leader);
    cluster.advance(6 * ELECTION.1);
    let next = cluster.leader().expect("a quorum is enough now");
    assert_ne!(next, leader);
    assert_ne!(cluster.core(leader).role(), Role::Leader, "and the old leader has noticed");
}

#[test]
fn followers_forward_proposals_and_reads() {
    let mut cluster = Cluster::led_by(3, 1);
    let write = cluster.propose(2, b"via 2");
    cluster.settle();
    assert_eq!(cluster.answers(2, write)[0], Reply::Forwarded { id: write, to: 1 });
    let at = cluster.placed(2, write).expect("placed");
    assert!(cluster.nodes[&2].machine.applied.index >= at.index, "told of the commit without waiting for a heartbeat");
    let read = cluster.read(3);
    cluster.settle();
    assert_eq!(cluster.read_index(3, read), Some(at.index));
    assert!(cluster.nodes[&3].machine.applied.index >= at.index);
}

#[test]
fn without_a_leader_requests_are_refused() {
    let mut cluster = Cluster::new(3);
    let write = cluster.propose(1, b"x");
    let read = cluster.read(1);
    for request in [write, read] {
        assert_eq!(cluster.answers(1, request), [Reply::Refused { id: request, why: Refusal::NotLeader }]);
    }
}

#[test]
fn all_nodes_restart_and_nothing_is_lost() {
    let mut cluster = Cluster::led_by(3, 2);
    let write = cluster.propose(2, b"kept");
    cluster.settle();
    let at = cluster.placed(2, write).expect("placed");
    for id in cluster.ids() {
        cluster.restart(id);
    }
    cluster.advance(4 * ELECTION.1);
    assert!(cluster.leader().is_some());
    cluster.advance(HEARTBEAT);
    cluster.assert_equal();
    assert!(cluster.nodes[&1].machine.applied.index > at.index);
}

#[test]
fn leadership_is_transferred_on_request() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.step(1, Input::Transfer { id: 900, to: Some(3) });
    cluster.settle();
    assert_eq!(cluster.core(3).role(), Role::Leader);
    assert!(cluster.nodes[&1].replies.contains(&Reply::Transferred { id: 900, to: Ok(3) }));
}

#[test]
fn close_with_handover_gives_leadership_away_first() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.step(1, Input::Close { handover: true });
    cluster.settle();
    assert!(cluster.nodes[&1].replies.contains(&Reply::Closed));
    let leader = cluster.leader().expect("a successor, without an election timeout");
    assert_ne!(leader, 1);
}

#[test]
fn a_follower_behind_the_purged_log_gets_a_snapshot() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.isolate(3);
    for number in 0..50 {
        cluster.propose(1, format!("{number}").as_bytes());
        cluster.settle();
    }
    cluster.advance(HEARTBEAT);
    cluster.snapshot(1, 5);
    cluster.settle();
    assert_eq!(cluster.status(1).purged.index, cluster.status(1).commit - 5);
    cluster.heal();
    cluster.advance(4 * HEARTBEAT);
    assert_eq!(cluster.status(3).snapshot, cluster.status(1).snapshot);
    cluster.propose(1, b"after");
    cluster.advance(2 * HEARTBEAT);
    cluster.assert_equal();
    assert_eq!(cluster.status(1).progress[1].state, "replicate");
    cluster.restart(3);
    cluster.advance(2 * HEARTBEAT);
    cluster.assert_equal();
}

#[test]
fn a_stalled_disk_ends_leadership_and_refuses_writes() {
    let mut cluster = Cluster::led_by(3, 1);
    cluster.advance(HEARTBEAT);
    cluster.node(1).auto_persist = false;
    cluster.propose(1, b"hangs");
    cluster.advance(14_000 * MS);
    assert_eq!(cluster.core(1).role(), Role::Leader, "slow is not stalled");
    cluster.advance(2_000 * MS);
    assert!(cluster.status(1).storage_stalled);
    let leader = cluster.leader().expect("another leader");
    assert_ne!(leader, 1);
    cluster.propose(leader, b"goes on");
    cluster.advance(HEARTBEAT);
    cluster.node(1).auto_persist = true;
    cluster.advance(4 * HEARTBEAT);
    assert!(!cluster.status(1).storage_stalled);
    cluster.assert_equal();
    assert_eq!(cluster.checks.leaders.len(), 2, "one change of leadership");
}

#[test]
fn apply_is_bounded_and_waits_for_reports() {
    let mut small = settings();
    small.max_applying_bytes = 200;
    let mut cluster = Cluster::with(1, &small, &unseen(1), 3);
    cluster.node(1).auto_apply = false;
    cluster.settle();
    for _ in 0..10 {
        cluster.propose(1, &[0; 36]);
    }
    cluster.settle();
    let outstanding: usize = cluster.nodes[&1]
        .works
        .iter()
        .map(|work| if let Work::Apply(entries) = work { entries.iter().map(Entry::size).sum() } else { 0 })
        .sum();
    assert!(outstanding <= 300, "{outstanding} bytes are being applied");
    cluster.node(1).auto_apply = true;
    cluster.settle();
    assert_eq!(cluster.nodes[&1].machine.applied.index, cluster.core(1).commit());
}
