"""Every kind of event that the contract names is emitted by the real binary, and received."""

import types
import unittest

import grpc

from billing import LONG_CONNECTIONS, billed
from case import NodeCase
from cluster_case import ClusterCase
from node import eventually
from plane import refusal
from pools import account, names
from sessions import MID_MONTH, Client

MINUTE, HOUR, YEAR = 60, 3600, 365 * 24 * 3600
CONFIG = """
[rate]
amount = 100000
[orgs."acme"]
spend = { aligned_1h = "100u" }
[orgs."trial"]
plan = "trial"
[orgs."sessions"]
plan = "ten"
[plans.ten]
compute = { calendar_month = "10m" }
max_sessions = "unlimited"
"""


def spend(amount):
    return [{"meter": "spend", "amount": amount}]


class EveryKind(NodeCase, ClusterCase):
    """R-EXPL-3: nothing is in the contract that never comes."""

    def events(self, plane, org):
        try:
            return list(plane.admin.ListEvents(org=org, page_size=1000).events)
        except grpc.RpcError as error:
            # Nothing is kept of it yet, or nobody can read it.
            self.assertIn(error.code().name, ("NOT_FOUND", "UNAVAILABLE"), error)
            return []

    def kinds(self, plane, *orgs):
        """What was received of these orgs, as kinds; the empty one is the node."""
        events = [event for org in orgs for event in self.events(plane, org)]
        self.assertTrue(all(event.at_ms and event.message and (event.org or event.node) for event in events))
        return {event.kind for event in events}

    def of_limits(self, plane, clock):
        for number, amount in enumerate((80, 20, 50)):
            plane.gate.Record(org="acme", request_id=f"r{number}", usage=spend(amount))
        self.assertFalse(plane.gate.Acquire(org="acme").allowed)
        plane.admin.SetOverride(org="acme", request_id="o", limit="budget/daily", amount=10**9, for_ms=1000 * MINUTE)
        clock.step(HOUR)
        plane.gate.GetStatus(org="acme")
        return self.kinds(plane, "acme")

    def of_sessions(self, plane, clock):
        calls = Client(plane)
        calls.start("sessions", "a")
        for total in (100, 300, 490):
            calls.beat("sessions", total, "a")
        calls.use("sessions", 600)
        calls.beat("sessions", 501, "a")
        calls.end("sessions", "a", incarnation="b1", total_seconds=501)
        calls.use("trial", 5 * HOUR - 180)
        calls.start("trial", "t")
        calls.beat("trial", 180, "t")
        for number in range(70):
            calls.start("many", f"s{number}")
        clock.step(HOUR)
        plane.gate.GetStatus(org="many")
        return self.kinds(plane, "sessions", "trial", "many")

    def of_pools(self, plane, clock):
        (one,) = names(1)
        plane.pool.ConfigurePool(org="pooled", pool="p", accounts=[account(one, 1)], request_id="c")
        self.assertEqual([plane.pool.Pick(org="pooled", pool="p").allowed for _ in range(2)], [True, False])
        clock.step(25 * HOUR)
        plane.pool.GetPool(org="pooled", pool="p")
        return self.kinds(plane, "pooled")

    def of_one_node(self):
        clock = self.clock(at=MID_MONTH)
        node = self.node(config=CONFIG, clock=clock, environment=LONG_CONNECTIONS)
        plane = self.plane(node)
        seen = set()
        for emit in (self.of_limits, self.of_sessions, self.of_pools):
            seen |= emit(plane, clock)
        return seen

    def of_a_clock(self):
        clock = self.clock(monotonic=False)
        plane = self.plane(self.node(clock=clock))
        for step, kind in ((YEAR, "clock_trouble"), (-YEAR, "clock_steady")):
            clock.step(step)
            eventually(lambda: kind in self.kinds(plane, ""), kind, within=30)
        (trouble, steady) = plane.admin.ListEvents(kinds=["clock_trouble", "clock_steady"]).events
        self.assertEqual((trouble.number, steady.number, steady.since_ms), (1, 2, trouble.at_ms))
        return self.kinds(plane, "")

    def of_damage(self):
        def change(row):
            if row.get("kind") == "slice":
                row["value"]["total"] += 7

        node = self.node()
        plane = self.plane(node)
        plane.gate.Record(org="damaged", request_id="r", usage=spend(40))
        node.stop()
        plane = self.plane(self.restored(node, change))
        plane.gate.GetStatus(org="damaged")
        return self.kinds(plane, "damaged")

    def of_a_store_that_is_away(self):
        cluster = self.cluster(nodes=1)
        plane, database = cluster.client("n1"), cluster.cells[0].primary
        self.assertTrue(plane.gate.Acquire(org="resident").allowed)
        database.stop()

        def let_through():
            """Of an org in memory, and of one that nobody can read."""
            try:
                answers = [plane.gate.Acquire(org=org) for org in ("resident", "stranger")]
            except grpc.RpcError:
                # Its lease has just ended.
                return False
            return all(answer.allowed and answer.fail_open for answer in answers)

        eventually(let_through, "calls are let through", within=30)
        eventually(lambda: "store_trouble" in self.kinds(plane, ""), "store_trouble", within=30)
        database.start()
        eventually(lambda: "store_recovered" in self.kinds(plane, ""), "store_recovered", within=30)
        eventually(lambda: "over_admitted" in self.kinds(plane, "stranger"), "over_admitted", within=60)
        return self.kinds(plane, "", "stranger")

    def of_a_gate_that_cannot_be_evaluated(self):
        nobody = types.SimpleNamespace(base_url="http://127.0.0.1:1")
        node = self.node(environment=billed(self, nobody))
        plane = self.plane(node)
        self.assertTrue(plane.gate.Acquire(org="open").fail_open)
        return self.kinds(plane, "open")

    def test_nothing_is_in_the_contract_that_is_not_emitted(self):
        plane = self.plane(self.node())
        refused = refusal(plane.admin.ListEvents, org="acme", kinds=["?"])
        named = set(refused.message.partition("one of ")[2].rstrip(".").split(", "))
        self.assertGreater(len(named), 20, refused.message)
        seen = set()
        emitters = (self.of_one_node, self.of_a_clock, self.of_damage, self.of_a_gate_that_cannot_be_evaluated,
                    self.of_a_store_that_is_away)
        for emit in emitters:
            with self.subTest(emit.__name__):
                seen |= emit()
        self.assertEqual(seen, named, "each kind is received, and no other one")


if __name__ == "__main__":
    unittest.main()
