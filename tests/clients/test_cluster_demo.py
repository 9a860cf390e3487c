"""scripts/cluster-demo: it comes up, answers while a node is dead, and leaves nothing behind."""

import glob
import os
import re
import shutil
import signal
import subprocess
import unittest

from node import ROOT, TARGET
from postgres import free_port

SCRIPT = ROOT / "scripts" / "cluster-demo"
WITHIN = 180
UP = re.compile(r"n(\d) is up, process (\d+)")


class Demo(unittest.TestCase):
    def demo(self, *flags):
        self.left_before = set(glob.glob("/tmp/tollgate-demo-*"))
        environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET), "TMPDIR": "/tmp"}
        command = [str(SCRIPT), "--port", str(free_port()), *flags]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(WITHIN)
        process.stdin.close()
        process.stdout.close()

    def assertNothingLeft(self, said):
        started = {int(pid) for _, pid in UP.findall(said)}
        self.assertGreaterEqual(len(started), 3, said)
        self.assertEqual([pid for pid in started if os.path.exists(f"/proc/{pid}")], [], "nodes that still run")
        self.assertEqual(set(glob.glob("/tmp/tollgate-demo-*")) - self.left_before, set())

    def test_it_checks_itself(self):
        process = self.demo("--check")
        said, _ = process.communicate(timeout=WITHIN)
        self.assertEqual(process.returncode, 0, said)
        self.assertIn("all was answered", said)
        self.assertNothingLeft(said)

    def test_a_node_is_killed_and_started_again_by_command(self):
        process = self.demo()
        said, _ = process.communicate("kill 2\nask acme\nshow\nstart 2\nshow\nnonsense\nquit\n", timeout=WITHIN)
        self.assertEqual(process.returncode, 0, said)
        self.assertIn("n2 has ended", said)
        self.assertEqual([number for number, _ in UP.findall(said)], ["1", "2", "3", "2"], said)
        self.assertRegex(said, r"allowed +acme")
        self.assertNothingLeft(said)

    def test_an_interrupt_ends_everything(self):
        process = self.demo()
        said = ""
        for line in process.stdout:
            said += line
            if "Ctrl-C ends everything" in line:
                break
        # A node that somebody else kills is noticed by nobody but the cluster.
        _, pid = UP.findall(said)[1]
        os.kill(int(pid), signal.SIGKILL)
        process.stdin.write("ask acme\n")
        process.stdin.flush()
        for line in process.stdout:
            said += line
            if "allowed" in line:
                break
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(WITHIN), 0, said)
        self.assertNothingLeft(said)

    def test_shellcheck_finds_nothing(self):
        if not shutil.which("shellcheck"):
            self.skipTest("shellcheck is missing; scripts/test installs it as root (Debian: shellcheck)")
        checked = subprocess.run(["shellcheck", "-x", str(SCRIPT)], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(checked.returncode, 0, checked.stdout)


if __name__ == "__main__":
    unittest.main()
