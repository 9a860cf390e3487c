"""The data directory disappears under a running node, or its disk hangs: nothing is promised that is not kept."""

import contextlib
import os
import shutil
import threading
import time

import grpc

from case import NodeCase, fresh
from node import eventually
from plane import metric, ready, refusal

CONFIG = "[bounds]\nstore_fault_grace_ms = 1500\n"
SPEND = [{"meter": "spend", "amount": 1}]


class Load:
    """Durable calls one after the other, on threads of their own; remembers which were acknowledged, and when."""

    THREADS = 4

    def __init__(self, gate):
        self._gate, self._stop = gate, threading.Event()
        self.acknowledged, self.refused = [], []
        self._threads = [threading.Thread(target=self._run, args=(fresh("load"),)) for _ in range(self.THREADS)]
        for thread in self._threads:
            thread.start()

    def _run(self, org):
        number = 0
        while not self._stop.is_set():
            number += 1
            began = time.monotonic()
            try:
                self._gate.Record(org=org, request_id=str(number), usage=SPEND, timeout=2)
            except grpc.RpcError as error:
                self.refused.append((error.details(), org, str(number)))
                continue
            self.acknowledged.append((began, org, str(number)))

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def begun_after(self, instant):
        return [call for call in self.acknowledged if call[0] > instant]


class VanishedDirectory(NodeCase):
    """I14, R-OPS-7: what the path names is not what the node holds."""

    def loaded(self):
        node = self.node(config=CONFIG)
        plane = self.plane(node)
        load = Load(plane.gate)
        self.addCleanup(load.stop)
        eventually(lambda: len(load.acknowledged) > 20, "calls under way")
        return node, plane, load

    def is_noticed(self, node, plane, load):
        """Nothing is acknowledged any more, health says so at once, and the node ends with 1."""
        done = time.monotonic()
        self.addCleanup(node.kill)
        eventually(lambda: ready(node.http)[0] == 503, "NOT_SERVING", within=2)
        eventually(lambda: not plane.is_serving(), "health follows")
        self.assertIn("deleted, renamed or replaced while in use", ready(node.http)[1])
        self.assertIn(node.data_dir, ready(node.http)[1])
        self.assertEqual(metric(node.http, "tollgate_store_faults_total"), 1)
        refused = refusal(plane.gate.Record, org="later", request_id="1", usage=SPEND)
        self.assertEqual((refused.code.name, refused.reason), ("UNAVAILABLE", "STORE_UNAVAILABLE"))
        load.stop()
        self.assertEqual(load.begun_after(done), [], "acknowledged into files that nobody finds again")
        self.assertEqual(node.ended(), 1)

    def test_a_deleted_directory_ends_every_promise_and_the_next_start_says_that_it_is_new(self):
        node, plane, load = self.loaded()
        shutil.rmtree(node.data_dir)
        self.is_noticed(node, plane, load)
        plane = self.plane(node.start())
        self.assertEqual(list(plane.admin.ListOrgs(page_size=10).orgs), [])
        self.assertTrue(node.logged("the data directory is new"))

    def test_a_renamed_directory_that_is_put_back_has_all_that_was_acknowledged(self):
        node, plane, load = self.loaded()
        aside = node.data_dir + ".aside"
        os.rename(node.data_dir, aside)
        self.is_noticed(node, plane, load)
        self.assertFalse(os.path.exists(node.data_dir), "nothing was made in its place")
        os.rename(aside, node.data_dir)
        plane = self.plane(node.start())
        for _, org, request_id in load.acknowledged:
            with self.subTest(org=org, request_id=request_id):
                self.assertTrue(plane.gate.Record(org=org, request_id=request_id, usage=SPEND).replayed)
        # A thousand calls a second may be refused by now; those in flight when it failed are the first.
        for details, org, request_id in load.refused[:200]:
            with self.subTest(org=org, request_id=request_id, details=details):
                replayed = plane.gate.Record(org=org, request_id=request_id, usage=SPEND).replayed
                self.assertFalse(replayed and "nothing was recorded" in details)
        self.assertTrue(any("may have been carried out" in details for details, *_ in load.refused), load.refused[:5])

    def test_files_that_are_replaced_by_their_copies_are_noticed_without_a_call(self):
        for name in ("sled/db", "committed", "lock"):
            with self.subTest(name):
                node = self.node(config=CONFIG)
                plane = self.plane(node)
                self.addCleanup(node.kill)
                file = os.path.join(node.data_dir, name)
                shutil.copy(file, file + ".copy")
                os.replace(file + ".copy", file)
                eventually(lambda: ready(node.http)[0] == 503, "NOT_SERVING", within=2)
                eventually(lambda: not plane.is_serving(), "health follows")
                self.assertEqual(node.stop(), 1, "SIGTERM does not make it right")


class HungDisk(NodeCase):
    """I14, R-OPS-7: one sync takes seconds."""

    SECONDS = 4

    def test_health_follows_the_disk(self):
        if shutil.which("strace") is None:
            self.skipTest("a disk that hangs is made with strace, which is not installed")
        # Only the committer syncs data, so it is the fifth group that hangs.
        inject = f"fdatasync:delay_enter={self.SECONDS * 1_000_000}:when=5"
        strace = ["strace", "-D", "-f", "--seccomp-bpf", "-q", "-o", "/dev/null", "--trace=fdatasync"]
        node = self.node(under=[*strace, f"--inject={inject}"])
        plane = self.plane(node)
        numbers = iter(range(1000))

        def record():
            plane.gate.Record(org="acme", request_id=str(next(numbers)), usage=SPEND)

        def records():
            # The one that waits for the disk runs into its deadline.
            with contextlib.suppress(grpc.RpcError):
                while next(numbers) < 100:
                    record()

        waiting = threading.Thread(target=records)
        waiting.start()
        self.addCleanup(waiting.join)
        eventually(lambda: ready(node.http)[0] == 503, "NOT_SERVING", within=self.SECONDS)
        eventually(lambda: not plane.is_serving(), "health follows")
        self.assertIn("store_stall_ms", ready(node.http)[1])
        self.assertGreaterEqual(metric(node.http, "tollgate_commit_group_oldest_ms"), 2000)
        self.assertEqual(metric(node.http, "tollgate_serving"), 0)
        self.assertIn("store_stall_ms", plane.admin.GetNode().health)

        eventually(lambda: ready(node.http)[0] == 200, "SERVING again", within=2 * self.SECONDS)
        plane.wait_until_serving()
        record()
        self.assertEqual(metric(node.http, "tollgate_store_stalls_total"), 1)
        self.assertEqual(metric(node.http, "tollgate_store_faults_total"), 0)
        self.assertEqual(len(node.logged("does not answer a commit group")), 1)
        self.assertEqual(len(node.logged("the store answers again")), 1)
        self.assertEqual(node.stop(), 0)
