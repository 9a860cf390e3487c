//! The `tollgate` command: `serve` and the other verbs that work on this machine's files (`local`),
//! and the client verbs that ask a running node over the public API (`remote`).
//!
//! Data goes to stdout, everything else to stderr, and the exit code says how the command ended: a
//! denial is neither a success nor an error, so it has a code of its own.

mod address;
mod args;
mod cert;
mod complete;
mod confirm;
mod connect;
mod context;
mod examples;
mod failure;
mod local;
mod man;
mod output;
mod private;
mod remote;
#[cfg(test)]
mod tests;
mod token;
mod top;
mod watch;

use std::{env, ffi::OsString, io::Write};

use clap::{ArgMatches, FromArgMatches, ValueEnum, error::ErrorKind};

use crate::{clock, domain::input::InputError};
use args::{CertVerb, Cli, LocalVerb, RemoteVerb, Verb};
use failure::Failure;
use output::{Clock, Format, Output, Screen, Surroundings};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or allowed.
    Done,
    /// Not done, or only in part; stderr says why.
    Error,
    /// The command line was not understood.
    Usage,
    /// The gate denied.
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
    run_at(args, out, err, &Surroundings::of_process(), clock::wall).into()
}

fn run_at<I, T>(args: I, out: &mut dyn Write, err: &mut dyn Write, around: &Surroundings, clock: Clock) -> Exit
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    if let Some(shell) = &around.completes {
        return complete::answer(shell, &args, around, &mut Output::new(out, err, Format::Table, Screen::PIPE, clock));
    }
    let (cli, dry_run) = match parsed(&args) {
        Ok(parsed) => parsed,
        Err(not_run) => return explain(&not_run, &mut Output::new(out, err, format_of(&args), Screen::PIPE, clock)),
    };
    let screen = Screen::new(around, cli.global.color, !cli.global.no_headers);
    let mut output = Output::new(out, err, cli.global.output, screen, clock);
    output.dry(dry_run);
    if let Err(failure) = takes_format(&cli) {
        output.error(&failure);
        return output.finish(failure.exit());
    }
    let exit = match &cli.verb {
        Verb::Remote(verb) => match context::filled(cli.global, around) {
            Ok(global) => remote::run(&global, verb, &mut output),
            Err(failure) => remote::failed(&failure, &mut output),
        },
        _ if cli.global.watch.is_some() => remote::not_watched(&mut output),
        Verb::Local(verb) => run_local(verb, &mut output),
        Verb::Context(verb) => context::run(verb, &cli.global, around, &mut output),
        Verb::Completions { shell } => complete::script(*shell, args.first(), &mut output),
        Verb::Man(args) => man::run(args, &mut output),
    };
    output.finish(exit)
}

/// Only a list of the same columns whatever it holds is CSV.
fn takes_format(cli: &Cli) -> Result<(), Failure> {
    match (cli.global.output, &cli.verb) {
        (Format::Csv, Verb::Remote(RemoteVerb::Usage(_))) | (Format::Table | Format::Json, _) => Ok(()),
        (Format::Csv, _) => Err(Failure::Usage(InputError::new("output", "csv", "table or json; csv is for `usage`"))),
    }
}

/// And whether the command is to change nothing.
fn parsed(args: &[OsString]) -> Result<(Cli, bool), clap::Error> {
    let matches = examples::command().try_get_matches_from(args)?;
    Ok((Cli::from_arg_matches(&matches)?, is_dry(&matches)))
}

fn is_dry(matches: &ArgMatches) -> bool {
    match matches.subcommand() {
        Some((_, below)) => is_dry(below),
        // Not every command has the flag.
        None => matches.try_get_one::<bool>("dry_run").is_ok_and(|given| given == Some(&true)),
    }
}

fn run_local(verb: &LocalVerb, output: &mut Output<'_>) -> Exit {
    if let LocalVerb::Serve(_) | LocalVerb::Fsck(_) | LocalVerb::Export(_) | LocalVerb::Import(_) = verb {
        private::keep_files();
        private::keep_memory();
    }
    match verb {
        LocalVerb::Serve(args) => local::serve(args, output),
        LocalVerb::CheckConfig(args) => local::check_config(args, output),
        LocalVerb::ConfigSchema => local::config_schema(output),
        LocalVerb::Fsck(args) => local::fsck(args, output),
        LocalVerb::Export(args) => local::export(args, output),
        LocalVerb::Import(args) => local::import(args, output),
        LocalVerb::Cert(CertVerb::Dev(args)) => cert::dev(args, output),
        LocalVerb::Token(verb) => token::run(verb, output),
    }
}

/// The format of a command line that the parser refused: it stops at the first mistake, so the flag is
/// searched for here.
fn format_of(args: &[OsString]) -> Format {
    let mut format = env::var("TOLLGATE_OUTPUT").ok();
    let mut args = args.iter().map(|arg| arg.to_string_lossy());
    while let Some(arg) = args.next().filter(|arg| arg != "--") {
        let attached = arg.strip_prefix("--output=").or_else(|| arg.strip_prefix("-o"));
        match attached {
            _ if arg == "--output" || arg == "-o" => format = args.next().map(Into::into),
            Some(value) => format = Some(value.trim_start_matches('=').to_owned()),
            None => {}
        }
    }
    format.and_then(|name| Format::from_str(&name, false).ok()).unwrap_or(Format::Table)
}

/// `--help` and `--version` are data that was asked for; anything else is a mistake.
fn explain(not_run: &clap::Error, output: &mut Output<'_>) -> Exit {
    let text = not_run.to_string();
    if !not_run.use_stderr() {
        output.data(&text);
        return output.finish(Exit::Done);
    }
    match output.format() {
        Format::Table | Format::Csv => output.note(&text),
        Format::Json => output.error(&Failure::CommandLine(mistake(not_run.kind(), &text))),
    }
    Exit::Usage
}

/// What the parser found, without the usage that it prints for people.
fn mistake(kind: ErrorKind, text: &str) -> String {
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a command is missing; --help lists them".to_owned();
    }
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let ends = ["\n\nUsage:", "\n\nFor more information"];
    let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    text[..end].trim_end().to_owned()
}
