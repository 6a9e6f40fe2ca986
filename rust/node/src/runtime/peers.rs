//! Whom the transport reaches: the members, and for a while those who have just left, so that they can be told.

use d_engine_raft::{Member, Micros};

/// Lives on the core thread.
pub struct Peers {
    members: Vec<Member>,
    /// With the moment at which each is forgotten.
    left: Vec<(Member, Micros)>,
    /// How long a leader tries to tell a removed member of its removal.
    patience: Micros,
}

impl Peers {
    pub const fn new(patience: Micros) -> Self {
        Self { members: Vec::new(), left: Vec::new(), patience }
    }

    /// Takes the members in force from now on; gives all to be reached.
    pub fn set(&mut self, now: Micros, members: &[Member]) -> Vec<Member> {
        let stays = |member: &Member| members.iter().any(|other| other.id == member.id);
        self.left.retain(|(member, _)| !stays(member));
        let until = now.saturating_add(self.patience);
        let leaving = self.members.drain(..).filter(|member| !stays(member));
        self.left.extend(leaving.map(|member| (member, until)));
        self.members = members.to_vec();
        self.all()
    }

    fn all(&self) -> Vec<Member> {
        let mut all = self.members.clone();
        all.extend(self.left.iter().map(|(member, _)| member.clone()));
        all.sort_by_key(|member| member.id);
        all
    }

    pub fn deadline(&self) -> Option<Micros> {
        self.left.iter().map(|&(_, until)| until).min()
    }

    /// All to be reached, if they are fewer now.
    pub fn expire(&mut self, now: Micros) -> Option<Vec<Member>> {
        let before = self.left.len();
        self.left.retain(|&(_, until)| now < until);
        (self.left.len() < before).then(|| self.all())
    }
}
