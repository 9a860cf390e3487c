//! What is stored as the lines of a dump.

use std::fmt;

use super::StoreFault;
use crate::domain::{
    ids::OrgId,
    rows::{Row, RowKind},
    service_time::ClockMark,
};

/// Writes dumps, as `tollgate export` does and as `tollgate import` reads them.
pub trait DumpText: Send + Sync + fmt::Debug {
    /// The first line, with its end: what is said of the store as a whole.
    ///
    /// # Errors
    /// Where it cannot be written as text.
    fn first(&self, mark: &ClockMark) -> Result<Vec<u8>, StoreFault>;

    /// Adds the lines of a row, each with its end, and answers how many these are.
    ///
    /// # Errors
    /// Where it cannot be written as text.
    fn add(&self, org: &OrgId, row: Row, to: &mut Vec<u8>) -> Result<u64, StoreFault>;

    /// As lines name the kind.
    fn kind(&self, kind: RowKind) -> &'static str;
}
