//! Names of request ids in the order of time: about a hundred in one value.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::outcomes::RpcV2;
use crate::domain::{
    ids::{DecisionId, RequestId},
    input::InputError,
    rows::{IdPageRow, KeptId},
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdPageV2<'a> {
    bytes: u64,
    /// Of the first.
    at: Millis,
    #[serde(borrow)]
    ids: Vec<KeptIdV2<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptIdV2<'a> {
    rpc: RpcV2,
    #[serde(borrow)]
    id: Cow<'a, str>,
    /// How long after the one before it.
    later: Millis,
    reservation: Option<ReservationV2>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct ReservationV2(#[serde(with = "super::stored::hex128")] u128);

pub(super) fn write<S: Serializer>(row: &IdPageRow, out: S) -> Result<S::Ok, S::Error> {
    let at = row.ids.first().map_or(0, |id| id.at);
    let before = std::iter::once(at).chain(row.ids.iter().map(|id| id.at));
    let ids = row.ids.iter().zip(before).map(|(id, before)| KeptIdV2 {
        rpc: id.rpc.into(),
        id: id.id.as_str().into(),
        later: id.at.wrapping_sub(before),
        reservation: id.reservation.map(|id| ReservationV2(id.0)),
    });
    IdPageV2 { bytes: row.bytes, at, ids: ids.collect() }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(number: u64, from: D) -> Result<IdPageRow, D::Error> {
    let IdPageV2 { bytes, at, ids } = IdPageV2::deserialize(from)?;
    let mut at = at;
    let ids = ids.into_iter().map(|stored| {
        at = at.wrapping_add(stored.later);
        let id = RequestId::parse("id", &stored.id)?;
        let reservation = stored.reservation.map(|id| DecisionId(id.0));
        Ok(KeptId { rpc: stored.rpc.into(), id, at, reservation })
    });
    let ids: Result<_, InputError> = ids.collect();
    Ok(IdPageRow { number, bytes, ids: ids.map_err(D::Error::custom)? })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, IdPageRow)> {
    use crate::{domain::request::Rpc, store::samples::T0};

    let of = |rpc, text: &str, at, reservation| {
        let id = RequestId::parse("request_id", text).unwrap();
        KeptId { rpc, id, at, reservation }
    };
    let ids = vec![
        of(Rpc::Record, "01KVP1YT000000000000000000", T0, None),
        of(Rpc::Commit, "r \"2\"", T0 + 5, Some(DecisionId(3))),
    ];
    vec![("id_page", IdPageRow { number: 3, bytes: 311, ids })]
}
