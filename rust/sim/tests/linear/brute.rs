//! Random small histories, judged by the search and by trying every order there is.

use std::collections::HashMap;
use std::fmt::Debug;

use d_engine_sim::linear::models::{
    AppendList, AppendListCall, Counter, CounterCall, Lock, LockCall, Map, MapCall, Queue, QueueCall, Register,
    RegisterCall, Set, SetCall,
};
use d_engine_sim::linear::{Contradiction, Limits, Model, Operation, Value, Verdict, check};
use proptest::prelude::*;

type History<M> = Vec<Operation<<M as Model>::Call, <M as Model>::Output>>;

/// A call as it is placed here: what is open need not be placed, even where its answer is known.
struct Piece<M: Model> {
    call: M::Call,
    output: Option<M::Output>,
    invoked: u64,
    returned: Option<u64>,
}

/// Those calls that `keeps` wants, open where `firm` says no.
fn pieces<M: Model>(
    history: &History<M>,
    keeps: impl Fn(usize) -> bool,
    firm: impl Fn(usize) -> bool,
) -> Vec<Piece<M>> {
    let piece = |at: usize| {
        let Operation { call, invoked, returned } = history[at].clone();
        let (returned, output) = returned.unzip();
        Piece { call, output, invoked, returned: returned.filter(|_| firm(at)) }
    };
    (0..history.len()).filter(|&at| keeps(at)).map(piece).collect()
}

/// Whether some order of some of the calls, with all that have returned among them, is allowed.
fn allowed<M: Model<Error: Debug>>(model: &mut M, pieces: Vec<Piece<M>>) -> bool {
    let whole = pieces.iter().any(|piece| model.partition(&piece.call).unwrap().is_none());
    let mut partitions: HashMap<Option<M::Key>, Vec<Piece<M>>> = HashMap::new();
    for piece in pieces {
        let key = model.partition(&piece.call).unwrap().filter(|_| !whole);
        partitions.entry(key).or_default().push(piece);
    }
    let state = model.init().unwrap();
    partitions.values().all(|pieces| extends(model, pieces, &mut vec![false; pieces.len()], &state))
}

fn extends<M: Model<Error: Debug>>(
    model: &mut M,
    pieces: &[Piece<M>],
    placed: &mut Vec<bool>,
    state: &M::State,
) -> bool {
    let missing = |placed: &[bool], at: usize| !placed[at] && pieces[at].returned.is_some();
    if (0..pieces.len()).all(|at| !missing(placed, at)) {
        return true;
    }
    for at in 0..pieces.len() {
        // Whatever had returned before this call was invoked comes first.
        let before = |other: usize| pieces[other].returned.is_some_and(|returned| returned < pieces[at].invoked);
        if placed[at] || (0..pieces.len()).any(|other| missing(placed, other) && before(other)) {
            continue;
        }
        if let Some(after) = model.step(state, &pieces[at].call, pieces[at].output.as_ref()).unwrap() {
            placed[at] = true;
            if extends(model, pieces, placed, &after) {
                return true;
            }
            placed[at] = false;
        }
    }
    false
}

/// Whether this order is one of the history.
fn is_order<M: Model<Error: Debug>>(model: &mut M, history: &History<M>, order: &[usize]) -> bool {
    let mut state = model.init().unwrap();
    for (place, &at) in order.iter().enumerate() {
        let Operation { call, invoked: _, returned } = &history[at];
        let late = |&later: &usize| {
            history[later].returned.as_ref().is_some_and(|(returned, _)| *returned < history[at].invoked)
        };
        if order[place + 1..].iter().any(late) {
            return false;
        }
        match model.step(&state, call, returned.as_ref().map(|(_, output)| output)).unwrap() {
            Some(after) => state = after,
            None => return false,
        }
    }
    true
}

/// What the search says must be what all orders say, and so must be what it gives as its reasons.
fn agrees<M: Model<Error: Debug, State: Debug> + Clone>(model: &M, history: &History<M>) {
    let expected = allowed(&mut model.clone(), pieces::<M>(history, |_| true, |_| true));
    match check(&mut model.clone(), history, Limits::default(), &mut || Ok(false)).unwrap() {
        Verdict::Linearizable { orders } => {
            assert!(expected, "the search found {orders:?}, where there is no order");
            let mut placed: Vec<usize> = orders.concat();
            for order in &orders {
                assert!(is_order(&mut model.clone(), history, order), "{order:?} is none");
            }
            placed.sort_unstable();
            placed.dedup();
            let returned = (0..history.len()).filter(|&at| history[at].returned.is_some());
            assert!(returned.into_iter().all(|at| placed.binary_search(&at).is_ok()), "{orders:?} lacks calls");
        }
        Verdict::Violation(found) => {
            assert!(!expected, "the search found no order, where there is one: {found:?}");
            explains(model, history, &found);
        }
        Verdict::Undecided { why, .. } => panic!("undecided: {why:?}"),
    }
}

/// A contradiction says only what is so.
fn explains<M: Model<Error: Debug> + Clone>(model: &M, history: &History<M>, found: &Contradiction<M::State>) {
    let returned = |at: usize| history[at].returned.as_ref().map(|(returned, _)| *returned);
    let returned_before = |at: usize, moment: u64| returned(at).is_some_and(|returned| returned < moment);
    let end = returned(found.culprit).unwrap();
    let within = |at: usize| found.partition.contains(&at) && history[at].invoked <= end;
    let allowed = |firm: &dyn Fn(usize) -> bool| allowed(&mut model.clone(), pieces::<M>(history, within, firm));

    assert!(found.window.contains(&found.culprit));
    assert!(!found.states.is_empty());
    // Up to just before that return, there is an order; together with it, there is none.
    assert!(is_order(&mut model.clone(), history, &found.prefix), "{:?} is no order", found.prefix);
    assert!(allowed(&|at| returned_before(at, end)), "what comes before has no order either");
    assert!(!allowed(&|at| returned_before(at, end + 1)), "the culprit can be placed");
    // The calls of the window stay impossible when all others, from its beginning on, may have happened or not.
    let begin = found.window.iter().map(|&at| history[at].invoked).min().unwrap();
    assert!(
        !allowed(&|at| returned_before(at, begin) || found.window.contains(&at)),
        "{:?} can be in order",
        found.window
    );
}

/// Histories of at most eight calls, whose moments collide often.
fn histories<C, S>(calls: S) -> impl Strategy<Value = Vec<Operation<C, Value>>>
where
    C: Debug,
    S: Strategy<Value = (C, Value)>,
{
    let operation = (calls, 0..20_u64, 0..8_u64, 0..10_u8).prop_map(|((call, output), invoked, lasts, known)| {
        let returned = (known > 1).then(|| (invoked + lasts, output));
        Operation { call, invoked, returned }
    });
    prop::collection::vec(operation, 1..8)
}

fn few() -> impl Strategy<Value = Value> {
    (0..3_i64).prop_map(Value::Int)
}

fn register_call() -> impl Strategy<Value = (RegisterCall, Value)> {
    let held = prop_oneof![3 => few(), 1 => Just(Value::Nil)];
    prop_oneof![
        (Just(RegisterCall::Read), held.clone()),
        few().prop_map(|value| (RegisterCall::Write(value), Value::Nil)),
        (few().prop_map(RegisterCall::Swap), held),
        (few(), few(), 0..2_i64).prop_map(|(old, new, took)| (RegisterCall::Cas { old, new }, took.into())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_register(history in histories(register_call())) {
        agrees(&Register::default(), &history);
    }

    #[test]
    fn a_map(history in histories(prop_oneof![
        (0..2_i64, register_call()).prop_map(|(key, (call, output))| (MapCall::Register(key.into(), call), output)),
        (0..2_i64, 0..3_i64).prop_map(|(key, there)| {
            (MapCall::Delete(key.into()), if there == 2 { Value::Nil } else { there.into() })
        }),
    ])) {
        agrees(&Map::default(), &history);
    }

    #[test]
    fn a_counter(history in histories(prop_oneof![
        (-1..3_i64, 0..4_i64).prop_map(|(number, sum)| {
            (CounterCall::Add(number), if sum == 0 { Value::Nil } else { sum.into() })
        }),
        (0..4_i64).prop_map(|sum| (CounterCall::Read, sum.into())),
    ])) {
        agrees(&Counter::default(), &history);
    }

    #[test]
    fn an_append_list(history in histories(prop_oneof![
        (few(), 0..3_i64).prop_map(|(value, length)| {
            (AppendListCall::Append(value), if length == 0 { Value::Nil } else { length.into() })
        }),
        prop::collection::vec(0..3_i64, 0..3).prop_map(|list| (AppendListCall::Read, list.into_iter().collect::<Value>())),
    ])) {
        agrees(&AppendList::default(), &history);
    }

    #[test]
    fn a_queue(history in histories(prop_oneof![
        few().prop_map(|value| (QueueCall::Enqueue(value), Value::Nil)),
        prop_oneof![3 => few(), 1 => Just(Value::Nil)].prop_map(|value| (QueueCall::Dequeue, value)),
    ])) {
        agrees(&Queue, &history);
    }

    #[test]
    fn a_set(history in histories(prop_oneof![
        (few(), 0..3_i64).prop_map(|(value, new)| (SetCall::Add(value), if new == 2 { Value::Nil } else { new.into() })),
        (few(), 0..2_i64).prop_map(|(value, there)| (SetCall::Remove(value), there.into())),
        (few(), 0..2_i64).prop_map(|(value, there)| (SetCall::Contains(value), there.into())),
        prop::collection::btree_set(0..3_i64, 0..3).prop_map(|all| (SetCall::Read, all.into_iter().collect::<Value>())),
    ])) {
        agrees(&Set, &history);
    }

    #[test]
    fn a_lock(history in histories((0..2_i64, 0..2_i64, any::<bool>()).prop_map(|(owner, done, acquires)| {
        let call = if acquires { LockCall::Acquire(owner.into()) } else { LockCall::Release(owner.into()) };
        (call, done.into())
    }))) {
        agrees(&Lock, &history);
    }
}
