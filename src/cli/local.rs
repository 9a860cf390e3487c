//! The verbs that work on this machine's files instead of asking a node.

use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{
    Exit,
    args::{CheckConfigArgs, ExportArgs, FsckArgs, ImportArgs, ServeArgs},
    output::Output,
};
use crate::{
    app::{self, Listeners, Start},
    config::{self, Config, ConfigErrors, LogFormat, Overrides},
    telemetry,
};

pub(super) fn serve(args: &ServeArgs, output: &mut Output<'_>) -> Exit {
    let config = match load(args) {
        Ok(config) => config,
        Err(mistakes) => return refuse(&mistakes, output),
    };
    let json = config.log.format == LogFormat::Json;
    let ran = telemetry::init_logging(config.log.level.as_str(), json)
        .and_then(|()| Runtime::new().map_err(|error| format!("no runtime: {error}")))
        .and_then(|runtime| runtime.block_on(run(config, args.clone())));
    match ran {
        Ok(()) => Exit::Done,
        Err(error) => {
            output.error(&error);
            Exit::Error
        }
    }
}

fn load(args: &ServeArgs) -> Result<Config, ConfigErrors> {
    let overrides = Overrides { data_dir: args.data_dir.clone(), grpc: args.grpc, http: args.http };
    config::load(args.config.as_deref(), config::environment(), overrides)
}

fn refuse(mistakes: &ConfigErrors, output: &mut Output<'_>) -> Exit {
    output.note(&mistakes.to_string());
    output.error(&format!("{} mistakes in the configuration", mistakes.len()));
    Exit::Error
}

/// A node until SIGTERM or SIGINT; SIGHUP reloads.
async fn run(config: Config, args: ServeArgs) -> Result<(), String> {
    let start = Start { accept_clock: args.accept_clock, without_sync: args.without_sync };
    let signals = |kind| signal(kind).map_err(|error| format!("no signals: {error}"));
    let (mut terminate, mut interrupt) = (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    let mut hangup = signals(SignalKind::hangup())?;
    let (reload, reloads) = mpsc::channel(1);
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            match load(&args) {
                Ok(config) => drop(reload.send(config).await),
                Err(mistakes) => tracing::error!("the configuration was not reloaded, the old one stays:\n{mistakes}"),
            }
        }
    });
    let shutdown = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let listeners = Listeners::bind(&config).await.map_err(|error| error.to_string())?;
    app::run(config, start, listeners, reloads, shutdown).await.map_err(|error| error.to_string())
}

pub(super) fn check_config(args: &CheckConfigArgs, output: &mut Output<'_>) -> Exit {
    match config::load(Some(&args.file), std::iter::empty(), Overrides::default()) {
        Ok(config) => {
            config.warnings().iter().for_each(|warning| output.note(&format!("warning: {warning}")));
            output.data(&format!("{}: good", args.file.display()));
            Exit::Done
        }
        Err(mistakes) => refuse(&mistakes, output),
    }
}

pub(super) fn fsck(_: &FsckArgs, output: &mut Output<'_>) -> Exit {
    output.error("fsck is not built yet");
    Exit::Error
}

pub(super) fn export(_: &ExportArgs, output: &mut Output<'_>) -> Exit {
    output.error("export is not built yet");
    Exit::Error
}

pub(super) fn import(_: &ImportArgs, output: &mut Output<'_>) -> Exit {
    output.error("import is not built yet");
    Exit::Error
}
