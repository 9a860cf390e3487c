//! `AdminService.WatchEvents`: a stream that reads the logs of orgs page by page, from their
//! owners, and says when there is nothing new. Nothing is queued for a reader: what is next is read
//! when the last one has left.

mod every;
mod one;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{Stream, TryStreamExt, future::Either, stream};
use tokio::time::{Instant, sleep_until};

use super::{Answer, serve::ask_owner, table::ListEvents};
use crate::{
    auth::Principal,
    domain::{command, events::EventKind, ids::OrgId, window::Millis},
    error::ServiceError,
    rpc::events::list_of_org,
    service::{Call, Service},
    wire::{
        admin::v1::{self as admin, watch_events_response::What},
        answers, requests,
    },
};

/// Events that are read at once: what an open stream has in memory.
const PAGE: usize = 200;
/// Without anything else a stream says so often that it lives.
const BEAT: Duration = Duration::from_secs(10);
/// What could not be read is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) fn watch_events(
    service: Arc<Service>,
    call: Call,
    request: admin::WatchEventsRequest,
) -> impl Stream<Item = Answer<admin::WatchEventsResponse>> + Send + 'static {
    let asked = requests::watch_events(&request, service.now()).map_err(ServiceError::from);
    let opened = asked.map(|asked| {
        let reader = Reader { service, caller: call.caller, rpc: call.rpc, kinds: asked.kinds };
        match asked.org {
            Some(org) => {
                let after = asked.after.map(|after| Position::behind(after, asked.after_at));
                Either::Left(one::follow(reader, (org, call.said), after, asked.since))
            }
            None => Either::Right(every::follow(reader, asked.since)),
        }
    });
    stream::once(std::future::ready(opened)).try_flatten()
}

/// Reads the logs of orgs for one caller.
struct Reader {
    service: Arc<Service>,
    caller: Arc<Principal>,
    rpc: &'static str,
    kinds: Vec<EventKind>,
}

/// A page of the log of an org.
enum Page {
    Read(admin::ListEventsResponse),
    /// It cannot be read now.
    Trouble(String),
}

impl Reader {
    fn is_wanted(&self, event: &admin::Event) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|kind| kind.name() == event.kind)
    }

    /// A call of its own: it has a deadline, and a stream has none.
    fn call(&self) -> Call {
        self.service.call(self.rpc, self.caller.clone(), None)
    }

    /// Events of all kinds, so that a number that is missing shows; an org of which nothing is kept
    /// has none. `said` is how the caller named the org, where it did so by another name.
    async fn page(&self, org: &OrgId, said: Option<&OrgId>, after: u64, since: Option<Millis>) -> Answer<Page> {
        let list = command::ListEvents { kinds: Vec::new(), after, since, until: None, max: PAGE, durable: true };
        let request = admin::ListEventsRequest {
            org: org.to_string(),
            kinds: Vec::new(),
            after_number: answers::int(after),
            page_size: i32::try_from(PAGE).unwrap_or(i32::MAX),
            since_ms: answers::int(since.unwrap_or(0)),
            until_ms: 0,
            durable: true,
        };
        let here = |call: Call| {
            let list = list.clone();
            async move { list_of_org(&self.service, &call, org, list).await }
        };
        let call = Call { said: said.cloned(), ..self.call() };
        match ask_owner::<ListEvents, _>(&self.service, &call, org, &request, here).await {
            Ok(page) => Ok(Page::Read(page)),
            Err(error) if error.is_unknown_org() => Ok(Page::Read(admin::ListEventsResponse::default())),
            Err(
                error
                @ (ServiceError::Bug | ServiceError::Input(_) | ServiceError::OtherOrg | ServiceError::LeadsTo(_)),
            ) => Err(error),
            Err(error) => Ok(Page::Trouble(error.to_string())),
        }
    }
}

/// What is sent next, and when something has to be.
struct Outgoing {
    ready: VecDeque<admin::WatchEventsResponse>,
    beat_at: Instant,
    /// Why nothing can be read; empty = it can.
    trouble: String,
}

impl Outgoing {
    fn new() -> Self {
        Self { ready: VecDeque::new(), beat_at: Instant::now() + BEAT, trouble: String::new() }
    }

    fn push(&mut self, what: What) {
        self.ready.push_back(admin::WatchEventsResponse { what: Some(what) });
    }

    fn next(&mut self) -> Option<admin::WatchEventsResponse> {
        let next = self.ready.pop_front()?;
        self.beat_at = Instant::now() + BEAT;
        Some(next)
    }

    /// Whether that has to be said: there was none before, or there is none any more.
    fn is_troubled(&mut self, why: String) -> bool {
        let is_new = self.trouble.is_empty() != why.is_empty();
        self.trouble = why;
        is_new
    }

    async fn beat_is_due(&self) {
        sleep_until(self.beat_at).await;
    }
}

/// How far the log of one org was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    /// Of the last event, whether it was sent or not.
    number: u64,
    /// When that happened. Another event under its number is of another log.
    at: Option<Millis>,
}

impl Position {
    fn behind(number: u64, at: Option<Millis>) -> Self {
        Self { number, at }
    }

    /// Behind which number to read: with the last event once more, where it shows whether the log is still the same.
    fn after(&self) -> u64 {
        if self.at.is_some() { self.number.saturating_sub(1) } else { self.number }
    }

    fn is_of(&self, page: &admin::ListEventsResponse) -> bool {
        let again = page.events.first().filter(|event| number(event.number) == self.number);
        let same = again.is_none_or(|event| self.at.is_none_or(|at| number(event.at_ms) == at));
        same && number(page.newest_number) >= self.number
    }

    /// What a page says behind it, gaps included. Answers whether there is more to read.
    fn take(&mut self, org: &OrgId, page: admin::ListEventsResponse, mut send: impl FnMut(What)) -> bool {
        let gap = |from: u64, to: u64, restarted| {
            let (from_number, to_number) = (answers::int(from), answers::int(to));
            What::Gap(admin::EventGap { org: org.to_string(), from_number, to_number, restarted })
        };
        if !self.is_of(&page) {
            send(gap(0, 0, true));
            *self = Self::behind(0, None);
            return true;
        }
        for event in page.events {
            let at = number(event.number);
            if at <= self.number {
                continue;
            }
            if at > self.number + 1 {
                send(gap(self.number + 1, at - 1, false));
            }
            *self = Self::behind(at, Some(number(event.at_ms)));
            send(What::Event(event));
        }
        page.next_after_number != 0
    }
}

fn number(given: i64) -> u64 {
    u64::try_from(given).unwrap_or(0)
}

#[cfg(test)]
mod tests;
