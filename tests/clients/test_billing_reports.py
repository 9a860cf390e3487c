"""Usage on its way to the billing provider while clocks differ, and while it fails for one customer."""

import itertools
import time
import unittest

from billing import TRACK, BilledCase, fault_for, tracks
from node import eventually
from plane import metric

MINUTE = 60


class Clocks(BilledCase):
    """R-BAL-10: usage carries no time that the provider may refuse. The node's clock is ahead of the provider's."""

    AHEAD = 3 * MINUTE
    DOWN = 75

    def booked(self, plane, standin_clock=None):
        """Usage that waits for `DOWN` seconds because the provider fails, with every report of it."""
        self.standin.grant("acme", granted=100)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed, "an answer, and with it the provider's time")
        self.standin.faults(*[fault_for(TRACK, {"status": 503})] * 2)
        decision = plane.gate.Acquire(org="acme").decision_id
        plane.gate.Record(org="acme", request_id="end", decision_id=decision, usage=[{"meter": "bytes", "amount": 1}])
        waiting = lambda: list(plane.admin.ListExports(org="acme").exports)  # noqa: E731
        eventually(lambda: [row for row in waiting() if row.attempts == 2], "the provider is down", within=15)
        if standin_clock:
            self.standin.clock(**standin_clock)
            self.assertTrue(plane.admin.RefreshBalance(org="acme").remaining_known)
        self.clock_of_node.step(self.DOWN)
        eventually(lambda: not [row for row in waiting() if not row.set_aside], "it is delivered, or set aside", within=15)
        self.assertEqual([(row.set_aside, row.last_error) for row in waiting()], [], "nothing waits for an operator")
        self.assertEqual(self.standin.usage("acme"), 1)
        return tracks(self.standin, "acme")

    def started(self, ahead):
        self.clock_of_node = self.clock(at=time.time() + ahead)
        node = self.billed(clock=self.clock_of_node, config="[rate]\namount = 100000\n")
        return self.plane(node)

    def test_usage_of_a_node_whose_clock_is_ahead_is_not_set_aside(self):
        reports = self.booked(self.started(self.AHEAD))
        self.assertEqual([report["status"] for report in reports], [503, 503, 200])
        self.assertNotIn("timestamp", reports[-1]["body"], "it would lie in the provider's future")

    def test_usage_says_when_it_was_where_the_clocks_agree(self):
        plane = self.started(0)
        before = int(time.time() * 1000)
        reports = self.booked(plane, {"ahead_ms": self.DOWN * 1000, "date_ahead_ms": self.DOWN * 1000})
        said = reports[-1]["body"]["timestamp"]
        self.assertTrue(before - 1000 <= said <= before + 15_000, said - before)

    def test_usage_that_is_refused_for_its_time_is_reported_without_it(self):
        """The date of the provider's answers is ahead of the clock that judges usage"""
        plane = self.started(self.AHEAD)
        ahead = (self.AHEAD + self.DOWN) * 1000
        reports = self.booked(plane, {"ahead_ms": 0, "date_ahead_ms": ahead})
        self.assertEqual([report["status"] for report in reports], [503, 503, 400, 200])
        refused, taken = reports[-2:]
        self.assertIn("timestamp", refused["body"])
        self.assertNotIn("timestamp", taken["body"])
        self.assertEqual(refused["headers"]["idempotency-key"], taken["headers"]["idempotency-key"])


class OneCustomer(BilledCase):
    """R-BAL-10: reports that fail for one customer delay nobody else's, and lose nothing."""

    ROWS, OTHERS = 30, 20

    def test_reports_of_one_customer_that_fail_hold_up_no_other(self):
        clock = self.clock(minute=10)
        node = self.billed(clock=clock, config="[rate]\namount = 100000\n", FEATURES__SPEND="usd")
        plane = self.plane(node)
        others = [f"good-{number}" for number in range(self.OTHERS)]
        self.standin.customers(**{org: {"features": {"usd": {"granted": 10**9}}} for org in ["bad", *others]})
        self.standin.failing(bad={"fault": {"status": 500}, "path": TRACK})
        usage = [{"meter": "spend", "amount": 5}]
        for row in range(self.ROWS):
            plane.gate.Record(org="bad", request_id=f"r{row}", usage=usage)
        reports = lambda org: len(tracks(self.standin, org))  # noqa: E731
        eventually(lambda: reports("bad") >= 8, "its reports fail", within=20)
        for _ in range(30):
            clock.step(2)
            plane.admin.GetNode()
        for org in others:
            plane.gate.Record(org=org, request_id="r", usage=usage)
        waiting = lambda org: list(plane.admin.ListExports(org=org).exports)  # noqa: E731
        eventually(lambda: not any(map(waiting, others)), "usage of the others arrives", within=20)
        self.assertEqual([reports(org) for org in others], [1] * self.OTHERS, "each at its first attempt")
        retried = lambda cause: metric(node.http, "tollgate_exports_total", outcome="retried", cause=cause)  # noqa: E731
        self.assertEqual(retried("circuit_open"), 0, "the provider is not left alone")
        self.assertLessEqual(reports("bad"), 45, "in a minute: it is tried less")
        self.assertEqual(metric(node.http, "tollgate_exports_spaced_orgs"), 1)
        self.assertEqual([row.set_aside for row in waiting("bad")], [""] * self.ROWS, "nothing is set aside for it")
        self.standin.failing(bad=None)

        def all_arrived():
            clock.step(10)
            return not waiting("bad")

        eventually(all_arrived, "its own usage arrives", within=30)
        self.assertEqual(self.standin.usage("bad", "usd"), 5 * self.ROWS)
        self.assertEqual(metric(node.http, "tollgate_exports_spaced_orgs"), 0)


class LeftAlone(BilledCase):
    """R-BAL-10: while the provider is left alone, usage that is not sent is not written again, and none is lost."""

    ORGS, ROWS = 10, 5

    def test_a_row_that_was_not_tried_stays_as_it_was_written(self):
        clock = self.clock(minute=10)
        settings = {"FEATURES__SPEND": "usd", "AUTUMN__BREAKER_FAILURES": "2", "AUTUMN__BREAKER_PAUSE": "60s"}
        node = self.billed(clock=clock, config="[rate]\namount = 100000\n", **settings)
        plane = self.plane(node)
        first, orgs = ["first-1", "first-2"], [f"org-{number}" for number in range(self.ORGS)]
        self.standin.customers(**{org: {"features": {"usd": {"granted": 10**9}}} for org in first + orgs})
        self.standin.failing(**dict.fromkeys(first + orgs, {"fault": {"status": 503}, "path": TRACK}))
        usage = [{"meter": "spend", "amount": 5}]

        def exports(cause):
            outcomes = ["not_tried", "retried"]
            return sum(metric(node.http, "tollgate_exports_total", outcome=outcome, cause=cause) for outcome in outcomes)

        for org in first:
            plane.gate.Record(org=org, request_id="r", usage=usage)
        eventually(lambda: exports("provider_error") == 2, "two customers fail, and it is left alone")
        for org, row in itertools.product(orgs, range(self.ROWS)):
            plane.gate.Record(org=org, request_id=f"r{row}", usage=usage)
        rows = self.ORGS * self.ROWS
        for rounds in range(1, 4):
            eventually(lambda: exports("circuit_open") >= rounds * rows, "all of it is held back", within=20)  # noqa: B023
            clock.step(61)
        waiting = [row for org in orgs for row in plane.admin.ListExports(org=org).exports]
        self.assertEqual(len(waiting), rows)
        self.assertEqual([row.last_error for row in waiting if not row.attempts and row.last_error], [])
        self.assertEqual([line for line in node.logged("usage could not be reported") if "circuit_open" in line], [])
        node.kill()
        stored = [row["value"] for row in self.exported(node) if row.get("kind") == "export" and row["org"] in orgs]
        untried = [row for row in stored if not row["attempts"]]
        self.assertEqual(len(stored), rows)
        self.assertGreater(len(untried), rows // 2, "a probe is an attempt, the others are not")
        self.assertEqual({(row["due_at"] - row["at"], row["last_error"]) for row in untried}, {(30_000, None)})

        self.standin.failing(**dict.fromkeys(first + orgs))
        plane = self.plane(node.start())
        clock.step(120)
        left = lambda: [row for org in first + orgs for row in plane.admin.ListExports(org=org).exports]  # noqa: E731

        def all_arrived():
            clock.step(10)
            return not left()

        eventually(all_arrived, "all of it arrives", within=30)
        self.assertEqual([self.standin.usage(org, "usd") for org in orgs], [5 * self.ROWS] * self.ORGS)


if __name__ == "__main__":
    unittest.main()
