//! Runs of entries that several hold at once.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::entry::Entry;

/// Contiguous entries. A copy, or a copy of a part, copies none of them: log, disk, peers and state machine share one run.
#[derive(Clone, Default)]
pub struct Entries {
    all: Arc<[Entry]>,
    from: usize,
    to: usize,
    bytes: usize,
}

impl Entries {
    /// All of `all`, whose records have so many bytes together.
    pub(crate) fn new(all: Arc<[Entry]>, bytes: usize) -> Self {
        Self { from: 0, to: all.len(), bytes, all }
    }

    /// Bytes of their records.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// A part of the run, by position.
    ///
    /// # Panics
    /// Where the run has no such part, as a slice does.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        if range == (0..self.len()) {
            return self.clone();
        }
        let bytes = self[range.clone()].iter().map(Entry::size).sum();
        Self { all: self.all.clone(), from: self.from + range.start, to: self.from + range.end, bytes }
    }

    /// Lets go of the first entry.
    pub(crate) fn drop_first(&mut self) {
        if let Some(first) = self.first() {
            self.bytes -= first.size();
            self.from += 1;
        }
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        &self.all[self.from..self.to]
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(entries: Vec<Entry>) -> Self {
        let bytes = entries.iter().map(Entry::size).sum();
        Self::new(entries.into(), bytes)
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        entries.into_iter().collect::<Vec<_>>().into()
    }
}

impl IntoIterator for Entries {
    type Item = Entry;
    type IntoIter = IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        IntoIter { places: self.from..self.to, all: self.all }
    }
}

/// One entry after the other.
#[derive(Debug)]
pub struct IntoIter {
    all: Arc<[Entry]>,
    places: Range<usize>,
}

impl Iterator for IntoIter {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        self.places.next().map(|place| self.all[place].clone())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl ExactSizeIterator for IntoIter {}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Entries {}

impl fmt::Debug for Entries {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.iter()).finish()
    }
}
