//! What must hold: the invariants of ARCHITECTURE.md, and the truth by brute force.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rust_decimal::Decimal as Plain;
use serde_json::Value;
use tidemark_ledger::{Lane, LaneId};
use tidemark_model::fold::fold;
use tidemark_model::views::rankings;
use tidemark_model::{Change, Key, Known, Map, Measures, Reject, Rows, SetAside, Settings, State, Transition, decode};
use tidemark_tests::arbitrary::Sent;
use tidemark_tests::{NOW_MS, SALES, catalogue, invocation, oracle, views, without_quantiles};

use super::http::Posted;
use super::source::{Partition, broken, everything, mended};
use super::world::{Committed, Without, World};
use crate::rankings::check_places;

/// I1, whenever no plan is pending (whether that is so): the rows that are not past their TTL are the sums over the states, forgotten
/// ones as they were last, plus the points of all committed plans.
pub(super) fn rows_are_the_sums(world: &World, now_ms: i64) -> bool {
    if world.store.items().cursors.values().any(|cursor| cursor.pending) {
        return false;
    }
    same_rows(world.store.tables().rows, world.sums(), now_ms, "I1");
    what_is_set_aside_is_covered(world);
    true
}

/// Rows that are not past their TTL are what states and points add up to.
pub(super) fn same_rows(found: Vec<(Key, Measures)>, expected: Rows, now_ms: i64, what: &str) {
    let is_kept = |row: &Measures| !row.is_empty() && row.expires_ms().is_none_or(|expires| expires > now_ms);
    let kept = |(key, row): (Key, Measures)| is_kept(&row).then_some((key, row));
    let expected: BTreeMap<Key, Measures> = expected.into_sorted().into_iter().filter_map(kept).collect();
    let found: BTreeMap<Key, Measures> = found.into_iter().filter_map(kept).collect();
    for key in found.keys().chain(expected.keys()) {
        assert_eq!(found.get(key), expected.get(key), "{what}: {key:?} is not the sum over the states and points");
    }
}

/// Whenever no plan is pending: what is known as set aside lies below its lane's `through`.
fn what_is_set_aside_is_covered(world: &World) {
    let items = world.store.items();
    for key in items.entities.keys().filter(|key| key.is_of("SETASIDE")) {
        let lane = LaneId::stored(&key.pk_parts()[1]);
        let offset: i64 = key.sk_parts()[1].parse().unwrap();
        assert!(items.cursors[&lane].through >= Some(offset), "{key:?} is set aside too early");
    }
}

/// What is or was known of a record that was set aside.
fn set_aside(world: &World, lane: &LaneId, offset: i64) -> Option<SetAside> {
    let key = SetAside::key(&lane.to_string(), offset);
    let items = world.store.items();
    let state = items.entities.get(&key).map(|entity| &entity.known.state).or_else(|| world.forgotten.get(&key))?;
    let State::SetAside(set_aside) = state else { panic!("{key:?} is {state:?}") };
    Some(set_aside.clone())
}

/// I3, when an invocation reports success: every record's effect is in the rows, or a pending plan of
/// another lane holds it; and what has no identity is covered by the cursor, and not by a pending plan.
pub(super) fn report_is_true(world: &World, payload: &Bytes, settings: &Settings) {
    for batch in decode(payload, settings).unwrap() {
        let lane = Lane::of(&batch, 0).id;
        let cursor = world.store.items().cursors.get(&lane).cloned();
        let is_pending = |committed: &&Committed| {
            let cursor = cursor.as_ref().filter(|cursor| cursor.pending);
            committed.lane == lane && cursor.is_some_and(|cursor| cursor.seq == committed.seq)
        };
        let pending = world.committed.iter().rev().find(is_pending);
        let known = |key: Key| Some((key.clone(), before(world, pending, &key)?));
        let known: Map<Key, Known> = batch.keys().into_iter().filter_map(known).collect();
        let news = fold(&batch.changes, &known).transitions;
        assert!(news.is_empty(), "I3: success was reported too early; still to be counted: {news:?}");
        let through = pending.map_or(cursor.as_ref().and_then(|cursor| cursor.through), |pending| pending.through);
        assert!(batch.last_offset() <= through, "I3: lane {lane} is through {through:?} only");
        for Reject { offset, .. } in &batch.rejects {
            assert!(set_aside(world, &lane, *offset).is_some(), "I3: nobody knows that {lane} set {offset} aside");
        }
    }
}

/// An entity as it is; but as it was before, where the lane's pending plan changed it, because that is not in
/// the rows yet.
fn before(world: &World, pending: Option<&Committed>, key: &Key) -> Option<Known> {
    let items = world.store.items();
    let entity = items.entities.get(key)?;
    let step = pending.and_then(|plan| {
        let has_applied = entity.marks.get(&plan.lane) == Some(&plan.seq);
        plan.plan.transitions.iter().find(|step| step.key == *key).filter(|_| has_applied)
    });
    match step {
        Some(step) => world.history[key].iter().find(|known| known.counter == step.counter).cloned(),
        None => Some(entity.known.clone()),
    }
}

/// At rest, when every record has been delivered: I1, I4, I5, and every view reads the truth.
pub(super) fn everything_is_true(
    world: &World,
    partitions: &[Partition],
    requests: &[Posted],
    sent: &[Sent],
    settings: &Settings,
) {
    assert!(world.store.items().cursors.values().all(|cursor| !cursor.pending), "a plan is left pending");
    rows_are_the_sums(world, settings.now_ms);
    let twice = world.forgotten.keys().find(|key| world.store.items().entities.contains_key(key));
    assert_eq!(twice, None, "what was forgotten is counted again");
    entities_are_as_the_newest_records_say(world, partitions, requests, settings);
    rankings().for_each(|ranking| check_places(&world.store, ranking, "I5"));
    if world.without == Without::Nothing {
        lanes_commit_one_plan_after_the_other(world);
    }
    let redriven = bad_records_are_set_aside_or_count(world, partitions, settings);
    let of = |names: &[&str]| -> Vec<&[u8]> {
        let of_stream = |(name, value): &&Sent| names.contains(name) && value != "broken";
        sent.iter().chain(&redriven).filter(of_stream).map(|(_, value)| value.as_bytes()).collect()
    };
    let tables = world.store.tables();
    let same = |found: Value, expected: Value| assert_eq!(oracle::sorted(&found), oracle::sorted(&expected));
    same(without_means(catalogue(&tables)), without_means(oracle::products(of(&["products"]))));
    same(views(&tables, &SALES), oracle::orders(of(&["orders"])));
    if settings.now_ms > NOW_MS {
        // What is late, and what has expired, is the delivery's affair.
        return;
    }
    same(views(&tables, &["apps", "eventTotals"]), oracle::activity(of(&["activity", "user-events"])));
    let (found, expected) = (views(&tables, &["metrics", "series"]), oracle::metrics(of(&["metrics"])));
    if settings.max_tag_sets < 10 {
        assert_eq!(by_metric(&found), by_metric(&expected), "what is beyond the limit counts as overflow");
    } else {
        same(without_quantiles(found), expected);
    }
}

/// I4: what all records in any order come to, each entity's newest, is what is stored.
fn entities_are_as_the_newest_records_say(
    world: &World,
    partitions: &[Partition],
    requests: &[Posted],
    settings: &Settings,
) {
    let items = world.store.items();
    let states = items.entities.values().map(|entity| &entity.known.state).chain(world.forgotten.values());
    let redriven = states.filter_map(|state| match state {
        State::SetAside(SetAside { topic, redriven: true, .. }) => Some(invocation(topic, 0, 0, &[mended(topic)])),
        _ => None,
    });
    let batches = std::iter::once(everything(partitions)).chain(redriven);
    let batches = batches.flat_map(|payload| decode(&payload, settings).unwrap());
    let posted = requests.iter().flat_map(|request| request.changes(settings));
    let changes: Vec<Change> = batches.flat_map(|batch| batch.changes).chain(posted).collect();
    let mut expected = BTreeMap::new();
    // Which of the tellings of a sample comes first, and which tag sets, is the delivery's affair; and what is late.
    let ages = settings.now_ms > NOW_MS;
    let settled = |state: &State| match state {
        State::Sample(_) | State::Parcel(_) | State::TagSets(_) => false,
        State::Event(_) | State::Seen(_) => !ages,
        State::Product(_) | State::Order(_) | State::Item(_) => true,
        // No change says so: see below.
        State::SetAside(_) => false,
    };
    for Transition { key, version, after, .. } in fold(&changes, &Map::default()).transitions {
        if settled(&after) {
            expected.insert(key, (version, after));
        }
    }
    let stored = items.entities.iter().filter(|(_, entity)| settled(&entity.known.state));
    let stored: BTreeMap<Key, _> =
        stored.map(|(key, entity)| (key.clone(), (entity.known.version, entity.known.state.clone()))).collect();
    for key in stored.keys().chain(expected.keys()) {
        assert_eq!(stored.get(key), expected.get(key), "I4: {key:?} is not as its newest record says");
    }
}

fn lanes_commit_one_plan_after_the_other(world: &World) {
    let mut last = BTreeMap::new();
    for committed in &world.committed {
        let seq = last.insert(committed.lane.clone(), committed.seq);
        assert_eq!(committed.seq, seq.unwrap_or(0) + 1, "lane {} skips a seq", committed.lane);
    }
}

/// Every broken record stands in the quarantine, and is known as set aside once; what was redriven, as it was mended.
fn bad_records_are_set_aside_or_count(world: &World, partitions: &[Partition], settings: &Settings) -> Vec<Sent> {
    let (mut expected, mut redriven) = (BTreeSet::new(), Vec::new());
    for (origin, _) in broken(partitions) {
        let lane = Lane::new(&origin.source, &origin.topic, origin.partition, 0).id;
        let known = set_aside(world, &lane, origin.offset).expect("a broken record is known as set aside");
        assert!(known.redriven || settings.now_ms > NOW_MS, "{origin:?} was not redriven in the end");
        if known.redriven {
            let name = if origin.topic == "analytics.metrics" { "metrics" } else { "products" };
            redriven.push((name, mended(&origin.topic)));
        }
        expected.insert((origin.topic, origin.partition, origin.offset));
    }
    let mut found = BTreeSet::new();
    for body in world.objects.0.lock().unwrap().values() {
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Value = serde_json::from_slice(line).unwrap();
            let (partition, offset) = (line["partition"].as_i64().unwrap() as i32, line["offset"].as_i64().unwrap());
            found.insert((line["topic"].as_str().unwrap().to_owned(), partition, offset));
        }
    }
    assert_eq!(found, expected, "the quarantine");
    let rows = world.store.tables().rows;
    let counted = rows.iter().filter(|(key, _)| key.is_of("REJECTS"));
    let counted: i64 = counted.map(|(_, row)| row.get("records").to_whole().unwrap()).sum();
    assert_eq!(counted, expected.len() as i64, "bad records counted");
    redriven
}

/// The oracle's decimals hold fewer digits than some means have.
fn without_means(mut views: Value) -> Value {
    for category in views["categories"].as_array_mut().unwrap() {
        category.as_object_mut().unwrap().remove("averagePrice");
    }
    views
}

/// How many points each metric has, and their sum, whatever their tags.
fn by_metric(views: &Value) -> BTreeMap<(String, String), (u64, Plain)> {
    let mut metrics: BTreeMap<(String, String), (u64, Plain)> = BTreeMap::new();
    for series in views["metrics"].as_array().unwrap() {
        let text = |name: &str| series[name].as_str().unwrap().to_owned();
        let metric = metrics.entry((text("appId"), text("metricName"))).or_default();
        metric.0 += text("count").parse::<u64>().unwrap();
        metric.1 += text("sum").parse::<Plain>().unwrap();
    }
    metrics
}
