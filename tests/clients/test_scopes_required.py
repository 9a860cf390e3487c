"""Which scopes a call has to name, and which it may not."""

import unittest

from case import SharedNodeCase, fresh
from plane import code_name, limit

HELD = [{"meter": "executions", "amount": 1}]


class Required(SharedNodeCase):
    CONFIG = """
        [defaults]
        plan = "agents"
        [plans.agents]
        executions = { calendar_day = 100 }
        require_scopes = ["agent/*"]
        [plans.listed]
        executions = { calendar_day = 100 }
        [plans.listed.scopes]
        "agent/*" = "deny"
        "agent/7" = { executions = { calendar_day = 3 } }
        [orgs.open]
        require_scopes = []
        [orgs.listing]
        plan = "listed"
        [orgs.budgets]
        plan = "listed"
        [orgs.recording]
        plan = "listed"
    """

    def assertRequired(self, answer):
        self.assertEqual((answer.allowed, code_name(answer)), (False, "SCOPE_REQUIRED"), answer.message)
        self.assertEqual((answer.http_status_hint, answer.retry_after_ms), (403, 0), "R-PIPE-5")

    def used(self, org):
        return limit(self.gate.GetStatus(org=org, scope="agent/7"), "quota/executions/calendar/day").used

    def test_a_call_that_leaves_the_scope_out_is_denied_before_anything_is_charged(self):
        """R-PIPE-4"""
        org = fresh("evades")
        for fields in [{}, {"scope": "workspace/w"}, {"scopes": ["agents/7", "workspace/w"]}]:
            denied = self.gate.Acquire(org=org, reserve=HELD, **fields)
            self.assertRequired(denied)
            self.assertIn("agent/*", denied.message)
            self.assertEqual(denied.reservation_id, "")
        self.assertEqual(self.used(org), 0)
        rate = limit(self.gate.GetStatus(org=org), "rate")
        self.assertEqual((rate.used, rate.blocked), (0, 0))
        self.assertTrue(self.gate.Acquire(org=org, scope="workspace/w", scopes=["agent/7"]).allowed)
        self.assertEqual(self.used(org), 1)
        self.assertTrue(self.gate.Acquire(org="open").allowed, "an org has the last word over its plan")

    def test_every_way_to_ask_is_asked_for_it(self):
        """R-PIPE-4, R-PIPE-7: peeks, shadows, batches, streams, sessions, picks and queries"""
        org = fresh("ways")
        self.assertRequired(self.gate.Acquire(org=org, mode="MODE_CHECK_ONLY"))
        shadow = self.gate.Acquire(org=org, mode="MODE_SHADOW")
        self.assertEqual((shadow.allowed, code_name(shadow)), (True, "SCOPE_REQUIRED"))
        explained = self.gate.Acquire(org=org, explain=True)
        self.assertRequired(explained)
        self.assertTrue(limit(explained, "quota/executions/calendar/day"))
        batch = self.gate.AcquireBatch(items=[{"org": org}, {"org": org, "scope": "agent/7"}]).results
        self.assertEqual([code_name(each.decision) for each in batch], ["SCOPE_REQUIRED", "ALLOWED"])
        (streamed,) = self.gate.AcquireStream([{"tag": 1, "acquire": {"org": org}}])
        self.assertRequired(streamed.decision)
        session = {"org": org, "session_id": "s", "identity": "i"}
        self.assertRequired(self.session.StartSession(**session, request_id=fresh()))
        self.assertTrue(self.session.StartSession(**session, scopes=["agent/7"], request_id=fresh()).allowed)
        status = self.gate.GetStatus(org=org)
        self.assertEqual((status.allowed, code_name(status)), (False, "SCOPE_REQUIRED"))
        (can,) = self.session.BatchStatus(items=[{"org": org}]).results
        self.assertEqual((can.status.can_start, code_name(can.status)), (False, "SCOPE_REQUIRED"))
        self.client.pool.ConfigurePool(org=org, pool="p", accounts=[{"account": "k"}], request_id=fresh())
        picked = self.client.pool.Pick(org=org, pool="p", request_id=fresh(), acquire={})
        self.assertEqual((picked.allowed, code_name(picked), picked.account), (False, "SCOPE_REQUIRED", ""))
        gated = {"scopes": ["agent/7"]}
        self.assertTrue(self.client.pool.Pick(org=org, pool="p", request_id=fresh(), acquire=gated).allowed)
        self.assertTrue(self.client.pool.Pick(org=org, pool="p", request_id=fresh()).allowed, "asks no gate of the org")
        self.gate.Resume(org=org, execution_id="e")

    def test_a_denial_is_not_remembered_under_the_request_id(self):
        """R-PIPE-6"""
        org = fresh("again")
        self.assertRequired(self.gate.Acquire(org=org, request_id="r"))
        self.assertTrue(self.gate.Acquire(org=org, scope="agent/7", request_id="r").allowed)

    def test_new_names_of_a_denied_family_are_refused_unless_listed(self):
        for scopes, code in [
            (["agent/7"], "ALLOWED"), ([], "ALLOWED"), (["workspace/w"], "ALLOWED"),
            (["agent/8"], "SCOPE_REQUIRED"), (["agent/7", "agent/8"], "SCOPE_REQUIRED"),
        ]:
            self.assertEqual(code_name(self.gate.Acquire(org="listing", scopes=scopes)), code, scopes)
        self.assertRequired(self.gate.Acquire(org="listing", scope="agent/8"))

    def test_a_budget_at_run_time_lists_a_name(self):
        """R-PIPE-11"""
        self.assertRequired(self.gate.Acquire(org="budgets", scope="agent/9"))
        self.budget.ReplaceBudget(org="budgets", scope="agent/9", limits={"daily": 5_000_000}, request_id=fresh())
        self.assertTrue(self.gate.Acquire(org="budgets", scope="agent/9").allowed)
        self.budget.ReplaceBudget(org="budgets", scope="agent/9", request_id=fresh())
        self.assertRequired(self.gate.Acquire(org="budgets", scope="agent/9"))

    def test_what_happened_is_recorded_whatever_it_names(self):
        """R-PIPE-3: usage after the fact passes no gate."""
        usage = [{"meter": "executions", "amount": 2}]
        self.gate.Record(org="recording", scope="agent/8", usage=usage, request_id=fresh())
        self.gate.ReportCumulative(
            org="recording", scope="agent/8", source="s", incarnation="i", meter="executions", total=3, request_id=fresh())
        self.assertEqual(self.used("recording"), 5)

    def test_the_command_says_why_and_exits_3(self):
        ran = self.shared.run("--addr", f"http://{self.shared.grpc}", "acquire", fresh("cli"))
        self.assertEqual(ran.returncode, 3, ran.stderr)
        self.assertIn("SCOPE_REQUIRED", ran.stdout)
        ran = self.shared.run(
            "--addr", f"http://{self.shared.grpc}", "acquire", fresh("cli"), "--scope", "workspace/w", "--scope", "agent/7")
        self.assertEqual(ran.returncode, 0, ran.stderr)


if __name__ == "__main__":
    unittest.main()
