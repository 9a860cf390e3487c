//! Where log lines go, and in which form.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt::time::SystemTime, layer::SubscriberExt, util::SubscriberInitExt};

use super::Seldom;

/// Logs to stderr, as text or as one JSON object a line. `RUST_LOG` overrides `level`. What is returned withholds
/// repeated lines, and writes their count when it is asked to.
pub fn init_logging(level: &str, json: bool) -> Result<Seldom, String> {
    let seldom = Seldom::default();
    let filter = EnvFilter::try_from_default_env().or_else(|_| EnvFilter::try_new(level)).map_err(|e| e.to_string())?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_timer(SystemTime);
    let logs = logs.with_ansi(std::io::stderr().is_terminal());
    let installed = if json {
        logs.json().finish().with(seldom.clone()).try_init()
    } else {
        logs.finish().with(seldom.clone()).try_init()
    };
    installed.map(|()| seldom).map_err(|error| error.to_string())
}
