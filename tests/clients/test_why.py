"""Why calls are denied: kept over kill -9, explained by decision and by time, and by one command."""

import json
import os
import shutil
import tempfile

import grpc

from case import NodeCase, SharedNodeCase, fresh
from node import eventually
from plane import refusal

SPEND = "spend"


def spend(amount):
    return [{"meter": SPEND, "amount": amount}]


class Why(SharedNodeCase):
    CONFIG = """
[orgs.acme.scopes."workspace/*"]
spend = { daily = "$2" }
"""
    CLOCK = {"minute": 10}

    def asks(self, org, count, plane="executor", amount=400_000, scope="workspace/a"):
        return [self.gate.Acquire(org=org, scope=scope, plane=plane, reserve=spend(amount)) for _ in range(count)]

    def test_the_one_on_call_learns_why_since_when_until_when_and_what_lets_them_through(self):
        """R-EXPL-2, R-PIPE-9"""
        org = "acme"
        self.gate.Record(org=org, scope="workspace/a", usage=spend(1_950_000), request_id=fresh())
        denied = self.asks(org, 8) + self.asks(org, 2, plane="sessions")
        self.assertFalse(any(answer.allowed for answer in denied))
        self.assertTrue(self.gate.Acquire(org=org, scope="workspace/a", mode="MODE_CHECK_ONLY").allowed)

        why = self.admin.Why(org=org)
        self.assertTrue(why.blocked and why.known)
        (block,) = why.blocks
        limit = block.now.limits[0]
        numbers = (limit.name, limit.scope, limit.used, limit.asked, limit.amount, limit.missing, limit.window)
        self.assertEqual(numbers, ("budget/daily", "workspace/a", 1_950_000, 400_000, 2_000_000, 350_000, "rolling/1d"))
        self.assertEqual({plane.plane: plane.count for plane in block.planes}, {"executor": 8, "sessions": 2})
        self.assertEqual((block.count, list(block.scopes)), (10, ["workspace/a"]))
        self.assertGreater(block.now.until_ms, block.last_at_ms)
        self.assertGreaterEqual(block.last_at_ms, block.since_ms)
        self.assertIn("tollgate org override set acme 'budget/daily=$2.35' --scope workspace/a", block.ways[0].command)

        status = self.gate.GetStatus(org=org)
        self.assertEqual((status.allowed, status.denied_lately, status.unknown), (True, 10, False))
        self.assertEqual([(by.limit, by.scope, by.count) for by in status.denied_by], [("budget/daily", "workspace/a", 10)])

        shown = self.shared.run("why", org, "--addr", f"http://{self.shared.grpc}")
        self.assertEqual(shown.returncode, 3, shown.stderr)
        for text in ("acme is blocked in part: by budget/daily of workspace/a", "$1.95 of $2.00 used, $0.40 asked", "executor (8)"):
            self.assertIn(text, shown.stdout)
        as_json = self.shared.run("why", org, "--addr", f"http://{self.shared.grpc}", "-o", "json")
        (same,) = json.loads(as_json.stdout)["blocks"]
        self.assertEqual((same["count"], same["now"]["limits"][0]["used"]), ("10", "1950000"))
        table = self.shared.run("status", org, "--addr", f"http://{self.shared.grpc}").stdout
        self.assertIn("allowed, others denied", table)
        self.assertIn("tollgate why acme", table)
        scoped = self.shared.run("status", org, "--scope", "workspace/a", "--addr", f"http://{self.shared.grpc}").stdout
        (counted,) = [line for line in scoped.splitlines() if line.endswith("10 denied")]
        self.assertIn("budget/daily", counted, "the number stands at the limit that denied")

        explained = self.admin.ExplainDecision(org=org, decision_id=denied[-1].decision_id)
        self.assertTrue(explained.exact)
        self.assertEqual(explained.decision.message, denied[-1].message)
        self.assertEqual([gate.gate for gate in explained.decision.gates if gate.verdict == "denied"], ["budgets"])
        between = self.admin.ExplainDecision(org=org, decision_id=denied[3].decision_id)
        self.assertFalse(between.exact)
        self.assertEqual(between.decision.count, 8)

    def test_what_does_not_block_says_so(self):
        unknown = self.admin.Why(org=fresh("never-seen"))
        self.assertEqual((unknown.known, unknown.blocked), (False, False))
        self.assertTrue(self.gate.GetStatus(org=fresh("never-seen")).unknown)
        error = refusal(self.admin.ExplainDecision, org="acme", decision_id="7" * 32)
        self.assertEqual((error.code, error.reason), (grpc.StatusCode.NOT_FOUND, "DECISION_UNKNOWN"))

    def test_an_admission_is_explained_for_minutes(self):
        """R-EXPL-1"""
        org = fresh("allowed")
        allowed = self.gate.Acquire(org=org, plane="p", scope="agent/7")
        explained = self.admin.ExplainDecision(org=org, decision_id=allowed.decision_id)
        self.assertEqual((explained.exact, explained.decision.asked.plane), (True, "p"))
        self.assertEqual([limit.name for limit in explained.limits], ["rate"])
        self.assertIn("rate", [gate.gate for gate in explained.decision.gates if gate.verdict == "passed"])

    def test_the_trace_of_the_caller_is_kept_and_a_page_goes_on(self):
        """R-PIPE-9"""
        org = fresh("traced")
        self.admin.Freeze(org=org, request_id=fresh(), reason="unpaid")
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        metadata = [("traceparent", f"00-{trace}-00f067aa0ba902b7-01")]
        self.gate.Acquire(org=org, plane="a", metadata=metadata)
        self.gate.Acquire(org=org, plane="b", metadata=[("traceparent", "nonsense")])
        first = self.admin.ListDenials(org=org, page_size=1)
        second = self.admin.ListDenials(org=org, page_size=1, page_token=first.next_page_token)
        rows = [*first.denials, *second.denials]
        self.assertEqual([(row.asked.plane, row.trace_id) for row in rows], [("b", ""), ("a", trace)])
        self.assertEqual([gate.denied for gate in first.days[0].gates], [2])
        self.assertEqual(self.admin.ListDenials(org=org, gate="rate").denials, [])
        for field, value, part in (("gate", "no", "gate"), ("page_token", "x", "page_token"), ("since_ms", -1, "since_ms")):
            error = refusal(self.admin.ListDenials, org=org, **{field: value})
            self.assertEqual(error.code, grpc.StatusCode.INVALID_ARGUMENT)
            self.assertIn(part, error.message)


class Kept(NodeCase):
    def test_denials_survive_a_kill_and_their_counts_are_exact(self):
        """R-PIPE-9: written behind, so what was flushed before the kill is there."""
        node = self.node(config="[rate]\namount = 5\n")
        plane = self.plane(node)
        org = fresh("killed")
        denied = sum(not plane.gate.Acquire(org=org, plane=f"p{number % 3}").allowed for number in range(35))
        self.assertEqual(denied, 30)
        # A durable call of the org is behind everything that was written behind.
        plane.gate.Record(org=org, usage=spend(1), request_id=fresh())
        node.kill()
        node.start()
        plane = self.plane(node)
        listed = plane.admin.ListDenials(org=org)
        self.assertEqual(sorted(row.count for row in listed.denials), [10, 10, 10])
        self.assertEqual([(day.allowed, sum(gate.denied for gate in day.gates)) for day in listed.days], [(5, 30)])
        again = [plane.gate.Acquire(org=org, plane="p0") for _ in range(5)]
        self.assertFalse(any(answer.allowed for answer in again))
        self.assertEqual(max(row.count for row in plane.admin.ListDenials(org=org).denials), 15, "the spell goes on")
        node.stop()
        self.assertEqual(node.run("fsck", "--data-dir", node.data_dir).returncode, 0)

    def test_the_emergency_cap_is_kept_when_the_org_can_be_asked_again(self):
        """R-PIPE-9: an outage of the provider with the backstop off is bounded by the cap."""
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        key = os.path.join(directory, "key")
        with open(key, "w", encoding="ascii") as file:
            file.write("am_sk_test_0000000000")
        node = self.node(
            config=f"""
[rate]
amount = "off"
[emergency]
amount = 3
[billing]
provider = "autumn"
feature = "executions"
[billing.autumn]
base_url = "http://127.0.0.1:9"
secret_key_file = "{key}"
"""
        )
        plane = self.plane(node)
        org = fresh("capped")
        answers = [plane.gate.Acquire(org=org) for _ in range(5)]
        self.assertEqual([answer.allowed for answer in answers], [True] * 3 + [False] * 2)

        def kept():
            rows = plane.admin.ListDenials(org=org, let_through=True).denials
            by_gate = {(row.gate, row.code != 1): row.count for row in rows}
            return by_gate.get(("rate", True)) == 2 and by_gate.get(("balance", False), 0) >= 3

        eventually(kept, "what the cap denied is kept by the org")
