//! `tollgate man` on the command line.

use std::path::PathBuf;

use chrono::DateTime;
use clap::Args;

use crate::domain::input::InputError;

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The directory of the pages, such as /usr/share/man/man1 [default: the page of `tollgate` to stdout]
    pub dir: Option<PathBuf>,
    /// The date of the pages, in seconds since 1970 [default: today]
    #[arg(long, env = "SOURCE_DATE_EPOCH", value_name = "SECONDS", value_parser = day)]
    pub date: Option<Day>,
}

/// A day of UTC, as a page shows it: `2026-11-29`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Day(pub String);

fn day(text: &str) -> Result<Day, InputError> {
    let at = text.parse::<u32>().ok().and_then(|seconds| DateTime::from_timestamp(seconds.into(), 0));
    let allowed = || InputError::new("date", text, format!("whole seconds since 1970, 0 to {}", u32::MAX));
    at.map(|at| Day(at.date_naive().to_string())).ok_or_else(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_day_of_utc() {
        assert_eq!(day("0"), Ok(Day("1970-01-01".into())));
        assert_eq!(day("1795336200"), Ok(Day("2026-11-22".into())));
        for bad in ["", "-1", "1.5", "2026-11-22", "4294967296"] {
            assert!(day(bad).unwrap_err().to_string().contains("0 to 4294967295"), "{bad}");
        }
    }
}
