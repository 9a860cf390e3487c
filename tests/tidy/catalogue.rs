//! Tags of requirements (`R-BUD-2`) and invariants (`I7`): where docs/requirements.md defines them,
//! and where any other file cites one.

use std::collections::BTreeSet;

/// Where the catalogue is, from the project's root.
pub(crate) const PATH: &str = "docs/requirements.md";

/// Every tag that the catalogue defines, in its order: a requirement is an item of a list
/// (`- **R-BUD-2** …`), an invariant a row of a table (`| I7 | … |`).
pub(crate) fn defined(catalogue: &str) -> Vec<String> {
    let mut tags = Vec::new();
    for line in catalogue.lines() {
        let item = line.strip_prefix("- **").and_then(|rest| rest.split_once("**"));
        let row = line.strip_prefix("| ").and_then(|rest| rest.split_once(" |"));
        tags.extend(item.or(row).map(|(tag, _)| tag.to_owned()).filter(|tag| is_tag(tag)));
    }
    tags
}

/// Tags that are defined more than once.
pub(crate) fn repeated(catalogue: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let again = defined(catalogue).into_iter().filter(|tag| !seen.insert(tag.clone()));
    again.map(|tag| format!("{PATH}: {tag} is defined twice")).collect()
}

/// Tags that `text` cites and that are not among those `known`.
pub(crate) fn unresolved(path: &str, text: &str, known: &BTreeSet<String>) -> Vec<String> {
    let mut breaches = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let unknown = cited(line).filter(|tag| !known.contains(*tag));
        breaches.extend(unknown.map(|tag| format!("{path}:{}: {tag} is not in {PATH}", at + 1)));
    }
    breaches
}

/// A word behind `::` is a name of the code (`Value::I64`), and cites nothing.
fn cited(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|c: char| !c.is_ascii_alphanumeric() && !"-_:".contains(c));
    let words = words.filter(|word| !word.contains("::"));
    words.map(|word| word.trim_matches(['-', ':'])).filter(|word| is_tag(word))
}

/// `R-`, an area in capitals, `-`, a number; or `I` and a number.
fn is_tag(word: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match word.strip_prefix("R-").and_then(|rest| rest.split_once('-')) {
        Some((area, number)) => !area.is_empty() && area.bytes().all(|b| b.is_ascii_uppercase()) && is_number(number),
        None => word.len() <= 3 && word.strip_prefix('I').is_some_and(is_number),
    }
}
