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
//! The client is that of `flood`.

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

use flood::{Ask, Load, Node, Outcomes, Pace, WARM, argument, pin_client, run};
use server::Res;

const ORGS: usize = 64;
const FLOODING: usize = 16;
/// Of one load.
const ROUND: Duration = Duration::from_secs(3);
/// Calls of an org that does not flood, and Resumes of one that does, per second.
const QUIET_RATE: f64 = 200.0;

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
    let node = Node::start(build, setting.write_behind_ms, &[])?;
    let deadline = setting.deadline;
    println!("\n{build}, {}, {} connections flood, deadline {deadline:?}", setting.name, connections);
    let mut quiet = Load::new(&node, &QUIET, 1, Pace::Rate(QUIET_RATE), deadline)?;
    let mut resume = Load::new(&node, &RESUME, 1, Pace::Rate(QUIET_RATE), deadline)?;
    run(&mut [&mut quiet, &mut resume], ROUND)?;
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
            run(&mut [&mut closed], ROUND)?;
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
            run(&mut [&mut flood, &mut quiet, &mut resume], ROUND)?;
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
    pin_client();
    let connections = argument("--connections").map_or(Ok(FLOODING), |text| text.parse())?;
    let ours = argument("--ours").unwrap_or_else(|| env!("CARGO_BIN_EXE_tollgate").to_owned());
    let builds = argument("--against").into_iter().chain([ours]).filter(|build| !build.is_empty());
    let only = argument("--only");
    for build in builds {
        for setting in &SETTINGS_OF {
            if only.as_ref().is_none_or(|only| only == setting.name) {
                overload(&build, setting, connections)?;
            }
        }
    }
    Ok(())
}
