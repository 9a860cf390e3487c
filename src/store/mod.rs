//! Keeps orgs on disk. This module's contract, once and for all:
//!
//! * **A commit is whole or absent.** All rows of an [`OrgWrite`](crate::domain::rows::OrgWrite)
//!   become durable together with everything else of their commit group, or none of them does.
//! * **`done(Ok)` means durable**: the group's bytes and the file that holds them have been synced,
//!   so neither `kill -9` nor a power cut takes the commit back. What a reply waits for is decided by
//!   the org's actor: Record, ReportCumulative, Commit, Release, Extend, reservations and admin writes
//!   wait; a plain Acquire is written behind and may be forgotten whole, charge and request id
//!   together.
//! * **Order.** Commits of one org become durable in the order they were handed over.
//! * **A fault is an end.** The first engine error is latched: the group it hit and everything after
//!   it fails with that same [`StoreFault`](crate::ports::StoreFault), and nothing is acknowledged any
//!   more. Only a restart clears it. A fault is never an acknowledgement and never a verdict.
//! * **Corrupt is loud.** Every value carries a version and a checksum over its key and itself. A row
//!   that does not check out fails the load of its org by name; it is never skipped and never fresh.
//!   An engine that can not be opened is moved aside and the node refuses to start empty.
//! * **Old is corrupt.** A row that shows a value it had before checks out by itself, so the rows of an
//!   org add up to a digest in its head, and heads and timers to a number in the node's own row: the
//!   load of an org with an older row fails, and a store with an older org does not open.
//!
//! ```text
//! rows.rs       OrgWrite -> keys and values; keys and values -> OrgRows      (every engine)
//! changes.rs    many commits merged into one atomic batch                    (every engine)
//! digest.rs     what the rows of an org, and all orgs, add up to              (every engine)
//! keys.rs       the keyspace: one enum, stable bytes
//! codec.rs      version byte, checksum, bincode      records.rs   what is inside
//! memory.rs     the same bytes in a map, with faults on request
//! sled/         the engine of a single node
//! broken.rs     what a node serves with when nothing could be opened
//! offline.rs    fsck                                 export.rs    JSON lines out and in
//! ```

pub mod broken;
mod changes;
pub mod codec;
#[cfg(test)]
mod conformance;
mod digest;
pub mod dump;
pub mod keys;
pub mod memory;
pub mod offline;
mod records;
pub mod rows;
#[cfg(test)]
mod samples;
pub mod sled;

/// Largest stored value. The engine writes a tree node (up to 20 rows) as one log message and puts
/// messages beyond 128 KiB into files it never syncs, so rows are kept far below that; a longer
/// journal row is split into parts.
pub const VALUE_BYTES: usize = 4096;

const _: () = assert!(20 * (VALUE_BYTES + keys::KEY_BYTES) < 128 * 1024);
