//! One row as a JSON object: its kind, the parts of its key, and its value.

use serde::{Deserialize, Serialize, de::DeserializeSeed};

use crate::{
    domain::{
        ids::{AccountId, DecisionId, ExecutionId, Meter, OrgId, PoolId, Scope, SessionId, Source},
        input::InputError,
        outbox::OutboxKey,
        rows::RowKey,
        window::{Calendar, Millis, Window},
    },
    store::{
        keys::{Key, Memory},
        records::{Record, RecordOf},
    },
};

/// A key in names and numbers.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum KeyLine {
    Meta,
    Head { org: String },
    Timer { org: String, wake_at: Millis },
    Slice { org: String, scope: String, meter: String, start: Millis },
    Counter { org: String, scope: String, meter: String, window: WindowLine },
    Journal { org: String, seq: u64 },
    LongJournal { org: String, seq: u64 },
    JournalPart { org: String, seq: u64, part: u16 },
    LongJournalPart { org: String, seq: u64, part: u16 },
    Reservation { org: String, id: String },
    Baseline { org: String, scope: String, source: String, meter: String },
    Execution { org: String, id: String },
    Disputed { org: String, seq: u64 },
    Export { org: String, key: String },
    Budget { org: String, scope: String },
    Session { org: String, id: String },
    TrialEnded { org: String },
    Pool { org: String, id: String },
    Account { org: String, id: String },
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum WindowLine {
    Aligned(Millis),
    Anchored(Millis),
    Rolling(Millis),
    Calendar(CalendarLine),
    Provider,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum CalendarLine {
    Day,
    Week,
    Month,
    MonthFrom(u8),
}

#[derive(Serialize)]
pub(super) struct LineOut<'r> {
    #[serde(flatten)]
    key: KeyLine,
    value: &'r Record,
}

#[derive(Deserialize)]
struct LineIn {
    #[serde(flatten)]
    key: KeyLine,
    value: serde_json::Value,
}

pub(super) fn write_line<'r>(key: &Key, record: &'r Record) -> LineOut<'r> {
    LineOut { key: KeyLine::from(key), value: record }
}

pub(super) fn read_line(line: &str) -> Result<(Key, Record), String> {
    let line: LineIn = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let key = line.key.into_key().map_err(|error| error.to_string())?;
    if let Key::Meta = key {
        return Err(format!("a {} row has no place behind the first line", key.kind().name()));
    }
    let record = RecordOf(&key).deserialize(&line.value).map_err(|error| format!("\"{key}\": {error}"))?;
    Ok((key, record))
}

impl From<&Key> for KeyLine {
    fn from(key: &Key) -> Self {
        match key {
            Key::Meta => Self::Meta,
            Key::Part { org, of: Memory::Short, seq, part } => {
                Self::JournalPart { org: org.to_string(), seq: *seq, part: *part }
            }
            Key::Part { org, of: Memory::Long, seq, part } => {
                Self::LongJournalPart { org: org.to_string(), seq: *seq, part: *part }
            }
            Key::Row { org, row } => Self::of_row(org.to_string(), row),
        }
    }
}

impl KeyLine {
    fn of_row(org: String, row: &RowKey) -> Self {
        match row {
            RowKey::Head => Self::Head { org },
            RowKey::Timer { wake_at } => Self::Timer { org, wake_at: *wake_at },
            RowKey::Slice { scope, meter, start } => {
                Self::Slice { org, scope: scope.as_str().to_owned(), meter: meter.to_string(), start: *start }
            }
            RowKey::Counter { scope, meter, window } => {
                let (scope, meter) = (scope.as_str().to_owned(), meter.to_string());
                Self::Counter { org, scope, meter, window: (*window).into() }
            }
            RowKey::Journal { seq } => Self::Journal { org, seq: *seq },
            RowKey::LongJournal { seq } => Self::LongJournal { org, seq: *seq },
            RowKey::Reservation { id } => Self::Reservation { org, id: id.to_string() },
            RowKey::Baseline { scope, source, meter } => {
                let (scope, source, meter) = (scope.as_str().to_owned(), source.to_string(), meter.to_string());
                Self::Baseline { org, scope, source, meter }
            }
            RowKey::Execution { id } => Self::Execution { org, id: id.to_string() },
            RowKey::Disputed { seq } => Self::Disputed { org, seq: *seq },
            RowKey::Outbox { key } => Self::Export { org, key: key.to_string() },
            RowKey::Budget { scope } => Self::Budget { org, scope: scope.as_str().to_owned() },
            RowKey::Session { id } => Self::Session { org, id: id.to_string() },
            RowKey::TrialEnded => Self::TrialEnded { org },
            RowKey::Pool { id } => Self::Pool { org, id: id.to_string() },
            RowKey::UpstreamAccount { id } => Self::Account { org, id: id.as_str().to_owned() },
        }
    }

    fn into_key(self) -> Result<Key, InputError> {
        let part = |org: String, of, seq, part| Ok(Key::Part { org: OrgId::parse("org", &org)?, of, seq, part });
        let (org, row) = match self {
            Self::Meta => return Ok(Key::Meta),
            Self::JournalPart { org, seq, part: number } => return part(org, Memory::Short, seq, number),
            Self::LongJournalPart { org, seq, part: number } => return part(org, Memory::Long, seq, number),
            Self::Head { org } => (org, RowKey::Head),
            Self::Timer { org, wake_at } => (org, RowKey::Timer { wake_at }),
            Self::Slice { org, scope, meter, start } => {
                (org, RowKey::Slice { scope: parse_scope(&scope)?, meter: parse_meter(&meter)?, start })
            }
            Self::Counter { org, scope, meter, window } => {
                let window = window.into_window()?;
                (org, RowKey::Counter { scope: parse_scope(&scope)?, meter: parse_meter(&meter)?, window })
            }
            Self::Journal { org, seq } => (org, RowKey::Journal { seq }),
            Self::LongJournal { org, seq } => (org, RowKey::LongJournal { seq }),
            Self::Reservation { org, id } => (org, RowKey::Reservation { id: DecisionId::parse("id", &id)? }),
            Self::Baseline { org, scope, source, meter } => {
                let (scope, meter) = (parse_scope(&scope)?, parse_meter(&meter)?);
                (org, RowKey::Baseline { scope, source: Source::parse("source", &source)?, meter })
            }
            Self::Execution { org, id } => (org, RowKey::Execution { id: ExecutionId::parse("id", &id)? }),
            Self::Disputed { org, seq } => (org, RowKey::Disputed { seq }),
            Self::Export { org, key } => (org, RowKey::Outbox { key: OutboxKey::parse("key", &key)? }),
            Self::Budget { org, scope } => (org, RowKey::Budget { scope: parse_scope(&scope)? }),
            Self::Session { org, id } => (org, RowKey::Session { id: SessionId::parse("id", &id)? }),
            Self::TrialEnded { org } => (org, RowKey::TrialEnded),
            Self::Pool { org, id } => (org, RowKey::Pool { id: PoolId::parse("id", &id)? }),
            Self::Account { org, id } => (org, RowKey::UpstreamAccount { id: AccountId::parse("id", &id)? }),
        };
        Ok(Key::Row { org: OrgId::parse("org", &org)?, row })
    }
}

fn parse_scope(text: &str) -> Result<Scope, InputError> {
    Scope::parse("scope", text)
}

fn parse_meter(text: &str) -> Result<Meter, InputError> {
    Meter::parse("meter", text)
}

impl From<Window> for WindowLine {
    fn from(window: Window) -> Self {
        match window {
            Window::Aligned { len } => Self::Aligned(len),
            Window::Anchored { len } => Self::Anchored(len),
            Window::Rolling { len } => Self::Rolling(len),
            Window::Calendar(Calendar::Day) => Self::Calendar(CalendarLine::Day),
            Window::Calendar(Calendar::Week) => Self::Calendar(CalendarLine::Week),
            Window::Calendar(Calendar::Month) => Self::Calendar(CalendarLine::Month),
            Window::Calendar(Calendar::MonthFrom(day)) => Self::Calendar(CalendarLine::MonthFrom(day)),
            Window::Provider | Window::Concurrent => Self::Provider,
        }
    }
}

impl WindowLine {
    fn into_window(self) -> Result<Window, InputError> {
        let window = match self {
            Self::Aligned(len) => Window::Aligned { len },
            Self::Anchored(len) => Window::Anchored { len },
            Self::Rolling(len) => Window::Rolling { len },
            Self::Calendar(CalendarLine::Day) => Window::Calendar(Calendar::Day),
            Self::Calendar(CalendarLine::Week) => Window::Calendar(Calendar::Week),
            Self::Calendar(CalendarLine::Month) => Window::Calendar(Calendar::Month),
            Self::Calendar(CalendarLine::MonthFrom(day)) => Window::Calendar(Calendar::MonthFrom(day)),
            Self::Provider => Window::Provider,
        };
        if window.is_valid() {
            Ok(window)
        } else {
            Err(InputError::new("window", window, "a window that can be counted"))
        }
    }
}
