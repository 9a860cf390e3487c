"""A real node: the release binary as a child process, on ports of its own choosing.

Everything waited for is waited for with a bound, by asking again (`eventually`), never by hoping
that enough time has passed.
"""

import ctypes
import hashlib
import json
import mmap
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Cargo reads a relative target directory from where it is run: the project's root.
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
BINARY = TARGET / "release" / "tollgate"
START_WITHIN = 20.0
STOP_WITHIN = 30.0
POLL = 0.02
# For how long the machine of a test has been up, so that no clock of it is set to before its start, whatever the year of
# the test.
BOOTED = 20 * 365 * 86_400
# How long the backstop and a whole decision may take. On a machine that stands still for longer than the default,
# calls are let through uncounted, as they should be, and a test that counts would fail.
PATIENT = {"TOLLGATE__BOUNDS__RATE_BUDGET_MS": "2000", "TOLLGATE__BOUNDS__DECISION_BUDGET_MS": "4250"}


def eventually(holds, what, within=10.0):
    """Asks until it is true, and fails after `within` seconds with `what`: a text, or a function that makes one then."""
    until = time.monotonic() + within
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() >= until:
            raise AssertionError(f"not within {within} s: {what() if callable(what) else what}")
        time.sleep(POLL)


def moved_clock():
    """The library that answers a node with a moved clock, compiled once for each text of it."""
    source = pathlib.Path(__file__).with_name("clock.c")
    library = pathlib.Path(tempfile.gettempdir(), f"tollgate-clock-{hashlib.sha256(source.read_bytes()).hexdigest()}.so")
    if not library.exists():
        made = f"{library}.{os.getpid()}"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", made, str(source), "-ldl"], check=True, timeout=60)
        os.replace(made, library)
    return str(library)


class FakeClock:
    """The clocks that a node sees (clock.c has how): moved by `step`, and by `sleep` as a suspended machine does.

    With `monotonic` the time that passes on the machine's monotonic clock moves along: for the
    process an hour has really gone by. Without, only the wall steps. It begins in the hour that runs,
    or `at` these seconds since the epoch.
    """

    def __init__(self, minute=10, second=0, monotonic=True, at=None):
        self._dir = tempfile.mkdtemp(prefix="tollgate-clock-")
        self._path = os.path.join(self._dir, "added")
        with open(self._path, "wb") as file:
            file.write(bytes(7 * 8))
        with open(self._path, "r+b") as file:
            self._file = mmap.mmap(file.fileno(), 0)
        self._written = ctypes.c_int64.from_buffer(self._file)
        self._turns = (ctypes.c_int64 * 3 * 2).from_buffer(self._file, 8)
        self._monotonic = monotonic
        self._slept = 0
        # The hour begins in the past, so that nothing at rest is ahead of the machine.
        now = time.time()
        hour = int(now // 3600) * 3600
        begin = hour + minute * 60 + second if at is None else at
        self.set_offset(begin - now)

    def environment(self):
        return {"LD_PRELOAD": moved_clock(), "TEST_CLOCK": self._path}

    def set_offset(self, offset):
        """What the wall clock is ahead of the machine's, without what was slept."""
        self.offset = offset
        passed = BOOTED + (offset if self._monotonic else 0)
        written = self._written.value + 1
        added = (offset + self._slept, passed, passed + self._slept)
        self._turns[written % 2][:] = [round(seconds * 1e9) for seconds in added]
        self._written.value = written

    def step(self, seconds):
        self.set_offset(self.offset + seconds)
        # A node looks at whether its callers still answer; they need the time for it.
        time.sleep(POLL)

    def sleep(self, seconds):
        """The machine was suspended: the wall clock and the time since boot went on, the monotonic clock did not."""
        self._slept += seconds
        self.set_offset(self.offset)

    def now_ms(self):
        return int((time.time() + self.offset + self._slept) * 1000)

    def hour_end_ms(self):
        return (self.now_ms() // 3_600_000 + 1) * 3_600_000

    def close(self):
        shutil.rmtree(self._dir, ignore_errors=True)


class StartFailed(AssertionError):
    """The node ended before it was up."""


class Node:
    """`tollgate serve` on one data directory, which outlives restarts."""

    def __init__(self, config="", clock=None, environment=None, data_dir=None, under=(), cwd=None):
        self._own = tempfile.mkdtemp(prefix="tollgate-node-")
        self.data_dir = data_dir or os.path.join(self._own, "data")
        self.config_file = os.path.join(self._own, "tollgate.toml")
        self.clock = clock
        self.environment = environment or {}
        # A command that runs the node, such as one that makes its disk slow.
        self.under = list(under)
        self.cwd = cwd
        # Another one for tests of an upgrade.
        self.binary = BINARY
        self.write_config(config)
        self.log_file = os.path.join(self._own, "log")
        open(self.log_file, "wb").close()
        self.process = None

    def write_config(self, text):
        fresh = self.config_file + ".new"
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(fresh, self.config_file)

    def environ(self):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("TOLLGATE", "TEST_CLOCK", "LD_"))}
        own = {"TOLLGATE__LOG__FORMAT": "json", "TOLLGATE__BOUNDS__DRAIN_NOTICE_MS": "0"}
        chosen = own | PATIENT | self.environment
        return inherited | chosen | (self.clock.environment() if self.clock else {})

    def start(self, *flags):
        """Starts, and returns when the ports are known."""
        self._end_line()
        before = len(self.log)
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [*self.under, str(self.binary), *self.arguments(), *flags], env=self.environ(), stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=log, cwd=self.cwd,
            )
        up = self._start_up_line(before)
        self.grpc, self.http, self.peer = up["grpc"], up["http"], up.get("peer")
        return self

    def _end_line(self):
        """A kill may have cut the last line of the log: the next start has its own."""
        with open(self.log_file, "rb+") as log:
            if log.read()[-1:] not in (b"", b"\n"):
                log.write(b"\n")

    def arguments(self):
        """How the binary is called."""
        own = ["--config", self.config_file, "--data-dir", self.data_dir]
        return ["serve", *own, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]

    @property
    def log(self):
        """Every line that was written so far, of all starts: what a node says before it answers is there with its answer."""
        with open(self.log_file, encoding="utf-8", errors="replace") as log:
            return log.read().splitlines()

    def _start_up_line(self, before):
        until = time.monotonic() + START_WITHIN
        while True:
            ended = self.process.poll()
            for line in self.log[before:]:
                fields = self.fields(line)
                if fields.get("message") == "tollgate is up":
                    return fields
            if ended is not None:
                raise StartFailed("\n".join(self.log))
            if time.monotonic() >= until:
                self.kill()
                raise StartFailed(f"no start-up line within {START_WITHIN} s:\n" + "\n".join(self.log))
            time.sleep(POLL)

    @staticmethod
    def fields(line):
        try:
            event = json.loads(line)
        except ValueError:
            return {}
        return event | event.get("fields", {})

    def logged(self, text):
        return [line for line in self.log if text in line]

    def run(self, *arguments):
        """Another verb of the same binary, in the same time."""
        return subprocess.run(
            [str(self.binary), *arguments], env=self.environ(), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=STOP_WITHIN, check=False,
        )

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def stop(self):
        """SIGTERM; returns the exit code."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"no exit within {STOP_WITHIN} s of SIGTERM:\n" + "\n".join(self.log)) from None
        self.process = None
        return code

    def ended(self, within=STOP_WITHIN):
        """The exit code of a node that ends by itself."""
        code = self.process.wait(within)
        self.process = None
        return code

    def kill(self):
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_WITHIN)
            self.process = None

    def close(self):
        """Ends the node; an error where it had already ended without having been asked to."""
        ended = self.process.poll() if self.process is not None else None
        self.kill()
        last = self.log[-30:] if ended is not None else []
        shutil.rmtree(self._own, ignore_errors=True)
        if ended is not None:
            raise AssertionError(f"the node ended by itself with {ended}; its last lines:\n" + "\n".join(last))
