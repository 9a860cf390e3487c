//! One process of the real binary: how it is started, what it logged, how it ends.

use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{LOOK_EVERY, binary, poll};

/// From the spawn to the start-up line; a start takes a fraction of a second.
const START_WITHIN: Duration = Duration::from_secs(30);

/// From the signal to the last thread that stops.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct Setup {
    dir: PathBuf,
    variables: Vec<(String, String)>,
    arguments: Vec<OsString>,
    /// A tracer in front of the binary.
    under: Vec<String>,
}

impl Setup {
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        let setup = Self { dir: dir.into(), variables: Vec::new(), arguments: Vec::new(), under: Vec::new() };
        // A node that stands still for longer lets calls through uncounted, as it should.
        let setup = setup.set("BOUNDS__RATE_BUDGET_MS", 10_000).set("BOUNDS__DECISION_BUDGET_MS", 12_000);
        // No session expires by itself and no route is used again, however long a fault takes.
        setup.set("SESSIONS__HEARTBEAT", "1h").set("SESSIONS__CLAMP", "1h").set("POOLS__COOLDOWN", "1h")
    }

    /// `TOLLGATE__{key}`, such as `RATE__AMOUNT`.
    pub fn set(mut self, key: &str, value: impl ToString) -> Self {
        self.variables.push((format!("TOLLGATE__{key}"), value.to_string()));
        self
    }

    pub fn with(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Runs the node as a child of strace's tracee side (`-D`), so that signals reach the node itself.
    pub fn under_strace(mut self, inject: &str) -> Self {
        let trace = inject.split(':').next().unwrap_or_default();
        let words = ["strace", "-D", "-f", "--seccomp-bpf", "-q", "-o", "/dev/null"].map(str::to_owned);
        self.under = words.into_iter().chain([format!("--trace={trace}"), format!("--inject={inject}")]).collect();
        self
    }

    pub fn moved_to(&self, dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), ..self.clone() }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn spawn(&self) -> Process {
        let mut words = self.under.iter().map(OsString::from).chain([binary()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).arg("serve").arg("--data-dir").arg(&self.dir);
        command.args(["--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]).args(&self.arguments);
        command.env("TOLLGATE__LOG__FORMAT", "json").env_remove("RUST_LOG");
        command.envs(self.variables.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, written) = (child.stderr.take().unwrap(), log.clone());
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                written.lock().unwrap().push(line);
            }
        });
        Process { child, log, reader: Some(reader) }
    }

    /// Starts a node that has to come up.
    pub async fn start(&self) -> Node {
        match self.try_start().await {
            Ok(node) => node,
            Err(ended) => {
                panic!("the node on {} ended: {}\n{}", self.dir.display(), ended.status, ended.log.join("\n"))
            }
        }
    }

    /// Starts a node that may refuse.
    pub async fn try_start(&self) -> Result<Node, Ended> {
        self.spawn().ready().await
    }
}

/// How a process that did not come up ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub log: Vec<String>,
}

/// A process that may not be ready yet. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Ends with the process, when it has read its last line.
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Waits for the start-up line, or for the end.
    pub async fn ready(mut self) -> Result<Node, Ended> {
        let until = Instant::now() + START_WITHIN;
        loop {
            if let Some((grpc, http)) = self.addresses() {
                return Ok(Node { process: self, grpc, http });
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                self.reader.take().unwrap().join().unwrap();
                return Err(Ended { status, log: self.log() });
            }
            assert!(Instant::now() < until, "no start-up line within {START_WITHIN:?}\n{}", self.log().join("\n"));
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        let log = self.log.lock().unwrap();
        let fields = log.iter().find_map(|line| {
            let entry: Value = serde_json::from_str(line).ok()?;
            (entry["fields"]["message"] == "tollgate is up").then(|| entry["fields"].clone())
        })?;
        let address = |name: &str| fields[name].as_str()?.parse().ok();
        Some((address("grpc")?, address("http")?))
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and the process is gone when this returns.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(sent.success(), "kill -{name}");
    }

    /// Stops every thread where it is. A busy machine takes its time to: until the last one stands,
    /// the node still answers.
    pub async fn freeze(&self) {
        self.signal("STOP");
        let tasks = PathBuf::from(format!("/proc/{}/task", self.pid()));
        let stands = |task: fs::DirEntry| {
            // The state is behind the name, which ends with the last parenthesis.
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        let all_stand = || async { fs::read_dir(&tasks).ok()?.flatten().all(stands).then_some(()) };
        poll("every thread of the node to stop", STOP_WITHIN, all_stand).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A node that serves, or stays up NOT_SERVING and says why.
#[derive(Debug)]
pub struct Node {
    pub process: Process,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
}

impl Node {
    /// `kill -9`.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Waits for the end, at most `within`.
    pub async fn ended(&mut self, within: Duration) -> ExitStatus {
        let child = Mutex::new(&mut self.process.child);
        poll("the node ends", within, || async { child.lock().unwrap().try_wait().unwrap() }).await
    }

    /// SIGTERM; everything is flushed and the exit code is 0.
    pub async fn terminate(mut self) {
        self.process.signal("TERM");
        let status = self.ended(Duration::from_secs(60)).await;
        assert!(status.success(), "{status}\n{}", self.process.log().join("\n"));
    }

    /// `VmRSS` in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }
}
