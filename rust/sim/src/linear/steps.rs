//! The model's steps, each made once: states and calls get numbers, and what a step gave is looked up the next time.

use super::Model;
use super::memo::QuickMap;

/// What a call with its answer is, apart from when it was: calls of one class behave alike.
pub type Class = u32;

/// States and classes by number, and the steps between them.
pub struct Steps<M: Model> {
    states: Vec<M::State>,
    numbers: QuickMap<M::State, u32>,
    classes: Vec<(M::Call, Option<M::Output>)>,
    known: QuickMap<(M::Call, Option<M::Output>), Class>,
    /// By state and class: the state afterwards, if there is one.
    made: QuickMap<u64, Option<u32>>,
}

impl<M: Model> Default for Steps<M> {
    fn default() -> Self {
        Self {
            states: Vec::new(),
            numbers: QuickMap::default(),
            classes: Vec::new(),
            known: QuickMap::default(),
            made: QuickMap::default(),
        }
    }
}

impl<M: Model> Steps<M> {
    /// The number of a class.
    pub fn class(&mut self, call: &M::Call, output: Option<&M::Output>) -> Class {
        let what = (call.clone(), output.cloned());
        if let Some(&class) = self.known.get(&what) {
            return class;
        }
        let class = number(self.classes.len());
        self.classes.push(what.clone());
        self.known.insert(what, class);
        class
    }

    /// The number of a state.
    pub fn state(&mut self, state: M::State) -> u32 {
        if let Some(&known) = self.numbers.get(&state) {
            return known;
        }
        let new = number(self.states.len());
        self.states.push(state.clone());
        self.numbers.insert(state, new);
        new
    }

    /// A state by its number.
    pub fn shown(&self, state: u32) -> &M::State {
        &self.states[state as usize]
    }

    /// Whether calls of that class change no state.
    pub fn reads(&self, model: &mut M, class: Class) -> Result<bool, M::Error> {
        let (call, output) = &self.classes[class as usize];
        model.reads(call, output.as_ref())
    }

    /// The state after a call in a state.
    pub fn step(&mut self, model: &mut M, state: u32, class: Class) -> Result<Option<u32>, M::Error> {
        let key = u64::from(state) << 32 | u64::from(class);
        if let Some(&made) = self.made.get(&key) {
            return Ok(made);
        }
        let (call, output) = &self.classes[class as usize];
        let after = model.step(&self.states[state as usize], call, output.as_ref())?;
        let after = after.map(|after| self.state(after));
        self.made.insert(key, after);
        Ok(after)
    }

    /// Roughly, in bytes, without what states hold on the heap.
    pub fn size(&self) -> usize {
        self.made.len() * 24 + self.states.len() * (2 * size_of::<M::State>() + 16)
    }
}

fn number(length: usize) -> u32 {
    // A history of four thousand million calls would not fit into memory.
    u32::try_from(length).unwrap_or(u32::MAX)
}
