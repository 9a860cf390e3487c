//! The verbs that work on this machine's files instead of asking a node.

mod postgres;
mod snapshot;
mod tokens;

pub(super) use snapshot::{Part, PartPlace};
pub(super) use tokens::Place as TokenPlace;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    Exit,
    args::{CheckConfigArgs, ExportArgs, FsckArgs, ImportArgs, ServeArgs},
    failure::Failure,
    output::Output,
};
use crate::{
    app::{self, Listeners, Source, Start, takeover},
    bounds::LOG_WINDOW_MS,
    config::{self, Config, ConfigErrors, Listen, LogFormat, Overrides, Place},
    store::offline::{self, Exported, FsckOptions, ImportOptions},
    telemetry::{self, Seldom},
};

/// Threads for reading orgs from the store.
const STORE_READERS: usize = 16;
/// Tasks that a thread runs before it takes one from the queue that all threads share. A thread whose own queue is full
/// moves the older half of it there; by itself the runtime comes back for one of them every 200 µs, and a connection
/// among them is not served for a tenth of a second.
const GLOBAL_TURN: u32 = 4;

pub(super) fn serve(args: &ServeArgs, output: &mut Output<'_>) -> Exit {
    let config = match load(args) {
        Ok(config) => config,
        Err(mistakes) => return refuse(&mistakes, output),
    };
    if let Some(open) = config.is_open_beyond_loopback().filter(|_| !args.insecure) {
        let Listen { grpc, http, .. } = config.listen;
        let text = format!(
            "listen.grpc = \"{grpc}\" and listen.http = \"{http}\": {open}. Set [auth] and [tls] (docs/security.md), \
             keep both ports on loopback, or start with --insecure inside a network that you trust"
        );
        return fail(text, output);
    }
    let json = config.log.format == LogFormat::Json;
    let ran = telemetry::init_logging(config.log.level.as_str(), json)
        .and_then(|seldom| Ok((seldom, runtime().map_err(|error| format!("no runtime: {error}"))?)))
        .and_then(|(seldom, runtime)| {
            runtime.spawn(tell_what_was_withheld(seldom.clone()));
            let ran = runtime.block_on(run(config, args.clone()));
            seldom.tell();
            ran
        });
    match ran {
        Ok(()) => Exit::Done,
        Err(error) => fail(error, output),
    }
}

/// Few threads read the store: each has its own heap, and the engine's pages are in memory.
fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(STORE_READERS)
        .global_queue_interval(GLOBAL_TURN)
        .build()
}

fn load(args: &ServeArgs) -> Result<Config, ConfigErrors> {
    config::load(args.config.as_deref(), config::environment(), overrides(args))
}

fn load_again(args: &ServeArgs) -> Result<Config, ConfigErrors> {
    config::load_again(args.config.as_deref(), config::environment(), overrides(args))
}

fn overrides(args: &ServeArgs) -> Overrides {
    Overrides { data_dir: args.data_dir.clone(), grpc: args.grpc, http: args.http }
}

fn refuse(mistakes: &ConfigErrors, output: &mut Output<'_>) -> Exit {
    output.remark(&mistakes.to_string());
    let mistakes = mistakes.mistakes().iter().map(|mistake| (place(&mistake.place), mistake.text.clone()));
    output.error(&Failure::Configuration(mistakes.collect()));
    Exit::Error
}

/// `3:14` in the file; a variable or a flag by its name.
fn place(place: &Place) -> String {
    match place {
        Place::File => String::new(),
        Place::Position { line, column } => format!("{line}:{column}"),
        Place::Variable(name) => name.to_string(),
        Place::Flag(name) => (*name).to_owned(),
    }
}

/// At the end of every window, how often the lines were repeated that were written once.
async fn tell_what_was_withheld(seldom: Seldom) {
    loop {
        tokio::time::sleep(Duration::from_millis(LOG_WINDOW_MS)).await;
        seldom.tell();
    }
}

/// A node until SIGTERM or SIGINT; SIGHUP reloads.
async fn run(config: Config, args: ServeArgs) -> Result<(), String> {
    let start = Start {
        accept_clock: args.accept_clock,
        accept_lost_tail: args.accept_lost_tail,
        without_sync: args.without_sync,
    };
    let signals = |kind| signal(kind).map_err(|error| format!("no signals: {error}"));
    let (mut terminate, mut interrupt) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let mut hangup = signals(SignalKind::hangup())?;
    let (hung_up, hangups) = mpsc::channel(1);
    tokio::spawn(async move { while hangup.recv().await.is_some() && hung_up.send(()).await.is_ok() {} });
    let source = Source { load: std::sync::Arc::new(move || load_again(&args)), hangups };
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let listeners = Listeners::bind(&config).await.map_err(|error| error.to_string())?;
    app::run(config, start, listeners, source, shutdown).await.map_err(|error| error.to_string())
}

/// What an editor checks a configuration by while it is typed.
pub(super) fn config_schema(output: &mut Output<'_>) -> Exit {
    output.data(&format!("{:#}", config::schema()));
    Exit::Done
}

pub(super) fn check_config(args: &CheckConfigArgs, output: &mut Output<'_>) -> Exit {
    match config::load(Some(&args.file), std::iter::empty(), Overrides::default()) {
        Ok(config) => {
            config.warnings().iter().for_each(|warning| output.note(&format!("warning: {warning}")));
            if let Some(exit) = app::check_files(&config).into_iter().map(|error| fail(error, output)).last() {
                return exit;
            }
            if let Some(open) = config.is_open_beyond_loopback() {
                output.note(&format!("warning: {open}: `tollgate serve` takes it with --insecure only"));
            }
            output.data(&format!("{}: good", args.file.display()));
            Exit::Done
        }
        Err(mistakes) => refuse(&mistakes, output),
    }
}

/// The directory the flag, the environment or the default names.
fn data_dir(given: Option<&PathBuf>) -> Result<PathBuf, ConfigErrors> {
    let overrides = Overrides { data_dir: given.cloned(), ..Overrides::default() };
    config::load(None, config::environment(), overrides).map(|config| config.data_dir)
}

pub(super) fn fsck(args: &FsckArgs, output: &mut Output<'_>) -> Exit {
    let dir = match data_dir(args.data_dir.as_ref()) {
        Ok(dir) => dir,
        Err(mistakes) => return refuse(&mistakes, output),
    };
    match offline::fsck(&dir, FsckOptions { set_clock: args.set_clock, compact: args.compact }) {
        Ok(report) => {
            output.data(&report.to_string());
            if args.compact && report.compacted.is_none() {
                return fail(format!("{} was not compacted: only a clean one is", dir.display()), output);
            }
            if report.is_clean() { Exit::Done } else { Exit::Error }
        }
        Err(error) => fail(error, output),
    }
}

pub(super) fn export(args: &ExportArgs, output: &mut Output<'_>) -> Exit {
    if !args.postgres.is_empty() {
        return export_postgres(&args.postgres, file(args.file.as_deref()), output);
    }
    let dir = match data_dir(args.data_dir.as_ref()) {
        Ok(dir) => dir,
        Err(mistakes) => return refuse(&mistakes, output),
    };
    let written = match file(args.file.as_deref()) {
        None => export_into(&dir, &mut Stdout(output)),
        Some(file) => new_file(file, |out| export_into(&dir, out)),
    };
    match written {
        Ok(Exported { rows, report }) => {
            report.findings.iter().for_each(|finding| output.note(&format!("warning: {finding}")));
            output.note(&format!("{rows} rows exported"));
            if report.is_clean() || args.accept_damage {
                return Exit::Done;
            }
            let damaged = format!(
                "everything readable was exported, but {} problems were found in {}; see `tollgate fsck`, \
                 keep older exports, and pass --accept-damage to accept this one",
                report.found(),
                dir.display()
            );
            fail(damaged, output)
        }
        Err(error) => fail(error, output),
    }
}

/// The file that is named; `None` = stdin or stdout.
fn file(named: Option<&Path>) -> Option<&Path> {
    named.filter(|file| *file != Path::new("-"))
}

fn export_postgres(urls: &[String], file: Option<&Path>, output: &mut Output<'_>) -> Exit {
    let written = match file {
        None => export_from(urls, &mut Stdout(output)),
        Some(file) => new_file(file, |out| export_from(urls, out)),
    };
    match written {
        Ok(rows) => {
            output.note(&format!("{rows} rows exported"));
            Exit::Done
        }
        Err(error) => fail(error, output),
    }
}

fn export_from(urls: &[String], out: &mut dyn Write) -> Result<u64, String> {
    let runtime = runtime().map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(postgres::export(urls, out)).map_err(|error| error.to_string())
}

/// A new file, durable before it is called done; an existing one is never overwritten.
fn new_file<T>(file: &Path, write: impl FnOnce(&mut dyn Write) -> Result<T, String>) -> Result<T, String> {
    let named = |error: io::Error| format!("{}: {error}", file.display());
    let mut out = BufWriter::new(File::create_new(file).map_err(named)?);
    let exported = write(&mut out)?;
    let written = out.into_inner().map_err(|error| named(error.into_error()))?;
    written.sync_all().map_err(named)?;
    Ok(exported)
}

fn export_into(dir: &Path, out: &mut dyn Write) -> Result<Exported, String> {
    let runtime = runtime().map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(offline::export(dir, out)).map_err(|error| error.to_string())
}

pub(super) fn import(args: &ImportArgs, output: &mut Output<'_>) -> Exit {
    let options = ImportOptions { accept_unclosed: args.accept_unclosed, accept_damage: args.accept_damage };
    let dir = match data_dir(args.data_dir.as_ref()) {
        Ok(dir) => dir,
        Err(mistakes) => return refuse(&mistakes, output),
    };
    let import = |from: &mut dyn BufRead| match &*args.postgres {
        [] => import_from(&dir, from, options),
        urls => runtime()?.block_on(postgres::import(urls, from, options.accept_unclosed)),
    };
    let read = match file(args.file.as_deref()) {
        None => import(&mut io::stdin().lock()),
        Some(file) => File::open(file)
            .and_then(|from| import(&mut BufReader::new(from)))
            .map_err(|error| io::Error::other(format!("{}: {error}", file.display()))),
    };
    match read {
        Ok(done) => {
            done.iter().for_each(|line| output.note(line));
            Exit::Done
        }
        Err(error) => fail(error, output),
    }
}

/// The first line decides between an export and budgets of an older system. Answers the lines to print.
fn import_from(dir: &Path, from: &mut dyn BufRead, options: ImportOptions) -> io::Result<Vec<String>> {
    let first = from.fill_buf()?.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if String::from_utf8_lossy(first).contains("\"monthly_spend") {
        let done = runtime()?.block_on(takeover::take_over(dir, from)).map_err(io::Error::other)?;
        return Ok(vec![format!("{} budgets taken over, {} were taken over before", done.changed, done.known)]);
    }
    let done = runtime()?.block_on(offline::import(dir, from, options)).map_err(io::Error::other)?;
    let mut lines: Vec<_> = done.report.findings.iter().map(|finding| format!("warning: {finding}")).collect();
    lines.push(format!("{} rows imported", done.rows));
    Ok(lines)
}

fn fail(error: impl ToString, output: &mut Output<'_>) -> Exit {
    output.error(&Failure::Local(error.to_string()));
    Exit::Error
}

/// Bytes to stdout; a failed write is reported when the command ends.
struct Stdout<'a, 'w>(&'a mut Output<'w>);

impl Write for Stdout<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.data_bytes(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
