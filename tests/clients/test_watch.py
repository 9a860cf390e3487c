"""A client watches events as they happen: each once and in order, over restarts, from any node."""

import json
import subprocess
import threading
import time
import unittest

import grpc

from case import NodeCase, SharedNodeCase, fresh
from cluster_case import ClusterCase
from node import eventually
from plane import Plane, refusal

LONG = 3600.0


class Reader:
    """Watches on a thread of its own, and goes on behind the last number where a stream ends."""

    def __init__(self, address, after=0, **request):
        """`address()` is where the node is now."""
        self.address, self.after, self.request = address, after, request
        self.events, self.gaps, self.beats, self.streams = [], [], [], 0
        self._stop = threading.Event()
        self._plane = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stop.is_set():
            try:
                self._plane = Plane(self.address())
                behind = {"after_number": self.after} if self.after is not None else {}
                self._read(self._plane.admin.WatchEvents(timeout=LONG, **behind, **self.request))
            except (grpc.RpcError, ValueError, AssertionError):
                time.sleep(0.05)

    def _read(self, stream):
        self.streams += 1
        for answer in stream:
            what = answer.WhichOneof("what")
            getattr(self, {"event": "events", "gap": "gaps", "heartbeat": "beats"}[what]).append(getattr(answer, what))
            if self.after is None:
                continue
            if what == "event":
                self.after = answer.event.number
            elif what == "gap":
                self.after = answer.gap.to_number

    def numbers(self):
        return [event.number for event in self.events]

    def close(self):
        self._stop.set()
        if self._plane:
            self._plane.close()
        self._thread.join(15)


class Watch(NodeCase):
    """R-EXPL-3"""

    def reader(self, address, **request):
        reader = Reader(address, **request)
        self.addCleanup(reader.close)
        return reader

    def steady(self):
        """A node that keeps its address over restarts."""
        node = self.node()
        address = node.grpc
        own = ["--config", node.config_file, "--data-dir", node.data_dir]
        node.arguments = lambda: ["serve", *own, "--grpc", address, "--http", "127.0.0.1:0"]
        return node

    def operate(self, plane, org, count):
        """So many events, each acknowledged once."""
        for _ in range(count // 2):
            plane.admin.Freeze(org=org, request_id=fresh("f"), reason="a test")
            plane.admin.Unfreeze(org=org, request_id=fresh("u"))

    def test_each_event_comes_once_and_in_order_over_kills_of_the_node(self):
        node = self.steady()
        reader = self.reader(lambda: node.grpc, org="acme")
        for _ in range(5):
            plane = Plane(node.grpc)
            self.operate(plane, "acme", 12)
            plane.close()
            node.kill()
            node.start()
        plane = self.plane(node)
        newest = plane.admin.ListEvents(org="acme").newest_number
        self.assertEqual(newest, 60)
        eventually(lambda: len(reader.events) >= newest, "every event was received")
        self.assertEqual(reader.numbers(), list(range(1, newest + 1)), "no gap, and none twice")
        self.assertEqual(reader.gaps, [])
        self.assertGreater(reader.streams, 1)

    def test_what_is_over_before_it_was_read_is_a_gap_that_is_named(self):
        node = self.node(config="[bounds]\noperator_events_per_org = 10\n")
        plane = self.plane(node)
        self.operate(plane, "acme", 100)
        stream = plane.admin.WatchEvents(org="acme", after_number=5, timeout=LONG)
        first, gap = next(stream), next(stream).gap
        self.assertEqual((first.heartbeat.after_number, gap.org), (5, "acme"))
        self.assertEqual((gap.from_number, gap.to_number, gap.restarted), (6, 90, False))
        self.assertEqual([next(stream).event.number for _ in range(10)], list(range(91, 101)))
        # Nobody reads now, and nobody waits for it.
        self.operate(plane, "acme", 4000)
        seen, gaps = [], []
        while not seen or seen[-1] < 4100:
            answer = next(stream)
            what = answer.WhichOneof("what")
            if what == "event":
                seen.append(answer.event.number)
            elif what == "gap":
                gaps.append(answer.gap)
                seen.extend(range(answer.gap.from_number, answer.gap.to_number + 1))
        self.assertEqual(seen, list(range(101, 4101)), "each number is an event or in a gap")
        stream.cancel()

    def test_a_stream_ends_with_the_node_and_the_node_with_a_stream(self):
        node = self.node()
        stream = self.plane(node).admin.WatchEvents(org="acme", timeout=LONG)
        next(stream)
        self.assertEqual(node.stop(), 0)
        try:
            self.assertEqual([answer.WhichOneof("what") for answer in stream], [])
        except grpc.RpcError as error:
            self.assertEqual(error.code().name, "UNAVAILABLE")

    def test_the_command_prints_what_comes_over_a_kill(self):
        node = self.steady()
        command = [str(node.binary), "events", "acme", "--follow", "--after", "0", "-o", "json", "--addr", node.grpc]
        followed = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                    stdin=subprocess.DEVNULL)
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(iter(followed.stdout.readline, "")))
        reader.start()
        self.addCleanup(reader.join, 15)
        self.addCleanup(followed.kill)
        self.operate(self.plane(node), "acme", 4)
        eventually(lambda: len(lines) == 4, "four lines")
        node.kill()
        node.start()
        self.operate(self.plane(node), "acme", 4)
        eventually(lambda: len(lines) == 8, "four more", within=30)
        self.assertEqual([int(json.loads(line)["number"]) for line in lines], list(range(1, 9)))
        followed.terminate()
        self.assertEqual(followed.wait(15), 0)


class Fields(SharedNodeCase):
    def test_what_does_not_fit_is_refused_by_name(self):
        for request, field in (
            ({"org": "a b"}, "org"), ({"kinds": ["operator", "weather"]}, "kinds[1]"), ({"since_ms": -1}, "since_ms"),
            ({"after_number": 1}, "after_number"), ({"org": "acme", "after_number": -1}, "after_number"),
            ({"org": "acme", "after_number": 1, "since_ms": 5}, "after_number"),
        ):
            with self.subTest(request):
                error = refusal(lambda asked=request: next(self.admin.WatchEvents(**asked)))
                self.assertEqual((error.code.name, error.fields), ("INVALID_ARGUMENT", [field]), error.message)


class Cluster(ClusterCase):
    """R-EXPL-3: whichever node is asked."""

    def test_any_node_has_the_events_of_every_org_over_the_death_of_an_owner(self):
        cluster = self.cluster(nodes=3)
        names = [fresh("org") for _ in range(12)]
        readers = [Reader(lambda: cluster.nodes["n1"].grpc, org=name) for name in names]
        # From before the first event on.
        every = Reader(lambda: cluster.nodes["n2"].grpc, after=None, since_ms=int(time.time() * 1000) - 1000)
        for reader in (*readers, every):
            self.addCleanup(reader.close)
        admin = cluster.admin("n1")

        def operate():
            for name in names:
                admin.Freeze(org=name, request_id=fresh("f"), reason="a test")
                admin.Unfreeze(org=name, request_id=fresh("u"))

        operate()
        cluster.kill("n3")
        cluster.wait_until_owned()
        operate()
        for reader in readers:
            eventually(lambda reader=reader: len(reader.events) >= 4, "all of an org", within=60)
            self.assertEqual((reader.numbers(), reader.gaps), ([1, 2, 3, 4], []))
        wanted = {(name, number) for name in names for number in range(1, 5)}
        eventually(lambda: {(event.org, event.number) for event in every.events} >= wanted, "all of all", within=60)
        self.assertEqual([(event.org, event.number) for event in every.events if event.org not in names], [])


if __name__ == "__main__":
    unittest.main()
