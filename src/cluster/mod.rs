//! How nodes that share a store spread the orgs among them.
//!
//! ```text
//! lease.rs       how long a node may take itself for an owner, and another one for dead     pure
//! placement.rs   which node should own which shard                                          pure
//! table.rs       which node answers for which shard: every call asks here
//! keeper.rs      keeps the lease, takes and gives shards: what writes the table
//! ```
//!
//! A node that is alone has a table in which it owns everything, and no keeper. Why it is as it is:
//! [ADR 15](../../docs/adr/0015-nodes-share-postgresql.md).

pub mod keeper;
pub mod lease;
pub mod placement;
pub mod table;
