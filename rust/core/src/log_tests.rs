//! The log against a vector that keeps everything.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Log, Slice};
use crate::entry::{Draft, Entry};
use crate::types::{Index, LogId, Term};

const TAIL_LIMIT: usize = 400;

#[derive(Clone, Debug)]
enum Step {
    Append { count: u64, newer: Term, size: usize },
    Truncate(u64),
    Durable(u64),
    Purge(u64),
    Reset { ahead: u64, newer: Term },
    Trim,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..5_u64, 0..3_u64, 0..80_usize).prop_map(|(count, newer, size)| Step::Append { count, newer, size }),
        1 => (0..20_u64).prop_map(Step::Truncate),
        3 => (0..20_u64).prop_map(Step::Durable),
        1 => (0..20_u64).prop_map(Step::Purge),
        1 => (0..9_u64, 0..2_u64).prop_map(|(ahead, newer)| Step::Reset { ahead, newer }),
        2 => Just(Step::Trim),
    ]
}

/// Everything behind `purged`, and up to where it is on disk.
struct Model {
    purged: LogId,
    entries: Vec<Entry>,
    durable: Index,
}

impl Model {
    fn last(&self) -> LogId {
        self.entries.last().map_or(self.purged, Entry::id)
    }

    fn term(&self, index: Index) -> Option<Term> {
        if index == self.purged.index {
            return Some(self.purged.term);
        }
        self.entries.iter().find(|entry| entry.index() == index).map(Entry::term)
    }

    fn agreement(&self, id: LogId) -> LogId {
        let can = |entry: &&Entry| entry.index() <= id.index && entry.term() <= id.term;
        self.entries.iter().rev().find(can).map_or(self.purged, Entry::id)
    }
}

fn take(log: &mut Log, model: &mut Model, step: &Step) {
    match *step {
        Step::Append { count, newer, size } => {
            let mut draft = Draft::default();
            (0..count).for_each(|_| draft.push(crate::entry::EntryKind::Command, &vec![0; size]));
            let mut entries = Vec::new();
            draft.stamp(model.last().index + 1, model.last().term.max(1) + newer, log.last_time() + 1, &mut entries);
            log.append(&entries.clone().into());
            model.entries.extend(entries);
        }
        Step::Truncate(back) => {
            let from = model.last().index.saturating_sub(back).max(model.purged.index + 1);
            log.truncate(from);
            model.entries.retain(|entry| entry.index() < from);
            model.durable = model.durable.min(from - 1);
        }
        Step::Durable(back) => {
            // A token may name what was cut meanwhile: the log's end bounds it.
            let index = model.last().index + 3 - back.min(model.last().index + 3);
            log.made_durable(index);
            model.durable = model.durable.max(index.min(model.last().index));
        }
        Step::Purge(back) => {
            let upto = model.last().index.saturating_sub(back).min(model.durable);
            let expected = model.term(upto).map_or(model.purged, |term| LogId::new(upto, term));
            assert_eq!(log.purge(upto), expected);
            model.purged = expected;
            model.entries.retain(|entry| entry.index() > expected.index);
        }
        Step::Reset { ahead, newer } => {
            let to = LogId::new(model.last().index + ahead, model.last().term + newer);
            log.reset(to, log.last_time() + ahead);
            *model = Model { purged: to, entries: Vec::new(), durable: 0 };
        }
        Step::Trim => {
            log.trim();
            let volatile_first = log.tail.first().is_none_or(|first| first > model.durable);
            assert!(log.tail.bytes() <= TAIL_LIMIT || volatile_first);
        }
    }
}

fn same(log: &Log, model: &Model) {
    assert_eq!((log.purged(), log.last(), log.last_id()), (model.purged, model.last().index, model.last()));
    assert_eq!(log.durable(), model.durable);
    let volatile = model.entries.iter().filter(|entry| entry.index() > model.durable).map(Entry::size);
    assert_eq!(log.volatile_bytes(), volatile.sum::<usize>());
    assert_eq!(log.tail.bytes(), log.tail.iter().map(Entry::size).sum::<usize>());
    let (low, high) = (model.purged.index.saturating_sub(2), model.last().index + 3);
    for index in low..=high {
        assert_eq!(log.term(index), model.term(index), "term at {index}");
        for term in model.purged.term.saturating_sub(1)..=model.last().term + 1 {
            let id = LogId::new(index, term);
            assert_eq!(log.holds(id), model.term(index) == Some(term));
            if index >= model.purged.index {
                assert_eq!(log.agreement(id), model.agreement(id), "agreement at {id}");
            }
        }
    }
    for lo in low.max(1)..=model.last().index {
        for (hi, max_bytes) in [(lo, 0), (model.last().index, 200), (model.last().index, usize::MAX)] {
            slices(log, model, lo, hi, max_bytes);
        }
    }
}

fn slices(log: &Log, model: &Model, lo: Index, hi: Index, max_bytes: usize) {
    match log.slice(lo, hi, max_bytes) {
        Slice::Compacted => assert!(lo <= model.purged.index),
        Slice::OnDisk(end) => {
            assert!(lo > model.purged.index && lo < end && end <= hi + 1);
            assert!(end <= model.durable + 1, "only what is durable is not in memory");
        }
        Slice::Here(found) => {
            let mut bytes = 0;
            let expected =
                model.entries.iter().filter(|entry| (lo..=hi).contains(&entry.index())).take_while(|entry| {
                    let first = bytes == 0;
                    bytes += entry.size();
                    first || bytes <= max_bytes
                });
            assert!(expected.eq(found.iter()));
            assert!(!found.is_empty(), "at least one");
        }
    }
}

proptest! {
    #[test]
    fn the_log_is_what_a_vector_would_be(steps in vec(step(), 0..40)) {
        let mut log = Log::new(LogId::ZERO, 0, [], 0, TAIL_LIMIT);
        let mut model = Model { purged: LogId::ZERO, entries: Vec::new(), durable: 0 };
        for step in &steps {
            take(&mut log, &mut model, step);
            same(&log, &model);
        }
    }

    #[test]
    fn a_log_found_on_disk_goes_on_as_it_was(steps in vec(step(), 0..20), more in vec(step(), 0..20)) {
        let mut log = Log::new(LogId::ZERO, 0, [], 0, TAIL_LIMIT);
        let mut model = Model { purged: LogId::ZERO, entries: Vec::new(), durable: 0 };
        for step in &steps {
            take(&mut log, &mut model, step);
        }
        let mut log = Log::new(log.purged(), log.last(), log.runs.iter().copied(), log.last_time(), TAIL_LIMIT);
        model.durable = model.last().index;
        same(&log, &model);
        for step in &more {
            take(&mut log, &mut model, step);
            same(&log, &model);
        }
    }
}
