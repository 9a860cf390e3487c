"""A pick that passes the gates of its org as well, and an Acquire that names a pool: both are charged, or neither."""

import unittest

from case import fresh
from plane import code_name, limit, refusal
from pools import SharedPoolCase, account, names


class Gates(SharedPoolCase):
    CONFIG = SharedPoolCase.CONFIG + "".join(f'[orgs."one-call/{number}"]\nrate = {{ amount = 1 }}\n' for number in range(4))

    def counted(self, org):
        """Calls that the backstop counted, that were admitted, and that accounts were charged."""
        kept = self.admin.GetOrg(org=org)
        return kept.rate.count, kept.admitted_total, self.calls.summary(org).used

    def test_an_admitted_pick_charges_the_org_and_an_account(self):
        """R-POOL-2, R-PIPE-3"""
        org, accounts = fresh("both"), names(2)
        self.calls.configure(org, *(account(name, 5) for name in accounts))
        picked = self.calls.pick(org, acquire={"cost": [{"meter": "executions", "amount": 3}], "scope": "workspace/w"})
        self.assertEqual((picked.allowed, code_name(picked), picked.http_status_hint, picked.remaining), (True, "ALLOWED", 200, 4))
        self.assertIn(picked.account, accounts)
        self.assertEqual((picked.decision.allowed, code_name(picked.decision)), (True, "ALLOWED"))
        self.assertEqual(limit(picked.decision, "rate").used, 1)
        self.assertRegex(picked.decision.decision_id, "^[0-9a-f]{32}$")
        self.assertNotIn(picked.account, str(picked.decision), "only PickResponse.account tells it")
        self.assertEqual(self.counted(org), (1, 1, 1))
        ledgers = {(each.scope, each.meter): sum(hour.total for hour in each.hours) for each in self.admin.GetOrg(org=org).ledgers}
        self.assertEqual(ledgers["workspace/w", "executions"], 3)

    def test_where_the_org_is_over_its_rate_no_account_is_charged(self):
        """R-POOL-2"""
        org, (one, _) = "one-call/0", names(2)
        self.calls.configure(org, account(one, 5))
        self.assertTrue(self.calls.pick(org, acquire={}).allowed)
        denied = self.calls.pick(org, acquire={})
        self.assertEqual((denied.allowed, code_name(denied), denied.http_status_hint, denied.account), (False, "RATE_LIMITED", 429, ""))
        self.assertEqual((denied.decision.allowed, code_name(denied.decision)), (False, "RATE_LIMITED"))
        self.assertEqual(denied.decision.retry_after_ms, denied.retry_after_ms)
        self.assertGreater(denied.retry_after_ms, 0)
        self.assertEqual(self.counted(org), (1, 1, 1))
        self.assertEqual(self.calls.summary(org).total_calls, 2, "a refused pick is a call all the same")
        self.assertTrue(self.calls.pick(org).allowed, "what runs already is not gated")

    def test_where_all_accounts_are_exhausted_the_org_is_not_charged(self):
        """R-POOL-2, R-POOL-3"""
        org, (one, _) = fresh("exhausted"), names(2)
        self.calls.configure(org, account(one, 1))
        spend = [{"meter": "spend", "amount": 5}]
        self.assertTrue(self.calls.pick(org, acquire={}).allowed)
        before = self.counted(org)
        denied = self.calls.pick(org, acquire={"cost": spend, "reserve": spend}, request_id="r")
        self.assertExhausted(denied)
        self.assertEqual((denied.decision.allowed, code_name(denied.decision)), (False, "ACCOUNTS_EXHAUSTED"))
        self.assertEqual((denied.decision.reservation_id, denied.decision.http_status_hint), ("", 503))
        self.assertEqual(self.counted(org), before)
        self.assertEqual(self.client.budget.GetBudget(org=org).budget.periods["hourly"].spend, 0)
        self.assertEqual(list(self.admin.GetOrg(org=org).reservations), [])

    def test_a_pick_that_reserves_is_remembered_with_its_hold(self):
        """R-POOL-2, R-PIPE-6"""
        org, accounts = fresh("reserved"), names(3)
        self.calls.configure(org, *(account(name, 5) for name in accounts))
        spend = [{"meter": "spend", "amount": 5}]
        first = self.calls.pick(org, acquire={"reserve": spend}, request_id="r")
        self.assertRegex(first.decision.reservation_id, "^[0-9a-f]{32}$")
        self.calls.picked(org, 2)
        again = self.calls.pick(org, acquire={"reserve": spend}, request_id="r")
        self.assertEqual((again.allowed, again.replayed, again.account), (True, True, first.account))
        told = lambda answer: (answer.decision.decision_id, answer.decision.reservation_id)  # noqa: E731
        self.assertEqual((told(again), again.decision.replayed), (told(first), True))
        self.assertEqual(self.counted(org), (1, 1, 3))
        self.gate.Commit(org=org, reservation_id=first.decision.reservation_id, request_id="c", actual=spend)
        self.assertEqual(self.client.budget.GetBudget(org=org).budget.periods["hourly"].spend, 5)
        for other in [{"acquire": {}}, {}]:
            self.assertEqual(refusal(self.calls.pick, org, request_id="r", **other).reason, "REQUEST_ID_REUSED")

    def test_a_frozen_org_picks_nothing_that_asks_its_gates(self):
        """R-PIPE-1"""
        org, (one, _) = fresh("frozen"), names(2)
        self.calls.configure(org, account(one, 5))
        self.admin.Freeze(org=org, request_id="f", reason="unpaid")
        denied = self.calls.pick(org, acquire={})
        self.assertEqual((denied.allowed, code_name(denied), denied.http_status_hint, denied.account), (False, "FROZEN", 403, ""))
        self.assertIn("unpaid", denied.message)
        self.assertEqual(self.calls.account(org, one).used, 0)
        self.admin.Unfreeze(org=org, request_id="u")
        self.assertTrue(self.calls.pick(org, acquire={}).allowed)

    def test_what_is_wrong_inside_is_named_with_its_place(self):
        org, (one, _) = fresh("nested"), names(2)
        self.calls.configure(org, account(one, 5))
        rows = [
            ("acquire.org", {"org": "another"}), ("acquire.pool", {"pool": "q"}), ("acquire.request_id", {"request_id": "s"}),
            ("acquire.scope", {"scope": "a b"}), ("acquire.cost[0].meter", {"cost": [{"meter": "Spend"}]}),
            ("acquire.reserve[0].amount", {"reserve": [{"meter": "spend", "amount": -1}]}),
            ("acquire.reservation_ttl_ms", {"reservation_ttl_ms": 1}), ("acquire.plane", {"plane": "p" * 65}),
            *[("acquire.mode", {"mode": mode}) for mode in ["MODE_CHECK_ONLY", "MODE_SHADOW", 9]],
        ]
        for field, inner in rows:
            with self.subTest(field, **inner):
                refused = refusal(self.calls.pick, org, request_id="r", acquire=inner)
                self.assertEqual((refused.code.name, refused.reason), ("INVALID_ARGUMENT", "INVALID_FIELD"), refused.message)
                self.assertEqual(refused.fields, [field], refused.message)
        self.assertEqual((self.calls.summary(org).used, self.calls.summary(org).total_calls), (0, 0))
        same = {"org": org, "pool": "p", "request_id": "r", "mode": "MODE_NORMAL"}
        self.assertTrue(self.calls.pick(org, request_id="r", acquire=same).allowed, "the same may be said twice")

    def test_an_unknown_pool_is_refused_and_charges_nothing(self):
        org = fresh("unknown")
        for acquire in [{}, {"acquire": {}}]:
            refused = refusal(self.calls.pick, org, **acquire)
            self.assertEqual((refused.code.name, refused.reason), ("NOT_FOUND", "POOL_UNKNOWN"))
        self.assertEqual(refusal(self.admin.GetOrg, org=org).reason, "ORG_UNKNOWN")


class Named(SharedPoolCase):
    CONFIG = SharedPoolCase.CONFIG + '[orgs."one-call"]\nrate = { amount = 1 }\n'

    def test_an_execution_that_names_a_pool_is_denied_when_it_is_exhausted_before_the_backstop(self):
        """R-POOL-3, R-PIPE-1"""
        org, (one, _) = "one-call", names(2)
        self.calls.configure(org, account(one, 1))
        allowed = self.gate.Acquire(org=org, pool="p")
        self.assertTrue(allowed.allowed, allowed.message)
        self.assertEqual((self.calls.account(org, one).used, self.calls.summary(org).total_calls), (0, 0), "it takes no account")
        self.assertEqual(code_name(self.gate.Acquire(org=org, pool="p")), "RATE_LIMITED")
        self.calls.pick(org)
        denied = self.gate.Acquire(org=org, pool="p")
        self.assertEqual((denied.allowed, code_name(denied), denied.http_status_hint), (False, "ACCOUNTS_EXHAUSTED", 503))
        self.assertGreater(denied.retry_after_ms, 0)
        self.assertNotIn(one, str(denied))
        self.assertEqual(code_name(self.gate.Acquire(org=org)), "RATE_LIMITED", "without the pool the backstop is first")
        checked = self.gate.Acquire(org=org, pool="p", mode="MODE_CHECK_ONLY")
        self.assertEqual(code_name(checked), "ACCOUNTS_EXHAUSTED")
        self.assertEqual(self.admin.GetOrg(org=org).admitted_total, 1)

    def test_an_unknown_pool_is_an_error_of_its_item(self):
        org = fresh("unknown")
        refused = refusal(self.gate.Acquire, org=org, pool="p")
        self.assertEqual((refused.code.name, refused.reason), ("NOT_FOUND", "POOL_UNKNOWN"))
        self.assertEqual(refusal(self.gate.Acquire, org=org, pool="a b").fields, ["pool"])
        first, second = self.gate.AcquireBatch(items=[{"org": org, "pool": "p"}, {"org": org}]).results
        self.assertEqual((first.error.reason, second.decision.allowed), ("POOL_UNKNOWN", True))


if __name__ == "__main__":
    unittest.main()
