//! The contract of entities: counters, marks, and what a refusal tells.

use tidemark_ledger::{LaneId, Segment, Store, Written};
use tidemark_model::product::{Listing, Product, Status};
use tidemark_model::{Decimal, Key, Known, State, Transition, Version};

use super::{Check, checks, lane, now_ms, states};

pub(super) fn checks<S: Store + Clone + 'static>() -> Vec<Check<S>> {
    checks![
        an_entity_is_written_only_over_the_counter_that_was_read,
        a_refused_write_tells_the_lanes_mark,
        a_batch_stands_or_falls_one_by_one,
        one_of_many_writes_at_once_wins,
        a_hundred_entities_are_read_at_once,
        any_id_makes_a_key,
        states_are_listed_in_pages_each_once,
        a_timeline_is_read_in_pages_in_order_and_alone,
        an_entity_is_created_only_where_there_is_none,
    ]
}

/// A product that is listed while its quantity is low.
pub(super) fn product(id: i64, quantity: i64) -> State {
    let price: Decimal = "12345678901234.123456789012".parse().unwrap();
    let listing = Listing { category: "c#%é".into(), price, quantity, low: quantity < 10 };
    State::Product(Product { id, seller: "s".into(), name: "ä\"'\\\n?".into(), status: Status::Active(listing) })
}

/// A tombstone that will be forgotten.
pub(super) fn deleted(id: i64) -> State {
    let status = Status::Deleted { expires: Some(now_ms() + 86_400_000) };
    State::Product(Product { id, seller: "s".into(), name: "n".into(), status })
}

pub(super) fn transition(key: &Key, counter: u64, before: Option<State>, after: State) -> Transition {
    let version = Version { major: i64::MIN, minor: counter as i64, tie: u64::MAX };
    Transition { key: key.clone(), counter, version, before, after }
}

async fn write<S: Store>(store: &S, lane: &LaneId, seq: u64, transition: &Transition) -> Written {
    store.write_entities(lane, seq, &[transition]).await.unwrap().value[0]
}

async fn read<S: Store>(store: &S, key: &Key) -> Option<Known> {
    let page = store.read_entities(std::slice::from_ref(key), true).await.unwrap().value;
    page.found.into_iter().next().map(|(_, known)| known)
}

async fn mark<S: Store>(store: &S, lane: &LaneId, key: &Key) -> Option<u64> {
    let page = store.read_marks(std::slice::from_ref(key)).await.unwrap().value;
    let (_, marks) = page.found.into_iter().next()?;
    Some(marks.into_iter().find(|(of, _)| of == lane).map_or(0, |(_, mark)| mark))
}

async fn an_entity_is_written_only_over_the_counter_that_was_read<S: Store>(store: S) {
    let (lane, key) = (lane("counters"), Key::of("COUNTERS", "1", "STATE"));
    let states = [product(1, 5), product(1, 50), deleted(1), product(1, 6)];
    let mut before = None;
    for (counter, state) in states.iter().enumerate() {
        let counter = counter as u64;
        for wrong in [counter + 1, counter + 2] {
            let refused = write(&store, &lane, 9, &transition(&key, wrong, before.clone(), deleted(1))).await;
            assert_ne!(refused, Written::Applied, "{wrong} over {counter}");
        }
        let next = transition(&key, counter, before.clone(), state.clone());
        assert_eq!(write(&store, &lane, counter + 1, &next).await, Written::Applied);
        let known = Known { counter: counter + 1, version: next.version, state: state.clone() };
        assert_eq!(read(&store, &key).await, Some(known.clone()));
        assert_ne!(write(&store, &lane, counter + 1, &next).await, Written::Applied, "a repetition is refused");
        assert_eq!(read(&store, &key).await, Some(known), "and changes nothing");
        before = Some(state.clone());
    }
}

async fn a_refused_write_tells_the_lanes_mark<S: Store>(store: S) {
    let (first, other) = (lane("marks"), lane("marks of another"));
    let key = Key::of("MARKS", "1", "STATE");
    let (insert, update) =
        (transition(&key, 0, None, product(1, 5)), transition(&key, 1, Some(product(1, 5)), product(1, 6)));
    assert_eq!(write(&store, &first, 3, &update).await, Written::Unseen, "there is nothing that could carry a mark");
    assert_eq!(mark(&store, &first, &key).await, None);
    assert_eq!(write(&store, &first, 3, &insert).await, Written::Applied);
    // A store may or may not show the item that was in an insert's way; the mark is the same.
    let refused = write(&store, &first, 3, &insert).await;
    assert!(matches!(refused, Written::Unseen | Written::Refused { mark: 3 }), "{refused:?}");
    assert_eq!((mark(&store, &first, &key).await, mark(&store, &other, &key).await), (Some(3), Some(0)));
    assert_eq!(write(&store, &other, 1, &update).await, Written::Applied);
    assert_eq!(write(&store, &other, 1, &update).await, Written::Refused { mark: 1 });
    assert_eq!(write(&store, &first, 4, &update).await, Written::Refused { mark: 3 }, "other lanes' marks stay");
    assert_eq!(write(&store, &lane("marks of none"), 7, &update).await, Written::Refused { mark: 0 });
    assert_eq!((mark(&store, &first, &key).await, mark(&store, &other, &key).await), (Some(3), Some(1)));
}

async fn a_batch_stands_or_falls_one_by_one<S: Store>(store: S) {
    let lane = lane("batches");
    let keys: Vec<Key> = (0..S::WRITE_ENTITIES).map(|n| Key::of("BATCHES", &n.to_string(), "STATE")).collect();
    for key in keys.iter().step_by(3) {
        assert_eq!(write(&store, &lane, 1, &transition(key, 0, None, product(1, 5))).await, Written::Applied);
    }
    // Inserts of some that are there, updates of some that are not.
    let counter = |n: usize| u64::from(n.is_multiple_of(2));
    let batch: Vec<Transition> =
        keys.iter().enumerate().map(|(n, key)| transition(key, counter(n), None, product(2, 6))).collect();
    let written = store.write_entities(&lane, 2, &batch.iter().collect::<Vec<_>>()).await.unwrap().value;
    assert_eq!(written.len(), batch.len());
    for (n, written) in written.into_iter().enumerate() {
        let applies = n.is_multiple_of(3) == (counter(n) == 1);
        assert_eq!(written == Written::Applied, applies, "{n}");
        let known = read(&store, &keys[n]).await;
        assert_eq!(known.is_some_and(|known| known.state == product(2, 6)), applies, "{n}");
    }
}

async fn one_of_many_writes_at_once_wins<S: Store + Clone + 'static>(store: S) {
    let key = Key::of("RIVALS", "1", "STATE");
    for counter in 0..2 {
        let before = (counter > 0).then(|| product(0, 0));
        let rivals = (0..16).map(|rival| {
            let (store, lane) = (store.clone(), lane(&format!("rival {rival}")));
            let transition = transition(&key, counter, before.clone(), product(rival, 50));
            tokio::spawn(async move { write(&store, &lane, 1 + counter, &transition).await })
        });
        let mut winners = Vec::new();
        for (rival, written) in (0_i64..).zip(rivals.collect::<Vec<_>>()) {
            winners.extend((written.await.unwrap() == Written::Applied).then_some(rival));
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let known = read(&store, &key).await.unwrap();
        assert_eq!((known.counter, known.state), (counter + 1, product(winners[0], 50)));
    }
}

async fn a_hundred_entities_are_read_at_once<S: Store>(store: S) {
    let lane = lane("hundred");
    let keys: Vec<Key> = (0..S::READ_KEYS).map(|n| Key::of("HUNDRED", &n.to_string(), "STATE")).collect();
    for keys in keys[..50].chunks(S::WRITE_ENTITIES) {
        let batch: Vec<Transition> = keys.iter().map(|key| transition(key, 0, None, product(1, 5))).collect();
        store.write_entities(&lane, 1, &batch.iter().collect::<Vec<_>>()).await.unwrap();
    }
    for consistent in [true, false] {
        let page = store.read_entities(&keys, consistent).await.unwrap().value;
        assert!(page.unprocessed.is_empty());
        // An eventually consistent read may miss what was just written.
        assert!(page.found.len() == 50 || (!consistent && page.found.len() < 50), "{}", page.found.len());
    }
    let marks = store.read_marks(&keys).await.unwrap().value;
    let expected = [(lane, 1)];
    assert!(marks.found.len() == 50 && marks.found.iter().all(|(_, marks)| *marks == expected), "{marks:?}");
}

/// Ids that might forge another's key, end a statement, or be taken for nothing.
pub(super) const ODD_IDS: [&str; 9] = ["", " ", "#", "a#b", "a%23b", "\u{0}\n", "'\"?\\", "é😀", "e\u{301}😀"];

async fn any_id_makes_a_key<S: Store>(store: S) {
    let lane = lane("odd ids");
    let long = "é".repeat(1_000);
    let keys: Vec<Key> = ODD_IDS.iter().chain(&[long.as_str()]).map(|id| Key::of("ODD", id, "STATE")).collect();
    for (key, id) in keys.iter().zip(0..) {
        let insert = transition(key, 0, None, product(id, 5));
        assert_eq!(write(&store, &lane, 1, &insert).await, Written::Applied, "{key:?}");
        let update = transition(key, 1, Some(product(id, 5)), product(id, 50));
        assert_eq!(write(&store, &lane, 2, &update).await, Written::Applied, "{key:?}");
    }
    for (key, id) in keys.iter().zip(0..) {
        assert_eq!(read(&store, key).await.map(|known| known.state), Some(product(id, 50)), "{key:?}");
    }
}

/// As it was, but without marks: it goes on from its counter.
async fn an_entity_is_created_only_where_there_is_none<S: Store>(store: S) {
    let lane = lane("restores");
    let key = |n: u64| Key::of("RESTORES", &n.to_string(), "STATE");
    let entity = |n: u64, state| {
        let version = Version { major: n as i64, minor: -1, tie: 7 };
        (key(n), Known { counter: n + 3, version, state })
    };
    assert_eq!(write(&store, &lane, 1, &transition(&key(1), 0, None, product(9, 9))).await, Written::Applied);
    let entities = [entity(0, product(1, 5)), entity(1, product(2, 6)), entity(2, deleted(3))];
    let created = store.create_entities(&entities).await.unwrap().value;
    assert_eq!(created, [Written::Applied, Written::Unseen, Written::Applied]);
    assert_eq!(store.create_entities(&entities).await.unwrap().value, [Written::Unseen; 3], "a repetition is refused");
    for (n, known) in [(0, Some(entities[0].1.clone())), (2, Some(entities[2].1.clone()))] {
        assert_eq!(read(&store, &key(n)).await, known);
        assert_eq!(mark(&store, &lane, &key(n)).await, Some(0));
    }
    assert_eq!(read(&store, &key(1)).await.map(|known| known.state), Some(product(9, 9)));
    let next = transition(&key(0), 3, Some(product(1, 5)), product(1, 50));
    assert_eq!(write(&store, &lane, 2, &next).await, Written::Applied);
}

/// More than the megabyte that DynamoDB answers at once, among cursors, plans and the like.
async fn states_are_listed_in_pages_each_once<S: Store>(store: S) {
    let lane = lane("states");
    let seller = "listed".repeat(5_000);
    let state = |id| {
        State::Product(Product {
            id,
            seller: seller.as_str().into(),
            name: "n".into(),
            status: Status::Deleted { expires: None },
        })
    };
    for id in 0..60 {
        let key = Key::of("STATES", &id.to_string(), "STATE");
        assert_eq!(write(&store, &lane, 1, &transition(&key, 0, None, state(id))).await, Written::Applied);
    }
    let (_, next) = store.states(Segment::WHOLE, None).await.unwrap().value;
    assert!(next.is_some(), "all came at once: the check shows nothing");
    for of in [1, 3] {
        let mut found: Vec<i64> = Vec::new();
        for (key, listed) in states(&store, of).await {
            if let State::Product(product) = &listed.state
                && product.seller.as_str() == seller
            {
                let expected = transition(&key, 0, None, state(product.id));
                assert_eq!(key, Key::of("STATES", &product.id.to_string(), "STATE"));
                assert_eq!(listed, Known { counter: 1, version: expected.version, state: expected.after });
                found.push(product.id);
            }
        }
        found.sort_unstable();
        assert_eq!(found, (0..60).collect::<Vec<i64>>(), "of {of} segments");
    }
}

/// More than the megabyte that DynamoDB answers at once; the next partitions' keys begin alike.
async fn a_timeline_is_read_in_pages_in_order_and_alone<S: Store>(store: S) {
    let lane = lane("timelines");
    let seller = "of a timeline".repeat(2_000);
    let state = |id| {
        let status = Status::Deleted { expires: None };
        State::Product(Product { id, seller: seller.as_str().into(), name: "n".into(), status })
    };
    let key = |timeline: &str, id: i64| Key { pk: timeline.into(), sk: format!("EVENT#{id:03}").into() };
    for (timeline, ids) in [("TIMELINE#a", 0..60), ("TIMELINE#a#", 60..61), ("TIMELINE#", 61..62)] {
        for id in ids.rev() {
            let insert = transition(&key(timeline, id), 0, None, state(id));
            assert_eq!(write(&store, &lane, 1, &insert).await, Written::Applied);
        }
    }
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let (page, next) = store.timeline("TIMELINE#a", after.as_ref()).await.unwrap().value;
        found.extend(page);
        pages += 1;
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert!(pages > 1, "all came at once: the check shows nothing");
    let known =
        |id| Known { counter: 1, version: transition(&key("", id), 0, None, state(id)).version, state: state(id) };
    let expected: Vec<(Key, Known)> = (0..60).map(|id| (key("TIMELINE#a", id), known(id))).collect();
    assert!(found == expected, "{:?}", found.iter().map(|(key, _)| key).collect::<Vec<_>>());
    assert_eq!(store.timeline("TIMELINE#none", None).await.unwrap().value, (Vec::new(), None));
}
