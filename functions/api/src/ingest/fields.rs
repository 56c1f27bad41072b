//! The fields of what is sent: one table says what is checked and what OpenAPI shows.
//!
//! The streams' decoders have the last word, and give the first reason; this finds all fields that are plainly wrong
//! at once.

use std::borrow::Cow;

use serde_json::value::RawValue;
use tidemark_model::raw::Raw;
use tidemark_model::stream::parse;
use tidemark_model::{activity, metric, time};
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, Object, ObjectBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::sent::Members;
use crate::FieldError;

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    /// A text, or a whole number, of so many bytes at most.
    Text(usize),
    /// Any object.
    Object,
    /// An object of texts.
    Tags,
    /// A number.
    Number,
    /// ISO 8601, or a number since 1970.
    Time,
}

/// A field.
pub(super) struct Field {
    name: &'static str,
    required: bool,
    kind: Kind,
    says: &'static str,
}

const fn required(name: &'static str, kind: Kind, says: &'static str) -> Field {
    Field { name, required: true, kind, says }
}

const fn optional(name: &'static str, kind: Kind, says: &'static str) -> Field {
    Field { name, required: false, kind, says }
}

const TIMESTAMP: Field = optional(
    "timestamp",
    Kind::Time,
    "When: ISO 8601, or a number since 1970: ms, or another unit that its magnitude tells. Now if absent.",
);

/// An event's.
pub(super) const EVENT: &[Field] = &[
    required("appId", Kind::Text(activity::APP_LIMIT), "The app."),
    required("userId", Kind::Text(activity::ID_LIMIT), "Who did it."),
    required("eventType", Kind::Text(activity::TYPE_LIMIT), "What kind of thing."),
    required("eventName", Kind::Text(activity::NAME_LIMIT), "What."),
    optional("properties", Kind::Object, "What else there is to say."),
    optional("sessionId", Kind::Text(activity::ID_LIMIT), "In which session."),
    TIMESTAMP,
    optional("eventId", Kind::Text(activity::ID_LIMIT), "Names the event: sent again, it counts once."),
    optional("userAgent", Kind::Text(usize::MAX), "Kept only where the deployment says so."),
    optional("ipAddress", Kind::Text(usize::MAX), "Kept only where the deployment says so."),
];

/// A metric's.
pub(super) const METRIC: &[Field] = &[
    required("appId", Kind::Text(activity::APP_LIMIT), "The app."),
    required("metricName", Kind::Text(metric::NAME_LIMIT), "What is measured."),
    required("metricType", Kind::Text(metric::TYPE_LIMIT), "How: `gauge`, `counter`, `histogram`, as you like."),
    required("value", Kind::Number, "The measurement."),
    optional("unit", Kind::Text(usize::MAX), "Of what; not kept."),
    optional("tags", Kind::Tags, "Names and values that metrics are filtered and grouped by."),
    TIMESTAMP,
    optional("eventId", Kind::Text(activity::ID_LIMIT), "Names the measurement: sent again, it counts once."),
];

/// Whether a name is a field's.
pub(super) fn has(fields: &[Field], name: &str) -> bool {
    fields.iter().any(|field| field.name == name)
}

/// Adds what is plainly wrong with a value's fields.
pub(super) fn check(fields: &[Field], value: &Members, path: &str, errors: &mut Vec<FieldError>) {
    for field in fields {
        let given = value.get(field.name).filter(|raw| !matches!(raw.get(), "null" | "\"\""));
        let reason = match given {
            None if field.required => Some("is required".to_owned()),
            None => None,
            Some(raw) => field.kind.refuses(raw),
        };
        errors.extend(reason.map(|reason| FieldError::new(format!("{path}{}", field.name), reason)));
    }
}

impl Kind {
    fn refuses(self, raw: &RawValue) -> Option<String> {
        let first = raw.get().bytes().next().unwrap_or_default();
        let is_number = first == b'-' || first.is_ascii_digit();
        match self {
            Self::Text(limit) if first == b'"' => match serde_json::from_str::<Cow<'_, str>>(raw.get()) {
                Ok(text) if text.len() > limit => Some(format!("is longer than {limit} bytes")),
                Ok(_) => None,
                Err(_) => Some("is no Unicode text".to_owned()),
            },
            Self::Text(_) => (!(is_number && is_whole(raw))).then(|| "takes a text, or a whole number".to_owned()),
            Self::Object => (first != b'{').then(|| "takes an object".to_owned()),
            Self::Tags => match serde_json::from_str::<Members>(raw.get()) {
                Ok(tags) if tags.values().all(|tag| !tag.get().starts_with(['{', '['])) => None,
                Ok(_) => Some("takes texts, numbers and booleans as values".to_owned()),
                Err(_) => Some("takes an object".to_owned()),
            },
            Self::Number if !is_number => Some("takes a number".to_owned()),
            Self::Number => {
                let read = parse::<Raw<'_>>(raw.get().as_bytes()).and_then(|raw| metric::value(&raw));
                read.err().map(|reason| reason.trim_start_matches("value ").to_owned())
            }
            Self::Time => {
                let read = parse::<Raw<'_>>(raw.get().as_bytes()).and_then(|raw| time::read("", &raw));
                read.is_err().then(|| "takes ISO 8601, or ms since 1970".to_owned())
            }
        }
    }

    fn schema(self, required: bool, says: &str) -> Object {
        let types = match self {
            Self::Text(_) => [Type::String, Type::Integer].as_slice(),
            Self::Object | Self::Tags => &[Type::Object],
            Self::Number => &[Type::Number],
            Self::Time => &[Type::Number, Type::String],
        };
        // What may be left out may be null as well.
        let null = (!required).then_some(Type::Null);
        let object =
            ObjectBuilder::new().schema_type(one_of(types.iter().cloned().chain(null))).description(Some(says));
        match self {
            // Bytes, not characters: a text of fewer characters may be too long all the same.
            Self::Text(limit) if limit < usize::MAX => object.max_length(Some(limit)).min_length(required.then_some(1)),
            Self::Object => object.additional_properties(Some(AdditionalProperties::FreeForm(true))),
            Self::Tags => {
                let types = one_of([Type::String, Type::Number, Type::Boolean, Type::Null]);
                let value = RefOr::T(Schema::Object(ObjectBuilder::new().schema_type(types).build()));
                object.additional_properties(Some(AdditionalProperties::RefOr(value)))
            }
            _ => object,
        }
        .build()
    }
}

fn is_whole(number: &RawValue) -> bool {
    number.get().parse().is_ok_and(|n: f64| n.fract() == 0.0)
}

fn one_of(types: impl IntoIterator<Item = Type>) -> SchemaType {
    types.into_iter().collect()
}

fn schema(fields: &[Field]) -> ObjectBuilder {
    fields.iter().fold(ObjectBuilder::new().schema_type(Type::Object), |object, field| {
        let object = object.property(field.name, field.kind.schema(field.required, field.says));
        if field.required { object.required(field.name) } else { object }
    })
}

fn with_async(object: ObjectBuilder) -> RefOr<Schema> {
    let says = "Whether it is only handed to Kafka, and counted soon: the answer is 202.";
    let either = ObjectBuilder::new().schema_type(one_of([Type::Boolean, Type::Null]));
    object.property("async", either.description(Some(says))).into()
}

/// CloudEvents 1.0, structured mode.
fn cloud_event() -> RefOr<Schema> {
    let text = |says: &str| ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).description(Some(says));
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("specversion", text("`1.0`").enum_values(Some(["1.0"])))
        .property("id", text("Names the event, together with its source: sent again, it counts once."))
        .property("source", text("Who says so."))
        .property("type", text("What kind of thing, where the event does not say it."))
        .property(
            "time",
            text("When, where the event does not say it.")
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
        )
        .property(
            "data",
            Kind::Object.schema(true, "The event, as it is without an envelope; its type may be left out."),
        );
    ["specversion", "id", "source", "type", "data"].into_iter().fold(object, ObjectBuilder::required).into()
}

fn batch(name: &'static str, of: &[Field], most: usize) -> RefOr<Schema> {
    let items = ArrayBuilder::new().items(schema(of)).min_items(Some(1)).max_items(Some(most));
    with_async(ObjectBuilder::new().schema_type(Type::Object).property(name, items).required(name))
}

/// The schemas of what is sent.
macro_rules! sent {
    ($($(#[$doc:meta])* $name:ident => $schema:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )*};
}

sent! {
    /// One event.
    NewEvent => with_async(schema(EVENT));
    /// An event in its envelope: what names it, and the event as `data`.
    CloudEvent => cloud_event();
    /// Events.
    NewEvents => batch("events", EVENT, super::MOST);
    /// One measurement.
    NewMetric => with_async(schema(METRIC));
    /// Measurements.
    NewMetrics => batch("metrics", METRIC, super::MOST);
}
