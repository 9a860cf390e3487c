//! An open loop of calls to the release binary: it sends at the rate that is asked for, whatever the answers.
//!
//! The node runs pinned to core 0 (with `taskset`, where there is one), the client to core 1. The client speaks HTTP/2
//! itself, one thread over sockets that never block, so that it costs a fraction of the node: requests are encoded
//! before, answers are distinguished by their frames. It keeps to what clients of gRPC do: no more streams than the
//! server allows, and a call whose deadline has passed is cancelled. A call for which no stream is free is not sent: a client
//! that lets calls wait for one sends calls that are nearly over, and would measure itself.

#![allow(dead_code, reason = "each benchmark needs a part of it")]

use std::{
    collections::VecDeque,
    env, fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    pin::pinned,
    server::{Process, Res},
};

/// Before what is measured.
pub(crate) const WARM: Duration = Duration::from_secs(1);
/// Between two turns of the client: one that spins takes half of a processor that has two threads.
const TICK: Duration = Duration::from_micros(300);

/// Keeps this process, the client, to core 1. Errors leave it unpinned, as where there is no taskset.
pub(crate) fn pin_client() {
    if env::args().any(|argument| argument == "--unpinned") {
        return;
    }
    let _ = Command::new("taskset")
        .args(["-a", "-cp", "1", &std::process::id().to_string()])
        .stdout(Stdio::null())
        .status();
}

/// Whether threads of quiet loads go before the one that floods.
static GO_BEFORE: AtomicBool = AtomicBool::new(false);

/// What is measured of a quiet load is the node, and not how long the thread of the flood has the client's core: this thread has it
/// at once when it wakes. Needs the right to say so; without it the figures have the client's own delays in them.
fn go_before_the_flood() {
    let thread = fs::read_link("/proc/thread-self").ok();
    let thread = thread.as_ref().and_then(|path| path.file_name()).and_then(|name| name.to_str()).unwrap_or_default();
    let mut command = Command::new("chrt");
    command.args(["--fifo", "--pid", "1", thread]).stdout(Stdio::null()).stderr(Stdio::null());
    GO_BEFORE.store(command.status().is_ok_and(|status| status.success()), Relaxed);
}

/// How the quiet loads of the last [`run_beside`] were measured.
pub(crate) fn priority() -> &'static str {
    if GO_BEFORE.load(Relaxed) {
        "quiet calls have the client's core first"
    } else {
        "quiet calls share the client's core"
    }
}

/// The argument behind this one.
pub(crate) fn argument(name: &str) -> Option<String> {
    let mut arguments = env::args().skip_while(|argument| argument != name);
    arguments.next().and(arguments.next())
}

/// A node and where it listens.
pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) grpc: SocketAddr,
}

impl Node {
    pub(crate) fn start(program: &str, write_behind_ms: &str, settings: &[(&str, String)]) -> Res<Self> {
        let unpinned = env::args().any(|argument| argument == "--unpinned");
        let command = if unpinned { Command::new(program) } else { pinned("0", program) };
        let (process, up) = Process::tollgate(command, write_behind_ms, tempfile::tempdir()?, settings)?;
        Ok(Self { process, grpc: up["grpc"].as_str().ok_or("no address")?.parse()? })
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

fn text(out: &mut Vec<u8>, value: &str) {
    out.push(value.len() as u8);
    out.extend_from_slice(value.as_bytes());
}

/// The headers of a request, once with what they add to the table of both sides, then by their places in it.
struct Headers {
    first: Vec<u8>,
    later: Vec<u8>,
}

impl Headers {
    fn of(path: &str, authority: &str, deadline: Duration) -> Self {
        let mut first = vec![0x83, 0x86, 0x44];
        text(&mut first, path);
        first.push(0x41);
        text(&mut first, authority);
        first.extend([0x40 | 31]);
        text(&mut first, "application/grpc");
        for (name, value) in [("te", "trailers"), ("grpc-timeout", &format!("{}m", deadline.as_millis()))] {
            first.push(0x40);
            text(&mut first, name);
            text(&mut first, value);
        }
        Self { first, later: vec![0x83, 0x86, 0xc2, 0xc1, 0xc0, 0xbf, 0xbe] }
    }
}

/// What is asked, over and over.
#[derive(Clone)]
pub(crate) enum Ask {
    Acquire {
        orgs: usize,
        name: &'static str,
    },
    /// Of one org, in turn in each of so many scopes.
    Scoped {
        org: &'static str,
        scopes: usize,
    },
    Resume {
        org: &'static str,
    },
}

impl Ask {
    fn path(&self) -> &'static str {
        match self {
            Self::Acquire { .. } | Self::Scoped { .. } => "/tollgate.v1.GateService/Acquire",
            Self::Resume { .. } => "/tollgate.v1.GateService/Resume",
        }
    }

    /// Messages to be sent in turn, with the prefix of gRPC.
    fn messages(&self) -> Vec<Vec<u8>> {
        let message = |fields: &[(u8, String)]| {
            let mut body = Vec::new();
            for (number, value) in fields {
                body.push(number << 3 | 2);
                text(&mut body, value);
            }
            let mut message = vec![0];
            message.extend((body.len() as u32).to_be_bytes());
            message.extend(body);
            message
        };
        match self {
            Self::Acquire { orgs, name } => {
                (0..*orgs).map(|number| message(&[(1, format!("{name}-{number}"))])).collect()
            }
            Self::Scoped { org, scopes } => {
                (0..*scopes).map(|number| message(&[(1, (*org).to_owned()), (2, format!("agent/{number}"))])).collect()
            }
            Self::Resume { org } => vec![message(&[(1, (*org).to_owned()), (2, "execution".to_owned())])],
        }
    }
}

/// What became of calls.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outcomes {
    /// Due in the time that is measured.
    pub(crate) offered: u64,
    /// Answered within the deadline.
    pub(crate) good: u64,
    /// An error within the deadline.
    pub(crate) refused: u64,
    /// Cancelled at the deadline.
    pub(crate) late: u64,
    /// No stream was free.
    pub(crate) unsent: u64,
    /// Of the good ones, in microseconds from when they were due.
    took: Vec<u32>,
}

impl Outcomes {
    pub(crate) fn percentile(took: &[u32], part: f64) -> f64 {
        let mut sorted = took.to_vec();
        sorted.sort_unstable();
        let at = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
        f64::from(sorted.get(at).copied().unwrap_or_default()) / 1000.0
    }

    pub(crate) fn answered(&self) -> u64 {
        self.good + self.refused + self.late + self.unsent
    }

    pub(crate) fn ms(&self, part: f64) -> f64 {
        Self::percentile(&self.took, part)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.good += other.good;
        self.refused += other.refused;
        self.late += other.late;
        self.unsent += other.unsent;
        self.took.extend_from_slice(&other.took);
    }
}

#[derive(Clone, Copy)]
struct Sent {
    due: Instant,
    open: bool,
    answered: bool,
}

/// One connection of HTTP/2, with calls of one kind.
struct Connection {
    socket: TcpStream,
    address: SocketAddr,
    out: Vec<u8>,
    received: Vec<u8>,
    /// By stream: the first is that of `base`.
    sent: VecDeque<Sent>,
    base: u32,
    open: usize,
    allowed: usize,
    window: i64,
    headers: Headers,
    messages: Vec<Vec<u8>>,
    turn: usize,
    started: bool,
    gone: bool,
    /// When each that is to be sent was due.
    waiting: VecDeque<Instant>,
    deadline: Duration,
    measured: (Instant, Instant),
    outcomes: Outcomes,
}

impl Connection {
    fn open(address: SocketAddr, ask: &Ask, deadline: Duration) -> Res<Self> {
        let mut connection = Self {
            socket: TcpStream::connect(address)?,
            address,
            out: Vec::new(),
            received: Vec::new(),
            sent: VecDeque::new(),
            base: 1,
            open: 0,
            allowed: 100,
            window: 65_535,
            headers: Headers::of(ask.path(), "bench", deadline),
            messages: ask.messages(),
            turn: 0,
            started: false,
            gone: false,
            waiting: VecDeque::new(),
            deadline,
            measured: (Instant::now(), Instant::now() + Duration::from_secs(3600)),
            outcomes: Outcomes::default(),
        };
        connection.begin()?;
        Ok(connection)
    }

    fn begin(&mut self) -> Res<()> {
        self.socket.set_nodelay(true)?;
        self.socket.set_nonblocking(true)?;
        self.out.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frame(&mut self.out, SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
        frame(&mut self.out, WINDOW_UPDATE, 0, 0, &(0x7fff_ffff_u32 - 65_535).to_be_bytes());
        Ok(())
    }

    /// Every call in flight is lost.
    fn again(&mut self) -> Res<()> {
        while let Some(sent) = self.sent.pop_front() {
            if sent.open && self.is_measured(sent.due) {
                self.outcomes.refused += 1;
            }
        }
        self.socket = TcpStream::connect(self.address)?;
        (self.base, self.open, self.window, self.started, self.gone) = (1, 0, 65_535, false, false);
        self.out.clear();
        self.received.clear();
        self.begin()
    }

    fn is_measured(&self, due: Instant) -> bool {
        due >= self.measured.0 && due < self.measured.1
    }

    fn due(&mut self, at: Instant) {
        self.outcomes.offered += u64::from(self.is_measured(at));
        self.waiting.push_back(at);
    }

    /// Sends what may be sent, takes what has come, cancels what is over.
    fn turn(&mut self, now: Instant) -> Res<()> {
        self.cancel(now);
        while self.open < self.allowed && self.window > 64 && !self.gone {
            let Some(due) = self.waiting.pop_front() else { break };
            self.send(due);
        }
        for due in std::mem::take(&mut self.waiting) {
            self.outcomes.unsent += u64::from(self.is_measured(due));
        }
        self.flush()?;
        let mut chunk = [0; 65_536];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => {
                    self.again()?;
                    break;
                }
                Ok(bytes) => {
                    self.received.extend_from_slice(&chunk[..bytes]);
                    self.take(now);
                    if bytes < chunk.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.again()?;
                    break;
                }
            }
        }
        if self.gone && self.open == 0 {
            self.again()?;
        }
        Ok(())
    }

    fn cancel(&mut self, now: Instant) {
        // In the order of their deadlines, because they all have the same.
        for at in 0..self.sent.len() {
            let sent = self.sent[at];
            if now.duration_since(sent.due) < self.deadline {
                break;
            }
            if sent.open {
                self.sent[at].open = false;
                self.open -= 1;
                self.outcomes.late += u64::from(self.is_measured(sent.due));
                frame(&mut self.out, RST_STREAM, 0, self.base + 2 * at as u32, &CANCEL);
            }
        }
        while self.sent.front().is_some_and(|sent| !sent.open) {
            self.sent.pop_front();
            self.base += 2;
        }
    }

    fn send(&mut self, due: Instant) {
        let stream = self.base + 2 * self.sent.len() as u32;
        let headers =
            if std::mem::replace(&mut self.started, true) { &self.headers.later } else { &self.headers.first };
        frame(&mut self.out, HEADERS, END_HEADERS, stream, headers);
        let message = &self.messages[self.turn % self.messages.len()];
        self.turn += 1;
        frame(&mut self.out, DATA, END_STREAM, stream, message);
        self.window = self.window.saturating_sub_unsigned(message.len() as u64);
        self.sent.push_back(Sent { due, open: true, answered: false });
        self.open += 1;
    }

    fn flush(&mut self) -> Res<()> {
        while !self.out.is_empty() {
            match self.socket.write(&self.out) {
                Ok(bytes) => drop(self.out.drain(..bytes)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.again()?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(header) = self.received.get(at..at + 9) {
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let (kind, flags) = (header[3], header[4]);
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
            let Some(payload) = self.received.get(at + 9..at + 9 + length) else { break };
            match kind {
                SETTINGS if flags & ACK == 0 => {
                    for setting in payload.as_chunks::<6>().0 {
                        if setting[1] == 3 {
                            let most = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
                            self.allowed = most as usize;
                        }
                    }
                    frame(&mut self.out, SETTINGS, ACK, 0, &[]);
                }
                PING if flags & ACK == 0 => {
                    let payload = payload.to_vec();
                    frame(&mut self.out, PING, ACK, 0, &payload);
                }
                WINDOW_UPDATE if stream == 0 && length == 4 => {
                    self.window += i64::from(u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]));
                }
                GOAWAY => self.gone = true,
                DATA | HEADERS | RST_STREAM => self.answered(now, kind, flags, stream),
                _ => {}
            }
            at += 9 + length;
        }
        self.received.drain(..at);
    }

    fn answered(&mut self, now: Instant, kind: u8, flags: u8, stream: u32) {
        let Some(place) = stream.checked_sub(self.base).map(|after| (after / 2) as usize) else { return };
        let Some(sent) = self.sent.get_mut(place).filter(|sent| sent.open) else { return };
        sent.answered |= kind == DATA;
        if (kind == HEADERS || kind == DATA) && flags & END_STREAM == 0 {
            return;
        }
        sent.open = false;
        self.open -= 1;
        let (due, answered) = (sent.due, sent.answered);
        if !self.is_measured(due) {
            return;
        }
        let took = now.duration_since(due).as_micros() as u32;
        if answered {
            self.outcomes.good += 1;
            self.outcomes.took.push(took);
        } else {
            self.outcomes.refused += 1;
        }
    }
}

/// Calls of one kind at one rate.
pub(crate) struct Load {
    connections: Vec<Connection>,
    /// Per second; none keeps so many calls in flight.
    pace: Pace,
    next: Instant,
    turn: usize,
}

#[derive(Clone, Copy)]
pub(crate) enum Pace {
    Rate(f64),
    InFlight(usize),
}

impl Load {
    pub(crate) fn new(node: &Node, ask: &Ask, connections: usize, pace: Pace, deadline: Duration) -> Res<Self> {
        let connections = (0..connections).map(|_| Connection::open(node.grpc, ask, deadline));
        Ok(Self { connections: connections.collect::<Res<_>>()?, pace, next: Instant::now(), turn: 0 })
    }

    pub(crate) fn turn(&mut self, now: Instant, sends: bool) -> Res<()> {
        match self.pace {
            _ if !sends => {}
            Pace::Rate(rate) => {
                while self.next <= now {
                    let at = self.turn % self.connections.len();
                    self.turn += 1;
                    self.connections[at].due(self.next);
                    self.next += Duration::from_secs_f64(1.0 / rate);
                }
            }
            Pace::InFlight(most) => {
                let most = most.div_ceil(self.connections.len());
                for connection in &mut self.connections {
                    while connection.open + connection.waiting.len() < most {
                        connection.due(now);
                    }
                }
            }
        }
        for connection in &mut self.connections {
            connection.turn(now)?;
        }
        Ok(())
    }

    pub(crate) fn measure(&mut self, from: Instant, until: Instant) {
        for connection in &mut self.connections {
            connection.measured = (from, until);
            connection.outcomes = Outcomes::default();
        }
        self.next = Instant::now();
    }

    pub(crate) fn outcomes(&self) -> Outcomes {
        let mut all = Outcomes::default();
        for connection in &self.connections {
            all.add(&connection.outcomes);
        }
        all
    }

    /// How many calls were sent, also before what is measured.
    pub(crate) fn sent(&self) -> u64 {
        self.connections.iter().map(|connection| connection.turn as u64).sum()
    }
}

/// Runs loads beside each other, those that are `quiet` in a thread of their own.
pub(crate) fn run_beside(floods: &mut [&mut Load], quiet: &mut [&mut Load], round: Duration) -> Res<()> {
    let begin = Barrier::new(2);
    thread::scope(|scope| {
        let quiet = scope.spawn(|| {
            go_before_the_flood();
            begin.wait();
            run(quiet, round)
        });
        begin.wait();
        run(floods, round).and(quiet.join().unwrap_or_else(|_| Err("a quiet load has panicked".into())))
    })
}

/// Runs loads beside each other; the outcomes are of what was due after the warm-up.
pub(crate) fn run(loads: &mut [&mut Load], round: Duration) -> Res<()> {
    let (from, until) = (Instant::now() + WARM, Instant::now() + WARM + round);
    let longest = loads.iter().map(|load| load.connections[0].deadline).max().unwrap_or_default();
    for load in loads.iter_mut() {
        load.measure(from, until);
    }
    loop {
        let now = Instant::now();
        if now >= until + longest {
            return Ok(());
        }
        for load in loads.iter_mut() {
            load.turn(now, now < until)?;
        }
        std::thread::sleep(TICK);
    }
}
