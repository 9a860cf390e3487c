//! Ordered bytes: all that the rest of this family knows of an engine when it reads.

use std::ops::ControlFlow;

use crate::ports::StoreFault;

/// Ordered bytes to read from.
pub(super) trait Keyspace {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreFault>;

    /// Visits keys from `from` up to but without `to`, ascending, until the visitor breaks off.
    fn scan(&self, from: &[u8], to: &[u8], visit: &mut Visit<'_>) -> Result<(), StoreFault>;
}

/// Sees one key and value.
pub(super) type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'v;
