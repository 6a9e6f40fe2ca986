//! The search of one partition, without recursion.

use std::collections::HashSet;

use super::layout::Layout;
use super::memo::{Done, Memo};
use super::steps::Steps;
use super::{Ended, Model};

/// How often whoever watches is asked.
const PATIENCE: u64 = 1024;

/// What searches may use, one after the other.
pub struct Budget<'a, E> {
    memory: usize,
    moves: u64,
    /// Moves up to which the next search may go.
    until: u64,
    watch: &'a mut dyn FnMut() -> Result<bool, E>,
}

impl<'a, E> Budget<'a, E> {
    /// `memory` is for each search; `watch` is asked now and then: true ends the search.
    pub fn new(memory: usize, watch: &'a mut dyn FnMut() -> Result<bool, E>) -> Self {
        Self { memory, moves: 0, until: 0, watch }
    }

    /// The moves that were made so far.
    pub fn moves(&self) -> u64 {
        self.moves
    }

    /// Lets the next search make so many.
    pub fn allow(&mut self, moves: u64) {
        self.until = self.moves.saturating_add(moves);
    }

    fn spend(&mut self, memory: impl FnOnce() -> usize) -> Result<Option<Ended>, E> {
        if self.moves >= self.until {
            return Ok(Some(Ended::Moves));
        }
        self.moves += 1;
        if !self.moves.is_multiple_of(PATIENCE) {
            return Ok(None);
        }
        if memory() > self.memory {
            return Ok(Some(Ended::Memory));
        }
        Ok((self.watch)()?.then_some(Ended::Stopped))
    }
}

/// How a search came out.
#[derive(Debug)]
pub enum Outcome {
    /// Everything that has returned was placed: the operations in that order.
    Ordered(Vec<usize>),
    /// No order reaches this return.
    Stuck(Stuck),
    /// Not finished.
    Undecided(Ended),
}

/// The return that no order reaches.
#[derive(Debug)]
pub struct Stuck {
    /// Which event that is.
    pub event: u32,
    /// An order that leads up to it, as operations.
    pub prefix: Vec<usize>,
    /// States that such orders lead to, that of `prefix` first.
    pub states: Vec<u32>,
    /// When each state was possible, by its number.
    pub spans: Vec<Span>,
}

/// When a state was possible: after some of the events before `since`, and before the event `until`.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub since: u32,
    pub until: u32,
}

/// What was placed.
#[derive(Clone, Copy)]
enum Placed {
    /// By the event of its invocation.
    Firm(u32),
    Open(u32),
}

struct Frame {
    placed: Placed,
    /// The state before.
    state: u32,
    /// So many events had begun before: up to the latest invocation of what was placed.
    begun: u32,
    /// No other choice needs to be tried in its stead.
    only: bool,
}

/// Where the search looks for the next call to place.
#[derive(Clone, Copy)]
enum Look {
    /// From this event of the list on.
    Firm(u32),
    /// From this open call on: no firm one is left that could come next.
    Open(u32),
    /// Nothing is left here.
    Back,
}

/// What became of a try.
enum Tried {
    Taken,
    Refused,
    /// It need not be placed now, and neither need anything else.
    Dead,
}

struct Search<'a, M: Model> {
    model: &'a mut M,
    steps: &'a mut Steps<M>,
    layout: Layout,
    memo: Memo,
    done: Done,
    frames: Vec<Frame>,
    state: u32,
    begun: u32,
    missing: usize,
    stuck: Stuck,
    /// The states of `stuck`, to find.
    reached: HashSet<u32>,
}

/// Looks for an order of everything in `layout` that begins in one of the states `starts`.
pub fn search<M: Model>(
    model: &mut M,
    steps: &mut Steps<M>,
    layout: Layout,
    starts: &[u32],
    budget: &mut Budget<'_, M::Error>,
) -> Result<Outcome, M::Error> {
    let mut search = Search {
        done: Done::new(layout.firm.len(), layout.open.len()),
        missing: layout.firm.len(),
        model,
        steps,
        layout,
        memo: Memo::default(),
        frames: Vec::new(),
        state: 0,
        begun: 0,
        stuck: Stuck { event: 0, prefix: Vec::new(), states: Vec::new(), spans: Vec::new() },
        reached: HashSet::new(),
    };
    for &start in starts {
        search.state = start;
        search.span(start).since = 0;
        // What an earlier start has led to needs no second visit.
        if let Some(outcome) = search.run(budget)? {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Stuck(search.stuck))
}

impl<M: Model> Search<'_, M> {
    /// From one start; `None`: no order.
    fn run(&mut self, budget: &mut Budget<'_, M::Error>) -> Result<Option<Outcome>, M::Error> {
        let mut look = Look::Firm(self.layout.first());
        while self.missing > 0 {
            if let Some(ended) = budget.spend(|| self.memo.size() + self.steps.size())? {
                return Ok(Some(Outcome::Undecided(ended)));
            }
            if self.memo.full() {
                return Ok(Some(Outcome::Undecided(Ended::Memory)));
            }
            look = match look {
                Look::Firm(at) => self.look_at_firm(at)?,
                Look::Open(at) => self.look_at_open(at)?,
                Look::Back => match self.back() {
                    Some(look) => look,
                    None => return Ok(None),
                },
            };
        }
        Ok(Some(Outcome::Ordered(self.order())))
    }

    fn look_at_firm(&mut self, at: u32) -> Result<Look, M::Error> {
        let Some(event) = self.layout.event(at).filter(|event| !event.returns) else {
            return Ok(Look::Open(0));
        };
        let item = self.layout.firm[event.firm as usize];
        self.done.set_firm(event.firm as usize);
        Ok(match self.attempt(Placed::Firm(at), item.class, item.reads)? {
            Tried::Taken => {
                self.layout.lift(at);
                self.missing -= 1;
                Look::Firm(self.layout.first())
            }
            Tried::Refused => {
                self.done.clear_firm(event.firm as usize);
                Look::Firm(self.layout.following(at))
            }
            Tried::Dead => {
                self.done.clear_firm(event.firm as usize);
                Look::Back
            }
        })
    }

    fn look_at_open(&mut self, mut at: u32) -> Result<Look, M::Error> {
        let limit = self.layout.first_return();
        while let Some(open) = self.layout.open.get(at as usize).copied().filter(|open| open.after <= limit) {
            let free =
                !self.done.has_open(at as usize) && open.twin.is_none_or(|twin| self.done.has_open(twin as usize));
            if free {
                self.done.set_open(at as usize);
                if matches!(self.attempt(Placed::Open(at), open.item.class, false)?, Tried::Taken) {
                    return Ok(Look::Firm(self.layout.first()));
                }
                self.done.clear_open(at as usize);
            }
            at += 1;
        }
        self.dead_end(limit);
        Ok(Look::Back)
    }

    /// Places a call whose bit is set already, if the model lets it and this leads somewhere new.
    fn attempt(&mut self, placed: Placed, class: u32, only: bool) -> Result<Tried, M::Error> {
        let Some(after) = self.steps.step(self.model, self.state, class)? else {
            return Ok(Tried::Refused);
        };
        // What need not have happened, and would change nothing, is not worth a place.
        if matches!(placed, Placed::Open(_)) && after == self.state {
            return Ok(Tried::Refused);
        }
        if !self.memo.insert(&self.done, after) {
            return Ok(if only { Tried::Dead } else { Tried::Refused });
        }
        self.frames.push(Frame { placed, state: self.state, begun: self.begun, only });
        self.begun = self.begun.max(match placed {
            Placed::Firm(at) => at + 1,
            Placed::Open(at) => self.layout.open[at as usize].after,
        });
        self.state = after;
        let begun = self.begun;
        let span = self.span(after);
        span.since = span.since.min(begun);
        Ok(Tried::Taken)
    }

    fn span(&mut self, state: u32) -> &mut Span {
        let at = state as usize;
        if self.stuck.spans.len() <= at {
            self.stuck.spans.resize(at + 1, Span { since: u32::MAX, until: 0 });
        }
        &mut self.stuck.spans[at]
    }

    /// Takes the last call back; where to go on, `None` if there is none.
    fn back(&mut self) -> Option<Look> {
        let frame = self.frames.pop()?;
        self.state = frame.state;
        self.begun = frame.begun;
        let look = match frame.placed {
            Placed::Firm(at) => {
                self.layout.unlift(at);
                self.missing += 1;
                self.done.clear_firm(self.layout.events[at as usize].firm as usize);
                Look::Firm(self.layout.following(at))
            }
            Placed::Open(at) => {
                self.done.clear_open(at as usize);
                Look::Open(at + 1)
            }
        };
        Some(if frame.only { Look::Back } else { look })
    }

    /// No call can come next, and this return is the first that is still to come.
    fn dead_end(&mut self, limit: u32) {
        let span = self.span(self.state);
        span.until = span.until.max(limit);
        if limit > self.stuck.event || self.stuck.states.is_empty() {
            self.stuck.event = limit;
            self.stuck.prefix = self.order();
            self.stuck.states = vec![self.state];
            self.reached.clear();
            self.reached.insert(self.state);
        } else if limit == self.stuck.event && self.reached.insert(self.state) {
            self.stuck.states.push(self.state);
        }
    }

    /// The operations that are placed, in order.
    fn order(&self) -> Vec<usize> {
        let operation = |frame: &Frame| match frame.placed {
            Placed::Firm(at) => self.layout.firm[self.layout.events[at as usize].firm as usize].operation,
            Placed::Open(at) => self.layout.open[at as usize].item.operation,
        };
        self.frames.iter().map(operation).collect()
    }
}
