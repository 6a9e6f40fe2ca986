//! Who does not belong here is told so, and shown; what is no frame changes nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/client.rs"]
mod client;
#[path = "support/node.rs"]
mod node;
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bytes::{Bytes, BytesMut};
use client::{exchange, say};
use d_engine_node::{Frame, Hello, Lane, Transport, TransportError, TransportStart};
use d_engine_raft::{Incarnation, LogId};
use d_engine_rpc::codec::{Head, encode};
use d_engine_rpc::wire::exchange_request::Content;
use d_engine_rpc::wire::{self, RejectionReason};
use d_engine_rpc::{GrpcOptions, GrpcTransport};
use node::{Behaviour, Collector, TestNode, hello, introduce, with_incarnation};
use prost::Message as _;
use support::{append, frame, heartbeat, member};
use tonic::{Code, Status};

/// Node 1 meets a node 2 that is wrong somehow. Both must say all of `parts`, and node 1 the reason.
fn meet(wrong: Hello, reason: RejectionReason, parts: &[&'static str]) {
    let one = TestNode::start(1);
    let two = TestNode::start_as(wrong, "127.0.0.1:0", Behaviour::default());
    introduce(&[&one, &two]);
    one.beat(2, 1);
    two.beat(1, 2);
    let refused = |dialled: &'static str| [&[dialled], parts].concat();
    one.heard.wait("the refusal of node 2 at node 1", |told| told.warned(&refused("no stream to node 2")));
    two.heard.wait("the refusal of node 1 at node 2", |told| told.warned(&refused("no stream to node 1")));
    one.heard.wait("node 1's own refusal", |told| told.warned(&[&["node 1 of cluster \"test\""], parts].concat()));
    let error = one.handle.peers()[0].error.clone().unwrap();
    assert_eq!(error.reason, reason, "{error}");
    for node in [&one, &two] {
        assert!(!node.handle.peers()[0].connected);
        node.heard.look(|told| assert!(told.frames.is_empty()));
    }
}

#[test]
fn another_cluster_is_refused_on_both_sides() {
    let initial = support::configuration(vec![member(2, "elsewhere:1"), member(4, "elsewhere:2")]);
    let wrong = Hello { cluster: "other".into(), cluster_id: 77, initial, ..hello(2) };
    let parts = ["cluster \"test\"", "one:1", "cluster \"other\"", "4=elsewhere:2", "data directory"];
    meet(wrong, RejectionReason::Cluster, &parts);
}

#[test]
fn another_recovery_epoch_is_refused_on_both_sides() {
    meet(Hello { recovery_epoch: 4, ..hello(2) }, RejectionReason::RecoveryEpoch, &["recovery epoch", "4", "3"]);
}

#[test]
fn another_group_is_refused_on_both_sides() {
    meet(Hello { group: 5, ..hello(2) }, RejectionReason::Group, &["group 5", "group 0"]);
}

#[test]
fn the_wrong_node_at_an_address_is_refused_on_both_sides() {
    let (one, three) = (TestNode::start(1), TestNode::start(3));
    one.set_peers(vec![one.member(), member(2, &three.address.to_string())]);
    one.beat(2, 1);
    let parts = ["node 3", "it wants node 2 at this address"];
    one.heard.wait("the refusal", |told| told.warned(&parts));
    three.heard.wait("the refusal", |told| told.warned(&parts));
    assert_eq!(one.handle.peers()[0].error.as_ref().unwrap().reason, RejectionReason::Node);
}

#[test]
fn two_nodes_of_one_number_are_told() {
    let (one, twin) = (TestNode::start(1), TestNode::start(1));
    let (error, _) = refused(one.address, wire::Hello { to: 1, from: 1, ..introduction(1) });
    assert!(error.message().contains("calls itself node 1 as well"), "{error}");
    drop(twin);
}

#[test]
fn a_wiped_member_is_refused_until_it_is_admitted_again() {
    let (one, two) = (TestNode::start(1), TestNode::start(2));
    let old = Incarnation(4711);
    let known = |node: &TestNode| with_incarnation(node.member(), hello(node.id).incarnation);
    // Node 1 remembers another node 2; this one has only its initial table.
    one.set_peers(vec![known(&one), with_incarnation(two.member(), old)]);
    two.set_peers(vec![one.member(), two.member()]);
    one.beat(2, 1);
    two.beat(1, 2);
    let (old, new) = (old.to_string(), hello(2).incarnation.to_string());
    one.heard.wait("the refusal at node 1", |told| told.warned(&["no stream to node 2", &old, &new, "wiped"]));
    two.heard.wait("the refusal at node 2", |told| told.warned(&["no stream to node 1", &old, &new, "wiped"]));
    assert_eq!(one.handle.peers()[0].error.as_ref().unwrap().reason, RejectionReason::Incarnation);
    assert!(!one.handle.peers()[0].connected && !two.handle.peers()[0].connected);
    // Admitted: its configuration names it, and node 1 has only not heard of it.
    let again = TestNode::start(2);
    again.set_peers(vec![known(&one), with_incarnation(again.member(), hello(2).incarnation)]);
    again.beat(1, 3);
    one.heard.wait("a beat of the admitted node", |told| told.rounds(2) == [3]);
}

/// What node 2 would say to `to`.
fn introduction(to: u64) -> wire::Hello {
    let Hello { cluster_id, cluster, group, recovery_epoch, incarnation, initial, .. } = hello(2);
    wire::Hello {
        oldest_format: 1,
        newest_format: 1,
        cluster_id: Bytes::copy_from_slice(&cluster_id.to_be_bytes()),
        cluster,
        group,
        recovery_epoch,
        from: 2,
        to,
        incarnation: Bytes::copy_from_slice(&incarnation.0.to_be_bytes()),
        expected_incarnation: Bytes::new(),
        admitted: false,
        members: initial.to_string(),
        address: String::new(),
    }
}

fn reason(status: &Status) -> RejectionReason {
    let detail = status.metadata().get_bin("d-engine-rejection-bin").unwrap().to_bytes().unwrap();
    wire::Rejection::decode(detail).unwrap().reason()
}

fn refused(address: std::net::SocketAddr, hello: wire::Hello) -> (Status, RejectionReason) {
    let (welcomes, status) = exchange(address, vec![say(Content::Hello(hello))]);
    assert_eq!(welcomes, 0);
    let status = status.unwrap();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let reason = reason(&status);
    (status, reason)
}

#[test]
fn another_release_and_broken_introductions_are_refused() {
    let one = TestNode::start(1);
    let (status, why) = refused(one.address, wire::Hello { oldest_format: 2, newest_format: 9, ..introduction(1) });
    assert_eq!(why, RejectionReason::Version);
    assert!(status.message().contains("speaks protocol 2 to 9, this build speaks 1 to 1"), "{status}");
    one.heard.wait("the refusal", |told| told.warned(&["speaks protocol 2 to 9"]));
    let (_, why) = refused(one.address, wire::Hello { incarnation: Bytes::new(), ..introduction(1) });
    assert_eq!(why, RejectionReason::Hello);
    let (_, why) = refused(one.address, wire::Hello { cluster_id: Bytes::from_static(b"x"), ..introduction(1) });
    assert_eq!(why, RejectionReason::Hello);
    let (_, why) = refused(one.address, wire::Hello { from: 0, ..introduction(1) });
    assert_eq!(why, RejectionReason::Node);
    // A text of control characters and without end does not reach the log as it is.
    let (status, _) =
        refused(one.address, wire::Hello { members: "\u{7}\n".repeat(5000), group: 3, ..introduction(1) });
    assert!(status.message().len() < 10_000 && !status.message().contains('\u{7}'));
    let status = exchange(one.address, vec![wire::ExchangeRequest::default()]).1.unwrap();
    assert_eq!(reason(&status), RejectionReason::Hello);
    one.heard.look(|told| assert!(told.frames.is_empty()));
}

fn wire_frame(frame: Frame) -> wire::Frame {
    let frames = encode(&Head::of(&frame), frame.payload, |error| panic!("{error}"));
    let mut out = BytesMut::new();
    frames[0].write(&mut out);
    wire::Frame::decode(out.freeze()).unwrap()
}

/// Introduces itself well, then sends that; gives the refusal.
fn sends(one: &TestNode, request: wire::ExchangeRequest) -> Status {
    let (welcomes, status) = exchange(one.address, vec![say(Content::Hello(introduction(1))), request]);
    assert_eq!(welcomes, 1);
    status.unwrap()
}

#[test]
fn frames_that_break_the_contract_end_their_stream_only() {
    let (one, two) = (TestNode::start(1), TestNode::start(3));
    introduce(&[&one, &two]);
    let good = || wire_frame(frame(2, 1, Lane::Control, vec![heartbeat(8)]));
    let entries = || wire_frame(frame(2, 1, Lane::Data, vec![(4, append(LogId::new(9, 4), &[vec![1; 10]]))]));
    let mut damaged = entries().records.to_vec();
    damaged[66] ^= 1;
    let cases = [
        (say(Content::Hello(introduction(1))), "second introduction"),
        (wire::ExchangeRequest::default(), "without content"),
        (say(Content::Frame(wire::Frame { from: 3, ..good() })), "names node 3"),
        (say(Content::Frame(wire::Frame { incarnation: Bytes::from_static(&[1; 16]), ..good() })), "as its sender"),
        (say(Content::Frame(wire::Frame { lane: wire::Lane::Bulk.into(), ..good() })), "lane Bulk"),
        (say(Content::Frame(wire::Frame { format: 7, ..good() })), "format 7"),
        (say(Content::Frame(wire::Frame { records: damaged.into(), ..entries() })), "payload checksum"),
        (say(Content::Frame(wire::Frame { records: vec![0; 2 << 20].into(), ..entries() })), "no request"),
    ];
    for (request, why) in cases {
        let status = sends(&one, request);
        assert!(status.message().contains(why), "{why}: {status}");
        assert_eq!(reason(&status), RejectionReason::Frame, "{status}");
        one.heard.wait(why, |told| told.invalid.iter().any(|text| text.contains("node 2") && text.contains(why)));
    }
    one.heard.look(|told| assert!(told.frames.is_empty()));
    // Others do not notice.
    two.beat(1, 5);
    one.heard.wait("a beat", |told| told.rounds(3) == [5]);
}

#[test]
fn garbage_on_the_port_harms_nobody() {
    let (one, two) = (TestNode::start(1), TestNode::start(2));
    introduce(&[&one, &two]);
    let mut garbage = TcpStream::connect(one.address).unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    one.heard.wait("the complaint", |told| told.invalid.iter().any(|text| text.contains("HTTP/2")));
    // It is closed, perhaps by a reset.
    let _ = garbage.read(&mut [0; 16]);
    let mut cut = TcpStream::connect(one.address).unwrap();
    cut.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x06").unwrap();
    drop(cut);
    let mut odd = TcpStream::connect(one.address).unwrap();
    odd.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00").unwrap();
    odd.write_all(&[0xff; 4096]).unwrap();
    let _silent = TcpStream::connect(one.address).unwrap();
    two.beat(1, 1);
    one.heard.wait("a beat", |told| told.rounds(2) == [1]);
    one.beat(2, 2);
    two.heard.wait("the answer", |told| told.rounds(1) == [2]);
}

#[test]
fn any_number_of_silent_connections_leaves_room_for_peers() {
    let (one, two) = (TestNode::start(1), TestNode::start(2));
    let silent: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(one.address).unwrap()).collect();
    introduce(&[&one, &two]);
    two.beat(1, 1);
    one.heard.wait("a beat", |told| told.rounds(2) == [1]);
    drop(silent);
}

fn start_on(options: GrpcOptions, own: &str) -> Result<GrpcTransport, TransportError> {
    let mut transport = GrpcTransport::new(options);
    let inbound = std::sync::Arc::new(Collector::default());
    transport.start(TransportStart { hello: hello(1), address: own.into(), inbound }).map(|_| transport)
}

#[test]
fn an_address_that_cannot_be_listened_on_is_named() {
    let taken = TestNode::start(1);
    let bind = |address: &str| match start_on(GrpcOptions::default(), address) {
        Err(TransportError::Bind { address: named, why }) => {
            assert_eq!(named, address);
            why
        }
        other => panic!("{other:?}"),
    };
    assert!(bind(&taken.address.to_string()).contains("in use"));
    assert!(bind("0.0.0.0:0").contains("insecure"));
    assert!(bind("nowhere").contains("host:port"));
    let insecure = GrpcOptions { insecure: true, ..GrpcOptions::default() };
    let transport = start_on(insecure, "0.0.0.0:0").unwrap();
    assert_ne!(transport.handle().local_addr().unwrap().port(), 0);
}

#[test]
fn close_frees_the_port_and_is_idempotent() {
    let mut transport = start_on(GrpcOptions::default(), "127.0.0.1:0").unwrap();
    let address = transport.handle().local_addr().unwrap();
    transport.close();
    transport.close();
    assert!(TcpStream::connect(address).is_err());
    assert!(transport.handle().peers().is_empty());
    drop(start_on(GrpcOptions::default(), &address.to_string()).unwrap());
}
