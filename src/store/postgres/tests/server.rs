//! A PostgreSQL of Debian's packages in a private directory and on a private port: one for the process of the tests, and
//! those that a test may stop for itself.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;

use crate::store::postgres::PgOptions;

/// Stopped when it is dropped, or when this process is gone.
pub(super) struct Server {
    dir: TempDir,
    port: u16,
}

/// Where Debian has the programs of the server; they are in nobody's path.
fn program(name: &str) -> PathBuf {
    let mut versions: Vec<_> =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    versions.sort();
    let found = versions.into_iter().rev().map(|version| version.join("bin").join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("missing: {name}. Install it as root: apt-get install -y postgresql"))
}

/// The server refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    if nix_is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        return command;
    }
    Command::new(program)
}

fn nix_is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|about| std::os::unix::fs::MetadataExt::uid(&about) == 0)
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

impl Server {
    pub(super) fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { dir, port };
        if nix_is_root() {
            run(Command::new("chown").arg("postgres").arg(server.dir.path()));
        }
        run(unprivileged(&program("initdb"))
            .args(["-A", "trust", "-U", "tollgate", "-E", "UTF8", "--no-sync", "-D"])
            .arg(server.data()));
        server.up();
        server.watch();
        server
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(super) fn up(&self) {
        let settings = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=300 -c shared_buffers=32MB \
             -c fsync=off",
            self.port
        );
        let log = self.dir.path().join("log");
        let mut command = unprivileged(&program("pg_ctl"));
        run(command
            .arg("-D")
            .arg(self.data())
            .arg("-l")
            .arg(log)
            .args(["-w", "-t", "60", "-o", &settings, "start"])
            .stdout(Stdio::null()));
    }

    /// Sessions are cut, nothing is waited for.
    pub(super) fn down(&self) {
        run(unprivileged(&program("pg_ctl")).arg("-D").arg(self.data()).args(["-w", "-m", "immediate", "stop"]));
    }

    /// Sessions are cut, and it comes back as a standby that follows nobody, or as a primary.
    pub(super) fn again(&self, is_standby: bool) {
        self.down();
        let signal = self.data().join("standby.signal");
        if is_standby {
            fs::write(signal, "").unwrap()
        } else {
            fs::remove_file(signal).unwrap()
        }
        self.up();
    }

    /// A schema that nobody has used.
    pub(super) fn options(&self) -> PgOptions {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let schema = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.options_at(self.port, &schema)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The same through another port.
    pub(super) fn options_at(&self, port: u16, schema: &str) -> PgOptions {
        let url = format!("postgres://tollgate@127.0.0.1:{port}/postgres?sslmode=disable&schema={schema}");
        PgOptions { owner: "test".into(), ..PgOptions::parse(&url).unwrap() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = unprivileged(&program("pg_ctl")).arg("-D").arg(self.data()).args(["-m", "immediate", "stop"]).output();
    }
}

/// The one of the process.
pub(super) fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start)
}

impl Server {
    /// Nothing drops what is static: a shell that outlives this process stops the server and removes its directory.
    fn watch(&self) {
        let dir = self.dir.path().display();
        let stop = format!(
            "while kill -0 {} 2>/dev/null; do sleep 0.2; done; \
             kill -QUIT $(head -1 {dir}/data/postmaster.pid); sleep 1; rm -rf {dir}",
            std::process::id(),
        );
        let mut beside = Command::new("sh");
        run(beside.args(["-c", "setsid sh -c \"$0\" >/dev/null 2>&1 </dev/null &", &stop]));
    }
}
