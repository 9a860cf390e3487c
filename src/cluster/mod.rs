//! What nodes that share a store decide each by itself, from what all of them read: pure, so that every node
//! comes to the same result, and no clock is read here.
//!
//! One node owns every org today, and nothing runs this yet. Why it is as it is:
//! [ADR 15](../../docs/adr/0015-nodes-share-postgresql.md).

pub mod lease;
pub mod placement;
