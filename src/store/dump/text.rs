//! The lines of a dump for who reads a store row by row: a snapshot of a running node.

use super::{Header, line};
use crate::{
    domain::{
        ids::OrgId,
        rows::{Row, RowKind},
        service_time::ClockMark,
    },
    ports::{DumpText, StoreFault},
    store::kinds::{self, Kind},
};

/// Writes them.
#[derive(Debug, Clone, Copy)]
pub struct Text;

fn unwritten(error: impl ToString) -> StoreFault {
    StoreFault { operation: "snapshot", cause: error.to_string() }
}

impl DumpText for Text {
    fn first(&self, mark: &ClockMark) -> Result<Vec<u8>, StoreFault> {
        // Groups are counted by an engine of its own.
        let header = Header { group: 0, mark: Some(mark.clone()) };
        let mut line = header.text().map_err(unwritten)?.into_bytes();
        line.push(b'\n');
        Ok(line)
    }

    fn add(&self, org: &OrgId, row: Row, to: &mut Vec<u8>) -> Result<u64, StoreFault> {
        let mut count = 0;
        for (key, item) in kinds::items(row).map_err(|error| unwritten(format!("{org}: {error}")))? {
            to.extend(line::write(org, &key, &item).map_err(unwritten)?);
            to.push(b'\n');
            count += 1;
        }
        Ok(count)
    }

    fn kind(&self, kind: RowKind) -> &'static str {
        Kind::Row(kind).name()
    }
}
