//! The JSON documents of the source systems: the snapshot of a day and the five reports, in their shapes and
//! under their keys, money as exact numbers with two digits after the point.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use tidemark_model::time::utc;
use tidemark_model::views::{Tables, VIEWS, View};

/// One kind of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportKind {
    /// Its folder.
    pub folder: &'static str,
    /// Its `report_type`.
    pub report_type: &'static str,
    /// The view that it shows.
    view: &'static str,
    /// The member that holds the view's document.
    member: &'static str,
}

/// The reports there are.
pub const REPORTS: [ReportKind; 5] = [
    ReportKind { folder: "daily_sales", report_type: "daily_sales", view: "dailySales", member: "data" },
    ReportKind { folder: "product_sales", report_type: "product_sales", view: "productSales", member: "data" },
    ReportKind { folder: "customer_metrics", report_type: "customer_metrics", view: "customers", member: "data" },
    ReportKind {
        folder: "order_status",
        report_type: "order_status_distribution",
        view: "orderStatus",
        member: "data",
    },
    ReportKind { folder: "summary", report_type: "summary", view: "summary", member: "metrics" },
];

/// A view by its name.
pub fn view(name: &str) -> Option<&'static View> {
    VIEWS.iter().find(|view| view.name == name)
}

impl ReportKind {
    /// The view that it shows.
    pub fn view(&self) -> Option<&'static View> {
        view(self.view)
    }

    /// The report as of a time in ms, of what the tables hold of its view.
    ///
    /// # Errors
    /// If a number makes no JSON.
    pub fn document(&self, generated_ms: i64, tables: &Tables) -> serde_json::Result<Vec<u8>> {
        let document = self.view().map(|view| (view.document)(tables)).transpose()?;
        let member = self.member;
        serde_json::to_vec(&Document {
            report_type: self.report_type,
            generated_ms,
            member,
            document: document.as_deref(),
        })
    }
}

struct Document<'a> {
    report_type: &'a str,
    generated_ms: i64,
    member: &'a str,
    document: Option<&'a RawValue>,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(3))?;
        object.serialize_entry("report_type", self.report_type)?;
        object.serialize_entry("generated_at", &utc(self.generated_ms))?;
        object.serialize_entry(self.member, &self.document)?;
        object.end()
    }
}
