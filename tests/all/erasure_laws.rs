//! The laws of erasure, over arbitrary small streams: no row moves but the customer's, and no replay undoes it.

use compact_str::CompactString;
use fastrand::Rng;
use proptest::prelude::*;
use tidemark_local::feed::{Record, logs_of, payload};
use tidemark_model::erasure::Person;
use tidemark_model::fold::{Fold, fold, sum};
use tidemark_model::stream::STREAMS;
use tidemark_model::{Change, Key, Known, Map, Measures, Settings, State, decode};
use tidemark_tests::arbitrary::{Sent, activity_stream, order_stream, values};

fn said(sent: &[Sent]) -> Vec<Change> {
    let of_stream = |name: &'static str| sent.iter().filter(move |(of, _)| *of == name).cloned().collect::<Vec<_>>();
    let logs = STREAMS.iter().flat_map(|stream| logs_of(stream, values(&of_stream(stream.name)), 1));
    let logs: Vec<_> = logs.collect();
    let slices: Vec<&[Record]> = logs.iter().map(|log| log.records.as_slice()).collect();
    decode(&payload(&slices).unwrap(), &Settings::default()).unwrap().into_iter().flat_map(|b| b.changes).collect()
}

type Entities = Map<Key, Known>;

fn apply(known: &mut Entities, changes: &[Change]) -> usize {
    let Fold { transitions, .. } = fold(changes, known);
    for step in &transitions {
        let now = Known { counter: step.counter + 1, version: step.version, state: step.after.clone() };
        known.insert(step.key.clone(), now);
    }
    transitions.len()
}

fn rows(known: &Entities) -> Vec<(Key, Measures)> {
    sum(known.values().map(|known| &known.state)).into_sorted()
}

/// Whom a state names.
fn named_in(state: &State) -> Option<Person> {
    match state {
        State::Event(event) => Some(Person::User { app: event.app.clone(), user: event.user.clone() }),
        State::Order(order) => Some(Person::Customer { id: order.customer.value.clone()? }),
        _ => None,
    }
}

/// Erases everybody, in two turns where two states of one entity are told apart.
fn erase_all(known: &mut Entities) -> Result<(), TestCaseError> {
    let everybody: Vec<Person> = known.values().filter_map(|known| named_in(&known.state)).collect();
    for person in everybody {
        let changes: Vec<Change> = known.iter().filter_map(|(key, known)| person.erased(key, known)).collect();
        prop_assert_eq!(apply(known, &changes), changes.len());
        prop_assert!(known.values().all(|known| !person.is_named_in(&known.state)), "{:?} is left", person);
    }
    Ok(())
}

fn shuffled(changes: &[Change], seed: u64) -> Vec<Change> {
    let mut changes = changes.to_vec();
    Rng::with_seed(seed).shuffle(&mut changes);
    changes
}

/// Those of each customer, without the customers' names.
fn nameless(rows: &[(Key, Measures)]) -> Vec<(CompactString, Measures)> {
    let name = |key: &Key| match key.is_of("CUSTOMER") {
        true => "CUSTOMER".into(),
        false => CompactString::from(format!("{} {}", key.pk, key.sk)),
    };
    let mut rows: Vec<_> = rows.iter().map(|(key, row)| (name(key), row.clone())).collect();
    rows.sort_by_key(|(name, row)| format!("{name} {row:?}"));
    rows
}

proptest! {
    #[test]
    fn an_erased_user_leaves_every_row_as_it_was(sent in activity_stream(20), seed: u64) {
        let (mut known, changes) = (Entities::default(), said(&sent));
        apply(&mut known, &changes);
        let before = rows(&known);
        erase_all(&mut known)?;
        prop_assert_eq!(&rows(&known), &before);
        let erased = known.clone();
        for change in shuffled(&changes, seed) {
            prop_assert_eq!(apply(&mut known, &[change]), 0);
        }
        prop_assert_eq!(known, erased);
    }

    #[test]
    fn erased_customers_are_as_many_and_spent_as_much(sent in order_stream(20), seed: u64) {
        let (mut known, changes) = (Entities::default(), said(&sent));
        apply(&mut known, &changes);
        let before = rows(&known);
        erase_all(&mut known)?;
        prop_assert_eq!(nameless(&rows(&known)), nameless(&before));
        let erased = known.clone();
        for change in shuffled(&changes, seed) {
            apply(&mut known, &[change]);
        }
        prop_assert_eq!(known, erased);
    }
}
