"""Three nodes that share a database are one tollgate: limits hold exactly, whichever node is asked."""

import collections
import json
import random
import unittest

import history
from autumn import Standin
from billing import billed, tracks
from cluster import LEASE, SHARDS, size
from cluster_case import ClusterCase, limited, orgs
from crowd import Caller, fresh
from history import ALLOWED, DENIED, History
from node import Node, eventually
from plane import Plane, with_metadata
from recorder import Recorder

PLANES = size("PLANES", 64)
# So many that each node owns some of them.
ORGS = size("ORGS", 30)
LIMIT = size("LIMIT", 40)


def until_denied(names):
    """A step of a caller that asks orgs at random until each has denied it."""
    left = collections.defaultdict(lambda: set(names))

    def step(caller, number):
        mine = left[caller]
        org = random.choice(sorted(mine))
        answer = caller.acquire(org)
        if answer is not None and not answer.allowed:
            mine.discard(org)
        return bool(mine)

    return step


class Steady(ClusterCase):
    """I1, I3, I6 over several nodes"""

    def exhausted(self, kind, planes, names, per_org):
        """All planes ask until every org denies them; the cluster that answered."""
        cluster = self.cluster(balancer=kind, config=limited(dict.fromkeys(names, per_org)))
        before = cluster.epochs()
        crowd = self.crowd([cluster.balancer.address], count=planes)
        crowd.run(until_denied(names)).join()
        calls = crowd.history.of("Acquire")
        limits = dict.fromkeys(names, per_org)
        self.assertWell(history.over_admitted(calls, limits), "no more than the limit")
        self.assertWell(history.not_exhausted(calls, limits), "all of the limit")
        self.assertEqual({call.org for call in calls if call.outcome == ALLOWED}, set(names))
        self.assertEqual(cluster.epochs(), before, "no shard changed its owner")
        self.assertWell(history.owner_changes(calls), "one owner")
        self.assertWell(history.unexpected_errors(calls, allowed=()), "no error at all")
        deciders = collections.Counter(call.node for call in calls)
        self.assertEqual(set(deciders), set(cluster.nodes), "orgs are spread over the nodes")
        # One org was decided by one node, whichever node the balancer asked.
        self.assertEqual({call.node for call in calls if call.org == names[0]}, {calls_of(calls, names[0])[0].node})
        return cluster

    def test_many_planes_through_haproxy_use_each_limit_up_and_no_more(self):
        self.exhausted("haproxy", PLANES, orgs(ORGS), LIMIT)

    def test_the_same_through_envoy(self):
        self.exhausted("envoy", 16, orgs(ORGS), LIMIT // 4)

    def test_entries_of_many_planes_are_recorded_once(self):
        cluster = self.cluster(balancer="haproxy")
        names = orgs(ORGS)
        crowd = self.crowd([cluster.balancer.address], count=PLANES)
        crowd.run(self.mixed(names), times=size("CALLS", 12)).join()
        calls = crowd.history.calls
        self.assertWell(history.unexpected_errors(calls, allowed=()), "no error at all")
        self.assertHonest(cluster, calls, dict.fromkeys(names, 10**9))

    def test_every_node_shows_the_same_cluster(self):
        cluster = self.cluster()
        seen = [cluster.view(name) for name in cluster.nodes]
        for view in seen:
            self.assertEqual((view.owned, view.free, view.total, view.drift), (SHARDS, 0, SHARDS, False), view)
            self.assertEqual({node.name: node.grpc for node in view.nodes}, {n.name: n.grpc for n in cluster.nodes.values()})
            self.assertEqual(view.shares(), seen[0].shares())
        self.assertEqual(len({node.incarnation for node in seen[0].nodes}), len(cluster.nodes))
        node = cluster.nodes["n2"]
        table = node.run("cluster", "--addr", node.grpc)
        self.assertEqual(table.returncode, 0, table.stderr)
        for name in cluster.nodes:
            self.assertIn(name, table.stdout)
        shown = json.loads(node.run("cluster", "--addr", node.grpc, "-o", "json").stdout)
        self.assertEqual({each["name"] for each in shown["nodes"]}, set(cluster.nodes))
        for each in shown["nodes"]:
            self.assertTrue(0 < int(each["leaseMs"]) <= LEASE * 1000, each)
        # Who owns each shard, and an org, as the database says and as the node that decides says.
        listed = json.loads(node.run("cluster", "--shards", "--addr", node.grpc, "-o", "json").stdout)["shards"]
        epochs = cluster.epochs()
        owners = {(each["cell"] - 1, str(each["number"])): each["owner"] for each in listed}
        self.assertEqual(owners, cluster.owners())
        self.assertEqual({(each["cell"] - 1, str(each["number"])): int(each["epoch"]) for each in listed}, epochs)
        (org,) = orgs(1)
        decider = cluster.plane("n1").gate.Acquire(org=org).node
        said = node.run("cluster", "--org", org, "--addr", node.grpc).stdout
        self.assertRegex(said, rf"^{org} is in shard \d+, cell 1 of 1, owned by {decider} at {cluster.nodes[decider].grpc}, epoch \d+$")

    def test_an_answer_from_another_node_says_where_that_one_is(self):
        cluster = self.cluster()
        names = orgs(12)
        for asked in cluster.nodes:
            plane = cluster.client(asked)
            for org in names:
                answer, metadata = with_metadata(plane, "gate", "Acquire", org=org)
                elsewhere = answer.node != asked
                self.assertEqual(metadata.get("tollgate-owner"), cluster.nodes[answer.node].grpc if elsewhere else None)
                _, metadata = with_metadata(plane, "gate", "Resume", org=org, execution_id="x")
                self.assertEqual("tollgate-owner" in metadata, elsewhere)
        # Of the node itself, and of several orgs: no org says who owns them.
        self.assertNotIn("tollgate-owner", with_metadata(plane, "admin", "GetNode")[1])

    def test_nodes_that_differ_in_their_configuration_are_named(self):
        cluster = self.cluster()
        self.assertFalse(cluster.view().drift)
        node = cluster.nodes["n3"]
        with open(node.config_file, encoding="utf-8") as file:
            text = file.read()
        node.write_config(text + '\n[orgs."other"]\nexecutions = { calendar_month = 7 }\n')
        cluster.restart("n3")
        cluster.wait_until_owned()
        eventually(lambda: cluster.view("n1").drift, "the cluster's view says that nodes differ")
        self.assertEqual(len({each.config for each in cluster.view("n1").alive().values()}), 2)
        for name in cluster.nodes:
            (said,) = cluster.admin(name).GetCluster().drift
            self.assertRegex(said, r"n1 .*n2 .*n3 .*differ in their configuration", f"as {name} says")
        table = node.run("cluster", "--addr", node.grpc)
        self.assertIn("differ in their configuration", table.stdout + table.stderr)
        # It ends when the files are equal again.
        node.write_config(text)
        node.reload()
        eventually(lambda: not any(cluster.view(name).drift for name in cluster.nodes), "nodes are alike again")


def calls_of(calls, org):
    return [call for call in calls if call.org == org]


class Sessions(ClusterCase):
    """R-SES-1 over several nodes"""

    CONFIG = '[plans.ten]\ncompute = { calendar_month = "10m" }\nmax_sessions = 2\n[defaults]\nplan = "ten"\n'

    def test_a_session_is_started_at_one_node_and_ended_through_another(self):
        cluster = self.cluster(config=self.CONFIG)
        planes = {name: cluster.plane(name) for name in cluster.nodes}
        for org in orgs(6):
            started = planes["n1"].session.StartSession(org=org, session_id="s", identity="vm", request_id=fresh("r"))
            self.assertTrue(started.allowed, started)
            beat = planes["n2"].session.Heartbeat(org=org, session_id="s", identity="vm", incarnation="b1", total_seconds=0)
            self.assertEqual(beat.booked_ms, 0)
            ended = planes["n3"].session.EndSession(org=org, session_id="s", identity="vm", request_id=fresh("r"),
                                                    incarnation="b1", total_seconds=0)
            shown = planes["n1"].session.GetSession(org=org, session_id="s").session
            self.assertEqual((shown.state, shown.booked_ms), (ended.session.state, ended.session.booked_ms))
            (status,) = planes["n2"].session.BatchStatus(items=[{"org": org}]).results
            self.assertEqual((status.status.sessions, status.status.reserved_ms), (0, 0))

    def test_the_number_at_once_holds_over_all_nodes(self):
        cluster = self.cluster(config=self.CONFIG)
        (org,) = orgs(1)
        crowd = self.crowd([node.grpc for node in cluster.nodes.values()], count=12)
        crowd.run(lambda caller, number: caller.start_session(org, fresh("s")), times=1).join()
        outcomes = collections.Counter(call.outcome for call in crowd.history.calls)
        self.assertEqual(outcomes, {ALLOWED: 2, DENIED: 10})


class Pools(ClusterCase):
    """R-POOL-1: the maximum is exactly limit − buffer"""

    def test_many_pickers_over_three_nodes_use_each_account_up_and_no_more(self):
        cluster = self.cluster()
        (org,) = orgs(1)
        limit, buffer, count = size("ACCOUNT", 30), 3, 6
        accounts = [{"account": f"acct-secret-{n:04}", "daily_limit": limit, "safety_buffer": buffer} for n in range(count)]
        cluster.plane("n1").pool.ConfigurePool(org=org, pool="p", accounts=accounts, request_id=fresh("r"))
        crowd = self.crowd([node.grpc for node in cluster.nodes.values()], count=PLANES)

        def step(caller, number):
            answer = caller.pick(org, "p")
            return answer is not None and answer.allowed

        crowd.run(step).join()
        picks = crowd.history.of("Pick")
        usable = {(org, each["account"]): limit - buffer for each in accounts}
        self.assertWell(history.over_picked(picks, usable), "no account above its limit less its buffer")
        self.assertEqual(sum(call.outcome == ALLOWED for call in picks), count * (limit - buffer))
        self.assertWell(history.owner_changes(picks), "one owner")
        for name in cluster.nodes:
            pool = cluster.plane(name).pool.GetPool(org=org, pool="p").pool
            self.assertEqual({each.used for each in pool.accounts}, {limit - buffer}, f"as {name} says")


class Exports(ClusterCase):
    """R-BAL-7 over several nodes"""

    def test_usage_reaches_the_provider_once(self):
        standin = Standin()
        self.addCleanup(standin.close)
        environment = billed(self, standin, EXPORT="admitted")
        cluster = self.cluster(balancer="haproxy", environment=environment)
        names = orgs(8)
        standin.customers(**{org: {"features": {"executions": {"granted": 10**6}}} for org in names})
        # Few: each admission is a report of its own.
        crowd = self.crowd([cluster.balancer.address], count=2)
        self.loaded(crowd, names, seconds=0.2)
        # Its outbox goes to other nodes, and is sent by them.
        cluster.restart("n1")
        cluster.wait_until_owned()
        crowd.end()
        admitted = collections.Counter(
            org for (org, _, _) in {call.request for call in crowd.history.of("Acquire") if call.outcome == ALLOWED})

        def delivered():
            return all(not cluster.admin().ListExports(org=org).exports for org in names)

        eventually(delivered, "nothing waits for the provider", within=120.0)
        for org in names:
            self.assertEqual(standin.usage(org), admitted[org], f"executions of {org} as the provider counts them")
            keys = collections.Counter(entry["headers"]["idempotency-key"] for entry in tracks(standin, org)
                                       if entry["status"] == 200)
            self.assertEqual([key for key, count in keys.items() if count > 1], [], "each row was taken once")


class Forwarded(ClusterCase):
    """R-OPS-8: nodes of neighbouring versions serve one cluster"""

    def test_the_owner_gets_the_bytes_that_the_caller_has_sent(self):
        cluster = self.cluster(nodes=1, spare=1)
        owner = cluster.nodes["n2"]
        recorder = Recorder(owner.peer)
        self.addCleanup(recorder.close)
        with open(owner.config_file) as file:
            text = file.read()
        owner.write_config(text.replace("[cluster]\n", f'[cluster]\nadvertise = "{recorder.address}"\n'))
        cluster.start("n2")
        plane = cluster.plane("n1")
        org = next(org for org in orgs(64) if plane.gate.Acquire(org=org).node == "n2")
        # A field that no version has yet, before the others; canonical encoding would leave it out.
        later = b"of-a-later-version"
        request = b"\xca\xbb\x04" + bytes([len(later)]) + later + b"\x0a" + bytes([len(org)]) + org.encode()
        ask = plane.channel.unary_unary("/tollgate.v1.GateService/Acquire")
        self.assertIn(b"n2", ask(request, timeout=15))
        self.assertIn(request, recorder.sent)


class Moved(ClusterCase):
    """R-OPS-8: an export is the way into a cluster and out"""

    def test_what_a_single_node_has_is_there_in_a_cluster(self):
        names = orgs(6)
        single = Node()
        self.addCleanup(single.close)
        plane = Plane(single.start().grpc)
        for org in names:
            plane.gate.Record(org=org, request_id="r", usage=[{"meter": "spend", "amount": 70}])
            plane.gate.Acquire(org=org, request_id="hold", reserve=[{"meter": "spend", "amount": 7}])
        plane.close()
        self.assertEqual(single.stop(), 0)
        file = single.config_file + ".jsonl"
        self.assertEqual(single.run("export", "--data-dir", single.data_dir, file).returncode, 0)

        def imported(cells):
            single.environment = cells[0].primary.environment
            answer = single.run("import", "--postgres", cells[0].url, file)
            self.assertEqual(answer.returncode, 0, answer.stderr)

        cluster = self.cluster(prepare=imported)
        for org in names:
            self.assertEqual(cluster.ledger([org])[org, "", "spend"], 70)
            again = cluster.plane("n2").gate.Record(org=org, request_id="r", usage=[{"meter": "spend", "amount": 70}])
            self.assertTrue(again.replayed, "request ids came with it")
            (held,) = cluster.plane("n3").gate.ListReservations(org=org).reservations
            self.assertEqual(held.amounts[0].amount, 7)
            self.assertEqual(cluster.admin().Audit(org=org).drifted, 0)


class Retries(ClusterCase):
    """I2 over several nodes"""

    def test_a_request_id_is_known_to_every_node(self):
        cluster = self.cluster()
        record = History()
        callers = [Caller(cluster.plane(name), record) for name in cluster.nodes]
        for org in orgs(6):
            request, scope = fresh("r"), fresh("s")
            answers = [caller.record(org, 5, scope=scope, request_id=request) for caller in callers]
            self.assertEqual([answer.replayed for answer in answers], [False, True, True])
            decisions = {caller.acquire(org, request_id=request).decision_id for caller in callers}
            self.assertEqual(len(decisions), 1)
            self.assertEqual(cluster.ledger([org], scope), {(org, scope, "spend"): 5})


if __name__ == "__main__":
    unittest.main()
