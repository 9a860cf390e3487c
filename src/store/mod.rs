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
//! * **What became of a commit has a name.** It is durable, or a [`CommitError`](crate::ports::CommitError) says
//!   what is known: refused because another node owns the shard, not written, or in doubt. Behind a commit that is not
//!   durable nothing of its org is written until the org is loaded again. An error is never an acknowledgement and
//!   never a verdict.
//! * **A store that does not answer comes back or is lost** ([`StoreState`](crate::ports::StoreState)). A local engine
//!   that failed is lost: the group it hit is in doubt, nothing after it is written, and only a restart clears that.
//! * **Corrupt is loud.** Every value carries a version and a checksum over its key and itself. A row
//!   that does not check out fails the load of its org by name; it is never skipped and never fresh.
//!   An engine that cannot be opened is moved aside and the node refuses to start empty.
//! * **Old is corrupt.** A row that shows a value it had before checks out by itself, so the rows of an
//!   org add up to a digest in its head, and heads and timers to a number in the node's own row: the
//!   load of an org with an older row fails, and a store with an older org does not open.
//!
//! The first five hold for every store; how the last two are kept is each family's own.
//!
//! ```text
//! kinds/          what is stored: one file for each kind of row              no engine, no bytes
//! gaps.rs         what the rows of an org show to be missing                 every store
//! dump/           JSON lines out of any store and into any other             the port alone
//! conformance.rs  what every store must do, as a suite of tests              the port alone
//! broken.rs       what a node serves with when nothing could be opened
//! reply.rs        the way back of a commit: answered exactly once
//! kv/             the family of engines of ordered bytes: memory, sled; fsck
//! postgres/       typed tables of a database: takes rows as they are, without keys, codec and digests
//! ```

pub mod broken;
#[cfg(test)]
mod conformance;
pub mod dump;
mod gaps;
mod kinds;
mod kv;
pub mod postgres;
mod reply;
#[cfg(test)]
mod samples;

pub use kv::{memory, offline, sled};
