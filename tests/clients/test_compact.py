"""`tollgate fsck --compact`: space comes back, and what a purge removed is gone from the bytes."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

from case import NodeCase
from node import BINARY, STOP_WITHIN

SPEND = [{"meter": "spend", "amount": 1}]
PURGED = 60


class Compact(NodeCase):
    """R-OPS-10"""

    def setUp(self):
        self.node_ = self.node()
        plane = self.plane(self.node_)

        def fill_and_purge(number):
            org = f"forgotten-{number}"
            for call in range(2):
                plane.gate.Record(org=org, request_id=f"secret-{call}", usage=SPEND, scope="workspace/of-nobody")
            plane.admin.PurgeOrg(org=org, request_id="p")

        with ThreadPoolExecutor(32) as threads:
            list(threads.map(fill_and_purge, range(PURGED)))
        plane.gate.Record(org="stays", request_id="1", usage=SPEND)
        plane.close()
        self.assertEqual(self.node_.stop(), 0)

    def holds(self, text):
        files = [path for path in pathlib.Path(self.node_.data_dir).rglob("*") if path.is_file()]
        return any(text.encode() in path.read_bytes() for path in files)

    def compact(self):
        return self.node_.run("fsck", "--compact", "--data-dir", self.node_.data_dir)

    def is_as_it_was(self):
        plane = self.plane(self.node_.start())
        self.assertEqual([each.org for each in plane.admin.ListOrgs(page_size=10).orgs], ["stays"])
        self.assertTrue(plane.gate.Record(org="stays", request_id="1", usage=SPEND).replayed)
        self.assertEqual(plane.admin.Audit().drifted, 0)
        plane.close()
        self.node_.stop()
        self.assertEqual(sorted(os.listdir(self.node_.data_dir)), ["committed", "lock", "sled"])

    def test_what_was_purged_is_in_no_byte_of_the_directory_afterwards(self):
        self.assertTrue(self.holds("forgotten-7"), "the engine keeps what was removed, or this test is blind")
        answer = self.compact()
        self.assertEqual(answer.returncode, 0, answer.stdout + answer.stderr)
        before, after = map(int, re.search(r"(\d+) bytes before, (\d+) bytes now", answer.stdout).groups())
        self.assertLessEqual(after, before)
        for text in ("forgotten-", "secret-", "of-nobody"):
            self.assertFalse(self.holds(text), text)
        self.is_as_it_was()

    def test_a_running_node_is_not_compacted(self):
        self.plane(self.node_.start())
        answer = self.compact()
        self.assertEqual(answer.returncode, 1)
        self.assertIn("used by another process", answer.stderr)

    def test_a_compaction_that_is_killed_anywhere_loses_nothing(self):
        if shutil.which("strace") is None:
            self.skipTest("a compaction is killed between two steps with strace, which is not installed")
        calls = "rename,renameat,renameat2,rmdir"
        killed = 0
        # Counted in each thread, so that the first is a file of the engine's own.
        for step in range(1, 5):
            strace = ["strace", "-f", "-q", "-o", "/dev/null", f"--trace={calls}"]
            strace.append(f"--inject={calls}:signal=SIGKILL:when={step}")
            command = [*strace, str(BINARY), "fsck", "--compact", "--data-dir", self.node_.data_dir]
            ended = subprocess.run(command, capture_output=True, timeout=STOP_WITHIN, check=False)
            killed += ended.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
            self.is_as_it_was()
        self.assertGreaterEqual(killed, 3, "the steps were not met")
        self.assertEqual(self.compact().returncode, 0)
        self.assertFalse(self.holds("forgotten-"))
        self.is_as_it_was()
