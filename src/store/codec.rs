//! How a value looks on disk.
//!
//! ```text
//! version  crc32(version, key, payload)  payload (bincode)
//! 1 byte   4 bytes, big-endian           the rest
//! ```
//!
//! The checksum covers the key, so a value that turned up under another key is corrupt too. It is
//! checked before anything is decoded, and the version after it: an unknown version under a good
//! checksum was written by a newer tollgate, not by a broken disk.

use std::fmt;

use bincode::config::{Configuration, Limit, standard};

use super::{
    VALUE_BYTES,
    keys::{Key, KeyError},
    records::{Record, RecordOf, check},
};

/// The version this build writes; all up to it are read.
pub const VERSION: u8 = 1;

const CRC_AT: usize = 1;
const PAYLOAD_AT: usize = CRC_AT + size_of::<u32>();

type Config = Configuration<bincode::config::LittleEndian, bincode::config::Varint, Limit<VALUE_BYTES>>;

/// The limit bounds what decoding may allocate, whatever the lengths in the bytes claim.
const fn config() -> Config {
    standard().with_limit::<VALUE_BYTES>()
}

/// A stored value that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecError {
    /// The key, readable where it could be read.
    pub key: String,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    Key(KeyError),
    Truncated(usize),
    TooLong(usize),
    Checksum,
    /// Written by a newer tollgate.
    UnknownVersion(u8),
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
            Self::UnknownVersion(version) => {
                write!(f, "version {version} is not known, this build reads 1 to {VERSION}")
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
    pub fn new(key: &Key, why: Why) -> Self {
        Self { key: key.to_string(), why }
    }
}

/// The bytes of a value under its key.
pub fn encode(key: &Key, key_bytes: &[u8], record: &Record) -> Result<Vec<u8>, CodecError> {
    if let Record::Row { row, .. } = record {
        check(row).map_err(|error| CodecError::new(key, Why::Payload(error.to_string())))?;
    }
    let mut value = vec![VERSION, 0, 0, 0, 0];
    bincode::serde::encode_into_std_write(record, &mut value, config())
        .map_err(|error| CodecError::new(key, Why::Payload(error.to_string())))?;
    if value.len() > VALUE_BYTES {
        return Err(CodecError::new(key, Why::TooLong(value.len())));
    }
    let checksum = checksum(VERSION, key_bytes, &value[PAYLOAD_AT..]);
    value[CRC_AT..PAYLOAD_AT].copy_from_slice(&checksum.to_be_bytes());
    Ok(value)
}

/// What a stored key and value say.
pub fn decode(key_bytes: &[u8], value: &[u8]) -> Result<(Key, Record), CodecError> {
    let key = decode_key(key_bytes)?;
    match decode_value(&key, key_bytes, value) {
        Ok(record) => Ok((key, record)),
        Err(why) => Err(CodecError::new(&key, why)),
    }
}

pub fn decode_key(key_bytes: &[u8]) -> Result<Key, CodecError> {
    Key::decode(key_bytes).map_err(|error| CodecError { key: hex(key_bytes), why: Why::Key(error) })
}

fn decode_value(key: &Key, key_bytes: &[u8], value: &[u8]) -> Result<Record, Why> {
    if value.len() > VALUE_BYTES {
        return Err(Why::TooLong(value.len()));
    }
    let (&[version], rest) = value.split_first_chunk::<1>().ok_or(Why::Truncated(value.len()))?;
    let (&stored, payload) = rest.split_first_chunk::<4>().ok_or(Why::Truncated(value.len()))?;
    if u32::from_be_bytes(stored) != checksum(version, key_bytes, payload) {
        return Err(Why::Checksum);
    }
    if version != VERSION {
        return Err(Why::UnknownVersion(version));
    }
    let (record, read) = bincode::serde::seed_decode_from_slice(RecordOf(key), payload, config())
        .map_err(|error| Why::Payload(error.to_string()))?;
    if read == payload.len() { Ok(record) } else { Err(Why::TrailingBytes(payload.len() - read)) }
}

fn checksum(version: u8, key: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version]);
    hasher.update(key);
    hasher.update(payload);
    hasher.finalize()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
