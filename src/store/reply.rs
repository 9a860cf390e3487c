//! The way back of one commit.

use std::{fmt, panic};

use crate::ports::{CommitDone, CommitError, StoreFault};

/// Answers exactly once, also when it is dropped on the way.
pub(super) struct Reply(Option<CommitDone>);

impl Reply {
    pub(super) fn new(done: CommitDone) -> Self {
        Self(Some(done))
    }

    pub(super) fn answer(mut self, result: Result<(), CommitError>) {
        self.call(result);
    }

    /// A caller's panic stays with the caller.
    fn call(&mut self, result: Result<(), CommitError>) {
        let Some(done) = self.0.take() else { return };
        if panic::catch_unwind(panic::AssertUnwindSafe(|| done(result))).is_err() {
            tracing::error!("the callback of a commit panicked; the commit itself stands as it was answered");
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        let closed = StoreFault { operation: "commit", cause: "the store is closed".to_owned() };
        self.call(Err(CommitError::Lost(closed)));
    }
}
