//! Histories whose verdict, and reason, a person can see.

use d_engine_sim::linear::models::{
    AppendList, AppendListCall, Counter, CounterCall, Lock, LockCall, Map, MapCall, Queue, QueueCall, Register,
    RegisterCall, Set, SetCall,
};
use d_engine_sim::linear::{Contradiction, Ended, Limits, Model, Operation, Value, Verdict, check};

type Registers = Vec<Operation<RegisterCall, Value>>;

fn judged<M: Model<Error: std::fmt::Debug>>(
    mut model: M,
    history: &[Operation<M::Call, M::Output>],
    limits: Limits,
) -> Verdict<M::State> {
    check(&mut model, history, limits, &mut || Ok(false)).unwrap()
}

fn in_order<M: Model<Error: std::fmt::Debug>>(model: M, history: &[Operation<M::Call, M::Output>]) -> bool {
    match judged(model, history, Limits::default()) {
        Verdict::Linearizable { .. } => true,
        Verdict::Violation(_) => false,
        Verdict::Undecided { why, .. } => panic!("{why:?}"),
    }
}

fn contradiction(history: &Registers) -> Contradiction<Value> {
    match judged(Register::default(), history, Limits::default()) {
        Verdict::Violation(found) => *found,
        _ => panic!("no violation"),
    }
}

fn read(value: i64, invoked: u64, returned: u64) -> Operation<RegisterCall, Value> {
    Operation { call: RegisterCall::Read, invoked, returned: Some((returned, value.into())) }
}

fn write(value: i64, invoked: u64, returned: u64) -> Operation<RegisterCall, Value> {
    Operation { call: RegisterCall::Write(value.into()), invoked, returned: Some((returned, Value::Nil)) }
}

fn lost_write(value: i64, invoked: u64) -> Operation<RegisterCall, Value> {
    Operation { call: RegisterCall::Write(value.into()), invoked, returned: None }
}

/// Calls one after the other, each with its answer.
fn one_by_one<C>(calls: Vec<(C, Value)>) -> Vec<Operation<C, Value>> {
    let operation =
        |(at, (call, output)): (u64, _)| Operation { call, invoked: at * 2, returned: Some((at * 2 + 1, output)) };
    (0_u64..).zip(calls).map(operation).collect()
}

#[test]
fn reads_during_a_write_see_the_old_or_the_new_value_and_never_go_back() {
    let new_then_old = |second: u64| vec![write(1, 0, 100), read(1, 10, 30), read(0, second, 90)];
    let register = || Register { initial: 0.into() };
    assert!(in_order(register(), &new_then_old(30)), "reads that overlap at one moment may be in either order");
    assert!(!in_order(register(), &new_then_old(31)));
}

#[test]
fn a_call_may_take_no_time() {
    assert!(in_order(Register::default(), &[write(1, 0, 100), read(1, 30, 30), read(1, 30, 30)]));
    assert!(!in_order(Register::default(), &[write(1, 0, 10), write(2, 20, 20), read(1, 40, 40)]));
}

#[test]
fn what_nobody_knows_of_may_happen_late_or_never() {
    assert!(in_order(Register::default(), &[lost_write(1, 0), write(2, 5, 6), read(2, 10, 11), read(1, 20, 21)]));
    assert!(in_order(Register::default(), &[lost_write(1, 0), write(2, 5, 6), read(2, 10, 11)]));
    assert!(!in_order(Register::default(), &[lost_write(1, 0), read(1, 1, 2), write(2, 5, 6), read(1, 10, 11)]));
    assert!(!in_order(Register::default(), &[read(1, 0, 1), lost_write(1, 2)]), "not before it was asked for");
}

#[test]
fn of_equal_calls_without_outcome_each_counts_once() {
    let adds = |count: usize| {
        let add = Operation { call: CounterCall::Add(1), invoked: 0, returned: None };
        let read = Operation { call: CounterCall::Read, invoked: 10, returned: Some((11, Value::Int(3))) };
        let mut history = vec![add; count];
        history.push(read);
        history
    };
    assert!(!in_order(Counter::default(), &adds(2)));
    assert!(in_order(Counter::default(), &adds(3)));
    // Twenty more would make a million different sets of them: they are all alike.
    let few = Limits { moves: 1_000, ..Limits::default() };
    assert!(matches!(judged(Counter::default(), &adds(23), few), Verdict::Linearizable { .. }));
}

#[test]
fn the_reason_is_as_small_as_it_can_be() {
    let mut history: Registers = (0..200).flat_map(|at| [write(1000 + at, 0, 0), read(1000 + at, 0, 0)]).collect();
    for (at, call) in (0..).zip(&mut history) {
        call.invoked = at * 10;
        call.returned.as_mut().unwrap().0 = at * 10 + 15;
    }
    // Somebody reads what was overwritten two writes ago, between others who come and go.
    history.extend([write(7, 5_000, 5_010), write(8, 5_020, 5_030), read(7, 5_040, 5_050), write(9, 5_025, 5_060)]);
    history.extend([read(9, 5_070, 5_080), lost_write(10, 5_001)]);
    let found = contradiction(&history);
    assert_eq!(found.culprit, 402);
    assert_eq!(found.window, [401, 402], "a write, and a read after it of something else");
    assert!((0..402).all(|at| found.prefix.contains(&at)));
    assert!(
        [8, 9, 10].map(Value::from).iter().all(|held| found.states.contains(held)),
        "others may have written by then"
    );
}

#[test]
fn a_reason_holds_in_every_state_that_was_possible() {
    let queue = one_by_one(vec![
        (QueueCall::Enqueue(5.into()), Value::Nil),
        (QueueCall::Dequeue, 5.into()),
        (QueueCall::Dequeue, 5.into()),
    ]);
    match judged(Queue, &queue, Limits::default()) {
        Verdict::Violation(found) => {
            assert_eq!((found.culprit, found.window.len()), (2, 2), "in the queue was 5 once, or nothing");
        }
        _ => panic!("no violation"),
    }
}

#[test]
fn each_model_tells_right_from_wrong() {
    let list = |values: &[i64]| values.iter().copied().collect::<Value>();
    let appended = |seen: &[i64]| {
        one_by_one(vec![
            (AppendListCall::Read, Value::Nil),
            (AppendListCall::Append(1.into()), Value::Nil),
            (AppendListCall::Append(2.into()), 2.into()),
            (AppendListCall::Read, list(seen)),
        ])
    };
    assert!(in_order(AppendList::default(), &appended(&[1, 2])));
    assert!(!in_order(AppendList::default(), &appended(&[2, 1])));

    let queued = |first: i64| {
        one_by_one(vec![
            (QueueCall::Enqueue(1.into()), Value::Nil),
            (QueueCall::Enqueue(2.into()), Value::Nil),
            (QueueCall::Dequeue, first.into()),
        ])
    };
    assert!(in_order(Queue, &queued(1)));
    assert!(!in_order(Queue, &queued(2)));

    let held = |second: Value| {
        one_by_one(vec![
            (LockCall::Acquire("a".into()), Value::Nil),
            (LockCall::Acquire("b".into()), second),
            (LockCall::Release("b".into()), 0.into()),
            (LockCall::Release("a".into()), 1.into()),
        ])
    };
    assert!(in_order(Lock, &held(0.into())));
    assert!(!in_order(Lock, &held(Value::Nil)), "two hold it");

    let in_set = |all: &[i64]| {
        one_by_one(vec![
            (SetCall::Add(1.into()), 1.into()),
            (SetCall::Add(1.into()), 0.into()),
            (SetCall::Add(2.into()), Value::Nil),
            (SetCall::Remove(1.into()), 1.into()),
            (SetCall::Read, list(all)),
        ])
    };
    assert!(in_order(Set, &in_set(&[2])));
    assert!(!in_order(Set, &in_set(&[1, 2])));

    let mapped = |text: &str| {
        let get = |key: &str| MapCall::Register(key.into(), RegisterCall::Read);
        one_by_one(vec![
            (MapCall::Append("k".into(), "x".into()), Value::Nil),
            (MapCall::Append("k".into(), "y".into()), Value::Nil),
            (get("other"), Value::Nil),
            (get("k"), text.into()),
        ])
    };
    assert!(in_order(Map::default(), &mapped("xy")));
    assert!(!in_order(Map::default(), &mapped("yx")));
}

#[test]
fn a_step_that_cannot_be_judged_is_an_error() {
    let too_large = one_by_one(vec![(CounterCall::Add(i64::MAX), Value::Nil), (CounterCall::Add(1), Value::Nil)]);
    let error = check(&mut Counter::default(), &too_large, Limits::default(), &mut || Ok(false)).unwrap_err();
    assert_eq!(error.to_string(), format!("{} and 1 are more than 64 bits", i64::MAX));
}

/// Many writers of different values at one moment, and a read of something else: every order is wrong.
fn hopeless(writers: i64) -> Registers {
    let mut history: Registers = (0..writers).map(|value| write(value, 0, 100)).collect();
    history.push(read(-1, 50, 60));
    history
}

#[test]
fn a_search_ends_where_it_is_told_to() {
    let limited = |limits| match judged(Register::default(), &hopeless(40), limits) {
        Verdict::Undecided { why, partition } => (why, partition.len()),
        _ => panic!("40 writers cannot be decided"),
    };
    assert_eq!(limited(Limits { moves: 100_000, ..Limits::default() }), (Ended::Moves, 41));
    assert_eq!(limited(Limits { memory: 1 << 20, ..Limits::default() }), (Ended::Memory, 41));
    let mut asked = 0;
    let mut watch = || {
        asked += 1;
        Ok(asked == 3)
    };
    let verdict = check(&mut Register::default(), &hopeless(40), Limits::default(), &mut watch).unwrap();
    assert!(matches!(verdict, Verdict::Undecided { why: Ended::Stopped, .. }));
    assert_eq!(asked, 3);
}

#[test]
fn what_is_undecided_hides_no_violation_elsewhere() {
    let keyed = |key: i64, history: Registers| {
        let operation = move |Operation { call, invoked, returned }| Operation {
            call: MapCall::Register(key.into(), call),
            invoked,
            returned,
        };
        history.into_iter().map(operation)
    };
    let history: Vec<_> = keyed(1, hopeless(40)).chain(keyed(2, vec![write(1, 0, 1), read(2, 2, 3)])).collect();
    let limits = Limits { memory: 1 << 20, ..Limits::default() };
    match judged(Map::default(), &history, limits) {
        Verdict::Violation(found) => assert_eq!(found.partition, [41, 42]),
        _ => panic!("the second key was not looked at"),
    }
}

#[test]
fn long_histories_take_few_moves() {
    // Ten callers at any moment, each value written once, and reads that see the newest write to have begun.
    let history: Registers = (0..100_000_i64)
        .map(|at| {
            let (invoked, newest) = (at.cast_unsigned() * 10, at / 4 * 4);
            if at % 4 == 0 { write(at, invoked, invoked + 35) } else { read(newest, invoked, invoked + 95) }
        })
        .collect();
    let limits = Limits { moves: 1_000_000, ..Limits::default() };
    assert!(matches!(judged(Register::default(), &history, limits), Verdict::Linearizable { .. }));
}
