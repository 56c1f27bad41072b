//! A caller sees its apps and nothing else, whatever it asks: every operation, asked by everybody.
//!
//! A new route needs a line in [`LINES`]; without one the test fails.

mod lines;

use std::collections::BTreeSet;

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tidemark_ledger::dynamo::{Apps, Scope};
use tidemark_tests::api::{Answered, Served, get};
use tidemark_tests::tokens::Issuer;
use tidemark_tests::values::{change, item, metric, tracked, with};
use tidemark_tests::{NOW_MS, envelope, handle, product, records};

use super::auth::ends;
use lines::LINES;

/// To whom belongs what an operation shows or takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// To everybody: no key is needed.
    Everybody,
    /// To the shop: to callers of all apps.
    Shop,
    /// To the app that the request names.
    App,
    /// To whoever asks: each caller is shown its own apps.
    Asking,
}

/// How an operation is asked. In paths and bodies, `MARK` stands for what all ids of an app begin with, and
/// [`SHOP`] for those of the shop: `MARK-app`, `MARK-user`, `MARK-session`, `MARK-type`, `MARK-name`, `MARK-metric`,
/// `MARK-tag`; `zqshop-seller-{0 to 2}`, `zqshop-category`, `zqshop-customer`.
struct Line {
    /// As the description has it.
    operation: &'static str,
    of: Of,
    scope: Scope,
    path: &'static str,
    /// Of a POST.
    body: &'static str,
    /// What an answer to who may see it has in it.
    shows: &'static str,
}

/// What all ids begin with: of the app that is asked for, of another, of the shop.
const ASKED: &str = "zqred";
/// See [`ASKED`].
const OTHER: &str = "zqblue";
/// See [`ASKED`].
const SHOP: &str = "zqshop";

impl Line {
    fn request(&self, credentials: &str, cursor: Option<&str>) -> Request<Body> {
        let mut path = self.path.replace("MARK", ASKED);
        if let Some(cursor) = cursor {
            path.push_str(&format!("{}cursor={cursor}", if path.contains('?') { '&' } else { '?' }));
        }
        let mut request = get(credentials, &path);
        if self.operation.starts_with("POST ") {
            *request.method_mut() = http::Method::POST;
            request.headers_mut().insert("Content-Type", http::HeaderValue::from_static("application/json"));
            *request.body_mut() = Body::from(self.body.replace("MARK", ASKED));
        }
        request
    }

    /// What a caller is answered: `None` if it is shown what it may see.
    fn refusal(&self, caller: &Caller) -> Option<StatusCode> {
        if self.of == Of::Everybody {
            return None;
        }
        let Some((scopes, apps)) = &caller.may else { return Some(StatusCode::UNAUTHORIZED) };
        let sees = match self.of {
            Of::Everybody | Of::Asking => true,
            Of::Shop => *apps == Apps::All,
            Of::App => apps.holds("zqred-app"),
        };
        (!sees || !scopes.contains(&self.scope)).then_some(StatusCode::FORBIDDEN)
    }
}

struct Caller {
    name: String,
    credentials: String,
    /// Nothing, for one who is nobody.
    may: Option<(Vec<Scope>, Apps)>,
}

impl Caller {
    fn nobody(name: &str, credentials: String) -> Self {
        Self { name: name.to_owned(), credentials, may: None }
    }

    /// What must not be in any answer to it.
    fn never(&self, line: &Line) -> Vec<&'static str> {
        match &self.may {
            _ if line.refusal(self).is_some() => vec![ASKED, OTHER, SHOP],
            Some((_, Apps::All)) => vec![],
            Some((_, apps)) if apps.holds("zqred-app") => vec![OTHER, SHOP],
            Some(_) => vec![ASKED, SHOP],
            None => vec![ASKED, OTHER, SHOP],
        }
    }
}

/// Everybody who may ask: by key and by token.
async fn callers(served: &Served, issuer: &Issuer) -> Vec<Caller> {
    let everything = || Scope::ALL.map(|(_, scope)| scope).to_vec();
    let of = |app: &str| Apps::Of([app.to_owned()].into());
    let mut callers = vec![Caller::nobody("no key", String::new())];
    callers.push(Caller::nobody("a wrong key", format!("{}0", served.key)));
    callers.push(Caller::nobody("an unknown key", "tm_0123456789ab_0123456789abcdef".to_owned()));
    let revoked = served.key_for(&everything(), Apps::All).await;
    ends(served, &revoked, NOW_MS).await;
    callers.push(Caller::nobody("a revoked key", revoked));
    let claims = issuer.claims("read ingest admin", json!("*"));
    callers.push(Caller::nobody("an old token", issuer.signer.sign(&with(&claims, json!({"exp": 1_700_000_000})))));
    callers.push(Caller::nobody("a forged token", format!("{}A", issuer.signer.sign(&claims))));
    let mut rights = vec![
        ("another app", everything(), of("zqblue-app")),
        ("no app", everything(), Apps::Of(BTreeSet::new())),
        ("the app", everything(), of("zqred-app")),
        ("all apps", everything(), Apps::All),
    ];
    rights.extend(everything().into_iter().map(|without| {
        let scopes = everything().into_iter().filter(|scope| *scope != without).collect();
        ("all apps without a scope", scopes, Apps::All)
    }));
    for (name, scopes, apps) in rights {
        let credentials = served.key_for(&scopes, apps.clone()).await;
        callers.push(Caller {
            name: format!("a key of {name}"),
            credentials,
            may: Some((scopes.clone(), apps.clone())),
        });
        let words: Vec<String> = scopes.iter().map(Scope::to_string).collect();
        let claim = match &apps {
            Apps::All => json!("*"),
            Apps::Of(apps) => json!(apps),
        };
        let claims = with(&issuer.claims(&words.join(" "), claim), json!({"sub": format!("{name} {words:?}")}));
        let credentials = issuer.signer.sign(&claims);
        callers.push(Caller { name: format!("a token of {name}"), credentials, may: Some((scopes, apps)) });
    }
    callers
}

/// Data of two apps and of the shop, marked by their ids.
async fn sent(served: &Served) {
    let (mut events, mut points) = (Vec::new(), Vec::new());
    for mark in [ASKED, OTHER] {
        let app = format!("{mark}-app");
        for n in 0..3 {
            let event = json!({
                "eventId": format!("{mark}-event-{n}"), "eventType": format!("{mark}-type"),
                "eventName": format!("{mark}-name"), "sessionId": format!("{mark}-session"),
                "properties": {"text": format!("{mark}-property")}, "timestamp": NOW_MS - 60_000 + n,
            });
            events.push(with(&tracked(&app, &format!("{mark}-user")), event).to_string());
            let tags = json!({"tag": format!("{mark}-tag")});
            let point = json!({"metricName": format!("{mark}-metric"), "timestamp": NOW_MS - 60_000 + n});
            points.push(with(&metric(&app, n, tags), point).to_string());
        }
    }
    let products: Vec<String> =
        (0..3).map(|n| product(n, "Created", n, &format!("zqshop-seller-{n}"), "zqshop-category", "2.50", n)).collect();
    let order = json!({"id": 1, "customer_id": "zqshop-customer", "total_amount": "7.00", "status": "zqshop-status",
        "created_at": NOW_MS - 60_000});
    let orders = [change("orders", "c", 1, Value::Null, order).to_string()];
    let items = [change("order_items", "c", 2, Value::Null, item(1, 7, 2, "3.50")).to_string()];
    let payload = envelope(&json!({
        "product.created-0": records("product.created", 0, &products),
        "db.public.orders-0": records("db.public.orders", 0, &orders),
        "db.public.order_items-0": records("db.public.order_items", 0, &items),
        "analytics.events-0": records("analytics.events", 0, &events),
        "analytics.metrics-0": records("analytics.metrics", 0, &points),
    }));
    let report = handle(&served.stack.aggregate, payload).await;
    assert!(report.rejects.is_empty(), "{report:?}");
}

/// The operations that the description has.
fn operations() -> BTreeSet<String> {
    let description = serde_json::to_value(api::openapi()).unwrap();
    let paths = description["paths"].as_object().unwrap().clone();
    let methods = ["get", "put", "post", "delete", "patch", "head", "options", "trace"];
    let described = |(path, item): (String, Value)| {
        let found = methods.iter().filter(|method| item.get(**method).is_some());
        found.map(|method| format!("{} {path}", method.to_uppercase())).collect::<Vec<_>>()
    };
    paths.into_iter().flat_map(described).collect()
}

#[test]
fn the_matrix_knows_every_operation() {
    let known: BTreeSet<String> = LINES.iter().map(|line| line.operation.to_owned()).collect();
    assert_eq!(operations(), known, "each operation needs a line in this file's table");
}

fn shows_nothing_else(line: &Line, caller: &Caller, answered: &Answered) {
    let headers = format!("{:?}", answered.headers);
    for mark in caller.never(line) {
        let found = answered.body.contains(mark) || headers.contains(mark);
        assert!(!found, "{} as {} shows {mark}: {}", line.operation, caller.name, answered.body);
    }
}

/// The cursor of the next page.
fn next(answered: &Answered) -> Option<String> {
    let in_header = answered.headers.get("x-next-cursor").map(|cursor| cursor.to_str().unwrap().to_owned());
    let in_body = || serde_json::from_str::<Value>(&answered.body).ok()?["next"].as_str().map(str::to_owned);
    in_header.or_else(in_body)
}

#[tokio::test]
async fn every_operation_shows_each_caller_what_it_may_see_and_nothing_else() {
    let issuer = Issuer::start().await;
    let served = Served::set_up(&issuer.variables()).await;
    sent(&served).await;
    let callers = callers(&served, &issuer).await;
    let mut cursors = 0;
    for line in LINES {
        for caller in &callers {
            let answered = served.ask(line.request(&caller.credentials, None)).await;
            let asked = format!("{} as {}: {}", line.operation, caller.name, answered.body);
            match line.refusal(caller) {
                Some(status) => assert_eq!(answered.status, status, "{asked}"),
                None => assert!(answered.status.is_success(), "{asked}"),
            }
            shows_nothing_else(line, caller, &answered);
            let sees = caller.may.as_ref().is_some_and(|(_, apps)| apps.holds("zqred-app"));
            if sees && line.refusal(caller).is_none() {
                assert!(answered.body.contains(&line.shows.replace("MARK", ASKED)), "{asked}");
            }
            // A cursor is of use to who was given it, and to nobody else.
            let Some(cursor) = next(&answered) else { continue };
            cursors += 1;
            for other in &callers {
                let answered = served.ask(line.request(&other.credentials, Some(&cursor))).await;
                let is_own = other.credentials == caller.credentials;
                assert_eq!(answered.status.is_success(), is_own, "the cursor of {asked} as {}", other.name);
                if !is_own {
                    assert!(answered.status.is_client_error());
                    for mark in [ASKED, OTHER, SHOP] {
                        assert!(!answered.body.contains(mark), "the cursor of {asked} as {}", other.name);
                    }
                }
            }
        }
    }
    assert!(cursors > 0, "no line of the table has a next page");
}
