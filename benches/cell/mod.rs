//! A PostgreSQL of Debian's packages in a private directory, on a private port, with durable commits.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::server::Res;

/// Stopped when it is dropped.
pub(crate) struct Postgres {
    dir: TempDir,
    port: u16,
    /// Of the postmaster, whose children the other processes of the server are.
    pid: u32,
}

/// Where Debian has the programs of the server; they are in nobody's path.
fn program(name: &str) -> Res<PathBuf> {
    let mut versions: Vec<_> =
        fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    versions.sort();
    let found = versions.into_iter().rev().map(|version| version.join("bin").join(name)).find(|path| path.exists());
    Ok(found.ok_or_else(|| format!("missing: {name}. Install it as root: apt-get install -y postgresql"))?)
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

/// The server refuses to run as root.
fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

/// Without pipes: the server would keep them open.
fn run(command: &mut Command) -> Res<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

impl Postgres {
    pub(crate) fn start() -> Res<Self> {
        let dir = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut server = Self { dir, port, pid: 0 };
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(server.dir.path()))?;
        }
        let data = server.data();
        run(unprivileged(&program("initdb")?)
            .args(["-A", "trust", "-U", "tollgate", "-E", "UTF8", "--no-sync", "-D"])
            .arg(&data))?;
        let settings = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=200 \
             -c shared_buffers=512MB -c max_wal_size=4GB"
        );
        let log = server.dir.path().join("log");
        let mut command = unprivileged(&program("pg_ctl")?);
        command.arg("-D").arg(&data).arg("-l").arg(log).args(["-w", "-t", "60", "-o", &settings, "start"]);
        run(&mut command)?;
        let pid = fs::read_to_string(data.join("postmaster.pid"))?;
        server.pid = pid.lines().next().ok_or("no pid")?.trim().parse()?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The tables of one cluster are in a schema of their own.
    pub(crate) fn url(&self, schema: &str) -> String {
        format!("postgres://tollgate@127.0.0.1:{}/postgres?sslmode=disable&schema={schema}", self.port)
    }

    /// CPU time so far of all processes of the server, user and system, in microseconds.
    pub(crate) fn cpu(&self) -> Res<u64> {
        let mut ticks = 0;
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // One may end meanwhile.
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
            let number = |at: usize| fields.split(' ').nth(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
            if pid == self.pid {
                ticks += number(11) + number(12) + number(13) + number(14);
            } else if number(1) == u64::from(self.pid) {
                ticks += number(11) + number(12);
            }
        }
        Ok(ticks * 10_000)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Ok(program) = program("pg_ctl") {
            let _ = run(unprivileged(&program).arg("-D").arg(self.data()).args(["-m", "immediate", "-w", "stop"]));
        }
    }
}
