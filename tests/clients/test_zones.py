"""Windows in a zone, and of a year: their borders, daylight saving, restarts."""

import calendar
import unittest

from case import NodeCase, fresh
from plane import Plane, code_name, limit
from pools import Client

LOS_ANGELES = "calendar/day@America/Los_Angeles"
KOLKATA = "calendar/day@Asia/Kolkata"


def at(text):
    """Seconds since the epoch of an instant in UTC."""
    date, time = text.split("T")
    return calendar.timegm((*map(int, date.split("-")), *map(int, time.split(":")), 0, 0, 0))


class Zones(NodeCase):
    def started(self, config, at_):
        clock = self.clock(at=at_)
        node = self.node(config=config, clock=clock)
        return node, self.plane(node)

    def step(self, node, seconds):
        """A plane of its own after it: connections do not live for days."""
        node.clock.step(seconds)
        return self.plane(node)

    def acquire(self, plane, **fields):
        answer = plane.gate.Acquire(org="acme", **fields)
        return answer.allowed, code_name(answer)

    def standing(self, plane, window):
        return limit(plane.gate.GetStatus(org="acme"), f"quota/executions/{window}")

    def test_a_day_in_a_zone_ends_with_its_midnight_and_counts_over_restarts(self):
        """R-BUD-4: midnight in Kolkata is 18:30 UTC, inside of an hour of the ledger"""
        config = '[plans.p]\nexecutions = { calendar_day = { amount = 3, zone = "Asia/Kolkata" } }\n[defaults]\nplan = "p"\n'
        node, plane = self.started(config, at("2026-06-21T18:20:00"))
        for _ in range(3):
            self.assertEqual(self.acquire(plane, request_id=fresh()), (True, "ALLOWED"))
        answer = plane.gate.Acquire(org="acme")
        self.assertEqual(code_name(answer), "QUOTA_EXCEEDED")
        self.assertIn("per calendar day in Asia/Kolkata", answer.message)
        standing = self.standing(plane, KOLKATA)
        self.assertEqual((standing.window, standing.used), (KOLKATA, 3))
        self.assertEqual(standing.resets_at_ms, at("2026-06-21T18:30:00") * 1000)
        self.assertAlmostEqual(answer.retry_after_ms, 600_000, delta=20_000)
        node.stop()
        node.start()
        self.assertEqual(self.acquire(self.plane(node))[1], "QUOTA_EXCEEDED")
        plane = self.step(node, 600)
        self.assertEqual(self.standing(plane, KOLKATA).used, 0, "the day before counts no more")
        self.assertEqual(self.acquire(plane), (True, "ALLOWED"))
        node.stop()
        node.start()
        plane = self.plane(node)
        self.assertEqual(self.standing(plane, KOLKATA).used, 1)
        self.assertEqual(plane.admin.Audit(org="acme").drifted, 0)

    def test_days_of_23_and_25_hours(self):
        """R-BUD-4: daylight saving, both ways"""
        config = '[plans.p]\nexecutions = { calendar_day = { amount = 1, zone = "America/Los_Angeles" } }\n[defaults]\nplan = "p"\n'
        for midnight, end in [("2026-03-08T08:00:00", "2026-03-09T07:00:00"), ("2026-11-01T07:00:00", "2026-11-02T08:00:00")]:
            with self.subTest(midnight):
                node, plane = self.started(config, at(midnight) - 60)
                self.assertEqual(self.acquire(plane)[0], True)
                self.assertEqual(self.acquire(plane)[1], "QUOTA_EXCEEDED")
                self.assertEqual(self.standing(plane, LOS_ANGELES).resets_at_ms, at(midnight) * 1000)
                plane = self.step(node, 90)
                self.assertEqual(self.acquire(plane)[0], True)
                self.assertEqual(self.standing(plane, LOS_ANGELES).resets_at_ms, at(end) * 1000)
                plane = self.step(node, at(end) - at(midnight) - 90)
                self.assertEqual(self.acquire(plane)[1], "QUOTA_EXCEEDED", "a minute before its end")
                plane = self.step(node, 90)
                self.assertEqual(self.acquire(plane)[0], True)

    def test_a_year_counts_more_than_slices_remember(self):
        config = '[plans.p]\nexecutions = { calendar_year = 3 }\n[defaults]\nplan = "p"\n'
        node, plane = self.started(config, at("2026-10-01T12:00:00"))
        for _ in range(2):
            self.assertEqual(self.acquire(plane, request_id=fresh())[0], True)
        plane = self.step(node, 60 * 86_400)
        self.assertEqual(self.standing(plane, "calendar/year").used, 2)
        self.assertEqual(self.acquire(plane, request_id=fresh())[0], True)
        answer = plane.gate.Acquire(org="acme")
        self.assertEqual(code_name(answer), "QUOTA_EXCEEDED")
        self.assertIn("per calendar year", answer.message)
        self.assertEqual(self.standing(plane, "calendar/year").resets_at_ms, at("2027-01-01T00:00:00") * 1000)
        self.assertEqual(plane.admin.Audit(org="acme").drifted, 0)
        self.assertEqual(node.stop(), 0)
        node.start()
        self.assertEqual(self.standing(self.plane(node), "calendar/year").used, 3)
        plane = self.step(node, at("2027-01-01T00:01:00") - at("2026-11-30T12:00:00"))
        self.assertEqual(self.acquire(plane)[0], True)

    def test_accounts_of_a_pool_have_the_day_of_their_upstream(self):
        config = '[pools]\nwindow = { calendar = "day", zone = "America/Los_Angeles" }\n'
        node, plane = self.started(config, at("2026-07-15T06:59:00"))
        calls = Client(plane)
        pool = calls.configure("acme", {"account": "acct-secret-0001", "daily_limit": 1, "safety_buffer": 0},
                               {"account": "acct-secret-0002", "daily_limit": 1, "safety_buffer": 0, "window": KOLKATA}).pool
        self.assertEqual([each.window for each in pool.accounts], [LOS_ANGELES, KOLKATA])
        self.assertEqual(len(set(calls.picked("acme", 2))), 2)
        denied = calls.pick("acme")
        self.assertEqual(code_name(denied), "ACCOUNTS_EXHAUSTED")
        self.assertAlmostEqual(denied.retry_after_ms, 60_000, delta=20_000)
        calls.report("acme", "acct-secret-0002", 429, "quota")
        ends = {each.account: each.available_at_ms for each in calls.get("acme").accounts}
        self.assertEqual(ends, {"acct…0001": at("2026-07-15T07:00:00") * 1000, "acct…0002": at("2026-07-15T18:30:00") * 1000})
        node.stop()
        node.start()
        node.clock.step(61)
        self.assertEqual(Client(Plane(node.grpc)).pick("acme").account, "acct-secret-0001")

    def test_a_zone_is_part_of_the_limit_and_a_bad_one_is_refused_with_the_rule(self):
        config = (
            '[plans.p]\nexecutions = { calendar_day = 5 }\n[orgs.acme]\nplan = "p"\n'
            'executions = { calendar_day = { amount = 2, zone = "Asia/Kolkata" } }\n'
        )
        _, plane = self.started(config, at("2026-06-21T12:00:00"))
        names = [each.name for each in plane.gate.GetStatus(org="acme").limits if each.name.startswith("quota/")]
        self.assertEqual(names, ["quota/executions/calendar/day", f"quota/executions/{KOLKATA}"])
        node = self.node(start=False, config='[plans.p]\nexecutions = { calendar_day = { amount = 2, zone = "Mars" } }\n')
        answer = node.run("check-config", node.config_file)
        self.assertNotEqual(answer.returncode, 0)
        self.assertIn('plans.p.executions.calendar_day.zone "Mars" is not allowed: a zone of the IANA database', answer.stderr + answer.stdout)


if __name__ == "__main__":
    unittest.main()
