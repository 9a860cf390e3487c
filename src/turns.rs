//! How long calls wait for their turn on a processor, and what anybody may have in flight while they wait too long.
//!
//! A call waits from its arrival to the first step of its task, behind every other task of the node. That wait is the
//! same for all calls, and it grows only where processors cannot follow: what a call waits for later (the disk, the
//! billing provider) is not in it. So it tells overload from slow neighbours, which a number of calls does not.
//!
//! - *When*: the mean wait of a window of 20 ms, as in DAGOR (Zhou et al., "Overload Control for Scaling WeChat
//!   Microservices", SoCC 2018). The least wait, which CoDel takes (RFC 8289), says nothing here: the runtime runs the
//!   task that was woken last before all others. As in CoDel only a queue that stands counts: 100 ms of late windows.
//! - *How many*: then there is room for so many calls at a time. A late window halves it, one in time adds a
//!   sixteenth. It is never less than `busy_calls_per_core`, which keeps a processor busy. A call has no place while its request
//!   is not whole: clients send the headers of many calls before the rest of the first. One that waits for something else
//!   (the disk, the billing provider, another node) takes a quarter of a place: there must be more of those to keep a
//!   processor busy, and many of them are a long queue as well.
//! - *Who waits*: a connection is read where there is room, in the order in which they ask, and little of it at a time.
//!   One that has nothing here and sends no more than a few requests is always read, so a flood does not delay it. What
//!   is not read costs nothing and waits with its caller, until HTTP/2 has no stream left for it.
//! - *Who is refused*: many connections that send a little each are too much as well. Past several times the room each org
//!   may have as many in flight as are left of that (Choudhury and Hahne, "Dynamic queue length thresholds for
//!   shared-memory packet switches", IEEE/ACM ToN 6(2), 1998): one that floods takes half and leaves the other half to
//!   everybody else, and nobody has to know how many there are. A connection or a principal may have several times as
//!   many, and is refused before anything of its call is decoded.
//!
//! A refusal costs a third of a call, so a caller that is refused at once and asks again at once takes the node down
//! by its refusals. A refusal is therefore held for as long as it asks the caller to wait.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use tokio::time::{Instant, sleep};

/// Of one judgement.
const WINDOW: Duration = Duration::from_millis(20);
/// Late windows in a row from which on a queue stands.
const STANDS: u32 = 5;
/// Windows without a call after which nothing waits any more.
const QUIET: u64 = 50;
/// Room for everybody.
const UNBOUNDED: u32 = u32::MAX;
/// From here on the room bounds nothing.
const ENOUGH: u32 = 1 << 16;
/// How many times the share of an org that of a connection or of a principal is, because they carry many orgs.
const OF_A_CALLER: u32 = 4;
/// How many times the room calls share before they are refused: connections wait before that.
const OF_THE_ROOM: u32 = 32;
/// The places of a call are counted in parts of this size, of which one that waits for something else takes one.
const PARTS: u32 = 4;
/// How long a refusal is held.
const HOLD: Duration = Duration::from_millis(100);
/// Refusals that are held at a time; more leave at once.
const HELD: u32 = 1 << 14;

/// What one caller has in flight: of a connection, or of a principal.
pub type Share = Arc<AtomicU32>;

/// What one connection has here.
#[derive(Debug, Default)]
pub struct OfConnection {
    /// Requests that are being worked on.
    pub worked_on: Share,
    reader: AtomicWaker,
    /// It waits in the line.
    waits: AtomicBool,
    /// It was the first of the line, and woken.
    was_first: AtomicBool,
}

/// See the module.
#[derive(Debug)]
pub struct Turns {
    began: Instant,
    cores: u32,
    /// The window that runs, counted from the beginning.
    window: AtomicU64,
    /// What its calls have waited, in microseconds.
    waited: AtomicU64,
    calls: AtomicU64,
    /// The mean of the last window that is over.
    mean: AtomicU64,
    /// Late windows in a row.
    late: AtomicU32,
    room: AtomicU32,
    held: AtomicU32,
    /// Connections that wait to be read.
    line: Mutex<VecDeque<Arc<OfConnection>>>,
    in_line: AtomicUsize,
    /// The last window in which one of them was read all the same.
    let_in: AtomicU64,
    /// What calls take of the room, in parts.
    taken: AtomicU32,
}

/// How calls have their turns.
#[derive(Debug, Clone, Copy, Default)]
pub struct TurnReadings {
    /// How long calls waited for it: the mean of the last 20 ms that had calls, in microseconds.
    pub wait_us: u64,
    /// Calls that there is room for, while calls wait too long.
    pub room: Option<u32>,
}

/// What an operator may set.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The mean wait from which on a window is late.
    pub wait: Duration,
    /// The least room, for each core.
    pub per_core: u32,
}

impl Turns {
    /// On a runtime with so many threads that serve calls.
    pub fn new(cores: usize) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            cores: u32::try_from(cores).unwrap_or(u32::MAX).max(1),
            window: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            mean: AtomicU64::new(0),
            late: AtomicU32::new(0),
            room: AtomicU32::new(UNBOUNDED),
            held: AtomicU32::new(0),
            line: Mutex::default(),
            in_line: AtomicUsize::new(0),
            let_in: AtomicU64::new(0),
            taken: AtomicU32::new(0),
        })
    }

    /// A call of these callers arrives.
    pub fn arrive(self: &Arc<Self>, callers: [Option<Share>; 2]) -> Arrived {
        let arrived = Arrived { turns: self.clone(), at: Instant::now(), callers, parts: AtomicU32::new(0) };
        arrived.takes(PARTS);
        arrived
    }

    /// Whether a connection is read. One that has nothing here always is, unless it `floods`; the others where there is
    /// room, in the order in which they asked.
    pub fn poll_read(&self, of: &Arc<OfConnection>, floods: bool, cx: &Context<'_>) -> bool {
        let quiet = !floods && of.worked_on.load(Relaxed) == 0;
        if quiet || self.has_room() {
            of.was_first.store(false, Relaxed);
            return true;
        }
        of.reader.register(cx.waker());
        if !of.waits.swap(true, AcqRel) {
            let mut line = self.line();
            if of.was_first.swap(false, Relaxed) {
                line.push_front(of.clone());
            } else {
                line.push_back(of.clone());
            }
            self.in_line.store(line.len(), Release);
        }
        // One that was answered before this one was in the line has woken nobody.
        self.has_room()
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<Arc<OfConnection>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        self.taken.load(Acquire) < self.room.load(Relaxed).saturating_mul(PARTS)
    }

    /// One of the connections that wait is read all the same, so that none waits for ever for calls that wait for
    /// something else: one in each window.
    pub fn let_one_read(&self) -> bool {
        let present = windows(self.began.elapsed());
        self.let_in.fetch_max(present, Relaxed) < present
    }

    /// The next connection of the line is woken, where there is room: also by one that was woken and had nothing to say,
    /// or all others would wait for a call to be answered while none is served.
    pub fn wake_first(&self) {
        if self.in_line.load(Acquire) == 0 || !self.has_room() {
            return;
        }
        let mut line = self.line();
        while let Some(first) = line.pop_front() {
            first.waits.store(false, Release);
            // One that is gone is in the line alone.
            if Arc::strong_count(&first) > 1 {
                first.was_first.store(true, Relaxed);
                first.reader.wake();
                break;
            }
        }
        self.in_line.store(line.len(), Release);
    }

    fn turn(&self, arrived: Instant, patience: Patience) -> Duration {
        let now = Instant::now();
        let waited = now.saturating_duration_since(arrived);
        let present = windows(now.saturating_duration_since(self.began));
        let running = self.window.load(Relaxed);
        if present > running && self.window.compare_exchange(running, present, Relaxed, Relaxed).is_ok() {
            let (sum, calls) = (self.waited.swap(0, Relaxed), self.calls.swap(0, Relaxed));
            self.judge(sum.checked_div(calls).unwrap_or(0), present - running, patience);
        }
        self.waited.fetch_add(micros(waited), Relaxed);
        self.calls.fetch_add(1, Relaxed);
        waited
    }

    /// A window is over, `windows` after it began.
    fn judge(&self, mean: u64, windows: u64, patience: Patience) {
        let least = patience.per_core.saturating_mul(self.cores);
        let room = self.room.load(Relaxed);
        let is_late = mean > micros(patience.wait);
        let late = if is_late { self.late.load(Relaxed).saturating_add(1) } else { 0 };
        self.late.store(late, Relaxed);
        self.mean.store(mean, Relaxed);
        let next = if windows > QUIET {
            UNBOUNDED
        } else if room == UNBOUNDED {
            if late >= STANDS { least } else { UNBOUNDED }
        } else if is_late {
            (room / 2).max(least)
        } else {
            let more = room + room / 16 + 1;
            if more >= ENOUGH.max(least) { UNBOUNDED } else { more }
        };
        self.room.store(next, Relaxed);
        match (room, next) {
            (UNBOUNDED, UNBOUNDED) => {}
            (UNBOUNDED, room) => tracing::warn!(
                room,
                wait_us = mean,
                "calls wait too long for their turn: connections are read where there is room"
            ),
            (_, UNBOUNDED) => tracing::info!("calls have their turn in time again"),
            _ => {}
        }
    }

    /// Whether an org with `own` calls in flight may have another one, where `all` are in flight.
    pub fn fits(&self, own: u32, all: u32) -> bool {
        self.shares(own, all, 1)
    }

    fn shares(&self, own: u32, all: u32, times: u32) -> bool {
        let room = self.room.load(Relaxed);
        if room == UNBOUNDED {
            return true;
        }
        let shared = room.saturating_mul(OF_THE_ROOM);
        let left = shared.saturating_sub(all).saturating_mul(times);
        // Who has nothing in flight is not what keeps the others waiting.
        own < left || (own == 0 && all < shared.saturating_mul(2))
    }

    /// What metrics show.
    pub fn readings(&self) -> TurnReadings {
        TurnReadings { wait_us: self.mean.load(Relaxed), room: self.room() }
    }

    /// Calls that there is room for, while they wait too long.
    pub fn room(&self) -> Option<u32> {
        Some(self.room.load(Relaxed)).filter(|room| *room != UNBOUNDED)
    }

    /// Returns when a refusal may leave: at once, unless calls wait too long.
    pub async fn hold(&self) {
        if self.room().is_none() {
            return;
        }
        let _held = Counted::new(&self.held);
        if self.held.load(Relaxed) <= HELD {
            sleep(HOLD).await;
        }
    }
}

/// One more for as long as it lives.
struct Counted<'a>(&'a AtomicU32);

impl<'a> Counted<'a> {
    fn new(of: &'a AtomicU32) -> Self {
        of.fetch_add(1, Relaxed);
        Self(of)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A call that has arrived. It has a place, and counts for its callers, until the value ends.
#[derive(Debug)]
pub struct Arrived {
    turns: Arc<Turns>,
    at: Instant,
    callers: [Option<Share>; 2],
    /// What it takes of the room.
    parts: AtomicU32,
}

impl Arrived {
    /// It has its turn now. How long it waited.
    pub fn turn(&self, patience: Patience) -> Duration {
        self.turns.turn(self.at, patience)
    }

    /// Whether its callers may have it in flight, where `all` are in flight beside it.
    pub fn fits(&self, all: u32) -> bool {
        let own = |share: &Share| share.load(Relaxed).saturating_sub(1);
        self.callers.iter().flatten().all(|share| self.turns.shares(own(share), all, OF_A_CALLER))
    }

    /// The rest of its request. While that is not here it has no place, or what is awaited would not be read.
    pub async fn whole<T>(&self, mut request: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|cx| {
            let polled = request.as_mut().poll(cx);
            self.takes(if polled.is_pending() { 0 } else { PARTS });
            polled
        })
        .await
    }

    /// The call, as it is served. Nearly every call gives up its processor once, for its org's actor: one that does so
    /// again waits for something else from then on.
    pub async fn served<T>(&self, mut call: Pin<&mut impl Future<Output = T>>) -> T {
        let mut given_up = 0;
        poll_fn(|cx| {
            let polled = call.as_mut().poll(cx);
            given_up += u32::from(polled.is_pending());
            if polled.is_ready() {
                self.takes(PARTS);
            } else if given_up == 2 {
                self.takes(1);
            }
            polled
        })
        .await
    }

    /// Nothing more is to be done for it but to wait.
    pub fn leaves(&self) {
        self.takes(0);
    }

    fn takes(&self, parts: u32) {
        let before = self.parts.swap(parts, Relaxed);
        if before == parts {
            return;
        }
        if before == 0 {
            self.callers.iter().flatten().for_each(|share| _ = share.fetch_add(1, Relaxed));
        } else if parts == 0 {
            self.callers.iter().flatten().for_each(|share| _ = share.fetch_sub(1, AcqRel));
        }
        if parts > before {
            self.turns.taken.fetch_add(parts - before, Relaxed);
        } else {
            self.turns.taken.fetch_sub(before - parts, AcqRel);
            self.turns.wake_first();
        }
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        self.takes(0);
    }
}

fn windows(time: Duration) -> u64 {
    micros(time) / micros(WINDOW)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Wake};

    use tokio::time::advance;

    use super::*;

    const TERMS: Patience = Patience { wait: Duration::from_millis(2), per_core: 100 };

    /// Windows in each of which a call has waited for so many milliseconds.
    async fn windows_of(turns: &Turns, count: u32, wait_ms: u64) {
        for _ in 0..count {
            let arrived = Instant::now();
            advance(Duration::from_millis(wait_ms)).await;
            turns.turn(arrived, TERMS);
            advance(WINDOW.saturating_sub(Duration::from_millis(wait_ms))).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_queue_that_stands_bounds_anything_and_the_room_follows_the_wait() {
        let turns = Turns::new(1);
        windows_of(&turns, 4, 19).await;
        windows_of(&turns, 1, 0).await;
        windows_of(&turns, 4, 19).await;
        windows_of(&turns, 1, 0).await;
        assert_eq!(turns.room(), None, "a burst is not a queue that stands");
        windows_of(&turns, 6, 19).await;
        assert_eq!(turns.room(), Some(100));
        windows_of(&turns, 11, 0).await;
        let room = turns.room().unwrap();
        assert!(room > 150, "{room}");
        windows_of(&turns, 2, 3).await;
        assert!(turns.room().unwrap() < room, "late again");
        windows_of(&turns, 200, 0).await;
        assert_eq!(turns.room(), None, "in time for long enough");
    }

    #[tokio::test(start_paused = true)]
    async fn after_silence_nothing_is_bounded() {
        let turns = Turns::new(1);
        windows_of(&turns, 6, 19).await;
        assert!(turns.room().is_some());
        advance(WINDOW * 51).await;
        windows_of(&turns, 1, 0).await;
        assert_eq!(turns.room(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_floods_takes_half_and_everybody_else_still_fits() {
        let turns = Turns::new(1);
        assert!(turns.fits(1_000_000, 1_000_000), "nothing waits");
        windows_of(&turns, 6, 19).await;
        let shared = 100 * OF_THE_ROOM;
        let (mut hot, mut all) = (0, 0);
        while turns.fits(hot, all) {
            (hot, all) = (hot + 1, all + 1);
        }
        assert_eq!(hot, shared / 2);
        let mut calm = 0;
        while turns.fits(calm, all) {
            (calm, all) = (calm + 1, all + 1);
        }
        assert_eq!(calm, shared / 4);
        let share = Share::default();
        share.store(shared - 1, Relaxed);
        let caller = turns.arrive([Some(share.clone()), None]);
        assert!(caller.fits(all) && !caller.fits(all + 1), "a caller has several times the share of an org");
        drop(caller);
        assert_eq!(share.load(Relaxed), shared - 1);
        assert!(
            turns.fits(0, shared + 1) && !turns.fits(1, shared + 1),
            "the first one of an org, past what is shared"
        );
        assert!(!turns.fits(0, 2 * shared), "and not for ever");
    }

    /// A connection, how often it was woken, and whether it is read.
    struct Reader(Arc<OfConnection>, Arc<Woken>);

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    impl Reader {
        fn new(own: u32) -> Self {
            let of = Arc::<OfConnection>::default();
            of.worked_on.store(own, Relaxed);
            Self(of, Arc::default())
        }

        fn is_read(&self, turns: &Turns, floods: bool) -> bool {
            turns.poll_read(&self.0, floods, &Context::from_waker(&self.1.clone().into()))
        }

        fn woken(&self) -> u32 {
            self.1.0.load(Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_are_read_where_there_is_room_and_one_with_nothing_always() {
        let turns = Turns::new(1);
        let mut flood: Vec<_> = (0..1_000).map(|_| turns.arrive([None, None])).collect();
        assert!(Reader::new(9).is_read(&turns, true), "nothing waits");
        windows_of(&turns, 6, 19).await;
        let [first, gone, second, third] = [Reader::new(0), Reader::new(0), Reader::new(3), Reader::new(0)];
        assert!(!first.is_read(&turns, true) && !gone.is_read(&turns, true) && !second.is_read(&turns, false));
        assert!(!third.is_read(&turns, true) && !first.is_read(&turns, true), "each waits once");
        assert!(Reader::new(0).is_read(&turns, false), "it has nothing here");
        flood.truncate(100);
        drop(gone);
        assert_eq!((first.woken(), second.woken()), (0, 0), "there is no room yet");
        flood.pop();
        assert_eq!((first.woken(), second.woken()), (1, 0), "the first of the line");
        flood.push(turns.arrive([None, None]));
        assert!(!first.is_read(&turns, true), "somebody else was faster");
        flood.pop();
        assert_eq!((first.woken(), second.woken()), (2, 0), "it has kept its place");
        assert!(first.is_read(&turns, true));
        flood.pop();
        assert_eq!(
            (first.woken(), second.woken(), third.woken()),
            (2, 1, 0),
            "the next; one that is gone has no place"
        );
        drop(flood);
        assert_eq!(third.woken(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_waits_for_something_else_takes_a_quarter_of_a_place() {
        let turns = Turns::new(1);
        windows_of(&turns, 6, 19).await;
        let calls: Vec<_> = (0..100).map(|_| turns.arrive([None, None])).collect();
        let reader = Reader::new(9);
        assert!(!reader.is_read(&turns, true), "all places are taken");
        for call in &calls {
            call.served(pin!(tokio::task::yield_now())).await;
        }
        assert_eq!((reader.woken(), turns.taken.load(Relaxed)), (0, 100 * PARTS), "they asked their org, no more");
        let (answer, answered) = tokio::sync::oneshot::channel::<()>();
        {
            let mut waits = pin!(async {
                tokio::task::yield_now().await;
                answered.await
            });
            let mut served = pin!(calls[0].served(waits.as_mut()));
            for _ in 0..3 {
                assert!(futures_util::poll!(served.as_mut()).is_pending());
            }
            assert_eq!((reader.woken(), turns.taken.load(Relaxed)), (1, 99 * PARTS + 1), "one more is read");
            assert!(reader.is_read(&turns, true));
            drop(answer);
            assert!(served.await.is_err());
            assert!(!reader.is_read(&turns, true), "it is at work again");
        }
        drop(calls);
        assert_eq!(turns.taken.load(Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_not_whole_has_no_place_and_one_that_says_nothing_keeps_nobody_waiting() {
        let turns = Turns::new(1);
        windows_of(&turns, 6, 19).await;
        let share = Share::default();
        let calls: Vec<_> = (0..100).map(|_| turns.arrive([Some(share.clone()), None])).collect();
        let [first, second] = [Reader::new(1), Reader::new(1)];
        assert!(!first.is_read(&turns, true) && !second.is_read(&turns, true), "all places are taken");
        {
            let (rest, mut came) = tokio::sync::oneshot::channel();
            let mut awaited = pin!(&mut came);
            let mut whole = pin!(calls[0].whole(awaited.as_mut()));
            assert!(futures_util::poll!(whole.as_mut()).is_pending());
            assert_eq!((share.load(Relaxed), turns.taken.load(Relaxed)), (99, 99 * PARTS));
            assert!(first.woken() == 1 && first.is_read(&turns, true), "the rest of it comes behind its headers");
            turns.wake_first();
            assert_eq!(second.woken(), 1, "the one before it had nothing to say");
            rest.send(()).unwrap();
            whole.await.unwrap();
        }
        assert_eq!((share.load(Relaxed), turns.taken.load(Relaxed)), (100, 100 * PARTS));
        assert!(!second.is_read(&turns, true));
        drop(calls);
        assert_eq!((share.load(Relaxed), turns.taken.load(Relaxed)), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn while_all_places_wait_for_something_else_one_connection_is_read_per_window() {
        let turns = Turns::new(1);
        windows_of(&turns, 6, 19).await;
        assert!(turns.let_one_read() && !turns.let_one_read());
        advance(WINDOW).await;
        assert!(turns.let_one_read() && !turns.let_one_read());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_held_only_while_calls_wait() {
        let turns = Turns::new(1);
        let began = Instant::now();
        turns.hold().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        windows_of(&turns, 6, 19).await;
        let began = Instant::now();
        turns.hold().await;
        assert_eq!(began.elapsed(), HOLD);
        turns.held.store(HELD, Relaxed);
        let began = Instant::now();
        turns.hold().await;
        assert_eq!(began.elapsed(), Duration::ZERO, "the queue of refusals has a limit too");
    }
}
