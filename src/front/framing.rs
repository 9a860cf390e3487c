//! Bodies of requests within their bounds, and messages behind flags and a length, as gRPC and the streams of Connect have them.

use std::error::Error;

use http_body_util::BodyExt;
use hyper::body::Body as HttpBody;
use prost::bytes::{BufMut, Bytes, BytesMut};
use tonic::{Code, Status};

use crate::wire::status::unreadable;

/// Flags and length before each message.
const PREFIX: usize = 5;

/// The whole body.
pub(super) async fn whole<B>(body: B, longest: usize) -> Result<Bytes, Status>
where
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > longest {
        return Err(too_long(announced, longest));
    }
    read(body, longest).await
}

/// The one message of a framed body.
pub(super) async fn framed<B>(body: B, longest: usize) -> Result<Bytes, Status>
where
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    let mut bytes = read(body, longest.saturating_add(PREFIX)).await?;
    let length = bytes.get(1..PREFIX).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes);
    match (bytes.first(), length) {
        (Some(0), Some(length)) if bytes.len() - PREFIX == length as usize => Ok(bytes.split_off(PREFIX)),
        (Some(1..), Some(_)) => Err(unreadable(
            Code::InvalidArgument,
            "the request is compressed, or ends before its message: its flags are not 0",
        )),
        _ => Err(unreadable(Code::InvalidArgument, "the body is not one message behind its flags and length")),
    }
}

async fn read<B>(mut body: B, longest: usize) -> Result<Bytes, Status>
where
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    // Nearly every request comes in one piece, which is read where it lies.
    let (mut piece, mut pieces) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|fault| broken(fault.into()))?.into_data() else { continue };
        let found = piece.len() + pieces.len() + data.len();
        if found > longest {
            return Err(too_long(found, longest));
        }
        if piece.is_empty() && pieces.is_empty() {
            piece = data;
        } else {
            pieces.extend_from_slice(&std::mem::take(&mut piece));
            pieces.extend_from_slice(&data);
        }
    }
    Ok(if pieces.is_empty() { piece } else { pieces.freeze() })
}

fn broken(fault: Box<dyn Error + Send + Sync>) -> Status {
    match fault.downcast::<Status>() {
        Ok(status) => *status,
        Err(fault) => unreadable(Code::Cancelled, format!("the request did not arrive: {fault}")),
    }
}

/// As gRPC answers it.
fn too_long(found: usize, longest: usize) -> Status {
    unreadable(Code::OutOfRange, format!("the request is too long: it has {found} bytes, the limit is {longest} bytes"))
}

/// A message behind its flags and length.
pub(super) fn frame(flags: u8, bytes: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(bytes.len() + PREFIX);
    frame.put_u8(flags);
    frame.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(bytes);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    use super::*;

    #[test]
    fn a_frame_has_flags_a_length_and_its_bytes() {
        assert_eq!(&frame(0, b"ab")[..], [0, 0, 0, 0, 2, b'a', b'b']);
    }

    fn in_pieces(of: &[u8], len: usize) -> impl HttpBody<Data = Bytes, Error = Status> + Unpin {
        let pieces: Vec<_> = of.chunks(len).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        StreamBody::new(stream::iter(pieces))
    }

    #[tokio::test]
    async fn one_message_is_found_however_it_is_cut_and_within_its_bound() {
        let sent = frame(0, b"some message");
        for len in 1..=sent.len() {
            assert_eq!(framed(in_pieces(&sent, len), 12).await.unwrap(), &b"some message"[..], "{len}");
            assert_eq!(framed(in_pieces(&sent, len), 11).await.unwrap_err().code(), Code::OutOfRange, "{len}");
        }
        assert_eq!(framed(Full::new(frame(0, b"")), 0).await.unwrap(), Bytes::new());
        let two = [&frame(0, b"a")[..], &frame(0, b"b")].concat();
        for broken in [&b""[..], &sent[..4], &sent[..9], &two, &frame(1, b"a")] {
            let refused = framed(in_pieces(broken, 3), 99).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{broken:?}");
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_says_so_and_a_reason_of_our_own_is_kept() {
        let cut = |fault: Box<dyn Error + Send + Sync>| {
            let frames = [Ok(Frame::data(Bytes::from_static(b"ab"))), Err(fault)];
            StreamBody::new(stream::iter(frames))
        };
        assert_eq!(whole(cut("reset".into()), 9).await.unwrap_err().code(), Code::Cancelled);
        let late = Status::deadline_exceeded("late");
        assert_eq!(whole(cut(late.into()), 9).await.unwrap_err().message(), "late");
    }
}
