//! One mapping from every message to JSON, driven by the embedded descriptors, so that no message
//! needs serialisation code of its own and none can be forgotten.
//!
//! This is proto3 JSON with the two liberties that scripts want: field names as in the proto, and
//! 64-bit integers as numbers (no amount here is larger than 10^16, and `jq` keeps those exact).
//! Every plain field is present, also at its default; only absent `optional` fields are left out.

use std::{fmt, sync::LazyLock};

use prost::Name;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;

use super::DESCRIPTORS;

static POOL: LazyLock<Result<DescriptorPool, JsonError>> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).map_err(JsonError::because));

/// The message has no JSON form, because it does not fit the embedded descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError(String);

impl JsonError {
    fn because(cause: impl fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message has no JSON form: {}", self.0)
    }
}

impl std::error::Error for JsonError {}

/// The descriptors of every public proto.
pub fn descriptors() -> Result<&'static DescriptorPool, JsonError> {
    POOL.as_ref().map_err(Clone::clone)
}

/// `message` as JSON; objects have their keys in alphabetical order.
pub fn to_value<M: Name>(message: &M) -> Result<Value, JsonError> {
    let name = M::full_name();
    let descriptor = descriptors()?
        .get_message_by_name(&name)
        .ok_or_else(|| JsonError::because(format_args!("{name} is not in the embedded descriptors")))?;
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(message).map_err(JsonError::because)?;
    dynamic.serialize_with_options(serde_json::value::Serializer, &OPTIONS).map_err(JsonError::because)
}

const OPTIONS: SerializeOptions =
    SerializeOptions::new().stringify_64_bit_integers(false).use_proto_field_name(true).skip_default_fields(false);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::{
        admin::v1::OrgSummary,
        v1::{
            AcquireBatchResult, Budget, BudgetPeriod, DecisionCode, FailOpen, GetStatusResponse, acquire_batch_result,
        },
    };

    #[test]
    fn fields_keep_their_proto_names_numbers_stay_numbers_and_defaults_are_present() {
        let summary = OrgSummary { org: "acme".into(), sequence: 10_000_000_000_000_000, ..OrgSummary::default() };
        assert_eq!(
            to_value(&summary).unwrap(),
            json!({"org": "acme", "frozen": false, "sequence": 10_000_000_000_000_000_i64, "last_change_at_ms": 0})
        );
    }

    #[test]
    fn enums_are_names() {
        let status = GetStatusResponse { code: DecisionCode::RateLimited.into(), ..GetStatusResponse::default() };
        assert_eq!(to_value(&status).unwrap()["code"], "DECISION_CODE_RATE_LIMITED");
    }

    #[test]
    fn an_enum_value_of_a_newer_server_is_its_number() {
        let status = GetStatusResponse { code: 99, ..GetStatusResponse::default() };
        assert_eq!(to_value(&status).unwrap()["code"], 99);
    }

    #[test]
    fn maps_are_objects_and_an_absent_limit_is_left_out() {
        let unlimited = BudgetPeriod { spend: 7, ..BudgetPeriod::default() };
        let blocked = BudgetPeriod { limit: Some(0), remaining: Some(-3), ..BudgetPeriod::default() };
        let periods = [("hourly".to_owned(), unlimited), ("daily".to_owned(), blocked)].into();
        let value = to_value(&Budget { periods, ..Budget::default() }).unwrap();
        assert_eq!(
            value["periods"]["hourly"],
            json!({"spend": 7, "reserved": 0, "set": false}),
            "R-BUD-2: null is no limit"
        );
        assert_eq!(
            value["periods"]["daily"],
            json!({"limit": 0, "spend": 0, "remaining": -3, "reserved": 0, "set": false})
        );
    }

    #[test]
    fn a_oneof_shows_only_the_branch_that_is_set() {
        let error = acquire_batch_result::Result::Error(Default::default());
        let value = to_value(&AcquireBatchResult { result: Some(error) }).unwrap();
        assert_eq!(value, json!({"error": {"grpc_code": 0, "reason": "", "message": ""}}));
        let fail_open = FailOpen { gate: "rate".into(), cause: "timeout".into() };
        assert_eq!(to_value(&fail_open).unwrap(), json!({"gate": "rate", "cause": "timeout"}));
    }

    #[test]
    fn every_message_of_the_descriptors_has_a_json_form() {
        let messages = descriptors().unwrap().all_messages().filter(|message| !message.is_map_entry());
        let mut seen = 0;
        for message in messages {
            let dynamic = DynamicMessage::new(message.clone());
            assert!(
                dynamic.serialize_with_options(serde_json::value::Serializer, &OPTIONS).is_ok_and(|v| v.is_object()),
                "{}",
                message.full_name()
            );
            seen += 1;
        }
        assert!(seen > 40, "{seen} messages");
    }
}
