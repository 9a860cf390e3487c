//! What stored values are made of: enums mirrored by name, 128-bit ids, amounts by meter.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::domain::{
    ids::{Amounts, Meter},
    input::InputError,
};

/// The same variants on both sides, both ways.
macro_rules! mirror {
    ($domain:ident <=> $stored:ident { $($variant:ident),+ $(,)? }) => {
        impl From<$domain> for $stored {
            fn from(value: $domain) -> Self {
                match value { $($domain::$variant => Self::$variant,)+ }
            }
        }
        impl From<$stored> for $domain {
            fn from(value: $stored) -> Self {
                match value { $($stored::$variant => Self::$variant,)+ }
            }
        }
    };
}

pub(super) use mirror;

/// 128-bit ids: a number on disk, 32 hexadecimal digits where people read.
pub(super) mod hex128 {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use crate::domain::ids::DecisionId;

    pub(in crate::store::kinds) fn serialize<S: Serializer>(id: &u128, out: S) -> Result<S::Ok, S::Error> {
        if out.is_human_readable() { DecisionId(*id).to_string().serialize(out) } else { id.serialize(out) }
    }

    pub(in crate::store::kinds) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        if !from.is_human_readable() {
            return u128::deserialize(from);
        }
        let text = Cow::<str>::deserialize(from)?;
        DecisionId::parse("id", &text).map(|id| id.0).map_err(D::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AmountV2<'a> {
    #[serde(borrow)]
    meter: Cow<'a, str>,
    amount: u64,
}

impl<'a> From<&'a (Meter, u64)> for AmountV2<'a> {
    fn from((meter, amount): &'a (Meter, u64)) -> Self {
        Self { meter: meter.as_str().into(), amount: *amount }
    }
}

pub(super) fn amounts(stored: &[AmountV2<'_>]) -> Result<Amounts, InputError> {
    stored.iter().map(|each| Ok((Meter::parse("meter", &each.meter)?, each.amount))).collect()
}
