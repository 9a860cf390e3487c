"""What a supervisor hears of a node, what the node keeps from other users, and the unit that systemd runs it by."""

import os
import pathlib
import shutil
import socket
import stat
import subprocess
import tempfile
import time

from case import NodeCase, fresh
from node import BINARY, ROOT, eventually
from plane import ready

WITHIN = 10.0
UNIT = ROOT / "deploy" / "tollgate.service"


class Supervisor:
    """The socket of a supervisor, and what it has heard so far: one dictionary for each datagram."""

    def __init__(self, name):
        self.name = name
        self.heard = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(WITHIN)
        self._socket.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)

    def next(self):
        fields = dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())
        self.heard.append(fields)
        return fields

    def until(self, **wanted):
        """The next datagram that says so; those before it are in `heard`."""
        until = time.monotonic() + WITHIN
        while time.monotonic() < until:
            fields = self.next()
            if wanted.items() <= fields.items():
                return fields
        raise AssertionError(f"not heard within {WITHIN} s: {wanted}, but {self.heard}")

    def close(self):
        self._socket.close()


class Notified(NodeCase):
    """R-OPS-12: `Type=notify`."""

    def supervisor(self, name=None):
        if name is None:
            directory = tempfile.mkdtemp(prefix="tollgate-notify-")
            self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
            name = os.path.join(directory, "notify")
        supervisor = Supervisor(name)
        self.addCleanup(supervisor.close)
        return supervisor

    def supervised(self, supervisor, under=(), **environment):
        return self.node(environment={"NOTIFY_SOCKET": supervisor.name, **environment}, under=under)

    def test_it_is_ready_when_it_serves_and_stops_before_it_ends(self):
        for name in (None, "@tollgate-" + fresh(str(os.getpid()))):
            with self.subTest(name=name):
                supervisor = self.supervisor(name)
                node = self.supervised(supervisor)
                self.assertEqual(supervisor.next(), {"READY": "1", "STATUS": "serving"})
                self.assertEqual(ready(node.http), (200, "serving"))
                self.assertEqual(node.stop(), 0)
                self.assertEqual(supervisor.next(), {"STOPPING": "1", "STATUS": "draining"})

    def test_a_reload_begins_and_ends(self):
        supervisor = self.supervisor()
        node = self.supervised(supervisor)
        supervisor.until(READY="1")
        for text, status in (("[rate]\namount = 5\n", "serving"), ("nonsense\n", "refused")):
            node.write_config(text)
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            node.reload()
            began = supervisor.until(RELOADING="1")
            self.assertGreaterEqual(int(began["MONOTONIC_USEC"]), before)
            self.assertIn(status, supervisor.until(READY="1")["STATUS"])
        self.assertTrue(self.plane(node).admin.Reload().mistakes)
        supervisor.until(RELOADING="1")

    def test_it_shows_that_it_lives_as_often_as_it_is_asked_to(self):
        supervisor = self.supervisor()
        own = ["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh"]
        node = self.supervised(supervisor, under=own, WATCHDOG_USEC="600000")
        for _ in range(3):
            supervisor.until(WATCHDOG="1")
        node.stop()
        other = self.supervisor()
        self.supervised(other, WATCHDOG_USEC="600000", WATCHDOG_PID="1").stop()
        other.until(STOPPING="1")
        self.assertFalse([fields for fields in other.heard if "WATCHDOG" in fields], "that is another process")

    def test_a_supervisor_that_is_gone_stops_nothing(self):
        node = self.node(environment={"NOTIFY_SOCKET": "/nowhere/notify"})
        self.assertEqual(ready(node.http), (200, "serving"))
        eventually(lambda: node.logged("the supervisor was not notified"), "it is said")
        self.assertEqual(node.stop(), 0)


class Private(NodeCase):
    """R-OPS-12: files and memory of a node are its user's."""

    OPEN = ("sh", "-c", 'umask 000; exec "$@"', "sh")

    def assert_private(self, path):
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        self.assertEqual(mode & 0o077, 0, f"{path} {mode:o}")

    def test_its_files_are_its_users_whatever_the_umask(self):
        node = self.node(under=self.OPEN)
        plane = self.plane(node)
        for _ in range(20):
            plane.gate.Record(org=fresh("org"), request_id=fresh(), usage=[{"meter": "spend", "amount": 1}])
        node.stop()
        root = pathlib.Path(node.data_dir)
        paths = [root, *root.rglob("*")]
        self.assertGreater(len(paths), 4, paths)
        file = root.parent / "rows.jsonl"
        for verb in (["export", "--data-dir", str(root), str(file)], ["fsck", "--data-dir", str(root), "--compact"]):
            done = subprocess.run([*self.OPEN, str(BINARY), *verb], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
        copy = root.parent / "copy"
        subprocess.run([*self.OPEN, str(BINARY), "import", "--data-dir", str(copy), str(file)], check=True,
                       capture_output=True)
        for path in [*paths, file, root, *root.rglob("*"), copy, *copy.rglob("*")]:
            if path.exists():
                self.assert_private(path)

    def test_a_directory_that_others_may_read_is_said(self):
        node = self.node(start=False)
        os.mkdir(node.data_dir, 0o755)
        os.chmod(node.data_dir, 0o755)
        node.start()
        (line,) = node.logged("can be read by every user of this machine")
        self.assertIn(node.data_dir, line)
        self.assertIn("chmod", line)

    def test_it_writes_no_core(self):
        node = self.node()
        with open(f"/proc/{node.process.pid}/limits", encoding="ascii") as limits:
            (line,) = [line for line in limits if line.startswith("Max core file size")]
        self.assertEqual(line.split()[4:6], ["0", "0"])


class Unit(NodeCase):
    """`deploy/tollgate.service`."""

    LEAST = {
        "Type": "notify", "User": "tollgate", "StateDirectory": "tollgate", "StateDirectoryMode": "0700",
        "NoNewPrivileges": "yes", "ProtectSystem": "strict", "UMask": "0077", "LimitCORE": "0", "Restart": "on-failure",
    }
    # systemd-analyze: 0 is locked, 10 is open; what may be reached over the network is 1.4.
    EXPOSURE = 1.2

    def settings(self):
        lines = UNIT.read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    def test_it_says_what_the_node_needs_and_takes_the_rest_away(self):
        settings = self.settings()
        self.assertLessEqual(self.LEAST.items(), settings.items())
        for key in ("MemoryMax", "LimitNOFILE", "TimeoutStopSec", "WatchdogSec"):
            self.assertIn(key, settings)

    def test_systemd_takes_it(self):
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            self.skipTest("systemd-analyze is not installed (Debian: systemd)")
        directory = pathlib.Path(tempfile.mkdtemp(prefix="tollgate-unit-"))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        unit = directory / UNIT.name
        unit.write_text(UNIT.read_text(encoding="utf-8").replace("/usr/local/bin/tollgate", str(BINARY)), encoding="utf-8")
        verified = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
        self.assertEqual((verified.returncode, verified.stderr), (0, ""))
        judged = subprocess.run(
            [analyze, "security", "--offline=true", f"--threshold={int(self.EXPOSURE * 10)}", str(unit)],
            capture_output=True, text=True, check=False)
        self.assertEqual(judged.returncode, 0, judged.stdout[-500:])
