//! `--watch`: the same question again and again. On a terminal each answer takes the place of the one before; in a pipe
//! they follow each other. Ctrl-C ends it, which is no error.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};

use tokio::signal::unix::{SignalKind, signal};

use super::{
    Exit,
    args::{GlobalArgs, RemoteVerb},
    output::{Format, Output},
    remote::answered,
};
use crate::{clock, domain::window::Millis};

/// To the upper left corner.
const HOME: &str = "\u{1b}[H";
/// Removes what is right of the cursor, or beneath it.
const REST_OF_LINE: &str = "\u{1b}[K";
const REST_OF_SCREEN: &str = "\u{1b}[J";
const WHOLE_SCREEN: &str = "\u{1b}[2J";

/// Asks until Ctrl-C, SIGTERM or a closed pipe.
pub(super) async fn run(global: &GlobalArgs, verb: &RemoteVerb, every: Duration, output: &mut Output<'_>) -> Exit {
    let mut stop = std::pin::pin!(stopped());
    let mut rounds = 0_u64;
    loop {
        let asked = tokio::select! {
            _ = &mut stop => return Exit::Done,
            asked = frame(global, verb, output) => asked,
        };
        show(&asked, rounds, every, output);
        if output.is_broken() {
            return Exit::Done;
        }
        rounds += 1;
        tokio::select! {
            _ = &mut stop => return Exit::Done,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Until Ctrl-C or SIGTERM.
pub(super) async fn stopped() {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    match (interrupt, terminate) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        // Then the signal ends the process, as if nothing was listening.
        _ => std::future::pending().await,
    }
}

/// What one round writes, errors included.
struct Frame {
    out: Vec<u8>,
    err: Vec<u8>,
}

async fn frame(global: &GlobalArgs, verb: &RemoteVerb, output: &Output<'_>) -> Frame {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut round = Output::new(&mut out, &mut err, output.format(), output.screen(), clock::wall);
    answered(global, verb, &mut round).await;
    Frame { out, err }
}

fn show(frame: &Frame, rounds: u64, every: Duration, output: &mut Output<'_>) {
    let screen = output.screen();
    if !screen.terminal {
        if rounds > 0 && output.format() == Format::Table {
            output.data_bytes(b"\n");
        }
        output.data_bytes(&frame.out);
        output.pass_on(&frame.err);
        return output.flush();
    }
    let text = format!(
        "{}\n\n{}{}",
        head(every, output.now()),
        String::from_utf8_lossy(&frame.out),
        String::from_utf8_lossy(&frame.err)
    );
    let begin = if rounds == 0 { format!("{WHOLE_SCREEN}{HOME}") } else { HOME.to_owned() };
    output.data_bytes(format!("{begin}{}{REST_OF_SCREEN}", fitted(&text, screen.height)).as_bytes());
    output.flush();
}

/// `every 2s, Ctrl-C ends it  2026-11-22T08:30:00Z`.
fn head(every: Duration, now: Millis) -> String {
    let at = i64::try_from(now).ok().and_then(DateTime::from_timestamp_millis);
    let at = at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default();
    format!("every {every:?}, Ctrl-C ends it  {at}")
}

/// As many lines as the screen has; the last one says how many more there are.
fn fitted(text: &str, height: Option<usize>) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let most = height.unwrap_or(usize::MAX).max(4) - 1;
    let mut shown = String::new();
    let fits = lines.len() <= most;
    for line in &lines[..if fits { lines.len() } else { most - 1 }] {
        shown.push_str(line);
        shown.push_str(REST_OF_LINE);
        shown.push('\n');
    }
    if !fits {
        shown.push_str(&format!("({} more lines){REST_OF_LINE}\n", lines.len() + 1 - most));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_longer_than_the_screen_says_how_much_is_beneath() {
        assert_eq!(fitted("a\nb\nc", Some(24)).replace(REST_OF_LINE, ""), "a\nb\nc\n");
        assert_eq!(fitted("a\nb\nc\nd", Some(5)).replace(REST_OF_LINE, ""), "a\nb\nc\nd\n");
        assert_eq!(fitted("a\nb\nc\nd\ne", Some(5)).replace(REST_OF_LINE, ""), "a\nb\nc\n(2 more lines)\n");
    }

    #[test]
    fn the_first_line_says_how_often_and_when() {
        assert_eq!(head(Duration::from_secs(2), 1_795_336_200_000), "every 2s, Ctrl-C ends it  2026-11-22T08:30:00Z");
    }
}
