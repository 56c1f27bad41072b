//! The contract of rows: additions and their marks, extremes, places, floors.

use std::collections::BTreeMap;

use tidemark_ledger::{Floor, LaneId, Row, Segment, Store};
use tidemark_model::rows::TTL;
use tidemark_model::views::{CURRENT, Ranking, rankings};
use tidemark_model::{Decimal, Key, Measures};

use super::entities::ODD_IDS;
use super::{Check, checks, lane, now_ms};

pub(super) fn checks<S: Store + Clone + 'static>() -> Vec<Check<S>> {
    checks![
        a_row_is_added_to_once_per_plan,
        additions_beside_each_other_all_count_once,
        what_cancels_out_reads_as_nothing,
        sums_are_exact_to_28_digits,
        sums_are_exact_to_38_digits,
        an_addition_of_150_numbers_is_one_request,
        the_newest_ttl_counts,
        an_extreme_is_added_only_where_there_is_none,
        an_extreme_only_moves_outwards,
        a_competing_row_keeps_what_it_was_before_the_lanes_addition,
        a_place_is_given_only_under_the_numbers_that_were_seen,
        a_place_is_taken_only_where_it_is_the_one_that_was_seen,
        a_floor_is_set_only_over_the_one_that_was_read,
        a_row_is_created_only_where_there_is_none,
        any_id_makes_a_row,
        rows_are_listed_in_pages_each_once,
        only_an_empty_row_may_expire_and_an_addition_keeps_it,
        a_scan_tells_the_marks_of_all_lanes,
    ]
}

pub(super) fn ranking() -> &'static Ranking {
    rankings().next().unwrap()
}

pub(super) fn n(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(super) fn measures(numbers: &[(&str, &str)]) -> Measures {
    let mut measures = Measures::default();
    numbers.iter().for_each(|(name, number)| measures.set(name, n(number)));
    measures
}

/// Adds to a row that does not compete.
async fn add<S: Store>(store: &S, lane: &LaneId, seq: u64, key: &Key, delta: &[(&str, &str)]) -> Option<Row> {
    store.add_row(lane, seq, key, &measures(delta), None).await.unwrap().value
}

/// Adds to a row that competes, or sees it.
async fn compete<S: Store>(store: &S, lane: &LaneId, seq: u64, key: &Key, delta: &[(&str, &str)]) -> Row {
    store.add_row(lane, seq, key, &measures(delta), Some(ranking())).await.unwrap().value.unwrap()
}

/// Gives a row its place.
async fn place<S: Store>(store: &S, key: &Key, seen: &Row, rank: &str) -> bool {
    store.set_rank(key, ranking(), seen, Some(n(rank))).await.unwrap().value
}

/// The rows whose partition key begins so.
async fn listed<S: Store>(store: &S, kind: &str) -> (BTreeMap<Key, Row>, usize) {
    let (mut rows, mut after, mut pages) = (BTreeMap::new(), None, 0);
    loop {
        let (page, next) = store.rows(Segment::WHOLE, after.as_ref()).await.unwrap().value;
        pages += 1;
        for (key, row) in page.into_iter().filter(|(key, _)| key.is_of(kind)) {
            assert!(rows.insert(key.clone(), row.unwrap()).is_none(), "{key:?} is listed twice");
        }
        after = next;
        if after.is_none() {
            return (rows, pages);
        }
    }
}

async fn numbers<S: Store>(store: &S, key: &Key) -> Option<Measures> {
    let kind = key.pk.split('#').next().unwrap();
    listed(store, kind).await.0.remove(key).map(|row| row.measures)
}

async fn a_row_is_added_to_once_per_plan<S: Store>(store: S) {
    let (first, other, key) = (lane("adds"), lane("adds of another"), Key::of("ADDS", "1", CURRENT));
    for (lane, seq, expected) in [
        (&first, 2, "2.5"),
        (&first, 2, "2.5"),
        (&first, 1, "2.5"),
        (&other, 1, "5"),
        (&first, 2, "5"),
        (&first, 9, "7.5"),
        (&other, 1, "7.5"),
        (&other, 2, "10"),
    ] {
        assert_eq!(add(&store, lane, seq, &key, &[("a", "2.5"), ("b", "-1")]).await, None, "nothing needs an answer");
        let numbers = numbers(&store, &key).await.unwrap();
        assert_eq!(numbers.get("a"), n(expected), "{seq}");
        assert_eq!(numbers.get("b"), n(&format!("-{}", n(expected).to_f64() / 2.5)), "{seq}");
    }
}

async fn additions_beside_each_other_all_count_once<S: Store + Clone + 'static>(store: S) {
    let key = Key::of("BESIDE", "1", CURRENT);
    // Twelve lanes, each addition three times.
    let tasks = (0..36).map(|task| {
        let (store, lane, key) = (store.clone(), lane(&format!("beside {}", task % 12)), key.clone());
        tokio::spawn(async move {
            for seq in 1..4 {
                add(&store, &lane, seq, &key, &[("a", "0.000000000001")]).await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(numbers(&store, &key).await.unwrap().get("a"), n("0.000000000036"));
}

async fn what_cancels_out_reads_as_nothing<S: Store>(store: S) {
    let (lane, key) = (lane("cancels"), Key::of("CANCELS", "1", CURRENT));
    for (seq, a) in [(1, "0.000000000001"), (2, "12345678901234"), (3, "-12345678901234.000000000001")] {
        add(&store, &lane, seq, &key, &[("a", a)]).await;
    }
    assert_eq!(numbers(&store, &key).await, Some(Measures::default()));
}

async fn exact<S: Store>(store: S, id: &str, parts: [&str; 2], sum: &str) {
    let (lane, key) = (lane(id), Key::of("EXACT", id, CURRENT));
    let negative = |text: &str| format!("-{text}");
    add(&store, &lane, 1, &key, &[("a", parts[0]), ("b", &negative(parts[0]))]).await;
    add(&store, &lane, 2, &key, &[("a", parts[1]), ("b", &negative(parts[1]))]).await;
    assert_eq!(numbers(&store, &key).await, Some(measures(&[("a", sum), ("b", &negative(sum))])));
}

async fn sums_are_exact_to_28_digits<S: Store>(store: S) {
    exact(store, "28", ["1234567890123455.123456789012", "1"], "1234567890123456.123456789012").await;
}

async fn sums_are_exact_to_38_digits<S: Store>(store: S) {
    let parts = ["98765432109876543210987653.123456789012", "1.000000000001"];
    exact(store, "38", parts, "98765432109876543210987654.123456789013").await;
}

async fn an_addition_of_150_numbers_is_one_request<S: Store>(store: S) {
    let (lane, key) = (lane("wide"), Key::of("WIDE", "1", CURRENT));
    let names: Vec<String> = (0..150).map(|n| format!("p{n}")).collect();
    let delta: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    for seq in [1, 1] {
        add(&store, &lane, seq, &key, &delta).await;
    }
    assert_eq!(numbers(&store, &key).await, Some(measures(&delta)));
}

async fn the_newest_ttl_counts<S: Store>(store: S) {
    let (lane, key) = (lane("ttl"), Key::of("EXPIRING", "1", CURRENT));
    let day = |days: i64| (now_ms() / 1_000 + days * 86_400).to_string();
    for (seq, ttl, expected) in [(1, day(3), day(3)), (2, day(5), day(5)), (3, day(2), day(2)), (3, day(9), day(2))] {
        assert_eq!(add(&store, &lane, seq, &key, &[(TTL, &ttl), ("a", "1")]).await, None);
        // A second may pass between the two.
        let kept = numbers(&store, &key).await.unwrap().get(TTL).to_whole().unwrap();
        assert!((kept - expected.parse::<i64>().unwrap()).abs() <= 2, "{kept} for {expected}");
    }
}

async fn an_extreme_is_added_only_where_there_is_none<S: Store>(store: S) {
    let (lane, key) = (lane("extremes"), Key::of("EXTREMES", "1", CURRENT));
    let row = add(&store, &lane, 4, &key, &[("count", "1"), ("min", "0"), ("max", "0")]).await.unwrap();
    assert_eq!(row.measures, measures(&[("count", "1"), ("min", "0"), ("max", "0")]), "zero is a value");
    for seq in [5, 5, 3] {
        let row = add(&store, &lane, seq, &key, &[("count", "2"), ("min", "-7"), ("max", "7")]).await.unwrap();
        let expected = measures(&[("count", "3"), ("min", "0"), ("max", "0")]);
        assert_eq!((row.measures, row.mark), (expected, 5), "{seq}: a refusal shows the row, too");
    }
}

async fn an_extreme_only_moves_outwards<S: Store>(store: S) {
    let (lane, key) = (lane("outwards"), Key::of("OUTWARDS", "1", CURRENT));
    let set = |name, value: &'static str| {
        let (store, key, value) = (&store, &key, n(value));
        async move { store.set_extreme(key, name, value).await.unwrap().value }
    };
    assert!(!set("min", "1").await, "a row that is not there has nothing to move");
    assert_eq!(numbers(&store, &key).await, None, "what is refused leaves nothing");
    add(&store, &lane, 1, &key, &[("min", "5"), ("count", "1")]).await;
    assert!(!set("max", "1").await, "nor has one without it");
    for (name, value, moves) in [
        ("min", "5", false),
        ("min", "5.000000000001", false),
        ("min", "4.999999999999", true),
        ("min", "-10", true),
        ("min", "-9", false),
        ("min", "-10", false),
    ] {
        assert_eq!(set(name, value).await, moves, "{name} {value}");
    }
    add(&store, &lane, 2, &key, &[("max", "-10")]).await;
    for (value, moves) in [("-11", false), ("-9", true), ("100", true), ("99", false), ("100", false)] {
        assert_eq!(set("max", value).await, moves, "max {value}");
    }
    assert_eq!(numbers(&store, &key).await, Some(measures(&[("min", "-10"), ("max", "100"), ("count", "1")])));
}

async fn a_competing_row_keeps_what_it_was_before_the_lanes_addition<S: Store>(store: S) {
    let (first, other) = (lane("before"), lane("before of another"));
    let (key, present) = (Key::of(ranking().kind, "before", CURRENT), ranking().present);
    for (lane, seq, delta, now, before) in [
        (&first, 1, "1", "1", "0"),
        (&first, 1, "1", "1", "0"),
        (&other, 5, "2", "3", "1"),
        (&first, 1, "1", "3", "0"),
        (&first, 2, "-3", "0", "3"),
        (&other, 5, "2", "0", "1"),
        (&first, 3, "4", "4", "0"),
        (&other, 6, "1", "5", "4"),
    ] {
        let row = compete(&store, lane, seq, &key, &[(present, delta)]).await;
        let expected =
            Row { measures: measures(&[(present, now)]), rank: None, mark: seq, before: n(before), ..Row::default() };
        assert_eq!(row, expected, "{delta} at {seq}");
    }
    let late = compete(&store, &first, 1, &key, &[(present, "1")]).await;
    assert_eq!((late.mark, late.before), (3, n("0")), "who is late sees the mark above its own");
}

async fn a_place_is_given_only_under_the_numbers_that_were_seen<S: Store>(store: S) {
    let (lane, key) = (lane("places"), Key::of(ranking().kind, "places", CURRENT));
    let Ranking { by, present, .. } = *ranking();
    let first = compete(&store, &lane, 1, &key, &[(by, "7.5"), (present, "1")]).await;
    for _ in 0..2 {
        assert!(place(&store, &key, &first, "7.5").await, "it may be repeated");
    }
    let seen = compete(&store, &lane, 1, &key, &[]).await;
    assert_eq!((seen.rank, seen.measures), (Some(n("7.5")), measures(&[(by, "7.5"), (present, "1")])));
    for moved in [&[(by, "1")][..], &[(present, "1")][..]] {
        let before = compete(&store, &lane, 0, &key, &[]).await;
        let after = compete(&store, &lane, before.mark + 1, &key, moved).await;
        assert!(!place(&store, &key, &before, "9").await, "{moved:?}");
        assert!(place(&store, &key, &after, "8.5").await, "{moved:?}");
    }
    // What came to zero reads as what was never there.
    let zero = compete(&store, &lane, 9, &key, &[(by, "-8.5"), (present, "-2")]).await;
    assert_eq!(zero.measures, Measures::default());
    assert!(place(&store, &key, &zero, "0").await);
    let fresh = Key::of(ranking().kind, "places, fresh", CURRENT);
    let row = compete(&store, &lane, 9, &fresh, &[]).await;
    assert!(place(&store, &fresh, &row, "0").await);
}

async fn a_place_is_taken_only_where_it_is_the_one_that_was_seen<S: Store>(store: S) {
    let (lane, key) = (lane("taken"), Key::of(ranking().kind, "taken", CURRENT));
    let Ranking { by, present, .. } = *ranking();
    let row = compete(&store, &lane, 1, &key, &[(by, "7.5"), (present, "1")]).await;
    let take = |seen: Row| {
        let (store, key) = (&store, &key);
        async move { store.set_rank(key, ranking(), &seen, None).await.unwrap().value }
    };
    let under = |rank: &str| Row { rank: Some(n(rank)), ..row.clone() };
    assert!(!take(under("7.5")).await, "it has none");
    assert!(place(&store, &key, &row, "7.5").await);
    assert!(!take(under("7")).await);
    assert!(!take(Row { measures: measures(&[(by, "7"), (present, "1")]), ..under("7.5") }).await);
    assert!(take(under("7.5")).await);
    assert_eq!(compete(&store, &lane, 0, &key, &[]).await.rank, None);
    assert!(!take(under("7.5")).await, "it is gone");
}

async fn a_floor_is_set_only_over_the_one_that_was_read<S: Store>(store: S) {
    let ranking = rankings().last().unwrap();
    let set = |read, floor| {
        let store = &store;
        async move { store.set_floor(ranking, read, floor).await.unwrap().value }
    };
    let at = |floor: &str, shown: &str, refreshed| Floor { floor: Some(n(floor)), shown: Some(n(shown)), refreshed };
    let none = Floor::default();
    assert_eq!(store.read_floor(ranking).await.unwrap().value, none);
    assert!(!set(at("1", "1", 0), at("2", "2", 0)).await, "there is none yet");
    let mut now = none;
    for next in [
        at("5", "5", 0),
        at("-2.5", "5", 1),
        at("-2.5", "-2.5", 1),
        Floor { floor: None, shown: Some(n("3")), refreshed: 2 },
        Floor { floor: None, shown: None, refreshed: 2 },
        at("1", "1", 2),
    ] {
        for stale in [none, at("4", "4", now.refreshed), Floor { refreshed: now.refreshed + 1, ..now }] {
            if (stale.floor, stale.refreshed) != (now.floor, now.refreshed) {
                assert!(!set(stale, at("99", "99", 9)).await, "{stale:?} over {now:?}");
            }
        }
        assert!(set(now, next).await, "{next:?} over {now:?}");
        assert_eq!(store.read_floor(ranking).await.unwrap().value, next);
        now = next;
    }
}

async fn a_row_is_created_only_where_there_is_none<S: Store>(store: S) {
    let (first, other, key) = (lane("creates"), lane("creates of another"), Key::of("CREATES", "1", CURRENT));
    let marks = [(first.clone(), 4), (other.clone(), 2)];
    let create = |key: &Key, a| {
        let (store, key, row, marks) = (&store, key.clone(), measures(&[("a", a)]), &marks);
        async move { store.create_row(&key, &row, marks).await.unwrap().value }
    };
    assert!(create(&key, "7").await);
    assert!(!create(&key, "7").await, "a repetition is refused");
    for (lane, seq, expected) in [(&first, 4, "7"), (&other, 3, "8"), (&other, 2, "8"), (&first, 5, "9")] {
        add(&store, lane, seq, &key, &[("a", "1")]).await;
        assert!(!create(&key, "99").await);
        assert_eq!(numbers(&store, &key).await, Some(measures(&[("a", expected)])), "{seq}");
    }
    let added = Key::of("CREATES", "2", CURRENT);
    add(&store, &first, 1, &added, &[("a", "1")]).await;
    assert!(!create(&added, "99").await, "an addition has made it");
    assert_eq!(numbers(&store, &added).await, Some(measures(&[("a", "1")])));
}

async fn any_id_makes_a_row<S: Store>(store: S) {
    let lane = lane("odd rows");
    let long = "é".repeat(500);
    let ids = ODD_IDS.iter().copied().chain([long.as_str()]);
    let keys: Vec<Key> = ids.flat_map(|id| [Key::parts(&["ODD", id], &[id, "x"]), Key::of("ODD", id, "x")]).collect();
    for (key, n) in keys.iter().zip(1..) {
        add(&store, &lane, 1, key, &[("a", &n.to_string())]).await;
    }
    let (rows, _) = listed(&store, "ODD").await;
    let found: BTreeMap<&Key, Decimal> = rows.iter().map(|(key, row)| (key, row.measures.get("a"))).collect();
    let expected: BTreeMap<&Key, Decimal> = keys.iter().zip((1..).map(Decimal::whole)).collect();
    assert_eq!(found, expected);
}

/// More than the megabyte that DynamoDB answers at once.
async fn rows_are_listed_in_pages_each_once<S: Store>(store: S) {
    let lane = lane("pages");
    let names: Vec<String> = (0..150).map(|n| format!("{}{n}", "number".repeat(10))).collect();
    let delta: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let keys: Vec<Key> = (0..120).map(|n| Key::of("PAGES", &n.to_string(), CURRENT)).collect();
    for key in &keys {
        add(&store, &lane, 1, key, &delta).await;
    }
    let (rows, pages) = listed(&store, "PAGES").await;
    assert!(pages > 1, "all came at once: the check shows nothing");
    assert_eq!(rows.len(), keys.len());
    assert!(rows.values().all(|row| row.measures == measures(&delta)));
}

async fn only_an_empty_row_may_expire_and_an_addition_keeps_it<S: Store>(store: S) {
    let (lane, key) = (lane("expiring rows"), Key::of(ranking().kind, "expiring", CURRENT));
    let in_days = |days: i64| now_ms() / 1_000 + days * 86_400;
    let expire = async |s: i64| store.expire_row(&key, ranking(), s).await.unwrap().value;
    let one = [(ranking().by, "2.5"), (ranking().present, "1")];
    let none = [(ranking().by, "-2.5"), (ranking().present, "-1")];
    assert!(!expire(in_days(9)).await, "there is no row, and none comes of it");
    assert_eq!(compete(&store, &lane, 1, &key, &one).await.measures.find(TTL), None);
    assert!(!expire(in_days(9)).await, "it is not empty");
    for (seq, expires_s) in [(2, in_days(9)), (4, in_days(8))] {
        assert_eq!(compete(&store, &lane, seq, &key, &none).await.measures.find(TTL), None);
        assert!(expire(expires_s).await);
        assert!(!expire(in_days(7)).await, "the first word counts");
        let refused = compete(&store, &lane, seq, &key, &none).await;
        assert_eq!(refused.measures.find(TTL), Some(Decimal::whole(expires_s)), "what is refused keeps nothing");
        let kept = compete(&store, &lane, seq + 1, &key, &one).await;
        assert_eq!((kept.measures.find(TTL), kept.before, kept.mark), (None, Decimal::ZERO, seq + 1));
    }
}

async fn a_scan_tells_the_marks_of_all_lanes<S: Store>(store: S) {
    let (key, mut expected) = (Key::of("SCANNED", "1", CURRENT), Vec::new());
    for (n, seq) in [(1, 7), (2, 1), (3, 12)] {
        let lane = lane(&format!("scanned {n}"));
        compete(&store, &lane, seq, &key, &[("a", "1")]).await;
        expected.push((lane, seq));
    }
    add(&store, &LaneId::AUDIT, 2, &key, &[("a", "1")]).await;
    expected.push((LaneId::AUDIT, 2));
    expected.sort();
    let (mut rows, _) = listed(&store, "SCANNED").await;
    let row = rows.remove(&key).unwrap();
    assert_eq!((row.marks, row.mark, row.measures), (expected, 2, measures(&[("a", "4")])));
}
