//! `tollgate completions`: what a shell may offer while a command line is typed.
//!
//! The script of a shell runs this program with the words so far, and it answers with commands, options and values. For
//! values it asks the node that the words, the variables or the context name, briefly; where that does not answer, there
//! are none, and no error: nobody asked for one.

mod values;

use std::{ffi::OsString, path::Path};

use clap::{ArgMatches, Command, FromArgMatches};
use clap_complete::{
    ArgValueCompleter, CompletionCandidate, Shell,
    env::{EnvCompleter, Shells},
};

use super::{
    Exit,
    args::GlobalArgs,
    examples,
    failure::Failure,
    output::{COMPLETE, Output, Surroundings},
    remote::failed,
};
use values::{Asks, Kind};

const NAME: &str = "tollgate";
/// What bash makes words of by itself, where people see one word.
const BREAKS: [&str; 3] = ["=", ":", "@"];
/// Besides letters and digits what a shell leaves as it is: a value from a node is never run.
const PLAIN: &[u8] = b"/_@.:+=,-";

/// The script that makes a shell ask. It runs the program under the name that this process has.
pub(super) fn script(shell: Shell, program: Option<&OsString>, output: &mut Output<'_>) -> Exit {
    let program = program.map_or_else(|| NAME.to_owned(), |program| found_again(Path::new(program)));
    let mut script = Vec::new();
    let written =
        known(&shell.to_string()).map(|shell| shell.write_registration(COMPLETE, NAME, NAME, &program, &mut script));
    match written {
        Some(Ok(())) => {
            output.data_bytes(&script);
            Exit::Done
        }
        _ => failed(&Failure::Local(format!("no script for {shell}")), output),
    }
}

/// A name is searched for in PATH; a path is the same from every directory.
fn found_again(program: &Path) -> String {
    let path = if program.components().count() > 1 { std::path::absolute(program).ok() } else { None };
    path.as_deref().unwrap_or(program).display().to_string()
}

/// How the words behind `--` may go on.
pub(super) fn answer(shell: &str, args: &[OsString], around: &Surroundings, output: &mut Output<'_>) -> Exit {
    let name = Path::new(shell).file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(shell) = known(&name) else {
        return failed(&Failure::Local(format!("no completions for the shell {name}")), output);
    };
    let words: Vec<OsString> = args.iter().skip_while(|arg| *arg != "--").skip(1).cloned().collect();
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
    let index = index.unwrap_or_else(|| words.len().saturating_sub(1));
    let (before, current) = (words.get(..index).unwrap_or(&words), words.get(index));
    let is_part = before.last().and_then(|last| last.to_str()).is_some_and(|last| BREAKS.contains(&last));
    if words.is_empty() || is_part {
        return Exit::Done;
    }
    let mut command = with_values(before, around);
    // Options are offered when they are begun, and where nothing else can follow.
    if !current.is_some_and(|current| current.to_string_lossy().starts_with('-')) {
        command = with_hidden_options(command);
    }
    let mut found = Vec::new();
    let dir = std::env::current_dir().ok();
    if shell.write_complete(&mut command, words, dir.as_deref(), &mut found).is_ok() {
        output.data_bytes(&found);
    }
    output.finish(Exit::Done)
}

fn known(shell: &str) -> Option<&'static dyn EnvCompleter> {
    const SHELLS: Shells<'static> = Shells::builtins();
    SHELLS.0.iter().copied().find(|known| known.is(shell))
}

fn with_hidden_options(command: Command) -> Command {
    let command = command.disable_help_flag(true).disable_version_flag(true);
    let command = command.mut_args(|arg| if arg.is_positional() { arg } else { arg.hide(true) });
    command.mut_subcommands(with_hidden_options)
}

/// The command line with what completes each value, for the words before it.
fn with_values(before: &[OsString], around: &Surroundings) -> Command {
    let words = examples::command().ignore_errors(true).try_get_matches_from(before);
    let asks = words.ok().and_then(|words| {
        let global = GlobalArgs::from_arg_matches(&words).ok()?;
        Some(Asks::new(global, around, org(&words)))
    });
    let asks = asks.unwrap_or_else(|| Asks::nobody(around));
    attached(examples::command(), "", &asks)
}

/// The org that the words name.
fn org(words: &ArgMatches) -> Option<String> {
    if let Some((_, inner)) = words.subcommand() {
        return org(inner);
    }
    // Where a command takes several, the first.
    let named = ["org", "orgs"].iter().find_map(|id| words.try_get_raw(id).ok().flatten());
    named?.next().map(|org| org.to_string_lossy().into_owned())
}

fn attached(command: Command, path: &str, asks: &Asks) -> Command {
    let command = command.mut_args(|arg| {
        let Some(kind) = Kind::of(path, arg.get_id().as_str()) else { return arg };
        let asks = asks.clone();
        arg.add(ArgValueCompleter::new(move |current: &std::ffi::OsStr| {
            let current = current.to_str().unwrap_or_default();
            let found = asks.values(kind, current);
            found
                .into_iter()
                .filter(|value| value.starts_with(current) && is_plain(value))
                .map(CompletionCandidate::new)
                .collect()
        }))
    });
    command.mut_subcommands(|inner| {
        let path = format!("{path} {}", inner.get_name());
        attached(inner, path.trim_start(), asks)
    })
}

/// Whether a shell leaves it as it is: what a node answers must not become a command.
fn is_plain(value: &str) -> bool {
    !value.starts_with('-') && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || PLAIN.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_that_have_values_of_their_own_exist() {
        let leaves = examples::tests::leaves(&examples::command(), "");
        for (command, argument) in [
            ("context use", "name"),
            ("budget set", "limits"),
            ("plan", "limit"),
            ("plan", "plan"),
            ("org override set", "limit"),
            ("org override clear", "limit"),
            ("org set-plan", "plan"),
            ("drain", "node"),
            ("status", "orgs"),
            ("acquire", "pool"),
            ("session end", "session"),
            ("commit", "reservation"),
            ("release", "reservation"),
        ] {
            let found = leaves.iter().find(|(name, _)| name == command);
            let ids: Vec<_> =
                found.iter().flat_map(|(_, leaf)| leaf.get_arguments()).map(|arg| arg.get_id().as_str()).collect();
            assert!(ids.contains(&argument) && Kind::of(command, argument).is_some(), "{command} {argument}: {ids:?}");
        }
    }

    #[test]
    fn what_a_shell_would_run_is_not_offered() {
        for plain in ["acme", "workspace/a", "user@host.example", "daily=", "a:b+c,d_e-f"] {
            assert!(is_plain(plain), "{plain}");
        }
        for other in [
            "$(reboot)",
            "a;b",
            "a b",
            "`x`",
            "a|b",
            "a&b",
            "~root",
            "a*",
            "-rf",
            "a\\b",
            "a\nb",
            "é",
            "a'b",
            "!x",
            "#x",
        ] {
            assert!(!is_plain(other), "{other}");
        }
    }

    #[test]
    fn a_program_that_was_called_by_its_path_is_called_by_its_path_again() {
        assert_eq!(found_again(Path::new("tollgate")), "tollgate");
        assert_eq!(found_again(Path::new("/opt/tollgate")), "/opt/tollgate");
        assert!(found_again(Path::new("./tollgate")).starts_with('/'));
    }
}
