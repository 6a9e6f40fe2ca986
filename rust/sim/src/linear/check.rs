//! A whole history: into partitions, each searched, and what was found put together.

use super::layout::{Item, Layout};
use super::memo::QuickMap;
use super::search::{Budget, Outcome, search};
use super::steps::Steps;
use super::window::{Window, smallest};
use super::{Contradiction, Ended, Limits, Model, Operation, Verdict};

/// Moves for each partition in the first round; in every further one each of those that are left has so many times more.
const FIRST_ROUND: u64 = 1 << 16;
const GROWTH: u64 = 16;

/// Looks for an order of `history` that `model` allows. `watch` is asked now and then whether to stop.
///
/// # Errors
/// What the model or `watch` fails with.
pub fn check<M: Model>(
    model: &mut M,
    history: &[Operation<M::Call, M::Output>],
    limits: Limits,
    watch: &mut dyn FnMut() -> Result<bool, M::Error>,
) -> Result<Verdict<M::State>, M::Error> {
    let mut budget = Budget::new(limits.memory, watch);
    let partitions = partitions(model, history)?;
    let mut orders: Vec<Option<Vec<usize>>> = vec![None; partitions.len()];
    let mut undecided = None;
    let mut left: Vec<usize> = (0..partitions.len()).collect();
    let mut round = FIRST_ROUND;
    // One partition may take for ever while the next one is plainly wrong: the search is wide before it is deep.
    while !left.is_empty() {
        let mut open = Vec::new();
        for at in left {
            let rest = limits.moves.saturating_sub(budget.moves());
            budget.allow(round.min(rest));
            match judge(model, history, &partitions[at], &mut budget)? {
                Judgement::Ordered(order) => orders[at] = Some(order),
                Judgement::Contradicted(found) => return Ok(Verdict::Violation(Box::new(found))),
                Judgement::Undecided(Ended::Moves) if round < rest => open.push(at),
                Judgement::Undecided(why) => {
                    undecided.get_or_insert((at, why));
                }
            }
        }
        left = open;
        round = round.saturating_mul(GROWTH);
    }
    Ok(match undecided {
        Some((at, why)) => Verdict::Undecided { partition: partitions[at].clone(), why },
        None => Verdict::Linearizable { orders: orders.into_iter().flatten().collect() },
    })
}

/// What is said of a partition.
enum Judgement<S> {
    Ordered(Vec<usize>),
    Contradicted(Contradiction<S>),
    Undecided(Ended),
}

fn judge<M: Model>(
    model: &mut M,
    history: &[Operation<M::Call, M::Output>],
    partition: &[usize],
    budget: &mut Budget<'_, M::Error>,
) -> Result<Judgement<M::State>, M::Error> {
    // States and steps of one partition are of no use to another one.
    let mut steps = Steps::default();
    let items = items(model, &mut steps, history, partition)?;
    let start = model.init()?;
    let start = steps.state(start);
    let stuck = match search(model, &mut steps, Layout::new(items.clone()), &[start], budget)? {
        Outcome::Ordered(order) => return Ok(Judgement::Ordered(order)),
        Outcome::Undecided(why) => return Ok(Judgement::Undecided(why)),
        Outcome::Stuck(stuck) => stuck,
    };
    let window = Window::new(Layout::new(items), &stuck);
    Ok(Judgement::Contradicted(Contradiction {
        partition: partition.to_vec(),
        culprit: window.culprit(),
        window: smallest(model, &mut steps, &window, budget)?,
        prefix: stuck.prefix,
        states: stuck.states.iter().map(|&state| steps.shown(state).clone()).collect(),
    }))
}

/// The operations that concern each other, by the first of each.
fn partitions<M: Model>(model: &mut M, history: &[Operation<M::Call, M::Output>]) -> Result<Vec<Vec<usize>>, M::Error> {
    let mut known: QuickMap<M::Key, usize> = QuickMap::default();
    let mut partitions: Vec<Vec<usize>> = Vec::new();
    for (at, operation) in history.iter().enumerate() {
        let Some(key) = model.partition(&operation.call)? else {
            return Ok(vec![(0..history.len()).collect()]);
        };
        let partition = *known.entry(key).or_insert(partitions.len());
        if partition == partitions.len() {
            partitions.push(Vec::new());
        }
        partitions[partition].push(at);
    }
    Ok(partitions)
}

fn items<M: Model>(
    model: &mut M,
    steps: &mut Steps<M>,
    history: &[Operation<M::Call, M::Output>],
    partition: &[usize],
) -> Result<Vec<Item>, M::Error> {
    let mut items = Vec::with_capacity(partition.len());
    for &operation in partition {
        let Operation { call, invoked, returned } = &history[operation];
        let class = steps.class(call, returned.as_ref().map(|(_, output)| output));
        let reads = steps.reads(model, class)?;
        let returned = returned.as_ref().map(|&(at, _)| at);
        items.push(Item { operation, class, invoked: *invoked, returned, reads });
    }
    Ok(items)
}
