//! Nodes that no configuration names: those that ask to join, and those that are answered where they say they are.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/node.rs"]
mod node;
mod support;

use std::time::Duration;

use d_engine_node::{Admission, JoinError, JoinRequest, Transport as _};
use d_engine_raft::{ChangeError, Incarnation, MemberRole};
use d_engine_rpc::{GrpcOptions, GrpcTransport};
use node::{Behaviour, TestNode, hello, with_incarnation};
use support::{configuration, member};

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_stranger_is_answered_where_it_says_it_is() {
    let (one, two) = (TestNode::start(1), TestNode::start(2));
    one.set_peers(vec![one.member()]);
    two.set_peers(vec![one.member(), two.member()]);
    two.beat(1, 7);
    one.heard.wait("a beat of the stranger", |told| told.rounds(2) == [7]);
    one.beat(2, 8);
    two.heard.wait("the answer", |told| told.rounds(1) == [8]);
    // A newer table without it changes nothing, as long as it is there.
    one.set_peers(vec![one.member(), member(3, "127.0.0.1:1")]);
    one.beat(2, 9);
    two.heard.wait("another answer", |told| told.rounds(1) == [8, 9]);
    drop(two);
    let gone = || one.handle.peers().iter().all(|peer| peer.id != 2);
    while !gone() {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_member_that_has_moved_is_found_where_it_says_it_is() {
    let beats = Behaviour { beat: Some((2, Duration::from_millis(20))), ..Behaviour::default() };
    let one = TestNode::start_as(hello(1), "127.0.0.1:0", beats);
    let two = TestNode::start(2);
    one.set_peers(vec![one.member(), member(2, "127.0.0.1:1")]);
    two.set_peers(vec![one.member(), two.member()]);
    two.heard.wait("a beat at the new place", |told| !told.rounds(1).is_empty());
    // What a configuration says later counts again.
    let three = TestNode::start_as(hello(2), "127.0.0.1:0", Behaviour::default());
    one.set_peers(vec![one.member(), member(2, &three.address.to_string())]);
    three.heard.wait("a beat at the place of the configuration", |told| !told.rounds(1).is_empty());
}

fn ask(address: &str) -> Result<Admission, JoinError> {
    let joiner = with_incarnation(member(4, "four:4"), Incarnation(44));
    let joiner = d_engine_raft::Member {
        client_address: Some("four:5".into()),
        role: MemberRole::Learner,
        priority: -3,
        ..joiner
    };
    let request = JoinRequest { cluster: "test".into(), group: 0, member: joiner };
    GrpcTransport::new(GrpcOptions::default()).join(address, &request, LIMIT)
}

#[test]
fn a_question_and_its_answer_arrive_whole() {
    let one = TestNode::start(1);
    let address = one.address.to_string();
    let members = configuration(vec![with_incarnation(one.member(), Incarnation(11)), member(4, "four:4")]);
    let admission =
        Admission { cluster: "test".into(), cluster_id: 5, group: 0, recovery_epoch: 3, configuration: members };
    let answers = [
        Ok(admission),
        Err(JoinError::WrongCluster { expected: "test".into(), found: "other".into() }),
        Err(JoinError::SameNode(4)),
        Err(JoinError::Refused(ChangeError::TooManyWitnesses { witnesses: 2, allowed: 1 })),
        Err(JoinError::Refused(ChangeError::InFlight(9))),
        Err(JoinError::Unanswered("no leader".into())),
    ];
    for answer in answers {
        *one.heard.answer.lock().unwrap() = Some(answer.clone());
        assert_eq!(ask(&address), answer);
    }
    one.heard.look(|told| {
        let member = &told.joining[0].member;
        assert_eq!((member.id, member.address.as_str(), member.priority), (4, "four:4", -3));
        assert_eq!((member.role, member.incarnation), (MemberRole::Learner, Some(Incarnation(44))));
        assert_eq!(member.client_address.as_deref(), Some("four:5"));
    });
}

#[test]
fn who_cannot_answer_is_named() {
    let one = TestNode::start(1);
    let answer = ask(&one.address.to_string());
    assert!(matches!(&answer, Err(JoinError::Unanswered(why)) if why.contains("transport")), "{answer:?}");
    let address = one.address.to_string();
    drop(one);
    let answer = ask(&address);
    assert!(matches!(answer, Err(JoinError::Unanswered(_))), "{answer:?}");
}
