"""What an operator gives back counts no more: in the limits, over kills and restarts, and at the billing provider."""

import unittest

from billing import SharedBilledCase
from case import NodeCase, SharedNodeCase, fresh
from node import eventually
from plane import code_name, limit, refusal

HOUR = 3600
DOLLAR = 1_000_000
CONFIG = """
[plans.free]
spend = { daily = "$10" }
scopes."workspace/*" = { spend = { daily = "$10" } }
[defaults]
plan = "free"
"""


def spend(amount):
    return [{"meter": "spend", "amount": amount}]


def given(answer):
    return {of.meter: (of.asked, of.given) for of in answer.amounts}


class Refunds(SharedNodeCase):
    CONFIG = CONFIG

    def used(self, org, scope=""):
        return limit(self.gate.GetStatus(org=org, scope=scope), "budget/daily", scope).used

    def refund(self, org, **fields):
        return self.admin.Refund(**{"org": org, "request_id": fresh(), "reason": "failed run", **fields})

    def committed(self, org, amount, **fields):
        hold = self.gate.Acquire(org=org, reserve=spend(amount), request_id=fresh(), **fields)
        self.gate.Commit(org=org, reservation_id=hold.reservation_id, request_id=fresh(), actual=spend(amount))
        return hold.decision_id

    def test_a_committed_decision_is_given_back_once_whatever_the_request_id(self):
        """R-REF-1"""
        org, once = fresh("decision"), fresh()
        decision = self.committed(org, 10 * DOLLAR, scope="workspace/a")
        self.assertEqual(code_name(self.gate.Acquire(org=org, cost=spend(1))), "BUDGET_EXCEEDED")
        answer = self.refund(org, decision_id=decision, request_id=once)
        self.assertEqual(given(answer), {"executions": (1, 1), "spend": (10 * DOLLAR, 10 * DOLLAR)})
        self.assertEqual(list(answer.scopes), ["workspace/a"])
        before, after = ({view.scope: view.used for view in views} for views in (answer.before, answer.after))
        self.assertEqual((before[""], before["workspace/a"]), (10 * DOLLAR, 10 * DOLLAR))
        self.assertEqual((after[""], after["workspace/a"]), (0, 0))
        self.assertTrue(self.gate.Acquire(org=org, cost=spend(1)).allowed, "the next call")
        again = self.refund(org, decision_id=decision, request_id=once)
        self.assertEqual((again.replayed, given(again), len(again.before)), (True, given(answer), 0))
        twice = refusal(self.refund, org, decision_id=decision)
        self.assertEqual((twice.reason, twice.code.name), ("DECISION_REFUNDED", "FAILED_PRECONDITION"))
        self.assertEqual(self.admin.Audit(org=org).drifted, 0)
        (change,) = [row for row in self.admin.ListAudit(org=org).events if row.command == "Refund"]
        self.assertEqual(change.reason, "failed run")

    def test_amounts_are_given_back_as_far_as_they_were_used_there(self):
        """R-REF-1"""
        org, once = fresh("amounts"), fresh()
        self.gate.Record(org=org, scope="workspace/a", usage=spend(3 * DOLLAR), request_id=fresh())
        self.gate.Record(org=org, scope="workspace/b", usage=spend(2 * DOLLAR), request_id=fresh())
        for replayed in (False, True):
            answer = self.refund(org, amounts=spend(8 * DOLLAR), scope="workspace/a", request_id=once)
            self.assertEqual((given(answer), answer.replayed), ({"spend": (8 * DOLLAR, 3 * DOLLAR)}, replayed))
        self.assertEqual((self.used(org), self.used(org, "workspace/a")), (2 * DOLLAR, 0))
        other = refusal(self.refund, org, amounts=spend(1), scope="workspace/a", request_id=once)
        self.assertEqual(other.reason, "REQUEST_ID_REUSED")
        nothing = refusal(self.refund, org, amounts=spend(1), scope="workspace/a")
        self.assertEqual((nothing.reason, nothing.code.name), ("NOTHING_USED", "FAILED_PRECONDITION"))
        self.assertEqual(self.admin.Audit(org=org).drifted, 0)

    def test_a_plain_admission_is_given_back_while_its_node_remembers_it(self):
        """R-REF-1"""
        org = fresh("plain")
        decision = self.gate.Acquire(org=org, cost=spend(4 * DOLLAR), scope="workspace/a").decision_id
        self.assertEqual(given(self.refund(org, decision_id=decision)), {"spend": (4 * DOLLAR, 4 * DOLLAR)})
        self.assertEqual(refusal(self.refund, org, decision_id=decision).reason, "DECISION_REFUNDED")
        self.assertEqual((self.used(org), self.used(org, "workspace/a")), (0, 0))

    def test_what_cannot_be_given_back_is_refused_by_name(self):
        """R-REF-1"""
        org = fresh("refused")
        self.gate.Record(org=org, usage=spend(1), request_id=fresh())
        hold = self.gate.Acquire(org=org, reserve=spend(5), request_id=fresh()).decision_id
        session = self.session.StartSession(org=org, session_id="s", identity="i", request_id=fresh()).decision_id
        for reason, fields in [
            ("RESERVATION_OPEN", {"decision_id": hold}),
            ("DECISION_OF_SESSION", {"decision_id": session}),
            ("DECISION_UNKNOWN", {"decision_id": "0" * 32}),
            ("INVALID_FIELD", {}),
            ("INVALID_FIELD", {"decision_id": hold, "amounts": spend(1)}),
            ("INVALID_FIELD", {"amounts": spend(0)}),
            ("INVALID_FIELD", {"amounts": spend(1), "at_ms": 1}),
        ]:
            self.assertEqual(refusal(self.refund, org, **fields).reason, reason, fields)
        unknown = refusal(self.refund, org, decision_id="0" * 32)
        self.assertEqual(unknown.code.name, "NOT_FOUND")
        self.assertIn("amounts", unknown.message)

    def test_the_command_shows_what_was_used_and_what_is(self):
        """R-REF-1"""
        org = fresh("command")
        self.gate.Record(org=org, usage=spend(12 * DOLLAR), request_id=fresh())
        run = lambda *words: self.shared.run("--addr", f"http://{self.shared.grpc}", *words)
        out = run("refund", org, "--amount", "spend=5usd", "--reason", "ticket 4711")
        self.assertEqual(out.returncode, 0, out.stderr)
        self.assertIn("spend $12.00 → $7.00 (budget/daily)", out.stdout)
        changes = run("org", "changes", org).stdout
        self.assertIn("$12.00", changes)
        self.assertIn("ticket 4711", changes)
        kinds = run("events", org).stdout
        self.assertIn("recovered", kinds)


class Kept(NodeCase):
    """With a clock that a test moves, over kill -9 and restarts."""

    def test_a_refund_and_what_can_be_refunded_outlive_the_node(self):
        """R-REF-1"""
        clock = self.clock(minute=10)
        node = self.node(clock=clock, config=CONFIG)
        plane = self.plane(node)
        decisions = []
        for _ in range(2):
            hold = plane.gate.Acquire(org="acme", reserve=spend(4 * DOLLAR), request_id=fresh())
            plane.gate.Commit(org="acme", reservation_id=hold.decision_id, request_id=fresh(), actual=spend(4 * DOLLAR))
            decisions.append(hold.decision_id)
        plain = plane.gate.Acquire(org="acme").decision_id
        node.kill()
        clock.step(2 * HOUR)
        plane = self.plane(node.start())
        first = plane.admin.Refund(org="acme", decision_id=decisions[0], request_id="r", reason="x")
        self.assertEqual(given(first)["spend"], (4 * DOLLAR, 4 * DOLLAR))
        node.kill()
        plane = self.plane(node.start())
        again = plane.admin.Refund(org="acme", decision_id=decisions[0], request_id="r", reason="x")
        self.assertTrue(again.replayed)
        for decision, reason in [(decisions[0], "DECISION_REFUNDED"), (plain, "DECISION_UNKNOWN")]:
            refused = refusal(plane.admin.Refund, org="acme", decision_id=decision, request_id=fresh())
            self.assertEqual(refused.reason, reason)
        view = limit(plane.gate.GetStatus(org="acme"), "budget/daily")
        self.assertEqual((view.used, plane.admin.Audit(org="acme").drifted), (4 * DOLLAR, 0))
        clock.step(23 * HOUR)
        late = refusal(plane.admin.Refund, org="acme", decision_id=decisions[1], request_id=fresh())
        self.assertEqual(late.reason, "DECISION_UNKNOWN", "a day after its Commit")
        self.assertEqual(node.stop(), 0)
        self.assertEqual(node.run("fsck", "--data-dir", node.data_dir).returncode, 0)


class Corrected(SharedBilledCase):
    """R-REF-1: what was reported is corrected at the provider, once."""

    SETTINGS = {"FEATURES__SPEND": "usd"}

    def test_usage_that_was_exported_is_given_back_there_once(self):
        org = fresh("corrected")
        features = {"executions": {"granted": 1_000}, "usd": {"granted": 10**9}}
        self.standin.customers(**{org: {"features": features}})
        hold = self.gate.Acquire(org=org, reserve=spend(500), request_id=fresh())
        self.gate.Commit(org=org, reservation_id=hold.decision_id, request_id=fresh(), actual=spend(400))
        usage = lambda: (self.standin.usage(org), self.standin.usage(org, "usd"))
        eventually(lambda: usage() == (1, 400), "it is reported")
        # The answer to the correction is lost: a repeat has the same key.
        self.standin.failing(**{org: {"fault": "lost_answer", "path": "/v1/balances.track"}})
        for _ in range(2):
            self.admin.Refund(org=org, decision_id=hold.decision_id, request_id="once", reason="x")
        rows = eventually(lambda: [row for row in self.admin.ListExports(org=org).exports if row.attempts], "attempts")
        self.assertTrue(all(row.amount < 0 for row in rows), rows)
        self.standin.failing(**{org: None})
        eventually(lambda: not self.admin.ListExports(org=org).exports, "nothing waits", within=30.0)
        self.assertEqual(usage(), (0, 0))
        values = sorted(entry["body"]["value"] for entry in self.tracks(org) if entry["status"] == 200)
        self.assertTrue(set(values) <= {-400, -1, 1, 400}, values)
        self.gate.Record(org=org, usage=spend(70), request_id=fresh())
        eventually(lambda: usage() == (0, 70), "it is reported")
        self.admin.Refund(org=org, amounts=spend(100), request_id=fresh(), reason="x")
        eventually(lambda: usage() == (0, 0), "what was given back, and no more")
        self.assertEqual(self.admin.Audit(org=org).drifted, 0)


if __name__ == "__main__":
    unittest.main()
