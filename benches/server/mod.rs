//! A server as a process of its own.

#![allow(dead_code, reason = "each benchmark needs a part of it")]

use std::{
    error::Error,
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) type Res<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Ends with the value.
pub(crate) struct Process {
    child: Child,
    _dir: Option<TempDir>,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// With the directory that it has for as long as it lives.
    pub(crate) fn of(child: Child, dir: Option<TempDir>) -> Self {
        Self { child, _dir: dir }
    }

    /// A node, and what it says when it is up.
    pub(crate) fn tollgate(
        mut command: Command,
        write_behind_ms: &str,
        dir: TempDir,
        settings: &[(&str, String)],
    ) -> Res<(Self, Value)> {
        command
            .args(["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path())
            .env("TOLLGATE__NODE__NAME", "node")
            .env("TOLLGATE__DURABILITY__WRITE_BEHIND_MS", write_behind_ms)
            .envs(settings.iter().map(|(key, value)| (key, value)));
        Self::node(command, dir)
    }

    /// The same of a command that says which node it is.
    pub(crate) fn node(mut command: Command, dir: TempDir) -> Res<(Self, Value)> {
        let mut child = command
            .env("TOLLGATE__RATE__AMOUNT", "1000000000")
            .env("TOLLGATE__LOG__FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines();
        let up =
            lines.by_ref().map_while(Result::ok).find(|line| line.contains("tollgate is up")).ok_or("did not start")?;
        std::thread::spawn(move || lines.for_each(drop));
        let up: Value = serde_json::from_str(&up)?;
        Ok((Self::of(child, Some(dir)), up["fields"].clone()))
    }

    /// CPU time so far, user and system, in microseconds.
    pub(crate) fn cpu(&self) -> Res<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().ok_or("stat")?.split(' ').collect();
        Ok((fields[11].parse::<u64>()? + fields[12].parse::<u64>()?) * 10_000)
    }
}
