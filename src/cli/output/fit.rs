//! Fits text into a width: words are wrapped, or the end is left out and marked, by the columns that characters take on
//! a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Marks where text was left out.
const ELLIPSIS: char = '…';
/// After one of these a long word may be broken.
const JOINTS: &[char] = &['/', ',', ':', ';', '_', '-', '=', '.', '@', '+'];

/// Columns that the text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// The text without control characters, which a terminal would obey, and on one line.
pub(in crate::cli) fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => safe.push(' '),
            control if control.is_control() => safe.extend(control.escape_default()),
            plain => safe.push(plain),
        }
    }
    safe
}

/// The text in lines of at most `most` columns, broken between words, and inside a word only where it is longer than a
/// line. No character is lost but the blank at which a line ends.
pub(super) fn wrapped(text: &str, most: usize) -> Vec<String> {
    if width(text) <= most {
        return vec![text.to_owned()];
    }
    let mut lines = Vec::new();
    let mut rest = text;
    while width(rest) > most {
        let end = end_of_line(rest, most);
        let (line, after) = rest.split_at(end);
        lines.push(line.trim_end().to_owned());
        rest = after.trim_start_matches(' ');
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest.to_owned());
    }
    lines
}

/// How many bytes of `text`, which does not fit, go into a line; at least one character.
fn end_of_line(text: &str, most: usize) -> usize {
    let fits = prefix(text, most);
    let first = text.chars().next().map_or(0, char::len_utf8);
    if text[fits..].starts_with(' ') {
        return fits.max(first);
    }
    let line = &text[..fits];
    let blank = line.rfind(' ').filter(|at| *at > 0).map(|at| at + 1);
    let joint = || line.rfind(JOINTS).map(|at| at + 1).filter(|at| *at > line.len() / 2);
    blank.or_else(joint).unwrap_or(fits).max(first)
}

/// The bytes of the longest beginning that takes at most `most` columns.
fn prefix(text: &str, most: usize) -> usize {
    let mut taken = 0;
    for (at, character) in text.char_indices() {
        taken += character.width().unwrap_or(0);
        if taken > most {
            return at;
        }
    }
    text.len()
}

/// The text, or its beginning and a mark where it takes more than `most` columns.
pub(super) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let kept = &text[..prefix(text, most.saturating_sub(1))];
    format!("{}{ELLIPSIS}", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_break_between_words_and_inside_a_word_that_is_longer_than_a_line() {
        for (text, most, lines) in [
            ("one two three", 7, &["one two", "three"] as &[_]),
            ("one two three", 6, &["one", "two", "three"]),
            ("workspace/agent-7", 12, &["workspace/", "agent-7"]),
            ("abcdefghij", 4, &["abcd", "efgh", "ij"]),
            ("a bcdefghij", 4, &["a", "bcde", "fghi", "j"]),
            ("limiting, 7 blocked", 10, &["limiting,", "7 blocked"]),
            ("", 4, &[""]),
            ("日本語", 4, &["日本", "語"]),
        ] {
            assert_eq!(wrapped(text, most), lines, "{text:?} in {most}");
        }
    }

    #[test]
    fn what_is_cut_shows_that_it_was() {
        assert_eq!((cut("abc", 3).as_str(), cut("abcd", 3).as_str(), cut("ab cd", 4).as_str()), ("abc", "ab…", "ab…"));
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(safe("a\u{1b}[2Jb\nc\r"), "a\\u{1b}[2Jb c\\r");
    }

    proptest! {
        #[test]
        fn wrapping_keeps_to_the_width_and_loses_nothing(text in "[a-z/, é日]{0,60}", most in 2_usize..30) {
            let text = safe(&text);
            let lines = wrapped(&text, most);
            let bare = |text: &str| text.replace(' ', "");
            prop_assert_eq!(bare(&lines.concat()), bare(&text));
            for line in &lines {
                prop_assert!(width(line) <= most, "{:?}", line);
            }
            prop_assert!(width(&cut(&text, most)) <= most);
        }
    }
}
