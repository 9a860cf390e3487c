"""What plans include, enforced from the node's own ledger."""

import datetime
import unittest
from concurrent.futures import ThreadPoolExecutor

from billing import LONG_CONNECTIONS, UPGRADE
from case import NodeCase, SharedNodeCase, fresh
from plane import code_name, limit

PLANS = f"""
[billing]
provider = "static"
upgrade_url = "{UPGRADE}"
[defaults]
plan = "ten"
[plans.ten]
included = 10
[plans.zero]
included = 0
[plans.more]
included = 3
overage = true
[plans.endless]
included = "unlimited"
[plans.other]
spend = {{ hourly = "1000u" }}
[orgs."zero"]
plan = "zero"
[orgs."more"]
plan = "more"
[orgs."endless"]
plan = "endless"
[orgs."other"]
plan = "other"
[orgs."beyond"]
plan = "more"
[orgs."endless-2"]
plan = "endless"
[orgs."anchored"]
billing_anchor = 15
"""


class Included(SharedNodeCase):
    CONFIG = PLANS

    def test_the_last_included_execution_runs_and_the_next_does_not(self):
        """R-BAL-5, R-BAL-9"""
        org = fresh("edge")
        for used in range(1, 11):
            answer = self.gate.Acquire(org=org)
            self.assertTrue(answer.allowed, answer.message)
            self.assertEqual((limit(answer, "balance").used, limit(answer, "balance").remaining), (used, 10 - used))
        denied = self.gate.Acquire(org=org)
        self.assertEqual((denied.allowed, code_name(denied), denied.http_status_hint), (False, "BALANCE_EXHAUSTED", 402))
        for part in ["plan ten", "used up", "includes 10", "resets at", UPGRADE]:
            self.assertIn(part, denied.message)
        balance = limit(denied, "balance")
        self.assertEqual((balance.amount, balance.used, balance.window), (10, 10, "calendar/month"))
        self.assertTrue(balance.limiting and balance.exhausted)
        self.assertEqual(denied.limits[-1].name, "balance", "the balance is the last gate")
        self.assertTrue(self.gate.Acquire(org=fresh("edge")).allowed, "another org has its own")

    def test_an_execution_that_costs_more_needs_all_of_it(self):
        org = fresh("costly")
        cost = lambda amount: [{"meter": "executions", "amount": amount}]  # noqa: E731
        self.assertFalse(self.gate.Acquire(org=org, cost=cost(11)).allowed)
        self.assertTrue(self.gate.Acquire(org=org, cost=cost(8)).allowed)
        self.assertFalse(self.gate.Acquire(org=org, cost=cost(3)).allowed)
        self.assertTrue(self.gate.Acquire(org=org, cost=cost(2)).allowed)
        self.assertFalse(self.gate.Acquire(org=org).allowed)

    def test_concurrent_callers_get_exactly_what_is_included(self):
        """R-PIPE-4"""
        org = fresh("many")
        with ThreadPoolExecutor(16) as callers:
            answers = list(callers.map(lambda _: self.gate.Acquire(org=org).allowed, range(64)))
        self.assertEqual(answers.count(True), 10)

    def test_overage_is_counted_and_let_through(self):
        answers = [self.gate.Acquire(org="more") for _ in range(5)]
        self.assertEqual([(answer.allowed, code_name(answer)) for answer in answers], [(True, "ALLOWED")] * 5)
        balance = limit(answers[-1], "balance")
        self.assertEqual((balance.used, balance.unlimited, balance.limiting), (5, True, False))

    def test_unlimited_is_counted_and_never_used_up(self):
        answers = [self.gate.Acquire(org="endless") for _ in range(20)]
        self.assertTrue(all(answer.allowed for answer in answers))
        balance = limit(answers[-1], "balance")
        self.assertEqual((balance.used, balance.unlimited), (20, True))

    def test_nothing_included_denies_the_first(self):
        denied = self.gate.Acquire(org="zero")
        self.assertEqual((denied.allowed, code_name(denied)), (False, "BALANCE_EXHAUSTED"))

    def test_a_plan_that_does_not_name_executions_is_not_used_up(self):
        """R-BAL-4"""
        answer = self.gate.Acquire(org="other")
        self.assertEqual((answer.allowed, code_name(answer)), (True, "ALLOWED"))
        self.assertEqual([(each.gate, each.cause) for each in answer.fail_open], [("balance", "no_entitlement")])

    def test_a_refresh_says_what_the_ledger_says(self):
        """Nobody else has to be asked, and it is never behind"""
        allowed, denied = 1, 2
        org = fresh("refreshed")
        for used in range(11):
            answer = self.admin.RefreshBalance(org=org)
            self.assertEqual((answer.verdict, answer.granted, answer.remaining), (allowed if used < 10 else denied, 10, 10 - used))
            self.assertEqual(self.gate.Acquire(org=org).allowed, used < 10)
        self.assertEqual((answer.reason, answer.unlimited), ("exhausted", False))
        self.assertEqual(answer.resets_at_ms, limit(self.gate.GetStatus(org=org), "balance").resets_at_ms)
        self.gate.Record(org="beyond", usage=[{"meter": "executions", "amount": 4}], request_id="r")
        beyond = self.admin.RefreshBalance(org="beyond")
        self.assertEqual((beyond.verdict, beyond.overage_allowed, beyond.remaining), (allowed, True, 0))
        endless = self.admin.RefreshBalance(org="endless-2")
        self.assertEqual((endless.verdict, endless.unlimited), (allowed, True))
        other = self.admin.RefreshBalance(org="other")
        self.assertEqual((other.verdict, other.reason), (denied, "no_entitlement"))


class Period(NodeCase):
    def test_the_balance_begins_anew_on_the_orgs_own_day(self):
        begins = datetime.datetime(2025, 10, 15, tzinfo=datetime.timezone.utc).timestamp()
        clock = self.clock(at=begins - 900)
        node = self.node(clock=clock, config=PLANS, environment=LONG_CONNECTIONS)
        gate = self.plane(node).gate
        for org in ["anchored", "calendar"]:
            self.assertTrue(all(gate.Acquire(org=org).allowed for _ in range(10)))
        before = clock.now_ms()
        denied = gate.Acquire(org="anchored")
        self.assertFalse(denied.allowed)
        self.assertEqual(limit(denied, "balance").resets_at_ms, int(begins) * 1000)
        self.assertLessEqual(denied.retry_after_ms, int(begins) * 1000 - before + 50)
        month_end = datetime.datetime(2025, 11, 1, tzinfo=datetime.timezone.utc).timestamp()
        self.assertEqual(limit(gate.Acquire(org="calendar"), "balance").resets_at_ms, int(month_end) * 1000)
        clock.step(denied.retry_after_ms / 1000 - 30)
        self.assertFalse(gate.Acquire(org="anchored").allowed, "half a minute is left")
        clock.step(31)
        anew = gate.Acquire(org="anchored")
        self.assertEqual((anew.allowed, limit(anew, "balance").used), (True, 1), anew.message)
        self.assertFalse(gate.Acquire(org="calendar").allowed, "the others wait for the first")
        self.assertEqual(node.stop(), 0)
        again = self.plane(node.start()).gate.Acquire(org="anchored")
        self.assertEqual(limit(again, "balance").used, 2, "kept over a restart")


class Denying(NodeCase):
    def test_a_plan_that_does_not_name_executions_is_denied_where_that_is_asked_for(self):
        node = self.node(config=PLANS.replace('provider = "static"', 'provider = "static"\non_no_entitlement = "deny"'))
        denied = self.plane(node).gate.Acquire(org="other")
        self.assertEqual((denied.allowed, code_name(denied)), (False, "BALANCE_EXHAUSTED"))
        self.assertIn("not included in plan other", denied.message)


if __name__ == "__main__":
    unittest.main()
