//! The commit protocol, explored: steps 1 to 8, every interleaving of a few records.
//!
//! A source gives invocations any contiguous records from the next undone one on, or from any earlier
//! one (*replay*); it may give up a batch and move on. Invocations of one lane overlap, die before and
//! after each request, lose answers and send again; a request may land when its invocation is long
//! gone; a read may find any older state; a batch may need several plans; a sweeper finishes what is
//! left; what was set aside may be redriven, while a later decoder counts it as a point.
//!
//! What bounds it:
//!
//! - three lanes at most, of three records at most, on two entities and two rows;
//! - at most two works on a lane at once, such as a zombie and a redelivery, the sweeper being one. In
//!   CI these are two on the first lane or on none, and one on each other; `MODEL_BOUNDS=large` has both
//!   of two lanes overlap;
//! - one stale read a run, in the scenarios that have any; without [`StrongRepetition`] repeated rounds
//!   read stale as often as they like;
//! - two requests at most that land when their invocation is gone or has gone on, each any number of times.
//!
//! Deaths, redeliveries and lost answers are not bounded: there may be any number, one after the other.
//! Larger bounds explore ten times as many states: 60 million, in about seven minutes.
//!
//! Every state and every step must keep I1 to I4 as ARCHITECTURE.md has them; I3 is taken more
//! sharply: what is not in the rows waits in a plan of *another* lane. No lane may commit plans
//! without end, and from wherever a run rests, records that come once more must come to success. Each
//! piece of the protocol, taken out, must break a run that is whole with it; `--nocapture` prints the
//! shortest. Step 6 in full, with tallies and rankings, is `row_model`'s.
//!
//! [`StrongRepetition`]: scenario::Without::StrongRepetition

mod invariants;
mod machine;
mod scenario;
mod scenarios;
mod store;
mod told;
mod work;

use machine::State;
use scenario::Scenario;
use tidemark_tests::explore::{Model, breaks, hold};
use tidemark_tests::say;
use told::Step;

impl Model for Scenario {
    type State = State;
    type Step = Step;

    fn begin(&self) -> State {
        self.first_state()
    }

    fn steps(&self, state: &State, each: impl FnMut(Step, State)) {
        self.every_step(state, each);
    }

    fn fault(&self, state: &State) -> Option<String> {
        self.wrong_state(state)
    }

    fn broken(&self, before: &State, step: &Step, after: &State) -> Option<String> {
        self.wrong_step(before, step, after)
    }
}

#[test]
fn every_batch_is_counted_once_whatever_happens() {
    let large = std::env::var("MODEL_BOUNDS").is_ok_and(|bounds| bounds == "large");
    let scenarios = scenarios::all(large).into_iter();
    let states: usize = scenarios.map(|(name, scenario)| hold(&format!("commit_model: {name}"), &[scenario])).sum();
    say(&format!("commit_model: {states} states in all"));
}

#[test]
fn each_piece_taken_out_breaks_a_run() {
    for (without, whole) in scenarios::broken() {
        breaks(&format!("commit_model without {without:?}"), &whole, &Scenario { without, ..whole.clone() });
    }
}
