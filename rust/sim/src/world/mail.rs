//! Letters between hosts.

use d_engine_node::SnapshotFrame;
use d_engine_raft::{Body, Message, Micros, NodeId, mutants};

use super::host::Item;
use super::{Event, Tell, World};
use crate::fact::Fact;
use crate::network::{Lane, lane};

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Mail {
    /// A message of a core.
    Message(Message),
    /// A piece of a snapshot's transfer.
    Snapshot { from: NodeId, to: NodeId, frame: SnapshotFrame },
}

/// A letter under way. A second copy has the first one's number.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub number: u64,
    pub mail: Mail,
}

/// All letters under way, by place; places are used again.
#[derive(Default)]
pub(crate) struct Post {
    places: Vec<Option<Letter>>,
    free: Vec<u32>,
    sent: u64,
}

impl Post {
    fn put(&mut self, letter: Letter) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(letter);
            return place;
        }
        self.places.push(Some(letter));
        u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
    }

    pub fn take(&mut self, place: u32) -> Option<Letter> {
        let letter = self.places.get_mut(place as usize)?.take();
        if letter.is_some() {
            self.free.push(place);
        }
        letter
    }
}

/// What a process holds that does not run: more is dropped, as the node's own inbox does.
const MAX_INBOX: usize = 4_096;

impl World {
    /// A core's message leaves.
    pub(super) fn send(&mut self, mut message: Message, raises: bool, now: Micros, tell: &mut Tell<'_, '_>) {
        if mutants::on("50-in-another-name") {
            message.incarnation.0 ^= 1;
        }
        self.mail.sent += 1;
        let number = self.mail.sent;
        let (from, to) = (message.from, message.to);
        if let Some(host) = self.hosts.get(&from) {
            tell.fact(&Fact::Sent { number, message: &message, platter: &host.disk });
        }
        if raises {
            tell.fact(&Fact::Lost { number, message: &message });
            return;
        }
        let route = self.network.route(now, from, to, lane(&message), false);
        // A transport may lose and delay what is asked on a user's behalf, but never repeats it: nothing would tell two of them
        // apart.
        let once = matches!(message.body, Body::Propose { .. } | Body::Change { .. });
        let letter = Letter { number, mail: Mail::Message(message) };
        if let Some(at) = route.second.filter(|_| !once) {
            let place = self.mail.put(letter.clone());
            self.agenda.add(at, Event::Mail(place));
        }
        match (route.first, letter) {
            (Some(at), letter) => {
                let place = self.mail.put(letter);
                self.agenda.add(at, Event::Mail(place));
            }
            (None, Letter { mail: Mail::Message(message), .. }) => {
                tell.fact(&Fact::Lost { number, message: &message });
            }
            (None, _) => {}
        }
    }

    /// A piece of a snapshot leaves.
    pub(super) fn send_snapshot(&mut self, from: NodeId, to: NodeId, frame: &SnapshotFrame) {
        let chunk = matches!(frame, SnapshotFrame::Chunk { .. });
        let route = self.network.route(self.now, from, to, Lane::Bulk, chunk);
        for at in [route.first, route.second].into_iter().flatten() {
            let mail = Mail::Snapshot { from, to, frame: frame.clone() };
            let place = self.mail.put(Letter { number: 0, mail });
            self.agenda.add(at, Event::Mail(place));
        }
    }

    /// A letter arrives, if nothing has come between.
    pub(super) fn arrive(&mut self, place: u32, tell: &mut Tell<'_, '_>) {
        let Some(letter) = self.mail.take(place) else { return };
        let (from, to) = match &letter.mail {
            Mail::Message(message) => (message.from, message.to),
            Mail::Snapshot { from, to, .. } => (*from, *to),
        };
        let cut = self.network.is_cut(from, to);
        let process = self.hosts.get_mut(&to).and_then(|host| host.process.as_mut());
        let taken = process.filter(|process| !cut && process.inbox.len() < MAX_INBOX);
        match (taken, letter.mail) {
            (Some(process), Mail::Message(mut message)) => {
                if let (true, Body::Heartbeat { round, .. }) = (mutants::on("50-changed-on-the-way"), &mut message.body)
                {
                    *round += 1;
                }
                tell.fact(&Fact::Delivered { number: letter.number, message: &message });
                process.inbox.push(Item::Message(message));
                self.plan_turn(to);
            }
            (Some(_), Mail::Snapshot { from, to, frame }) => self.take_frame(from, to, frame, tell),
            (None, Mail::Message(message)) => tell.fact(&Fact::Lost { number: letter.number, message: &message }),
            (None, Mail::Snapshot { .. }) => {}
        }
    }
}
