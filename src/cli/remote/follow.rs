//! `tollgate events --follow`: events as they come, until Ctrl-C. It goes on behind the last one
//! over every end of a stream: a node that restarts, a connection that is cut.

use std::{collections::HashMap, time::Duration};

use tokio::time::{sleep, timeout};
use tonic::{Code, Status, Streaming};

use crate::{
    cli::{
        Exit,
        args::EventsArgs,
        connect::Connection,
        failure::Failure,
        output::{Format, Output},
        watch::stopped,
    },
    wire::admin::v1::{
        Event, EventGap, EventHeartbeat, WatchEventsRequest, WatchEventsResponse, watch_events_response::What,
    },
};

use super::events::{event_table, instant};

/// Between two streams: it doubles from the first to the last while none says anything.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// A stream that has said nothing for so long is dead: a node says something every ten seconds.
const SILENT: Duration = Duration::from_secs(35);
/// Orgs of which it is remembered what was printed.
const ORGS: usize = 100_000;

/// How far events were printed.
#[derive(Debug, Default)]
struct Place {
    /// Of one org: the number, and when the event of that number happened, where that is known.
    after: Option<i64>,
    after_at: i64,
    /// Of every org: by time, and by number of those that come again.
    since: i64,
    printed: HashMap<String, i64>,
    /// Headings were.
    has_headings: bool,
    trouble: String,
    /// That no stream can be opened was said.
    is_lost: bool,
}

/// Why a stream is over.
enum Over {
    /// Another one goes on; why this one does not, where that is known.
    Again(Option<String>),
    Failed(Failure),
}

pub(super) async fn run(connection: &Connection, args: &EventsArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let mut stop = std::pin::pin!(stopped());
    let since = instant(args.log.since, output.now());
    let mut place = Place { after: args.log.after, since, ..Place::default() };
    let mut pause = PAUSES.0;
    loop {
        let mut has_begun = false;
        let over = tokio::select! {
            _ = &mut stop => return Ok(Exit::Done),
            over = one_stream(connection, args, &mut place, &mut has_begun, output) => over,
        };
        match over {
            Over::Failed(failure) => return Err(failure),
            Over::Again(_) if output.is_broken() => return Ok(Exit::Done),
            Over::Again(why) => lost(why, has_begun, &mut place, output),
        }
        pause = if has_begun { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
        tokio::select! {
            _ = &mut stop => return Ok(Exit::Done),
            () = sleep(pause) => {}
        }
    }
}

/// Says once why events do not come, until they do again. A stream that has said something and ends is followed by the next
/// one without a word: connections have an age.
fn lost(why: Option<String>, has_begun: bool, place: &mut Place, output: &mut Output<'_>) {
    if has_begun || place.is_lost {
        return;
    }
    let why = why.unwrap_or_else(|| "the stream ended".to_owned());
    output.remark(&format!("events do not come: {why}; trying again"));
    place.is_lost = true;
}

fn request(args: &EventsArgs, place: &Place) -> WatchEventsRequest {
    let org = args.org.as_ref().map(ToString::to_string).unwrap_or_default();
    let since_ms = if place.after.is_some() { 0 } else { place.since };
    let (after_number, after_at_ms) = (place.after, place.after_at);
    WatchEventsRequest { org, kinds: args.kind.clone(), after_number, since_ms, after_at_ms }
}

async fn one_stream(
    connection: &Connection,
    args: &EventsArgs,
    place: &mut Place,
    has_begun: &mut bool,
    output: &mut Output<'_>,
) -> Over {
    let opened = timeout(SILENT, connection.admin_without_deadline().watch_events(request(args, place))).await;
    let mut stream = match opened {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return over(status),
        Err(_) => return Over::Again(Some("the node says nothing".to_owned())),
    };
    loop {
        match next(&mut stream).await {
            Ok(Some(What::Heartbeat(beat))) => beaten(beat, args, place, output),
            Ok(Some(What::Event(event))) => {
                if let Err(failure) = print(event, args, place, output) {
                    return Over::Failed(failure);
                }
            }
            Ok(Some(What::Gap(gap))) => {
                if let Err(failure) = missing(&gap, args, place, output) {
                    return Over::Failed(failure);
                }
            }
            Ok(None) => return Over::Again(None),
            Err(status) => return over(status),
        }
        if std::mem::take(&mut place.is_lost) {
            output.remark("events come again");
        }
        *has_begun = true;
        output.flush();
        if output.is_broken() {
            return Over::Again(None);
        }
    }
}

/// What comes next; `None` at the end, and where nothing comes any more.
async fn next(stream: &mut Streaming<WatchEventsResponse>) -> Result<Option<What>, Status> {
    match timeout(SILENT, stream.message()).await {
        Ok(message) => Ok(message?.and_then(|message| message.what)),
        Err(_) => Ok(None),
    }
}

/// Whether another stream may do better.
fn over(status: Status) -> Over {
    let is_final = matches!(
        status.code(),
        Code::InvalidArgument | Code::NotFound | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented
    );
    if is_final {
        return Over::Failed(Failure::Status(Box::new(status)));
    }
    Over::Again(Some(status.message().to_owned()))
}

fn beaten(beat: EventHeartbeat, args: &EventsArgs, place: &mut Place, output: &mut Output<'_>) {
    if args.org.is_some() {
        if let Some(number) = beat.after_number.filter(|number| place.after != Some(*number)) {
            (place.after, place.after_at) = (Some(number), 0);
        }
    } else {
        place.since = place.since.max(beat.at_ms);
    }
    if place.trouble.is_empty() != beat.trouble.is_empty() {
        let says = if beat.trouble.is_empty() { "events are read again" } else { &beat.trouble };
        output.remark(says);
    }
    place.trouble = beat.trouble;
}

fn print(event: Event, args: &EventsArgs, place: &mut Place, output: &mut Output<'_>) -> Result<(), Failure> {
    if args.org.is_some() {
        (place.after, place.after_at) = (Some(event.number), event.at_ms);
    } else {
        if place.printed.get(&event.org).is_some_and(|printed| event.number <= *printed) {
            return Ok(());
        }
        if place.printed.len() >= ORGS {
            place.printed.clear();
        }
        place.printed.insert(event.org.clone(), event.number);
    }
    if output.format() == Format::Json {
        let line = output.json(&event)?;
        output.data(&line);
        return Ok(());
    }
    let view = event_table(std::slice::from_ref(&event), args.org.is_none());
    if std::mem::replace(&mut place.has_headings, true) {
        output.show_more(&view);
    } else {
        output.show(&view);
    }
    Ok(())
}

fn missing(gap: &EventGap, args: &EventsArgs, place: &mut Place, output: &mut Output<'_>) -> Result<(), Failure> {
    let EventGap { org, from_number, to_number, restarted } = gap;
    if args.org.is_some() {
        (place.after, place.after_at) = (Some(*to_number), 0);
    }
    if *restarted {
        place.printed.remove(org);
    }
    if output.format() == Format::Json {
        let line = output.json(gap)?;
        output.data(&line);
    } else if *restarted {
        output.remark(&format!("{org}: the log has begun again at 1, because the org was purged or forgotten"));
    } else {
        output.remark(&format!("{org}: events {from_number} to {to_number} are not kept any more"));
    }
    Ok(())
}
