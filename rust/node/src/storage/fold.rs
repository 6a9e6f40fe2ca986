//! From the core's persist units to what a plain log store can do.

use d_engine_raft::{Entry, HardState, Index, LogId, Persist};

/// One call of a plain log store.
#[derive(Debug, PartialEq, Eq)]
pub enum Operation {
    /// Begin anew behind that entry.
    Reset(LogId),
    /// Drop, then append.
    Append {
        /// From here on everything is dropped first.
        truncate_from: Option<Index>,
        /// Contiguous; may be empty.
        entries: Vec<Entry>,
    },
}

/// Units in as few calls as possible, and the newest hard state, which is saved before all of them: until all are durable
/// nobody hears of any, and a term or vote that is on disk too early promises nothing.
pub fn fold(units: &[Persist]) -> (Option<HardState>, Vec<Operation>) {
    let hard_state = units.iter().rev().find_map(|unit| unit.hard_state);
    let mut operations = Vec::new();
    let mut truncate: Option<Index> = None;
    let mut entries: Vec<Entry> = Vec::new();
    for unit in units {
        if let Some(last) = unit.reset_to {
            // What was to be appended before is dropped by the reset.
            truncate = None;
            entries.clear();
            operations.clear();
            operations.push(Operation::Reset(last));
        }
        if let Some(from) = unit.truncate_from {
            if entries.first().is_some_and(|first| first.index() <= from) {
                // The store's own log ends before what waits here.
                entries.truncate(entries.partition_point(|entry| entry.index() < from));
            } else {
                entries.clear();
                truncate = Some(truncate.map_or(from, |earlier| earlier.min(from)));
            }
        }
        entries.extend(unit.entries.iter().cloned());
    }
    if truncate.is_some() || !entries.is_empty() {
        operations.push(Operation::Append { truncate_from: truncate, entries });
    }
    (hard_state, operations)
}

#[cfg(test)]
mod tests {
    use d_engine_raft::{Draft, EntryKind, Persist, Term};

    use super::*;

    fn entries(first: Index, count: u64, term: Term) -> Vec<Entry> {
        let mut draft = Draft::default();
        for at in 0..count {
            draft.push(EntryKind::Command, &at.to_le_bytes());
        }
        let mut out = Vec::new();
        draft.stamp(first, term, 1, &mut out);
        out
    }

    fn unit(truncate_from: Option<Index>, entries: Vec<Entry>) -> Persist {
        Persist { truncate_from, entries: entries.into(), ..Persist::default() }
    }

    fn append(truncate_from: Option<Index>, entries: Vec<Entry>) -> Vec<Operation> {
        vec![Operation::Append { truncate_from, entries }]
    }

    #[test]
    fn appends_join() {
        let (_, operations) = fold(&[unit(None, entries(5, 2, 1)), unit(None, entries(7, 1, 1))]);
        let mut all = entries(5, 2, 1);
        all.extend(entries(7, 1, 1));
        assert_eq!(operations, append(None, all));
    }

    #[test]
    fn a_truncation_inside_what_waits_reaches_no_store() {
        let (_, operations) = fold(&[unit(None, entries(5, 3, 1)), unit(Some(6), entries(6, 1, 2))]);
        let mut all = entries(5, 1, 1);
        all.extend(entries(6, 1, 2));
        assert_eq!(operations, append(None, all));
    }

    #[test]
    fn the_earliest_truncation_holds() {
        let (_, operations) = fold(&[unit(Some(6), entries(6, 1, 2)), unit(Some(4), entries(4, 2, 3))]);
        assert_eq!(operations, append(Some(4), entries(4, 2, 3)));
        let (_, operations) = fold(&[unit(Some(4), Vec::new()), unit(Some(6), entries(6, 1, 2))]);
        assert_eq!(operations, append(Some(4), entries(6, 1, 2)));
    }

    #[test]
    fn a_reset_drops_what_waited() {
        let reset =
            Persist { reset_to: Some(LogId::new(9, 2)), entries: entries(10, 1, 2).into(), ..Persist::default() };
        let (_, operations) = fold(&[unit(Some(3), entries(3, 2, 1)), reset]);
        let expected = vec![
            Operation::Reset(LogId::new(9, 2)),
            Operation::Append { truncate_from: None, entries: entries(10, 1, 2) },
        ];
        assert_eq!(operations, expected);
    }

    #[test]
    fn the_newest_hard_state_is_saved() {
        let state = |term| Persist { hard_state: Some(HardState { term, vote: None }), ..Persist::default() };
        assert_eq!(
            fold(&[state(3), state(4), unit(None, entries(1, 1, 4))]).0,
            Some(HardState { term: 4, vote: None })
        );
    }
}
