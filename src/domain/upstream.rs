//! How a call of an upstream account went.

/// How a call of an upstream account went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// It answered.
    Ok,
    /// Its quota is used up.
    QuotaExhausted,
    /// It does not want this account now.
    Refused,
    /// It failed, or could not be reached.
    Unavailable,
    /// The call was wrong.
    Failed,
}

impl Upstream {
    /// As metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::QuotaExhausted => "quota_exhausted",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}
