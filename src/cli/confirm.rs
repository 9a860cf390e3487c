//! What cannot be undone is done after it was confirmed: by `--yes`, or at a terminal by the name of what it is done to.

use std::io::{self, BufRead};

use super::{failure::Failure, output::Output};

/// Goes on where it is confirmed. `deed` says what would be done, `name` to what.
pub(super) fn confirmed(yes: bool, deed: &str, name: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !output.screen().answers {
        let text =
            format!("{deed}: that cannot be undone, and nobody is there to ask; --yes does it without a question");
        return Err(Failure::CommandLine(text));
    }
    output.ask(&format!("{deed}. That cannot be undone. Type {name} to do it: "));
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && answer.trim() == name {
        return Ok(());
    }
    Err(Failure::Local(format!("not confirmed: nothing was done to {name}")))
}
