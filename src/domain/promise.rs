//! What a reply promises when it leaves: the one place that says what it waits for.

/// How much of what was answered survives a crash. The stronger promise is the greater one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Promise {
    /// Nothing was changed that anybody relies on: a read, a denial.
    Nothing,
    /// The change is written behind; the reply leaves at once. It is remembered for minutes.
    WrittenBehind,
    /// The reply leaves when the change is on disk. It is remembered for a day.
    Durable,
}
