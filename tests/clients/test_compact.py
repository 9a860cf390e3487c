"""Compaction: space comes back, and what a purge removed is gone from the bytes, by `tollgate fsck --compact` on a
stopped node and by itself on one that runs."""

import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from case import NodeCase, fresh
from node import BINARY, STOP_WITHIN, eventually
from plane import metric

SPEND = [{"meter": "spend", "amount": 1}]
PURGED = 60
# Orgs that stay, beside which a running node is compacted; more of them for figures.
ORGS = int(os.environ.get("TOLLGATE_COMPACT_ORGS", "2000"))


def holds(directory, text):
    """Whether a file has the text; a file may go while it is looked for."""
    for path in pathlib.Path(directory).rglob("*"):
        try:
            if path.is_file() and text.encode() in path.read_bytes():
                return True
        except FileNotFoundError:
            pass
    return False


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
        return holds(self.node_.data_dir, text)

    def compact(self):
        return self.node_.run("fsck", "--compact", "--data-dir", self.node_.data_dir)

    def is_as_it_was(self):
        plane = self.plane(self.node_.start())
        self.assertEqual([each.org for each in plane.admin.ListOrgs(page_size=10).orgs], ["stays"])
        self.assertTrue(plane.gate.Record(org="stays", request_id="1", usage=SPEND).replayed)
        self.assertEqual(plane.admin.Audit().drifted, 0)
        plane.close()
        self.node_.stop()
        # Until it is compacted it is known that something was purged.
        self.assertEqual(sorted({*os.listdir(self.node_.data_dir)} - {"purged"}), ["committed", "lock", "sled"])

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


class Running(NodeCase):
    """R-OPS-16: `bounds.purged_within_ms`."""

    WITHIN = 6_000

    def start(self, **options):
        bounds = ("new_orgs_per_minute = 10000000", "new_orgs_per_caller = 10000000", f"purged_within_ms = {self.WITHIN}")
        return self.node(config="\n".join(["[bounds]", *bounds, ""]), **options)

    def left(self, node, text="forgotten-"):
        def is_gone():
            return not os.path.exists(os.path.join(node.data_dir, "purged")) and not holds(node.data_dir, text)

        eventually(is_gone, f"{text} leaves the files", within=30 + ORGS / 1000)

    def test_bytes_of_a_purge_leave_the_files_in_time_and_nobody_waits(self):
        node = self.start()
        plane = self.plane(node)
        for number in range(PURGED):
            plane.gate.Record(org=f"forgotten-{number}", request_id="secret", usage=SPEND, scope="workspace/of-nobody")
        for first in range(0, ORGS, 500):
            items = [{"org": f"beside-{number}", "cost": SPEND} for number in range(first, min(first + 500, ORGS))]
            plane.gate.AcquireBatch(items=items)
        waits, stop = [], threading.Event()

        def ask():
            while not stop.is_set():
                began = time.monotonic()
                plane.gate.Record(org="stays", request_id=fresh(), usage=SPEND)
                waits.append(1000 * (time.monotonic() - began))

        asking = threading.Thread(target=ask)
        asking.start()
        self.addCleanup(asking.join)
        self.addCleanup(stop.set)
        time.sleep(1)
        quiet = len(waits)
        plane.admin.RenameOrg(org="forgotten-0", to="forgotten-name", request_id="n")
        receipt = plane.admin.PurgeOrg(org="forgotten-0", request_id="p").receipt
        self.assertEqual(receipt.bytes_gone_by_ms, receipt.deleted_at_ms + self.WITHIN)
        shown = node.run("org", "delete", "forgotten-1", "--yes", "--addr", node.grpc).stdout
        self.assertIn("its bytes leave the disk by", shown)
        for number in range(2, PURGED):
            plane.admin.PurgeOrg(org=f"forgotten-{number}", request_id="p")
        self.assertTrue(holds(node.data_dir, "forgotten-7"), "the engine keeps what was removed, or this test is blind")
        state = plane.admin.GetNode()
        self.assertEqual(state.purged_gone_by_ms, state.purged_since_ms + self.WITHIN)
        self.assertIn("its bytes leave the disk by", node.run("node", "--addr", node.grpc).stdout)
        began = time.monotonic()
        self.left(node)
        took = time.monotonic() - began
        for text in ("secret", "of-nobody"):
            self.assertFalse(holds(node.data_dir, text), text)
        self.assertEqual(plane.admin.GetNode().purged_since_ms, 0)
        # It is counted behind the last byte.
        eventually(lambda: metric(node.http, "tollgate_compactions_total") >= 1, "a compaction is counted")
        self.assertEqual(metric(node.http, "tollgate_compactions_failed_total"), 0)
        self.assertEqual(metric(node.http, "tollgate_purged_late"), 0)
        stop.set()
        asking.join()
        before, during = sorted(waits[:quiet]), sorted(waits[quiet:])
        said = [f"p50 {of[len(of) // 2]:.1f}, p99 {of[len(of) * 99 // 100]:.1f}, at most {of[-1]:.1f} ms" for of in (before, during)]
        print(f"{self.id()}: {ORGS} orgs beside, {took:.1f} s; a Record took {said[0]} before, and {said[1]} meanwhile")
        self.assertLess(during[-1], 5000, "a Record waited for a compaction")
        used = plane.admin.GetOrg(org="stays")
        plane.close()
        node.kill()
        again = self.plane(node.start())
        self.assertEqual(again.admin.Audit().drifted, 0)
        self.assertEqual(again.admin.GetOrg(org="stays").ledgers, used.ledgers)
        self.assertTrue(again.gate.Record(org="forgotten-7", request_id="secret", usage=SPEND))

    def test_what_is_due_is_done_after_a_restart(self):
        node = self.node(config="[bounds]\npurged_within_ms = 2592000000\n")
        plane = self.plane(node)
        plane.gate.Record(org="forgotten-1", request_id="1", usage=SPEND)
        plane.admin.PurgeOrg(org="forgotten-1", request_id="p")
        plane.close()
        node.kill()
        self.assertTrue(holds(node.data_dir, "forgotten-1"))
        node.write_config(f"[bounds]\npurged_within_ms = {self.WITHIN}\n")
        node.start()
        self.left(node)

    def test_killed_at_any_moment_of_a_compaction_nothing_is_lost(self):
        node = self.start()
        node.write_config("[bounds]\npurged_within_ms = 1000\n")
        known, compacted = {}, 0
        for _ in range(8):
            node.kill()
            plane = self.plane(node.start())
            # What was acknowledged before the kill is there, and only once.
            for request_id, org in known.items():
                self.assertTrue(plane.gate.Record(org=org, request_id=request_id, usage=SPEND).replayed, request_id)
            self.assertEqual(plane.admin.Audit().drifted, 0)
            ends = time.monotonic() + random.uniform(0.5, 2.0)
            number = 0
            while time.monotonic() < ends:
                number += 1
                org = f"forgotten-{fresh()}"
                plane.gate.Record(org=org, request_id="1", usage=SPEND)
                plane.admin.PurgeOrg(org=org, request_id="p")
                request_id, org = fresh(), f"stays-{number % 7}"
                plane.gate.Record(org=org, request_id=request_id, usage=SPEND)
                known[request_id] = org
            compacted += metric(node.http, "tollgate_compactions_total")
            plane.close()
        self.assertGreater(compacted, 3, "too few compactions to be killed")
        self.left(node)

    def test_killed_between_two_steps_of_the_exchange_nothing_is_lost(self):
        if shutil.which("strace") is None:
            self.skipTest("a node is killed between two steps with strace, which is not installed")
        node = self.start()
        plane = self.plane(node)
        killed = 0
        for number in range(300):
            plane.gate.Record(org="stays", request_id=f"s{number}", usage=SPEND)
        plane.close()
        node.kill()
        calls = "rename,renameat,renameat2,rmdir"
        # Counted in each thread: the first of a start is the file `committed`.
        for step in range(2, 8):
            node.under = ["strace", "-D", "-f", "-q", "-o", "/dev/null", f"--trace={calls}",
                          f"--inject={calls}:signal=SIGKILL:when={step}"]
            plane = self.plane(node.start())
            plane.gate.Record(org="forgotten-1", request_id="1", usage=SPEND)
            plane.admin.PurgeOrg(org="forgotten-1", request_id="p")

            def is_over():
                return node.process.poll() is not None or not os.path.exists(os.path.join(node.data_dir, "purged"))

            eventually(is_over, "it is compacted or killed", within=30)
            killed += node.process.poll() == -signal.SIGKILL
            plane.close()
            node.kill()
            node.under = []
            plane = self.plane(node.start())
            self.assertTrue(plane.gate.Record(org="stays", request_id="s299", usage=SPEND).replayed)
            self.assertEqual(plane.admin.Audit().drifted, 0)
            self.left(node)
            plane.close()
            node.kill()
        self.assertGreaterEqual(killed, 3, "the steps were not met")
