//! The smallest window of a history that contradicts itself, so that a person need not read the rest.
//!
//! Each question here allows more than the history did: the window may begin in any state that was possible by then, calls that
//! were under way then may be over already, and calls that are loosened may happen at any later time or never. Where there is
//! still no order, the calls that stayed firm contradict each other, whatever the rest did.

use std::cmp::Reverse;

use super::Model;
use super::layout::{Item, Layout};
use super::search::{Budget, Outcome, Span, Stuck, search};
use super::steps::Steps;

/// Moves for one question. They are asked one after the other, and an open one costs nothing but a larger window.
const MOVES: u64 = 100_000;
/// So many states a window may begin in, even where fewer are possible by then.
const STATES: usize = 256;
/// Windows beyond this many calls are not thinned call by call.
const THINNED: usize = 64;

/// A partition up to the first return that no order reaches.
pub struct Window<'a> {
    /// Firm and open calls, by invocation.
    items: Vec<Item>,
    culprit: Item,
    /// When windows can begin, the latest first: the events of invocations up to the culprit's, and their times.
    begins: Vec<(u32, u64)>,
    spans: &'a [Span],
}

impl<'a> Window<'a> {
    /// Of what was searched, and where the search was stuck.
    pub fn new(layout: Layout, stuck: &'a Stuck) -> Self {
        let firm = |event: u32| layout.firm[layout.events[event as usize].firm as usize];
        let culprit = firm(stuck.event);
        let invocations = (0..stuck.event).filter(|&event| !layout.events[event as usize].returns);
        let mut begins: Vec<(u32, u64)> = invocations.map(|event| (event, firm(event).invoked)).collect();
        begins.retain(|&(_, invoked)| invoked <= culprit.invoked);
        begins.dedup_by_key(|&mut (_, invoked)| invoked);
        begins.reverse();
        let end = culprit.returned.unwrap_or(u64::MAX);
        let mut items = layout.firm;
        items.extend(layout.open.into_iter().map(|open| open.item));
        items.retain(|item| item.invoked <= end);
        items.sort_by_key(|item| item.invoked);
        Self { items, culprit, begins, spans: &stuck.spans }
    }

    /// The operation with that return.
    pub fn culprit(&self) -> usize {
        self.culprit.operation
    }

    /// The window that begins there: calls that may be over by then, or return later, need not be placed.
    fn since(&self, begin: usize) -> Vec<Item> {
        let begin = self.begins[begin].1;
        let loosened = |item: &Item| {
            let firm = item.invoked >= begin && item.returned <= self.culprit.returned;
            Item { returned: item.returned.filter(|_| firm), ..*item }
        };
        let within = |item: &&Item| item.returned.is_none_or(|returned| returned >= begin);
        self.items.iter().filter(within).map(loosened).collect()
    }

    /// The states in which it can begin, and others that were possible before: the more there are, the more is said by the calls
    /// themselves.
    fn states(&self, begin: usize) -> Vec<u32> {
        let at = self.begins[begin].0;
        let mut states: Vec<(u32, &Span)> = (0..).zip(self.spans).filter(|(_, span)| span.since <= at).collect();
        states.sort_by_key(|(_, span)| Reverse(span.until));
        let needed = states.partition_point(|(_, span)| span.until >= at);
        states.truncate(needed.max(STATES));
        states.into_iter().map(|(state, _)| state).collect()
    }
}

/// The calls of the smallest window found, by invocation.
pub fn smallest<M: Model>(
    model: &mut M,
    steps: &mut Steps<M>,
    window: &Window<'_>,
    budget: &mut Budget<'_, M::Error>,
) -> Result<Vec<usize>, M::Error> {
    let mut contradicts = |items: &[Item], states: &[u32]| -> Result<bool, M::Error> {
        budget.allow(MOVES);
        let outcome = search(model, steps, Layout::new(items.to_vec()), states, budget)?;
        Ok(matches!(outcome, Outcome::Stuck(_)))
    };
    let mut ask = |begin: usize| contradicts(&window.since(begin), &window.states(begin));
    // The later a window begins, the fewer calls it has: double it until it contradicts itself, then halve the difference.
    let (mut low, mut begin) = (0, 0);
    while begin < window.begins.len() && !ask(begin)? {
        low = begin + 1;
        begin = begin * 2 + 1;
    }
    // The first window of all has the whole history before it: it contradicts itself, whether that was seen within the moves or not.
    begin = begin.min(window.begins.len() - 1);
    while low < begin {
        let middle = usize::midpoint(low, begin);
        if ask(middle)? {
            begin = middle;
        } else {
            low = middle + 1;
        }
    }
    let states = window.states(begin);
    thinned(window.since(begin), window.culprit(), |items| contradicts(items, &states))
}

/// Loosens one call after the other where the rest still contradicts itself; the firm ones that are left.
fn thinned<E>(
    mut items: Vec<Item>,
    culprit: usize,
    mut contradicts: impl FnMut(&[Item]) -> Result<bool, E>,
) -> Result<Vec<usize>, E> {
    let firm = |item: &Item| item.returned.is_some();
    if items.iter().filter(|item| firm(item)).count() <= THINNED {
        for at in 0..items.len() {
            if items[at].operation == culprit {
                continue;
            }
            let returned = items[at].returned.take();
            if returned.is_some() && !contradicts(&items)? {
                items[at].returned = returned;
            }
        }
    }
    Ok(items.iter().filter(|item| firm(item)).map(|item| item.operation).collect())
}
