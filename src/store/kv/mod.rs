//! Engines of ordered bytes: rows become keys and values, and what protects bytes stands around them.
//!
//! ```text
//! prepare.rs    OrgWrite -> keys and values
//! changes.rs    many commits merged into one atomic batch
//! read.rs       keys and values -> OrgRows, and the questions about many orgs
//! beside.rs     rows that are not loaded with their org
//! questions.rs  both of them as methods of the port, for every store
//! digest.rs     what the rows of an org, and all orgs, add up to
//! keys.rs       the keyspace: one enum, stable bytes
//! codec.rs      version byte, checksum, bincode      record.rs   what is inside
//! keyspace.rs   what all of it reads from
//! memory.rs     the bytes in a map, with faults on request
//! sled/         the engine of a single node
//! offline.rs    fsck, export and import of a data directory without a running node
//! ```

mod beside;
mod changes;
mod codec;
mod digest;
mod keys;
mod keyspace;
pub mod memory;
pub mod offline;
mod prepare;
mod questions;
mod read;
mod record;
#[cfg(test)]
mod samples;
pub mod sled;

use questions::questions;

/// Largest stored value. sled writes a tree node (up to 20 rows) as one log message and puts messages
/// beyond 128 KiB into files it never syncs, so rows are kept far below that.
const VALUE_BYTES: usize = 4096;

const _: () = assert!(20 * (VALUE_BYTES + keys::KEY_BYTES) < 128 * 1024);
const _: () = assert!(super::kinds::PIECE_BYTES <= VALUE_BYTES);
