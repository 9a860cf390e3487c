"""`Record.occurred_at_ms`: usage that is recorded later than it happened counts where it happened."""

import time
import unittest

import grpc

from billing import BilledCase, tracks
from case import NodeCase, fresh
from node import eventually
from plane import limit
from test_zones import at

DAY = 86_400
CONFIG = """
[plans.p]
spend = { hourly = "100u", daily = "1000u", aligned_1h = "500u", calendar_day = "700u" }
[plans.c]
overrun = "carry"
spend = { calendar_day = "100u" }
[defaults]
plan = "p"
[orgs."carries"]
plan = "c"
"""
NAMES = ("budget/hourly", "budget/daily", "quota/spend/aligned/1h", "quota/spend/calendar/day")


class LateUsage(NodeCase):
    """R-BUD-10"""

    def setUp(self):
        self.now = at("2026-06-21T16:30:00")
        self.node_ = self.node(config=CONFIG, clock=self.clock(at=self.now))
        self.gate = self.plane(self.node_).gate

    def record(self, amount, ago, org="acme", request_id=None, **fields):
        request_id = request_id or fresh()
        return self.gate.Record(org=org, request_id=request_id, usage=[{"meter": "spend", "amount": amount}],
                                occurred_at_ms=(self.now - ago) * 1000, **fields)

    def used(self, names=NAMES, org="acme"):
        answer = self.gate.GetStatus(org=org)
        return tuple(limit(answer, name).used for name in names)

    def restart(self):
        self.node_.kill()
        self.gate = self.plane(self.node_.start()).gate

    def test_it_counts_in_the_windows_that_it_happened_in(self):
        self.record(1, 0)
        self.assertEqual(self.used(), (1, 1, 1, 1))
        self.record(10, 40 * 60)
        self.assertEqual(self.used(), (11, 11, 1, 11), "the clock hour before, and the rolling one")
        self.record(10, 20 * 3600)
        self.record(10, 34 * DAY)
        self.restart()
        self.assertEqual(self.used(), (11, 21, 1, 11))
        self.record(90, 30 * 60)
        self.assertFalse(self.gate.Acquire(org="acme").allowed, "the rolling hour is used up")
        answer = limit(self.gate.GetStatus(org="acme"), "budget/hourly")
        self.assertEqual(answer.resets_at_ms, at("2026-06-21T16:51:00") * 1000, "when the first of it is an hour old")
        self.node_.clock.step(31 * 60)
        self.gate = self.plane(self.node_).gate
        self.assertEqual(self.used()[:3], (1, 111, 0))
        self.assertEqual(self.plane(self.node_).admin.Audit(org="acme").drifted, 0)

    def test_a_retry_is_a_retry_and_another_time_another_call(self):
        self.assertFalse(self.record(5, 3600, request_id="one").replayed)
        self.assertTrue(self.record(5, 3600, request_id="one").replayed)
        with self.assertRaises(grpc.RpcError) as refused:
            self.record(5, 3601, request_id="one")
        self.assertEqual(refused.exception.code(), grpc.StatusCode.ALREADY_EXISTS)
        self.restart()
        self.assertTrue(self.record(5, 3600, request_id="one").replayed)
        self.assertEqual(self.used()[1], 5)

    def test_what_is_too_old_or_in_the_future_is_refused_by_the_name_of_the_field(self):
        for ago in (36 * DAY, -300):
            with self.subTest(ago), self.assertRaises(grpc.RpcError) as refused:
                self.record(5, ago)
            self.assertEqual(refused.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
            details = refused.exception.details()
            self.assertIn(f'occurred_at_ms "{(self.now - ago) * 1000}"', details)
            self.assertRegex(details, r"is not allowed: from \d+ \(2026-05-17T16:30:")
        with self.assertRaises(grpc.RpcError) as refused:
            self.gate.Record(org="acme", request_id=fresh(), usage=[{"meter": "spend", "amount": 1}], occurred_at_ms=-1)
        self.assertIn('occurred_at_ms "-1" is not allowed', refused.exception.details())
        self.record(5, -30)
        self.assertEqual(self.used(), (5, 5, 5, 5), "a clock that is half a minute ahead")

    def test_what_an_ended_window_has_no_room_for_is_carried(self):
        """R-BUD-9"""
        day = ("quota/spend/calendar/day",)
        self.record(70, 2 * DAY, org="carries")
        self.record(80, DAY, org="carries")
        self.assertEqual(self.used(day, "carries"), (0,))
        # Room for 30 on that day and for 20 on the next.
        self.record(90, 2 * DAY, org="carries")
        self.assertEqual(self.used(day, "carries"), (40,))
        shown = limit(self.gate.GetStatus(org="carries"), day[0])
        self.assertEqual((shown.used, shown.carried, shown.remaining), (40, 40, 60))
        self.restart()
        self.assertEqual(self.used(day, "carries"), (40,))


class LateExports(BilledCase):
    """R-BAL-7"""

    def test_it_is_exported_once_with_its_time(self):
        node = self.billed()
        plane = self.plane(node)
        self.standin.grant("acme", granted=100)
        decision = plane.gate.Acquire(org="acme").decision_id
        happened = int(time.time() * 1000) - 3 * 3600 * 1000
        for _ in range(2):
            plane.gate.Record(org="acme", request_id="end", decision_id=decision, occurred_at_ms=happened,
                              usage=[{"meter": "bytes", "amount": 1}])
        eventually(lambda: self.standin.usage("acme") == 1 and not list(plane.admin.ListExports(org="acme").exports),
                   "it is delivered", within=15)
        (report,) = tracks(self.standin, "acme")
        self.assertEqual(report["body"]["timestamp"], happened)

    def test_its_time_is_said_where_the_answers_have_no_date(self):
        """R-BAL-10: it is old by any clock"""
        node = self.billed()
        plane = self.plane(node)
        self.standin.clock(date_ahead_ms=None)
        self.standin.grant("acme", granted=100)
        happened = int(time.time() * 1000) - 3600 * 1000
        for number, at in enumerate((happened, 0)):
            decision = plane.gate.Acquire(org="acme").decision_id
            plane.gate.Record(org="acme", request_id=f"end {number}", decision_id=decision, occurred_at_ms=at,
                              usage=[{"meter": "bytes", "amount": 1}])
        eventually(lambda: self.standin.usage("acme") == 2, "it is delivered", within=15)
        said = sorted(report["body"].get("timestamp", 0) for report in tracks(self.standin, "acme"))
        self.assertEqual(said, [0, happened])


if __name__ == "__main__":
    unittest.main()
