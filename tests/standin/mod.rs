//! A stand-in for Autumn: it answers like the real one, keeps a ledger of every request, and does
//! once whatever is asked of it to be tested against.
//!
//! From Rust: `#[path = ".../tests/standin/mod.rs"] mod standin;`, then [`Standin::start`]. From
//! anything else: `cargo run --example autumn-standin`, which prints its address, ends with its
//! standard input, and gets its instructions over HTTP:
//!
//! | call | does |
//! | --- | --- |
//! | `POST /control/customers` `{"org_1": {"features": {"executions": {"granted": 10}}, "subscriptions": []}}` | sets customers; `null` removes one |
//! | `GET /control/customers` | what they have and what was booked |
//! | `POST /control/faults` `["hang", {"fault": {"stall": {"ms": 3000}}, "path": "/v1/balances.track"}]` | queues faults, one per request |
//! | `POST /control/failing` `{"org_1": {"fault": {"status": 500}, "path": "/v1/balances.check"}}` | does that with every request about the customer, and only where none is queued; `null` ends it |
//! | `POST /control/cache` `true` | gives the same answer to every check that does not skip the cache, until usage is booked |
//! | `POST /control/clock` `{"ahead_ms": -5000, "date_ahead_ms": null}` | how far its clock, and the `Date` of its answers, are ahead of this machine's; `null` sends no `Date` |
//! | `GET /control/ledger` | every request of the API, in order, with what was answered |
//! | `POST /control/reset` | forgets everything |

// Each of its users needs another part of it.
#![allow(dead_code, unreachable_pub)]

pub mod books;
pub mod http;

use std::{
    collections::{BTreeMap, VecDeque},
    future::pending,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::BufReader,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use self::{
    books::{Books, Customer, Feature},
    http::{Headers, Request, Stream},
};

/// What is done once instead of answering as one should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// This status with an error in the body: 500, 503, 401, …
    Status(u16),
    /// The right answer, late.
    Stall {
        ms: u64,
    },
    /// No answer, and the connection stays.
    Hang,
    /// 202: let through without looking.
    FailedOpen,
    CustomerNotFound,
    FeatureNotFound,
    /// 429 with this `Retry-After`.
    RateLimited {
        retry_after: String,
    },
    /// 200 with a page instead of JSON.
    Garbage,
    /// 200 with megabytes, which would be a good answer.
    Huge,
    /// The connection ends instead of an answer; nothing is booked.
    Close,
    /// The call is carried out, and the connection ends instead of an answer.
    LostAnswer,
    /// The right answer, a byte at a time.
    Trickle,
    /// Exactly this.
    Answer {
        status: u16,
        body: String,
    },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Queued {
    Any(Fault),
    /// For the next request to this path.
    For {
        fault: Fault,
        path: String,
    },
}

/// One request, and what was answered.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    pub method: String,
    pub path: String,
    pub headers: Headers,
    pub body: Value,
    pub fault: Option<Fault>,
    /// `null` while there is no answer, or where there was none.
    pub status: Option<u16>,
    pub answer: Value,
}

/// What time it is for the stand-in.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub struct Clock {
    /// Its own clock, by which it refuses usage of the future, against the machine's.
    pub ahead_ms: i64,
    /// The `Date` of its answers against the machine's clock; `None` sends none.
    pub date_ahead_ms: Option<i64>,
}

#[derive(Debug)]
struct State {
    clock: Clock,
    books: Books,
    faults: VecDeque<Queued>,
    /// By customer.
    failing: BTreeMap<String, Queued>,
    ledger: Vec<Entry>,
}

impl Default for State {
    fn default() -> Self {
        let clock = Clock { ahead_ms: 0, date_ahead_ms: Some(0) };
        Self { clock, books: Books::default(), faults: VecDeque::new(), failing: BTreeMap::new(), ledger: Vec::new() }
    }
}

#[allow(clippy::disallowed_methods, reason = "a process of its own, with a clock of its own")]
fn machine() -> SystemTime {
    SystemTime::now()
}

fn moved(by_ms: i64) -> SystemTime {
    let by = Duration::from_millis(by_ms.unsigned_abs());
    if by_ms < 0 { machine() - by } else { machine() + by }
}

/// A running stand-in; it ends when dropped.
#[derive(Debug)]
pub struct Standin {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Standin {
    /// On a port of the system's choice.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(accept(listener, state.clone()));
        Self { address, state, task }
    }

    /// `http://127.0.0.1:<port>`
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets what a customer has of the feature `executions`.
    pub fn grant(&self, customer: &str, feature: Feature) {
        self.customer(
            customer,
            Customer { features: [("executions".to_owned(), feature)].into(), ..Customer::default() },
        );
    }

    pub fn customer(&self, id: &str, customer: Customer) {
        set_customer(&mut lock(&self.state).books, id, Some(customer));
    }

    /// What was booked of the feature `executions`.
    pub fn usage(&self, customer: &str) -> i64 {
        let state = lock(&self.state);
        let found = state.books.customers.get(customer).and_then(|found| found.features.get("executions"));
        found.map_or(0, |feature| feature.usage)
    }

    /// For the next request.
    pub fn fault(&self, fault: Fault) {
        lock(&self.state).faults.push_back(Queued::Any(fault));
    }

    /// For the next request to `path`.
    pub fn fault_for(&self, path: &str, fault: Fault) {
        lock(&self.state).faults.push_back(Queued::For { fault, path: path.to_owned() });
    }

    /// For every request to `path` about the customer, as long as none is queued.
    pub fn failing(&self, customer: &str, path: &str, fault: Fault) {
        let fault = Queued::For { fault, path: path.to_owned() };
        lock(&self.state).failing.insert(customer.to_owned(), fault);
    }

    pub fn caching(&self, on: bool) {
        lock(&self.state).books.cache = on.then(BTreeMap::new);
    }

    /// Its clock says `now` from here on, and its answers `date`: milliseconds since the epoch.
    pub fn clock(&self, now: u64, date: Option<u64>) {
        let machine = machine().duration_since(UNIX_EPOCH).expect("after the epoch").as_millis();
        let machine = i64::try_from(machine).expect("this side of the year 292 million");
        let ahead = |at: u64| i64::try_from(at).expect("likewise") - machine;
        lock(&self.state).clock = Clock { ahead_ms: ahead(now), date_ahead_ms: date.map(ahead) };
    }

    pub fn ledger(&self) -> Vec<Entry> {
        lock(&self.state).ledger.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set_customer(books: &mut Books, id: &str, customer: Option<Customer>) {
    match customer {
        Some(customer) => {
            books.catalogue.extend(customer.features.keys().cloned());
            books.customers.insert(id.to_owned(), customer);
        }
        None => _ = books.customers.remove(id),
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, state.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut stream = BufReader::new(stream);
    while let Ok(Some(request)) = http::read(&mut stream).await {
        let done = if request.path.starts_with("/control/") {
            let (status, answer) = control(&mut lock(&state), &request);
            http::write(&mut stream, status, &[], answer.to_string().as_bytes()).await
        } else {
            answer(&mut stream, &state, request).await
        };
        if done.is_err() {
            return;
        }
    }
}

fn control(state: &mut State, request: &Request) -> (u16, Value) {
    let body = request.body.clone();
    let done = match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/control/ledger") => return (200, json!(state.ledger)),
        ("GET", "/control/customers") => return (200, json!(state.books.customers)),
        ("POST", "/control/reset") => {
            *state = State::default();
            Ok(())
        }
        ("POST", "/control/customers") => {
            serde_json::from_value(body).map(|customers: BTreeMap<String, Option<Customer>>| {
                for (id, customer) in customers {
                    set_customer(&mut state.books, &id, customer);
                }
            })
        }
        ("POST", "/control/faults") => {
            serde_json::from_value(body).map(|faults: Vec<Queued>| state.faults.extend(faults))
        }
        ("POST", "/control/failing") => {
            serde_json::from_value(body).map(|customers: BTreeMap<String, Option<Queued>>| {
                for (customer, fault) in customers {
                    match fault {
                        Some(fault) => _ = state.failing.insert(customer, fault),
                        None => _ = state.failing.remove(&customer),
                    }
                }
            })
        }
        ("POST", "/control/cache") => {
            serde_json::from_value(body).map(|on: bool| state.books.cache = on.then(BTreeMap::new))
        }
        ("POST", "/control/clock") => serde_json::from_value(body).map(|clock| state.clock = clock),
        _ => return (404, json!({"error": "no such control"})),
    };
    match done {
        Ok(()) => (200, json!({})),
        Err(error) => (400, json!({"error": error.to_string()})),
    }
}

impl State {
    /// The first fault that is meant for this path, or what the customer always gets.
    fn take_fault(&mut self, path: &str, customer: &str) -> Option<Fault> {
        let meant = |queued: &Queued| match queued {
            Queued::Any(_) => true,
            Queued::For { path: only, .. } => path == only,
        };
        let queued = match self.faults.iter().position(meant) {
            Some(at) => self.faults.remove(at),
            None => self.failing.get(customer).filter(|queued| meant(queued)).cloned(),
        };
        queued.map(|queued| match queued {
            Queued::Any(fault) | Queued::For { fault, .. } => fault,
        })
    }

    fn carry_out(&mut self, request: &Request) -> (u16, String) {
        let now = moved(self.clock.ahead_ms);
        let (status, answer) = self.books.answer(&request.path, &request.headers, &request.body, now);
        (status, answer.to_string())
    }
}

/// Written down before it is answered, so that a request that hangs is seen.
fn enter(state: &mut State, request: &Request) -> (usize, Option<Fault>) {
    let fault = state.take_fault(&request.path, request.body["customer_id"].as_str().unwrap_or_default());
    let Request { method, path, headers, body } = request.clone();
    state.ledger.push(Entry { method, path, headers, body, fault: fault.clone(), status: None, answer: Value::Null });
    (state.ledger.len() - 1, fault)
}

async fn answer(stream: &mut Stream, state: &Mutex<State>, request: Request) -> io::Result<()> {
    let (entry, fault) = enter(&mut lock(state), &request);
    let broken = || Err(io::ErrorKind::ConnectionAborted.into());
    let error = |code: &str| json!({"message": "as was asked for", "code": code, "env": "sandbox"}).to_string();
    let mut headers = Vec::new();
    let (status, body) = match fault {
        None => lock(state).carry_out(&request),
        Some(Fault::Stall { ms }) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            lock(state).carry_out(&request)
        }
        Some(Fault::Trickle) => {
            let (status, body) = lock(state).carry_out(&request);
            return http::trickle(stream, status, body.as_bytes(), Duration::from_millis(100)).await;
        }
        Some(Fault::Hang) => pending().await,
        Some(Fault::Close) => return broken(),
        Some(Fault::LostAnswer) => {
            lock(state).carry_out(&request);
            return broken();
        }
        Some(Fault::RateLimited { retry_after }) => {
            headers.push(("retry-after", retry_after));
            (429, error("rate_limit_exceeded"))
        }
        Some(Fault::FailedOpen) => {
            let customer = &request.body["customer_id"];
            let body = json!({
                "allowed": true, "customer_id": customer, "required_balance": 1, "balance": null, "flag": null,
            });
            (202, body.to_string())
        }
        Some(Fault::Status(status)) => {
            (status, error(if status == 401 { "invalid_secret_key" } else { "internal_error" }))
        }
        Some(Fault::CustomerNotFound) => (404, error("customer_not_found")),
        Some(Fault::FeatureNotFound) => (404, error("feature_not_found")),
        Some(Fault::Garbage) => (200, "<html>down for maintenance</html>".into()),
        Some(Fault::Huge) => {
            let body =
                json!({"allowed": true, "balance": {"remaining": 1}, "flag": null, "padding": "x".repeat(4 << 20)});
            (200, body.to_string())
        }
        Some(Fault::Answer { status, body }) => (status, body),
    };
    if let Some(entry) = lock(state).ledger.get_mut(entry) {
        entry.status = Some(status);
        entry.answer = serde_json::from_str(&body).unwrap_or(Value::Null);
    }
    if let Some(ahead) = lock(state).clock.date_ahead_ms {
        headers.push(("date", httpdate::fmt_http_date(moved(ahead))));
    }
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    http::write(stream, status, &headers, body.as_bytes()).await
}
