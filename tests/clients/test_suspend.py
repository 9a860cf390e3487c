"""A machine that was suspended: the wall clock and the time since boot went on, the monotonic clock did not.

No test can suspend the machine that runs it, so a library answers the node's clock_gettime as after a suspension.
"""

import unittest

from case import NodeCase, fresh
from node import eventually
from plane import code_name, limit
from sessions import Client, state

HOUR = 3600
CONFIG = """
[rate]
amount = 5
[defaults]
plan = "standard"
"""


class Suspended(NodeCase):
    def test_ten_hours_of_sleep_are_believed_at_once_and_leases_slept_too(self):
        """R-CLOCK-3, R-LEASE-1"""
        machine = self.clock(monotonic=False)
        node = self.node(clock=machine, config=CONFIG)
        calls = Client(self.plane(node))
        gate = calls.plane.gate
        calls.start("acme")
        calls.beat("acme", 30)
        self.assertEqual([gate.Acquire(org="full").allowed for _ in range(6)], [True] * 5 + [False])
        machine.sleep(10 * HOUR)
        answer = gate.Acquire(org="full")
        self.assertEqual((answer.allowed, limit(answer, "rate").used), (True, 1), "yesterday's window is over")
        node_now = calls.plane.admin.GetNode()
        self.assertEqual(node_now.clock, "steady")
        self.assertAlmostEqual(node_now.now_ms, machine.now_ms(), delta=5_000)
        self.assertFalse(node.logged("clock alarm"))
        self.assertEqual(state(calls.get("acme")), "RUNNING")
        self.assertEqual(code_name(calls.start("acme", "second")), "SESSION_LIMIT_REACHED")
        beat = calls.beat("acme", 30 + 10 * HOUR)
        self.assertEqual((beat.booked_ms, beat.disputed_ms), (10 * HOUR * 1000, 0), "it may have run on elsewhere")
        eventually(lambda: calls.plane.admin.GetNode().clock == "steady", "still")
        gate.Record(org="full", usage=[{"meter": "spend", "amount": 1}], request_id=fresh())


if __name__ == "__main__":
    unittest.main()
