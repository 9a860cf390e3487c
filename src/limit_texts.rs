//! What a limit is called. The domain makes the texts, and the messages of the wire share them: this is all that a client
//! needs of the domain, so it stands alone.

use std::sync::Arc;

/// What a limit is called in answers. Made once, with the limit, and shared by every answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct LimitTexts {
    /// As the API shows it: `rate`, `budget/hourly`, `quota/executions`.
    pub name: String,
    /// Name of the meter.
    pub meter: String,
    /// The window in words: `rolling/1h`.
    pub window: String,
}

impl LimitTexts {
    /// Texts to be shared.
    pub fn new(name: impl Into<String>, meter: impl Into<String>, window: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), meter: meter.into(), window: window.into() })
    }
}
