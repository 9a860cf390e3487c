"""deploy/haproxy and deploy/envoy, with single nodes behind them: who gets calls, and who does not."""

import collections
import threading
import time
import unittest

import grpc

from balancer import BALANCERS
from case import NodeCase, fresh
from node import eventually
from plane import Plane, Refusal

NODES = ("n1", "n2", "n3")
# So long that the balancers notice, and that a test sees whether calls still come.
NOTICE = {"TOLLGATE__BOUNDS__DRAIN_NOTICE_MS": "20000"}


class Balanced(NodeCase):
    """R-OPS-1: health is what they ask."""

    def setUp(self):
        self.nodes = {name: self.node(config=f'[node]\nname = "{name}"\n', environment=NOTICE) for name in NODES}

    def balanced(self, kind):
        balancer = BALANCERS[kind]([(name, node.grpc) for name, node in self.nodes.items()])
        self.addCleanup(balancer.close)
        balancer.wait_until(NODES)
        plane = Plane(balancer.address)
        self.addCleanup(plane.close)
        return balancer, plane

    def answered_by(self, plane, count=30):
        return collections.Counter(plane.gate.Acquire(org=fresh("org")).node for _ in range(count))

    def settled(self, plane, names):
        """What the balancer says of itself is ahead of what it does by a moment."""
        def holds():
            try:
                return set(self.answered_by(plane)) == set(names)
            except grpc.RpcError:
                return False

        eventually(holds, f"{sorted(names)} answer")

    def stays(self, balancer, names, seconds=3.0):
        """No check of a healthy node fails, however often it is made."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.assertEqual(balancer.healthy(), set(names))
            time.sleep(0.05)

    def check(self, kind):
        balancer, plane = self.balanced(kind)
        self.settled(plane, NODES)
        # One connection of one caller, and each node has its share.
        counts = self.answered_by(plane)
        self.assertEqual(set(counts), set(NODES))
        self.assertLessEqual(max(counts.values()) - min(counts.values()), 6, counts)
        self.stays(balancer, NODES)
        self.drained(balancer, plane)
        self.killed(balancer, plane)

    def drained(self, balancer, plane):
        """A node that drains gets no new calls, and a stream that it has open goes on."""
        node = self.nodes["n1"]
        streams, more = [], threading.Event()
        self.addCleanup(more.set)

        def asked():
            yield {"tag": 1, "acquire": {"org": "stream"}}
            more.wait(60)
            yield {"tag": 2, "acquire": {"org": "stream", "mode": "MODE_CHECK_ONLY"}}

        for _ in NODES:
            stream = plane.gate.AcquireStream(asked(), timeout=60)
            streams.append((stream, next(stream).decision.node))
        self.assertEqual({name for _, name in streams}, set(NODES))
        process = node.process
        process.terminate()
        balancer.wait_until({"n2", "n3"}, within=10.0)
        self.settled(plane, {"n2", "n3"})
        self.answered_by(plane)
        self.assertIsNone(process.poll(), "it still drains")
        more.set()
        for stream, name in streams:
            self.assertEqual(next(stream).tag, 2, f"the stream of {name} was cut")
            stream.cancel()
        node.kill()

    def killed(self, balancer, plane):
        """Calls that were under way may fail, with an error that is retried; soon none does."""
        self.nodes["n2"].kill()
        errors = collections.Counter()

        def alone():
            try:
                return plane.gate.Acquire(org=fresh("org"), timeout=5).node == "n3"
            except grpc.RpcError as error:
                errors[Refusal(error).code] += 1
                return False

        for _ in range(20):
            eventually(alone, "an answer of the one that is left")
        self.assertLessEqual(set(errors), {grpc.StatusCode.UNAVAILABLE})
        balancer.wait_until({"n3"})
        self.settled(plane, {"n3"})

    def test_haproxy(self):
        self.check("haproxy")

    def test_envoy(self):
        self.check("envoy")


class Configurations(unittest.TestCase):
    def test_they_are_valid_as_they_are(self):
        for name, kind in BALANCERS.items():
            with self.subTest(name):
                checked = kind.validated(kind.FILE)
                self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)


if __name__ == "__main__":
    unittest.main()
