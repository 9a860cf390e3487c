"""A cluster of several databases: each has a part of the orgs, and what happens to one of them does not reach the
orgs of the others."""

import hashlib
import json
import re
import statistics
import time
import unittest

import history
from cluster import SHARDS, size
from cluster_case import ClusterCase, limited, orgs
from crowd import Caller
from node import StartFailed, eventually

CELLS = 2
LIMIT = size("LIMIT", 300)
MANY = size("ORGS", 32)
# How long the database is away, in seconds.
AWAY = size("AWAY", 6)


def cell_of(org):
    """From what docs/cluster.md says, and from nothing of the server."""
    shard = int.from_bytes(hashlib.sha256(org.encode()).digest()[:8], "big") % SHARDS
    return shard * CELLS // SHARDS


def p99(calls):
    return statistics.quantiles([call.end - call.begin for call in calls], n=100)[-1]


class Cells(ClusterCase):
    """I3, I5, I6, I8 over several databases"""

    def begun(self, **options):
        self.few, self.many = orgs(6, "few"), orgs(MANY, "many")
        self.limits = dict.fromkeys(self.few, LIMIT)
        # More than any test uses, so that each is counted.
        wide = {org: 10**9 for org in self.many}
        cluster = self.cluster(cells=CELLS, config=limited(self.limits | wide), **options)
        self.limits |= wide
        self.before = cluster.epochs()
        return cluster

    def parts(self):
        """The orgs of each database."""
        return [[org for org in self.few + self.many if cell_of(org) == cell] for cell in range(CELLS)]

    def shows(self, node, *wanted):
        """`tollgate cluster` at a node has all these lines. A shard that is handed over has no owner for a moment."""
        shown = None

        def all_of_them():
            nonlocal shown
            shown = node.run("cluster", "--addr", node.grpc)
            return shown.returncode == 0 and all(re.search(line, shown.stdout, re.MULTILINE) for line in wanted)

        eventually(all_of_them, lambda: f"it shows {wanted}, but {shown}")

    def ended(self, cluster, crowd, resumes=True):
        self.until_denied(crowd, self.few)
        crowd.end()
        takeovers = {org: count for org, count in cluster.changes(self.before).items() if count}
        self.assertHonest(cluster, crowd.history.calls, self.limits, takeovers, self.before, resumes=resumes)

    def test_each_org_is_kept_by_the_database_of_its_shard(self):
        cluster = self.begun()
        crowd = self.crowd([node.grpc for node in cluster.nodes.values()])
        self.loaded(crowd, self.few + self.many, self.few)
        self.until_denied(crowd, self.few)
        crowd.end()
        calls = crowd.history.calls
        self.assertWell(history.unexpected_errors(calls, ()), "no call fails")
        self.assertHonest(cluster, calls, self.limits, epochs=self.before)
        acquires = [call for call in calls if call.rpc == "Acquire" and call.org in self.few]
        self.assertWell(history.not_exhausted(acquires, self.limits), "a limit is used up")
        for org, (cell, _) in cluster.places().items():
            self.assertEqual(cell, cell_of(org), org)
        self.assertTrue(all(self.parts()), "each has some")
        # Questions about all orgs are answered out of all databases, in one order, each org once.
        for page_size in (7, 1000):
            listed, token = [], ""
            while True:
                page = cluster.admin("n2").ListOrgs(page_size=page_size, page_token=token)
                listed += [summary.org for summary in page.orgs]
                token = page.next_page_token
                if not token:
                    break
            self.assertEqual(sorted(listed), sorted(self.few + self.many))
            self.assertEqual(listed, sorted(listed, key=lambda org: (len(org), org)))

    def test_nodes_come_and_go_in_each_of_them(self):
        cluster = self.begun(balancer="haproxy")
        crowd = self.crowd([cluster.balancer.address])
        self.loaded(crowd, self.few + self.many, self.few)
        shares = cluster.wait_until_shared(0.15)
        self.assertEqual(set(shares), {"n1", "n2", "n3"})
        cluster.restart("n2")
        cluster.wait_until_settled()
        died = cluster.kill("n3")
        cluster.wait_until_owned()
        self.until_answered(crowd, died, self.many)
        cells = [rf"^ *{cell} +512 of 512 have an owner +answers *$" for cell in (1, 2)]
        self.shows(cluster.nodes["n1"], *cells, r"^n3 +dead +0 ", r"^n1 +alive +\d+ ")
        cluster.start("n3")
        cluster.drain("n1")
        eventually(lambda: "n1" not in cluster.view("n2").shares() and cluster.view("n2").owned == SHARDS, "n1 owns nothing")
        self.ended(cluster, crowd, resumes=False)

    def test_a_database_that_is_away_touches_its_orgs_alone(self):
        cluster = self.begun(balancer="haproxy")
        well, ill = self.parts()
        # Callers that wait for the one do not wait for the others.
        crowd, waiting = (self.crowd([cluster.balancer.address], patience=AWAY + 120.0) for _ in range(2))
        self.loaded(crowd, well, seconds=AWAY / 2)
        self.loaded(waiting, ill)
        epochs = {place: epoch for place, epoch in cluster.epochs().items() if place[0] == 0}
        began = time.monotonic() - 1
        cluster.cells[1].primary.stop("immediate")
        gone = time.monotonic()
        eventually(lambda: time.monotonic() > gone + AWAY, "it is away", within=AWAY + 10)
        view = cluster.admin().GetCluster()
        first, second = view.cells
        self.assertEqual((first.number, first.shards_owned, first.fault), (1, 512, ""))
        self.assertEqual((second.number, second.fault != ""), (2, True), "the one that is away is named")
        self.assertEqual(cluster.running(), list(cluster.nodes), "no node has ended")
        # Nodes may find it before whoever starts it knows that it is up.
        back = time.monotonic()
        cluster.cells[1].primary.start()
        cluster.wait_until_owned()
        self.until_recorded(waiting, back, ill)
        before = [call for call in crowd.history.calls if began <= call.begin and call.end < gone]
        during = [call for call in crowd.history.calls if gone <= call.begin and call.end < back]
        self.assertTrue(during, "its orgs are asked for")
        self.assertWell([str(call) for call in during if not call.answered or call.flagged], "the others are served as ever")
        self.say(f"p99 of the other orgs: {p99(during) / p99(before):.2f} of before, {len(during)} calls")
        now = cluster.epochs()
        self.assertEqual({place for place, epoch in epochs.items() if now[place] != epoch}, set(), "no shard of it has moved")
        lost = [call for call in waiting.history.calls if gone <= call.begin and call.end < back]
        acknowledged = [call for call in lost if call.rpc == "Record" and call.answered and not call.replayed]
        self.assertEqual([str(call) for call in acknowledged], [], "there is nowhere to write it")
        crowd.end()
        waiting.end()
        takeovers = {org: count for org, count in cluster.changes(self.before).items() if count}
        self.assertHonest(cluster, crowd.history.calls, self.limits, epochs=self.before)
        self.assertHonest(cluster, waiting.history.calls, self.limits, takeovers, self.before, resumes=False)

    def test_a_node_starts_while_a_database_is_away_and_serves_the_others(self):
        cluster = self.begun()
        crowd = self.crowd([cluster.nodes["n1"].grpc])
        self.loaded(crowd, self.many, seconds=0.0)
        crowd.end()
        well, ill = self.parts()
        cluster.cells[1].primary.stop("immediate")
        cluster.kill("n3")
        cluster.start("n3", wait=False)
        plane = cluster.plane("n3")

        def owns_some():
            seen = plane.admin.GetCluster()
            mine = any(node.name == "n3" and node.shards and list(node.cells) == [1] for node in seen.nodes)
            return mine and seen.cells[0].shards_owned == 512

        eventually(owns_some, "n3 has its share of the first database, and no shard of it is free", within=60.0)
        caller = Caller(plane, crowd.history)
        for org in sorted(well):
            answer = caller.acquire(org)
            self.assertEqual((answer.allowed, list(answer.fail_open)), (True, []), org)
        self.shows(cluster.nodes["n3"], r"^n3 +alive in 1 of 2 cells ", "does not answer")
        cluster.cells[1].primary.start()
        cluster.wait_until_owned()
        for org in sorted(ill):
            self.assertEqual(list(caller.acquire(org).fail_open), [], org)

    def test_databases_in_another_order_are_refused(self):
        cluster = self.begun(nodes=1)
        node = cluster.nodes["n1"]
        cluster.terminate("n1")
        urls = json.dumps([cell.url for cell in cluster.cells])
        swapped = json.dumps([cell.url for cell in reversed(cluster.cells)])
        with open(node.config_file) as file:
            text = file.read()
        self.assertIn(urls, text)
        node.write_config(text.replace(urls, swapped))
        with self.assertRaisesRegex(StartFailed, "database 1 of 2 is database 2 of 2 of its cluster"):
            node.start()
        node.process = None

    def test_an_export_of_one_machine_is_imported_into_two_databases_and_back(self):
        cluster = self.begun()
        crowd = self.crowd([node.grpc for node in cluster.nodes.values()])
        self.loaded(crowd, self.many, seconds=0.5)
        crowd.end()
        ledger = cluster.ledger(self.many, "e/")
        for name in list(cluster.nodes):
            cluster.terminate(name)
        node, cells = cluster.nodes["n1"], [argument for cell in cluster.cells for argument in ("--postgres", cell.url)]
        exported = node.run("export", *cells)
        self.assertEqual(exported.returncode, 0, exported.stderr)
        for cell in cluster.cells:
            cell.ask("DROP SCHEMA tollgate CASCADE")
        file = f"{cluster.dir}/export"
        with open(file, "w") as out:
            out.write(exported.stdout)
        imported = node.run("import", *cells, file)
        self.assertEqual(imported.returncode, 0, imported.stderr)
        again = node.run("export", *cells)
        # But for the first line, which has clocks.
        self.assertEqual(again.stdout.splitlines()[1:-1], exported.stdout.splitlines()[1:-1])
        cluster.start(*cluster.nodes)
        self.assertEqual(cluster.ledger(self.many, "e/"), ledger)
        self.assertTrue(all(self.parts()))


if __name__ == "__main__":
    unittest.main()
