//! What a denial says of all limits that are known to be exhausted, of whichever gate: one sentence, one time.

use std::cmp::Reverse;

use crate::domain::gate::{Code, Denial, Reports, Verdict};

/// Further limits that a sentence names; the answer shows all of them.
const OTHERS_NAMED: usize = 3;

/// The first denial keeps its code, and says what holds the call up for longest, when that ends, and what else is
/// exceeded.
pub(super) fn of_all(reports: &mut Reports) {
    let Some((gate, first)) = reports.denial() else { return };
    if gate.stands_alone() {
        return;
    }
    let denials: Vec<&Denial> = reports.denials().map(|(_, denial)| denial).collect();
    // What could not be evaluated may fit, so behind the first it holds nothing up.
    let known = denials.iter().enumerate().filter(|(place, denial)| *place == 0 || !denial.names.is_empty());
    let Some((last, lead)) = known.max_by_key(|(place, denial)| (denial.fits, Reverse(*place))) else { return };
    let mut message = lead.message.clone();
    if last != 0 && first.code == Code::Indeterminate {
        message = format!("{} {message}", first.message);
    }
    let of_others = denials.iter().enumerate().filter(|(place, _)| *place != last).flat_map(|(_, other)| &other.names);
    let others: Vec<&String> = lead.names.iter().skip(1).chain(of_others).collect();
    message.push_str(&also(&others));
    let spoken = Denial { code: first.code, fits: lead.fits, message, names: first.names.clone() };
    reports.set(gate, Verdict::Denied(Box::new(spoken)));
}

/// The sentence of one gate that no other will complete.
pub(super) fn of_one(mut denial: Denial) -> Denial {
    let others: Vec<&String> = denial.names.iter().skip(1).collect();
    denial.message.push_str(&also(&others));
    denial.names.truncate(1);
    denial
}

/// ` Also exceeded: quota/executions of this org (used up, fits again in 12 min).`
fn also(others: &[&String]) -> String {
    if others.is_empty() {
        return String::new();
    }
    let named: Vec<&str> = others.iter().take(OTHERS_NAMED).map(|name| name.as_str()).collect();
    let more = match others.len().saturating_sub(OTHERS_NAMED) {
        0 => ".".to_owned(),
        more => format!(" and {more} more."),
    };
    format!(" Also exceeded: {}{more}", named.join(", "))
}
