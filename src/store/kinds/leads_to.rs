//! Where an id leads that is another name of an org.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::domain::{ids::OrgId, rows::LeadsToRow, window::Millis};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeadsToV2<'a> {
    #[serde(borrow)]
    to: Cow<'a, str>,
    since: Millis,
}

pub(super) fn write<S: Serializer>(row: &LeadsToRow, out: S) -> Result<S::Ok, S::Error> {
    LeadsToV2 { to: row.org.as_str().into(), since: row.since }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<LeadsToRow, D::Error> {
    let LeadsToV2 { to, since } = LeadsToV2::deserialize(from)?;
    Ok(LeadsToRow { org: OrgId::parse("to", &to).map_err(D::Error::custom)?, since })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, LeadsToRow)> {
    use crate::store::samples::T0;

    vec![("leads_to", LeadsToRow { org: OrgId::parse("org", "acme-before").unwrap(), since: T0 })]
}
