//! A leader's followers: few, and looked at in every step, so they stand side by side and not in a tree.

use crate::progress::Progress;
use crate::types::NodeId;

/// By ascending number.
#[derive(Debug, Default)]
pub struct Followers(Vec<(NodeId, Progress)>);

impl Followers {
    /// How many.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Who stands at that place.
    pub fn at(&self, place: usize) -> Option<NodeId> {
        self.0.get(place).map(|&(id, _)| id)
    }

    /// Who stands at that place, to be changed.
    pub fn at_mut(&mut self, place: usize) -> Option<(NodeId, &mut Progress)> {
        self.0.get_mut(place).map(|(id, follower)| (*id, follower))
    }

    /// One of them.
    pub fn get(&self, id: NodeId) -> Option<&Progress> {
        // A handful: looking at all of them is faster than a search.
        self.0.iter().find(|one| one.0 == id).map(|(_, follower)| follower)
    }

    /// One of them, to be changed.
    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut Progress> {
        self.0.iter_mut().find(|one| one.0 == id).map(|(_, follower)| follower)
    }

    /// One of them, who is new if need be.
    pub fn get_or_insert(&mut self, id: NodeId, fresh: impl FnOnce() -> Progress) -> &mut Progress {
        let place = self.0.partition_point(|one| one.0 < id);
        if self.at(place) != Some(id) {
            self.0.insert(place, (id, fresh()));
        }
        &mut self.0[place].1
    }

    /// In ascending order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (NodeId, &Progress)> {
        self.0.iter().map(|(id, follower)| (*id, follower))
    }

    /// In ascending order, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (NodeId, &mut Progress)> {
        self.0.iter_mut().map(|(id, follower)| (*id, follower))
    }

    /// Drops those for whom `keep` is false; says whether there were any.
    pub fn retain(&mut self, mut keep: impl FnMut(NodeId, &Progress) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|(id, follower)| keep(*id, follower));
        self.0.len() < before
    }
}

impl FromIterator<(NodeId, Progress)> for Followers {
    fn from_iter<T: IntoIterator<Item = (NodeId, Progress)>>(all: T) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_unstable_by_key(|one| one.0);
        Self(all)
    }
}
