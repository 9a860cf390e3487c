"""Orgs that are renamed in a cluster: a name and its org may be of different nodes, and any node takes any call."""

import time
import unittest

from case import fresh
from cluster_case import ClusterCase
from plane import Plane, refusal
from test_cluster_identity import AUTH, first_token

PAIRS = 12


def spend(amount):
    return [{"meter": "spend", "amount": amount}]


def used(plane, org):
    return plane.gate.GetStatus(org=org).limits[0].used


class OfCluster(ClusterCase):
    """R-CTRL-8"""

    def owner(self, cluster, org):
        return cluster.owners()[cluster.places()[org]]

    def test_calls_under_any_name_and_through_any_node_are_about_one_org(self):
        cluster = self.cluster()
        planes = [cluster.plane(name) for name in ("n1", "n2", "n3")]
        pairs = [(f"org-{number}", f"name-{number}") for number in range(PAIRS)]
        for number, (org, name) in enumerate(pairs):
            plane = planes[number % 3]
            plane.gate.Record(org=org, usage=spend(7), request_id="kept")
            answer = plane.admin.RenameOrg(org=org, to=name, request_id="rename", reason="ticket 4711")
            self.assertEqual((answer.org, answer.name), (org, name))
        apart = [pair for pair in pairs if self.owner(cluster, pair[0]) != self.owner(cluster, pair[1])]
        self.assertTrue(apart, "some names are of another node than their orgs")

        for org, name in pairs:
            for count, plane in enumerate(planes):
                self.assertTrue(plane.gate.Record(org=name, usage=spend(7), request_id="kept").replayed)
                self.assertTrue(plane.gate.Acquire(org=name).allowed)
                batch = plane.gate.AcquireBatch(items=[{"org": name}, {"org": org}, {"org": name}])
                self.assertTrue(all(result.decision.allowed for result in batch.results), batch)
                (answer,) = plane.gate.AcquireStream([{"tag": 1, "acquire": {"org": name}}])
                self.assertTrue(answer.decision.allowed, answer)
                self.assertEqual((used(plane, name), used(plane, org)), (5 * (count + 1),) * 2)
                (status,) = plane.gate.BatchGetStatus(items=[{"org": name}]).results
                self.assertEqual((status.status.org, status.status.name), (org, name))
            (event,) = plane.admin.ListEvents(org=name, kinds=["operator"]).events
            self.assertEqual(event.org, org)
        listed = planes[0].admin.ListOrgs(page_size=1000, numbers=True)
        self.assertEqual([(row.org, row.name) for row in listed.orgs], sorted(pairs, key=lambda pair: (len(pair[0]), pair[0])))
        self.assertEqual(list(listed.failures), [])

        cluster.kill("n2")
        for org, name in pairs:
            self.assertTrue(planes[0].gate.Record(org=name, usage=spend(7), request_id="kept", timeout=30).replayed)
        for org, name in apart:
            receipt = planes[0].admin.PurgeOrg(org=name, request_id=fresh()).receipt
            self.assertEqual((receipt.org, list(receipt.names)), (org, [name]))
            for one in (org, name):
                self.assertEqual(refusal(planes[2].admin.GetOrg, org=one).reason, "ORG_UNKNOWN")

    def test_where_a_name_leads_is_said_by_nodes_alone(self):
        """A caller that sends what nodes say to each other is refused, whichever node has the name."""
        cluster = self.cluster()
        plane = cluster.plane("n1")
        plane.gate.Record(org="victim", usage=spend(7), request_id="r")
        for number in range(PAIRS):
            name = f"name-{number}"
            refused = refusal(plane.admin.RenameOrg, org=name, to=name, claim_for="victim", request_id=fresh())
            self.assertEqual((refused.reason, refused.fields), ("INVALID_FIELD", ["claim_for"]))
            refused = refusal(plane.admin.PurgeOrg, org=name, name_of="victim", request_id=fresh())
            self.assertEqual((refused.reason, refused.fields), ("INVALID_FIELD", ["name_of"]))
            self.assertTrue(plane.gate.GetStatus(org=name).unknown)

    def test_a_token_for_any_name_works_under_it_through_every_node(self):
        """R-AUTH-1: the owner of the org asks for what the caller has said."""
        cluster = self.cluster(config=AUTH, prepare=first_token)
        admin = cluster.plane("n1")
        node = cluster.nodes["n1"]

        def token(role, *more):
            made = node.run("token", "create", "--name", fresh(role), "--role", role, *more, "--expires", "1h",
                            "--postgres", cluster.cells[0].url)
            self.assertEqual(made.returncode, 0, made.stderr)
            return made.stdout.strip()

        def known(through, token):
            plane = Plane(through.grpc, token=token)
            self.addCleanup(plane.close)
            return plane

        for number in range(4):
            org, name, other = f"org-{number}", f"name-{number}", f"other-{number}"
            admin.gate.Record(org=org, usage=spend(7), request_id="r")
            admin.admin.RenameOrg(org=org, to=name, request_id="r")
            bound = token("plane", "--orgs", name, "--bind", "agent/a")
            ops = token("admin", "--orgs", name, "--orgs", other)
            # As long as it may take until every node knows them.
            time.sleep(1.5)
            for through in cluster.nodes.values():
                plane = known(through, bound)
                self.assertTrue(plane.gate.Acquire(org=name).allowed)
                (result,) = plane.gate.AcquireBatch(items=[{"org": name}]).results
                self.assertTrue(result.decision.allowed, result)
                (status,) = plane.gate.BatchGetStatus(items=[{"org": name}]).results
                self.assertEqual(status.status.org, org)
                self.assertEqual(refusal(plane.gate.Acquire, org=org).reason, "ORG_NOT_ALLOWED", "it says another name")
                (listed,) = known(through, ops).admin.ListOrgs(numbers=True).orgs
                self.assertEqual((listed.org, listed.name), (org, name))
            scopes = {ledger.scope for ledger in admin.admin.GetOrg(org=org).ledgers}
            self.assertIn("agent/a", scopes, "the scope that the token is bound to was put in by the owner")
            operator = known(node, ops).admin
            refused = refusal(operator.RenameOrg, org=name, to=fresh("not-theirs"), request_id="r")
            self.assertEqual(refused.reason, "ORG_NOT_ALLOWED")
            self.assertEqual(operator.RenameOrg(org=name, to=other, request_id="o").before, name)
            receipt = operator.PurgeOrg(org=other, request_id="p").receipt
            self.assertEqual((receipt.org, sorted(receipt.names)), (org, [name, other]))


if __name__ == "__main__":
    unittest.main()
