//! What it costs to keep denials: one org is denied thousands of times a second while another one asks at a quiet
//! rate, on a node that keeps denials and on one that keeps none, in turns of one run. The ratios are the figures.
//!
//! ```sh
//! cargo bench --bench denials                    # about four minutes
//! cargo bench --bench denials -- --rate 2000     # denials per second; 5000 unless given
//! cargo bench --bench denials -- --seconds 2     # of a node in one of its three turns; 20 unless given
//! ```
//!
//! The client is that of `flood`. `kept` is checked too: what the node says of the day is compared with the answers.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark prints, reads the clock, and rounds"
)]

mod flood;
mod pin;
mod server;

use std::{process::Command, time::Duration};

use flood::{Ask, Load, Node, Outcomes, Pace, argument, pin_client, run_beside};
use serde_json::Value;
use server::Res;

const RATE: f64 = 5_000.0;
const QUIET_RATE: f64 = 200.0;
const CONNECTIONS: usize = 16;
const TURNS: usize = 3;
/// Of one node in one turn: a minute over all turns.
const SECONDS: u64 = 20;
const DEADLINE: Duration = Duration::from_secs(1);

const DENIED: &str = "denied";
const QUIET: Ask = Ask::Acquire { orgs: 1, name: "quiet" };
/// Calls that are all alike, and calls of which every scope is a denial of its own.
const FLOODS: [(&str, usize); 2] = [("alike", 1), ("of 1000 scopes", 1000)];

/// A node on which one org is denied everything.
struct Side {
    name: &'static str,
    node: Node,
    hot: Outcomes,
    quiet: Outcomes,
    cpu: u64,
    sent: u64,
}

impl Side {
    fn start(build: &str, name: &'static str, kept: &str) -> Res<Self> {
        let node = Node::start(build, "10", &[("TOLLGATE__BOUNDS__DENIALS_PER_ORG", kept.to_owned())])?;
        ask(build, &node, &["budget", "set", DENIED, "daily=block"])?;
        Ok(Self { name, node, hot: Outcomes::default(), quiet: Outcomes::default(), cpu: 0, sent: 0 })
    }

    fn turn(&mut self, scopes: usize, rate: f64, round: Duration) -> Res<()> {
        let flood = Ask::Scoped { org: DENIED, scopes };
        let mut hot = Load::new(&self.node, &flood, CONNECTIONS, Pace::Rate(rate), DEADLINE)?;
        let mut quiet = Load::new(&self.node, &QUIET, 1, Pace::Rate(QUIET_RATE), DEADLINE)?;
        let before = self.node.process.cpu()?;
        run_beside(&mut [&mut hot], &mut [&mut quiet], round)?;
        self.cpu += self.node.process.cpu()? - before;
        self.sent += hot.sent();
        self.hot.add(&hot.outcomes());
        self.quiet.add(&quiet.outcomes());
        Ok(())
    }

    /// What the node has counted of the days, and how many rows it keeps.
    fn counted(&self, build: &str) -> Res<(u64, usize)> {
        let answer: Value = serde_json::from_str(&ask(build, &self.node, &["denials", DENIED, "--limit", "1000"])?)?;
        let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let gates = answer["days"].as_array().into_iter().flatten().flat_map(|day| day["gates"].as_array());
        let denied = gates.flatten().map(|gate| number(&gate["denied"])).sum();
        Ok((denied, answer["denials"].as_array().map_or(0, Vec::len)))
    }
}

fn ask(build: &str, node: &Node, arguments: &[&str]) -> Res<String> {
    let output = Command::new(build).args(arguments).args(["-o", "json", "--addr", &node.grpc.to_string()]).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn main() -> Res<()> {
    pin_client();
    let rate = argument("--rate").map_or(Ok(RATE), |text| text.parse())?;
    let round = argument("--seconds").map_or(Ok(SECONDS), |text| text.parse()).map(Duration::from_secs)?;
    let build = argument("--ours").unwrap_or_else(|| env!("CARGO_BIN_EXE_tollgate").to_owned());
    for (name, scopes) in FLOODS {
        let mut sides = [Side::start(&build, "kept", "1000")?, Side::start(&build, "not kept", "0")?];
        for _ in 0..TURNS {
            for side in &mut sides {
                side.turn(scopes, rate, round)?;
            }
        }
        println!("\n{rate:.0} denials a second, {name}, {} s", TURNS as u64 * round.as_secs());
        for side in &sides {
            let (counted, rows) = side.counted(&build)?;
            println!(
                "  {}: denied p50 {:.2} ms, p99 {:.2} ms; another org p50 {:.2} ms, p99 {:.2} ms; cpu {:.1} us per call; \
                 {} sent, {counted} counted, {rows} rows; refused {}, late {}, unsent {}",
                side.name,
                side.hot.ms(0.5),
                side.hot.ms(0.99),
                side.quiet.ms(0.5),
                side.quiet.ms(0.99),
                side.cpu as f64 / side.sent as f64,
                side.sent,
                side.hot.refused,
                side.hot.late,
                side.hot.unsent,
            );
        }
        let [kept, none] = &sides;
        println!(
            "  kept next to not kept: p99 {:.2} x, another org's p99 {:.2} x, cpu {:.2} x",
            kept.hot.ms(0.99) / none.hot.ms(0.99),
            kept.quiet.ms(0.99) / none.quiet.ms(0.99),
            kept.cpu as f64 / kept.sent as f64 / (none.cpu as f64 / none.sent as f64),
        );
    }
    Ok(())
}
