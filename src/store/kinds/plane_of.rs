//! Through which plane a reservation or a session was asked for.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::domain::{
    ids::{DecisionId, Plane},
    rows::PlaneOfRow,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlaneOfV2<'a> {
    #[serde(borrow)]
    plane: Cow<'a, str>,
}

pub(super) fn write<S: Serializer>(row: &PlaneOfRow, out: S) -> Result<S::Ok, S::Error> {
    PlaneOfV2 { plane: row.plane.as_str().into() }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(id: DecisionId, from: D) -> Result<PlaneOfRow, D::Error> {
    let PlaneOfV2 { plane } = PlaneOfV2::deserialize(from)?;
    Ok(PlaneOfRow { id, plane: Plane::parse("plane", &plane).map_err(D::Error::custom)? })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, PlaneOfRow)> {
    vec![("plane_of", PlaneOfRow { id: DecisionId(3), plane: Plane::parse("plane", "plane-eu 1").unwrap() })]
}
