//! A whole history: into partitions, each searched, and what was found put together.

use super::layout::{Item, Layout};
use super::memo::QuickMap;
use super::search::{Budget, Outcome, search};
use super::steps::Steps;
use super::window::{Window, smallest};
use super::{Contradiction, Limits, Model, Operation, Verdict};

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
    let mut budget = Budget::new(limits, watch);
    let mut orders = Vec::new();
    let mut undecided = None;
    for partition in partitions(model, history)? {
        // States and steps of one partition are of no use to the next one.
        let mut steps = Steps::default();
        let items = items(model, &mut steps, history, &partition)?;
        let start = model.init()?;
        let start = steps.state(start);
        match search(model, &mut steps, Layout::new(items.clone()), &[start], &mut budget)? {
            Outcome::Ordered(order) => orders.push(order),
            // A later partition may still be certain.
            Outcome::Undecided(why) => {
                undecided.get_or_insert(Verdict::Undecided { partition, why });
            }
            Outcome::Stuck(stuck) => {
                let window = Window::new(Layout::new(items), &stuck);
                let culprit = window.culprit();
                let operations = smallest(model, &mut steps, &window, &mut budget)?;
                return Ok(Verdict::Violation(Box::new(Contradiction {
                    partition,
                    culprit,
                    prefix: stuck.prefix,
                    states: stuck.states.iter().map(|&state| steps.shown(state).clone()).collect(),
                    window: operations,
                })));
            }
        }
    }
    Ok(undecided.unwrap_or(Verdict::Linearizable { orders }))
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
