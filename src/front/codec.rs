//! Messages of one rpc, and what is refused before they are decoded.

use std::marker::PhantomData;

use prost::{
    DecodeError, Message,
    bytes::{Buf, BufMut},
    encoding::{DecodeContext, decode_key, skip_field},
};
use tonic::{
    Code, Status,
    codec::{self, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use crate::{
    rpc::{Replied, Taken, table::Method},
    wire::status,
};

/// Fields of a message at its top. A batch of the most items that an operator may allow has fewer; an empty item
/// takes two bytes and becomes some hundred.
const FIELDS: usize = 16_384;
/// Shorter messages cannot have too many fields to matter.
const COUNTED_FROM: usize = 4_096;

/// The codec of one rpc.
#[derive(Debug)]
pub(super) struct Codec<R> {
    /// Requests are kept as they came.
    keeps: bool,
    rpc: PhantomData<fn() -> R>,
}

impl<R> Codec<R> {
    pub(super) fn keeping(keeps: bool) -> Self {
        Self { keeps, rpc: PhantomData }
    }
}

impl<R: Method> codec::Codec for Codec<R> {
    type Encode = Replied<R::Response>;
    type Decode = Taken<R::Request>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self::keeping(self.keeps)
    }

    fn decoder(&mut self) -> Self {
        Self::keeping(self.keeps)
    }
}

impl<R: Method> Encoder for Codec<R> {
    type Item = Replied<R::Response>;
    type Error = Status;

    fn encode(&mut self, answer: Self::Item, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match answer {
            Replied::Own(message) => message.encode(buf).map_err(|error| Status::internal(error.to_string())),
            Replied::Relayed { bytes, .. } => {
                buf.put(bytes);
                Ok(())
            }
        }
    }
}

impl<R: Method> Decoder for Codec<R> {
    type Item = Taken<R::Request>;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        with_few_fields(buf.chunk())?;
        let taken = if self.keeps {
            Taken::kept(buf.copy_to_bytes(buf.remaining()))
        } else {
            R::Request::decode(buf).map(Taken::from)
        };
        taken.map(Some).map_err(|error| malformed(&error))
    }
}

/// Refuses what would take far more memory than it has bytes.
pub(super) fn with_few_fields(bytes: &[u8]) -> Result<(), Status> {
    if bytes.len() >= COUNTED_FROM && fields(bytes).map_err(|error| malformed(&error))? > FIELDS {
        let why = format!("the request has more than {FIELDS} fields: split it");
        return Err(status::unreadable(Code::InvalidArgument, why));
    }
    Ok(())
}

pub(super) fn malformed(error: &DecodeError) -> Status {
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
