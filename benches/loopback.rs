//! The release binary over loopback next to a bare tonic echo of the same messages, in turns of one
//! run: the ratio is the figure, the absolute numbers belong to the machine.
//!
//! ```sh
//! cargo bench --bench loopback                          # about three minutes
//! cargo bench --bench loopback -- --against <binary>    # in turns with another build
//! cargo bench --bench loopback -- --only durable        # one load, in four times as many rounds
//! cargo bench --bench loopback -- --picks               # picks of accounts, next to durable decisions
//! cargo bench --bench loopback -- --doors               # unary with a token, with a token over TLS, and with spans of some or all calls
//! cargo bench --bench loopback -- --json                # unary as JSON over HTTP/1.1, next to gRPC on the same node
//! ```
//!
//! Each server runs pinned to core 0 (with `taskset`, where there is one), the client to core 1.
//! `cpu/call` is the server's own CPU time per answered call, which does not depend on how fast the
//! client is.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, reads the clock, and rounds"
)]

mod fetch;
mod pin;
mod server;
mod sink;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fetch::Fetch;
use pin::pinned;
use server::{Process, Res};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
};
use tokio_stream::{
    Stream, StreamExt,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tollgate::{
    domain::limit::LimitTexts,
    wire::v1::{
        self, AcquireRequest, AcquireResponse, AcquireStreamRequest, AcquireStreamResponse, ConfigurePoolRequest,
        PickRequest, PoolAccount,
        gate_service_client::GateServiceClient,
        gate_service_server::{GateService, GateServiceServer},
        pool_service_client::PoolServiceClient,
    },
};
use tonic::{
    Request, Response, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

const POOL: &str = "relay";
const CALLERS: usize = 64;
const CHANNELS: usize = 4;
const ORGS: usize = 64;
const STREAM_WINDOW: usize = 1024;
const ROUND: Duration = Duration::from_secs(4);
const ROUNDS: usize = 5;
/// Of ways in, which differ by less than the speed of a machine does within seconds.
const TURN: Duration = Duration::from_millis(500);
const TURNS: usize = 50;
const OURS: &str = env!("CARGO_BIN_EXE_tollgate");

/// Answers what tollgate answers to an allowed Acquire under the default configuration, with texts of its own
/// in each answer, as a generated type has them.
#[derive(Clone)]
struct Echo;

fn canned() -> AcquireResponse {
    AcquireResponse {
        allowed: true,
        code: v1::DecisionCode::Allowed.into(),
        decision_id: "56026a878e5d70eb0000000000000001".into(),
        http_status_hint: 200,
        node: "node".into(),
        limits: vec![v1::Limit {
            texts: LimitTexts::new("rate", "calls", "aligned/1h"),
            amount: 1_000_000_000,
            used: 123_456,
            remaining: 999_876_544,
            resets_at_ms: 1_795_341_600_000,
            ..Default::default()
        }],
        ..Default::default()
    }
}

type Streamed = std::pin::Pin<Box<dyn Stream<Item = Result<AcquireStreamResponse, Status>> + Send>>;

macro_rules! not_echoed {
    ($($name:ident($request:ty) -> $response:ty;)*) => {
        $(fn $name<'a, 'f>(
            &'a self,
            _: Request<$request>,
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<Response<$response>, Status>> + Send + 'f>>
        where
            'a: 'f,
            Self: 'f,
        {
            Box::pin(async { Err(Status::unimplemented("echo")) })
        })*
    };
}

#[tonic::async_trait]
impl GateService for Echo {
    type AcquireStreamStream = Streamed;

    async fn acquire(&self, request: Request<AcquireRequest>) -> Result<Response<AcquireResponse>, Status> {
        std::hint::black_box(request.into_inner());
        Ok(Response::new(canned()))
    }

    async fn acquire_stream(
        &self,
        request: Request<Streaming<AcquireStreamRequest>>,
    ) -> Result<Response<Streamed>, Status> {
        let answer = |item: AcquireStreamRequest| AcquireStreamResponse {
            tag: item.tag,
            result: Some(v1::acquire_stream_response::Result::Decision(canned())),
        };
        Ok(Response::new(Box::pin(request.into_inner().map(move |item| item.map(answer)))))
    }

    not_echoed! {
        acquire_batch(v1::AcquireBatchRequest) -> v1::AcquireBatchResponse;
        commit(v1::CommitRequest) -> v1::CommitResponse;
        release(v1::ReleaseRequest) -> v1::ReleaseResponse;
        extend(v1::ExtendRequest) -> v1::ExtendResponse;
        list_reservations(v1::ListReservationsRequest) -> v1::ListReservationsResponse;
        resume(v1::ResumeRequest) -> v1::ResumeResponse;
        record(v1::RecordRequest) -> v1::RecordResponse;
        report_cumulative(v1::ReportCumulativeRequest) -> v1::ReportCumulativeResponse;
        get_status(v1::GetStatusRequest) -> v1::GetStatusResponse;
        batch_get_status(v1::BatchGetStatusRequest) -> v1::BatchGetStatusResponse;
    }
}

/// A server process and where it listens.
struct Server {
    process: Process,
    address: SocketAddr,
}

impl Server {
    fn echo() -> Res<Self> {
        let program = env::current_exe()?;
        let mut child = pinned("0", &program.to_string_lossy()).args(["--echo"]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        Ok(Self { process: Process::of(child, None), address: line.trim().parse()? })
    }

    fn tollgate(write_behind_ms: &str) -> Res<Self> {
        Self::build(OURS, write_behind_ms)
    }

    fn build(program: &str, write_behind_ms: &str) -> Res<Self> {
        Self::with(program, write_behind_ms, tempfile::tempdir()?, &[])
    }

    fn with(program: &str, write_behind_ms: &str, dir: tempfile::TempDir, settings: &[(&str, String)]) -> Res<Self> {
        let (process, up) = Process::tollgate(pinned("0", program), write_behind_ms, dir, settings)?;
        Ok(Self { process, address: up["grpc"].as_str().ok_or("no address")?.parse()? })
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Figure {
    per_second: f64,
    micros_per_call: f64,
    p50_us: u128,
    p99_us: u128,
}

/// One kept connection.
#[derive(Clone)]
struct Client {
    gate: GateServiceClient<Connection>,
    pool: PoolServiceClient<Connection>,
}

type Connection = InterceptedService<Channel, Bearer>;

/// What a caller sends with each call.
#[derive(Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

async fn connect(endpoint: Endpoint, bearer: Option<MetadataValue<Ascii>>) -> Res<Vec<Client>> {
    let mut clients = Vec::new();
    for _ in 0..CHANNELS {
        let (channel, bearer) = (endpoint.connect().await?, Bearer(bearer.clone()));
        clients.push(Client {
            gate: GateServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            pool: PoolServiceClient::with_interceptor(channel, bearer),
        });
    }
    Ok(clients)
}

async fn clients(address: SocketAddr) -> Res<Vec<Client>> {
    connect(Channel::from_shared(format!("http://{address}"))?, None).await
}

fn request(number: usize) -> AcquireRequest {
    request_of(number, ORGS)
}

fn request_of(number: usize, orgs: usize) -> AcquireRequest {
    AcquireRequest { org: format!("org-{}", number % orgs), ..Default::default() }
}

/// What callers ask for, one call at a time.
#[derive(Clone, Copy)]
enum Ask {
    /// Over so many orgs.
    Acquire(usize),
    Pick,
    /// With the gates of the org.
    GatedPick,
}

impl Ask {
    async fn once(self, number: usize, client: &mut Client) -> Result<(), Status> {
        let gated = match self {
            Self::Acquire(orgs) => return client.gate.acquire(request_of(number, orgs)).await.map(drop),
            Self::Pick => None,
            Self::GatedPick => Some(AcquireRequest::default()),
        };
        let AcquireRequest { org, .. } = request(number);
        let picked =
            client.pool.pick(PickRequest { org, pool: POOL.into(), acquire: gated, ..Default::default() }).await?;
        if picked.into_inner().allowed { Ok(()) } else { Err(Status::internal("no account is left")) }
    }
}

/// A pool of so many accounts in every org.
async fn configure(server: &Server, accounts: usize) -> Res<()> {
    let mut client = PoolServiceClient::connect(format!("http://{}", server.address)).await?;
    let account = |number| PoolAccount {
        account: format!("account-{number}"),
        daily_limit: Some(1_000_000_000),
        ..Default::default()
    };
    for number in 0..ORGS {
        let (AcquireRequest { org, .. }, pool) = (request(number), POOL.to_owned());
        let accounts = (0..accounts).map(account).collect();
        let request = ConfigurePoolRequest { org, pool, accounts, request_id: "bench".into(), ..Default::default() };
        client.configure_pool(request).await?;
    }
    Ok(())
}

async fn unary(server: &Server, ask: Ask) -> Res<Figure> {
    unary_by(server, &clients(server.address).await?, ask, ROUND).await
}

async fn unary_by(server: &Server, clients: &[Client], ask: Ask, length: Duration) -> Res<Figure> {
    let (stop, cpu, began) = (Arc::new(AtomicBool::new(false)), server.process.cpu()?, Instant::now());
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (mut client, stop) = (clients[number % CHANNELS].clone(), stop.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let sent = Instant::now();
                    ask.once(number, &mut client).await?;
                    took.push(sent.elapsed().as_micros());
                }
                Ok::<_, Status>(took)
            })
        })
        .collect();
    tokio::time::sleep(length).await;
    stop.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for caller in callers {
        took.extend(caller.await??);
    }
    took.sort_unstable();
    figure(took.len() as u64, began.elapsed(), server.process.cpu()? - cpu, &took)
}

async fn streamed(server: &Server) -> Res<Figure> {
    let (answered, cpu, began) = (Arc::new(AtomicU64::new(0)), server.process.cpu()?, Instant::now());
    let mut streams = Vec::new();
    for Client { mut gate, .. } in clients(server.address).await? {
        let answered = answered.clone();
        streams.push(tokio::spawn(async move {
            let (send, receive) = mpsc::channel(STREAM_WINDOW);
            for tag in 0..STREAM_WINDOW as u64 {
                let _ = send.try_send(AcquireStreamRequest { tag, acquire: Some(request(tag as usize)) });
            }
            let mut answers = gate.acquire_stream(ReceiverStream::new(receive)).await?.into_inner();
            while began.elapsed() < ROUND {
                let Some(answer) = answers.next().await else { break };
                let tag = answer?.tag;
                answered.fetch_add(1, Ordering::Relaxed);
                let _ = send.send(AcquireStreamRequest { tag, acquire: Some(request(tag as usize)) }).await;
            }
            Ok::<_, Status>(())
        }));
    }
    for stream in streams {
        stream.await??;
    }
    figure(answered.load(Ordering::Relaxed), began.elapsed(), server.process.cpu()? - cpu, &[])
}

fn figure(calls: u64, took: Duration, cpu_us: u64, sorted: &[u128]) -> Res<Figure> {
    let at = |part: usize| sorted.get(sorted.len() * part / 100).copied().unwrap_or(0);
    Ok(Figure {
        per_second: calls as f64 / took.as_secs_f64(),
        micros_per_call: cpu_us as f64 / calls.max(1) as f64,
        p50_us: at(50),
        p99_us: at(99),
    })
}

fn show(name: &str, figure: Figure) {
    println!(
        "{name:<28} {:>9.0}/s   server cpu/call {:>6.2} us   p50 {:>6} us   p99 {:>6} us",
        figure.per_second, figure.micros_per_call, figure.p50_us, figure.p99_us
    );
}

/// Each number for itself: a round that was slow for the client may be an ordinary one for the server.
fn median(figures: Vec<Figure>) -> Figure {
    let of = |number: fn(&Figure) -> f64| {
        let mut numbers: Vec<f64> = figures.iter().map(number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.get(numbers.len() / 2).copied().unwrap_or_default()
    };
    Figure {
        per_second: of(|figure| figure.per_second),
        micros_per_call: of(|figure| figure.micros_per_call),
        p50_us: of(|figure| figure.p50_us as f64) as u128,
        p99_us: of(|figure| figure.p99_us as f64) as u128,
    }
}

/// What a build is asked for: each figure stands next to the one of the echo.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Unary,
    Stream,
    /// Every reply waits for the disk; over so many orgs.
    Durable(usize),
}

const LOADS: [(&str, Load); 4] = [
    ("unary", Load::Unary),
    ("stream", Load::Stream),
    ("durable", Load::Durable(ORGS)),
    ("durable, one org", Load::Durable(1)),
];

impl Load {
    async fn run(self, server: &Server) -> Res<Figure> {
        match self {
            Self::Unary => unary(server, Ask::Acquire(ORGS)).await,
            Self::Stream => streamed(server).await,
            Self::Durable(orgs) => unary(server, Ask::Acquire(orgs)).await,
        }
    }

    async fn of(self, build: &str) -> Res<Figure> {
        let write_behind_ms = if matches!(self, Self::Durable(_)) { "0" } else { "10" };
        self.run(&Server::build(build, write_behind_ms)?).await
    }
}

/// Builds of tollgate and the echo in turns. A ratio is of two figures of one round.
async fn compare(builds: &[&str], loads: &[(&str, Load)], rounds: usize) -> Res<()> {
    let mut echoes = vec![vec![]; loads.len()];
    let mut figures = vec![vec![vec![]; loads.len()]; builds.len()];
    for round in 0..rounds {
        for (at, (_, load)) in loads.iter().enumerate() {
            echoes[at].push(load.run(&Server::echo()?).await?);
            for (build, figures) in builds.iter().zip(&mut figures) {
                figures[at].push(load.of(build).await?);
            }
        }
        println!("round {} of {rounds}", round + 1);
    }
    println!("\nmedians of {rounds} rounds, {CALLERS} callers on {CHANNELS} connections, {ORGS} orgs");
    for (at, (name, _)) in loads.iter().enumerate() {
        show(&format!("{name}: echo"), median(echoes[at].clone()));
        for (build, figures) in builds.iter().zip(&figures) {
            show(&format!("{name}: {build}"), median(figures[at].clone()));
            let pairs = || figures[at].iter().zip(&echoes[at]);
            let throughput = pairs().map(|(ours, echo)| ours.per_second / echo.per_second).collect();
            let cpu = pairs().map(|(ours, echo)| echo.micros_per_call / ours.micros_per_call).collect();
            println!("    of the echo: {} by throughput, {} by server cpu", spread(throughput), spread(cpu));
        }
    }
    Ok(())
}

/// The median, and the least and the greatest.
fn spread(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let at = |index: usize| ratios.get(index).copied().unwrap_or_default();
    format!("{:.2} ({:.2} to {:.2})", at(ratios.len() / 2), at(0), at(ratios.len().saturating_sub(1)))
}

/// Picks wait for the disk: next to Acquires that do, in turns.
async fn picks() -> Res<()> {
    const ASKED: [(&str, Ask, usize); 4] = [
        ("acquire, durable", Ask::Acquire(ORGS), 0),
        ("pick of 5 accounts", Ask::Pick, 5),
        ("pick of 100 accounts", Ask::Pick, 100),
        ("pick of 5, gates of the org", Ask::GatedPick, 5),
    ];
    let mut figures = ASKED.map(|_| vec![]);
    for round in 0..ROUNDS {
        for ((_, ask, accounts), figures) in ASKED.iter().zip(&mut figures) {
            let server = Server::tollgate("0")?;
            configure(&server, *accounts).await?;
            figures.push(unary(&server, *ask).await?);
        }
        println!("round {} of {ROUNDS}", round + 1);
    }
    println!(
        "\nmedians of {ROUNDS} rounds, {CALLERS} callers on {CHANNELS} connections, {ORGS} orgs, every reply durable"
    );
    for ((name, ..), figures) in ASKED.iter().zip(figures) {
        show(name, median(figures));
    }
    Ok(())
}

/// How callers are let in.
#[derive(Clone, Copy)]
enum Entry {
    Open,
    Token,
    /// With a token, over TLS.
    Tls,
    /// Spans of one in so many calls are sent to a collector.
    Traced(u32),
}

impl Entry {
    const ALL: [(&str, Self); 5] = [
        ("open", Self::Open),
        ("token", Self::Token),
        ("token over TLS", Self::Tls),
        ("spans of 1 %", Self::Traced(100)),
        ("spans of all", Self::Traced(1)),
    ];

    /// A server that lets in like this, and clients of it.
    async fn enter(self) -> Res<(Server, Vec<Client>)> {
        let dir = tempfile::tempdir()?;
        let path = |name: &str| dir.path().join(name).display().to_string();
        let run = |arguments: &[&str]| -> Res<String> {
            let ran = Command::new(OURS).args(arguments).output()?;
            if ran.status.success() { Ok(String::from_utf8(ran.stdout)?) } else { Err(format!("{ran:?}").into()) }
        };
        let (tokens, tls) = (path("tokens.toml"), path("tls"));
        let mut settings = Vec::new();
        let mut bearer = None;
        if let Self::Traced(one_in) = self {
            settings.push(("TOLLGATE__TRACING__ENDPOINT", sink::start().await?));
            settings.push(("TOLLGATE__TRACING__ONE_IN", one_in.to_string()));
        }
        if matches!(self, Self::Token | Self::Tls) {
            let made =
                ["token", "create", "--name", "a", "--role", "plane", "--orgs", "*", "--expires", "1h", "--file"];
            bearer = Some(format!("Bearer {}", run(&[&made[..], &[&tokens]].concat())?.trim()).parse()?);
            settings.push(("TOLLGATE__AUTH__TOKENS", tokens));
        }
        let mut ca = None;
        if matches!(self, Self::Tls) {
            run(&["cert", "dev", &tls])?;
            ca = Some(Certificate::from_pem(fs::read(format!("{tls}/ca.pem"))?));
            settings.push(("TOLLGATE__TLS__CERT", format!("{tls}/cert.pem")));
            settings.push(("TOLLGATE__TLS__KEY", format!("{tls}/key.pem")));
        }
        let server = Server::with(OURS, "10", dir, &settings)?;
        let scheme = if ca.is_some() { "https" } else { "http" };
        let mut endpoint = Channel::from_shared(format!("{scheme}://{}", server.address))?;
        if let Some(ca) = ca {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().ca_certificate(ca))?;
        }
        let clients = connect(endpoint, bearer).await?;
        Ok((server, clients))
    }
}

/// The same calls through each entry, in turns: what a token costs, and TLS on a kept connection.
async fn doors() -> Res<()> {
    let mut figures = Entry::ALL.map(|_| vec![]);
    let mut entries = Vec::new();
    for (_, entry) in Entry::ALL {
        entries.push(entry.enter().await?);
    }
    for _ in 0..TURNS {
        for ((server, clients), figures) in entries.iter().zip(&mut figures) {
            figures.push(unary_by(server, clients, Ask::Acquire(ORGS), TURN).await?);
        }
    }
    println!("\nmedians of {TURNS} turns, {CALLERS} callers on {CHANNELS} connections, {ORGS} orgs, unary");
    // The ratios of pairs spread by a factor of two; medians of as many turns do not.
    let medians = figures.map(median);
    for ((name, _), figure) in Entry::ALL.iter().zip(medians) {
        let of_open = figure.micros_per_call / medians[0].micros_per_call;
        show(name, figure);
        println!("    of the open one, by server cpu, median by median: {of_open:.2}");
    }
    Ok(())
}

/// The same calls over gRPC and as JSON, in turns, on one node.
async fn json() -> Res<()> {
    let (server, clients) = Entry::Open.enter().await?;
    let mut fetches = Vec::new();
    for _ in 0..CALLERS {
        fetches.push(Arc::new(Mutex::new(Fetch::connect(server.address).await?)));
    }
    let (mut grpc, mut json) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        grpc.push(unary_by(&server, &clients, Ask::Acquire(ORGS), TURN).await?);
        json.push(json_by(&server, &fetches).await?);
    }
    let (grpc, json) = (median(grpc), median(json));
    println!("\nmedians of {TURNS} turns, {CALLERS} callers, {ORGS} orgs, unary");
    show("gRPC, on 4 connections", grpc);
    show("JSON over HTTP/1.1, each on its own", json);
    println!("    of gRPC, by server cpu, median by median: {:.2}", json.micros_per_call / grpc.micros_per_call);
    Ok(())
}

async fn json_by(server: &Server, fetches: &[Arc<Mutex<Fetch>>]) -> Res<Figure> {
    let (cpu, began) = (server.process.cpu()?, Instant::now());
    let callers = fetches.iter().enumerate().map(|(number, fetch)| {
        let fetch = fetch.clone();
        tokio::spawn(async move {
            let (mut fetch, org) = (fetch.lock().await, request(number).org);
            let mut took = Vec::new();
            while began.elapsed() < TURN {
                let sent = Instant::now();
                fetch.acquire(&org).await.map_err(|error| error.to_string())?;
                took.push(sent.elapsed().as_micros());
            }
            Ok::<_, String>(took)
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut took = Vec::new();
    for caller in callers {
        took.extend(caller.await??);
    }
    took.sort_unstable();
    figure(took.len() as u64, began.elapsed(), server.process.cpu()? - cpu, &took)
}

async fn serve_echo() -> Res<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let echo = tonic::transport::Server::builder()
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .add_service(GateServiceServer::new(Echo));
    Ok(echo.serve_with_incoming(TcpListenerStream::new(listener)).await?)
}

fn main() -> Res<()> {
    let arguments: Vec<String> = env::args().collect();
    let given = |name: &str| arguments.iter().position(|argument| argument == name);
    let echo = given("--echo").is_some();
    let runtime = tokio::runtime::Runtime::new()?;
    if !echo {
        // Errors leave the client unpinned, as where there is no taskset.
        let _ = Command::new("taskset")
            .args(["-a", "-cp", "1", &std::process::id().to_string()])
            .stdout(Stdio::null())
            .status();
    }
    if echo {
        return runtime.block_on(serve_echo());
    }
    if given("--picks").is_some() {
        return runtime.block_on(picks());
    }
    if given("--doors").is_some() {
        return runtime.block_on(doors());
    }
    if given("--json").is_some() {
        return runtime.block_on(json());
    }
    let value = |name: &str| given(name).and_then(|at| arguments.get(at + 1)).map(String::as_str);
    let builds: Vec<&str> = value("--against").into_iter().chain([OURS]).collect();
    let Some(only) = value("--only") else { return runtime.block_on(compare(&builds, &LOADS, ROUNDS)) };
    // A difference between two builds takes more rounds to see than one figure.
    let loads: Vec<_> = LOADS.into_iter().filter(|(name, _)| *name == only).collect();
    runtime.block_on(compare(&builds, &loads, 4 * ROUNDS))
}
