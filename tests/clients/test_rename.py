"""An org that is renamed: nothing of it is lost, under whichever of its names it is asked for."""

import json
import random
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from case import NodeCase, SharedNodeCase, fresh
from node import eventually
from plane import limit, refusal

CONFIG = """
[rate]
amount = 100000
[orgs."configured"]
plan = ""
[orgs."acme"]
executions = { calendar_month = 1000 }
"""


# Kills at a random time within what a call takes: some come before it, between its commits, and behind it.
ROUNDS = 12


def spend(amount):
    return [{"meter": "spend", "amount": amount}]


def used(plane, org):
    return limit(plane.gate.GetStatus(org=org), "quota/executions").used


class OneNode(NodeCase):
    """R-CTRL-8, with kills and restarts."""

    def setUp(self):
        self.here = self.node(config=CONFIG)
        self.there = self.plane(self.here)

    def again(self):
        self.here.kill()
        self.there = self.plane(self.here.start())

    def killed_during(self, chance, rpc, **fields):
        """A call that a kill interrupts somewhere, or not."""
        with ThreadPoolExecutor(1) as caller:
            call = caller.submit(getattr(self.there.admin, rpc), timeout=2, **fields)
            time.sleep(chance.random() * 0.008)
            self.here.kill()
            call.exception()
        self.there = self.plane(self.here.start())

    def rename(self, org, to, request_id=None):
        return self.there.admin.RenameOrg(org=org, to=to, request_id=request_id or fresh(), reason="ticket 4711")

    def test_what_an_org_has_goes_on_under_either_name(self):
        gate, session = self.there.gate, self.there.session
        counted = gate.Acquire(org="acme", request_id="counted")
        self.assertTrue(counted.allowed)
        held = gate.Acquire(org="acme", request_id="held", reserve=spend(500))
        begun = session.StartSession(org="acme", session_id="s", identity="vm", request_id="begun")
        self.assertTrue(begun.allowed)
        self.there.budget.UpdateBudget(org="acme", request_id="budget", budget_limit=1000)
        renamed = self.rename("acme", "acme-corp", "r")
        self.assertEqual((renamed.org, renamed.before, renamed.name), ("acme", "acme", "acme-corp"))
        for count, name in enumerate(["acme-corp", "acme"]):
            self.again()
            gate, session = self.there.gate, self.there.session
            self.assertTrue(gate.Acquire(org=name, request_id="counted").replayed, "a request id is of the org")
            self.assertTrue(self.there.budget.UpdateBudget(org=name, request_id="budget", budget_limit=1000).replayed)
            self.assertEqual(self.there.budget.GetBudget(org=name).budget.budget_limit, 1000)
            self.assertTrue(gate.Acquire(org=name).allowed)
            self.assertEqual(used(self.there, name), 3 + count, "one count")
            beat = session.Heartbeat(org=name, session_id="s", identity="vm", incarnation="b", total_seconds=count + 1)
            self.assertEqual(beat.action, 1, "it goes on")
            self.assertEqual([one.session_id for one in session.ListSessions(org=name).sessions], ["s"])
        gate.Commit(org="acme-corp", reservation_id=held.decision_id, actual=spend(400), request_id="commit")
        self.assertTrue(gate.Commit(org="acme", reservation_id=held.decision_id, actual=spend(400), request_id="commit").replayed)
        session.EndSession(org="acme-corp", session_id="s", identity="vm", incarnation="b", total_seconds=9, request_id="end")
        batch = gate.AcquireBatch(items=[{"org": "acme"}, {"org": "acme-corp"}, {"org": "other"}])
        self.assertTrue(all(result.decision.allowed for result in batch.results))
        self.assertEqual(used(self.there, "acme"), used(self.there, "acme-corp"))
        self.assertEqual(self.there.admin.Audit(org="acme-corp").drifted, 0)
        (row,) = [row for row in self.there.admin.Usage(org="acme-corp", by=1, scope="").rows if row.meter == "spend"]
        self.assertEqual((row.org, row.amount), ("acme", 400), "exports keep the id")
        self.assertTrue(self.rename("acme-corp", "acme-corp", "r").replayed, "also over restarts, by either name")

    def test_the_command_line_shows_both_and_lists_an_org_once(self):
        self.there.gate.Acquire(org="acme")
        address = ("--addr", f"http://{self.here.grpc}")
        shown = self.here.run("org", "rename", "acme", "acme-corp", "--reason", "ticket 4711", *address)
        self.assertEqual((shown.returncode, shown.stdout.split("  ")[:2]), (0, ["renamed", "acme → acme-corp"]), shown.stderr)
        eventually(lambda: len(self.there.admin.ListOrgs().orgs) == 1, "it is stored")
        for command in (["org", "list"], ["org", "list", "--names-only"], ["org", "list", "--match", "acme-c*"],
                        ["org", "show", "acme-corp"], ["status", "acme"], ["why", "acme"], ["top", "--once"]):
            answer = self.here.run(*command, *address)
            self.assertIn("acme-corp (id acme)", answer.stdout, command)
        rows = json.loads(self.here.run("org", "list", "-o", "json", *address).stdout)["orgs"]
        self.assertEqual([(row["org"], row["name"]) for row in rows], [("acme", "acme-corp")])
        changes = self.here.run("org", "changes", "acme-corp", *address).stdout
        self.assertIn("acme → acme-corp", changes)
        self.assertIn("ticket 4711", changes)

    def test_a_kill_at_any_time_leaves_a_name_that_leads_to_its_org_and_a_retry_completes_it(self):
        chance = random.Random(7)
        self.there.gate.Acquire(org="acme", request_id="counted")
        self.there.gate.Record(org="acme", usage=spend(1), request_id="stored")
        for number in range(ROUNDS):
            name, request_id = f"name-{number % 4}", fresh()
            self.killed_during(chance, "RenameOrg", org="acme", to=name, request_id=request_id)
            if self.there.admin.GetOrg(org="acme").name != name:
                # The name leads to the org, or is free.
                answer = self.there.gate.GetStatus(org=name)
                self.assertTrue(answer.unknown or answer.org == "acme", answer)
            self.assertEqual(self.rename("acme", name, request_id).name, name)
            self.assertEqual(self.there.gate.GetStatus(org=name).org, "acme")
        self.assertTrue(self.there.gate.Record(org="name-0", usage=spend(1), request_id="stored").replayed)
        self.here.stop()
        checked = self.here.run("fsck", "--data-dir", self.here.data_dir)
        self.assertTrue(checked.stdout.endswith("clean\n"), checked.stdout)

    def test_a_purge_that_is_killed_is_completed_by_the_same_call(self):
        chance = random.Random(11)
        names = ["acme", "name-0", "name-1", "name-2"]
        for number in range(ROUNDS):
            self.there.gate.Record(org="acme", usage=spend(1), request_id=fresh())
            for name in names[1:]:
                self.rename("acme", name)
            said, request_id = names[number % len(names)], fresh()
            self.killed_during(chance, "PurgeOrg", org=said, request_id=request_id)
            self.there.admin.PurgeOrg(org=said, request_id=request_id)
            for name in names:
                self.assertEqual(refusal(self.there.admin.GetOrg, org=name).reason, "ORG_UNKNOWN", (name, said))
            self.assertEqual(list(self.there.admin.ListOrgs().orgs), [])
            self.assertEqual(self.there.gate.GetStatus(org="name-1").org, "name-1", "it leads nowhere any more")

    def test_names_are_exported_and_imported(self):
        self.there.gate.Record(org="acme", usage=spend(7), request_id="r")
        self.rename("acme", "acme-corp")
        self.assertEqual(self.here.stop(), 0)
        kinds = {(row["kind"], row["org"]) for row in self.exported(self.here) if "kind" in row}
        self.assertIn(("names", "acme"), kinds)
        self.assertIn(("leads_to", "acme-corp"), kinds)
        plane = self.plane(self.restored(self.here, lambda row: None, config=CONFIG))
        self.assertTrue(plane.gate.Record(org="acme-corp", usage=spend(7), request_id="r").replayed)
        self.assertEqual(plane.admin.GetOrg(org="acme-corp").name, "acme-corp")


class Refused(SharedNodeCase):
    CONFIG = CONFIG

    def test_a_name_that_is_anything_else_is_refused_by_what_it_is(self):
        """R-CTRL-8"""
        org, other = fresh("org"), fresh("org")
        for name in (org, other):
            self.gate.Record(org=name, usage=spend(1), request_id="r")
        for to, reason, text in ((other, "NAME_TAKEN", "something is kept"), ("configured", "NAME_TAKEN", "section"),
                                 ("a b", "INVALID_FIELD", "to"), ("", "INVALID_FIELD", "to")):
            refused = refusal(self.admin.RenameOrg, org=org, to=to, request_id=fresh())
            self.assertEqual(refused.reason, reason, to)
            self.assertIn(text, refused.message)
        refused = refusal(self.admin.RenameOrg, org=fresh("nobody"), to=fresh("new"), request_id="r")
        self.assertEqual(refused.reason, "ORG_UNKNOWN")
        refused = refusal(self.admin.RenameOrg, org=org, to=other, request_id="r", claim_for=other)
        self.assertEqual((refused.reason, refused.fields), ("INVALID_FIELD", ["claim_for"]))


if __name__ == "__main__":
    unittest.main()
