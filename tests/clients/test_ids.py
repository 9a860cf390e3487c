"""Ids that real platforms have, in every place that an id passes through; they are compared byte by byte."""

import json
import os
import shlex
import unittest

from billing import BilledCase
from case import NodeCase, fresh
from node import eventually
from plane import code_name, limit

IDS = [
    "auth0|5f7c8ec7c33c6c004bbafe82", "user@example.com", "svc@project.iam.gserviceaccount.com", "aGVs+bG8/d29ybGQ==",
    "google-oauth2|1035", "urn:a#b?c=1&d=2;e", "a%2fb", "a/b", "a$HOME", "x!(y)[z]{w}~^", "org=acme", "b*c",
]
SPEND = [{"meter": "spend", "amount": 5}]


class Ids(NodeCase):
    CONFIG = """
        [rate]
        amount = 3
        [orgs."user@example.com"]
        spend = { daily = "$7" }
        [orgs."user@example.com".scopes]
        "auth0|*" = { executions = { aligned_1h = 1 } }
        "auth0|5f" = { executions = { aligned_1h = 2 } }
    """

    def fill(self, plane, id):
        """One of everything that an id names, all under the same one."""
        ask = {"org": id, "scope": id, "request_id": id}
        self.assertTrue(plane.gate.Acquire(**ask, reserve=SPEND).allowed)
        plane.gate.Record(org=id, scope=id, usage=SPEND, request_id=id)
        plane.gate.ReportCumulative(org=id, scope=id, source=id, incarnation=id, meter="bytes", total=7, request_id=id)
        plane.budget.UpdateBudget(org=id, scope=id, request_id=id, periods={"weekly": {"limit": 100}})
        plane.session.StartSession(org=id, session_id=id, identity=id, request_id=id, scope=id)
        plane.pool.ConfigurePool(org=id, pool=id, accounts=[{"account": id}], request_id=id)
        self.assertEqual(plane.pool.Pick(org=id, pool=id, request_id=id).account, id)

    def assertKept(self, plane, id):
        again = plane.gate.Acquire(org=id, scope=id, request_id=id, reserve=SPEND)
        self.assertTrue(again.replayed)
        budget = plane.budget.GetBudget(org=id, scope=id).budget.periods["weekly"]
        self.assertEqual((budget.limit, budget.spend), (100, 5))
        self.assertEqual(plane.budget.GetBudget(org=id).budget.periods["daily"].spend, 5, "of this org alone")
        self.assertEqual(plane.session.GetSession(org=id, session_id=id).session.scope, id)
        self.assertEqual([each.session_id for each in plane.session.ListSessions(org=id).sessions], [id])
        self.assertEqual(plane.pool.GetPool(org=id, pool=id).pool.accounts[0].used, 1)
        self.assertEqual([each.source for each in plane.admin.GetOrg(org=id).baselines if each.source == id], [id])

    def test_every_id_is_kept_apart_through_crash_export_and_import(self):
        node = self.node(config=self.CONFIG, clock=self.clock(minute=10))
        plane = self.plane(node)
        for id in IDS:
            with self.subTest(id):
                self.fill(plane, id)
        node.kill()
        plane = self.plane(node.start())
        for id in IDS:
            with self.subTest(id):
                self.assertKept(plane, id)
        self.assertEqual({each.org for each in plane.admin.ListOrgs(page_size=1000).orgs}, set(IDS))
        audit = plane.admin.Audit(page_size=1000)
        self.assertEqual((audit.orgs, audit.drifted), (len(IDS), 0))
        self.assertEqual(node.stop(), 0)
        new = self.restored(node, lambda row: None, config=self.CONFIG, clock=node.clock)
        plane = self.plane(new)
        for id in IDS:
            with self.subTest(id):
                self.assertKept(plane, id)

    def test_configuration_names_them_exactly_or_by_a_prefix(self):
        node = self.node(config=self.CONFIG)
        plane, org = self.plane(node), "user@example.com"
        self.assertEqual(limit(plane.gate.GetStatus(org=org), "budget/daily").amount, 7_000_000)
        for scope, amount in [("auth0|abc", 1), ("auth0|5f", 2)]:
            found = limit(plane.gate.GetStatus(org=org, scope=scope), "quota/executions/aligned/1h", scope)
            self.assertEqual(found.amount, amount)
        for wrong in ['[orgs."team*"]\n', '[orgs."a,b"]\n', '[plans.p.scopes]\n"a/**" = { bytes = { daily = 1 } }\n']:
            node.write_config(wrong)
            check = node.run("check-config", node.config_file)
            self.assertNotEqual(check.returncode, 0, check.stdout)
            self.assertIn('no "*" at the end', check.stdout + check.stderr)

    def test_the_command_line_and_the_log_show_them_as_they_are(self):
        node = self.node(config=self.CONFIG)
        plane = self.plane(node)
        for id in IDS:
            with self.subTest(id):
                run = lambda *verb: node.run(*verb, "--addr", node.grpc)  # noqa: B023, E731
                table = run("acquire", id, "--scope", id)
                self.assertEqual((table.returncode, table.stderr), (0, ""))
                self.assertIn(id, table.stdout.split())
                as_json = run("--output", "json", "status", id)
                self.assertEqual(json.loads(as_json.stdout)["results"][0]["status"]["org"], id)
                # Past the backstop a denial names it; usage without a decision is logged.
                plane.gate.Record(org=id, usage=SPEND, request_id=fresh())
                eventually(lambda: any(node.fields(line).get("org") == id for line in node.log), "the log")  # noqa: B023
        listed = node.run("org", "list", "--limit", "1", "--addr", node.grpc)
        (hint,) = [line for line in listed.stderr.splitlines() if "--after" in line]
        words = shlex.split(hint)
        self.assertIn(words[words.index("--after") + 1], IDS, "pasted into a shell it is the same id")


class AtAutumn(BilledCase):
    def test_an_id_that_no_customer_can_have_is_named_once(self):
        """R-BAL-6"""
        node = self.billed()
        plane = self.plane(node)
        self.standin.grant("acme_1-a", granted=10)
        for _ in range(3):
            self.assertEqual(code_name(plane.gate.Acquire(org="acme_1-a")), "ALLOWED")
            for org in ["user@example.com", "auth0|abc"]:
                answer = plane.gate.Acquire(org=org)
                self.assertEqual([open.cause for open in answer.fail_open], ["unknown_customer"])
        named = [node.fields(line)["org"] for line in node.logged("no customer of Autumn can have this id")]
        self.assertEqual(sorted(named), ["auth0|abc", "user@example.com"])

    def test_check_config_names_those_that_are_listed(self):
        node = self.billed()
        key = node.environment["TOLLGATE__BILLING__AUTUMN__SECRET_KEY_FILE"]
        orgs = '[orgs."user@example.com"]\nplan = "free"\n[orgs."acme_1-a"]\nplan = "free"\n'
        for provider, warned in [("autumn", 1), ("none", 0)]:
            node.write_config(f'[billing]\nprovider = "{provider}"\n[billing.autumn]\nsecret_key_file = "{key}"\n{orgs}')
            check = node.run("check-config", node.config_file)
            self.assertEqual(check.returncode, 0, check.stderr)
            warnings = [line for line in check.stderr.splitlines() if "cannot be a customer of Autumn" in line]
            self.assertEqual(len(warnings), warned, check.stderr)
            for warning in warnings:
                self.assertIn(f'{os.path.basename(node.config_file)}:5:', warning)
                self.assertIn('orgs."user@example.com"', warning)


if __name__ == "__main__":
    unittest.main()
