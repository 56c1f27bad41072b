//! The commit protocol, explored: steps 1 to 8, every interleaving of a few records.
//!
//! A source gives invocations any contiguous records from the next undone one on, or from any earlier
//! one (*replay*); it may give up a batch and move on. Invocations of one lane overlap, die before and
//! after each request, lose answers and send again; a request may land when its invocation is long
//! gone; one read of a run may find any older state; a batch may need several plans; a sweeper finishes
//! what is left; a point may be sent again under an idempotency key. Deaths and redeliveries are not
//! counted: there may be any number.
//!
//! Every state and every step must keep I1 to I4 as ARCHITECTURE.md has them; I3 is taken more
//! sharply: what is not in the rows waits in a plan of *another* lane. No lane may commit plans
//! without end, and from wherever a run rests, records that come once more must come to success. Each
//! piece of the protocol, taken out, must break a run that is whole with it; `--no-capture` prints the
//! shortest. Step 6 in full, with tallies and rankings, is `row_model`'s.
//!
//! `MODEL_BOUNDS=large` explores nine times as many states: 37 million, in about six minutes.

mod invariants;
mod machine;
mod scenario;
mod scenarios;
mod store;
mod told;
mod work;

use std::time::Instant;

use machine::State;
use scenario::Scenario;
use tidemark_tests::explore::{Model, explore};
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
    let mut all = 0;
    for (name, scenario) in scenarios::all(large) {
        let started = Instant::now();
        let states = explore(&scenario).unwrap_or_else(|found| panic!("{name}: {found}"));
        println!("{name}: {states} states, {:.1} s", started.elapsed().as_secs_f64());
        all += states;
    }
    println!("{all} states");
}

#[test]
fn each_piece_taken_out_breaks_a_run() {
    for (without, scenario) in scenarios::broken() {
        let whole = explore(&scenario);
        let states = whole.unwrap_or_else(|found| panic!("it is {without:?} that breaks the run, not {found}"));
        match explore(&Scenario { without, ..scenario }) {
            Ok(_) => panic!("without {without:?} nothing breaks"),
            Err(found) => println!("without {without:?} ({states} states with it): {found}\n"),
        }
    }
}
