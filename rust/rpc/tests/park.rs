//! Where the core thread waits: woken by calls, by the clock, and never for nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

#[path = "support/node.rs"]
mod node;
mod support;

use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use d_engine_node::{Frame, Lane, Park, Payload, Transport as _, TransportStart};
use d_engine_rpc::{GrpcOptions, GrpcTransport};
use node::{Collector, TestNode, hello, introduce};
use support::{chunk, frame};

const SHORT: Duration = Duration::from_millis(20);

fn start() -> (GrpcTransport, Box<dyn Park>) {
    let mut transport = GrpcTransport::new(GrpcOptions::default());
    let inbound = Arc::new(Collector::default());
    let park = transport.start(TransportStart { hello: hello(1), address: "127.0.0.1:0".into(), inbound }).unwrap();
    (transport, park.unwrap())
}

/// All that is promised of a park, running or closed.
fn check(park: &mut dyn Park) {
    let bell = park.unparker();
    // A call before the wait is remembered, once.
    bell.unpark();
    bell.unpark();
    park.park(None);
    let began = Instant::now();
    while began.elapsed() < SHORT {
        park.park(Some(SHORT.saturating_sub(began.elapsed())));
    }
    // A call meanwhile ends it.
    let (waits, waiting) = mpsc::channel();
    let caller = thread::spawn(move || {
        waiting.recv().unwrap();
        bell.unpark();
    });
    waits.send(()).unwrap();
    park.park(None);
    caller.join().unwrap();
    park.park(Some(Duration::ZERO));
}

#[test]
fn calls_and_the_clock_end_a_wait() {
    let (mut transport, mut park) = start();
    check(&mut *park);
    transport.close();
    check(&mut *park);
}

#[test]
fn a_thousand_calls_from_another_thread_are_all_heard() {
    let (_transport, mut park) = start();
    let bell = park.unparker();
    let (heard, next) = mpsc::channel();
    let caller = thread::spawn(move || {
        for _ in 0..1000 {
            bell.unpark();
            next.recv().unwrap();
        }
    });
    for _ in 0..1000 {
        // Without a limit: a lost call would hang here.
        park.park(None);
        heard.send(()).unwrap();
    }
    caller.join().unwrap();
}

#[test]
fn a_wait_without_a_call_lasts_as_long_as_asked_and_costs_nothing() {
    let (_transport, mut park) = start();
    let began = Instant::now();
    let mut returns = 0;
    while began.elapsed() < 10 * SHORT {
        park.park(Some((10 * SHORT).saturating_sub(began.elapsed())));
        returns += 1;
    }
    assert!(returns < 20, "woken {returns} times");
}

#[test]
fn messages_come_on_the_core_thread_and_snapshots_on_another() {
    let (one, two) = (TestNode::start(1), TestNode::start(2));
    introduce(&[&one, &two]);
    one.beat(2, 1);
    let payload = Payload::Snapshot(chunk(1, 0, vec![1; 100]));
    one.send(vec![Frame { payload, ..frame(1, 2, Lane::Bulk, Vec::new()) }]);
    two.heard.wait("both", |told| told.frames.len() == 2);
    let core = two.core_thread();
    two.heard.look(|told| {
        for (frame, thread) in told.frames.iter().zip(&told.threads) {
            assert_eq!(*thread == core, frame.lane == Lane::Control);
        }
    });
}
