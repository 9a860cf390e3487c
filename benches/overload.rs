//! Overload of the release binary: an open loop at once, twice and four times what the node serves at most, by one
//! org and by all, while others ask at a quiet rate. The ratios of one round are the figures, and their medians are printed with
//! the least and the greatest.
//!
//! ```sh
//! cargo bench --bench overload                          # about eight minutes
//! cargo bench --bench overload -- --against <binary>    # in turns with another build
//! cargo bench --bench overload -- --only durable        # or plain
//! cargo bench --bench overload -- --rounds 3            # 5 unless given
//! cargo bench --bench overload -- --connections 64      # of those that flood; 16 unless given
//! ```
//!
//! The client is that of `flood`. Quiet calls have a thread of their own, which goes before that of the flood where the
//! right to say so is given (root): otherwise the client's own delays are in their times.

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

use std::time::{Duration, Instant};

use flood::{Ask, Load, Node, Pace, argument, pin_client, priority, run, run_beside};
use server::Res;

const ORGS: usize = 64;
const FLOODING: usize = 16;
const ROUNDS: usize = 5;
/// Of one load.
const TIME: Duration = Duration::from_millis(1500);
/// Calls of an org that does not flood, and Resumes of one that does, per second.
const QUIET_RATE: f64 = 200.0;
/// Of the peak.
const TIMES: [f64; 3] = [1.0, 2.0, 4.0];

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

/// What a node did at one rate.
#[derive(Debug, Clone)]
struct AtRate {
    /// Of the peak.
    goodput: f64,
    /// Of the other org, in milliseconds, and of its p99 without a flood.
    p50: f64,
    p99: f64,
    of_idle: f64,
    /// Quiet calls that were refused or late, and Resumes.
    bad: u64,
    bad_resumes: u64,
    quiet: u64,
    /// Until 20 good answers in a row had come behind it, in milliseconds.
    recovery: f64,
}

#[derive(Debug, Default, Clone)]
struct Round {
    idle: f64,
    peak: f64,
    rates: Vec<AtRate>,
}

/// One round: a node of its own.
fn round(build: &str, setting: &Setting, ask: &Ask, connections: usize) -> Res<Round> {
    let node = Node::start(build, setting.write_behind_ms, &[])?;
    let deadline = setting.deadline;
    let mut quiet = Load::new(&node, &QUIET, 1, Pace::Rate(QUIET_RATE), deadline)?;
    let mut resume = Load::new(&node, &RESUME, 1, Pace::Rate(QUIET_RATE), deadline)?;
    run_beside(&mut [], &mut [&mut quiet, &mut resume], TIME)?;
    let mut round = Round { idle: quiet.outcomes().ms(0.99), ..Round::default() };
    for in_flight in [64, 256] {
        let mut closed = Load::new(&node, ask, 4, Pace::InFlight(in_flight), deadline)?;
        run(&mut [&mut closed], TIME)?;
        round.peak = round.peak.max(closed.outcomes().good as f64 / TIME.as_secs_f64());
    }
    for times in TIMES {
        let mut flood = Load::new(&node, ask, connections, Pace::Rate(round.peak * times), deadline)?;
        run_beside(&mut [&mut flood], &mut [&mut quiet, &mut resume], TIME)?;
        let (hot, calm, resumed) = (flood.outcomes(), quiet.outcomes(), resume.outcomes());
        drop(flood);
        round.rates.push(AtRate {
            goodput: hot.good as f64 / TIME.as_secs_f64() / round.peak,
            p50: calm.ms(0.5),
            p99: calm.ms(0.99),
            of_idle: calm.ms(0.99) / round.idle,
            bad: calm.refused + calm.late + calm.unsent,
            bad_resumes: resumed.refused + resumed.late + resumed.unsent,
            quiet: calm.offered,
            recovery: recovery(&node, ask, deadline, round.idle)?,
        });
    }
    Ok(round)
}

/// How long it takes until 20 answers in a row come within three times what they take at rest.
fn recovery(node: &Node, ask: &Ask, deadline: Duration, idle: f64) -> Res<f64> {
    let began = Instant::now();
    let mut after = Load::new(node, ask, 1, Pace::InFlight(1), deadline)?;
    let mut row = 0;
    while row < 20 && began.elapsed() < Duration::from_secs(5) {
        after.measure(began, began + Duration::from_secs(3600));
        let sent = Instant::now();
        while after.outcomes().answered() == 0 {
            after.turn(Instant::now(), true)?;
        }
        let good = after.outcomes().good > 0 && sent.elapsed().as_secs_f64() * 1000.0 <= 3.0 * idle;
        row = if good { row + 1 } else { 0 };
    }
    Ok(began.elapsed().as_secs_f64() * 1000.0)
}

/// The median, the least and the greatest.
fn median(mut figures: Vec<f64>) -> String {
    figures.sort_unstable_by(f64::total_cmp);
    let of = |at: usize| figures.get(at).copied().unwrap_or_default();
    format!("{:.2} ({:.2} to {:.2})", of(figures.len() / 2), of(0), of(figures.len().saturating_sub(1)))
}

fn print(build: &str, rounds: &[Round]) {
    let of = |figure: &dyn Fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    println!("  {build}: another org idle p99 {} ms; peak {} per second", of(&|it| it.idle), of(&|it| it.peak));
    for (at, times) in TIMES.iter().enumerate() {
        let of = |figure: fn(&AtRate) -> f64| of(&move |it| figure(&it.rates[at]));
        let sum = |figure: fn(&AtRate) -> u64| rounds.iter().map(|it| figure(&it.rates[at])).sum::<u64>();
        println!("    at {times} x: goodput {} of the peak", of(|it| it.goodput));
        println!(
            "      another org: p50 {} ms, p99 {} ms, {} of idle; refused or late {}, Resumes {}, of {}",
            of(|it| it.p50),
            of(|it| it.p99),
            of(|it| it.of_idle),
            sum(|it| it.bad),
            sum(|it| it.bad_resumes),
            sum(|it| it.quiet)
        );
        println!("      20 good answers in a row after {} ms", of(|it| it.recovery));
    }
}

fn main() -> Res<()> {
    pin_client();
    let number = |name, unless: usize| argument(name).map_or(Ok(unless), |text| text.parse());
    let (connections, rounds) = (number("--connections", FLOODING)?, number("--rounds", ROUNDS)?);
    let ours = argument("--ours").unwrap_or_else(|| env!("CARGO_BIN_EXE_tollgate").to_owned());
    let builds: Vec<_> = argument("--against").into_iter().chain([ours]).filter(|build| !build.is_empty()).collect();
    let only = argument("--only");
    for setting in SETTINGS_OF.iter().filter(|setting| only.as_ref().is_none_or(|only| only == setting.name)) {
        for (who, ask) in [("one org floods", &HOT), ("all orgs flood", &ALL)] {
            let mut of_builds = vec![Vec::new(); builds.len()];
            for _ in 0..rounds {
                for (build, rounds) in builds.iter().zip(&mut of_builds) {
                    rounds.push(round(build, setting, ask, connections)?);
                }
            }
            println!(
                "\n{}, {who}: {connections} connections, deadline {:?}; {}",
                setting.name,
                setting.deadline,
                priority()
            );
            builds.iter().zip(&of_builds).for_each(|(build, rounds)| print(build, rounds));
        }
    }
    Ok(())
}
