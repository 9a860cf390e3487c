//! The logs of every org that the caller may reach: the store says which orgs have changed, and
//! their owners are asked for what is new. A scan of many orgs is followed by a longer pause, so
//! that no watch takes more than a tenth of the time.
//!
//! How far an org was read is remembered of so many orgs. Of another one events come by their time,
//! and those near the beginning of an earlier scan may come twice.

use std::{collections::HashMap, time::Duration, vec::IntoIter};

use futures_util::{Stream, stream};
use tokio::time::{Instant, sleep_until};

use super::{AGAIN, Outgoing, Page, Position, Reader, number};
use crate::{
    cluster::table::Owner,
    domain::{ids::OrgId, members::NodeId, window::Millis},
    error::ServiceError,
    rpc::Answer,
    service::{ListedOrg, OrgPage},
    wire::{
        admin::v1::{self as admin, watch_events_response::What},
        answers,
    },
};

/// Orgs that are listed at once.
const ORGS: usize = 256;
/// Orgs of which it is remembered how far they were read, some 200 bytes each.
const KNOWN: usize = 10_000;
/// Between two scans.
const PAUSE: Duration = Duration::from_secs(1);
/// A scan is followed by a pause of so many times its length.
const PAUSES: u32 = 9;
/// What is committed later than this after it happened, in milliseconds, may be missed where the org is not known.
const OVERLAP: Millis = 60_000;

/// How far an org was read.
#[derive(Debug, Clone, Copy)]
struct Known {
    position: Position,
    /// The head that was seen before.
    last_at: Millis,
    /// Nothing of it can be younger than that head.
    is_settled: bool,
}

/// One org that is being read.
struct Org {
    org: OrgId,
    /// How the caller may name it.
    said: OrgId,
    last_at: Millis,
    /// `None` = nothing was read of it.
    position: Option<Position>,
}

struct Following {
    reader: Reader,
    out: Outgoing,
    known: HashMap<OrgId, Known>,
    /// There were more orgs than can be known.
    is_full: bool,
    /// Of orgs that are not known, events not before.
    from: Millis,
    /// Everything before was sent.
    sent_to: Millis,
    scan: Option<Scan>,
    next_scan: Instant,
}

/// One way through all orgs.
struct Scan {
    began: Instant,
    began_at: Millis,
    /// The last that was listed.
    behind: Option<OrgId>,
    listed: IntoIter<ListedOrg>,
    is_last: bool,
    reading: Option<Org>,
    /// Why the first org that cannot be read cannot be; the others go on.
    trouble: Option<String>,
    /// Nodes that an org could not be read at: their other orgs wait for the next scan.
    silent: Vec<Elsewhere>,
}

pub(super) fn follow(
    reader: Reader,
    since: Option<Millis>,
) -> impl Stream<Item = Answer<admin::WatchEventsResponse>> + Send + 'static {
    let from = since.unwrap_or_else(|| reader.service.now());
    let mut out = Outgoing::new();
    out.push(heartbeat(from, ""));
    let following = Following {
        reader,
        out,
        known: HashMap::new(),
        is_full: false,
        from,
        sent_to: from,
        scan: None,
        next_scan: Instant::now(),
    };
    stream::try_unfold(following, |mut following| async move {
        let next = following.next().await?;
        Ok(Some((next, following)))
    })
}

/// Whom other orgs may be asked of in vain as well: a node, or nobody, who owns what no node does.
type Elsewhere = Option<NodeId>;

/// `None` = this node, which answers for each org at once.
fn elsewhere(owner: &Owner) -> Option<Elsewhere> {
    match owner {
        Owner::Here => None,
        Owner::There(node, _) => Some(Some(node.id.clone())),
        Owner::Nobody => Some(None),
    }
}

fn heartbeat(at: Millis, trouble: &str) -> What {
    What::Heartbeat(admin::EventHeartbeat { after_number: None, at_ms: answers::int(at), trouble: trouble.to_owned() })
}

impl Following {
    async fn next(&mut self) -> Answer<admin::WatchEventsResponse> {
        loop {
            if let Some(next) = self.out.next() {
                return Ok(next);
            }
            if Instant::now() >= self.out.beat_at {
                self.beat();
                continue;
            }
            match self.scan.take() {
                Some(scan) => self.go_on(scan).await?,
                None => tokio::select! {
                    () = sleep_until(self.next_scan) => self.scan = Some(self.begun()),
                    () = self.out.beat_is_due() => {}
                },
            }
        }
    }

    fn beat(&mut self) {
        let heartbeat = heartbeat(self.sent_to, &self.out.trouble);
        self.out.push(heartbeat);
    }

    fn begun(&self) -> Scan {
        Scan {
            began: Instant::now(),
            began_at: self.reader.service.now(),
            behind: None,
            listed: Vec::new().into_iter(),
            is_last: false,
            reading: None,
            trouble: None,
            silent: Vec::new(),
        }
    }

    /// One step: a page of events, an org, or a page of orgs.
    async fn go_on(&mut self, mut scan: Scan) -> Answer<()> {
        if let Some(org) = scan.reading.take() {
            let owner = elsewhere(&self.reader.service.table().owner(&org.org));
            if owner.as_ref().is_none_or(|owner| !scan.silent.contains(owner)) {
                match self.read(org, scan.began_at).await? {
                    Ok(left) => scan.reading = left,
                    Err(why) => {
                        self.trouble(&why);
                        scan.trouble.get_or_insert(why);
                        scan.silent.extend(owner);
                    }
                }
            }
            self.scan = Some(scan);
            return Ok(());
        }
        if let Some(listed) = scan.listed.next() {
            scan.reading = self.to_read(listed);
        } else if scan.is_last {
            self.over(&scan);
            return Ok(());
        } else {
            match self.reader.service.list(scan.behind.as_ref(), ORGS, &self.reader.call()).await {
                Ok(OrgPage { orgs, next }) => {
                    scan.is_last = next.is_none();
                    scan.behind = next;
                    scan.listed = orgs.into_iter();
                }
                Err(error) => {
                    self.trouble(&error.to_string());
                    self.next_scan = Instant::now() + AGAIN;
                    return Ok(());
                }
            }
        }
        self.scan = Some(scan);
        Ok(())
    }

    /// Whether the org may have anything new.
    fn to_read(&self, listed: ListedOrg) -> Option<Org> {
        let said = listed.reached_as(&self.reader.caller)?;
        let ListedOrg { org, head, .. } = listed;
        let known = self.known.get(&org);
        let is_quiet = match known {
            Some(known) => known.is_settled && known.last_at == head.last_at,
            None => head.last_at < self.from,
        };
        let position = known.map(|known| known.position);
        (!is_quiet).then_some(Org { org, said, last_at: head.last_at, position })
    }

    /// A page of it. Answers what is left of it, or why it cannot be read now.
    async fn read(&mut self, mut org: Org, began_at: Millis) -> Answer<Result<Option<Org>, String>> {
        let after = org.position.map_or(0, |position| position.after());
        let since = org.position.is_none().then_some(self.from);
        let page = match self.reader.page(&org.org, Some(&org.said), after, since).await {
            // It became another name of an org since it was listed.
            Err(ServiceError::LeadsTo(_)) => return Ok(Ok(None)),
            page => page?,
        };
        let page = match page {
            Page::Read(page) => page,
            Page::Trouble(why) => return Ok(Err(format!("{}: {why}", org.org))),
        };
        let mut position = org.position.unwrap_or_else(|| {
            let first = page.events.first().map(|event| number(event.number).saturating_sub(1));
            Position::behind(first.unwrap_or_else(|| number(page.newest_number)), None)
        });
        let Self { reader, out, .. } = self;
        let has_more = position.take(&org.org, page, |what| match &what {
            What::Event(event) if !reader.is_wanted(event) => {}
            _ => out.push(what),
        });
        org.position = Some(position);
        if has_more {
            return Ok(Ok(Some(org)));
        }
        if self.known.len() < KNOWN || self.known.contains_key(&org.org) {
            let is_settled = org.last_at.saturating_add(OVERLAP) < began_at;
            self.known.insert(org.org, Known { position, last_at: org.last_at, is_settled });
        } else {
            self.is_full = true;
        }
        Ok(Ok(None))
    }

    fn over(&mut self, scan: &Scan) {
        let pause = (scan.began.elapsed() * PAUSES).max(PAUSE);
        self.next_scan = Instant::now() + pause;
        self.trouble(scan.trouble.as_deref().unwrap_or_default());
        // What could not be read may have something of before.
        if scan.trouble.is_some() {
            return;
        }
        self.sent_to = self.sent_to.max(scan.began_at.saturating_sub(OVERLAP));
        if self.is_full {
            // Those that are remembered longest have no right to it.
            self.known.clear();
            self.is_full = false;
            self.from = self.sent_to;
        }
    }

    fn trouble(&mut self, why: &str) {
        if self.out.is_troubled(why.to_owned()) {
            self.beat();
        }
    }
}
