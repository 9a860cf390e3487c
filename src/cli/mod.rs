//! The `tollgate` command: `serve` and the other verbs that work on this machine's files (`local`),
//! and the client verbs that ask a running node over the public API (`remote`).
//!
//! Data goes to stdout, everything else to stderr, and the exit code tells a script what happened:
//! a denial is neither a success nor an error, so it has a code of its own.

pub mod args;
mod connect;
mod local;
pub mod output;
mod remote;
#[cfg(test)]
mod tests;

use std::{ffi::OsString, io::Write};

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

use crate::{clock, domain::window::Millis};
use args::{Cli, LocalVerb, Verb};
use output::{Format, Output};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or allowed.
    Done,
    Error,
    /// The command line was not understood.
    Usage,
    /// The gate said no.
    Denied,
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => 0,
            Exit::Error => 1,
            Exit::Usage => 2,
            Exit::Denied => 3,
        }
    }
}

/// Runs one command line, the program's name first, and gives the exit code of the process.
pub fn run<I, T>(args: I, out: &mut dyn Write, err: &mut dyn Write) -> u8
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    run_at(args, out, err, clock::wall()).into()
}

fn run_at<I, T>(args: I, out: &mut dyn Write, err: &mut dyn Write, now: Millis) -> Exit
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(not_run) => return explain(&not_run, &mut Output::new(out, err, Format::Table, now)),
    };
    let mut output = Output::new(out, err, cli.global.output, now);
    let exit = match &cli.verb {
        Verb::Local(verb) => run_local(verb, &mut output),
        Verb::Remote(verb) => remote::run(&cli.global, verb, &mut output),
        Verb::Completions { shell } => complete(*shell, &mut output),
    };
    output.finish(exit)
}

fn run_local(verb: &LocalVerb, output: &mut Output<'_>) -> Exit {
    match verb {
        LocalVerb::Serve(args) => local::serve(args, output),
        LocalVerb::CheckConfig(args) => local::check_config(args, output),
        LocalVerb::Fsck(args) => local::fsck(args, output),
        LocalVerb::Export(args) => local::export(args, output),
        LocalVerb::Import(args) => local::import(args, output),
    }
}

/// `--help` and `--version` are data that was asked for; anything else is a mistake.
fn explain(not_run: &clap::Error, output: &mut Output<'_>) -> Exit {
    let text = not_run.to_string();
    if not_run.use_stderr() {
        output.note(&text);
        Exit::Usage
    } else {
        output.data(&text);
        output.finish(Exit::Done)
    }
}

fn complete(shell: Shell, output: &mut Output<'_>) -> Exit {
    // Written to memory first: the generator panics when its writer fails, as a closed pipe does.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tollgate", &mut script);
    output.data_bytes(&script);
    Exit::Done
}
