//! Sessions: the answers to a start, a heartbeat and a query.

use super::{code, first, int, scopes};
use crate::{
    domain::{
        decision::Decision,
        ids::OrgId,
        outcome::{Beaten, Shown},
        reply::{Action, Beat, SessionStatus, SessionView},
        rows::SessionState,
        scopes::Scopes,
    },
    wire::v1,
};

/// The answer to StartSession: a decision like any other, and what was granted.
pub fn started(decision: &Decision, node: &str, upgrade_url: &str) -> v1::StartSessionResponse {
    let grant = decision.session;
    let allowed = decision.allowed;
    let shared = super::decision(decision, node);
    v1::StartSessionResponse {
        allowed,
        code: shared.code,
        message: shared.message,
        decision_id: shared.decision_id,
        limits: shared.limits,
        retry_after_ms: shared.retry_after_ms,
        http_status_hint: shared.http_status_hint,
        fail_open: shared.fail_open,
        replayed: shared.replayed,
        node: shared.node,
        first_slice_ms: int(grant.map_or(0, |grant| grant.slice)),
        heartbeat_interval_ms: int(grant.map_or(0, |grant| grant.heartbeat)),
        expires_at_ms: int(grant.map_or(0, |grant| grant.expires_at)),
        remaining_ms: int(grant.map_or(0, |_| decision.remaining)),
        folded_scopes: shared.folded_scopes,
        upgrade_url: if allowed { String::new() } else { upgrade_url.to_owned() },
    }
}

/// What the session does now, and the numbers behind it in milliseconds.
pub fn heartbeat(done: &Shown<Beaten, Box<Beat>>, upgrade_url: &str) -> v1::HeartbeatResponse {
    let beat = &done.view;
    let (action, grace_ms, warn_percent, message) = match beat.action {
        Action::Continue => (v1::SessionAction::Continue, 0, 0, String::new()),
        Action::Warn(percent) => {
            let shown = i32::try_from(percent).unwrap_or(100);
            (v1::SessionAction::Warn, 0, shown, format!("{percent} % of the compute quota is used."))
        }
        Action::Stop(grace) => (v1::SessionAction::Stop, int(grace), 0, stop_message(beat).to_owned()),
    };
    // An upgrade helps no session that is over.
    let may_upgrade = action != v1::SessionAction::Continue && beat.state == SessionState::Running;
    v1::HeartbeatResponse {
        action: action.into(),
        grace_ms,
        warn_percent,
        message,
        state: state(beat.state).into(),
        booked_ms: int(done.outcome.booked),
        disputed_ms: int(done.outcome.disputed),
        used_ms: int(beat.quota.used),
        reserved_ms: int(beat.quota.reserved),
        quota_ms: int(beat.quota.amount.unwrap_or(0)),
        unlimited: beat.quota.amount.is_none(),
        heartbeat_interval_ms: int(beat.heartbeat),
        expires_at_ms: int(beat.expires_at.at),
        remaining_ms: int(beat.expires_at.left),
        replayed: done.replayed,
        upgrade_url: if may_upgrade { upgrade_url.to_owned() } else { String::new() },
        folded_scopes: scopes(&beat.folded),
    }
}

fn stop_message(beat: &Beat) -> &'static str {
    let taken = beat.quota.used.saturating_add(beat.quota.reserved);
    match beat.state {
        SessionState::Running if beat.quota.amount.is_some_and(|amount| taken >= amount) => {
            "Monthly quota exceeded — upgrade to continue."
        }
        SessionState::Running => "A limit on compute is reached.",
        SessionState::Ended => "The session has ended.",
        SessionState::Expired => "The session sent no heartbeat for too long and has expired.",
    }
}

fn state(state: SessionState) -> v1::SessionState {
    match state {
        SessionState::Running => v1::SessionState::Running,
        SessionState::Ended => v1::SessionState::Ended,
        SessionState::Expired => v1::SessionState::Expired,
    }
}

/// Times are milliseconds since the epoch, amounts of compute milliseconds.
pub fn session(view: &SessionView) -> v1::Session {
    let row = &view.row;
    v1::Session {
        session_id: row.id.to_string(),
        scope: first(&row.scopes),
        identity: row.identity.to_string(),
        state: state(row.state).into(),
        started_at_ms: int(row.started_at),
        heard_at_ms: int(row.last_heartbeat_at),
        ends_at_ms: int(view.ends_at.at),
        incarnation: row.incarnations.last().map(|(life, _)| life.to_string()).unwrap_or_default(),
        booked_ms: int(row.booked),
        disputed_ms: int(row.disputed),
        reserved_ms: int(view.held),
        stopping: row.state == SessionState::Running && row.stopping_since.is_some(),
        decision_id: row.decision.to_string(),
        scopes: scopes(&row.scopes),
        remaining_ms: int(view.ends_at.left),
        folded_scopes: scopes(&view.folded),
    }
}

/// Whether a session could start now; a quota of 0 with `unlimited` is none.
pub fn session_status(status: SessionStatus, org: &OrgId, asked: &Scopes, upgrade_url: &str) -> v1::SessionStatus {
    let SessionStatus { decision, plan, quota, running, max, asks_provider: _ } = status;
    v1::SessionStatus {
        org: org.to_string(),
        scope: first(asked),
        can_start: decision.allowed,
        code: code(decision.code()).into(),
        upgrade_url: if decision.allowed { String::new() } else { upgrade_url.to_owned() },
        retry_after_ms: int(decision.retry_after()),
        message: decision.message().to_owned(),
        plan,
        used_ms: int(quota.used),
        reserved_ms: int(quota.reserved),
        quota_ms: int(quota.amount.unwrap_or(0)),
        unlimited: quota.amount.is_none(),
        sessions: int(running),
        sessions_max: int(max.unwrap_or(0)),
        sessions_unlimited: max.is_none(),
        scopes: scopes(asked),
        folded_scopes: scopes(&decision.folded),
    }
}
