"""R-EXPL-4, R-EXPL-5: which limits run out, and which of many orgs are full, denied or overridden; under the real binary,
and over the owners of a cluster."""

import json
import unittest

from case import NodeCase
from cluster_case import ClusterCase, orgs
from node import eventually

CONFIG = """
[plans.free]
spend = { daily = "$10" }
[plans.pro]
spend = { daily = "$1000" }
[orgs."acme-1"]
plan = "free"
[orgs."acme-2"]
plan = "free"
[orgs."big"]
plan = "pro"
[orgs."small"]
executions = { calendar_month = 1 }
"""
DOLLAR = 1_000_000


def spend(plane, org, dollars, scope=""):
    amount = [{"meter": "spend", "amount": int(dollars * DOLLAR)}]
    plane.gate.Record(org=org, scope=scope, usage=amount, request_id=f"{org}-{scope}-{dollars}")


def filled(plane):
    spend(plane, "acme-1", 9)
    spend(plane, "acme-2", 12)
    spend(plane, "big", 100)
    for _ in range(4):
        plane.gate.Acquire(org="small")
    plane.gate.Acquire(org="acme-2")
    plane.admin.Freeze(org="acme-1", request_id="f", reason="unpaid")
    # What is written behind is listed when it is stored.
    eventually(lambda: len(plane.admin.ListOrgs().orgs) == 4, "all of them are listed")


def rows(page):
    return {row.org: row for row in page.orgs}


def states(row):
    names = row.DESCRIPTOR.fields_by_name["states"].enum_type.values_by_number
    return {names[state].name.removeprefix("ORG_STATE_") for state in row.states}


def every_page(admin, **asked):
    found, token = [], ""
    while True:
        page = admin.ListOrgs(page_token=token, **asked)
        found += page.orgs
        token = page.next_page_token
        if not token:
            return found


class Lists(NodeCase):
    def begun(self):
        node = self.node(config=CONFIG)
        plane = self.plane(node)
        filled(plane)
        return node, plane

    def test_each_org_has_its_numbers(self):
        node, plane = self.begun()
        plain = plane.admin.ListOrgs()
        self.assertEqual([(row.plan, row.used_percent) for row in plain.orgs], [("", 0)] * 4, "only where they are asked for")
        page = plane.admin.ListOrgs(numbers=True)
        self.assertEqual((page.orgs_read, list(page.failures), page.next_page_token), (4, [], ""))
        found = rows(page)
        self.assertEqual([found[org].plan for org in ("acme-1", "big", "small")], ["free", "pro", ""])
        self.assertEqual({org: row.used_percent for org, row in found.items()},
                         {"acme-1": 90, "acme-2": 120, "big": 10, "small": 100})
        self.assertEqual(found["acme-2"].fullest.name, "budget/daily")
        self.assertEqual((found["small"].allowed_today, found["small"].denied_today, found["small"].admitted_total), (1, 3, 1))
        self.assertEqual(states(found["acme-1"]), {"FROZEN", "BLOCKED", "NEAR"})
        self.assertEqual(states(found["acme-2"]), {"BLOCKED", "DENIED", "NEAR"})
        self.assertEqual(states(found["big"]), set())
        self.assertGreater(found["big"].last_change_at_ms, 0)
        # Of one org as of all of them, and nothing of one that is not kept.
        (one,) = plane.admin.ListOrgs(org="big").orgs
        self.assertEqual((one.used_percent, one.plan), (10, "pro"))
        self.assertEqual(list(plane.admin.ListOrgs(org="nobody").orgs), [])
        self.assertFalse("nobody" in rows(plane.admin.ListOrgs()), "to ask keeps nothing")

    def test_the_node_filters_and_sorts(self):
        _, plane = self.begun()
        listed = lambda **asked: [row.org for row in plane.admin.ListOrgs(**asked).orgs]  # noqa: E731
        self.assertEqual(listed(match="acme*"), ["acme-1", "acme-2"])
        self.assertEqual(listed(match="*-2", numbers=True), ["acme-2"])
        self.assertEqual(listed(plan="free"), ["acme-1", "acme-2"])
        self.assertEqual(listed(state="ORG_STATE_FROZEN"), ["acme-1"])
        self.assertEqual(set(listed(state="ORG_STATE_DENIED")), {"acme-2", "small"})
        self.assertEqual(listed(sort="ORG_SORT_MOST_USED"), ["acme-2", "small", "acme-1", "big"])
        self.assertEqual(listed(sort="ORG_SORT_MOST_DENIED")[:2], ["small", "acme-2"])
        self.assertEqual(listed(sort="ORG_SORT_MOST_USED", page_size=1), ["acme-2"], "the first of all that were read")
        near = plane.admin.ListOrgs(near_percent=95, sort="ORG_SORT_MOST_USED")
        self.assertEqual([(row.org, [limit.name for limit in row.near]) for row in near.orgs],
                         [("acme-2", ["budget/daily"]), ("small", ["quota/executions"])])
        plane.admin.SetOverride(org="big", limit="budget/daily", amount=100 * DOLLAR, request_id="o")
        self.assertEqual(listed(state="ORG_STATE_OVERRIDDEN"), ["big"])
        plane.admin.SetExemption(org="big", change="EXEMPTION_CHANGE_EXEMPT", request_id="e")
        self.assertEqual(listed(state="ORG_STATE_EXEMPT"), ["big"])

    def test_pages_have_each_org_once_and_orgs_at_rest_leave_memory_again(self):
        node, plane = self.begun()
        for number in range(60):
            spend(plane, f"many/{number:02}", 1)
        node.stop()
        node.start()
        plane = self.plane(node)
        for size in (1, 7, 1000):
            found = [row.org for row in every_page(plane.admin, numbers=True, page_size=size, match="many/*")]
            self.assertEqual(found, [f"many/{number:02}" for number in range(60)])
        self.assertEqual(rows(plane.admin.ListOrgs(numbers=True))["acme-2"].used_percent, 120, "out of what is stored")
        eventually(lambda: plane.admin.GetNode().resident_orgs == 0, "no org stays in memory for a list")

    def test_the_command_lists_what_is_full_and_what_is_denied(self):
        node, plane = self.begun()
        run = lambda *verb, code=0: self.ran(node, *verb, code=code)  # noqa: E731
        table = run("org", "list", "--most-denied").splitlines()
        self.assertRegex(table[0], r"^ORG +PLAN +STATE +USED +LIMIT .*DENIED TODAY")
        self.assertRegex(table[1], r"^small +- +blocked, denied, near +100 % +quota/executions ")
        near = run("status", "--near", "80").splitlines()
        self.assertEqual([line.split()[:2] for line in near[1:]], [
            ["acme-2", "budget/daily"], ["small", "quota/executions"], ["acme-1", "budget/daily"]])
        listed = json.loads(run("org", "list", "--near", "95", "-o", "json"))
        self.assertEqual([row["org"] for row in listed["orgs"]], ["acme-2", "small"])
        self.assertEqual(run("org", "list", "--state", "frozen", "--no-headers").split()[0], "acme-1")
        plane.admin.PurgeOrg(org="acme-2", request_id="p")
        plane.admin.PurgeOrg(org="small", request_id="p")
        self.assertEqual(self.ran(node, "status", "--near", "100", stderr=True), "no limit is used or reserved to 100 %\n")
        self.ran(node, "status", "--near", "0", code=2)
        self.ran(node, "status", "acme-1", "--near", "80", code=2)

    def ran(self, node, *verb, code=0, stderr=False):
        ran = node.run(*verb, "--addr", node.grpc)
        self.assertEqual(ran.returncode, code, ran.stderr)
        return ran.stderr if stderr else ran.stdout

    def test_a_limit_says_when_it_runs_out(self):
        node, plane = self.begun()
        (daily,) = [limit for limit in plane.gate.GetStatus(org="big").limits if limit.name == "budget/daily"]
        # $100 within the hour, and $900 are left.
        self.assertGreater(daily.runs_out_in_ms, 8.5 * 3_600_000)
        self.assertLess(daily.runs_out_in_ms, 9.2 * 3_600_000)
        self.assertIn("runs out in ", self.ran(node, "status", "big"))
        self.assertIn("runs out in ", self.ran(node, "org", "show", "big"))
        full = [limit for limit in plane.gate.GetStatus(org="acme-2").limits if limit.name == "budget/daily"]
        self.assertEqual([limit.runs_out_at_ms for limit in full], [0], "nothing is left of it now")


class InACluster(ClusterCase):
    def test_one_node_lists_the_orgs_of_all_of_them(self):
        names = orgs(30, "listed")
        config = "".join(f'[orgs."{org}"]\nexecutions = {{ calendar_month = 4 }}\n' for org in names)
        cluster = self.cluster(config=config)
        client = cluster.client("n1")
        for number, org in enumerate(names):
            for _ in range(number % 6):
                client.gate.Acquire(org=org)
        asked = {org: number % 6 for number, org in enumerate(names) if number % 6}
        listed = lambda: len(every_page(cluster.admin("n1"), match="listed-*")) == len(asked)
        eventually(listed, "what is written behind is listed when it is stored")
        for node in ("n1", "n2", "n3"):
            found = every_page(cluster.admin(node), numbers=True, page_size=7, match="listed-*")
            self.assertEqual({row.org: row.used_percent for row in found}, {
                org: 25 * min(calls, 4) for org, calls in asked.items()})
            self.assertEqual(sum(row.denied_today for row in found), sum(calls == 5 for calls in asked.values()))
            first = cluster.admin(node).ListOrgs(sort="ORG_SORT_MOST_DENIED", page_size=3).orgs
            self.assertEqual([asked[row.org] for row in first], [5, 5, 5])
        one = next(iter(asked))
        self.assertEqual([row.org for row in cluster.admin("n3").ListOrgs(org=one).orgs], [one], "its owner answers")


if __name__ == "__main__":
    unittest.main()
