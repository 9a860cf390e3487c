//! Notifies the supervisor of this process of what becomes of it, as systemd wants it of `Type=notify`: one datagram
//! each, to the socket that NOTIFY_SOCKET names. Without the variable nobody is notified.
//!
//! The protocol is a dozen lines over std, also for abstract sockets; a crate for it would be one more to watch.

use std::{
    env,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process,
    sync::Arc,
    time::Duration,
};

use crate::{clock, service::Service};

/// Where the supervisor listens; another process began it where it is not this one's.
const SOCKET: &str = "NOTIFY_SOCKET";
const WATCHDOG: &str = "WATCHDOG_USEC";
const WATCHDOG_OF: &str = "WATCHDOG_PID";
/// The supervisor hears at least so often in the time after which it takes the node for dead.
const PER_WATCHDOG: u32 = 3;
/// How often what is said of the node is compared with what the supervisor knows.
const EVERY: Duration = Duration::from_secs(1);

/// The supervisor of this process, if one wants to know.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// As the environment names it. What it names in vain is logged, and nobody is notified.
    pub(super) fn of_environment() -> Self {
        let Some(name) = env::var(SOCKET).ok().filter(|name| !name.is_empty()) else { return Self::default() };
        match open(&name) {
            Ok(to) => Self { to: Some(to), watchdog: watchdog() },
            Err(error) => {
                tracing::warn!(socket = name, %error, "{SOCKET} names no socket that can be used: nobody is notified");
                Self::default()
            }
        }
    }

    /// It serves, or goes on after a reload.
    pub(super) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\n{}", self::status(status)));
    }

    /// The configuration is read again, until it is ready.
    pub(super) fn reloading(&self) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", clock::monotonic_micros()));
    }

    /// It takes calls no more, and ends.
    pub(super) fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\n{}", self::status(status)));
    }

    /// As long as the node runs: a sign of life in time, and what has changed of its health.
    pub(super) async fn watch(self: Arc<Self>, service: Arc<Service>) {
        if self.to.is_none() {
            return;
        }
        let every = self.watchdog.map_or(EVERY, |within| (within / PER_WATCHDOG).min(EVERY));
        let mut said = service.health();
        loop {
            tokio::time::sleep(every).await;
            let health = service.health();
            let changed = if health == said { String::new() } else { status(&health) };
            let alive = if self.watchdog.is_some() { "WATCHDOG=1\n" } else { "" };
            self.send(&format!("{alive}{changed}"));
            said = health;
        }
    }

    fn send(&self, state: &str) {
        let Some((socket, to)) = self.to.as_ref().filter(|_| !state.is_empty()) else { return };
        // It does not wait: a supervisor that takes nothing must not stop the node.
        if let Err(error) = socket.send_to_addr(state.as_bytes(), to) {
            tracing::warn!(%error, "the supervisor was not notified");
        }
    }
}

/// One line, whatever the text has.
fn status(text: &str) -> String {
    format!("STATUS={}\n", text.replace('\n', " "))
}

fn open(name: &str) -> std::io::Result<(UnixDatagram, SocketAddr)> {
    let to = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, to))
}

/// After how long without a sign of life the supervisor takes this process for dead.
fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let is_ours = number(WATCHDOG_OF).is_none_or(|pid| pid == u64::from(process::id()));
    number(WATCHDOG).filter(|micros| is_ours && *micros > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(status("serving\nREADY=0"), "STATUS=serving READY=0\n");
    }

    #[test]
    fn sockets_are_named_by_path_or_are_abstract() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let listens = UnixDatagram::bind(&path).unwrap();
        let to = open(path.to_str().unwrap()).unwrap();
        Supervisor { to: Some(to), watchdog: None }.ready("serving");
        let mut bytes = [0; 64];
        let length = listens.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"READY=1\nSTATUS=serving\n");
        assert!(open("@abstract").is_ok());
        Supervisor::default().ready("nobody listens");
    }
}
