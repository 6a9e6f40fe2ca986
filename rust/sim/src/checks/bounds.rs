//! Bounds: nothing grows without one.

use d_engine_raft::{Body, Index, Micros, NodeId};

use super::book::Book;
use super::{Check, Finding, Options, ensure};
use crate::fact::Fact;

/// Entries in memory: as many bytes as the tail may have, or else nothing but what is not durable yet.
#[derive(Debug)]
pub struct BoundedMemory {
    tail: usize,
    /// What is not known to be durable: whose, from where, to where, bytes.
    volatile: Vec<(NodeId, Index, Index, usize)>,
}

impl BoundedMemory {
    pub const NAME: &str = "bounded-memory";

    pub const fn new(options: &Options) -> Self {
        Self { tail: options.settings.tail_bytes, volatile: Vec::new() }
    }
}

impl Check for BoundedMemory {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, _book: &Book) -> Finding {
        match fact {
            Fact::Started { node, .. } => self.volatile.retain(|(whose, ..)| whose != node),
            Fact::Persist { node, persist } => {
                if let (Some(first), Some(last)) = (persist.entries.first(), persist.entries.last()) {
                    self.volatile.push((*node, first.index(), last.index(), persist.entries.bytes()));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn turned(&mut self, _at: Micros, place: usize, book: &Book) -> Finding {
        let node = &book.observed.nodes[place];
        let (id, durable, held) = (node.id, node.position.durable, node.position.tail_bytes);
        self.volatile.retain(|&(whose, _, last, _)| whose != id || last > durable);
        if held > self.tail {
            let volatile: usize = self.volatile.iter().filter(|(whose, ..)| *whose == id).map(|unit| unit.3).sum();
            let tail = self.tail;
            let bounded = held <= volatile;
            ensure!(
                bounded,
                "node {id} holds {held} bytes of entries; {tail} are its bound, {volatile} are not durable"
            );
        }
        Ok(())
    }
}

/// Calls that wait in a driver: no more than are under way, but for a moment in which callers have given up before their node.
#[derive(Debug, Default)]
pub struct BoundedQueues {
    /// By node: since when more wait.
    since: Vec<(NodeId, Micros)>,
}

/// That moment.
const MOMENT: Micros = 1_000_000;

impl BoundedQueues {
    pub const NAME: &str = "bounded-queues";
}

impl Check for BoundedQueues {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, _book: &Book) -> Finding {
        if let Fact::Started { node, .. } = fact {
            self.since.retain(|(id, _)| id != node);
        }
        Ok(())
    }

    fn turned(&mut self, at: Micros, place: usize, book: &Book) -> Finding {
        let node = &book.observed.nodes[place];
        let (id, waiting, made) = (node.id, node.position.waiting, node.calls);
        let known = self.since.iter().position(|(known, _)| *known == id);
        match known {
            _ if waiting > made => {
                let since = known.map_or(at, |known| self.since[known].1);
                if known.is_none() {
                    self.since.push((id, at));
                }
                let moment = at <= since + MOMENT;
                ensure!(moment, "{waiting} calls wait in the driver of node {id}, and {made} are under way");
            }
            Some(known) => {
                self.since.swap_remove(known);
            }
            None => {}
        }
        Ok(())
    }
}

/// Appends in flight: a leader that hears nothing of a follower stops sending to it.
#[derive(Debug)]
pub struct BoundedWindow {
    messages: usize,
    /// From whom, to whom, how many since it was heard.
    unanswered: Vec<(NodeId, NodeId, usize)>,
}

impl BoundedWindow {
    pub const NAME: &str = "bounded-window";

    pub const fn new(options: &Options) -> Self {
        // A follower's progress begins anew when its directory is recorded, and probes besides.
        Self { messages: 2 * options.settings.max_inflight_messages + 8, unanswered: Vec::new() }
    }

    fn forget(&mut self, heard: impl Fn(NodeId, NodeId) -> bool) {
        for (from, to, count) in &mut self.unanswered {
            if heard(*from, *to) {
                *count = 0;
            }
        }
    }
}

impl Check for BoundedWindow {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn fact(&mut self, _at: Micros, fact: &Fact<'_>, _book: &Book) -> Finding {
        match fact {
            Fact::Sent { message, .. } => {
                let Body::Append { entries, .. } = &message.body else { return Ok(()) };
                if entries.is_empty() {
                    return Ok(());
                }
                let (from, to) = (message.from, message.to);
                let known = self.unanswered.iter().position(|&(one, other, _)| (one, other) == (from, to));
                let place = known.unwrap_or_else(|| {
                    self.unanswered.push((from, to, 0));
                    self.unanswered.len() - 1
                });
                let count = &mut self.unanswered[place].2;
                *count += 1;
                let (sent, bound) = (*count, self.messages);
                ensure!(sent <= bound, "node {from} sent {sent} appends to node {to} and heard nothing of it");
            }
            Fact::Delivered { message, .. } => self.forget(|from, to| from == message.to && to == message.from),
            Fact::Started { node, .. } => self.forget(|from, _| from == *node),
            _ => {}
        }
        Ok(())
    }

    fn turned(&mut self, _at: Micros, place: usize, book: &Book) -> Finding {
        let node = &book.observed.nodes[place];
        if node.was_elected() {
            self.forget(|from, _| from == node.id);
        }
        Ok(())
    }
}
