//! Messages of one rpc, and what is refused before they are decoded.

use std::marker::PhantomData;

use prost::{
    DecodeError, Message,
    bytes::Buf,
    encoding::{DecodeContext, decode_key, skip_field},
};
use tonic::{
    Status,
    codec::{self, DecodeBuf, Decoder},
};
use tonic_prost::ProstEncoder;

use crate::rpc::table::Method;

/// Fields of a message at its top. A batch of the most items that an operator may allow has fewer; an empty item
/// takes two bytes and becomes some hundred.
const FIELDS: usize = 16_384;
/// Shorter messages cannot have too many fields to matter.
const COUNTED_FROM: usize = 4_096;

/// The codec of one rpc.
#[derive(Debug)]
pub(super) struct Codec<R>(PhantomData<fn() -> R>);

impl<R> Default for Codec<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<R: Method> codec::Codec for Codec<R> {
    type Encode = R::Response;
    type Decode = R::Request;
    type Encoder = ProstEncoder<R::Response>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<R: Method> Decoder for Codec<R> {
    type Item = R::Request;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<R::Request>, Status> {
        let bytes = buf.chunk();
        if bytes.len() >= COUNTED_FROM && fields(bytes).map_err(|error| malformed(&error))? > FIELDS {
            let why = format!("the request has more than {FIELDS} fields: split it");
            return Err(Status::invalid_argument(why));
        }
        R::Request::decode(buf).map(Some).map_err(|error| malformed(&error))
    }
}

fn malformed(error: &DecodeError) -> Status {
    Status::invalid_argument(format!("the request is not the message that this rpc takes: {error}"))
}

/// How many fields a message has at its top, counted no further than it matters.
fn fields(mut bytes: &[u8]) -> Result<usize, DecodeError> {
    let mut count = 0;
    while bytes.has_remaining() && count <= FIELDS {
        let (tag, wire_type) = decode_key(&mut bytes)?;
        skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1;

    #[test]
    fn fields_are_counted_without_decoding() {
        let items = vec![v1::AcquireRequest { org: "a".into(), ..Default::default() }; 1_000];
        let batch = v1::AcquireBatchRequest { items };
        assert_eq!(fields(&batch.encode_to_vec()).unwrap(), 1_000);
        let empty = v1::AcquireBatchRequest { items: vec![v1::AcquireRequest::default(); 500_000] };
        assert_eq!(fields(&empty.encode_to_vec()).unwrap(), FIELDS + 1, "and no further");
        assert!(fields(&[0xff; 16]).is_err());
        assert!(fields(&[0x0a, 0x7f, 1]).is_err(), "longer than what is there");
    }
}
