//! Overload of the release binary: an open loop at once, twice and four times what the node serves at most, by one
//! org and by all, while others ask at a quiet rate. Everything is measured in one run; the ratios are the figures.
//!
//! ```sh
//! cargo bench --bench overload                          # about three minutes
//! cargo bench --bench overload -- --against <binary>    # in turns with another build
//! cargo bench --bench overload -- --only durable        # or plain
//! cargo bench --bench overload -- --connections 64      # of those that flood; 16 unless given
//! ```
//!
//! The node runs pinned to core 0 (with `taskset`, where there is one), the client to core 1. The client speaks HTTP/2
//! itself, one thread over sockets that never block, so that it costs a fraction of the node: requests are encoded
//! before, answers are distinguished by their frames. It keeps to what clients of gRPC do: no more streams than the
//! server allows, and a call whose deadline has passed is cancelled. A call for which no stream is free is not sent: a client
//! that lets calls wait for one sends calls that are nearly over, and would measure itself.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, reads the clock, and rounds"
)]

mod pin;
mod server;

use std::{
    collections::VecDeque,
    env,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use pin::pinned;
use server::{Process, Res};

const ORGS: usize = 64;
const FLOODING: usize = 16;
/// Of one load.
const ROUND: Duration = Duration::from_secs(3);
/// Before what is measured.
const WARM: Duration = Duration::from_secs(1);
/// Calls of an org that does not flood, and Resumes of one that does, per second.
const QUIET_RATE: f64 = 200.0;
/// Between two turns of the client: one that spins takes half of a processor that has two threads.
const TICK: Duration = Duration::from_micros(300);

/// A node and where it listens.
struct Node {
    process: Process,
    grpc: SocketAddr,
    http: SocketAddr,
}

impl Node {
    fn start(program: &str, write_behind_ms: &str) -> Res<Self> {
        let unpinned = env::args().any(|argument| argument == "--unpinned");
        let command = if unpinned { Command::new(program) } else { pinned("0", program) };
        let (process, up) = Process::tollgate(command, write_behind_ms, tempfile::tempdir()?, &[])?;
        let address = |name: &str| -> Res<SocketAddr> { Ok(up[name].as_str().ok_or("no address")?.parse()?) };
        Ok(Self { process, grpc: address("grpc")?, http: address("http")? })
    }

    /// How many calls were refused, by reason, since the start.
    fn refused(&self) -> Res<String> {
        let mut stream = TcpStream::connect(self.http)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let shown = text
            .lines()
            .filter(|line| line.contains("reason=\"") || line.contains("shed"))
            .filter(|line| !line.starts_with('#'));
        Ok(shown.collect::<Vec<_>>().join("\n    "))
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
enum Ask {
    Acquire { orgs: usize, name: &'static str },
    Resume { org: &'static str },
}

impl Ask {
    fn path(&self) -> &'static str {
        match self {
            Self::Acquire { .. } => "/tollgate.v1.GateService/Acquire",
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
            Self::Resume { org } => vec![message(&[(1, (*org).to_owned()), (2, "execution".to_owned())])],
        }
    }
}

/// What became of calls.
#[derive(Debug, Default, Clone)]
struct Outcomes {
    /// Due in the time that is measured.
    offered: u64,
    /// Answered within the deadline.
    good: u64,
    /// An error within the deadline.
    refused: u64,
    /// Cancelled at the deadline.
    late: u64,
    /// No stream was free.
    unsent: u64,
    /// Of the good ones, in microseconds from when they were due.
    took: Vec<u32>,
    /// The same of errors.
    refused_after: Vec<u32>,
}

impl Outcomes {
    fn percentile(took: &[u32], part: f64) -> f64 {
        let mut sorted = took.to_vec();
        sorted.sort_unstable();
        let at = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
        f64::from(sorted.get(at).copied().unwrap_or_default()) / 1000.0
    }

    fn answered(&self) -> u64 {
        self.good + self.refused + self.late + self.unsent
    }

    fn ms(&self, part: f64) -> f64 {
        Self::percentile(&self.took, part)
    }

    fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.good += other.good;
        self.refused += other.refused;
        self.late += other.late;
        self.unsent += other.unsent;
        self.took.extend_from_slice(&other.took);
        self.refused_after.extend_from_slice(&other.refused_after);
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
    reconnects: u64,
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
            reconnects: 0,
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
        self.reconnects += 1;
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
            self.outcomes.refused_after.push(took);
        }
    }
}

/// Calls of one kind at one rate.
struct Load {
    connections: Vec<Connection>,
    /// Per second; none keeps so many calls in flight.
    pace: Pace,
    next: Instant,
    turn: usize,
}

#[derive(Clone, Copy)]
enum Pace {
    Rate(f64),
    InFlight(usize),
}

impl Load {
    fn new(node: &Node, ask: &Ask, connections: usize, pace: Pace, deadline: Duration) -> Res<Self> {
        let connections = (0..connections).map(|_| Connection::open(node.grpc, ask, deadline));
        Ok(Self { connections: connections.collect::<Res<_>>()?, pace, next: Instant::now(), turn: 0 })
    }

    fn turn(&mut self, now: Instant, sends: bool) -> Res<()> {
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

    fn measure(&mut self, from: Instant, until: Instant) {
        for connection in &mut self.connections {
            connection.measured = (from, until);
            connection.outcomes = Outcomes::default();
        }
        self.next = Instant::now();
    }

    fn outcomes(&self) -> Outcomes {
        let mut all = Outcomes::default();
        for connection in &self.connections {
            all.add(&connection.outcomes);
        }
        all
    }

    fn reconnects(&self) -> u64 {
        self.connections.iter().map(|connection| connection.reconnects).sum()
    }
}

/// Runs loads beside each other; the outcomes are of what was due after the warm-up.
fn run(loads: &mut [&mut Load]) -> Res<()> {
    let (from, until) = (Instant::now() + WARM, Instant::now() + WARM + ROUND);
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

struct Setting {
    name: &'static str,
    write_behind_ms: &'static str,
    deadline: Duration,
}

const SETTINGS_OF: [Setting; 2] = [
    Setting { name: "plain", write_behind_ms: "10", deadline: Duration::from_millis(250) },
    Setting { name: "durable", write_behind_ms: "0", deadline: Duration::from_millis(2500) },
];

const HOT: Ask = Ask::Acquire { orgs: 1, name: "hot" };
const ALL: Ask = Ask::Acquire { orgs: ORGS, name: "org" };
const QUIET: Ask = Ask::Acquire { orgs: 1, name: "quiet" };
const RESUME: Ask = Ask::Resume { org: "hot-0" };

fn overload(build: &str, setting: &Setting, connections: usize) -> Res<()> {
    let node = Node::start(build, setting.write_behind_ms)?;
    let deadline = setting.deadline;
    println!("\n{build}, {}, {} connections flood, deadline {deadline:?}", setting.name, connections);
    let mut quiet = Load::new(&node, &QUIET, 1, Pace::Rate(QUIET_RATE), deadline)?;
    let mut resume = Load::new(&node, &RESUME, 1, Pace::Rate(QUIET_RATE), deadline)?;
    run(&mut [&mut quiet, &mut resume])?;
    let idle = quiet.outcomes();
    println!(
        "  idle: p50 {:.1} ms, p99 {:.1} ms; resume p99 {:.1} ms",
        idle.ms(0.5),
        idle.ms(0.99),
        resume.outcomes().ms(0.99)
    );
    for (who, ask) in [("one org", &HOT), ("all orgs", &ALL)] {
        let mut peak = 0.0_f64;
        for in_flight in [64, 256] {
            let mut closed = Load::new(&node, ask, 4, Pace::InFlight(in_flight), deadline)?;
            let before = node.process.cpu()?;
            run(&mut [&mut closed])?;
            let spent = node.process.cpu()? - before;
            let outcomes = closed.outcomes();
            let rate = outcomes.good as f64 / ROUND.as_secs_f64();
            println!(
                "  {who}: {in_flight} in flight: {rate:.0}/s, p99 {:.1} ms, refused {}; cpu {:.0} % busy, {:.1} us per good answer",
                outcomes.ms(0.99),
                outcomes.refused,
                spent as f64 / 1e4 / (WARM + ROUND).as_secs_f64(),
                spent as f64 / (outcomes.good as f64 * (WARM + ROUND).as_secs_f64() / ROUND.as_secs_f64()),
            );
            peak = peak.max(rate);
        }
        for times in [1.0, 2.0, 4.0] {
            let pace = Pace::Rate(peak * times);
            let mut flood = Load::new(&node, ask, connections, pace, deadline)?;
            let before = node.process.cpu()?;
            run(&mut [&mut flood, &mut quiet, &mut resume])?;
            let spent = node.process.cpu()? - before;
            let (hot, calm, resumed) = (flood.outcomes(), quiet.outcomes(), resume.outcomes());
            let goodput = hot.good as f64 / ROUND.as_secs_f64();
            println!(
                "  {who} at {times} x: goodput {goodput:.0}/s = {:.2} of the peak, p99 {:.1} ms; refused {:.2} (p50 {:.0} ms), late {:.2}, unsent {:.2} of {}; reconnects {}; cpu {:.0} % busy, {:.1} us per good answer",
                goodput / peak,
                hot.ms(0.99),
                hot.refused as f64 / hot.offered as f64,
                Outcomes::percentile(&hot.refused_after, 0.5),
                hot.late as f64 / hot.offered as f64,
                hot.unsent as f64 / hot.offered as f64,
                hot.offered,
                flood.reconnects(),
                spent as f64 / 1e4 / (WARM + ROUND).as_secs_f64(),
                spent as f64 / (hot.good as f64 * (WARM + ROUND).as_secs_f64() / ROUND.as_secs_f64()),
            );
            println!(
                "      another org: p50 {:.1} ms, p99 {:.1} ms = {:.1} x idle, {} of {} refused, {} late; resume p99 {:.1} ms, {} refused, {} late of {}",
                calm.ms(0.5),
                calm.ms(0.99),
                calm.ms(0.99) / idle.ms(0.99),
                calm.refused,
                calm.offered,
                calm.late,
                resumed.ms(0.99),
                resumed.refused,
                resumed.late,
                resumed.offered,
            );
            drop(flood);
            let began = Instant::now();
            let mut after = Load::new(&node, ask, 1, Pace::InFlight(1), deadline)?;
            let mut row = 0;
            while row < 20 && began.elapsed() < Duration::from_secs(5) {
                after.measure(began, began + Duration::from_secs(3600));
                let sent = Instant::now();
                while after.outcomes().answered() == 0 {
                    after.turn(Instant::now(), true)?;
                }
                let good = after.outcomes().good > 0 && sent.elapsed().as_secs_f64() * 1000.0 <= 3.0 * idle.ms(0.99);
                row = if good { row + 1 } else { 0 };
            }
            println!("      after it: 20 good answers in a row after {:.0} ms", began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    println!("    {}", node.refused()?);
    Ok(())
}

fn main() -> Res<()> {
    let arguments: Vec<String> = env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    if !arguments.iter().any(|argument| argument == "--unpinned") {
        // Errors leave the client unpinned, as where there is no taskset.
        let _ = Command::new("taskset")
            .args(["-a", "-cp", "1", &std::process::id().to_string()])
            .stdout(Stdio::null())
            .status();
    }
    let connections = value("--connections").map_or(Ok(FLOODING), str::parse)?;
    let ours = value("--ours").unwrap_or(env!("CARGO_BIN_EXE_tollgate"));
    let builds = value("--against").into_iter().chain([ours]).filter(|build| !build.is_empty());
    for build in builds {
        for setting in &SETTINGS_OF {
            if value("--only").is_none_or(|only| only == setting.name) {
                overload(build, setting, connections)?;
            }
        }
    }
    Ok(())
}
