//! Categories, low stock, sales, customers and orders over HTTP.

use aws_sdk_dynamodb::types::AttributeValue;
use http::StatusCode;
use serde_json::{Value, json};
use tidemark_ledger::dynamo::{Apps, Scope};
use tidemark_local::stack::{Stack, VIEWS_TABLE};
use tidemark_model::views::daily_sales;
use tidemark_model::{Decimal, Key};
use tidemark_tests::api::Served;
use tidemark_tests::{NOW_MS, documents, handle, invocation, product};

use super::{encoded, pages, played};
use crate::audit::{ORDERS, everything, order};

/// Every route of the shop.
const ROUTES: [&str; 14] = [
    "/analytics/sellers",
    "/analytics/sellers/1",
    "/analytics/categories",
    "/analytics/categories/1",
    "/analytics/sellers/1/history",
    "/analytics/categories/1/history",
    "/analytics/low-stock",
    "/analytics/sales/daily",
    "/analytics/sales/products",
    "/analytics/sales/products/1",
    "/analytics/customers",
    "/analytics/customers/1",
    "/analytics/orders/status",
    "/analytics/orders/summary",
];

fn number(n: &Value) -> Decimal {
    n.as_str().unwrap().parse().unwrap()
}

fn text(id: &Value) -> String {
    id.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_of_the_shop_is_what_its_view_says() {
    let (served, tables) = played().await;
    let views = documents(&tables);
    let list = |name: &str| views[name].as_array().unwrap().clone();

    for limit in [1, 7, 1_000] {
        assert_eq!(pages(&served, &format!("/analytics/categories?limit={limit}")).await.0, list("categories"));
    }
    for category in list("categories") {
        let path = format!("/analytics/categories/{}", encoded(&text(&category["category"])));
        assert_eq!(served.get(&path).await.exact(), category);
    }

    let days = list("dailySales");
    assert!(days.len() > 1);
    let (from, to) = (text(&days[0]["date"]), text(&days[days.len() - 1]["date"]));
    let sales = |from: &str, to: &str| format!("/analytics/sales/daily?from={from}&to={to}");
    assert_eq!(served.get(&sales(&from, &to)).await.exact()["items"], Value::from(days.clone()));
    let but_the_first = served.get(&sales(&text(&days[1]["date"]), &to)).await.exact();
    assert_eq!(but_the_first["items"], Value::from(days[1..].to_vec()));
    assert_eq!(served.get(&sales(&from, &from)).await.exact()["items"], json!([days[0]]));
    assert_eq!(served.get(&sales("1999-12-31", "2000-01-01")).await.exact(), json!({"items": []}));

    for (path, view, id) in [
        ("/analytics/sales/products", "productSales", "product_id"),
        ("/analytics/customers", "customers", "customer_id"),
    ] {
        let all = list(view);
        for top in [1, 2, 5, 10, 99, 100] {
            let found = served.get(&format!("{path}?top={top}")).await.exact();
            assert_eq!(found, json!({"items": all[..top.min(all.len())]}), "{path} {top}");
        }
        assert_eq!(served.get(path).await.exact()["items"].as_array().unwrap().len(), all.len().min(10));
        for row in all.iter().take(30) {
            assert_eq!(&served.get(&format!("{path}/{}", encoded(&text(&row[id])))).await.exact(), row);
        }
    }

    assert_eq!(served.get("/analytics/orders/status").await.exact(), views["orderStatus"]);
    assert_eq!(served.get("/analytics/orders/summary").await.exact(), views["summary"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_low_stock_are_all_of_it_with_the_scarcest_first() {
    let (served, tables) = played().await;
    let expected = documents(&tables)["lowStock"].clone();
    let place = |product: &Value| (number(&product["quantity"]), number(&product["productId"]));
    // Many are equally scarce: pages of one end between equals.
    for limit in [1, 3, 1_000] {
        let (mut products, first) = pages(&served, &format!("/analytics/low-stock?limit={limit}")).await;
        assert_eq!(first["count"], expected["count"]);
        assert!(products.is_sorted_by_key(|product| place(product).0), "{limit}");
        products.sort_by_key(place);
        assert_eq!(Value::from(products), expected["products"], "{limit}");
    }
}

#[tokio::test]
async fn empty_tables_answer_with_nothing() {
    let served = Served::start().await;
    for (path, expected) in [
        ("/analytics/categories", json!({"items": []})),
        ("/analytics/low-stock", json!({"count": "0", "items": []})),
        ("/analytics/sales/daily", json!({"items": []})),
        ("/analytics/sales/products", json!({"items": []})),
        ("/analytics/customers", json!({"items": []})),
        ("/analytics/orders/status", json!({})),
    ] {
        assert_eq!(served.get(path).await.exact(), expected, "{path}");
    }
    let summary = served.get("/analytics/orders/summary").await;
    assert_eq!(
        summary.body,
        r#"{"total_orders":0,"total_revenue":0.00,"unique_customers":0,"unique_products_sold":0}"#
    );
    for path in ["/analytics/categories/x", "/analytics/sales/products/1", "/analytics/customers/1"] {
        assert_eq!(served.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn what_no_route_of_the_shop_takes_is_refused_and_named() {
    let served = Served::start().await;
    for (path, field) in [
        ("/analytics/sales/products?top=0", "top"),
        ("/analytics/sales/products?top=101", "top"),
        ("/analytics/customers?top=1000000000", "top"),
        ("/analytics/customers?top=-1", "top"),
        ("/analytics/customers?limit=1", "limit"),
        ("/analytics/categories?limit=0", "limit"),
        ("/analytics/low-stock?limit=1000000000", "limit"),
        ("/analytics/low-stock?cursor=AAAA", "cursor"),
        ("/analytics/sales/daily?from=2025-01-02&to=2025-01-01", "from"),
        ("/analytics/sales/daily?from=2024-01-01&to=2025-01-01", "from"),
        ("/analytics/sales/daily?from=0001-01-01&to=9999-12-30", "from"),
        ("/analytics/sales/daily?from=2025-1-1", "from"),
        ("/analytics/sales/daily?to=2025-02-29", "to"),
        ("/analytics/sales/daily?to=2025-01-01T00:00:00Z", "to"),
        ("/analytics/orders/status?x=1", "x"),
    ] {
        let answered = served.get(path).await;
        assert_eq!(answered.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(answered.json()["errors"][0]["field"], field, "{path}");
    }
    let whole_year = served.get("/analytics/sales/daily?from=2024-01-01&to=2024-12-31").await;
    assert_eq!(whole_year.status, StatusCode::OK);
    assert_eq!(served.get("/analytics/sales/daily?to=0001-01-01").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_id_may_be_of_any_characters() {
    let served = Served::start().await;
    let ids = ["a/b", "a#b", "50%", "%23", "é", "€", "😀", "\u{10FFFF}", " ", "..", "?x=1", "+", "-5", "=1", "\u{7}"];
    let products: Vec<String> =
        ids.iter().zip(0..).map(|(id, n)| product(n, "Created", n, id, id, "2.50", n)).collect();
    handle(&served.stack.aggregate, invocation("product.created", 0, 0, &products)).await;
    let orders: Vec<String> = ids.iter().zip(0..).map(|(id, n)| order(n, n, id, "1.25", id)).collect();
    handle(&served.stack.aggregate, invocation(ORDERS, 0, 0, &orders)).await;
    for (path, field) in [("sellers", "sellerId"), ("categories", "category"), ("customers", "customer_id")] {
        for id in ids {
            let found = served.get(&format!("/analytics/{path}/{}", encoded(id))).await;
            assert_eq!(text(&found.exact()[field]), id, "{path}");
        }
        for (id, status) in [("\u{10FFFE}".repeat(700), 404), (String::new(), 404)] {
            assert_eq!(served.get(&format!("/analytics/{path}/{}", encoded(&id))).await.status, status, "{path}");
        }
        assert_eq!(served.get(&format!("/analytics/{path}/%FF")).await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(pages(&served, "/analytics/categories?limit=2").await.0.len(), ids.len());
    assert_eq!(served.get("/analytics/orders/status").await.json().as_object().unwrap().len(), ids.len());
}

/// DynamoDB deletes what is past its TTL only some time later.
async fn expire(stack: &Stack, key: &Key, expires_s: i64) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let row = stack.clients.dynamodb.update_item().table_name(VIEWS_TABLE);
    let row = row.key("PK", text(&key.pk)).key("SK", text(&key.sk));
    let row = row.update_expression("SET #ttl = :ttl").expression_attribute_names("#ttl", "TTL");
    row.expression_attribute_values(":ttl", AttributeValue::N(expires_s.to_string())).send().await.unwrap();
}

#[tokio::test]
async fn what_is_past_its_ttl_is_not_shown() {
    let served = Served::start().await;
    handle(&served.stack.aggregate, everything()).await;
    let day = daily_sales::row("2025-01-01");
    let keys = [Key::of("SELLER", "s1", "METRICS#CURRENT"), Key::of("CUSTOMER", "c1", "METRICS#CURRENT"), day];
    for (ttl_s, shown) in [(NOW_MS / 1_000 + 1, true), (NOW_MS / 1_000, false)] {
        for key in &keys {
            expire(&served.stack, key, ttl_s).await;
        }
        let ids = |path: &'static str, field: &'static str| {
            let served = &served;
            async move {
                let (items, _) = pages(served, path).await;
                items.iter().map(|item| text(&item[field])).collect::<Vec<_>>()
            }
        };
        assert_eq!(ids("/analytics/sellers?limit=9", "sellerId").await.contains(&"s1".to_owned()), shown);
        assert_eq!(ids("/analytics/customers?top=99", "customer_id").await.contains(&"c1".to_owned()), shown);
        assert_eq!(ids("/analytics/sales/daily?to=2025-01-01", "date").await, ["2025-01-01"][usize::from(!shown)..]);
        let status = if shown { StatusCode::OK } else { StatusCode::NOT_FOUND };
        assert_eq!(served.get("/analytics/sellers/s1").await.status, status);
        assert_eq!(served.get("/analytics/customers/c1").await.status, status);
        let exported = served.get("/analytics/exports/sellers").await.body;
        assert_eq!(exported.contains("s1,"), shown, "{exported}");
    }
}

#[tokio::test]
async fn no_route_of_the_shop_answers_a_caller_of_some_apps() {
    let served = Served::start().await;
    let bound = served.key_for(&[Scope::Read, Scope::Admin], Apps::Of(["web".to_owned()].into())).await;
    let blind = served.key_for(&[Scope::Ingest, Scope::Admin], Apps::All).await;
    for path in ROUTES {
        for key in [&bound, &blind] {
            assert_eq!(served.get_as(key, path).await.status, StatusCode::FORBIDDEN, "{path}");
        }
        assert_eq!(served.get_as("", path).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}
