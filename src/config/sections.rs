//! The sections that describe a node: one function each, defaults where a key is missing or refused.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use url::Url;

use super::{
    mistake::Place,
    reader::{Parsed, Section},
    tree::{Entry, Value},
    values::{address, choice, is_name, name, truth, whole, whole_u32},
};
use crate::bounds::{Bound, Bounds};

/// A plain Acquire is on disk after this at the latest; longer would only lose more.
pub(super) const WRITE_BEHIND_MS_MAX: u32 = 10_000;
pub(super) const WRITE_BEHIND_COUNT_MAX: u32 = 1_000_000;

/// `[listen]`: the addresses that the node listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// Takes rpcs.
    pub grpc: SocketAddr,
    /// Takes the same, and health checks, metrics and webhooks.
    pub http: SocketAddr,
    /// Takes other nodes of the cluster, where there is one.
    pub peer: SocketAddr,
}

/// `[cors]`: the pages of other sites that may call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cors {
    /// `https://app.example.com`, or `*` alone.
    pub origins: Vec<String>,
}

impl Listen {
    /// Whether another machine can reach one of them.
    pub fn is_beyond_loopback(&self) -> bool {
        !(self.grpc.ip().is_loopback() && self.http.ip().is_loopback())
    }
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { grpc: local(7070), http: local(7071), peer: local(7072) }
    }
}

/// How far plain admissions may run ahead of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durability {
    /// Time between commits of what is written behind; 0 = nothing is.
    pub write_behind_ms: u32,
    /// Unflushed admissions per org beyond which an Acquire waits.
    pub write_behind_max: u32,
}

impl Default for Durability {
    fn default() -> Self {
        Self { write_behind_ms: 10, write_behind_max: 4096 }
    }
}

/// `[log]`: what the node writes to stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Log {
    /// The least severe line that is written.
    pub level: LogLevel,
    /// How a line is written.
    pub format: LogFormat,
}

/// The least severe line that is written, and with it all that are more severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Only what needs somebody.
    Error,
    /// Also what may need somebody.
    Warn,
    /// Also what changes the state of the node.
    #[default]
    Info,
    /// Also what helps to find a defect.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    pub(super) const NAMES: [(&'static str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// As it is configured, and as `RUST_LOG` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    pub(super) const NAMES: [(&'static str, Self); 2] = [("text", Self::Text), ("json", Self::Json)];
}

/// Most calls of which one is recorded.
pub(super) const ONE_IN_MAX: u64 = 1_000_000_000;

/// `[tracing]`: where spans of calls are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracing {
    /// A collector of OpenTelemetry that takes OTLP over gRPC; `None` = nothing is recorded.
    pub endpoint: Option<String>,
    /// One of so many calls of which no caller has said anything; 0 = none.
    pub one_in: u64,
}

impl Default for Tracing {
    fn default() -> Self {
        Self { endpoint: None, one_in: 100 }
    }
}

pub(super) fn tracing(mut section: Section<'_>) -> Tracing {
    let default = Tracing::default();
    Tracing {
        endpoint: section.read("endpoint", collector),
        one_in: section.read("one_in", |entry| whole(entry, 0, ONE_IN_MAX)).unwrap_or(default.one_in),
    }
}

fn collector(entry: &Entry) -> Parsed<String> {
    let is_one = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
    };
    let url = entry.text().filter(|text| Url::parse(text).is_ok_and(|url| is_one(&url)));
    url.map(|url| url.trim_end_matches('/').to_owned())
        .ok_or_else(|| "the address of a collector that takes OTLP over gRPC, such as \"http://127.0.0.1:4317\"".into())
}

pub(super) fn listen(mut section: Section<'_>) -> Listen {
    let default = Listen::default();
    let at = section.place("http").or_else(|| section.place("grpc"));
    let listen = Listen {
        grpc: section.read("grpc", address).unwrap_or(default.grpc),
        http: section.read("http", address).unwrap_or(default.http),
        peer: section.read("peer", address).unwrap_or(default.peer),
    };
    let any = |address: SocketAddr| address.ip().is_unspecified();
    let same_host = listen.grpc.ip() == listen.http.ip() || any(listen.grpc) || any(listen.http);
    // Port 0 is another free port each time.
    if let Some(at) = at
        && same_host
        && listen.grpc.port() == listen.http.port()
        && listen.http.port() != 0
    {
        let allowed = format!("another port than that of listen.grpc ({})", listen.grpc);
        section.findings.refuse(&at, "listen.http", listen.http, allowed);
    }
    listen
}

const ORIGINS_RULE: &str = "a list of origins such as \"https://app.example.com\" (a scheme and a host, with a port where it is \
                            another than the usual one, without a path), or [\"*\"] for every page";

pub(super) fn cors(mut section: Section<'_>) -> Cors {
    Cors { origins: section.read("origins", origins).unwrap_or_default() }
}

fn origins(entry: &Entry) -> Parsed<Vec<String>> {
    let Value::List(items) = &entry.value else { return Err(ORIGINS_RULE.into()) };
    let texts: Option<Vec<&str>> = items.iter().map(Entry::text).collect();
    let texts = texts.ok_or(ORIGINS_RULE)?;
    let is_any = texts == ["*"];
    if !is_any && !texts.iter().all(|text| is_origin(text)) {
        return Err(ORIGINS_RULE.into());
    }
    Ok(texts.into_iter().map(str::to_owned).collect())
}

/// As a browser sends it: what is written otherwise would match no page.
fn is_origin(text: &str) -> bool {
    let parsed = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    parsed.is_some_and(|url| url.origin().ascii_serialization() == text)
}

pub(super) const DIRECTORY_RULE: &str = "the path of a directory";

pub(super) fn data_dir(mut section: Section<'_>) -> PathBuf {
    section.read("dir", directory).unwrap_or_else(|| "./tollgate-data".into())
}

fn directory(entry: &Entry) -> Parsed<PathBuf> {
    let path = entry.text().filter(|text| !text.is_empty() && !text.contains('\0'));
    path.map(PathBuf::from).ok_or_else(|| DIRECTORY_RULE.into())
}

pub(super) fn durability(mut section: Section<'_>) -> Durability {
    let default = Durability::default();
    Durability {
        write_behind_ms: section
            .read("write_behind_ms", |entry| whole_u32(entry, 0, WRITE_BEHIND_MS_MAX))
            .unwrap_or(default.write_behind_ms),
        write_behind_max: section
            .read("write_behind_max", |entry| whole_u32(entry, 1, WRITE_BEHIND_COUNT_MAX))
            .unwrap_or(default.write_behind_max),
    }
}

/// The bounds, and where the time for a decision was set.
pub(super) fn bounds(mut section: Section<'_>) -> (Bounds, Option<Place>) {
    let mut bounds = Bounds::default();
    let budget_at = section.place("decision_budget_ms");
    for bound in Bound::ALL.iter().copied() {
        let value = section.read(bound.name(), |entry| whole_u32(entry, bound.least(), bound.most()));
        bounds.set(bound, value.unwrap_or(bound.default()));
    }
    (bounds, budget_at)
}

pub(super) fn node(mut section: Section<'_>) -> String {
    section.read("name", name).unwrap_or_else(host_name)
}

pub(super) fn log(mut section: Section<'_>) -> Log {
    Log {
        level: section.read("level", |entry| choice(entry, &LogLevel::NAMES)).unwrap_or_default(),
        format: section.read("format", |entry| choice(entry, &LogFormat::NAMES)).unwrap_or_default(),
    }
}

/// Whether a reload may take away every limit.
pub(super) fn accept_lost_limits(mut section: Section<'_>) -> bool {
    let at = section.place("accept_lost_limits");
    let accepted = section.read("accept_lost_limits", truth).unwrap_or_default();
    if let (Some(at), true) = (at, accepted) {
        let text = "reload.accept_lost_limits is true: no reload is refused for the limits that it takes away";
        section.findings.warn(&at, text.into());
    }
    accepted
}

/// The name of this machine, where it has one that can name a node.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Some(name.trim()).filter(|name| is_name(name)).unwrap_or("local").to_owned()
}
