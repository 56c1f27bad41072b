//! Erasure: nothing that names the person is left, every count stays, and nothing brings them back.

use std::sync::Arc;
use std::time::Duration;

use aggregate::Aggregate;
use clap::Parser;
use fastrand::Rng;
use serde_json::{Value, json};
use tidemark_ledger::{Erased, Ledger, Store};
use tidemark_local::cli;
use tidemark_local::stack::{STATE_TABLE, Stack, VIEWS_TABLE};
use tidemark_model::erasure::Person;
use tidemark_model::time::DAY_MS;
use tidemark_model::views::Tables;
use tidemark_model::{Decimal, Key, Known, Measures, Settings, State};
use tidemark_tests::faulty::{Fault, Faulty};
use tidemark_tests::memory::{MemoryObjects, MemoryStore};
use tidemark_tests::values::{TAKEN_MS, tracked, user_event, with};
use tidemark_tests::{NOW_MS, aggregate_with, call, documents, envelope, handle, options, product, records};

use crate::audit::{ORDERS, check_exact, current, looking, order};

const USER: &str = "jane@example.org";
const CUSTOMER: &str = "jane-77";
const OTHER: &str = "c1";
/// What the records say of her: in ids, of events among them, in a session, in properties.
const WORDS: [&str; 5] = ["jane", "blue velvet", "192.0.2.77", "Lynx", "s-of-j"];

type Function<S> = Arc<Aggregate<S, MemoryObjects>>;

fn user(app: &str) -> Person {
    Person::User { app: app.into(), user: USER.into() }
}

fn customer(id: &str) -> Person {
    Person::Customer { id: id.into() }
}

/// Both apps' user, and the customer.
fn her() -> [Person; 3] {
    [user("app"), user("help"), customer(CUSTOMER)]
}

fn function<S: Store>(store: S) -> Function<S> {
    function_with(store, 1)
}

/// Two at once need seeds of their own.
fn function_with<S: Store>(store: S, seed: u64) -> Function<S> {
    let settings =
        Settings { store_ip_address: true, store_user_agent: true, clock_skew_ms: 2 * DAY_MS, ..Settings::default() };
    aggregate_with(store, MemoryObjects::default(), seed, settings)
}

fn event(app: &str, hour: i64, id: Option<&str>) -> Value {
    let personal = json!({
        "timestamp": TAKEN_MS + hour * 3_600_000, "sessionId": "s-of-j", "eventId": id,
        "properties": {"likes": "blue velvet"}, "ipAddress": "192.0.2.77", "userAgent": "Lynx",
    });
    with(&tracked(app, USER), personal)
}

/// What she and others did and ordered: records of topics' only partitions.
fn said() -> Vec<(&'static str, Vec<Value>)> {
    let cloud_event = json!({
        "specversion": "1.0", "id": "jane-ce", "source": "/users/jane", "type": "x", "data": event("app", 5, None),
    });
    let mut events = vec![event("app", 1, None), event("app", 2, Some("jane-2")), event("app", 3, Some("3"))];
    events.extend([cloud_event, event("help", 1, Some("jane-4")), event("app", 30, None), event("app", 31, None)]);
    events.extend((0..6).map(|n| with(&tracked("app", &format!("u{}", n % 3)), json!({"timestamp": TAKEN_MS + n}))));
    let user_events = [user_event("app", USER), user_event("app", "u1")];
    let orders = (0..12).map(|n| order(n, n, [CUSTOMER, OTHER, "c2"][n as usize % 3], &format!("{n}.25"), "paid"));
    let texts = |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>();
    [
        ("analytics.events", texts(&events)),
        ("user-events", texts(&user_events)),
        (ORDERS, orders.collect()),
        ("product.created", vec![product(1, "Created", 1, "s", "c", "2.50", 3)]),
    ]
    .map(|(topic, values)| (topic, records(topic, 0, &values)))
    .to_vec()
}

/// The same records at their own offsets, in batches and an order of their own.
async fn deliver<S: Store>(function: &Function<S>, rng: &mut Rng) {
    let mut batches: Vec<Value> = Vec::new();
    for (topic, records) in said() {
        batches.extend(records.chunks(rng.usize(1..9)).map(|chunk| json!({format!("{topic}-0"): chunk})));
    }
    rng.shuffle(&mut batches);
    for batch in batches {
        assert_eq!(handle(function, envelope(&batch)).await.rejects, []);
    }
}

async fn filled() -> MemoryStore {
    let store = MemoryStore::default();
    deliver(&function(store.clone()), &mut Rng::with_seed(1)).await;
    store
}

async fn erase<S: Store>(store: S, person: &Person) -> Erased {
    Ledger::new(store, options(2)).erase(person, false, call()).await.unwrap()
}

type Row = (Key, Measures, Option<Decimal>);

/// All that is there but plans: entities as they are known, and rows with their places.
fn all(store: &MemoryStore) -> (Vec<(Key, Known)>, Vec<Row>) {
    let items = store.items();
    let entities = items.entities.iter().map(|(key, entity)| (key.clone(), entity.known.clone()));
    let rows = items.rows.iter().map(|(key, row)| (key.clone(), row.measures.clone(), row.rank));
    (entities.collect(), rows.collect())
}

/// The entities as they are stored; and rows that say something, for an emptied one keeps its key until it expires.
fn text(store: &MemoryStore) -> String {
    let (entities, rows) = all(store);
    let state = |known: &Known| serde_json::to_string(&known.state).unwrap();
    let entities = entities.iter().map(|(key, known)| format!("{} {} {}\n", key.pk, key.sk, state(known)));
    let rows = rows.iter().filter(|(_, row, rank)| !row.is_empty() || rank.is_some());
    entities.chain(rows.map(|(key, row, _)| format!("{} {} {row:?}\n", key.pk, key.sk))).collect()
}

fn found(text: &str) -> Vec<&str> {
    text.lines().filter(|line| WORDS.iter().any(|word| line.contains(word))).collect()
}

/// The views, with the customer's pseudonym for her id.
fn views(tables: &Tables) -> String {
    let mut views = documents(tables);
    for customer in views["customers"].as_array_mut().unwrap() {
        let id = customer["customer_id"].as_str().unwrap();
        if id == CUSTOMER || id.starts_with("erased-") {
            customer["customer_id"] = "she".into();
        }
    }
    views.to_string()
}

#[tokio::test]
async fn an_erased_person_is_nowhere_and_every_count_stays() {
    let store = filled().await;
    let (function, before) = (function(store.clone()), documents(&store.tables()));
    let said_of_her = text(&store);
    assert!(WORDS.iter().all(|word| said_of_her.contains(word)), "{said_of_her}");
    for (person, count) in her().iter().zip([7, 1, 4]) {
        let untouched = all(&store);
        let looked = Ledger::new(store.clone(), options(2)).erase(person, true, call()).await.unwrap();
        assert_eq!(looked, Erased { found: count, erased: 0, left: count, looks: 1 }, "{person:?}");
        assert!(all(&store) == untouched, "a dry run changes nothing");
        let erased = erase(store.clone(), person).await;
        assert_eq!(erased, Erased { found: count, erased: count, left: 0, looks: 2 }, "{person:?}");
        if !matches!(person, Person::Customer { .. }) {
            assert_eq!(documents(&store.tables()).to_string(), before.to_string(), "{person:?}: byte for byte");
        }
    }
    assert_eq!(found(&text(&store)), Vec::<&str>::new());
    let after = documents(&store.tables());
    for (view, document) in before.as_object().unwrap().iter().filter(|(view, _)| *view != "customers") {
        assert_eq!(after[view].to_string(), document.to_string(), "{view}: byte for byte");
    }
    let hers = |views: &Value, is_hers: fn(&str) -> bool| {
        let customers = views["customers"].as_array().unwrap().iter();
        let mut hers = customers.filter(|c| is_hers(c["customer_id"].as_str().unwrap()));
        (hers.next().map(|c| (c["order_count"].clone(), c["total_spent"].clone())), hers.count())
    };
    assert_eq!(hers(&after, |id| id.starts_with("erased-")), hers(&before, |id| id == CUSTOMER));
    check_exact(&store, "after all were erased");
    let audit = function.ledger.audit(&looking(), call()).await.unwrap();
    assert_eq!((audit.total().drifted, audit.total().undecided), (0, 0), "{audit:?}");
}

#[tokio::test]
async fn nothing_that_comes_again_brings_the_person_back() {
    let store = filled().await;
    for person in &her() {
        erase(store.clone(), person).await;
    }
    let erased = all(&store);
    for seed in 0..20 {
        deliver(&function(store.clone()), &mut Rng::with_seed(seed)).await;
        assert!(all(&store) == erased, "seed {seed}: {}", text(&store));
    }
    for person in &her() {
        assert_eq!(erase(store.clone(), person).await, Erased { looks: 1, ..Erased::default() }, "{person:?} again");
    }
    assert!(all(&store) == erased, "{}", text(&store));
    // What has an id stays that event, whatever is told of it: it has been counted.
    let earlier = with(&event("app", 2, Some("jane-2")), json!({"timestamp": TAKEN_MS})).to_string();
    let report = handle(&function(store.clone()), invocation("analytics.events", 100, earlier)).await;
    assert_eq!((report.entities, report.duplicates), (0, 1));
    assert!(all(&store) == erased, "{}", text(&store));
}

/// One more record of a topic's only partition.
fn invocation(topic: &'static str, offset: i64, value: String) -> bytes::Bytes {
    tidemark_tests::invocation(topic, 0, offset, &[value])
}

#[tokio::test]
async fn what_is_new_of_an_erased_person_counts_and_can_be_erased() {
    let (store, total) = (filled().await, |store: &MemoryStore| documents(&store.tables())["summary"].clone());
    for person in &her() {
        erase(store.clone(), person).await;
    }
    let (function, before) = (function(store.clone()), total(&store));
    handle(&function, invocation("analytics.events", 100, event("app", 7, None).to_string())).await;
    handle(&function, invocation(ORDERS, 100, order(100, 0, CUSTOMER, "0.25", "shipped"))).await;
    handle(&function, invocation(ORDERS, 101, order(101, 100, CUSTOMER, "5", "new"))).await;
    let events = documents(&store.tables())["apps"][0]["days"][0]["events"].clone();
    assert_eq!(events, "13", "twelve, and the new one");
    let mut expected = before.clone();
    // The pseudonym's other orders are one customer, she is another one until she is erased again.
    expected["unique_customers"] = "4".into();
    expected["total_orders"] = "13".into();
    expected["total_revenue"] = total(&store)["total_revenue"].clone();
    assert_eq!(total(&store), expected);
    assert_eq!(erase(store.clone(), &user("app")).await.erased, 1);
    assert_eq!(erase(store.clone(), &customer(CUSTOMER)).await.erased, 2);
    expected["unique_customers"] = "3".into();
    assert_eq!(total(&store), expected);
    assert_eq!(found(&text(&store)), Vec::<&str>::new());
    check_exact(&store, "erased again");
}

/// Its key holds her id.
#[tokio::test]
async fn the_row_of_an_erased_customer_expires_unless_she_orders_again() {
    let store = filled().await;
    let expires = || store.items().rows[&current(&format!("CUSTOMER#{CUSTOMER}"))].measures.expires_ms();
    assert_eq!(expires(), None);
    erase(store.clone(), &customer(CUSTOMER)).await;
    let function = function(store.clone());
    for offset in [100, 101] {
        assert_eq!(expires(), Some(NOW_MS + 14 * DAY_MS), "when the plans before that are gone");
        handle(&function, invocation(ORDERS, offset, order(offset, 100, CUSTOMER, "5", "new"))).await;
        assert_eq!(expires(), None);
        assert_eq!(erase(store.clone(), &customer(CUSTOMER)).await.erased, 1);
    }
    store.items().rows.remove(&current(&format!("CUSTOMER#{CUSTOMER}")));
    handle(&function, invocation(ORDERS, 102, order(102, 100, CUSTOMER, "5", "new"))).await;
    check_exact(&store, "as if it had never been there");
}

#[tokio::test]
async fn no_key_names_a_user_a_session_or_an_event() {
    let store = filled().await;
    let named = |key: &&Key| WORDS.iter().any(|word| key.pk.contains(word) || key.sk.contains(word));
    let (entities, rows) = all(&store);
    assert_eq!(entities.iter().map(|(key, _)| key).find(named), None);
    let customers = rows.iter().map(|(key, ..)| key).filter(named).count();
    assert_eq!(customers, 1, "but the customer's row does");
}

#[tokio::test]
async fn an_erasure_that_dies_at_any_request_is_gone_on_with() {
    let exact = views(&filled().await.tables());
    for person in [user("app"), customer(CUSTOMER)] {
        for fault in Fault::ALL.into_iter().filter(|fault| *fault != Fault::Stale) {
            for at in 0.. {
                let (store, what) = (filled().await, format!("{person:?}, {fault:?} at {at}"));
                let faulty = Faulty::new(store.clone(), fault, at);
                let outcome = Ledger::new(faulty.clone(), options(2)).erase(&person, false, call()).await;
                let crashes = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
                assert_eq!(outcome.is_err(), crashes && faulty.sent() > at, "{what}: {outcome:?}");
                let mut again = Ledger::new(store.clone(), options(3)).erase(&person, false, call()).await.unwrap();
                assert_eq!(again.left, 0, "{what}: {again:?}");
                again = Ledger::new(store.clone(), options(4)).erase(&person, false, call()).await.unwrap();
                assert_eq!(again, Erased { looks: 1, ..Erased::default() }, "{what}");
                assert_eq!(views(&store.tables()), exact, "{what}");
                check_exact(&store, &what);
                if faulty.sent() <= at {
                    break;
                }
            }
        }
    }
}

/// Runs an erasure that is held at one of its requests until something else was done; whether it came so far.
async fn held_erasure(store: &MemoryStore, person: &Person, at: usize, meanwhile: impl AsyncFnOnce()) -> bool {
    let held = Faulty::new(store.clone(), Fault::Held, at);
    let (ledger, person) = (Ledger::new(held.clone(), options(3)), person.clone());
    let erasing = tokio::spawn(async move { ledger.erase(&person, false, call()).await });
    while held.sent() <= at && !erasing.is_finished() {
        tokio::time::sleep(Duration::from_micros(50)).await;
    }
    meanwhile().await;
    held.let_go();
    let erased = erasing.await.unwrap().unwrap();
    assert_eq!(erased.left, 0, "held at {at}: {erased:?}");
    held.sent() > at
}

#[tokio::test]
async fn a_telling_that_comes_between_a_look_and_its_commit_is_neither_lost_nor_left() {
    for at in 0.. {
        let store = filled().await;
        // Of another day, so that rows move.
        let earlier = with(&event("app", 30, Some("3")), json!({"timestamp": TAKEN_MS - DAY_MS})).to_string();
        let function = function(store.clone());
        let was_held = held_erasure(&store, &user("app"), at, async || {
            handle(&function, invocation("analytics.events", 100, earlier)).await;
        })
        .await;
        check_exact(&store, &format!("held at {at}"));
        let (entities, _) = all(&store);
        let of_app = |known: &Known| matches!(&known.state, State::Event(event) if event.app == "app" && !event.erased);
        assert_eq!(entities.iter().filter(|(_, known)| of_app(known)).count(), 7, "held at {at}: others' alone");
        let update = order(100, 0, CUSTOMER, "0.25", "shipped");
        held_erasure(&store, &customer(CUSTOMER), at, async || {
            handle(&function, invocation(ORDERS, 100, update)).await;
        })
        .await;
        assert_eq!(documents(&store.tables())["orderStatus"], json!({"paid": "11", "shipped": "1"}), "held at {at}");
        check_exact(&store, &format!("held at {at}"));
        if !was_held {
            break;
        }
    }
}

/// A second event would be counted.
#[tokio::test]
async fn an_event_that_was_forgotten_since_the_look_does_not_come_back() {
    for at in 0.. {
        let store = filled().await;
        let views_before = views(&store.tables());
        let is_hers = |known: &Known| matches!(&known.state, State::Event(event) if event.user == USER || event.erased);
        let was_held = held_erasure(&store, &user("app"), at, async || {
            store.items().entities.retain(|_, entity| !is_hers(&entity.known));
        })
        .await;
        assert_eq!(views(&store.tables()), views_before, "held at {at}");
        assert_eq!(all(&store).0.iter().filter(|(_, known)| is_hers(known)).count(), 0, "held at {at}");
        if !was_held {
            break;
        }
    }
}

#[tokio::test]
async fn erasing_beside_running_commits_leaves_nothing() {
    let exact = views(&filled().await.tables());
    for seed in 0..30 {
        let store = MemoryStore::default();
        let beside = || Faulty::new(store.clone(), Fault::CrashBefore, usize::MAX);
        let commits = [seed, seed + 1_000].map(|seed| {
            let function = function_with(beside(), seed);
            tokio::spawn(async move { deliver(&function, &mut Rng::with_seed(seed)).await })
        });
        let mut seeds = 2_000 + 3 * seed..;
        let erasures = her().map(|person| {
            let ledger = Ledger::new(beside(), options(seeds.next().unwrap()));
            tokio::spawn(async move {
                for _ in 0..5 {
                    ledger.erase(&person, false, call()).await.unwrap();
                }
            })
        });
        for task in commits.into_iter().chain(erasures) {
            task.await.unwrap();
        }
        for person in &her() {
            assert_eq!(erase(store.clone(), person).await.left, 0, "seed {seed}");
        }
        assert_eq!(found(&text(&store)), Vec::<&str>::new(), "seed {seed}");
        assert_eq!(views(&store.tables()), exact, "seed {seed}");
        check_exact(&store, &format!("seed {seed}"));
    }
}

/// Every text and number in both tables; plans are compressed, and gone in time.
async fn text_in_dynamodb(stack: &Stack) -> String {
    let mut text = String::new();
    for table in [STATE_TABLE, VIEWS_TABLE] {
        let mut pages = stack.clients.dynamodb.scan().table_name(table).into_paginator().items().send();
        while let Some(item) = pages.next().await {
            let item = item.unwrap();
            // The customer's own row has her id, and zeros, until it expires.
            if item.get("orders").and_then(|n| n.as_n().ok()).is_none_or(|n| n != "0") {
                text.push_str(&format!("{item:?}\n"));
            }
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_dynamodb_forgets_the_person_alike() {
    let stack = Stack::start(&cli::Options::parse_from(["tidemark"])).await.unwrap();
    let store = stack.aggregate.ledger.store();
    let function = function(store.clone());
    deliver(&function, &mut Rng::with_seed(1)).await;
    let exact = views(&store.read_tables(NOW_MS).await.unwrap());
    assert!(!found(&text_in_dynamodb(&stack).await).is_empty());
    for (person, count) in her().iter().zip([7, 1, 4]) {
        let erased = erase(store.clone(), person).await;
        assert_eq!(erased, Erased { found: count, erased: count, left: 0, looks: 2 }, "{person:?}");
        assert_eq!(erase(store.clone(), person).await, Erased { looks: 1, ..Erased::default() }, "{person:?} again");
    }
    for seed in 1..4 {
        assert_eq!(found(&text_in_dynamodb(&stack).await), Vec::<&str>::new(), "seed {seed}");
        assert_eq!(views(&store.read_tables(NOW_MS).await.unwrap()), exact, "seed {seed}");
        deliver(&function, &mut Rng::with_seed(seed)).await;
    }
    let audit = function.ledger.audit(&looking(), call()).await.unwrap();
    assert_eq!((audit.total().drifted, audit.total().undecided), (0, 0), "{audit:?}");
}
