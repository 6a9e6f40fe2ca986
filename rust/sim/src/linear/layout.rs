//! A partition as a list of calls and returns from which pairs are taken out and put back.

use super::memo::QuickMap;
use super::steps::Class;

/// A call to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Its place in the history.
    pub operation: usize,
    /// What it is.
    pub class: Class,
    /// When it was invoked.
    pub invoked: u64,
    /// When it returned; `None`: it may be placed anywhere after its invocation, or nowhere.
    pub returned: Option<u64>,
    /// It changes no state.
    pub reads: bool,
}

/// One end of a call that has returned.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Which of the firm calls.
    pub firm: u32,
    /// Its return, not its invocation.
    pub returns: bool,
}

/// A call that may be placed anywhere from its invocation on.
#[derive(Clone, Copy, Debug)]
pub struct Open {
    pub item: Item,
    /// How many events come before its invocation.
    pub after: u32,
    /// An earlier open call of the same class: it can stand for this one and is taken first.
    pub twin: Option<u32>,
}

/// Both kinds of calls, each in the order of invocation, and the events of the firm ones as a list.
#[derive(Debug)]
pub struct Layout {
    pub firm: Vec<Item>,
    pub open: Vec<Open>,
    pub events: Vec<Event>,
    /// Where each firm call returns.
    returns: Vec<u32>,
    /// The links of the list; the last place is its anchor.
    next: Vec<u32>,
    previous: Vec<u32>,
}

impl Layout {
    pub fn new(mut items: Vec<Item>) -> Self {
        items.sort_by_key(|item| item.invoked);
        let (firm, rest): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|item| item.returned.is_some());
        let mut moments: Vec<(u64, bool, u32)> = Vec::with_capacity(firm.len() * 2);
        for (at, item) in (0..).zip(&firm) {
            moments.push((item.invoked, false, at));
            moments.extend(item.returned.map(|returned| (returned, true, at)));
        }
        // Where a return and an invocation share a moment, the calls overlap.
        moments.sort_unstable();
        let events: Vec<Event> = moments.iter().map(|&(_, returns, firm)| Event { firm, returns }).collect();
        let mut returns = vec![0; firm.len()];
        for (at, event) in (0..).zip(&events) {
            if event.returns {
                returns[event.firm as usize] = at;
            }
        }
        let mut newest: QuickMap<Class, u32> = QuickMap::default();
        let mut open = Vec::with_capacity(rest.len());
        // What changes nothing and is not certain to have happened says nothing.
        for (at, item) in (0..).zip(rest.into_iter().filter(|item| !item.reads)) {
            let before = moments.partition_point(|&(time, returns, _)| (time, returns) < (item.invoked, true));
            let after = u32::try_from(before).unwrap_or(u32::MAX);
            open.push(Open { item, after, twin: newest.insert(item.class, at) });
        }
        let anchor = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let next = (1..=anchor).chain([0]).collect();
        let previous = std::iter::once(anchor).chain(0..anchor).collect();
        Self { firm, open, events, returns, next, previous }
    }

    /// Where the list begins; `anchor` if it is empty.
    pub fn first(&self) -> u32 {
        self.next[self.events.len()]
    }

    /// What follows in the list.
    pub fn following(&self, event: u32) -> u32 {
        self.next[event as usize]
    }

    /// The event at that place; `None` at the end of the list.
    pub fn event(&self, at: u32) -> Option<Event> {
        self.events.get(at as usize).copied()
    }

    /// The first return that is still in the list.
    pub fn first_return(&self) -> u32 {
        let mut at = self.first();
        while self.event(at).is_some_and(|event| !event.returns) {
            at = self.following(at);
        }
        at
    }

    /// Takes a call and its return out.
    pub fn lift(&mut self, call: u32) {
        self.unlink(call);
        self.unlink(self.returns[self.events[call as usize].firm as usize]);
    }

    /// Puts them back: exactly what was taken out last.
    pub fn unlift(&mut self, call: u32) {
        self.link(self.returns[self.events[call as usize].firm as usize]);
        self.link(call);
    }

    fn unlink(&mut self, event: u32) {
        let (before, after) = (self.previous[event as usize], self.next[event as usize]);
        self.next[before as usize] = after;
        self.previous[after as usize] = before;
    }

    fn link(&mut self, event: u32) {
        let (before, after) = (self.previous[event as usize], self.next[event as usize]);
        self.next[before as usize] = event;
        self.previous[after as usize] = event;
    }
}
