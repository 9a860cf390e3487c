"""Usage after the fact: increments, cumulative counters, continuations, budgets."""

import unittest

from case import SharedNodeCase, fresh
from plane import code_name, limit

MOST = 10**16


class Usage(SharedNodeCase):
    CLOCK = {"minute": 10}
    CONFIG = """
        [orgs."budgeted"]
        spend = { hourly = "100u", monthly = "1000u" }
        scopes."workspace/blocked" = { spend = { daily = "0u" } }
    """

    def report(self, org, total, incarnation="1", source="meter-1", request_id=None, meter="spend", scope=""):
        return self.gate.ReportCumulative(
            org=org, scope=scope, source=source, incarnation=incarnation, meter=meter, total=total,
            request_id=request_id or fresh(),
        )

    def spent(self, org, scope="", period="monthly"):
        return self.budget.GetBudget(org=org, scope=scope).budget.periods[period].spend

    def test_record_books_increments(self):
        """R-BUD-5"""
        org = fresh("record")
        for request, amount in [("1", 60), ("2", 0), ("3", 40)]:
            usage = [{"meter": "spend", "amount": amount}, {"meter": "bytes", "amount": 1}]
            self.assertFalse(self.gate.Record(org=org, usage=usage, request_id=request).replayed)
        self.assertEqual(self.spent(org), 100)

    def test_a_counter_counts_what_it_grew_by_and_whole_after_a_reset(self):
        """R-BUD-5: 60,120 → 120; 120,60 → 180; 500,400 → 900"""
        for totals, increments, resets in [
            ((60, 120), (60, 60), (False, False)),
            ((120, 60), (120, 60), (False, True)),
            ((500, 400), (500, 400), (False, True)),
            ((7, 7, 0, 7), (7, 0, 0, 0), (False, False, False, False)),
        ]:
            org = fresh("cumulative")
            answers = [self.report(org, total) for total in totals]
            self.assertEqual(tuple(answer.increment for answer in answers), increments)
            self.assertEqual(tuple(answer.reset_detected for answer in answers), resets)
            self.assertEqual(self.spent(org), sum(increments))

    def test_a_new_incarnation_counts_whole(self):
        """R-BUD-5"""
        org = fresh("incarnation")
        self.report(org, 100)
        fresh_life = self.report(org, 150, incarnation="2")
        self.assertEqual((fresh_life.increment, fresh_life.reset_detected), (150, True))
        self.assertEqual(self.spent(org), 250)

    def test_sources_scopes_and_meters_are_counted_apart(self):
        org = fresh("apart")
        self.report(org, 10)
        self.report(org, 10, source="meter-2")
        self.report(org, 10, scope="workspace/w")
        self.report(org, 10, meter="bytes")
        self.assertEqual((self.spent(org), self.spent(org, "workspace/w")), (30, 10))
        self.assertEqual(len(self.admin.GetOrg(org=org).baselines), 4)

    def test_a_retried_report_counts_once(self):
        """R-BUD-5, R-PIPE-6"""
        org = fresh("retried")
        first = self.report(org, 50, request_id="x")
        self.report(org, 80)
        again = self.report(org, 50, request_id="x")
        self.assertEqual((first.increment, again.increment, again.replayed, again.reset_detected), (50, 50, True, False))
        self.assertEqual(self.spent(org), 80)

    def test_what_is_not_believed_is_kept_as_disputed(self):
        """R-BUD-5: totals clamp to 10^16; nothing is dropped"""
        org = fresh("disputed")
        answer = self.report(org, MOST + 5)
        self.assertEqual((answer.increment, answer.disputed), (MOST, 5))
        answer = self.report(org, 2**63 - 1)
        self.assertEqual((answer.increment, answer.disputed, answer.reset_detected), (0, 2**63 - 1 - MOST, False))
        disputed = self.admin.GetOrg(org=org).disputed
        self.assertEqual(sum(entry.amount for entry in disputed), 2**63 - 1 - MOST)

    def test_largest_amounts_add_up_without_wrapping(self):
        org = fresh("largest")
        for request in range(20):
            self.gate.Record(org=org, usage=[{"meter": "spend", "amount": MOST}], request_id=str(request))
        self.assertEqual(self.spent(org), 20 * MOST)

    def test_get_budget_shows_the_number_that_is_enforced(self):
        """R-BUD-3, R-BUD-6"""
        org = "budgeted"
        self.gate.Record(org=org, usage=[{"meter": "spend", "amount": 99}], request_id="1")
        budget = self.budget.GetBudget(org=org).budget
        self.assertEqual(set(budget.periods), {"hourly", "daily", "weekly", "monthly"})
        hourly, daily = budget.periods["hourly"], budget.periods["daily"]
        self.assertEqual((hourly.limit, hourly.spend, hourly.remaining), (100, 99, 1))
        self.assertFalse(daily.HasField("limit") or daily.HasField("remaining"))
        self.assertEqual((budget.budget_limit, budget.monthly_spend, budget.budget_remaining), (1000, 99, 901))
        allowed = self.gate.Acquire(org=org)
        self.assertTrue(allowed.allowed, "99 of 100 used, nothing of it asked")
        self.assertEqual(limit(allowed, "budget/hourly").used, 99)
        self.gate.Record(org=org, usage=[{"meter": "spend", "amount": 1}], request_id="2")
        denied = self.gate.Acquire(org=org)
        self.assertEqual((code_name(denied), denied.http_status_hint), ("BUDGET_EXCEEDED", 402))
        self.assertGreater(denied.retry_after_ms, 0)
        spends = [self.spent(org, period=period) for period in ["hourly", "daily", "weekly", "monthly"]]
        self.assertEqual(spends, sorted(spends))

    def test_a_limit_of_nothing_blocks_all(self):
        """R-BUD-2"""
        denied = self.gate.Acquire(org="budgeted", scope="workspace/blocked", mode="MODE_CHECK_ONLY", explain=True)
        self.assertFalse(denied.allowed)
        self.assertTrue(limit(denied, "budget/daily", "workspace/blocked").limiting)

    def test_continuations_are_counted_per_execution(self):
        """R-BAL-8"""
        org = fresh("resume")
        execution = self.gate.Acquire(org=org, operation="OPERATION_EXECUTE_WITH_PAUSE").decision_id
        counted = [self.gate.Resume(org=org, execution_id=execution).continuations for _ in range(3)]
        self.assertEqual(counted, [1, 2, 3])
        other = self.gate.Resume(org=org, execution_id="my-own-name")
        self.assertEqual((other.continuations, other.counted), (1, True))
        kept = {each.execution_id: (each.continuations, each.admitted) for each in self.admin.GetOrg(org=org).executions}
        self.assertEqual(kept, {execution: (3, True), "my-own-name": (1, False)})


if __name__ == "__main__":
    unittest.main()
