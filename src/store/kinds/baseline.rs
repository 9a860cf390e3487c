//! The last total of a cumulative source.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::domain::{
    ids::{Incarnation, Meter, Source},
    rows::BaselineRow,
    scopes::Scopes,
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
    scopes: Scopes,
    source: Source,
    meter: Meter,
    from: D,
) -> Result<BaselineRow, D::Error> {
    let BaselineV2 { incarnation, total } = BaselineV2::deserialize(from)?;
    let incarnation = Incarnation::parse("incarnation", &incarnation).map_err(D::Error::custom)?;
    Ok(BaselineRow { scopes, source, meter, incarnation, total })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, BaselineRow)> {
    use crate::store::samples::{scope, scopes, source};

    let row = BaselineRow {
        scopes: scope().into(),
        source: source(),
        meter: Meter::spend(),
        incarnation: Incarnation::parse("incarnation", "boot 1").unwrap(),
        total: 180,
    };
    let of_several = BaselineRow { scopes: scopes(), ..row.clone() };
    vec![("baseline", row), ("baseline_scopes", of_several)]
}
