//! The shapes in which a key's value may be written: one or many, plain or with a table.
//!
//! Hand-written visitors, because serde's `untagged` forgets where a mistake was and `flatten`
//! forgets which keys are unknown.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::leaf::{Leaf, LeafVisitor};

/// One value or a list of alternatives; never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct OneOrMany<T>(pub Vec<T>);

/// A plain value, or a table that says more.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarOr<T, Table> {
    /// The plain value.
    Scalar(T),
    /// The table.
    Table(Table),
}

/// Passes every scalar on to the leaf's own visitor and wraps what comes back.
macro_rules! forward_scalars {
    ($leaf:ident => $wrap:expr) => {
        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            LeafVisitor::<$leaf>::NEW.visit_str(text).map($wrap)
        }

        fn visit_bool<E: Error>(self, switch: bool) -> Result<Self::Value, E> {
            LeafVisitor::<$leaf>::NEW.visit_bool(switch).map($wrap)
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
            LeafVisitor::<$leaf>::NEW.visit_i64(number).map($wrap)
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
            LeafVisitor::<$leaf>::NEW.visit_u64(number).map($wrap)
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
            LeafVisitor::<$leaf>::NEW.visit_f64(number).map($wrap)
        }
    };
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: Leaf + Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = OneOrMany<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a list", T::EXPECTED)
    }

    forward_scalars!(T => |one| OneOrMany(vec![one]));

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut many = Vec::new();
        while let Some(one) = list.next_element()? {
            many.push(one);
        }
        if many.is_empty() {
            return Err(A::Error::invalid_length(0, &"at least one alternative"));
        }
        Ok(OneOrMany(many))
    }
}

impl<'de, T: Leaf + Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
    }
}

struct ScalarOrVisitor<T, Table>(PhantomData<(T, Table)>);

impl<'de, T: Leaf, Table: Deserialize<'de>> Visitor<'de> for ScalarOrVisitor<T, Table> {
    type Value = ScalarOr<T, Table>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a table", T::EXPECTED)
    }

    forward_scalars!(T => ScalarOr::Scalar);

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Table::deserialize(MapAccessDeserializer::new(map)).map(ScalarOr::Table)
    }
}

impl<'de, T: Leaf, Table: Deserialize<'de>> Deserialize<'de> for ScalarOr<T, Table> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarOrVisitor(PhantomData))
    }
}

impl<T: JsonSchema, Table: JsonSchema> JsonSchema for ScalarOr<T, Table> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Or{}", T::schema_name(), Table::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let scalar = generator.subschema_for::<T>();
        let table = generator.subschema_for::<Table>();
        json_schema!({ "anyOf": [scalar, table] })
    }
}
