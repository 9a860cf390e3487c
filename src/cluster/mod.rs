//! How nodes that share a store spread the orgs among them.
//!
//! ```text
//! lease.rs       how long a node may take itself for an owner, and another one for dead     pure
//! placement.rs   which node should own which shard                                          pure
//! table.rs       which node answers for which shard: every call asks here
//! keeper.rs      keeps the lease in one cell, takes and gives its shards: what writes the table
//! membership.rs  the keepers of all cells
//! ```
//!
//! A node that is alone has a table in which it owns everything, and no keeper. Why it is as it is:
//! [ADR 15](../../docs/adr/0015-nodes-share-postgresql.md).

pub mod keeper;
pub mod lease;
pub mod membership;
pub mod placement;
pub mod table;
