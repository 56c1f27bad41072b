//! The contract of lanes: cursors, plans, and the list of lanes.

use std::time::Duration;

use tidemark_ledger::{Cursor, LaneId, LaneStats, PlanId, Store, Units, WrittenPlan};

use super::{Check, checks, lane, now_ms};

pub(super) fn checks<S: Store + Clone + 'static>() -> Vec<Check<S>> {
    checks![
        a_cursor_advances_by_one_and_only_when_nothing_is_pending,
        a_cursor_reads_back_as_it_was_set,
        only_the_present_seq_is_finished,
        one_of_many_advances_at_once_wins,
        a_plan_reads_back_byte_for_byte,
        plans_name_the_one_before_them,
        conflicts_are_noted_by_plan_and_may_be_noted_again,
        a_cursor_is_created_only_where_there_is_none,
        a_plans_numbers_count_once_and_touch_no_cursor,
        lanes_are_listed_in_pages_each_once,
    ]
}

fn cursor(seq: u64, plan: u64, through: Option<i64>) -> Cursor {
    Cursor {
        seq,
        plan: PlanId::new(1, plan),
        pending: true,
        through,
        through_ts: through.map(|through| through + 1_000),
        since_ms: now_ms(),
        name: "stores é#% 0 0".to_owned(),
    }
}

async fn advance<S: Store>(store: &S, lane: &LaneId, seq: u64) -> bool {
    store.advance(lane, &cursor(seq, seq, Some(0))).await.unwrap().value
}

async fn a_cursor_advances_by_one_and_only_when_nothing_is_pending<S: Store>(store: S) {
    let lane = lane("advance");
    assert!(!advance(&store, &lane, 2).await, "a lane begins with its first plan");
    assert_eq!(store.read_cursor(&lane).await.unwrap().value, None, "what is refused leaves nothing");
    assert!(advance(&store, &lane, 1).await);
    for seq in [1, 2] {
        assert!(!advance(&store, &lane, seq).await, "{seq} while 1 is pending");
    }
    assert!(store.finish(&lane, 1, &LaneStats::default()).await.unwrap().value);
    for seq in [1, 3] {
        assert!(!advance(&store, &lane, seq).await, "{seq} after 1");
    }
    assert!(advance(&store, &lane, 2).await);
    assert_eq!(store.read_cursor(&lane).await.unwrap().value.unwrap().plan, PlanId::new(1, 2));
}

async fn a_cursor_reads_back_as_it_was_set<S: Store>(store: S) {
    let lane = lane("cursor");
    for (seq, through) in [(1, None), (2, Some(i64::MAX - 1_000)), (3, Some(0))] {
        let cursor = cursor(seq, u64::MAX, through);
        assert!(store.advance(&lane, &cursor).await.unwrap().value);
        assert_eq!(store.read_cursor(&lane).await.unwrap().value, Some(cursor.clone()));
        assert!(store.finish(&lane, seq, &LaneStats::default()).await.unwrap().value);
        let finished = Cursor { pending: false, ..cursor };
        assert_eq!(store.read_cursor(&lane).await.unwrap().value, Some(finished));
    }
    // A plan that covers no offsets moves nothing.
    assert!(store.advance(&lane, &cursor(4, 4, None)).await.unwrap().value);
    assert_eq!(store.read_cursor(&lane).await.unwrap().value.unwrap().through, Some(0));
}

async fn only_the_present_seq_is_finished<S: Store>(store: S) {
    let lane = lane("finish");
    assert!(!store.finish(&lane, 1, &LaneStats::default()).await.unwrap().value, "there is nothing to finish");
    assert_eq!(store.read_cursor(&lane).await.unwrap().value, None, "what is refused leaves nothing");
    advance(&store, &lane, 1).await;
    for is_first in [true, false] {
        assert_eq!(store.finish(&lane, 1, &LaneStats::default()).await.unwrap().value, is_first, "it may be repeated");
        assert!(!store.read_cursor(&lane).await.unwrap().value.unwrap().pending);
    }
    advance(&store, &lane, 2).await;
    for seq in [1, 3] {
        assert!(!store.finish(&lane, seq, &LaneStats::default()).await.unwrap().value, "{seq} while 2 is pending");
        assert!(store.read_cursor(&lane).await.unwrap().value.unwrap().pending);
    }
}

async fn one_of_many_advances_at_once_wins<S: Store + Clone + 'static>(store: S) {
    let lane = lane("many");
    let rivals = (0..16).map(|rival| {
        let (store, lane) = (store.clone(), lane.clone());
        tokio::spawn(async move { store.advance(&lane, &cursor(1, rival, None)).await.unwrap().value })
    });
    let mut winners = Vec::new();
    for (rival, won) in rivals.collect::<Vec<_>>().into_iter().enumerate() {
        winners.extend(won.await.unwrap().then_some(rival as u64));
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    let plan = store.read_cursor(&lane).await.unwrap().value.unwrap().plan;
    assert_eq!(plan, PlanId::new(1, winners[0]), "and it is the one that stands there");
}

async fn a_plan_reads_back_byte_for_byte<S: Store>(store: S) {
    let (lane, other) = (lane("plan"), lane("plan of another"));
    let expires_s = now_ms() / 1_000 + 86_400;
    let largest = tidemark_ledger::MAX_PLAN_BYTES;
    for (id, length) in [(1, 1), (2, 256), (3, largest)] {
        let body: Vec<u8> = (0..length).map(|n| (n % 256) as u8).collect();
        let plan = PlanId::new(1, id);
        assert_eq!(store.read_plan(&lane, &plan).await.unwrap().value, None);
        for _ in 0..2 {
            store.write_plan(&lane, &plan, None, &body, expires_s).await.unwrap();
        }
        assert_eq!(store.read_plan(&lane, &plan).await.unwrap().value, Some(body), "{length} bytes");
        assert_eq!(store.read_plan(&other, &plan).await.unwrap().value, None, "plans are their lane's");
    }
}

async fn plans_name_the_one_before_them<S: Store>(store: S) {
    let (lane, expires_s) = (lane("chain"), now_ms() / 1_000 + 86_400);
    let plans = [(1, 5, None), (2, 1, Some(5)), (2, 9, Some(5)), (3, 3, Some(9))];
    for (seq, bits, previous) in plans {
        let previous = previous.map(|bits| PlanId::new(seq - 1, bits));
        store.write_plan(&lane, &PlanId::new(seq, bits), previous.as_ref(), &[7], expires_s).await.unwrap();
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = store.plans(&lane, &(1..=2), after.as_ref()).await.unwrap().value;
        found.extend(page);
        after = next;
        if after.is_none() {
            break;
        }
    }
    let expected = plans[..3].iter().map(|(seq, bits, previous)| WrittenPlan {
        plan: PlanId::new(*seq, *bits),
        previous: previous.map(|bits| PlanId::new(seq - 1, bits)),
        body: vec![7],
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
}

async fn conflicts_are_noted_by_plan_and_may_be_noted_again<S: Store>(store: S) {
    let (lane, other, expires_s) = (lane("conflicts"), lane("conflicts of another"), now_ms() / 1_000 + 86_400);
    for _ in 0..2 {
        for seq in [2, 1, 3, 10] {
            store.write_conflicts(&lane, &PlanId::new(seq, 1), &[0, 2, 10, 1_000], expires_s).await.unwrap();
        }
    }
    store.write_conflicts(&other, &PlanId::new(2, 2), &[1], expires_s).await.unwrap();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = store.conflicts(&lane, &(2..=10), after.as_ref()).await.unwrap().value;
        found.extend(page);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, [2, 3, 10].map(|seq| (PlanId::new(seq, 1), vec![0, 2, 10, 1_000])));
    assert!(store.plans(&lane, &(0..=u64::MAX), None).await.unwrap().value.0.is_empty(), "a note is no plan");
}

async fn a_cursor_is_created_only_where_there_is_none<S: Store>(store: S) {
    for through in [None, Some(7)] {
        let lane = lane(&format!("created {through:?}"));
        let restored = Cursor { pending: false, ..cursor(41, 3, through) };
        assert!(store.create_cursor(&lane, &restored).await.unwrap().value);
        assert!(!store.create_cursor(&lane, &cursor(9, 9, Some(9))).await.unwrap().value);
        assert_eq!(store.read_cursor(&lane).await.unwrap().value, Some(restored));
        assert!(!advance(&store, &lane, 41).await && advance(&store, &lane, 42).await, "it goes on from there");
    }
}

async fn a_plans_numbers_count_once_and_touch_no_cursor<S: Store>(store: S) {
    let lane = lane("numbers");
    store.register_lane(&lane, "numbers of a lane").await.unwrap();
    let mut expected = LaneStats::default();
    for (seq, read, ms) in [(1, 0.5, 7), (2, 3.0, 70_000), (3, 1_000.0, 7)] {
        let stats = LaneStats::of_plan(seq as usize % 2, Units { read, write: 2.0 }, Duration::from_millis(ms));
        let cursor = Cursor { name: "numbers of a lane".to_owned(), ..cursor(seq, seq, None) };
        assert!(!store.finish(&lane, seq, &stats).await.unwrap().value);
        store.advance(&lane, &cursor).await.unwrap();
        for is_first in [true, false] {
            assert_eq!(store.finish(&lane, seq, &stats).await.unwrap().value, is_first);
        }
        expected += &stats;
        let finished = Cursor { pending: false, ..cursor };
        assert_eq!(store.read_cursor(&lane).await.unwrap().value, Some(finished.clone()));
        let mut found = store.lane_stats().await.unwrap().value;
        found.retain(|(cursor, _)| cursor.name == finished.name);
        assert_eq!(found, [(finished, expected.clone())]);
    }
}

async fn lanes_are_listed_in_pages_each_once<S: Store>(store: S) {
    let mut expected: Vec<LaneId> = (0..9).map(|n| lane(&format!("listed {n}"))).collect();
    for lane in expected.iter().chain(&expected) {
        store.register_lane(lane, "stores é#% 0 0").await.unwrap();
    }
    expected.sort();
    let mut listed: Vec<LaneId> = Vec::new();
    loop {
        let page = store.lanes(listed.last()).await.unwrap().value;
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    // Another check's is listed, too.
    listed.retain(|lane| expected.contains(lane));
    assert_eq!(listed, expected);
}
