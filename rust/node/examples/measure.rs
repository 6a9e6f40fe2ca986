//! Three durable nodes in one process: latency of one write at a time, and throughput with many in flight.
//!
//! `cargo run --release -p d-engine-node --example measure -- [DIRECTORY]`
#![allow(clippy::print_stdout, reason = "its purpose")]

use std::error::Error;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use d_engine_node::storage::FileStorage;
use d_engine_node::{
    Applied, Batch, LocalNetwork, NoHooks, NoLog, Node, NodeConfig, NodeError, NodeParts, PluginFailure, StateMachine,
};
use d_engine_raft::{Draft, EntryKind, Member, MemberRole, Role};

#[derive(Default)]
struct Count(u64);

impl StateMachine for Count {
    type Output = u64;

    fn apply(&mut self, batch: &Batch<'_>) -> Applied<u64> {
        let before = self.0;
        self.0 += batch.entries.len() as u64;
        Applied::all(batch.wanted.iter().map(|range| before + range.end as u64).collect())
    }

    fn snapshot(&mut self, out: &mut dyn Write) -> Result<(), PluginFailure> {
        out.write_all(&self.0.to_le_bytes()).map_err(|error| PluginFailure::new("snapshot", error.to_string()))
    }

    fn restore(&mut self, source: &mut dyn Read) -> Result<(), PluginFailure> {
        let mut bytes = [0; 8];
        source.read_exact(&mut bytes).map_err(|error| PluginFailure::new("restore", error.to_string()))?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

type CountNode = Node<Count>;

fn start(network: &LocalNetwork, directory: &std::path::Path) -> Result<Vec<CountNode>, NodeError> {
    let members: Vec<Member> = (1..=3)
        .map(|id| Member {
            id,
            address: format!("node-{id}"),
            client_address: None,
            role: MemberRole::Voter,
            priority: 0,
            auto_promote: true,
            incarnation: None,
            leaving: false,
        })
        .collect();
    (1..=3)
        .map(|id| {
            let config = NodeConfig::default();
            Node::start(NodeParts {
                id,
                members: members.clone(),
                join: None,
                storage: Box::new(FileStorage::new(directory.join(id.to_string()), config.segment_bytes)),
                config,
                machine: Count::default(),
                transport: Box::new(network.transport()),
                log: Arc::new(NoLog),
                hooks: Arc::new(NoHooks),
            })
        })
        .collect()
}

fn write(node: &CountNode, payloads: usize) -> Result<(), Box<dyn Error>> {
    let (sender, receiver) = sync_channel(1);
    let mut draft = Draft::with_capacity(payloads, payloads * 256);
    for _ in 0..payloads {
        draft.push(EntryKind::Command, &[7; 256]);
    }
    let done = Box::new(move |outcome: d_engine_node::Outcome<u64>| drop(sender.send(outcome.error)));
    node.propose(draft, Some(Duration::from_secs(5)), done);
    receiver.recv()?.map_or(Ok(()), |error| Err(error.into()))
}

fn flood(node: &CountNode, batch: usize, in_flight: usize, total: usize) -> Result<f64, Box<dyn Error>> {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(move || {
                    let window = (in_flight / batch / 2).max(1);
                    let (sender, receiver) = sync_channel(window);
                    let (mut sent, mut done) = (0, 0);
                    while done < total / 2 {
                        while sent < total / 2 && sent - done < window * batch {
                            let mut draft = Draft::with_capacity(batch, batch * 256);
                            for _ in 0..batch {
                                draft.push(EntryKind::Command, &[7; 256]);
                            }
                            let sender = sender.clone();
                            let answer = move |outcome: d_engine_node::Outcome<u64>| drop(sender.send(outcome.error));
                            node.propose(draft, Some(Duration::from_secs(5)), Box::new(answer));
                            sent += batch;
                        }
                        match receiver.recv() {
                            Ok(None) => done += batch,
                            Ok(Some(error)) => return Err(error.to_string()),
                            Err(error) => return Err(error.to_string()),
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let entries = total as f64;
    Ok(entries / begun.elapsed().as_secs_f64())
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("measure-{}", std::process::id()));
    let network = LocalNetwork::new();
    let nodes = start(&network, &directory)?;
    let leader = loop {
        if let Some(leader) = nodes.iter().find(|node| node.summary().role == Role::Leader && node.summary().ready) {
            break leader;
        }
        std::thread::yield_now();
    };
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let begun = Instant::now();
        write(leader, 1)?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!("one at a time: p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("4,096 in flight by 64: {:.0}/s", flood(leader, 64, 4096, 400_000)?);
    println!("4,096 in flight by 1: {:.0}/s", flood(leader, 1, 4096, 200_000)?);
    for (name, value) in leader.metrics().pairs() {
        println!("  {name} {value}");
    }
    for node in &nodes {
        node.close(false, Duration::from_secs(5));
    }
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
