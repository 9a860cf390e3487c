//! Lines of the log that callers cause, at a rate that nobody here chooses.
//!
//! The first line about an org is written at once. What follows it within the window is counted, and written as one
//! line with the count (`times`, target `tollgate::log`) when the window ends. This stands before the log itself, so it
//! holds for every line, those that do not exist yet included, and what is withheld costs no formatting.
//!
//! | line | written |
//! | --- | --- |
//! | warnings, errors and information about an org | once per line, org, pool and account |
//! | the same of many orgs | of the first hundred of each line; the others share one count without a name |
//! | the same without an org | the first few of each line |
//! | `tollgate::audit`: what operators changed | always |
//! | `debug` and `trace` | always: somebody has asked for them |

use std::{
    collections::HashMap,
    fmt::{self, Write},
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use crate::bounds::{LOG_LINES, LOG_ORGS, LOG_WITHOUT_ORG};

/// The target of lines with a count.
const TARGET: &str = "tollgate::log";
const AUDIT: &str = "tollgate::audit";

/// Decides which lines are written. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Seldom(Arc<Mutex<Lines>>);

#[derive(Debug, Default)]
struct Lines {
    seen: HashMap<Key, Seen>,
    /// Of how many orgs each line is in `seen`.
    orgs: HashMap<Identifier, usize>,
}

/// Which line, and about what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    line: Identifier,
    about: About,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct About {
    org: Option<Box<str>>,
    pool: Option<Box<str>>,
    account: Option<Box<str>>,
}

/// What was seen of a line in this window.
#[derive(Debug)]
struct Seen {
    level: Level,
    message: Box<str>,
    written: u32,
    withheld: u64,
}

impl Seldom {
    /// Writes what was withheld, and begins the next window.
    pub fn tell(&self) {
        for (about, level, message, times) in self.take() {
            let About { org, pool, account } = about;
            let (org, pool, account) = (org.as_deref(), pool.as_deref(), account.as_deref());
            match level {
                Level::ERROR => tracing::error!(target: TARGET, org, pool, account, times, "{message}"),
                Level::WARN => tracing::warn!(target: TARGET, org, pool, account, times, "{message}"),
                _ => tracing::info!(target: TARGET, org, pool, account, times, "{message}"),
            }
        }
    }

    /// A line that nothing was withheld of is forgotten: its next one is written at once.
    fn take(&self) -> Vec<(About, Level, Box<str>, u64)> {
        let mut lines = self.lines();
        let Lines { seen, orgs } = &mut *lines;
        seen.retain(|_, seen| seen.withheld > 0);
        orgs.clear();
        for key in seen.keys().filter(|key| key.about.org.is_some()) {
            *orgs.entry(key.line.clone()).or_default() += 1;
        }
        let withheld = seen
            .iter_mut()
            .map(|(key, seen)| (key.about.clone(), seen.level, seen.message.clone(), mem::take(&mut seen.withheld)));
        withheld.collect()
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admits(&self, event: &Event<'_>) -> bool {
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        if level > Level::INFO || [TARGET, AUDIT].contains(&target) {
            return true;
        }
        let mut about = About::default();
        event.record(&mut about);
        let mut most = if about.org.is_some() { 1 } else { LOG_WITHOUT_ORG };
        let mut key = Key { line: event.metadata().callsite(), about };
        let mut lines = self.lines();
        let Lines { seen, orgs } = &mut *lines;
        if !seen.contains_key(&key) && key.about.org.is_none() && seen.len() >= LOG_LINES {
            key.about = About::default();
        } else if !seen.contains_key(&key) && key.about.org.is_some() {
            let known = orgs.entry(key.line.clone()).or_default();
            if seen.len() < LOG_LINES && *known < LOG_ORGS {
                *known += 1;
            } else {
                // Those beyond the bounds share one count for each line, which is all that is written of them.
                (key.about, most) = (About::default(), 0);
            }
        }
        let seen = seen.entry(key).or_insert_with(|| {
            let mut message = Message::default();
            event.record(&mut message);
            Seen { level, message: message.0.into(), written: 0, withheld: 0 }
        });
        let written = seen.written < most;
        if written {
            seen.written += 1;
        } else {
            seen.withheld = seen.withheld.saturating_add(1);
        }
        written
    }
}

impl<S: Subscriber> Layer<S> for Seldom {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.admits(event)
    }
}

impl Visit for About {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let part = match field.name() {
            "org" => &mut self.org,
            "pool" => &mut self.pool,
            "account" => &mut self.account,
            _ => return,
        };
        *part = Some(format!("{value:?}").into());
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Into a string, which takes everything.
            let _ = write!(self.0, "{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Written {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    /// The lines that are written while `run` logs.
    fn written(run: impl FnOnce(&Seldom)) -> Vec<String> {
        let (seldom, out) = (Seldom::default(), Written::default());
        let log = tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(out.clone());
        let log = log.with_max_level(Level::DEBUG).finish().with(seldom.clone());
        tracing::subscriber::with_default(log, || run(&seldom));
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    fn odd(org: &str) {
        tracing::warn!(org = %org, "odd");
    }

    #[test]
    fn a_line_about_an_org_is_written_once_and_then_with_its_count() {
        let lines = written(|seldom| {
            (0..1000).for_each(|_| odd("acme"));
            odd("other");
            seldom.tell();
            (0..7).for_each(|_| odd("acme"));
            odd("other");
            seldom.tell();
            seldom.tell();
            odd("acme");
        });
        let of = |org: &str| {
            let lines = lines.iter().filter(|line| line.contains(&format!("org={org}")) || line.contains(org));
            lines.map(|line| line.split("times=").nth(1)).collect::<Vec<_>>()
        };
        assert_eq!(of("acme"), [None, Some("999"), Some("7"), None], "{lines:#?}");
        assert_eq!(of("other"), [None, None], "{lines:#?}");
        assert!(lines.iter().all(|line| line.contains("WARN") && line.contains("odd")), "{lines:#?}");
    }

    #[test]
    fn what_operators_change_and_what_was_asked_for_is_always_written() {
        let lines = written(|_| {
            for _ in 0..9 {
                tracing::info!(target: AUDIT, org = "acme", "operator");
                tracing::debug!(org = "acme", "detail");
            }
        });
        assert_eq!(lines.len(), 18);
    }

    #[test]
    fn lines_of_one_org_about_different_accounts_are_different_lines() {
        let lines = written(|_| {
            for account in ["a", "b", "a"] {
                tracing::warn!(org = "acme", pool = "relay", account, "exhausted");
            }
        });
        assert_eq!(lines.len(), 2, "{lines:#?}");
    }

    #[test]
    fn lines_without_an_org_are_written_a_few_times() {
        let lines = written(|seldom| {
            (0..LOG_WITHOUT_ORG + 5).for_each(|number| tracing::warn!(number, "refused"));
            seldom.tell();
        });
        assert_eq!(lines.len(), LOG_WITHOUT_ORG as usize + 1);
        assert!(lines.last().unwrap().contains("times=5"), "{lines:#?}");
    }

    /// Whoever invents names makes the log grow no further, and the node neither.
    #[test]
    fn names_beyond_the_bound_share_one_count() {
        let lines = written(|seldom| {
            // Two lines per org, so that it is counted where it is named.
            for _ in 0..40 {
                (0..4 * LOG_ORGS).for_each(|number| odd(&format!("org-{}", number / 2)));
                assert_eq!(seldom.lines().seen.len(), LOG_ORGS + 1);
                seldom.tell();
            }
        });
        assert_eq!(lines.len(), LOG_ORGS + 40 * (LOG_ORGS + 1), "in no window more than are named, and one");
        let shared = format!("times={}", 2 * LOG_ORGS);
        assert_eq!(lines.iter().filter(|line| !line.contains("org") && line.contains(&shared)).count(), 40);
    }
}
