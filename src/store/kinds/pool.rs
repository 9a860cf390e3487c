//! Pools of upstream accounts.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{ids::PoolId, rows::PoolRow};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolV2 {
    version: u64,
    told: bool,
}

pub(super) fn write<S: Serializer>(row: &PoolRow, out: S) -> Result<S::Ok, S::Error> {
    PoolV2 { version: row.version, told: row.announced }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(id: PoolId, from: D) -> Result<PoolRow, D::Error> {
    let PoolV2 { version, told } = PoolV2::deserialize(from)?;
    Ok(PoolRow { id, version, announced: told })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, PoolRow)> {
    vec![("pool", PoolRow { id: crate::store::samples::pool_id(), version: 4, announced: true })]
}
