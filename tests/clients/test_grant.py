"""What an operator grants on top of a limit: it lets the next call pass, and ends by itself."""

import unittest

from case import NodeCase, SharedNodeCase, fresh
from node import eventually
from plane import code_name, limit, refusal

HOUR = 3600
HOUR_MS = HOUR * 1000
DOLLAR = 1_000_000
CONFIG = """
[plans.free]
spend = { daily = "$25" }
scopes."workspace/*" = { spend = { daily = "$5" } }
[defaults]
plan = "free"
"""


def spend(amount):
    return [{"meter": "spend", "amount": amount}]


def daily(plane):
    return limit(plane.gate.GetStatus(org="acme", scope="workspace/a"), "budget/daily", "workspace/a")


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

    def grant(self, plane, **fields):
        named = {"org": "acme", "scope": "workspace/a", "limit": "budget/daily", "amount": 2 * DOLLAR}
        return plane.admin.Grant(**{**named, "request_id": fresh(), "reason": "ticket 4711", **fields})

    def test_a_grant_lets_the_next_call_pass_for_an_hour_over_kills_and_restarts(self):
        """R-CTRL-5, R-PIPE-11"""
        clock, node, plane = self.started()
        answer = self.grant(plane, for_ms=HOUR_MS, request_id="g")
        self.assertEqual((answer.before.amount, answer.after.amount), (5 * DOLLAR, 7 * DOLLAR))
        self.assertEqual((answer.before.granted, answer.after.granted), (0, 2 * DOLLAR))
        self.assertEqual(self.code(plane), "ALLOWED", "the next call")
        until = answer.current.until_ms
        for kill in [True, False, True]:
            node.kill() if kill else self.assertEqual(node.stop(), 0)
            clock.step(900)
            plane = self.plane(node.start())
            self.assertEqual(self.code(plane), "ALLOWED", "a grant is kept")
            view = daily(plane)
            self.assertEqual((view.amount, view.granted, view.granted_until_ms), (7 * DOLLAR, 2 * DOLLAR, until))
        again = self.grant(plane, for_ms=HOUR_MS, request_id="g")
        self.assertEqual((again.replayed, again.current.grant), (True, answer.current.grant))
        self.assertEqual(daily(plane).granted, 2 * DOLLAR, "a retry grants nothing")
        node.kill()
        clock.step(1000)
        plane = self.plane(node.start())
        self.assertEqual(self.code(plane), "BUDGET_EXCEEDED", "it ended while the node was away")
        self.assertEqual(list(plane.admin.ListOverrides(org="acme").overrides), [])
        (ended,) = plane.admin.ListOverrides(org="acme", ended=True).overrides
        self.assertEqual((ended.ended_at_ms, ended.grant, ended.reason), (until, 1, "ticket 4711"))
        eventually(lambda: node.logged("an override ended"), "a line in the log")
        self.assertEqual(plane.admin.Audit(org="acme").drifted, 0)

    def test_what_was_granted_and_revoked_is_in_the_log_of_the_org(self):
        """R-CTRL-3, R-CTRL-5"""
        clock, node, plane = self.started()
        number = self.grant(plane).current.grant
        revoked = plane.admin.RevokeGrant(org="acme", grant=number, request_id=fresh(), reason="by mistake")
        self.assertEqual((revoked.before.amount, revoked.after.amount), (7 * DOLLAR, 5 * DOLLAR))
        self.assertEqual(self.code(plane), "BUDGET_EXCEEDED")
        node.kill()
        plane = self.plane(node.start())
        self.assertEqual(self.code(plane), "BUDGET_EXCEEDED", "revoked for good")
        events = plane.admin.ListAudit(org="acme").events
        self.assertEqual([(each.command, each.reason) for each in events],
                         [("Grant", "ticket 4711"), ("RevokeGrant", "by mistake")])


class UntilSpent(NodeCase):
    """Over kill -9 and the end of days: what is spent is in the commit of what has spent it."""

    def started(self):
        clock = self.clock(minute=10)
        node = self.node(clock=clock, config="""
[plans.p]
spend = { calendar_day = "$50" }
[defaults]
plan = "p"
""")
        return clock, node, self.plane(node)

    def view(self, plane):
        view = limit(plane.gate.GetStatus(org="acme"), "quota/spend/calendar/day")
        return [value / DOLLAR for value in (view.used, view.amount, view.granted_spent, view.granted_left)]

    def test_usage_over_the_limit_spends_it_over_kills_and_days(self):
        """R-CTRL-7"""
        clock, node, plane = self.started()
        record = lambda amount, name: plane.gate.Record(org="acme", usage=spend(amount * DOLLAR), request_id=name)
        code = lambda: code_name(plane.gate.Acquire(org="acme"))
        record(45, "a")
        named = {"org": "acme", "limit": "quota/spend/calendar/day", "amount": 20 * DOLLAR, "until_spent": True}
        answer = plane.admin.Grant(**named, request_id="g", reason="ticket 4711")
        self.assertEqual((answer.current.until_ms, answer.current.amount, answer.current.spent), (0, 20 * DOLLAR, 0))
        self.assertTrue(answer.current.HasField("spent"))
        record(8, "b")
        self.assertEqual(self.view(plane), [53, 70, 3, 17])
        node.kill()
        plane = self.plane(node.start())
        self.assertEqual(self.view(plane), [53, 70, 3, 17], "spent with the charge")
        again = plane.admin.Grant(**named, request_id="g")
        self.assertEqual((again.replayed, again.current.spent), (True, 3 * DOLLAR), "a retry grants nothing")
        self.assertEqual(self.view(plane), [53, 70, 3, 17])
        held = plane.gate.Acquire(org="acme", reserve=spend(17 * DOLLAR), request_id="h")
        self.assertEqual((code(), self.view(plane)[2:]), ("QUOTA_EXCEEDED", [20, 0]))
        node.kill()
        plane = self.plane(node.start())
        self.assertEqual(code(), "QUOTA_EXCEEDED", "a reservation holds it")
        plane.gate.Release(org="acme", reservation_id=held.reservation_id, request_id="r")
        self.assertEqual((code(), self.view(plane)), ("ALLOWED", [53, 70, 3, 17]))
        plane.admin.Refund(org="acme", amounts=spend(DOLLAR), request_id="back")
        self.assertEqual(self.view(plane), [52, 70, 2, 18])
        node.kill()
        clock.step(26 * HOUR)
        plane = self.plane(node.start())
        self.assertEqual(self.view(plane), [0, 68, 2, 18], "another day")
        record(68, "c")
        self.assertEqual((code(), self.view(plane)), ("QUOTA_EXCEEDED", [68, 50, 0, 0]), "it is spent")
        node.kill()
        plane = self.plane(node.start())
        (ended,) = plane.admin.ListOverrides(org="acme", ended=True).overrides
        self.assertEqual((ended.spent, ended.grant, ended.ended_at_ms > 0), (20 * DOLLAR, 1, True))
        events = plane.admin.ListEvents(org="acme", kinds=["override_ended"]).events
        self.assertEqual(len(events), 1, "announced once")
        self.assertEqual(plane.admin.Audit(org="acme").drifted, 0)


class Resets(NodeCase):
    """Over kill -9, with the usage that finance reads."""

    def test_a_reset_lets_the_next_call_pass_and_leaves_the_usage_as_it_was(self):
        """R-CTRL-6"""
        clock = self.clock(minute=10)
        node = self.node(clock=clock, config=CONFIG)
        plane = self.plane(node)
        scope = {"org": "acme", "scope": "workspace/a"}
        plane.gate.Record(**scope, usage=spend(5 * DOLLAR), request_id="used up")
        code = lambda: code_name(plane.gate.Acquire(**scope))
        used = lambda: plane.admin.Usage(org="acme").SerializeToString(deterministic=True)
        self.assertEqual(code(), "BUDGET_EXCEEDED")
        before = used()
        named = {**scope, "limit": "budget/daily", "request_id": "reset", "reason": "billed by mistake"}
        answer = plane.admin.ResetWindow(**named)
        self.assertEqual((answer.before.used, answer.after.used), (5 * DOLLAR, 0))
        self.assertEqual(used(), before, "usage by day is as it was")
        self.assertEqual(code(), "ALLOWED", "the next call")
        plane.gate.Record(**scope, usage=spend(2 * DOLLAR), request_id="after")
        for kill in [True, False]:
            node.kill() if kill else self.assertEqual(node.stop(), 0)
            plane = self.plane(node.start())
            self.assertEqual((daily(plane).used, code()), (2 * DOLLAR, "ALLOWED"), "over a kill and a restart")
            self.assertGreater(daily(plane).counts_from_ms, 0)
            self.assertEqual(plane.admin.Audit(org="acme").drifted, 0)
        again = plane.admin.ResetWindow(**named)
        self.assertEqual((again.replayed, again.after.used), (True, 2 * DOLLAR), "a retry resets nothing")
        clock.step(26 * HOUR)
        plane.gate.Record(**scope, usage=spend(DOLLAR), request_id="a day later")
        self.assertEqual((daily(plane).used, daily(plane).counts_from_ms), (DOLLAR, 0), "as ever")
        self.assertEqual(plane.admin.Audit(org="acme").drifted, 0)


class Grants(SharedNodeCase):
    """What nothing is granted of, and the command line."""

    CONFIG = CONFIG + "[rate]\namount = \"off\"\n"

    def test_what_there_is_nothing_to_add_to_is_refused_by_what_it_is(self):
        """R-CTRL-5"""
        org = fresh("refused")
        for reason, code, fields in [
            ("LIMIT_UNKNOWN", "NOT_FOUND", {"limit": "budget/weekly"}),
            ("LIMIT_NOT_GRANTABLE", "FAILED_PRECONDITION", {"limit": "rate"}),
            ("INVALID_FIELD", "INVALID_ARGUMENT", {"limit": "budget/daily", "for_ms": 0, "until_ms": 1}),
            ("INVALID_FIELD", "INVALID_ARGUMENT", {"limit": "budget/daily", "amount": 0}),
            ("LIMIT_NOT_GRANTABLE", "FAILED_PRECONDITION", {"limit": "rate", "for_ms": 0, "until_spent": True}),
        ]:
            named = {"org": org, "amount": 5, "for_ms": HOUR_MS, "request_id": fresh(), **fields}
            refused = refusal(self.admin.Grant, **named)
            self.assertEqual((refused.reason, refused.code.name), (reason, code), fields)
        for reason, limit_name in [("LIMIT_NOT_RESETTABLE", "sessions"), ("LIMIT_UNKNOWN", "budget/weekly")]:
            refused = refusal(self.admin.ResetWindow, org=org, limit=limit_name, request_id=fresh())
            self.assertEqual(refused.reason, reason)
        unknown = refusal(self.admin.RevokeGrant, org=org, grant=9, request_id=fresh())
        self.assertEqual(unknown.reason, "GRANT_UNKNOWN")
        self.assertEqual(list(self.admin.ListOverrides(org=org, ended=True).overrides), [])

    def test_the_command_shows_what_it_was_and_what_it_is(self):
        """R-CTRL-5"""
        org = fresh("command")
        run = lambda *words: self.shared.run("--addr", f"http://{self.shared.grpc}", "org", *words)
        out = run("grant", org, "daily", "5usd", "--for", "1h", "--reason", "ticket 4711")
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertIn("$25.00 (plan) → $30.00 (plan, $5.00 of it granted)", out.stdout)
        self.assertIn("(in 1h", out.stdout)
        listed = run("override", "list", org).stdout
        for word in ["budget/daily", "+$5.00 (grant 1)", "ticket 4711"]:
            self.assertIn(word, listed)
        spent = run("grant", org, "daily", "20usd", "--until-spent")
        self.assertIn("+$20.00 (grant 2, $0.00 spent, $20.00 left)", spent.stdout, spent.stderr)
        self.assertIn("$20.00 left of $20.00 granted until spent", run("show", org).stdout)
        run("revoke-grant", org, "2")
        revoked = run("revoke-grant", org, "1")
        self.assertIn("$30.00 (plan, $5.00 of it granted) → $25.00 (plan)", revoked.stdout, revoked.stderr)


if __name__ == "__main__":
    unittest.main()
