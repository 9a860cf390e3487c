"""The unit of systemd beside what test_supervised.py says of it: its account, its keys, and the system calls that it needs."""

import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from node import BINARY, ROOT, Node, eventually

DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "tollgate.service"


def program(name, package):
    found = shutil.which(name)
    if found is None:
        raise unittest.SkipTest(f"{name} is not installed (Debian: {package})")
    return found


def ran(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


class Unit(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tollgate-unit-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def test_the_account_is_the_one_of_the_unit(self):
        said = ran(program("systemd-sysusers", "systemd"), "--dry-run", f"--root={self.folder}", str(DEPLOY / "tollgate.sysusers"))
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertRegex(said.stdout + said.stderr, "Creating user 'tollgate'")
        settings = UNIT.read_text(encoding="utf-8")
        self.assertIn("\nUser=tollgate\nGroup=tollgate\nStateDirectory=tollgate\n", settings)

    def test_systemd_takes_the_keys(self):
        analyze = program("systemd-analyze", "systemd")
        unit, more = self.folder / UNIT.name, self.folder / f"{UNIT.name}.d" / "credentials.conf"
        unit.write_text(UNIT.read_text(encoding="utf-8").replace("/usr/local/bin/tollgate", str(BINARY)), encoding="utf-8")
        more.parent.mkdir()
        text = (DEPLOY / "tollgate-credentials.conf").read_text(encoding="utf-8")
        more.write_text(text, encoding="utf-8")
        verified = ran(analyze, "verify", str(unit))
        self.assertEqual((verified.returncode, verified.stderr), (0, ""))
        more.write_text(text.replace("LoadCredential=tls", "LoadCredentials=tls"), encoding="utf-8")
        self.assertIn("LoadCredentials", ran(analyze, "verify", str(unit)).stderr, "it reads the drop-in")
        named = set(re.findall(r"^LoadCredential=([\w.-]+):", text, re.MULTILINE))
        self.assertLessEqual(set(re.findall(r"/run/credentials/tollgate\.service/([\w.-]+)", text)), named)

    def test_it_has_time_to_end_and_is_started_again_without_end(self):
        settings = UNIT.read_text(encoding="utf-8")
        example = (ROOT / "tollgate.example.toml").read_text(encoding="utf-8")
        notice, drain = (int(re.search(rf"^{key} = (\d+)$", example, re.MULTILINE)[1]) for key in ("drain_notice_ms", "drain_ms"))
        within, starts = (int(re.search(rf"^{key}=(\d+)$", settings, re.MULTILINE)[1]) for key in ("TimeoutStopSec", "StartLimitIntervalSec"))
        self.assertGreater(within, (notice + 2 * drain) / 1000 + 30)
        self.assertEqual(starts, 0)

    def test_the_node_makes_no_system_call_that_the_unit_forbids(self):
        analyze, strace = program("systemd-analyze", "systemd"), program("strace", "strace")
        allowed = self.calls(analyze, "@system-service")
        for line in re.findall(r"^SystemCallFilter=~(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE):
            for group in line.split():
                allowed -= self.calls(analyze, group)
        self.assertIn("fdatasync", allowed)
        self.assertFalse({"setrlimit", "mount", "sched_setaffinity", "ptrace"} & allowed)
        made = self.made(strace)
        self.assertTrue({"fsync", "fdatasync"} & made, "it has written")
        self.assertEqual(made - allowed, set())

    def calls(self, analyze, group):
        """Every system call of a group, and of the groups in it."""
        said = ran(analyze, "syscall-filter", "--no-pager", group)
        self.assertEqual(said.returncode, 0, said.stderr)
        words = [line.strip() for line in said.stdout.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
        inner = [word for word in words if word.startswith("@")]
        return set(words) - set(inner) | {call for each in inner for call in self.calls(analyze, each)}

    def made(self, strace):
        """The system calls of a node that starts, decides, records, reloads and ends."""
        table = self.folder / "calls"
        node = Node(under=[strace, "-D", "-f", "-qq", "-c", "-U", "name", "-o", str(table)])
        self.addCleanup(node.close)
        node.start()
        for verb in (["acquire", "acme", "--reserve", "compute=1"], ["record", "acme", "--usage", "bytes=5"], ["status", "acme"], ["reload"]):
            said = node.run(*verb, "--addr", node.grpc)
            self.assertEqual(said.returncode, 0, (verb, said.stdout, said.stderr))
        node.stop()
        lines = eventually(lambda: table.exists() and table.read_text(encoding="ascii").splitlines(), "strace has ended")
        return {line.strip() for line in lines if re.fullmatch(r"\s*[a-z0-9_]+\s*", line)} - {"syscall", "total"}


if __name__ == "__main__":
    unittest.main()
