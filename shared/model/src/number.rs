//! Decimals and ids as JSON numbers, for documents that people and scripts read.

use compact_str::CompactString;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::Decimal;

/// Serialises as an exact JSON number; only through `serde_json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub Decimal);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// Serialises as an exact JSON number with two digits after the point, or more where there are more; only
/// through `serde_json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money(pub Decimal);

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = self.0.to_string();
        let digits = text.split_once('.').map(|(_, fraction)| fraction.len());
        text.push_str(match digits {
            None => ".00",
            Some(1) => "0",
            Some(_) => "",
        });
        RawValue::from_string(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

/// An id that is serialised as a number where it is written as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id(pub CompactString);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.parse::<i128>() {
            Ok(n) if itoa::Buffer::new().format(n) == self.0 => {
                RawValue::from_string(self.0.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer)
            }
            _ => serializer.serialize_str(&self.0),
        }
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
    use utoipa::openapi::{RefOr, Schema};
    use utoipa::{PartialSchema, ToSchema};

    use super::{Id, Money, Number};

    impl PartialSchema for Number {
        fn schema() -> RefOr<Schema> {
            ObjectBuilder::new().schema_type(Type::Number).description(Some("An exact number.")).into()
        }
    }

    impl ToSchema for Number {
        fn name() -> Cow<'static, str> {
            Cow::Borrowed("Number")
        }
    }

    impl PartialSchema for Money {
        fn schema() -> RefOr<Schema> {
            let what = "An exact decimal number with two digits after the point, or more where there are more.";
            ObjectBuilder::new().schema_type(Type::Number).description(Some(what)).into()
        }
    }

    impl ToSchema for Money {
        fn name() -> Cow<'static, str> {
            Cow::Borrowed("Money")
        }
    }

    impl PartialSchema for Id {
        fn schema() -> RefOr<Schema> {
            let either = OneOfBuilder::new()
                .item(ObjectBuilder::new().schema_type(Type::Integer))
                .item(ObjectBuilder::new().schema_type(Type::String));
            either.description(Some("A number where the id is written as one, else a text.")).into()
        }
    }

    impl ToSchema for Id {
        fn name() -> Cow<'static, str> {
            Cow::Borrowed("Id")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_has_two_digits_and_never_fewer_than_it_needs() {
        for (n, text) in [("12", "12.00"), ("-0.5", "-0.50"), ("1.23", "1.23"), ("0.125", "0.125"), ("0", "0.00")] {
            assert_eq!(serde_json::to_string(&Money(n.parse().unwrap())).unwrap(), text);
        }
    }
}
