//! How far the log of events was delivered to a webhook.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::rows::EventsDeliveredRow;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsDeliveredV2 {
    number: u64,
}

pub(super) fn write<S: Serializer>(row: &EventsDeliveredRow, out: S) -> Result<S::Ok, S::Error> {
    EventsDeliveredV2 { number: row.number }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<EventsDeliveredRow, D::Error> {
    EventsDeliveredV2::deserialize(from).map(|stored| EventsDeliveredRow { number: stored.number })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, EventsDeliveredRow)> {
    vec![("events_delivered", EventsDeliveredRow { number: 41 })]
}
