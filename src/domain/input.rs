//! Why a field was refused, said in a way that is safe to repeat.

use std::fmt;

/// How much of a refused value is repeated in the error.
const SHOWN_CHARS: usize = 64;

/// A field was refused. The value is escaped and cut, so it is safe in logs and terminals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputError {
    /// Its path in the request: `items[3].limit`.
    pub field: String,
    /// Escaped, and cut after 64 characters.
    pub value: String,
    /// What would be allowed, in words.
    pub allowed: String,
}

impl InputError {
    /// `value` is escaped and cut here, whatever it is.
    pub fn new(field: impl Into<String>, value: impl fmt::Display, allowed: impl Into<String>) -> Self {
        let text = value.to_string();
        let escape = |c| if c == '…' { vec![c] } else { char::escape_default(c).collect() };
        let mut shown: String = text.chars().take(SHOWN_CHARS).flat_map(escape).collect();
        if text.chars().nth(SHOWN_CHARS).is_some() {
            shown.push('…');
        }
        Self { field: field.into(), value: shown, allowed: allowed.into() }
    }

    /// The same error, seen from one level further out: `limit` becomes `items[3].limit`.
    #[must_use]
    pub fn within(mut self, outer: impl fmt::Display) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\" is not allowed: {}", self.field, self.value, self.allowed)
    }
}

impl std::error::Error for InputError {}
