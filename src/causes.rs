//! An error with everything that it came of.

use std::{error::Error, fmt::Write};

/// The texts of an error and of its sources, in one line.
pub fn chain(error: &dyn Error) -> String {
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
