//! Limits as tables and as one sentence, for every verb that shows them.

use crate::{
    cli::output::{Tone, View, note, number, table, text, time},
    domain::window::Millis,
    wire::v1::{DecisionCode, Limit, LimitSource},
};

use super::format::{amount, bar, iso, until};

/// `RATE_LIMITED`; a code of a newer node is its number.
pub(super) fn code_name(code: i32) -> String {
    match DecisionCode::try_from(code) {
        Ok(code) => code.as_str_name().trim_start_matches("DECISION_CODE_").to_owned(),
        Err(_) => format!("code {code}"),
    }
}

/// `999 left of 1000 (rate, resets in 42m 10s)` for the limit that matters most: of those that denied
/// the one that fits last, as in the message, else the one with the smallest share left.
pub(super) fn headline(limits: &[Limit], now: Millis) -> String {
    let enforced = || limits.iter().filter(|limit| !limit.unlimited && !limit.shadow);
    let tightest = || enforced().min_by(|a, b| left_of(a, b).cmp(&left_of(b, a)));
    let limiting = || limits.iter().filter(|limit| limit.limiting).rev();
    // 0 is never. Of those that fit at the same time the first; `max_by_key` takes the last of them.
    let fits_at = |limit: &&Limit| limit.resets_at_ms.wrapping_sub(1).cast_unsigned();
    let fits_last = || limiting().max_by_key(fits_at);
    match fits_last().or_else(tightest) {
        Some(limit) => sentence(limit, now),
        None => "no limit".to_owned(),
    }
}

/// The share of `a` that is left, over the common denominator of `a` and `b`.
fn left_of(a: &Limit, b: &Limit) -> i128 {
    i128::from(a.remaining) * i128::from(b.amount.max(1))
}

fn sentence(limit: &Limit, now: Millis) -> String {
    let part = if limit.scope.is_empty() { String::new() } else { format!(" of {}", limit.scope) };
    let reset = reset(limit, now).map_or_else(String::new, |reset| format!(", {reset}"));
    let carried = match limit.carried {
        0 => String::new(),
        carried => format!(", {} carried over", amount(&limit.texts.meter, carried)),
    };
    let (remaining, total) = (amount(&limit.texts.meter, limit.remaining), amount(&limit.texts.meter, limit.amount));
    format!("{remaining} left of {total} ({}{part}{carried}{reset})", limit.texts.name)
}

/// What there is to wait for: the end of a window, or that a rolling one lets something go. Of a rolling limit
/// that has something left nothing is waited for: what was used leaves it piece by piece.
fn reset(limit: &Limit, now: Millis) -> Option<String> {
    if !is_rolling(limit) {
        return Some(next_reset(now, limit.resets_at_ms));
    }
    is_full(limit).then(|| match until(now, limit.resets_at_ms) {
        never if limit.resets_at_ms == 0 => format!("{never} fits"),
        soon if soon == "now" => format!("fits {soon}"),
        later => format!("fits again in {later}"),
    })
}

fn is_rolling(limit: &Limit) -> bool {
    limit.texts.window.starts_with("rolling/")
}

fn is_full(limit: &Limit) -> bool {
    limit.limiting || limit.exhausted
}

/// `resets in 42m 10s`, `resets now`, `never resets`.
pub(super) fn next_reset(now: Millis, at_ms: i64) -> String {
    match until(now, at_ms) {
        never if at_ms == 0 => format!("{never} resets"),
        soon if soon == "now" => format!("resets {soon}"),
        later => format!("resets in {later}"),
    }
}

/// Every limit in the order the node sent them, which is the order of the pipeline.
pub(super) fn limit_table(limits: &[Limit], now: Millis) -> View {
    let columns = [
        text("limit"),
        text("scope"),
        text("meter").spare(3),
        text("window").spare(2),
        number("used"),
        number("reserved").spare(1),
        number("remaining"),
        number("of"),
        time("resets in"),
        time("resets at").spare(4).repeats(),
        note(),
    ];
    let rows = limits.iter().map(|limit| {
        let [used, reserved, remaining, of] = columns_of_amounts(limit);
        let (name, scope, meter, window) =
            (limit.texts.name.clone(), limit.scope.to_string(), limit.texts.meter.clone(), limit.texts.window.clone());
        let (wait, at) = resets(limit, now);
        [name, scope, meter, window, used, reserved, remaining, of, wait, at, remarks(limit, now)]
    });
    table(columns, rows)
}

/// The same for many orgs, with a bar instead of the details, and with how many calls each limit has denied lately.
pub(super) fn usage_table<'a>(limits: impl IntoIterator<Item = (String, &'a Limit, i64)>, now: Millis) -> View {
    let columns = [
        text("org"),
        text("limit"),
        text("scope"),
        text("taken").toned(Tone::of_bar).spare(1),
        number("used").spare(2),
        number("reserved").spare(3),
        number("remaining"),
        number("of"),
        time("resets in"),
        time("resets at").spare(4).repeats(),
        note(),
    ];
    let rows = limits.into_iter().map(|(org, limit, denied)| {
        let [used, reserved, remaining, of] = columns_of_amounts(limit);
        let (wait, at) = resets(limit, now);
        let (name, scope) = (limit.texts.name.clone(), limit.scope.to_string());
        let denied = (denied > 0).then(|| format!("{denied} denied"));
        let notes = notes(limit, now).into_iter().chain(denied).collect::<Vec<_>>().join(", ");
        [org, name, scope, taken(limit), used, reserved, remaining, of, wait, at, notes]
    });
    table(columns, rows)
}

/// The share of a limit that is used or reserved; empty without a limit.
fn taken(limit: &Limit) -> String {
    if limit.unlimited {
        return String::new();
    }
    let usable = i128::from(limit.amount) - i128::from(limit.buffer);
    bar(i128::from(limit.used) + i128::from(limit.reserved), usable)
}

fn columns_of_amounts(limit: &Limit) -> [String; 4] {
    let shown = |value| amount(&limit.texts.meter, value);
    let (remaining, of) = if limit.unlimited {
        (String::new(), "unlimited".to_owned())
    } else {
        (shown(limit.remaining), shown(limit.amount))
    };
    [shown(limit.used), shown(limit.reserved), remaining, of]
}

fn resets(limit: &Limit, now: Millis) -> (String, String) {
    if limit.unlimited || (is_rolling(limit) && !is_full(limit)) {
        return (String::new(), String::new());
    }
    (until(now, limit.resets_at_ms), iso(limit.resets_at_ms))
}

/// `plan`, `override`: who has set the limit.
pub(super) fn source_name(limit: &Limit) -> String {
    match LimitSource::try_from(limit.source) {
        Ok(source) => source.as_str_name().trim_start_matches("LIMIT_SOURCE_").to_ascii_lowercase(),
        Err(_) => format!("source {}", limit.source),
    }
}

/// What was set for a while, and for how long; empty of what is as it is configured.
fn for_a_while(limit: &Limit, now: Millis) -> Option<String> {
    let is_override = limit.source == i32::from(LimitSource::Override);
    let source = source_name(limit);
    match limit.source_until_ms {
        0 if is_override => Some(source),
        0 => None,
        at => Some(format!("{source} ends in {}", until(now, at))),
    }
}

/// `$8.00 left of $20.00 granted until spent`.
pub(super) fn until_spent(limit: &Limit) -> Option<String> {
    let shown = |value: i64| amount(&limit.texts.meter, value);
    let (granted, left) = (limit.granted_until_spent, limit.granted_left);
    (granted != 0).then(|| format!("{} left of {} granted until spent", shown(left), shown(granted)))
}

fn remarks(limit: &Limit, now: Millis) -> String {
    notes(limit, now).join(", ")
}

/// What the backstop counts as blocked is not said here: mostly other limits denied it.
fn notes(limit: &Limit, now: Millis) -> Vec<String> {
    let mut notes = Vec::new();
    if limit.limiting {
        notes.push("limiting".to_owned());
    }
    if limit.exhausted {
        notes.push("exhausted".to_owned());
    }
    if limit.shadow {
        notes.push("shadow".to_owned());
    }
    if limit.stale {
        notes.push("stale".to_owned());
    }
    if limit.runs_out_at_ms != 0 {
        notes.push(format!("runs out in {}", until(now, limit.runs_out_at_ms)));
    }
    notes.extend(for_a_while(limit, now));
    if limit.counts_from_ms != 0 {
        notes.push(format!("counts from {}", iso(limit.counts_from_ms)));
    }
    if limit.granted != 0 {
        let granted = amount(&limit.texts.meter, limit.granted);
        let ends = match limit.granted_until_ms {
            0 => String::new(),
            at => format!(", ends in {}", until(now, at)),
        };
        notes.push(format!("{granted} granted{ends}"));
    }
    notes.extend(until_spent(limit));
    if limit.carried != 0 {
        notes.push(format!("{} carried over", amount(&limit.texts.meter, limit.carried)));
    }
    if limit.buffer != 0 {
        notes.push(format!("buffer {}", amount(&limit.texts.meter, limit.buffer)));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::limit::LimitTexts;

    fn limit(name: &str, remaining: i64, amount: i64) -> Limit {
        Limit { texts: LimitTexts::new(name, "executions", ""), remaining, amount, ..Limit::default() }
    }

    #[test]
    fn the_headline_is_the_limit_of_which_the_smallest_share_is_left() {
        let unlimited = Limit { unlimited: true, ..limit("budget/daily", 0, 0) };
        let shadow = Limit { shadow: true, ..limit("budget/weekly", 0, 10) };
        let limits = [limit("rate", 500, 1000), unlimited, shadow, limit("quota/executions", 4, 10)];
        assert_eq!(headline(&limits, 0), "4 left of 10 (quota/executions, never resets)");
        assert_eq!(headline(&limits[..3], 0), "500 left of 1000 (rate, never resets)");
        assert_eq!(headline(&limits[1..3], 0), "no limit");
    }

    #[test]
    fn the_limit_that_denied_comes_before_any_tighter_one() {
        let limiting =
            Limit { limiting: true, scope: "ws/1".into(), resets_at_ms: 5_000, ..limit("budget/hourly", 1, 2) };
        assert_eq!(headline(&[limit("rate", 0, 9), limiting], 0), "1 left of 2 (budget/hourly of ws/1, resets in 5s)");
    }

    #[test]
    fn of_the_limits_that_denied_the_one_that_fits_last_is_shown() {
        let denied = |name, resets_at_ms| Limit { limiting: true, resets_at_ms, ..limit(name, 0, 9) };
        let mut limits = vec![denied("a", 60_000), denied("b", 3_600_000), denied("c", 3_600_000)];
        assert_eq!(headline(&limits, 0), "0 left of 9 (b, resets in 1h)");
        limits.push(denied("d", 0));
        assert_eq!(headline(&limits, 0), "0 left of 9 (d, never resets)");
    }

    #[test]
    fn a_rolling_limit_with_something_left_waits_for_nothing() {
        let texts = || LimitTexts::new("budget/daily", "spend", "rolling/1d");
        let some = Limit { texts: texts(), resets_at_ms: 1_000, ..limit("", 50_000, 2_000_000) };
        assert_eq!(headline(std::slice::from_ref(&some), 0), "$0.05 left of $2.00 (budget/daily)");
        assert_eq!(resets(&some, 0), (String::new(), String::new()));
        let full = Limit { exhausted: true, remaining: 0, resets_at_ms: 3_600_000, ..some };
        assert_eq!(headline(std::slice::from_ref(&full), 0), "$0.00 left of $2.00 (budget/daily, fits again in 1h)");
        assert_eq!(resets(&full, 0).0, "1h");
    }

    #[test]
    fn what_is_reserved_or_held_back_counts_as_taken() {
        let limit = |used, reserved, buffer| Limit { used, reserved, buffer, amount: 1000, ..Limit::default() };
        for (shown, limit) in [
            ("#####.....", limit(400, 100, 0)),
            ("##########", limit(500, 0, 500)),
            ("##########", limit(i64::MAX, i64::MAX, 0)),
            ("", Limit { unlimited: true, ..limit(400, 0, 0) }),
        ] {
            assert_eq!(taken(&limit), shown, "{limit:?}");
        }
    }

    #[test]
    fn notes_say_what_is_special_about_a_limit() {
        let plain = limit("rate", 1, 2);
        assert_eq!(remarks(&plain, 0), "");
        let special = Limit { limiting: true, exhausted: true, shadow: true, stale: true, ..plain };
        let special = Limit { carried: 4, buffer: 5, blocked: 7, ..special };
        assert_eq!(remarks(&special, 0), "limiting, exhausted, shadow, stale, 4 carried over, buffer 5");
        let running_out = Limit { runs_out_at_ms: 5_400_000, ..limit("budget/daily", 1, 2) };
        assert_eq!(remarks(&running_out, 0), "runs out in 1h 30m");
        let set = Limit { source: LimitSource::Override.into(), ..limit("rate", 1, 2) };
        assert_eq!(remarks(&set, 0), "override");
        assert_eq!(remarks(&Limit { source_until_ms: 3_600_000, ..set }, 0), "override ends in 1h");
        let granted = Limit { granted: 5, granted_until_ms: 3_600_000, ..limit("rate", 1, 2) };
        assert_eq!(remarks(&granted, 0), "5 granted, ends in 1h");
        let until_spent = Limit { granted_until_spent: 20, granted_spent: 12, granted_left: 8, ..limit("rate", 1, 2) };
        assert_eq!(remarks(&until_spent, 0), "8 left of 20 granted until spent");
        let of_plan = Limit { source: LimitSource::Plan.into(), ..limit("rate", 1, 2) };
        assert_eq!(remarks(&of_plan, 0), "");
        assert_eq!(remarks(&Limit { source_until_ms: 3_600_000, ..of_plan }, 0), "plan ends in 1h");
        let over = Limit { carried: 400, ..limit("quota/executions", -300, 100) };
        assert_eq!(headline(&[over], 0), "-300 left of 100 (quota/executions, 400 carried over, never resets)");
    }

    #[test]
    fn a_code_of_a_newer_node_is_shown_by_its_number() {
        assert_eq!(code_name(DecisionCode::RateLimited.into()), "RATE_LIMITED");
        assert_eq!(code_name(77), "code 77");
    }
}
