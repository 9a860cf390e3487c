//! `tollgate snapshot`: what a running node stores, page by page into a file.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tonic_types::StatusExt;

use crate::{
    cli::{
        Exit,
        args::SnapshotArgs,
        connect::Connection,
        failure::Failure,
        local::{Part, PartPlace},
        output::Output,
    },
    rpc::table,
    wire::admin::v1::{SnapshotRequest, SnapshotResponse},
};

/// How often an org, or a page of orgs, is begun before the command gives up.
const TRIES: u32 = 5;
/// Before another try, times the number of tries.
const PAUSE: Duration = Duration::from_secs(1);
/// The page has to be begun again: the org was purged or has moved, its owner has gone, or there is no room for the call.
const BEGIN_AGAIN: [&str; 10] = [
    "SNAPSHOT_BROKEN",
    "SNAPSHOTS_OPEN",
    "ORG_MOVED",
    "ORG_OVERLOADED",
    "NODE_OVERLOADED",
    "NO_OWNER",
    "NO_ANSWER_IN_TIME",
    "OWNER_UNREACHABLE",
    "INTERRUPTED",
    "STORE_UNAVAILABLE",
];

/// Where every org before is whole, and none has begun.
struct Between {
    page_token: String,
    place: PartPlace,
}

pub(super) async fn run(
    connection: &Connection,
    args: &SnapshotArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let mut part = Part::begin(&args.file).map_err(Failure::Local)?;
    let mut between = Between { page_token: String::new(), place: part.place() };
    let (mut page_token, mut tries) = (String::new(), 0);
    let last = loop {
        let request = SnapshotRequest { page_token: page_token.clone(), ..SnapshotRequest::default() };
        let page = match connection.ask::<table::Snapshot>(request).await {
            Ok(page) => page,
            Err(failure) if is_to_begin_again(&failure) && tries + 1 < TRIES => {
                tries += 1;
                sleep(PAUSE * tries).await;
                part.back_to(between.place).map_err(Failure::Local)?;
                page_token.clone_from(&between.page_token);
                continue;
            }
            Err(failure) => {
                output.remark(&format!("{} was not written: the snapshot is incomplete", args.file.display()));
                return Err(failure);
            }
        };
        add(&mut part, &page)?;
        if page.next_page_token.is_empty() {
            break page;
        }
        if page.next_page_token == page_token {
            return Err(Failure::Incomplete("a page goes on where it began"));
        }
        page_token = page.next_page_token;
        if !page.org_continues {
            between = Between { page_token: page_token.clone(), place: part.place() };
            tries = 0;
        }
    };
    if last.first_line.is_empty() {
        return Err(Failure::Incomplete("the last page has no first line"));
    }
    let rows = part.finish(&last.first_line).map_err(Failure::Local)?;
    output.note(&format!("{rows} rows written to {}", args.file.display()));
    Ok(Exit::Done)
}

fn add(part: &mut Part, page: &SnapshotResponse) -> Result<(), Failure> {
    if Sha256::digest(&page.lines).as_slice() != page.sha256 {
        return Err(Failure::Incomplete("its lines have another SHA-256 than they were sent with"));
    }
    let count = u64::try_from(page.line_count).map_err(|_| Failure::Incomplete("its number of lines is negative"))?;
    part.add(&page.lines, count).map_err(Failure::Local)
}

fn is_to_begin_again(failure: &Failure) -> bool {
    let Failure::Status(status) = failure else { return false };
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    BEGIN_AGAIN.contains(&reason.as_str())
}
