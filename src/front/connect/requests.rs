//! A request of Connect: out of the body or the query, within its bounds, and as the message that its rpc takes.

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hyper::{HeaderMap, header::CONTENT_ENCODING};
use prost::bytes::Bytes;
use tonic::{Code, Status};
use url::form_urlencoded;

use super::{super::codec::decoded as checked, Codec};
use crate::{
    domain::input::InputError,
    error::ServiceError,
    rpc::table::{Method, Rpc},
    wire::{
        json,
        status::{self, unreadable},
    },
};

const VERSION: &str = "connect-protocol-version";
/// What JSON may be made of, so that a short text does not become a long list: objects and lists, and members of both. A batch of
/// the most items that an operator may allow has fewer.
const JSON_NODES: usize = 65_536;
const JSON_MEMBERS: usize = 262_144;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn refused(field: &str, given: &str, allowed: &str) -> Status {
    status::to_status(&ServiceError::Input(InputError::new(field, given, allowed)))
}

/// It is of the version of the protocol that is served here, and not compressed.
pub(super) fn is_known(headers: &HeaderMap) -> Result<(), Status> {
    if let Some(other) = headers.get(VERSION).filter(|given| *given != "1") {
        return Err(refused(VERSION, other.to_str().unwrap_or("?"), "1"));
    }
    for name in [CONTENT_ENCODING.as_str(), "connect-content-encoding"] {
        let given = headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        if let Some(given) = given.filter(|given| *given != "identity") {
            return Err(unreadable(
                Code::Unimplemented,
                format!("{name} {given:?} is not supported, only identity is"),
            ));
        }
    }
    Ok(())
}

/// Whether a decision is to be answered with the status that it hints at, and not with 200: `?status=real`.
pub(super) fn wants_real_status(rpc: &Rpc, query: &str) -> Result<bool, Status> {
    let Some((_, value)) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "status") else {
        return Ok(false);
    };
    match &*value {
        "real" if json::has_field(&(rpc.response)(), json::HINT) => Ok(true),
        "real" => Err(refused("status", "real", "nothing: an answer of this rpc is no decision")),
        other => Err(refused("status", other, "real")),
    }
}

/// The request in the query of a GET.
pub(super) fn in_query(query: &str) -> Result<(Codec, Bytes), Status> {
    let (mut codec, mut message, mut is_base64) = (None, None, false);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*name, &*value) {
            ("connect", "v1") | ("compression", "" | "identity") => {}
            ("connect", other) => return Err(refused("connect", other, "v1")),
            ("encoding", "json") => codec = Some(Codec::Json),
            ("encoding", "proto") => codec = Some(Codec::Proto),
            ("encoding", other) => return Err(refused("encoding", other, "json or proto")),
            ("base64", given) => is_base64 = given == "1",
            ("compression", other) => return Err(refused("compression", other, "identity")),
            ("message", _) => message = Some(value.into_owned()),
            // A later version of the protocol may say more.
            _ => {}
        }
    }
    let codec = codec.ok_or_else(|| refused("encoding", "", "json or proto"))?;
    let message = message.ok_or_else(|| refused("message", "", "the request, in the encoding that is named"))?;
    let bytes = match is_base64 {
        true => {
            BASE64.decode(&message).map_err(|_| refused("message", &message, "base64 for URLs, as base64=1 says"))?
        }
        false => message.into_bytes(),
    };
    Ok((codec, bytes.into()))
}

/// The request as nodes write it.
pub(super) fn encoded(codec: Codec, rpc: &Rpc, bytes: Bytes) -> Result<Bytes, Status> {
    match codec {
        Codec::Proto => Ok(bytes),
        Codec::Json => {
            with_few_nodes(&bytes)?;
            // A call without fields may be an empty body: `curl -X POST`.
            let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
            let read = json::encoded(&(rpc.request)(), text);
            read.map(Bytes::from).map_err(|error| unreadable(Code::InvalidArgument, error.to_string()))
        }
    }
}

/// The request of an rpc with streams.
pub(super) fn decoded<R: Method>(codec: Codec, bytes: Bytes) -> Result<R::Request, Status> {
    checked(&*encoded(codec, R::RPC, bytes)?)
}

/// Refuses what would take far more memory than it has bytes.
fn with_few_nodes(text: &[u8]) -> Result<(), Status> {
    // Each takes a byte at least: no call about one org is long enough.
    if text.len() <= JSON_NODES {
        return Ok(());
    }
    let (mut nodes, mut members, mut quoted, mut escaped) = (0, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => nodes += 1,
            b',' if !quoted => members += 1,
            _ => {}
        }
    }
    if nodes > JSON_NODES || members > JSON_MEMBERS {
        let why = format!(
            "the request has more than {JSON_NODES} objects and lists, or more than {JSON_MEMBERS} members: split it"
        );
        return Err(unreadable(Code::InvalidArgument, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::{
        rpc::table::{Acquire, AcquireBatch},
        wire::v1::AcquireRequest,
    };

    #[test]
    fn a_query_has_the_request_in_either_encoding() {
        let asked = AcquireRequest { org: "acme".into(), ..AcquireRequest::default() };
        let in_base64 = |padded: bool| {
            let text = base64::engine::general_purpose::URL_SAFE.encode(asked.encode_to_vec());
            if padded { text } else { text.trim_end_matches('=').to_owned() }
        };
        for query in [
            "connect=v1&encoding=json&message=%7B%22org%22%3A%22acme%22%7D".to_owned(),
            format!("encoding=proto&base64=1&message={}", in_base64(true)),
            format!("encoding=proto&base64=1&message={}&compression=identity&later=1", in_base64(false)),
        ] {
            let (codec, bytes) = in_query(&query).unwrap();
            assert_eq!(decoded::<Acquire>(codec, bytes).unwrap(), asked, "{query}");
        }
        for (query, field) in [
            ("", "encoding"),
            ("encoding=json", "message"),
            ("encoding=xml&message=1", "encoding"),
            ("connect=v2&encoding=json&message={}", "connect"),
            ("encoding=proto&base64=1&message=%21", "message"),
            ("encoding=json&compression=gzip&message={}", "compression"),
        ] {
            let refused = in_query(query).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
            assert!(refused.message().contains(field), "{query}: {refused}");
        }
    }

    #[test]
    fn json_is_counted_before_it_is_decoded() {
        let batch = |items: usize| format!("{{\"items\":[{}]}}", vec!["{}"; items].join(","));
        let read = |text: String| decoded::<AcquireBatch>(Codec::Json, text.into());
        assert_eq!(read(batch(1_000)).unwrap().items.len(), 1_000);
        let refused = read(batch(JSON_NODES)).unwrap_err();
        assert!(refused.message().contains("split it"), "{refused}");
        let text = "\\\"{{[[,,".repeat(JSON_NODES);
        assert!(with_few_nodes(format!("\"{text}\"").as_bytes()).is_ok(), "inside of a text they are letters");
    }

    #[test]
    fn an_unknown_field_is_named_and_an_empty_body_is_an_empty_message() {
        let refused = decoded::<Acquire>(Codec::Json, Bytes::from_static(b"{\"orgg\":\"acme\"}")).unwrap_err();
        assert!(refused.message().contains("orgg"), "{refused}");
        for codec in [Codec::Json, Codec::Proto] {
            assert_eq!(decoded::<Acquire>(codec, Bytes::new()).unwrap(), AcquireRequest::default());
        }
    }

    #[test]
    fn what_is_compressed_or_of_another_version_is_refused() {
        for (name, given, expected) in [
            ("content-encoding", "identity", Ok(())),
            ("content-encoding", "gzip", Err(Code::Unimplemented)),
            ("connect-content-encoding", "br", Err(Code::Unimplemented)),
            (VERSION, "1", Ok(())),
            (VERSION, "2", Err(Code::InvalidArgument)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, given.parse().unwrap());
            assert_eq!(is_known(&headers).map_err(|refused| refused.code()), expected, "{name}: {given}");
        }
    }
}
