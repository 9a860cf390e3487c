//! What an org is called, and what it was called before.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::domain::{
    ids::OrgId,
    rows::{FormerName, NamesRow},
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamesV2<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    former: Vec<FormerV2<'a>>,
    /// None where the org was not purged.
    purged_at: Option<Millis>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FormerV2<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    until: Millis,
}

pub(super) fn write<S: Serializer>(row: &NamesRow, out: S) -> Result<S::Ok, S::Error> {
    let former = row.former.iter().map(|former| FormerV2 { name: former.name.as_str().into(), until: former.until });
    NamesV2 { name: row.name.as_str().into(), former: former.collect(), purged_at: row.purged_at }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<NamesRow, D::Error> {
    let NamesV2 { name, former, purged_at } = NamesV2::deserialize(from)?;
    let org = |name: &str| OrgId::parse("name", name).map_err(D::Error::custom);
    let former = former.iter().map(|former| Ok(FormerName { name: org(&former.name)?, until: former.until }));
    Ok(NamesRow { name: org(&name)?, former: former.collect::<Result<_, D::Error>>()?, purged_at })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, NamesRow)> {
    use crate::store::samples::T0;

    let name = |name: &str| OrgId::parse("org", name).unwrap();
    let former = |of: &str, until| FormerName { name: name(of), until };
    let former = vec![former("acme", T0), former("acme-inc", T0 + 60_000)];
    let row = NamesRow { name: name("acme-corp"), former, purged_at: None };
    let purged = NamesRow { purged_at: Some(T0 + 120_000), ..row.clone() };
    vec![("names", row), ("names_purged", purged)]
}
