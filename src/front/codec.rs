//! Messages of rpcs, and what is refused before they are decoded.

use std::marker::PhantomData;

use prost::{
    DecodeError, Message,
    bytes::{Buf, Bytes},
    encoding::{DecodeContext, decode_key, skip_field},
};
use tonic::{
    Code, Status,
    codec::{self, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::{
    rpc::{
        Taken,
        table::{Method, UnaryRpc},
    },
    service::Service,
    wire::status,
};

/// Fields of a message at its top. A batch of the most items that an operator may allow has fewer; an empty item
/// takes two bytes and becomes some hundred.
const FIELDS: usize = 16_384;
/// Shorter messages cannot have too many fields to matter.
const COUNTED_FROM: usize = 4_096;

/// The codec of an rpc with streams.
#[derive(Debug)]
pub(super) struct StreamCodec<R>(PhantomData<fn() -> R>);

impl<R> Default for StreamCodec<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<R: Method> codec::Codec for StreamCodec<R> {
    type Encode = R::Response;
    type Decode = R::Request;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::default()
    }

    fn decoder(&mut self) -> Self {
        Self::default()
    }
}

impl<R: Method> Encoder for StreamCodec<R> {
    type Item = R::Response;
    type Error = Status;

    fn encode(&mut self, answer: Self::Item, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        answer.encode(buf).map_err(|error| Status::internal(error.to_string()))
    }
}

impl<R: Method> Decoder for StreamCodec<R> {
    type Item = R::Request;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        decoded(buf).map(Some)
    }
}

/// The request of a unary rpc. What may be sent to another node is sent as it came.
pub(super) fn taken(service: &Service, row: UnaryRpc, bytes: Bytes) -> Result<Taken, Status> {
    with_few_fields(&bytes)?;
    Taken::of(row, bytes, !service.table().is_alone()).map_err(|error| malformed(&error))
}

/// The request of an rpc with streams; all of it lies in one piece.
pub(super) fn decoded<M: Message + Default>(bytes: impl Buf) -> Result<M, Status> {
    with_few_fields(bytes.chunk())?;
    M::decode(bytes).map_err(|error| malformed(&error))
}

/// Refuses what would take far more memory than it has bytes.
fn with_few_fields(bytes: &[u8]) -> Result<(), Status> {
    if bytes.len() >= COUNTED_FROM && fields(bytes).map_err(|error| malformed(&error))? > FIELDS {
        let why = format!("the request has more than {FIELDS} fields: split it");
        return Err(status::unreadable(Code::InvalidArgument, why));
    }
    Ok(())
}

fn malformed(error: &DecodeError) -> Status {
    status::unreadable(Code::InvalidArgument, format!("the request is not the message that this rpc takes: {error}"))
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
