//! Rate limits: never more than the limit, at few writes, by however many instances.

use api::Lease;
use axum::Router;
use futures_util::future::join_all;
use http::StatusCode;
use proptest::prelude::*;
use tidemark_ledger::dynamo::{ApiKey, Apps, Leased, Scope};
use tidemark_ledger::{Segment, Store};
use tidemark_model::time::MINUTE_MS;
use tidemark_tests::NOW_MS;
use tidemark_tests::api::{Served, ask, get};

const SELLERS: &str = "/analytics/sellers";

/// Leases of a minute at most: a tenth of what is left each, then one by one; each instance begins with small ones,
/// and may be told that its last knowledge is old.
fn most_writes(limit: u32, instances: usize) -> f64 {
    let limit = f64::from(limit);
    10.0 * limit.ln() + 12.0 + instances as f64 * (limit.log2() + limit.log10() + 2.0)
}

/// The table's count, as its condition keeps it.
#[derive(Default)]
struct Counted {
    used: u32,
    writes: usize,
}

impl Counted {
    fn lease(&mut self, requests: u32, limit: u32) -> Leased {
        self.writes += 1;
        let given = self.used + requests <= limit;
        if given {
            self.used += requests;
        }
        Leased { given, used: self.used }
    }
}

/// Whether an instance answers a request.
fn answers(lease: &mut Lease, counted: &mut Counted, limit: u32) -> bool {
    while !lease.take() {
        let Some(requests) = lease.next(limit) else { return false };
        lease.told(requests, counted.lease(requests, limit));
    }
    true
}

proptest! {
    #[test]
    fn leases_never_add_up_to_more_than_the_limit(
        limit in 1_u32..2_000,
        asked in prop::collection::vec(0_usize..8, 1..3_000),
    ) {
        let (mut counted, mut leases) = (Counted::default(), [Lease::default(); 8]);
        let (mut answered, mut refused) = (0, false);
        for instance in asked.iter().copied() {
            let answer = answers(&mut leases[instance], &mut counted, limit);
            answered += u32::from(answer);
            if !answer && !refused {
                // What was leased and not used is no more than what was used, and one each.
                refused = true;
                prop_assert!(limit <= 2 * answered + 8, "{answered} of {limit}");
            }
        }
        prop_assert!(answered <= limit);
        prop_assert!(refused || answered as usize == asked.len());
        prop_assert!((counted.writes as f64) <= most_writes(limit, 8), "{} writes", counted.writes);
        prop_assert!(counted.writes <= asked.len() + 8 * 6, "{} writes", counted.writes);
    }

    #[test]
    fn one_instance_gives_all_of_the_limit(limit in 1_u32..5_000) {
        let (mut counted, mut lease) = (Counted::default(), Lease::default());
        for _ in 0..limit {
            prop_assert!(answers(&mut lease, &mut counted, limit));
        }
        prop_assert!(!answers(&mut lease, &mut counted, limit));
        let writes = counted.writes;
        prop_assert!((writes as f64) <= most_writes(limit, 1));
        // It knows, and asks no more.
        prop_assert!(!answers(&mut lease, &mut counted, limit) && counted.writes == writes);
    }
}

async fn statuses(routers: &[Router], key: &str, requests: usize) -> Vec<StatusCode> {
    let asked = (0..requests).map(|n| ask(&routers[n % routers.len()], get(key, SELLERS)));
    join_all(asked).await.iter().map(|answered| answered.status).collect()
}

fn count(statuses: &[StatusCode], status: StatusCode) -> usize {
    statuses.iter().filter(|found| **found == status).count()
}

/// What the state table has of a caller's first minute.
async fn used(served: &Served, key: &str, limit: u32) -> u32 {
    let id = key.split('_').nth(1).unwrap();
    let asked = served.api.ledger.store().lease(&format!("key:{id}"), NOW_MS, limit, limit).await.unwrap();
    assert!(!asked.value.given);
    asked.value.used
}

#[tokio::test]
async fn instances_beside_each_other_never_answer_more_than_the_limit() {
    let limit = [("RATE_LIMIT_PER_MINUTE", "50")];
    let served = Served::set_up(&limit).await;
    let routers: Vec<Router> = (0..4).map(|_| served.beside(&limit)).collect();
    let key = served.key_for(&[Scope::Read], Apps::All).await;
    let statuses = statuses(&routers, &key, 200).await;
    assert_eq!(count(&statuses, StatusCode::OK), 50);
    assert_eq!(count(&statuses, StatusCode::TOO_MANY_REQUESTS), 150);
    assert_eq!(used(&served, &key, 50).await, 50);

    // The next minute is another, for each of them.
    served.pass(MINUTE_MS);
    let statuses = self::statuses(&routers, &key, 100).await;
    assert_eq!(count(&statuses, StatusCode::OK), 50);
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_go_on() {
    let served = Served::set_up(&[("RATE_LIMIT_PER_MINUTE", "3")]).await;
    served.pass(20_500);
    let key = served.key_for(&[Scope::Read], Apps::All).await;
    for remaining in ["2", "1", "0"] {
        let answered = served.get_as(&key, SELLERS).await;
        assert_eq!(answered.status, StatusCode::OK);
        assert_eq!(answered.headers["ratelimit-remaining"], remaining);
        assert_eq!(answered.headers["ratelimit-limit"], "3");
        assert_eq!(answered.headers["ratelimit-reset"], "40");
    }
    let refused = served.get_as(&key, SELLERS).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers["retry-after"], "40");
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    // Another caller is not disturbed, and in 40 s all is well.
    assert_eq!(served.get(SELLERS).await.status, StatusCode::OK);
    served.pass(39_499);
    assert_eq!(served.get_as(&key, SELLERS).await.status, StatusCode::TOO_MANY_REQUESTS);
    served.pass(501);
    assert_eq!(served.get_as(&key, SELLERS).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_key_may_have_a_limit_of_its_own_and_none() {
    let served = Served::set_up(&[("RATE_LIMIT_PER_MINUTE", "2")]).await;
    for (own, answered) in [(Some(5), 5), (Some(0), 20), (None, 2)] {
        let key = served.key_for(&[Scope::Read], Apps::All).await;
        let stored = served.api.ledger.store().api_key(key.split('_').nth(1).unwrap()).await.unwrap().value.unwrap();
        let stored = ApiKey { per_minute: own, ..stored };
        served.api.ledger.store().put_api_key(&stored).await.unwrap();
        let statuses = statuses(std::slice::from_ref(&served.router), &key, 20).await;
        assert_eq!(count(&statuses, StatusCode::OK), answered, "{own:?}");
    }
}

#[tokio::test]
async fn what_is_counted_of_callers_is_no_entity_and_no_row() {
    let served = Served::set_up(&[("RATE_LIMIT_PER_MINUTE", "100")]).await;
    for _ in 0..5 {
        assert_eq!(served.get(SELLERS).await.status, StatusCode::OK);
    }
    let store = served.api.ledger.store();
    let (states, next) = store.states(Segment::WHOLE, None).await.unwrap().value;
    assert!(states.is_empty() && next.is_none());
    let tables = store.read_tables(NOW_MS).await.unwrap();
    assert!(tables.rows.is_empty() && tables.listed.is_empty());
    assert_eq!(used(&served, &served.key, 100).await, 7, "three leases for five requests");
}
