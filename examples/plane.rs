//! A small plane: it asks before every execution and settles after it, with `tollgate::client`.
//!
//! ```sh
//! cargo run -- serve                      # a node, in another terminal
//! cargo run --example plane -- acme       # one execution of the org `acme`
//! cargo run --example plane -- acme --fail-open --addr http://127.0.0.1:7070
//! cargo run --example plane -- acme --addr https://localhost:7070 --ca tollgate-tls/ca.pem --token-file plane-eu.token
//! ```
//!
//! The order is: ask with a reservation, run, then settle what was really used, or give the reservation back if the
//! execution did not happen. `Client::guard` does all of that. A call that is not answered is sent again under the same
//! request id, within one budget of time; a denial never runs; where nobody decides, nothing runs unless the plane was
//! started with `--fail-open`.
//!
//! Exit codes: 0 executed, 1 error, 2 usage, 3 denied.

use std::{env, error::Error, fmt, process::ExitCode, time::Duration};

use tollgate::client::{Ask, Client, Execution, Guarded, OnUnavailable, Options};

/// What an execution reserves: 5 cents in micro-USD.
const RESERVED_SPEND: u64 = 50_000;

/// For what the node has not taken when the plane ends. A plane that lives on needs no such time.
const SETTLE_WITHIN: Duration = Duration::from_secs(3);

struct Arguments {
    org: String,
    address: String,
    ca: Option<String>,
    token_file: Option<String>,
    policy: OnUnavailable,
}

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stderr)]
async fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: plane ORG [--fail-open] [--addr http://HOST:PORT] [--ca FILE] [--token-file FILE]");
        return ExitCode::from(2);
    };
    match plane(arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Option<Arguments> {
    let address = "http://127.0.0.1:7070".to_owned();
    let policy = OnUnavailable::Closed;
    let mut parsed = Arguments { org: String::new(), address, ca: None, token_file: None, policy };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--fail-open" => parsed.policy = OnUnavailable::Open,
            "--addr" => parsed.address = words.next()?,
            "--ca" => parsed.ca = Some(words.next()?),
            "--token-file" => parsed.token_file = Some(words.next()?),
            _ if word.starts_with('-') || !parsed.org.is_empty() => return None,
            _ => parsed.org = word,
        }
    }
    (!parsed.org.is_empty()).then_some(parsed)
}

/// One execution from the question to the settlement; `false` if it was denied.
async fn plane(arguments: Arguments) -> Result<bool, Box<dyn Error>> {
    let Arguments { org, address, ca, token_file, policy } = arguments;
    let mut options =
        Options::new(address, policy).plane("example").on_event(|event| say(format_args!("note: {event}")));
    if let Some(ca) = ca {
        options = options.ca_pem(std::fs::read(ca)?);
    }
    if let Some(token_file) = token_file {
        options = options.token(std::fs::read_to_string(token_file)?);
    }
    // Connects with the first call, and again whenever the connection was lost.
    let client = Client::connect(options)?;
    let answer = client.guard(&org, Ask::new().reserve("spend", RESERVED_SPEND), run).await?;
    if let Guarded::Denied(denial) = &answer {
        // The text is made for people; a front end shows it with `http_status`.
        say(format_args!("denied: {}", denial.text()));
        if let Some(after) = denial.retry_after() {
            say(format_args!("try again in {after:?}"));
        }
    }
    if let Guarded::Ran { admission, settled, .. } = &answer {
        for gate in admission.unevaluated() {
            say(format_args!("note: the gate {} could not be evaluated: {}", gate.gate, gate.cause));
        }
        say(format_args!("settled: {settled:?}"));
    }
    // What the node has not taken by now is sent until it is, or the time is over.
    if !client.close(SETTLE_WITHIN).await {
        say(format_args!("note: the node does not answer, and what was used is lost with this process"));
    }
    Ok(answer.into_value().is_some())
}

/// The execution itself: the place of your code.
async fn run(execution: Execution) -> Result<(), fmt::Error> {
    say(format_args!("running {}", execution.request_id()));
    execution.used("spend", 12_000);
    Ok(())
}

#[allow(clippy::print_stdout)]
fn say(text: fmt::Arguments<'_>) {
    println!("{text}");
}
