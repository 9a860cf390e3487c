//! The language of documents, protos, comments and messages: phrases that only people of this house
//! understand, each with what to write for it.

use super::source::prose;

/// A phrase and its replacement. Phrases are lower case, words are single spaces apart; a line break
/// inside a text counts as a space.
const REPLACED: [(&str, &str); 25] = [
    ("can not", "cannot"),
    ("is told", "is announced, is notified, gets"),
    ("are told", "are announced, are notified, get"),
    ("was told", "was announced, was notified, got"),
    ("were told", "were announced, were notified, got"),
    ("told once", "announced once"),
    ("tell repeats", "recognise repeats"),
    ("tells repeats", "recognises repeats"),
    ("look at", "query, read, check"),
    ("looks at", "queries, reads, checks"),
    ("looked at", "queried, read, checked"),
    ("heard of", "reports, last heartbeat"),
    ("word of", "answer of, instruction of"),
    ("last word", "last answer"),
    ("own word", "own answer"),
    ("in the word", "as somebody says"),
    ("put from", "asked by, sent by"),
    ("happened books", "usage is recorded"),
    ("books nothing", "records nothing"),
    ("is booked on", "usage is still recorded"),
    ("policy of then", "policy at that time"),
    ("plan of then", "plan at that time"),
    ("limit of then", "limit at that time"),
    ("limits of then", "limits at that time"),
    ("none of its business", "not counted, not checked"),
];

/// Where `text` has a phrase that is replaced.
pub(crate) fn dialect(path: &str, text: &str) -> Vec<String> {
    dialect_from(path, 1, text)
}

/// The same for a text that begins at a line of its file.
fn dialect_from(path: &str, first_line: usize, text: &str) -> Vec<String> {
    let words = words(text);
    let mut breaches = Vec::new();
    for (phrase, replacement) in REPLACED {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        let found = words.windows(phrase.len());
        let found = found.filter(|window| window.iter().zip(&phrase).all(|((_, word), wanted)| word == wanted));
        breaches.extend(found.map(|window| {
            let at = window.first().map_or(0, |(line, _)| first_line - 1 + line);
            format!("{path}:{at}: \"{}\"; write: {replacement}", phrase.join(" "))
        }));
    }
    breaches
}

/// Where a comment or a string of Rust `code` has such a phrase.
pub(crate) fn dialect_in_code(path: &str, code: &str) -> Vec<String> {
    prose(code).iter().flat_map(|(line, said)| dialect_from(path, *line, &said.replace("\\n", " "))).collect()
}

/// The words of a text in lower case, each with its line. Marks of comments, lists and quotes are no words.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for word in line.split_whitespace() {
            let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            if !word.is_empty() {
                words.push((at + 1, word));
            }
        }
    }
    words
}
