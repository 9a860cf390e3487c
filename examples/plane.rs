//! A small plane: it asks before every execution and settles after it.
//!
//! ```sh
//! cargo run -- serve                      # a node, in another terminal
//! cargo run --example plane -- acme       # one execution of the org `acme`
//! cargo run --example plane -- acme --fail-open --addr http://127.0.0.1:7070
//! ```
//!
//! The order is: Acquire with a reservation, run, then Commit what was really used; Release if the
//! execution did not happen. Three rules make this safe:
//!
//! * **A denial is an answer, an error is not.** `allowed = false` is a decision and is never asked
//!   again. A gRPC error means that no decision was made.
//! * **Without a decision, the same call is sent again under the same request id.** That is so on
//!   UNAVAILABLE, on DEADLINE_EXCEEDED, and where the node sheds load and says when to try again. All
//!   attempts share one budget of time. The node charges a request id once, whichever attempt arrives.
//! * **Failing open is a choice.** When the budget is used up without a decision, nothing is executed
//!   unless the plane was started with `--fail-open`.
//!
//! Exit codes: 0 executed, 1 error, 2 usage, 3 denied.

use std::{env, error::Error, fmt, future::Future, process::ExitCode, time::Duration};

use tokio::time::{self, Instant};
use tollgate::wire::v1::{
    AcquireRequest, AcquireResponse, Amount, CommitRequest, ReleaseRequest, gate_service_client::GateServiceClient,
};
use tonic::{
    Code, Request, Response, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

/// For all attempts of one call together.
const BUDGET: Duration = Duration::from_secs(2);
/// For one attempt: a node that hangs leaves time for another attempt.
const ATTEMPT: Duration = Duration::from_millis(500);
/// Between two attempts, doubled each time; the node may ask for more.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What an execution reserves: 5 cents in micro-USD.
const RESERVED_SPEND: i64 = 50_000;

type Gate = GateServiceClient<Channel>;

struct Arguments {
    org: String,
    address: String,
    fail_open: bool,
}

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stderr)]
async fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: plane ORG [--fail-open] [--addr http://HOST:PORT]");
        return ExitCode::from(2);
    };
    match plane(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<Arguments> {
    let mut parsed = Arguments { org: String::new(), address: "http://127.0.0.1:7070".to_owned(), fail_open: false };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--fail-open" => parsed.fail_open = true,
            "--addr" => parsed.address = words.next()?,
            _ if word.starts_with('-') || !parsed.org.is_empty() => return None,
            _ => parsed.org = word,
        }
    }
    (!parsed.org.is_empty()).then_some(parsed)
}

/// One execution from the question to the settlement; `false` if it was denied.
async fn plane(arguments: &Arguments) -> Result<bool, Box<dyn Error>> {
    // Connects with the first call, and again whenever the connection was lost.
    let mut gate = Gate::new(Endpoint::from_shared(arguments.address.clone())?.connect_lazy());
    let execution = execution_id()?;
    let decision = match acquire(&mut gate, &arguments.org, &execution).await {
        Ok(decision) => decision,
        Err(Failed::NoDecision(cause)) if arguments.fail_open => {
            say(format_args!("no decision ({}), executing because of --fail-open", cause.message()));
            // A plane that meters keeps what was used, and sends it as `Record` once the node answers.
            run(&execution).await?;
            return Ok(true);
        }
        Err(failed) => return Err(failed.into()),
    };
    if !decision.allowed {
        // The message is made for people; a front end shows it with `http_status_hint`.
        say(format_args!("denied: {}", decision.message));
        if decision.retry_after_ms > 0 {
            say(format_args!("try again in {:?}", Duration::from_millis(decision.retry_after_ms.unsigned_abs())));
        }
        return Ok(false);
    }
    for gate in &decision.fail_open {
        say(format_args!("note: the gate {} could not be evaluated: {}", gate.gate, gate.cause));
    }
    match run(&execution).await {
        Ok(spend) => commit(&mut gate, &arguments.org, &execution, &decision, spend).await?,
        Err(error) => {
            release(&mut gate, &arguments.org, &execution, &decision).await?;
            return Err(error);
        }
    }
    Ok(true)
}

/// A name that no other execution has; the request ids of its calls are made from it.
fn execution_id() -> Result<String, getrandom::Error> {
    Ok(format!("plane-{:016x}", getrandom::u64()?))
}

/// The execution itself: the place of your code. It returns what was spent, in micro-USD.
async fn run(execution: &str) -> Result<i64, Box<dyn Error>> {
    say(format_args!("running {execution}"));
    Ok(12_000)
}

async fn acquire(gate: &mut Gate, org: &str, execution: &str) -> Result<AcquireResponse, Failed> {
    let request = AcquireRequest {
        org: org.to_owned(),
        request_id: format!("{execution}/acquire"),
        reserve: vec![Amount { meter: "spend".to_owned(), amount: RESERVED_SPEND }],
        plane: "example".to_owned(),
        ..AcquireRequest::default()
    };
    with_retries(|timeout| {
        let (mut gate, request) = (gate.clone(), within(request.clone(), timeout));
        async move { gate.acquire(request).await }
    })
    .await
}

/// Settles the reservation with what was really used. A plane that meters keeps a Commit that was not
/// answered, and sends it again later under the same request id.
async fn commit(
    gate: &mut Gate,
    org: &str,
    execution: &str,
    decision: &AcquireResponse,
    spend: i64,
) -> Result<(), Failed> {
    let request = CommitRequest {
        org: org.to_owned(),
        reservation_id: decision.reservation_id.clone(),
        request_id: format!("{execution}/commit"),
        actual: vec![Amount { meter: "spend".to_owned(), amount: spend }],
    };
    with_retries(|timeout| {
        let (mut gate, request) = (gate.clone(), within(request.clone(), timeout));
        async move { gate.commit(request).await }
    })
    .await?;
    say(format_args!("committed {spend} of {RESERVED_SPEND} micro-USD"));
    Ok(())
}

/// Gives the reservation back: the execution did not happen. A plane that dies before it can do so
/// leaves a reservation that expires by itself.
async fn release(gate: &mut Gate, org: &str, execution: &str, decision: &AcquireResponse) -> Result<(), Failed> {
    let request = ReleaseRequest {
        org: org.to_owned(),
        reservation_id: decision.reservation_id.clone(),
        request_id: format!("{execution}/release"),
    };
    with_retries(|timeout| {
        let (mut gate, request) = (gate.clone(), within(request.clone(), timeout));
        async move { gate.release(request).await }
    })
    .await?;
    say(format_args!("released"));
    Ok(())
}

/// Why a call has no answer.
#[derive(Debug)]
enum Failed {
    /// There was no decision in time: only this may fail open.
    NoDecision(Status),
    /// The call is wrong (INVALID_ARGUMENT, ALREADY_EXISTS, …): so would be a repetition.
    Refused(Status),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDecision(status) => write!(f, "no decision: {:?}: {}", status.code(), status.message()),
            Self::Refused(status) => write!(f, "refused: {:?}: {}", status.code(), status.message()),
        }
    }
}

impl Error for Failed {}

/// Sends the same call until it is answered, refused, or [`BUDGET`] is used up.
async fn with_retries<T, Call>(mut send: impl FnMut(Duration) -> Call) -> Result<T, Failed>
where
    Call: Future<Output = Result<Response<T>, Status>>,
{
    let until = Instant::now() + BUDGET;
    let mut pause = FIRST_PAUSE;
    loop {
        let attempt = ATTEMPT.min(until.saturating_duration_since(Instant::now()));
        let answer = time::timeout(attempt, send(attempt)).await;
        let error = match answer {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(error)) => error,
            Err(_) => Status::deadline_exceeded("no answer in time"),
        };
        let Some(asked) = wait_before_retry(&error) else {
            return Err(Failed::Refused(error));
        };
        let wait = pause.max(asked);
        if Instant::now() + wait >= until {
            return Err(Failed::NoDecision(error));
        }
        time::sleep(wait).await;
        pause *= 2;
    }
}

/// The least time until the call may be sent again; `None` if the answer would be the same.
fn wait_before_retry(error: &Status) -> Option<Duration> {
    let asked = error.get_details_retry_info().and_then(|info| info.retry_delay);
    match error.code() {
        // The channel reports as CANCELLED that the deadline of the call is over.
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Some(asked.unwrap_or_default()),
        // The node sheds load. Without a time the limit is not one that passes by itself.
        Code::ResourceExhausted => asked,
        _ => None,
    }
}

/// The node stops working on a call whose deadline is over.
fn within<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

#[allow(clippy::print_stdout)]
fn say(text: fmt::Arguments<'_>) {
    println!("{text}");
}
