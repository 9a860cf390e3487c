//! The log of one org, from a number on: every event once.

use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use super::{AGAIN, Outgoing, Page, Position, Reader, number};
use crate::{
    cluster::table::Owner,
    domain::{ids::OrgId, window::Millis},
    rpc::Answer,
    wire::{
        admin::v1::{self as admin, watch_events_response::What},
        answers,
    },
};

/// Wake-ups of one stream are not closer than this: many events are one page.
const TOGETHER: Duration = Duration::from_millis(20);
/// Another node's org is asked so often; one of this node says when it has something, and is asked
/// all the same.
const ELSEWHERE: Duration = Duration::from_millis(500);
const HERE: Duration = Duration::from_secs(5);

/// Where it begins.
enum Begin {
    /// Behind a number.
    Behind(Position),
    /// With the first event not before this time.
    Since(Millis),
    /// Behind the newest.
    Now,
}

struct Following {
    reader: Reader,
    org: OrgId,
    said: Option<OrgId>,
    begin: Begin,
    out: Outgoing,
    wake: watch::Receiver<u64>,
    /// There may be something to read, from then on.
    read_at: Instant,
}

pub(super) fn follow(
    reader: Reader,
    (org, said): (OrgId, Option<OrgId>),
    after: Option<Position>,
    since: Option<Millis>,
) -> impl Stream<Item = Answer<admin::WatchEventsResponse>> + Send + 'static {
    let begin = match (after, since) {
        (Some(after), _) => Begin::Behind(after),
        (None, Some(since)) => Begin::Since(since),
        (None, None) => Begin::Now,
    };
    // Before the first page is read, so that nothing is missed behind it.
    let wake = reader.service.orgs().watch_events(&org);
    let following = Following { reader, org, said, begin, out: Outgoing::new(), wake, read_at: Instant::now() };
    stream::try_unfold((following, true), |(mut following, is_first)| async move {
        let next = following.next(is_first).await?;
        Ok(Some((next, (following, false))))
    })
}

impl Following {
    async fn next(&mut self, is_first: bool) -> Answer<admin::WatchEventsResponse> {
        if is_first {
            self.read().await?;
            self.beat_first();
        }
        loop {
            if let Some(next) = self.out.next() {
                return Ok(next);
            }
            tokio::select! {
                () = sleep_until(self.read_at) => self.read().await?,
                changed = self.wake.changed() => {
                    sleep(TOGETHER).await;
                    self.wake.mark_unchanged();
                    if changed.is_err() {
                        // Nobody says anything any more; it is asked.
                        sleep(ELSEWHERE).await;
                    }
                    self.read().await?;
                }
                () = self.out.beat_is_due() => self.beat(),
            }
        }
    }

    fn heartbeat(&self) -> What {
        let after = if let Begin::Behind(position) = self.begin { Some(position.number) } else { None };
        let (after_number, trouble) = (after.map(answers::int), self.out.trouble.clone());
        What::Heartbeat(admin::EventHeartbeat { after_number, at_ms: 0, trouble })
    }

    fn beat(&mut self) {
        let heartbeat = self.heartbeat();
        self.out.push(heartbeat);
    }

    /// What a reader goes on behind is known before the first event.
    fn beat_first(&mut self) {
        let first = self.out.ready.iter().find_map(|response| match &response.what {
            Some(What::Event(event)) => Some(number(event.number).saturating_sub(1)),
            Some(What::Gap(gap)) if !gap.restarted => Some(number(gap.from_number).saturating_sub(1)),
            _ => None,
        });
        let heartbeat = match (self.heartbeat(), first) {
            (What::Heartbeat(heartbeat), Some(first)) => {
                What::Heartbeat(admin::EventHeartbeat { after_number: Some(answers::int(first)), ..heartbeat })
            }
            (heartbeat, _) => heartbeat,
        };
        self.out.ready.push_front(admin::WatchEventsResponse { what: Some(heartbeat) });
    }

    async fn read(&mut self) -> Answer<()> {
        let (after, since) = match self.begin {
            Begin::Behind(position) => (position.after(), None),
            Begin::Since(since) => (0, Some(since)),
            // No event has a greater number: the page says which is the newest.
            Begin::Now => (i64::MAX.unsigned_abs(), None),
        };
        let page = match self.reader.page(&self.org, self.said.as_ref(), after, since).await? {
            Page::Read(page) => page,
            Page::Trouble(why) => {
                if self.out.is_troubled(why) {
                    self.beat();
                }
                self.read_at = Instant::now() + AGAIN;
                return Ok(());
            }
        };
        let was_troubled = self.out.is_troubled(String::new());
        let mut position = match self.begin {
            Begin::Behind(position) => position,
            Begin::Since(_) | Begin::Now => {
                let first = page.events.first().map(|event| number(event.number).saturating_sub(1));
                Position::behind(first.unwrap_or_else(|| number(page.newest_number)), None)
            }
        };
        let Self { reader, out, org, .. } = self;
        let has_more = position.take(org, page, |what| match &what {
            What::Event(event) if !reader.is_wanted(event) => {}
            _ => out.push(what),
        });
        self.begin = Begin::Behind(position);
        if was_troubled {
            self.beat();
        }
        let is_here = matches!(self.reader.service.table().owner(&self.org), Owner::Here);
        let pause = match (has_more, is_here) {
            (true, _) => Duration::ZERO,
            (false, true) => HERE,
            (false, false) => ELSEWHERE,
        };
        self.read_at = Instant::now() + pause;
        Ok(())
    }
}
