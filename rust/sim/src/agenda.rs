//! What is to happen, and when: ordered by `(at, seq)`, so that no two things ever share a place.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use d_engine_raft::Micros;

/// Everything that is to happen.
#[derive(Debug)]
pub struct Agenda<E> {
    heap: BinaryHeap<Item<E>>,
    seq: u64,
}

#[derive(Debug)]
struct Item<E> {
    at: Micros,
    seq: u64,
    event: E,
}

impl<E> PartialEq for Item<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}

impl<E> Eq for Item<E> {}

impl<E> PartialOrd for Item<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Item<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        // The earliest is the greatest: the heap gives the greatest first.
        (other.at, other.seq).cmp(&(self.at, self.seq))
    }
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), seq: 0 }
    }
}

impl<E> Agenda<E> {
    /// Something happens then, behind everything else that happens then.
    pub fn add(&mut self, at: Micros, event: E) {
        self.seq += 1;
        self.heap.push(Item { at, seq: self.seq, event });
    }

    /// The next thing.
    pub fn take(&mut self) -> Option<(Micros, E)> {
        self.heap.pop().map(|item| (item.at, item.event))
    }

    /// When it happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Micros> {
        self.heap.peek().map(|item| item.at)
    }

    /// How much there is.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_first_comes_first_at_one_moment() {
        let mut agenda = Agenda::default();
        for (at, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            agenda.add(at, event);
        }
        assert_eq!(agenda.next_at(), Some(3));
        let order: String = std::iter::from_fn(|| agenda.take().map(|(_, event)| event)).collect();
        assert_eq!(order, "abcd");
    }
}
