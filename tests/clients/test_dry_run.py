"""`dry_run`: every call with which operators change an org says what it would do, and does nothing."""

import json

import grpc
from google.protobuf.json_format import MessageToDict
from case import NodeCase, fresh
from plane import refusal

SPEND = [{"meter": "spend", "amount": 7_000_000}]
CONFIG = """
[plans.free]
executions = { calendar_day = 10 }
spend = { daily = "$20" }
[plans.pro]
spend = { daily = "$50" }
[orgs."acme"]
plan = "free"
"""
# What differs between what would be and what was done: when.
TIMES = ("Ms", "At", "In")


def without_times(value):
    if isinstance(value, dict):
        return {name: without_times(each) for name, each in value.items() if not name.endswith(TIMES) and name != "requestId"}
    return [without_times(each) for each in value] if isinstance(value, list) else value


class DryRun(NodeCase):
    """R-CTRL-9"""

    def setUp(self):
        self.running = self.node(config=CONFIG)
        self.here = self.plane(self.running)
        self.used = self.here.gate.Acquire(org="acme", request_id="a", reserve=SPEND)
        self.here.gate.Record(org="acme", request_id="b", usage=SPEND)
        self.here.gate.Commit(org="acme", reservation_id=self.used.reservation_id, request_id="c", actual=SPEND)
        self.here.pool.ConfigurePool(org="acme", pool="relay", request_id="p", accounts=[{"account": "sk-one", "daily_limit": 5}])
        self.here.admin.Freeze(org="frozen", request_id="f")
        self.here.admin.Grant(org="acme", request_id="g", limit="budget/daily", amount=1)

    def calls(self):
        """One of every rpc that has the field, with a change that is really made."""
        admin, budget, pool = self.here.admin, self.here.budget, self.here.pool
        return {
            "SetOverride": (admin.SetOverride, dict(org="acme", limit="budget/daily", setting="OVERRIDE_SETTING_UNLIMITED", for_ms=5_000)),
            "ClearOverride": (admin.ClearOverride, dict(org="acme", limit="budget/daily")),
            "SetPlan": (admin.SetPlan, dict(org="acme", change="PLAN_CHANGE_SET", plan="pro")),
            "SetExemption": (admin.SetExemption, dict(org="acme", change="EXEMPTION_CHANGE_EXEMPT")),
            "Freeze": (admin.Freeze, dict(org="acme", reason="unpaid")),
            "Unfreeze": (admin.Unfreeze, dict(org="frozen")),
            "Grant": (admin.Grant, dict(org="acme", limit="budget/daily", amount=5_000_000)),
            "RevokeGrant": (admin.RevokeGrant, dict(org="acme", grant=1)),
            "ResetWindow": (admin.ResetWindow, dict(org="acme", limit="budget/daily")),
            "Refund": (admin.Refund, dict(org="acme", decision_id=self.used.decision_id)),
            "RenameOrg": (admin.RenameOrg, dict(org="acme", to="acme-corp")),
            "ReplayExports": (admin.ReplayExports, dict(org="acme")),
            "UpdateBudget": (budget.UpdateBudget, dict(org="acme", periods={"daily": {"limit": 1_000_000}})),
            "ReplaceBudget": (budget.ReplaceBudget, dict(org="acme", limits={"weekly": 1_000_000})),
            "ClearAccount": (pool.ClearAccount, dict(org="acme", pool="relay", account="sk-one")),
            "ConfigurePool": (pool.ConfigurePool, dict(org="acme", pool="relay", accounts=[])),
            # The last, because nothing is left after it.
            "PurgeOrg": (admin.PurgeOrg, dict(org="acme")),
        }

    def kept(self):
        """Everything that the node says of what it keeps, but for when that is."""
        of = {}
        for org in ("acme", "frozen", "acme-corp"):
            try:
                asked = (self.here.admin.GetOrg(org=org), self.here.admin.ListEvents(org=org))
            except grpc.RpcError as error:
                of[org] = error.code()
                continue
            of[org] = [without_times(MessageToDict(answer)) for answer in asked]
        return of

    def test_each_says_what_it_would_do_and_does_nothing(self):
        before = self.kept()
        for name, (call, fields) in self.calls().items():
            with self.subTest(name):
                request_id = fresh()
                would = call(request_id=request_id, dry_run=True, **fields)
                self.assertEqual(self.kept(), before, "nothing has changed")
                did = call(request_id=request_id, **fields)
                self.assertEqual(without_times(MessageToDict(did)), without_times(MessageToDict(would)), "as was said")
                before = self.kept()
                if "replayed" in did.DESCRIPTOR.fields_by_name and name != "RenameOrg":
                    self.assertTrue(call(request_id=request_id, dry_run=True, **fields).replayed, "it was done already")

    def test_there_is_no_call_with_the_field_that_this_does_not_try(self):
        known = set(self.calls())
        for service in (self.here.admin, self.here.budget, self.here.pool, self.here.gate, self.here.session):
            for method in service.descriptor.methods:
                has_it = "dry_run" in method.input_type.fields_by_name
                self.assertEqual(has_it, method.name in known, method.name)

    def test_what_is_refused_is_refused_and_a_new_org_stays_unknown(self):
        refused = refusal(self.here.admin.SetPlan, org="acme", change="PLAN_CHANGE_SET", plan="nope", request_id="x", dry_run=True)
        self.assertIn("one of the plans", refused.message)
        stale = refusal(self.here.budget.UpdateBudget, org="acme", request_id="x", dry_run=True, expected_version=9,
                        periods={"daily": {"limit": 1}})
        self.assertEqual(stale.code.name, "ABORTED")
        granted = self.here.admin.Freeze(org="never-seen", request_id="x", dry_run=True)
        self.assertFalse(granted.was_frozen)
        self.assertNotIn("never-seen", [each.org for each in self.here.admin.ListOrgs(page_size=100).orgs])
        self.assertTrue(self.here.gate.Acquire(org="never-seen").allowed)

    def test_the_command_line_says_that_nothing_was_changed(self):
        for words in (
            ["org", "freeze", "acme", "--for", "1d"], ["org", "set-plan", "acme", "pro"], ["org", "delete", "acme"],
            ["org", "rename", "acme", "acme-corp"], ["org", "grant", "acme", "daily", "$5", "--for", "1h"],
            ["budget", "set", "acme", "daily=$5"], ["org", "override", "set", "acme", "daily=unlimited"],
            ["pool", "configure", "acme", "relay", "--remove"],
            ["refund", "acme", "--amount", "spend=$1", "--reason", "ticket 4711"],
        ):
            before = self.kept()
            ran = self.running.run(*words, "--dry-run", "--addr", self.running.grpc)
            self.assertEqual((ran.returncode, ran.stderr), (0, ""), words)
            self.assertTrue(ran.stdout.endswith("\n\nnothing was changed: --dry-run\n"), ran.stdout)
            self.assertEqual(self.kept(), before, words)
            shown = json.loads(self.running.run(*words, "--dry-run", "-o", "json", "--addr", self.running.grpc).stdout)
            self.assertTrue(shown)
