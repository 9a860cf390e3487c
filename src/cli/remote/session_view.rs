//! Sessions and their machine time as tables and as facts, for every verb that shows them.

use crate::{
    cli::output::{Tone, View, facts, number, table, text, time as time_column},
    domain::{ids::Meter, window::Millis},
    wire::v1::{Session, SessionState},
};

use super::{
    all_scopes,
    format::{amount, bar, since, when},
};

/// Milliseconds of machine time, exactly.
pub(super) fn time(millis: i64) -> String {
    amount(Meter::compute().as_str(), millis)
}

/// `running`; a state of a newer node is its number.
pub(super) fn state_name(state: i32) -> String {
    match SessionState::try_from(state) {
        Ok(state) => state.as_str_name().trim_start_matches("SESSION_STATE_").to_lowercase(),
        Err(_) => format!("state {state}"),
    }
}

/// The machine time of an org this month.
pub(super) struct Quota {
    pub(super) used_ms: i64,
    pub(super) reserved_ms: i64,
    pub(super) quota_ms: i64,
    pub(super) unlimited: bool,
}

impl Quota {
    /// The share that is used or reserved; empty without a quota.
    pub(super) fn taken(&self) -> String {
        if self.unlimited {
            return String::new();
        }
        bar(i128::from(self.used_ms) + i128::from(self.reserved_ms), i128::from(self.quota_ms))
    }

    /// `4h`, `unlimited`.
    pub(super) fn most(&self) -> String {
        if self.unlimited { "unlimited".to_owned() } else { time(self.quota_ms) }
    }

    /// `####......  1h 30m used, 1m reserved of 4h`.
    pub(super) fn sentence(&self) -> String {
        let (bar, used, reserved) = (self.taken(), time(self.used_ms), time(self.reserved_ms));
        let between = if bar.is_empty() { "" } else { "  " };
        format!("{bar}{between}{used} used, {reserved} reserved of {}", self.most())
    }
}

pub(super) fn session_table(sessions: &[Session], now: Millis) -> View {
    let columns = [
        text("session"),
        text("scope"),
        text("identity").spare(1),
        text("state").toned(Tone::of_state),
        number("booked"),
        number("reserved").spare(3),
        number("disputed").spare(4),
        time_column("started").spare(2),
        time_column("last heartbeat"),
        time_column("ends"),
    ];
    table(columns, sessions.iter().map(|session| row(session, now)))
}

fn row(session: &Session, now: Millis) -> [String; 10] {
    [
        session.session_id.clone(),
        all_scopes(&session.scope, &session.scopes),
        session.identity.clone(),
        state(session),
        time(session.booked_ms),
        time(session.reserved_ms),
        time(session.disputed_ms),
        since(now, session.started_at_ms),
        since(now, session.heard_at_ms),
        ends(session, now),
    ]
}

fn is_running(session: &Session) -> bool {
    session.state() == SessionState::Running
}

fn state(session: &Session) -> String {
    let stopping = if session.stopping && is_running(session) { ", stop requested" } else { "" };
    format!("{}{stopping}", state_name(session.state))
}

/// When it expires or when it ended.
fn ends(session: &Session, now: Millis) -> String {
    if is_running(session) { when(now, session.ends_at_ms) } else { since(now, session.ends_at_ms) }
}

pub(super) fn session_facts(session: &Session, now: Millis) -> View {
    facts([
        ("session", session.session_id.clone()),
        ("scope", all_scopes(&session.scope, &session.scopes)),
        ("identity", session.identity.clone()),
        ("state", state(session)),
        ("started", since(now, session.started_at_ms)),
        ("last heartbeat", since(now, session.heard_at_ms)),
        (if is_running(session) { "expires" } else { "ended" }, ends(session, now)),
        ("incarnation", session.incarnation.clone()),
        ("booked", time(session.booked_ms)),
        ("reserved", time(session.reserved_ms)),
        ("disputed", time(session.disputed_ms)),
        ("decision", session.decision_id.clone()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_full_only_when_nothing_is_left_of_it_and_has_no_bar_where_there_is_none() {
        let quota = Quota { used_ms: 3_600_000, reserved_ms: 60_000, quota_ms: 7_200_000, unlimited: false };
        assert_eq!(quota.sentence(), "#####.....  1h used, 1m reserved of 2h");
        let full = Quota { quota_ms: 3_660_000, ..quota };
        assert_eq!(full.sentence(), "##########  1h used, 1m reserved of 1h 1m");
        let none = Quota { unlimited: true, quota_ms: 0, ..full };
        assert_eq!((none.taken().as_str(), none.sentence().as_str()), ("", "1h used, 1m reserved of unlimited"));
    }

    #[test]
    fn only_a_running_session_shows_a_requested_stop_and_an_end_ahead() {
        let running = Session {
            state: SessionState::Running.into(),
            stopping: true,
            ends_at_ms: 1_795_336_260_000,
            ..Session::default()
        };
        let now = 1_795_336_200_000;
        assert_eq!(state(&running), "running, stop requested");
        assert_eq!(ends(&running, now), "2026-11-22T08:31:00Z (in 1m)");
        let expired = Session { state: SessionState::Expired.into(), ..running };
        assert_eq!(state(&expired), "expired");
        assert_eq!(ends(&expired, now), "2026-11-22T08:31:00Z (now)", "this clock is behind the node's");
    }

    #[test]
    fn a_state_of_a_newer_node_is_shown_by_its_number() {
        assert_eq!(state_name(SessionState::Expired.into()), "expired");
        assert_eq!(state_name(9), "state 9");
    }
}
