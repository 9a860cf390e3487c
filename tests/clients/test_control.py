"""What an operator sets at run time: it lets the next call pass, shows what it was, and ends by itself."""

import unittest

from case import NodeCase, SharedNodeCase, at_rest, fresh
from node import eventually
from plane import code_name, limit, refusal

HOUR = 3600
HOUR_MS = HOUR * 1000
DOLLAR = 1_000_000
CONFIG = """
[rate]
amount = 1000
[plans.free]
spend = { daily = "$25" }
scopes."workspace/*" = { spend = { daily = "$5" } }
[plans.pro]
spend = { daily = "$250" }
rate = { amount = 5000 }
[defaults]
plan = "free"
"""


def spend(amount):
    return [{"meter": "spend", "amount": amount}]


def source(view):
    return view.DESCRIPTOR.fields_by_name["source"].enum_type.values_by_number[view.source].name.removeprefix("LIMIT_SOURCE_")


class ForAWhile(NodeCase):
    """With a clock that a test moves, over kill -9 and restarts."""

    def started(self):
        clock = self.clock(minute=10)
        node = self.node(clock=clock, config=CONFIG)
        plane = self.plane(node)
        plane.gate.Record(org="acme", scope="workspace/a", usage=spend(5 * DOLLAR), request_id="used up")
        self.assertEqual(self.code(plane), "BUDGET_EXCEEDED")
        return clock, node, plane

    def code(self, plane):
        return code_name(plane.gate.Acquire(org="acme", scope="workspace/a"))

    def let_through(self, plane, **fields):
        named = {"org": "acme", "scope": "workspace/a", "limit": "budget/daily", "amount": 6 * DOLLAR}
        return plane.admin.SetOverride(**named, request_id=fresh(), reason="ticket 4711", **fields)

    def test_an_override_lets_the_next_call_pass_for_an_hour_over_kills_and_restarts(self):
        """R-CTRL-1, R-PIPE-11"""
        clock, node, plane = self.started()
        answer = self.let_through(plane, for_ms=HOUR_MS)
        self.assertEqual((answer.before.amount, answer.after.amount), (5 * DOLLAR, 6 * DOLLAR))
        self.assertEqual((source(answer.before), source(answer.after)), ("PLAN", "OVERRIDE"))
        self.assertEqual(self.code(plane), "ALLOWED", "the next call")
        until = answer.current.until_ms
        for kill in [True, False, True]:
            node.kill() if kill else self.assertEqual(node.stop(), 0)
            clock.step(900)
            plane = self.plane(node.start())
            self.assertEqual(self.code(plane), "ALLOWED", "an override is kept")
            view = limit(plane.gate.GetStatus(org="acme", scope="workspace/a"), "budget/daily", "workspace/a")
            self.assertEqual((source(view), view.source_until_ms), ("OVERRIDE", until))
        node.kill()
        clock.step(1000)
        plane = self.plane(node.start())
        self.assertEqual(self.code(plane), "BUDGET_EXCEEDED", "it ended while the node was away")
        self.assertEqual(list(plane.admin.ListOverrides(org="acme").overrides), [])
        (ended,) = plane.admin.ListOverrides(org="acme", ended=True).overrides
        self.assertEqual((ended.ended_at_ms, ended.version, ended.reason), (until, 2, "ticket 4711"))
        self.assertEqual(plane.admin.Audit(org="acme").drifted, 0)

    def test_the_end_is_announced_once_without_a_call(self):
        """R-CTRL-1: a stored timer"""
        clock, node, plane = self.started()
        self.let_through(plane, for_ms=HOUR_MS)
        node.kill()
        clock.step(HOUR)
        node.start()
        eventually(lambda: node.logged("an override ended"), "a line in the log")
        self.assertEqual(node.stop(), 0)
        node.start()
        plane = self.plane(node)
        self.assertEqual(self.code(plane), "BUDGET_EXCEEDED")
        self.assertEqual(len([line for line in node.log if "an override ended" in line]), 1)

    def test_a_freeze_ends_by_itself(self):
        """R-CTRL-1"""
        clock, node, plane = self.started()
        frozen = plane.admin.Freeze(org="acme", request_id=fresh(), reason="unpaid", for_ms=24 * HOUR_MS)
        self.assertAlmostEqual(frozen.until_ms, clock.now_ms() + 24 * HOUR_MS, delta=5_000)
        node.kill()
        clock.step(23 * HOUR)
        plane = self.plane(node.start())
        denied = plane.gate.Acquire(org="acme")
        self.assertEqual(code_name(denied), "FROZEN")
        self.assertAlmostEqual(denied.retry_after_ms, HOUR_MS, delta=30_000)
        clock.step(HOUR)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        self.assertFalse(plane.admin.GetOrg(org="acme").frozen)

    def test_what_is_set_goes_with_an_export_and_an_import(self):
        """R-CTRL-1"""
        clock, node, plane = self.started()
        self.let_through(plane, for_ms=HOUR_MS)
        before = plane.admin.ListOverrides(org="acme").overrides
        self.assertEqual(node.stop(), 0)
        plane = self.plane(self.restored(node, lambda row: None, config=CONFIG, clock=clock))
        after = plane.admin.ListOverrides(org="acme").overrides
        self.assertEqual([at_rest(one) for one in after], [at_rest(one) for one in before])
        self.assertEqual(self.code(plane), "ALLOWED")

    def test_a_plan_that_is_not_configured_any_more_is_ignored(self):
        """R-CTRL-1"""
        _, node, plane = self.started()
        plane.admin.SetPlan(org="acme", request_id=fresh(), plan="pro")
        self.assertEqual(limit(plane.gate.GetStatus(org="acme"), "rate").amount, 5000)
        node.write_config(CONFIG.replace("[plans.pro]", "[plans.gold]"))
        self.assertTrue(plane.admin.Reload().applied)
        status = plane.gate.GetStatus(org="acme")
        self.assertEqual((status.plan, limit(status, "rate").amount), ("free", 1000))
        self.assertTrue(plane.admin.ListOverrides(org="acme").overrides[0].ignored)
        eventually(lambda: node.logged("is not configured any more"), "a warning in the log")


class Control(SharedNodeCase):
    CONFIG = CONFIG

    def set(self, org, **fields):
        return self.admin.SetOverride(**{"org": org, "request_id": fresh(), **fields})

    def test_every_limit_says_where_it_comes_from(self):
        """R-CTRL-1"""
        org = fresh("source")
        self.budget.UpdateBudget(org=org, request_id=fresh(), periods={"weekly": {"limit": 9}})
        self.set(org, limit="sessions", amount=2)
        self.gate.Acquire(org=org)
        limits = {view.name: source(view) for view in self.admin.GetOrg(org=org).limits}
        expected = {"rate": "DEFAULT", "sessions": "OVERRIDE", "budget/daily": "PLAN", "budget/weekly": "BUDGET"}
        self.assertEqual({name: limits[name] for name in expected}, expected)

    def test_a_retry_is_the_same_and_another_body_is_refused(self):
        """R-PIPE-6"""
        org, once = fresh("retry"), fresh()
        first = self.set(org, limit="rate", amount=7, request_id=once)
        again = self.set(org, limit="rate", amount=7, request_id=once)
        self.assertEqual((first.replayed, again.replayed, again.current.version), (False, True, 1))
        self.assertFalse(again.HasField("before"))
        self.assertEqual(refusal(self.set, org, limit="rate", amount=8, request_id=once).reason, "REQUEST_ID_REUSED")
        stale = refusal(self.set, org, limit="rate", amount=8, expected_version=0)
        self.assertEqual((stale.reason, stale.code.name), ("OVERRIDE_VERSION", "ABORTED"))

    def test_what_cannot_be_is_refused_and_changes_nothing(self):
        """R-CTRL-1"""
        org = fresh("refused")
        for reason, fields in [
            ("INVALID_FIELD", {"limit": "daily", "amount": 5}),
            ("INVALID_FIELD", {"limit": "rate"}),
            ("INVALID_FIELD", {"limit": "rate", "amount": 5, "until_ms": 5}),
            ("INVALID_FIELD", {"limit": "rate", "amount": 5, "scope": "workspace/a"}),
            ("LIMIT_UNKNOWN", {"limit": "quota/compute", "setting": "OVERRIDE_SETTING_UNLIMITED"}),
            ("LIMIT_UNKNOWN", {"limit": "account", "scope": "workspace/a", "amount": 5}),
        ]:
            self.assertEqual(refusal(self.set, org, **fields).reason, reason, fields)
        unknown = refusal(self.admin.SetPlan, org=org, request_id=fresh(), plan="platinum")
        self.assertEqual(unknown.reason, "INVALID_FIELD")
        self.assertIn("free", unknown.message)
        self.assertIn("pro", unknown.message)
        self.assertEqual(list(self.admin.ListOverrides(org=org, ended=True).overrides), [])

    def test_the_command_shows_what_it_was_and_what_it_is(self):
        """R-CTRL-1"""
        org = fresh("command")
        run = lambda *words: self.shared.run("--addr", f"http://{self.shared.grpc}", "org", *words)
        out = run("override", "set", org, "daily=50usd", "--for", "1h", "--reason", "ticket 4711")
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertIn("$25.00 (plan) → $50.00 (override)", out.stdout)
        self.assertIn("(in 1h", out.stdout)
        plan = run("set-plan", org, "pro", "--for", "7d")
        self.assertIn("free → pro", plan.stdout, plan.stderr)
        self.assertIn("never → always", run("exempt", org).stdout)
        listed = run("override", "list", org).stdout
        for word in ["budget/daily", "exemption", "plan", "ticket 4711"]:
            self.assertIn(word, listed)
        cleared = run("override", "clear", org, "daily")
        self.assertIn("$50.00 (override) → $250.00 (plan)", cleared.stdout, cleared.stderr)


if __name__ == "__main__":
    unittest.main()
