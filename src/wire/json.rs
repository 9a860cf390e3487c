//! The API as JSON: one mapping for every message and one for errors, both driven by descriptors, so
//! that no message needs serialisation code of its own and none can be forgotten.
//!
//! Messages are canonical proto3 JSON: lowerCamelCase names, enums by name, 64-bit integers as
//! strings, bytes in base64, maps as objects. Defaults are emitted: a denial says
//! `"allowed": false`. Only what has presence (`optional`, messages, `oneof`) and is not set is left
//! out. Errors have the form that the Connect protocol gives them.

mod unique;

use std::{fmt, sync::LazyLock};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::pb;

use super::DESCRIPTORS;
use unique::Unique;

const STRICT: DeserializeOptions = DeserializeOptions::new();
const OPTIONS: SerializeOptions = SerializeOptions::new().skip_default_fields(false);

static POOL: LazyLock<Result<DescriptorPool, JsonError>> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).map_err(JsonError::because));

/// `google.rpc`: the details of errors.
static DETAILS: LazyLock<Result<DescriptorPool, JsonError>> =
    LazyLock::new(|| DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).map_err(JsonError::because));

/// A message has no JSON form, because it does not fit the embedded descriptors, or a text is not that of the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError(String);

impl JsonError {
    fn because(cause: impl fmt::Display) -> Self {
        Self(format!("the message has no JSON form: {cause}"))
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JsonError {}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self::because(error)
    }
}

/// The descriptors of every public proto.
pub fn descriptors() -> Result<&'static DescriptorPool, JsonError> {
    POOL.as_ref().map_err(Clone::clone)
}

/// Whether messages of this name have the field.
pub fn has_field(message: &str, field: &str) -> bool {
    let found = descriptors().ok().and_then(|pool| pool.get_message_by_name(message));
    found.is_some_and(|message| message.get_field_by_name(field).is_some())
}

/// A message that serialises as canonical JSON, its fields in the order of their numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Json(DynamicMessage);

impl Json {
    /// Fails where the message does not fit the embedded descriptors.
    pub fn of<M: Name>(message: &M) -> Result<Self, JsonError> {
        let mut dynamic = DynamicMessage::new(descriptor(descriptors()?, &M::full_name())?);
        dynamic.transcode_from(message).map_err(JsonError::because)?;
        Ok(Self(dynamic))
    }

    /// A number that the message has.
    pub fn number(&self, field: &str) -> Option<i64> {
        let value = self.0.get_field_by_name(field)?;
        value.as_i32().map(i64::from).or_else(|| value.as_i64())
    }

    /// The same of one of this name that is encoded.
    pub fn of_encoded(name: &str, bytes: &[u8]) -> Result<Self, JsonError> {
        let descriptor = descriptor(descriptors()?, name)?;
        DynamicMessage::decode(descriptor, bytes).map(Self).map_err(JsonError::because)
    }

    /// A detail of an error; `None` for a type that this build does not know.
    fn of_detail(name: &str, bytes: &[u8]) -> Option<Self> {
        let descriptor = descriptor(DETAILS.as_ref().ok()?, name).ok()?;
        DynamicMessage::decode(descriptor, bytes).ok().map(Self)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_with_options(serializer, &OPTIONS)
    }
}

/// Reads a message of this name, and encodes it. A field that it does not have is refused, so that one which is written wrong is
/// not left out.
///
/// # Errors
/// What is wrong with the text, and where.
pub fn encoded(name: &str, text: &[u8]) -> Result<Vec<u8>, JsonError> {
    let descriptor = descriptor(descriptors()?, name)?;
    let short = descriptor.name().to_owned();
    let refused = |error: &dyn fmt::Display| JsonError(format!("the request is not the JSON of {short}: {error}"));
    serde_json::from_slice::<Unique>(text).map_err(|error| refused(&error))?;
    let message = if short == PATCHES_PERIODS {
        let cleared = serde_json::from_slice(text).map(nulls_cleared).map_err(|error| refused(&error))?;
        DynamicMessage::deserialize_with_options(descriptor, cleared, &STRICT)
    } else {
        let mut from = serde_json::Deserializer::from_slice(text);
        let message = DynamicMessage::deserialize_with_options(descriptor, &mut from, &STRICT);
        message.and_then(|message| from.end().map(|()| message))
    };
    message.map(|message| message.encode_to_vec()).map_err(|error| refused(&error))
}

/// The one message in which JSON may say more than its mapping: `null` clears one of its periods.
pub(super) const PATCHES_PERIODS: &str = "UpdateBudgetRequest";
pub(super) const PERIODS: &str = "periods";
/// The field of a decision that says which status a plane may show.
pub const HINT: &str = "http_status_hint";

fn nulls_cleared(mut request: Value) -> Value {
    let periods = request.get_mut(PERIODS).and_then(Value::as_object_mut);
    for patch in periods.into_iter().flat_map(Map::values_mut).filter(|patch| patch.is_null()) {
        *patch = json!({ "clear": true });
    }
    request
}

fn descriptor(pool: &DescriptorPool, name: &str) -> Result<MessageDescriptor, JsonError> {
    let unknown = || JsonError::because(format_args!("{name} is not in the embedded descriptors"));
    pool.get_message_by_name(name).ok_or_else(unknown)
}

/// An error as the Connect protocol writes it: the code in snake_case, the message, and every detail
/// with its type, its bytes in unpadded base64 and, where the type is known, its JSON.
#[derive(Debug, Serialize)]
pub struct ErrorJson {
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<DetailJson>,
}

#[derive(Debug, Serialize)]
struct DetailJson {
    r#type: String,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    debug: Option<Json>,
}

impl From<&Status> for ErrorJson {
    fn from(status: &Status) -> Self {
        // Details that cannot be read are left out: the code and the message still count.
        let details = pb::Status::decode(status.details()).map(|details| details.details).unwrap_or_default();
        Self {
            code: connect_name(status.code()),
            message: status.message().to_owned(),
            details: details.iter().map(|any| DetailJson::of(&any.type_url, &any.value)).collect(),
        }
    }
}

impl DetailJson {
    fn of(type_url: &str, bytes: &[u8]) -> Self {
        let name = type_url.rsplit('/').next().unwrap_or_default();
        let value = BASE64_STANDARD_NO_PAD.encode(bytes);
        Self { r#type: name.to_owned(), value, debug: Json::of_detail(name, bytes) }
    }
}

/// The name of a code in the Connect protocol: gRPC's in lower case, but for one letter.
fn connect_name(code: Code) -> String {
    if code == Code::Cancelled { "canceled".to_owned() } else { code_name(code).to_ascii_lowercase() }
}

/// The name of a code in gRPC.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prost_reflect::{FieldDescriptor, Kind};
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;
    use crate::wire::{
        admin::v1::OrgSummary,
        v1::{
            AcquireBatchResult, AcquireRequest, AcquireResponse, Budget, BudgetPeriod, DecisionCode, FailOpen,
            GetStatusResponse, LimitSource, UpdateBudgetRequest, acquire_batch_result,
        },
    };

    fn read<M: Name + Default>(text: &[u8]) -> Result<M, JsonError> {
        encoded(&M::full_name(), text).map(|bytes| M::decode(&*bytes).unwrap())
    }

    #[test]
    fn a_field_that_stands_twice_is_refused_in_either_of_its_names() {
        for text in [
            r#"{"org":"a","org":"b"}"#,
            r#"{"org":"a","requestId":"1","request_id":"2"}"#,
            r#"{"org":"a","cost":[{"meter":"x","meter":"y"}]}"#,
        ] {
            let refused = read::<AcquireRequest>(text.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains("stands twice at line 1"), "{text}: {refused}");
        }
        let twice = br#"{"org":"a","periods":{"daily":{"limit":1},"daily":{"limit":2}}}"#;
        assert!(read::<UpdateBudgetRequest>(twice).unwrap_err().to_string().contains("\"daily\" stands twice"));
        let in_two = br#"{"org":"a","cost":[{"meter":"x","amount":1},{"meter":"y","amount":"2"}],"explain":true}"#;
        assert_eq!(read::<AcquireRequest>(in_two).unwrap().cost.len(), 2);
    }

    #[test]
    fn what_is_written_is_read_and_what_is_written_wrong_is_named() {
        let asked: AcquireRequest = read(
            br#"{"org":"acme","requestId":"r","cost":[{"meter":"spend","amount":"50"},{"meter":"bytes","amount":7}]}"#,
        )
        .unwrap();
        assert_eq!((asked.org.as_str(), asked.request_id.as_str(), asked.cost.len()), ("acme", "r", 2));
        assert_eq!(asked.cost.iter().map(|cost| cost.amount).collect::<Vec<_>>(), [50, 7]);
        assert_eq!(read::<AcquireRequest>(value(&asked).to_string().as_bytes()), Ok(asked));
        for (text, named) in [
            (r#"{"orgg":"acme"}"#, "orgg"),
            (r#"{"org":7}"#, "string"),
            (r#"{"org":"acme""#, "line 1"),
            (r#"{"org":"acme"} x"#, "trailing"),
            (r#"["acme"]"#, "AcquireRequest"),
        ] {
            let refused = read::<AcquireRequest>(text.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains(named), "{text}: {refused}");
        }
    }

    #[test]
    fn null_clears_a_period_of_a_budget() {
        let text = br#"{"org":"acme","periods":{"daily":null,"weekly":{"limit":"5"}}}"#;
        let patch = read::<UpdateBudgetRequest>(text).unwrap();
        assert!(patch.periods["daily"].clear && !patch.periods["weekly"].clear);
        assert_eq!(patch.periods["weekly"].limit, Some(5));
    }

    fn value(message: &impl Name) -> Value {
        serde_json::to_value(Json::of(message).unwrap()).unwrap()
    }

    fn messages() -> impl Iterator<Item = MessageDescriptor> {
        let messages = descriptors().unwrap().all_messages().filter(|message| !message.is_map_entry());
        // Those of protobuf itself have a JSON of their own.
        messages.filter(|message| message.package_name() != "google.protobuf")
    }

    #[test]
    fn names_are_lower_camel_case_64_bit_integers_are_strings_and_defaults_are_present() {
        let summary = OrgSummary { org: "acme".into(), sequence: 10_000_000_000_000_000, ..OrgSummary::default() };
        let expected = json!({
            "org": "acme", "frozen": false, "sequence": "10000000000000000", "lastChangeAtMs": "0", "plan": "",
            "states": [], "usedPercent": "0", "allowedToday": "0", "deniedToday": "0", "failedOpenToday": "0",
            "near": [], "admittedTotal": "0", "name": "",
        });
        assert_eq!(value(&summary), expected);
    }

    #[test]
    fn a_denial_says_that_it_is_not_allowed() {
        let denial = AcquireResponse { code: DecisionCode::RateLimited.into(), ..AcquireResponse::default() };
        let value = value(&denial);
        assert_eq!((&value["allowed"], &value["code"]), (&json!(false), &json!("DECISION_CODE_RATE_LIMITED")));
        assert_eq!((&value["limits"], &value["httpStatusHint"]), (&json!([]), &json!(0)));
    }

    #[test]
    fn an_enum_value_of_a_newer_server_is_its_number() {
        let status = GetStatusResponse { code: 99, ..GetStatusResponse::default() };
        assert_eq!(value(&status)["code"], 99);
    }

    #[test]
    fn maps_are_objects_and_an_absent_limit_is_left_out() {
        let unlimited = BudgetPeriod { spend: 7, ..BudgetPeriod::default() };
        let source = LimitSource::Budget.into();
        let blocked = BudgetPeriod { limit: Some(0), remaining: Some(-3), source, ..BudgetPeriod::default() };
        let periods = [("hourly".to_owned(), unlimited), ("daily".to_owned(), blocked)].into();
        let value = value(&Budget { periods, ..Budget::default() });
        assert_eq!(
            value["periods"]["hourly"],
            json!({"spend": "7", "reserved": "0", "set": false, "source": "LIMIT_SOURCE_UNSPECIFIED", "sourceUntilMs": "0"}),
            "R-BUD-2: absent is no limit"
        );
        assert_eq!(
            value["periods"]["daily"],
            json!({
                "limit": "0", "spend": "0", "remaining": "-3", "reserved": "0", "set": false,
                "source": "LIMIT_SOURCE_BUDGET", "sourceUntilMs": "0",
            })
        );
    }

    #[test]
    fn a_oneof_shows_only_the_branch_that_is_set() {
        let error = acquire_batch_result::Result::Error(Default::default());
        let result = AcquireBatchResult { result: Some(error) };
        assert_eq!(value(&result), json!({"error": {"grpcCode": 0, "reason": "", "message": ""}}));
        let fail_open = FailOpen { gate: "rate".into(), cause: "timeout".into() };
        assert_eq!(value(&fail_open), json!({"gate": "rate", "cause": "timeout"}));
    }

    /// The rules of proto3 JSON for a default, stated once more without the library that applies them.
    fn default_of(field: &FieldDescriptor) -> Value {
        match field.kind() {
            _ if field.is_map() => json!({}),
            _ if field.is_list() => json!([]),
            Kind::Bool => json!(false),
            Kind::String | Kind::Bytes => json!(""),
            Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => json!("0"),
            Kind::Enum(values) => json!(values.default_value().name()),
            Kind::Double | Kind::Float => json!(0.0),
            _ => json!(0),
        }
    }

    #[test]
    fn the_default_of_every_message_has_each_of_its_fields_that_has_no_presence() {
        let mut seen = 0;
        for message in messages() {
            let plain = message.fields().filter(|field| !field.supports_presence());
            let expected: serde_json::Map<_, _> =
                plain.map(|field| (field.json_name().to_owned(), default_of(&field))).collect();
            let found = serde_json::to_value(Json(DynamicMessage::new(message.clone()))).unwrap();
            assert_eq!(found, Value::Object(expected), "{}", message.full_name());
            seen += 1;
        }
        assert!(seen > 40, "{seen} messages");
    }

    /// Every field with a value that is not its default, of each `oneof` the branch of this number, as
    /// proto3 JSON writes it.
    fn filled(message: &MessageDescriptor, branch: usize, depth: usize) -> Value {
        let mut object = serde_json::Map::new();
        for field in message.fields() {
            let is_other_branch = field.containing_oneof().is_some_and(|oneof| {
                let branches = oneof.fields().len();
                oneof.fields().nth(branch % branches) != Some(field.clone())
            });
            let value = match field.kind() {
                _ if is_other_branch => None,
                Kind::Message(entry) if field.is_map() => {
                    let value = filled_field(&entry.map_entry_value_field().kind(), branch, depth);
                    value.map(|value| json!({"k": value}))
                }
                kind if field.is_list() => filled_field(&kind, branch, depth).map(|value| json!([value])),
                kind => filled_field(&kind, branch, depth),
            };
            // A message inside that is not filled any more: empty where JSON cannot leave it out.
            let empty = (!field.supports_presence()).then(|| default_of(&field));
            if let Some(value) = value.or(empty) {
                object.insert(field.json_name().to_owned(), value);
            }
        }
        Value::Object(object)
    }

    fn filled_field(kind: &Kind, branch: usize, depth: usize) -> Option<Value> {
        match kind {
            Kind::Bool => Some(json!(true)),
            Kind::Int32 => Some(json!(i32::MIN)),
            Kind::Uint32 => Some(json!(u32::MAX)),
            Kind::Int64 => Some(json!(i64::MIN.to_string())),
            Kind::Uint64 => Some(json!(u64::MAX.to_string())),
            Kind::String => Some(json!("\u{1}é\"")),
            Kind::Bytes => Some(json!("//79/A==")),
            Kind::Enum(values) => values.values().last().map(|value| json!(value.name())),
            Kind::Message(inner) if inner.package_name() == "google.protobuf" => match inner.name() {
                "Duration" => Some(json!("-1.500s")),
                "Struct" => Some(json!({"k": [null, true, 1.5, "v", {}]})),
                "UInt64Value" => Some(json!("7")),
                other => panic!("{other} is not used yet: give it a value here"),
            },
            Kind::Message(inner) => (depth > 0).then(|| filled(inner, branch, depth - 1)),
            other => panic!("{other:?} is not used yet: give it a value here"),
        }
    }

    #[test]
    fn every_field_of_every_message_is_written_as_the_rules_say() {
        for message in messages() {
            for branch in 0..2 {
                let expected = filled(&message, branch, 3);
                let read = DynamicMessage::deserialize(message.clone(), expected.clone()).unwrap();
                let written = serde_json::to_value(Json(read)).unwrap();
                assert_eq!(written, expected, "{}", message.full_name());
            }
        }
    }

    fn error(status: &Status) -> Value {
        serde_json::to_value(ErrorJson::from(status)).unwrap()
    }

    #[test]
    fn an_error_has_the_form_of_connect_with_its_details_decoded() {
        let mut details = ErrorDetails::with_error_info("STORE_FAULT", "tollgate", [] as [(String, String); 0]);
        details.set_retry_info(Some(Duration::from_millis(60_500)));
        details.add_bad_request_violation("org", "too long");
        let status = Status::with_error_details(Code::Unavailable, "the store failed", details);
        let expected = json!({
            "code": "unavailable",
            "message": "the store failed",
            "details": [
                {"type": "google.rpc.RetryInfo", "value": "CggIPBCAyrXuAQ", "debug": {"retryDelay": "60.500s"}},
                {"type": "google.rpc.ErrorInfo", "value": "CgtTVE9SRV9GQVVMVBIIdG9sbGdhdGU",
                 "debug": {"reason": "STORE_FAULT", "domain": "tollgate", "metadata": {}}},
                {"type": "google.rpc.BadRequest", "value": "Cg8KA29yZxIIdG9vIGxvbmc",
                 "debug": {"fieldViolations": [
                    {"field": "org", "description": "too long", "reason": ""}
                 ]}},
            ]
        });
        assert_eq!(error(&status), expected);
    }

    #[test]
    fn an_error_without_details_has_a_code_and_a_message_and_a_detail_of_unknown_type_has_its_bytes() {
        assert_eq!(error(&Status::cancelled("gone")), json!({"code": "canceled", "message": "gone"}));
        let unreadable = Status::with_details(Code::DataLoss, "", b"\xff".as_slice().into());
        assert_eq!(error(&unreadable), json!({"code": "data_loss", "message": ""}));
        let unknown = serde_json::to_value(DetailJson::of("type.googleapis.com/acme.Hint", &[1, 2])).unwrap();
        assert_eq!(unknown, json!({"type": "acme.Hint", "value": "AQI"}));
    }
}
