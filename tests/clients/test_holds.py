"""How many reservations are open on the node, and how many nobody settled: in memory or not, also after a crash."""

import unittest

from billing import LONG_CONNECTIONS
from case import NodeCase
from node import eventually
from plane import metric

SPEND = [{"meter": "spend", "amount": 5}]
HOUR = 3_600_000
PLAN = '[defaults]\nplan = "a"\n[plans.a]\ncompute = { calendar_month = "10h" }\nmax_sessions = "unlimited"\n'


class Holds(NodeCase):
    """R-OPS-3"""

    def started(self, config="", **environment):
        node = self.node(clock=self.clock(minute=10), config=config, environment=LONG_CONNECTIONS | environment)
        return node, self.plane(node)

    def hold(self, plane, org, ttl=HOUR):
        return plane.gate.Acquire(org=org, reserve=SPEND, reservation_ttl_ms=ttl).reservation_id

    def open(self, node):
        return metric(node.http, "tollgate_reservations_open")

    def expired(self, node):
        return metric(node.http, "tollgate_reservations_expired_total")

    def test_a_settled_one_is_neither_open_nor_expired(self):
        node, plane = self.started()
        kept, committed, released = (self.hold(plane, "acme") for _ in range(3))
        self.assertEqual(self.open(node), 3)
        plane.gate.Commit(org="acme", reservation_id=committed, request_id="c", actual=SPEND)
        self.assertEqual(self.open(node), 2)
        plane.gate.Release(org="acme", reservation_id=released, request_id="r")
        plane.gate.Extend(org="acme", reservation_id=kept, request_id="x", ttl_ms=2 * HOUR)
        self.assertEqual((self.open(node), self.expired(node)), (1, 0))
        self.assertEqual(len(plane.gate.ListReservations(org="acme").reservations), 1)

    def test_one_that_expires_is_counted_once_without_a_call(self):
        node, plane = self.started()
        hold = self.hold(plane, "acme", 60_000)
        self.hold(plane, "other")
        node.clock.step(90)
        eventually(lambda: self.expired(node) == 1 and self.open(node) == 1, "the expiry")
        plane.gate.Commit(org="acme", reservation_id=hold, request_id="late", actual=SPEND)
        self.assertEqual((self.open(node), self.expired(node)), (1, 1), "a late commit changes neither")

    def test_a_purge_leaves_none(self):
        node, plane = self.started()
        self.hold(plane, "acme")
        self.hold(plane, "other")
        plane.admin.PurgeOrg(org="acme", request_id="p")
        self.assertEqual(self.open(node), 1)

    def test_those_of_orgs_that_left_memory_count(self):
        node, plane = self.started(TOLLGATE__BOUNDS__IDLE_MS="100")
        for org in ["a", "b"]:
            self.hold(plane, org, 60_000)
        eventually(lambda: plane.admin.GetNode().resident_orgs == 0, "they leave memory")
        self.assertEqual(self.open(node), 2)
        self.hold(plane, "a")
        self.assertEqual(self.open(node), 3)
        eventually(lambda: plane.admin.GetNode().resident_orgs == 0, "it leaves memory")
        node.clock.step(90)
        eventually(lambda: self.expired(node) == 2 and self.open(node) == 1, "the expiry")

    def test_they_are_the_same_after_a_kill_with_no_org_in_memory(self):
        node, plane = self.started()
        for number in range(300):
            self.hold(plane, f"org{number}")
        settled = self.hold(plane, "org7")
        plane.gate.Release(org="org7", reservation_id=settled, request_id="r")
        self.hold(plane, "gone", 60_000)
        self.assertEqual(self.open(node), 301)
        node.kill()
        plane = self.plane(node.start())
        self.assertEqual((self.open(node), plane.admin.GetNode().resident_orgs), (301, 0))
        node.clock.step(90)
        eventually(lambda: self.open(node) == 300, "one of them expires")
        self.assertEqual(self.expired(node), 1)

    def test_the_slice_of_a_session_is_none(self):
        node, plane = self.started(config=PLAN)
        plane.session.StartSession(org="acme", session_id="s", identity="vm", request_id="s")
        self.assertEqual(len(plane.admin.GetOrg(org="acme").reservations), 1, "it holds a slice")
        self.hold(plane, "acme")
        self.assertEqual(self.open(node), 1)
        beat = {"org": "acme", "session_id": "s", "identity": "vm", "incarnation": "b", "total_seconds": 1}
        plane.session.Heartbeat(**beat)
        self.assertEqual(self.open(node), 1)
        node.kill()
        plane = self.plane(node.start())
        self.assertEqual(self.open(node), 1)
        plane.session.Heartbeat(**beat)
        plane.session.EndSession(org="acme", session_id="s", identity="vm", request_id="e")
        self.assertEqual((self.open(node), self.expired(node)), (1, 0))


if __name__ == "__main__":
    unittest.main()
