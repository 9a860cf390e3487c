"""What an org has per month, on the day its month begins, and what a trial has once."""

import datetime
import unittest

from case import fresh
from plane import code_name, limit
from sessions import NEXT_MONTH, USED_UP, Client, SessionNodeCase

HOUR = 3600
TRIAL_USED_UP = "Trial quota exceeded — upgrade to continue."
PLANS = """
[rate]
amount = 100000
[defaults]
plan = "p"
[plans.p]
executions = { calendar_month = 3, calendar_day = 1000 }
compute = { calendar_month = "10m" }
max_sessions = "unlimited"
[orgs."anchored"]
billing_anchor = 15
[orgs."last"]
billing_anchor = 31
"""


def moment(year, month, day):
    return datetime.datetime(year, month, day, tzinfo=datetime.timezone.utc).timestamp()


class Anchor(SessionNodeCase):
    """R-SES-7: the month of an org moves its quotas on executions and compute."""

    # Before this a billing_anchor stood beside `included` alone.
    CONFIG = PLANS + '[billing]\nprovider = "static"\n'

    def used_up(self, calls, org):
        gate = calls.plane.gate
        self.assertTrue(all(gate.Acquire(org=org).allowed for _ in range(3)))
        calls.use(org, 600)
        denied, start = gate.Acquire(org=org), calls.start(org, fresh("s"))
        self.assertEqual([(each.allowed, code_name(each)) for each in (denied, start)], [(False, "QUOTA_EXCEEDED")] * 2)
        self.assertTrue(start.message.startswith(USED_UP), start.message)
        return [limit(denied, "quota/executions"), limit(start, "quota/compute")]

    def check(self, org, begins, config=CONFIG):
        node, calls = self.started(config=config, at=begins - 900)
        moved, others = self.used_up(calls, org), self.used_up(calls, "calendar")
        self.assertEqual([each.resets_at_ms for each in moved], [int(begins) * 1000] * 2)
        self.assertEqual({each.window for each in moved}, {f"calendar/month/{15 if org == 'anchored' else 31}"})
        self.assertEqual({each.window for each in others}, {"calendar/month"})
        node.clock.step(895)
        self.assertFalse(calls.plane.gate.Acquire(org=org).allowed, "five seconds are left")
        node.clock.step(6)
        anew = calls.plane.gate.Acquire(org=org)
        self.assertEqual((anew.allowed, limit(anew, "quota/executions").used), (True, 1), anew.message)
        self.assertEqual(calls.status(org).used_ms, 0)
        self.assertTrue(calls.start(org, fresh("s")).allowed)
        self.assertFalse(calls.plane.gate.Acquire(org="calendar").allowed, "the others wait for the first")
        self.assertEqual(node.stop(), 0)
        again = self.restarted(node).plane.gate.Acquire(org=org)
        self.assertEqual(limit(again, "quota/executions").used, 2, "kept over a restart")

    def test_quotas_begin_anew_on_the_orgs_own_day(self):
        self.check("anchored", moment(2025, 10, 15))

    def test_a_month_that_is_shorter_begins_on_its_last_day(self):
        self.check("last", moment(2025, 11, 30))

    def test_an_org_has_its_month_whoever_keeps_the_balances(self):
        self.check("anchored", moment(2025, 10, 15), config=PLANS)


class Once(SessionNodeCase):
    """R-SES-7: a trial has its compute once."""

    TRIAL = '[orgs."acme"]\nplan = "trial"\n[orgs."other"]\nplan = "trial"\n'

    def assert_used_up(self, calls):
        denied = calls.start("acme", fresh("s"))
        self.assertEqual((denied.allowed, code_name(denied)), (False, "QUOTA_EXCEEDED"))
        self.assertEqual(calls.used("acme"), 5 * HOUR * 1000)
        return denied

    def test_it_does_not_come_again_with_a_month_a_restart_or_the_plan(self):
        node, calls = self.started(config=self.TRIAL, at=NEXT_MONTH - 900)
        calls.use("acme", 5 * HOUR)
        calls.use("other", 2 * HOUR)
        self.assert_used_up(calls)
        node.clock.step(901)
        self.assert_used_up(calls)
        self.assertEqual(calls.used("other"), 2 * HOUR * 1000, "three hours are left of five")
        self.assertTrue(calls.start("other").allowed)
        node.kill()
        calls = self.restarted(node)
        self.assert_used_up(calls)
        self.reloaded(node, calls, self.TRIAL.replace('"trial"', '"standard"'))
        self.assertEqual(calls.used("acme"), 0, "a plan of the month")
        self.assertTrue(calls.start("acme", "s").allowed)
        calls.end("acme", "s", incarnation="b1", total_seconds=0)
        self.reloaded(node, calls, self.TRIAL)
        self.assert_used_up(calls)
        (ended,) = [calls.plane.admin.GetOrg(org="acme").trial_ended_at_ms]
        self.assertLess(ended, NEXT_MONTH * 1000, "announced when it was used up")
        node.stop()
        node.clock.step(70 * 24 * HOUR)
        calls = Client(self.plane(node.start("--accept-clock")))
        denied = self.assert_used_up(calls)
        self.assertEqual((denied.message, denied.retry_after_ms), (TRIAL_USED_UP, 0), "never")
        self.assertEqual(limit(denied, "quota/compute").window, "once")
        self.assertEqual(calls.plane.admin.Audit(org="acme").drifted, 0, "the ledger has forgotten it, the trial has not")


if __name__ == "__main__":
    unittest.main()
