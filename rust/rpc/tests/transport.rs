//! Transports that reach each other over the loopback.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/node.rs"]
mod node;
mod support;

use std::net::TcpListener;
use std::time::Duration;

use d_engine_node::{Frame, Lane, Payload, SnapshotFrame, Transport as _};
use d_engine_raft::LogId;
use node::{Behaviour, TestNode, hello, introduce};
use support::{append, chunk, entries, frame, heartbeat, member};

#[test]
fn two_nodes_hear_each_other_in_order() {
    let (one, two) = (TestNode::start(1), TestNode::start(2));
    introduce(&[&one, &two]);
    for round in 1..=500 {
        one.beat(2, round);
        two.beat(1, round);
    }
    let all: Vec<u64> = (1..=500).collect();
    two.heard.wait("500 beats of node 1", |told| told.rounds(1) == all);
    one.heard.wait("500 beats of node 2", |told| told.rounds(2) == all);
    let peers = one.handle.peers();
    assert!(peers[0].connected && peers[0].id == 2 && peers[0].error.is_none(), "{peers:?}");
    assert_eq!(peers[0].incarnation, Some(hello(2).incarnation));
    assert_eq!((peers[0].sent, peers[0].dropped), (500, 0));
}

#[test]
fn three_nodes_hear_each_other() {
    let nodes = [TestNode::start(1), TestNode::start(2), TestNode::start(3)];
    introduce(&nodes.each_ref());
    for from in &nodes {
        for to in nodes.iter().filter(|to| to.id != from.id) {
            from.beat(to.id, from.id * 10 + to.id);
        }
    }
    for to in &nodes {
        to.heard.wait("a beat of each", |told| {
            nodes.iter().filter(|from| from.id != to.id).all(|from| told.rounds(from.id) == [from.id * 10 + to.id])
        });
    }
}

#[test]
fn entries_arrive_whole_and_large_ones_too() {
    let (one, two) = (TestNode::start(1), TestNode::start(2));
    introduce(&[&one, &two]);
    let sizes = [1, 100, 20_000, 1_000_000];
    for (&size, index) in sizes.iter().zip(0..) {
        let body = append(LogId::new(index, 3), &[vec![7; size]]);
        one.send(vec![frame(1, 2, Lane::Data, vec![(3, body)])]);
    }
    two.heard.wait("all appends", |told| told.frames.len() == sizes.len());
    two.heard.look(|told| {
        for ((frame, &size), index) in told.frames.iter().zip(&sizes).zip(1..) {
            let entries = entries(frame);
            assert_eq!((entries[0].index(), &entries[0].payload()[..]), (index, &vec![7; size][..]));
        }
    });
}

#[test]
fn a_node_that_never_waits_hears_and_is_heard() {
    let one = TestNode::start_as(hello(1), "127.0.0.1:0", Behaviour { busy: true, ..Behaviour::default() });
    let two = TestNode::start(2);
    introduce(&[&one, &two]);
    one.beat(2, 1);
    two.heard.wait("the beat", |told| told.rounds(1) == [1]);
    two.beat(1, 2);
    one.heard.wait("the answer", |told| told.rounds(2) == [2]);
}

#[test]
fn a_restarted_peer_is_found_again() {
    let beat = |to, round| Behaviour { beat: Some((to, Duration::from_millis(10))), round, busy: false };
    let one = TestNode::start_as(hello(1), "127.0.0.1:0", beat(2, 0));
    let two = TestNode::start_as(hello(2), "127.0.0.1:0", beat(1, 0));
    introduce(&[&one, &two]);
    two.heard.wait("a beat", |told| !told.rounds(1).is_empty());
    let address = two.address.to_string();
    drop(two);
    one.heard.wait("the loss", |told| told.unreachable.contains(&2) && told.warned(&["node 2", &address]));
    let two = TestNode::start_as(hello(2), &address, beat(1, 1 << 40));
    introduce(&[&one, &two]);
    two.heard.wait("a beat", |told| !told.rounds(1).is_empty());
    one.heard.wait("a beat of the new life", |told| told.rounds(2).last() > Some(&(1 << 40)));
}

#[test]
fn a_peer_that_moved_is_found() {
    let one = TestNode::start_as(
        hello(1),
        "127.0.0.1:0",
        Behaviour { beat: Some((2, Duration::from_millis(10))), ..Behaviour::default() },
    );
    let two = TestNode::start(2);
    introduce(&[&one, &two]);
    two.heard.wait("a beat", |told| !told.rounds(1).is_empty());
    let elsewhere = TestNode::start(2);
    one.set_peers(vec![one.member(), elsewhere.member()]);
    elsewhere.heard.wait("a beat", |told| !told.rounds(1).is_empty());
    assert_eq!(one.handle.peers()[0].address, elsewhere.address.to_string());
    one.set_peers(vec![one.member()]);
    one.run(|transport| assert!(transport.handle().peers().is_empty()));
}

#[test]
fn snapshot_chunks_arrive_in_order_on_their_own_stream() {
    let (one, two) = (TestNode::start(1), TestNode::start(2));
    introduce(&[&one, &two]);
    let made = |offset| {
        let data = vec![u8::try_from(offset).unwrap(); 256 << 10];
        let payload = Payload::Snapshot(chunk(9, offset, data));
        Frame { payload, ..frame(1, 2, Lane::Bulk, Vec::new()) }
    };
    one.send((0..40).map(made).collect());
    one.beat(2, 1);
    two.heard.wait("40 chunks and a beat", |told| told.frames.len() == 41);
    let offsets: Vec<u64> = two.heard.look(|told| {
        let offset = |frame: &Frame| match frame.payload {
            Payload::Snapshot(SnapshotFrame::Chunk { offset, .. }) => Some(offset),
            _ => None,
        };
        told.frames.iter().filter_map(offset).collect()
    });
    assert_eq!(offsets, (0..40).collect::<Vec<u64>>());
    let ack = Frame {
        payload: Payload::Snapshot(SnapshotFrame::Ack { transfer: 9, offset: 77 }),
        ..frame(2, 1, Lane::Bulk, Vec::new())
    };
    two.send(vec![ack]);
    one.heard.wait("the ack", |told| {
        told.frames
            .iter()
            .any(|frame| matches!(frame.payload, Payload::Snapshot(SnapshotFrame::Ack { offset: 77, .. })))
    });
}

#[test]
fn a_peer_that_does_not_take_costs_bounded_memory() {
    // It is connected to by the system, and never read.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TestNode::start(1);
    one.set_peers(vec![one.member(), member(2, &deaf.local_addr().unwrap().to_string())]);
    let body = || append(LogId::new(1, 1), &[vec![1; 1 << 19]]);
    one.send((0..40).map(|_| frame(1, 2, Lane::Data, vec![(1, body())])).collect());
    one.heard.wait("drops", |told| told.lost > 0 && told.unreachable == [2]);
    one.run(|transport| {
        let peers = transport.handle().peers();
        assert!(peers[0].waiting_bytes <= 16 << 20 && peers[0].dropped >= 9, "{peers:?}");
        // The control lane has room of its own.
        transport.send(&mut vec![frame(1, 2, Lane::Control, vec![heartbeat(1)])]);
        assert_eq!(transport.handle().peers()[0].dropped, peers[0].dropped);
    });
}

#[test]
fn frames_for_strangers_are_counted() {
    let one = TestNode::start(1);
    one.beat(7, 1);
    one.heard.wait("the loss", |told| told.lost == 1);
}
