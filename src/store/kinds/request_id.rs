//! What durable calls were answered, by their request ids.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::outcomes::OutcomeV2;
use crate::domain::{ids::RequestId, request::Rpc, rows::RequestIdRow, window::Millis};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestIdV2 {
    fingerprint: u64,
    outcome: OutcomeV2,
}

pub(super) fn write<S: Serializer>(row: &RequestIdRow, out: S) -> Result<S::Ok, S::Error> {
    RequestIdV2 { fingerprint: row.fingerprint, outcome: OutcomeV2::from(&row.outcome) }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(
    rpc: Rpc,
    id: RequestId,
    at: Millis,
    from: D,
) -> Result<RequestIdRow, D::Error> {
    let RequestIdV2 { fingerprint, outcome } = RequestIdV2::deserialize(from)?;
    let outcome = outcome.into_outcome().map_err(D::Error::custom)?;
    Ok(RequestIdRow { rpc, id, at, fingerprint, outcome })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, RequestIdRow)> {
    use crate::{
        domain::outcome::{Outcome, Recorded},
        store::samples::{T0, settlement_entries},
    };

    let of = |text: &str| RequestId::parse("request_id", text).unwrap();
    let fingerprint = 0x7467_6602_1234_5678;
    let recorded = RequestIdRow {
        rpc: Rpc::Record,
        id: of("01KVP1YT000000000000000000"),
        at: T0,
        fingerprint,
        outcome: Outcome::Recorded(Recorded),
    };
    let outcome = settlement_entries().remove(0).outcome;
    let committed = RequestIdRow { rpc: Rpc::Commit, id: of("r \"2\""), at: T0 + 5, fingerprint, outcome };
    vec![("request_id", recorded), ("request_id_committed", committed)]
}
