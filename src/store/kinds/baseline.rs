//! The last total of a cumulative source.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::domain::{
    ids::{Incarnation, Meter, Scope, Source},
    rows::BaselineRow,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BaselineV2<'a> {
    #[serde(borrow)]
    incarnation: Cow<'a, str>,
    total: u64,
}

pub(super) fn write<S: Serializer>(row: &BaselineRow, out: S) -> Result<S::Ok, S::Error> {
    BaselineV2 { incarnation: row.incarnation.as_str().into(), total: row.total }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(
    scope: Scope,
    source: Source,
    meter: Meter,
    from: D,
) -> Result<BaselineRow, D::Error> {
    let BaselineV2 { incarnation, total } = BaselineV2::deserialize(from)?;
    let incarnation = Incarnation::parse("incarnation", &incarnation).map_err(D::Error::custom)?;
    Ok(BaselineRow { scope, source, meter, incarnation, total })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, BaselineRow)> {
    use crate::store::samples::{scope, source};

    let row = BaselineRow {
        scope: scope(),
        source: source(),
        meter: Meter::spend(),
        incarnation: Incarnation::parse("incarnation", "boot 1").unwrap(),
        total: 180,
    };
    vec![("baseline", row)]
}
