//! The registers of a world, checked at the end of a seed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use d_engine_node::Consistency;
use d_engine_raft::Micros;

use super::models::{Register, RegisterCall};
use super::{Contradiction, Limits, Operation, Value, Verdict, check};
use crate::fact::{self, Fact, Observer, Outcome, Phase, Request, Violation};

/// The name of the check.
const NAME: &str = "linearizable";

/// Gathers what clients ask of the registers and what they are told, and looks for an order of it when the world is over.
///
/// Writes count as swaps, since their result says what was there before. A repetition in a session belongs to its first call.
/// Reads count if their tier promises to be linearizable: all but the eventual ones. Whatever could not be decided within the
/// limits is a violation, too: nobody has shown that it is in order.
#[derive(Debug)]
pub struct Linear {
    limits: Limits,
    /// The number of facts so far: exact where several happen at one moment.
    now: u64,
    registers: BTreeMap<u64, Vec<Call>>,
    /// Where each call under way is kept: its register and place.
    waiting: HashMap<u64, (u64, usize)>,
    /// The same for calls of a session, by its number and theirs.
    sessions: HashMap<(u64, u64), (u64, usize)>,
    checked: u64,
}

/// One call on a register, with all of its repetitions.
#[derive(Debug)]
struct Call {
    first: fact::Operation,
    what: RegisterCall,
    invoked: u64,
    returned: Option<(u64, Value)>,
    /// Attempts of which it is not certain that they did nothing.
    attempts: usize,
}

impl Default for Linear {
    fn default() -> Self {
        Self::new(Limits { moves: 20_000_000, ..Limits::default() })
    }
}

impl Linear {
    /// With limits for each register.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            now: 0,
            registers: BTreeMap::new(),
            waiting: HashMap::new(),
            sessions: HashMap::new(),
            checked: 0,
        }
    }

    /// How many calls were put in order.
    #[must_use]
    pub fn checked(&self) -> u64 {
        self.checked
    }

    /// Checks what was gathered and begins anew.
    ///
    /// # Errors
    /// A register whose calls have no order, or of which this could not be decided.
    pub fn finish(&mut self) -> Result<(), Violation> {
        self.waiting.clear();
        self.sessions.clear();
        for (register, calls) in std::mem::take(&mut self.registers) {
            let calls = needed(calls);
            self.checked += calls.len() as u64;
            let operation = |call: &Call| Operation {
                call: call.what.clone(),
                invoked: call.invoked,
                returned: call.returned.clone(),
            };
            let history: Vec<_> = calls.iter().map(operation).collect();
            let mut model = Register { initial: value(0) };
            match check(&mut model, &history, self.limits, &mut || Ok(false)) {
                Ok(Verdict::Linearizable { .. }) => {}
                Ok(Verdict::Violation(found)) => return Err(violation(explained(register, &calls, &found))),
                Ok(Verdict::Undecided { why, .. }) => {
                    let count = calls.len();
                    return Err(violation(format!("register {register}: {count} calls, undecided: {why:?} used up")));
                }
                Err(error) => return Err(violation(format!("register {register}: {error}"))),
            }
        }
        Ok(())
    }

    fn invoked(&mut self, operation: &fact::Operation) {
        let (key, session, what) = match &operation.request {
            Request::Write { key, value: written, session } => (*key, *session, RegisterCall::Swap(value(*written))),
            Request::Read { key, consistency: Consistency::Linearizable | Consistency::Lease } => {
                (*key, None, RegisterCall::Read)
            }
            _ => return,
        };
        let calls = self.registers.entry(key).or_default();
        let mut place = (key, calls.len());
        if let Some(session) = session {
            place = *self.sessions.entry(session).or_insert(place);
        }
        self.waiting.insert(operation.id, place);
        if let Some(call) = calls.get_mut(place.1) {
            // What was refused did nothing: the call begins with the first attempt that may have done something.
            if call.attempts == 0 && call.returned.is_none() {
                call.invoked = self.now;
            }
            call.attempts += 1;
        } else {
            calls.push(Call { first: operation.clone(), what, invoked: self.now, returned: None, attempts: 1 });
        }
    }

    fn returned(&mut self, id: u64, outcome: &Outcome) {
        let Some((register, place)) = self.waiting.remove(&id) else { return };
        let Some(call) = self.registers.get_mut(&register).and_then(|calls| calls.get_mut(place)) else { return };
        match outcome {
            Outcome::Written { previous: held, .. } | Outcome::Read { value: held, .. } => {
                call.returned.get_or_insert((self.now, value(*held)));
            }
            Outcome::Refused(_) => call.attempts -= 1,
            _ => {}
        }
    }
}

impl Observer for Linear {
    fn fact(&mut self, _at: Micros, fact: &Fact<'_>) -> Result<(), Violation> {
        self.now += 1;
        match fact {
            Fact::Invoked(operation) => self.invoked(operation),
            Fact::Returned { id, outcome } => self.returned(*id, outcome),
            Fact::Phase(Phase::Over) => self.finish()?,
            _ => {}
        }
        Ok(())
    }
}

/// Without what says nothing: reads without an answer, writes that certainly did nothing, and writes of unknown outcome whose
/// value was never seen. The last ones can be left out since every write that has returned saw what was there before: after
/// such a write only others of its kind can have come.
fn needed(calls: Vec<Call>) -> Vec<Call> {
    let seen: HashSet<Value> =
        calls.iter().filter_map(|call| call.returned.as_ref()).map(|(_, seen)| seen.clone()).collect();
    let needed = |call: &Call| match &call.what {
        _ if call.returned.is_some() => true,
        RegisterCall::Swap(written) => call.attempts > 0 && seen.contains(written),
        _ => false,
    };
    calls.into_iter().filter(needed).collect()
}

fn value(number: u64) -> Value {
    Value::Int(number.cast_signed())
}

fn violation(what: String) -> Violation {
    Violation { check: NAME, what }
}

fn explained(register: u64, calls: &[Call], found: &Contradiction<Value>) -> String {
    let mut text = format!("register {register}: no order of its calls explains {}", described(&calls[found.culprit]));
    let states: Vec<String> = found.states.iter().take(8).map(ToString::to_string).collect();
    let more = if found.states.len() > states.len() { ", …" } else { "" };
    // Writing to a string cannot fail.
    let _ = write!(text, "; by then it could hold {}{more}. These contradict each other:", states.join(", "));
    for &call in &found.window {
        let _ = write!(text, "\n  {}", described(&calls[call]));
    }
    text
}

fn described(call: &Call) -> String {
    let fact::Operation { id, client, node, request } = &call.first;
    let what = match (request, &call.returned) {
        (Request::Write { value, .. }, Some((_, held))) => format!("write {value} over {held}"),
        (Request::Write { value, .. }, None) => format!("write {value}, outcome unknown"),
        (Request::Read { consistency, .. }, Some((_, held))) => format!("{consistency:?} read -> {held}"),
        (request, _) => format!("{request:?}"),
    };
    let until = call.returned.as_ref().map_or_else(|| "…".to_owned(), |(at, _)| at.to_string());
    format!("{what} (call {id} of client {client} at node {node}, facts {} to {until})", call.invoked)
}
