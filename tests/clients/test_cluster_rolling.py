"""Every node is restarted, one after the other, while planes go on asking: nothing is lost, nothing is admitted twice."""

import random
import unittest

import history
from cluster import size
from cluster_case import ClusterCase, limited, orgs, seldom

ROUNDS = size("ROLLS", size("ROUNDS", 1))
PLANES = size("PLANES", 16)
LIMIT = size("LIMIT", 150)


class Rolling(ClusterCase):
    """I3, I6, I7, I17 over several nodes"""

    def check(self, kind, nodes=3, bulk=0):
        few, many, bulk = orgs(4, "few"), orgs(8, "many"), orgs(bulk, "bulk")
        limits = dict.fromkeys(few, LIMIT) | dict.fromkeys([*many, *bulk], 10**9)
        cluster = self.cluster(nodes=nodes, balancer=kind, config=limited(dict.fromkeys(few, LIMIT)))
        before = cluster.epochs()
        crowd = self.crowd([cluster.balancer.address], count=PLANES)
        self.loaded(crowd, few + many, few, bulk)
        for _ in range(ROUNDS):
            for name in cluster.nodes:
                cluster.restart(name)
                cluster.wait_until_owned()
                cluster.balancer.wait_until(cluster.running())
        self.until_denied(crowd, few)
        crowd.end()
        calls = crowd.history.calls
        errors = [call for call in calls if not call.answered]
        self.say(f"{len(calls)} calls, {len(errors)} of them were retried: {sorted({call.reason for call in errors})}")
        self.assertWell(history.unexpected_errors(calls), "only UNAVAILABLE, which is retried")
        # A planned move writes everything first, so the limit is exact.
        self.assertHonest(cluster, calls, limits, epochs=before)
        acquires = [call for call in calls if call.rpc == "Acquire"]
        self.assertWell(history.not_exhausted(acquires, limits), "all of the limit")

    def test_through_haproxy(self):
        self.check("haproxy", bulk=size("BULK", 0))

    def test_through_envoy(self):
        self.check("envoy")

    @seldom
    def test_holds_and_sessions_survive_every_node(self):
        cluster = self.cluster(balancer="haproxy")
        plane = cluster.plane()
        names = orgs(6)
        chance = random.Random()
        held = {}
        for org in names:
            answer = plane.gate.Acquire(org=org, request_id="hold", reserve=[{"meter": "spend", "amount": 500}])
            self.assertTrue(answer.allowed and answer.reservation_id)
            held[org] = answer.reservation_id
            started = plane.session.StartSession(org=org, session_id="s", identity="vm", request_id="start")
            self.assertTrue(started.allowed)
        for name in chance.sample(sorted(cluster.nodes), len(cluster.nodes)):
            cluster.restart(name)
            cluster.wait_until_owned()
        cluster.balancer.wait_until(cluster.running())
        for org in names:
            again = plane.gate.Acquire(org=org, request_id="hold", reserve=[{"meter": "spend", "amount": 500}])
            self.assertEqual((again.replayed, again.reservation_id), (True, held[org]))
            done = plane.gate.Commit(org=org, reservation_id=held[org], request_id="commit",
                                     actual=[{"meter": "spend", "amount": 321}])
            self.assertFalse(done.replayed)
            self.assertEqual(cluster.ledger([org])[org, "", "spend"], 321)
            sessions = plane.session.ListSessions(org=org).sessions
            self.assertEqual([each.session_id for each in sessions], ["s"], "it runs on")
            plane.session.EndSession(org=org, session_id="s", identity="vm", request_id="end", incarnation="b1", total_seconds=0)

    def test_a_drained_node_owns_nothing_and_answers_on(self):
        cluster = self.cluster()
        names = orgs(8)
        planes = {name: cluster.plane(name) for name in cluster.nodes}
        for org in names:
            self.assertTrue(planes["n1"].gate.Acquire(org=org).allowed)
        before = cluster.nodes["n2"].process
        cluster.drain("n2")
        self.assertIsNone(before.poll(), "it runs")
        for org in names:
            resumed = planes["n2"].gate.Resume(org=org, execution_id="x")
            self.assertTrue(resumed.counted, "it asks the owner")
        answers = [planes["n1"].gate.Acquire(org=org) for org in names]
        self.assertTrue(all(answer.allowed for answer in answers))
        self.assertNotIn("n2", {answer.node for answer in answers})


if __name__ == "__main__":
    unittest.main()
