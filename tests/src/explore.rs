//! The explorer of the models: looks at every state that a model can come to.
//!
//! Breadth first, so a counterexample is a shortest one. A state is kept once, and of the way to it
//! only where it was first come from; the steps are told when a way is asked for.

use std::fmt;
use std::hash::{Hash, Hasher};

/// What can be explored: a state to begin with, and every step from one state to the next.
pub trait Model {
    type State: Clone + Eq + Hash;
    /// One step, told in a line.
    type Step: fmt::Display;

    fn begin(&self) -> Self::State;

    /// Every way in which a state may go on.
    fn steps(&self, state: &Self::State, each: impl FnMut(Self::Step, Self::State));

    /// What must hold of every state, and does not.
    fn fault(&self, state: &Self::State) -> Option<String>;

    /// What must hold of every step, and does not.
    fn broken(&self, _before: &Self::State, _step: &Self::Step, _after: &Self::State) -> Option<String> {
        None
    }
}

/// A shortest way to a fault.
#[derive(Clone, Debug)]
pub struct Counterexample {
    pub fault: String,
    /// Each step, told.
    pub steps: Vec<String>,
    /// How many states had been seen by then.
    pub states: usize,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} steps ({} states seen)", self.steps.len(), self.states)?;
        for (step, n) in self.steps.iter().zip(1..) {
            write!(f, "\n  {n:>2}. {step}")?;
        }
        write!(f, "\n  => {}", self.fault)
    }
}

/// Looks at every state; how many there are, or the shortest way to a fault.
///
/// # Errors
/// The counterexample.
pub fn explore<M: Model>(model: &M) -> Result<usize, Counterexample> {
    let mut seen = Seen::new(model.begin());
    if let Some(fault) = model.fault(&seen.states[0]) {
        return Err(seen.way(model, 0, None, fault));
    }
    let mut at = 0;
    while at < seen.states.len() {
        let state = seen.states[at].clone();
        let mut found = None;
        model.steps(&state, |step, next| {
            if found.is_some() {
                return;
            }
            let broken = model.broken(&state, &step, &next);
            let fault = match seen.insert(next, at) {
                Some(next) if broken.is_none() => model.fault(next),
                _ => broken,
            };
            found = fault.map(|fault| (step.to_string(), fault));
        });
        if let Some((step, fault)) = found {
            return Err(seen.way(model, at, Some(step), fault));
        }
        at += 1;
    }
    Ok(seen.states.len())
}

/// The states seen so far, in the order of their discovery, and an open table of where each stands.
/// Of its own because a map would keep each state a second time.
struct Seen<S> {
    states: Vec<S>,
    /// Where a state was first come from.
    from: Vec<u32>,
    hashes: Vec<u32>,
    /// Places in `states`, one higher; 0 is empty. As many as a power of two.
    table: Vec<u32>,
}

impl<S: Clone + Eq + Hash> Seen<S> {
    fn new(first: S) -> Self {
        let mut seen = Self { states: Vec::new(), from: Vec::new(), hashes: Vec::new(), table: vec![0; 1 << 10] };
        seen.insert(first, 0);
        seen
    }

    /// Keeps a state, and gives it back if it is new.
    fn insert(&mut self, state: S, from: usize) -> Option<&S> {
        let mut mixer = Mixer::default();
        state.hash(&mut mixer);
        let hash = mixer.finish() as u32;
        let slot = self.slot(hash, |at| self.states[at] == state);
        if self.table[slot] != 0 {
            return None;
        }
        self.states.push(state);
        self.from.push(u32::try_from(from).unwrap());
        self.hashes.push(hash);
        self.table[slot] = u32::try_from(self.states.len()).unwrap();
        if self.states.len() * 2 > self.table.len() {
            self.grow();
        }
        self.states.last()
    }

    /// Where the same state stands, or the empty place for it.
    fn slot(&self, hash: u32, same: impl Fn(usize) -> bool) -> usize {
        let mask = self.table.len() - 1;
        let mut slot = hash as usize & mask;
        while self.table[slot] != 0 {
            let at = self.table[slot] as usize - 1;
            if self.hashes[at] == hash && same(at) {
                break;
            }
            slot = (slot + 1) & mask;
        }
        slot
    }

    fn grow(&mut self) {
        self.table = vec![0; self.table.len() * 4];
        for at in 0..self.states.len() {
            let slot = self.slot(self.hashes[at], |_| false);
            self.table[slot] = u32::try_from(at + 1).unwrap();
        }
    }

    /// The way to a state, told, with one step more.
    fn way<M: Model<State = S>>(&self, model: &M, to: usize, last: Option<String>, fault: String) -> Counterexample {
        let mut path = vec![to];
        while let Some(at) = path.last().filter(|at| **at > 0) {
            path.push(self.from[*at] as usize);
        }
        path.reverse();
        let told = |pair: &[usize]| {
            let mut told = None;
            model.steps(&self.states[pair[0]], |step, next| {
                if told.is_none() && next == self.states[pair[1]] {
                    told = Some(step.to_string());
                }
            });
            told
        };
        let steps = path.windows(2).filter_map(told).chain(last).collect();
        Counterexample { fault, steps, states: self.states.len() }
    }
}

/// Quick mixing of small numbers: the standard hasher takes most of the time otherwise.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (chunks, rest) = bytes.as_chunks();
        chunks.iter().for_each(|chunk| self.write_u64(u64::from_le_bytes(*chunk)));
        rest.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_i8(&mut self, n: i8) {
        self.write_u64(u64::from(n as u8));
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(5) ^ n).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}
