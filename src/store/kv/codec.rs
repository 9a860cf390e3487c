//! The form of a value on disk.
//!
//! ```text
//! version  crc32(version, key, all behind)  in heads: rows, sum     payload (bincode)
//! 1 byte   4 bytes, big-endian              8 bytes each, the same  the rest
//! ```
//!
//! A head carries its org's [`Digest`] outside of the payload, because it is known only when all rows
//! of a group are: [`set_digest`] puts it there.
//!
//! The checksum covers the key, so a value that turned up under another key is corrupt too. It is
//! checked before anything is decoded, and the version after it: an unknown version under a good
//! checksum was written by another tollgate, not by a broken disk.

use std::fmt;

use bincode::config::{Configuration, Limit, standard};

use super::{
    VALUE_BYTES,
    digest::Digest,
    keys::{HEAD, Key},
    record::{Record, RecordOf},
};
use crate::store::kinds::{FIRST_VERSION, KeyError};

const CRC_AT: usize = 1;
const BODY_AT: usize = CRC_AT + size_of::<u32>();
const DIGEST_BYTES: usize = 2 * size_of::<u64>();

type Config = Configuration<bincode::config::LittleEndian, bincode::config::Varint, Limit<VALUE_BYTES>>;

/// The limit bounds what decoding may allocate, whatever the lengths in the bytes claim.
const fn config() -> Config {
    standard().with_limit::<VALUE_BYTES>()
}

/// A stored value that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CodecError {
    /// The key, readable where it could be read.
    pub(super) key: String,
    pub(super) why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    Key(KeyError),
    Truncated(usize),
    TooLong(usize),
    Checksum,
    /// Written by another tollgate.
    UnknownVersion {
        found: u8,
        /// The newest of the kind that this build reads.
        newest: u8,
    },
    Payload(String),
    TrailingBytes(usize),
    /// A journal row and its parts do not belong together.
    Parts {
        expected: u16,
        found: usize,
    },
    /// Rows that must be there are not.
    Incomplete(String),
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row \"{}\" is not readable: {}", self.key, self.why)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(error) => error.fmt(f),
            Self::Truncated(len) => write!(f, "{len} bytes are fewer than its frame"),
            Self::TooLong(len) => write!(f, "{len} bytes are more than the {VALUE_BYTES} allowed"),
            Self::Checksum => f.write_str("the checksum does not match"),
            Self::UnknownVersion { found, newest } if *newest == FIRST_VERSION => {
                write!(f, "version {found} is not known, this build reads {FIRST_VERSION}")
            }
            Self::UnknownVersion { found, newest } => {
                write!(f, "version {found} is not known, this build reads {FIRST_VERSION} to {newest}")
            }
            Self::Payload(error) => f.write_str(error),
            Self::TrailingBytes(count) => write!(f, "{count} bytes behind its end"),
            Self::Parts { expected, found } => write!(f, "{expected} parts are expected and {found} are stored"),
            Self::Incomplete(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for CodecError {}

impl CodecError {
    pub(super) fn new(key: &Key, why: Why) -> Self {
        Self { key: key.to_string(), why }
    }
}

/// The bytes of a value under its key.
pub(super) fn encode(key: &Key, key_bytes: &[u8], record: &Record) -> Result<Vec<u8>, CodecError> {
    let mut value = vec![record.version(), 0, 0, 0, 0];
    if key.kind() == Some(HEAD) {
        value.extend([0; DIGEST_BYTES]);
    }
    bincode::serde::encode_into_std_write(record, &mut value, config())
        .map_err(|error| CodecError::new(key, Why::Payload(error.to_string())))?;
    if value.len() > VALUE_BYTES {
        return Err(CodecError::new(key, Why::TooLong(value.len())));
    }
    stamp(key_bytes, &mut value);
    Ok(value)
}

fn stamp(key_bytes: &[u8], value: &mut [u8]) {
    let checksum = checksum(value[0], key_bytes, &value[BODY_AT..]);
    value[CRC_AT..BODY_AT].copy_from_slice(&checksum.to_be_bytes());
}

/// What a head says the org's other rows add up to.
pub(super) fn digest(key_bytes: &[u8], head: &[u8]) -> Result<Digest, CodecError> {
    let why = match body(key_bytes, head, HEAD.newest()).map(|(_, body)| body.as_chunks::<8>()) {
        Ok(([rows, sum, ..], _)) => {
            return Ok(Digest { rows: u64::from_be_bytes(*rows), sum: u64::from_be_bytes(*sum) });
        }
        Ok(_) => Why::Truncated(head.len()),
        Err(why) => why,
    };
    Err(CodecError::new(&decode_key(key_bytes)?, why))
}

/// Replaces it in an encoded head.
pub(super) fn set_digest(key_bytes: &[u8], head: &mut [u8], digest: Digest) {
    if let Some(into) = head.get_mut(BODY_AT..BODY_AT + DIGEST_BYTES) {
        into[..8].copy_from_slice(&digest.rows.to_be_bytes());
        into[8..].copy_from_slice(&digest.sum.to_be_bytes());
        stamp(key_bytes, head);
    }
}

/// What a stored key and value say.
pub(super) fn decode(key_bytes: &[u8], value: &[u8]) -> Result<(Key, Record), CodecError> {
    let key = decode_key(key_bytes)?;
    match decode_value(&key, key_bytes, value) {
        Ok(record) => Ok((key, record)),
        Err(why) => Err(CodecError::new(&key, why)),
    }
}

pub(super) fn decode_key(key_bytes: &[u8]) -> Result<Key, CodecError> {
    Key::decode(key_bytes).map_err(|error| CodecError { key: hex(key_bytes), why: Why::Key(error) })
}

fn decode_value(key: &Key, key_bytes: &[u8], value: &[u8]) -> Result<Record, Why> {
    let (version, body) = body(key_bytes, value, key.newest())?;
    let digest = if key.kind() == Some(HEAD) { DIGEST_BYTES } else { 0 };
    let payload = body.get(digest..).ok_or(Why::Truncated(value.len()))?;
    let (record, read) = bincode::serde::seed_decode_from_slice(RecordOf { key, version }, payload, config())
        .map_err(|error| Why::Payload(error.to_string()))?;
    if read == payload.len() { Ok(record) } else { Err(Why::TrailingBytes(payload.len() - read)) }
}

/// The version, and what is behind the checksum, once both are good.
fn body<'v>(key_bytes: &[u8], value: &'v [u8], newest: u8) -> Result<(u8, &'v [u8]), Why> {
    if value.len() > VALUE_BYTES {
        return Err(Why::TooLong(value.len()));
    }
    let (&[version], rest) = value.split_first_chunk::<1>().ok_or(Why::Truncated(value.len()))?;
    let (&stored, body) = rest.split_first_chunk::<4>().ok_or(Why::Truncated(value.len()))?;
    if u32::from_be_bytes(stored) != checksum(version, key_bytes, body) {
        return Err(Why::Checksum);
    }
    if (FIRST_VERSION..=newest).contains(&version) {
        Ok((version, body))
    } else {
        Err(Why::UnknownVersion { found: version, newest })
    }
}

fn checksum(version: u8, key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version]);
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
