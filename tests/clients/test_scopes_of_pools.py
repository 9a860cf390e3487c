"""Upstream accounts and pools count outside of the org, so nobody but PoolService charges their scopes."""

import unittest

from case import SharedNodeCase, fresh
from plane import refusal

SCOPES = ["account/k1", "account/", "pool/a", "account/sk-secret-0123456789-9f3c"]
SPEND = [{"meter": "spend", "amount": 5}]


class ScopesOfPools(SharedNodeCase):
    CONFIG = """
        [defaults]
        plan = "limited"
        [plans.limited]
        executions = { aligned_24h = 3 }
        spend = { daily = "$3" }
        compute = { calendar_month = "1h" }
    """

    def assertRefused(self, call, field="scope", **request):
        refused = refusal(call, **request)
        self.assertEqual((refused.code.name, refused.reason, refused.fields), ("INVALID_ARGUMENT", "INVALID_FIELD", [field]))
        self.assertIn("only PoolService charges them", refused.message)
        self.assertNotIn("0123456789", refused.message, "an account is a secret")

    def calls(self, org, scope):
        named = {"org": org, "scope": scope}
        yield self.gate.Acquire, named
        yield self.gate.Acquire, {**named, "cost": SPEND, "mode": "MODE_CHECK_ONLY"}
        yield self.gate.Record, {**named, "usage": SPEND, "request_id": fresh()}
        yield self.gate.ReportCumulative, {
            **named, "source": "s", "incarnation": "i", "meter": "spend", "total": 5, "request_id": fresh()}
        yield self.gate.GetStatus, named
        yield self.session.StartSession, {**named, "session_id": fresh("s"), "identity": "i", "request_id": fresh()}

    def test_a_call_cannot_evade_the_limits_of_its_org_by_the_scope_it_names(self):
        """R-PIPE-4"""
        for scope in SCOPES:
            org = fresh("evades")
            for call, request in self.calls(org, scope):
                with self.subTest(scope=scope, request=request):
                    self.assertRefused(call, **request)
            self.client.pool.ConfigurePool(org=org, pool="a", accounts=[{"account": "k1"}], request_id=fresh())
            self.assertRefused(self.client.pool.Pick, "acquire.scope", org=org, pool="a", acquire={"scope": scope})
            self.assertEqual([self.gate.Acquire(org=org).allowed for _ in range(4)], [True, True, True, False])

    def test_batches_and_streams_refuse_it_item_by_item(self):
        org = fresh("items")
        items = [{"org": org, "scope": scope} for scope in SCOPES] + [{"org": org, "scope": "accounts/k1"}]
        answers = [
            [result.error.reason for result in self.gate.AcquireBatch(items=items).results],
            [result.error.reason for result in self.gate.BatchGetStatus(items=items).results],
            [result.error.reason for result in self.session.BatchStatus(items=items).results],
            [answer.error.reason for answer in sorted(
                self.gate.AcquireStream([{"tag": tag, "acquire": item} for tag, item in enumerate(items)]),
                key=lambda answer: answer.tag)],
        ]
        for reasons in answers:
            self.assertEqual(reasons, ["INVALID_FIELD"] * len(SCOPES) + [""])

    def test_a_budget_that_would_limit_nothing_is_refused(self):
        """R-BUD-7: no spend is recorded there; 0 blocks, and what is stored is shown and cleared"""
        org, budget = fresh("budget"), self.budget
        self.client.pool.ConfigurePool(org=org, pool="a", accounts=[{"account": "k1"}], request_id=fresh())
        for scope in ["account/k1", "pool/a"]:
            named = {"org": org, "scope": scope}
            for refused in [
                refusal(budget.UpdateBudget, **named, request_id=fresh(), periods={"daily": {"limit": 1}}),
                refusal(budget.ReplaceBudget, **named, request_id=fresh(), budget_limit_cents=100),
            ]:
                self.assertEqual((refused.reason, refused.fields), ("INVALID_FIELD", ["scope"]))
                self.assertIn("no spend is recorded in account/... and pool/...", refused.message)
            budget.UpdateBudget(**named, request_id=fresh(), periods={"daily": {"limit": 0}})
            self.assertEqual(budget.GetBudget(**named).budget.periods["daily"].limit, 0)
            self.assertFalse(self.client.pool.Pick(org=org, pool="a").allowed)
            budget.UpdateBudget(**named, request_id=fresh(), periods={"daily": {"clear": True}})
            self.assertTrue(self.client.pool.Pick(org=org, pool="a").allowed)


class Configured(SharedNodeCase):
    CONFIG = """
        [plans.relay.scopes]
        "account/*" = { bytes = { anchored_24h = 1000 }, spend = { daily = "$5" } }
        "pool/p" = { calls = { aligned_1h = 10 }, executions = { aligned_1h = 10 } }
    """

    def test_a_limit_that_counts_nothing_is_warned_of(self):
        check = self.shared.run("check-config", self.shared.config_file)
        self.assertEqual(check.returncode, 0, check.stderr)
        said = check.stdout + check.stderr
        self.assertIn('"account/*".spend limits nothing: only executions and bytes are counted there', said)
        self.assertIn('"pool/p".executions limits nothing: only calls and bytes are counted there', said)
        self.assertEqual(said.count("limits nothing"), 2)


if __name__ == "__main__":
    unittest.main()
