"""Nodes come and go while planes go on asking: each has its part of the shards, and nothing is lost on the way."""

import unittest

import history
from cluster import SHARDS, size
from cluster_case import PLENTY, ClusterCase, orgs

PLANES = size("PLANES", 16)
FLAPS = size("FLAPS", 4)
TOLERANCE = 0.15


class Scale(ClusterCase):
    """I3, I6 over several nodes"""

    def begun(self, **options):
        cluster = self.cluster(nodes=2, spare=2, balancer="haproxy", **options)
        # So many that each node owns some of them.
        self.names = orgs(48)
        self.before = cluster.epochs()
        crowd = self.crowd([cluster.balancer.address], count=PLANES)
        self.loaded(crowd, self.names)
        return cluster, crowd

    def ended(self, cluster, crowd, **options):
        crowd.end()
        self.assertHonest(cluster, crowd.history.calls, dict.fromkeys(self.names, PLENTY), epochs=self.before, **options)
        return crowd.history.calls

    def test_two_nodes_become_four_and_two_again(self):
        cluster, crowd = self.begun()
        self.say(f"2 nodes: {cluster.wait_until_shared(TOLERANCE)}")
        cluster.start("n3", "n4")
        self.say(f"4 nodes: {cluster.wait_until_shared(TOLERANCE)}")
        moved = cluster.changes(self.before)
        self.assertGreater(sum(count > 0 for count in moved.values()), 0)
        cluster.balancer.wait_until(cluster.running())
        for name in ("n3", "n4"):
            cluster.terminate(name)
            cluster.wait_until_owned()
        self.say(f"2 nodes: {cluster.wait_until_shared(TOLERANCE)}")
        calls = self.ended(cluster, crowd)
        self.assertWell(history.unexpected_errors(calls), "only UNAVAILABLE, which is retried")
        self.assertEqual({call.node for call in calls if call.node}, {"n1", "n2", "n3", "n4"})

    def test_only_the_part_of_a_new_node_moves(self):
        cluster, crowd = self.begun()
        cluster.wait_until_shared(TOLERANCE)
        before = cluster.owners()
        cluster.start("n3")
        cluster.wait_until_shared(TOLERANCE)
        after = cluster.owners()
        moved = [place for place in after if after[place] != before[place]]
        self.assertLessEqual(len(moved), SHARDS / 3 * (1 + TOLERANCE))
        self.assertEqual({after[place] for place in moved}, {"n3"}, "nothing moves between the others")
        self.ended(cluster, crowd)

    def test_a_node_of_twice_the_weight_has_twice_the_shards(self):
        cluster = self.cluster(nodes=3, weights={"n3": 2})
        parts = cluster.wait_until_shared(TOLERANCE)
        self.say(f"weights 1, 1, 2: {parts}")
        self.assertGreater(parts["n3"], SHARDS * 0.4)

    def test_a_node_that_comes_and_goes_does_not_disturb_the_others(self):
        cluster, crowd = self.begun()
        for number in range(FLAPS):
            cluster.start("n3", wait=number % 2 == 0)
            cluster.kill("n3")
            cluster.wait_until_owned()
        cluster.start("n3")
        cluster.wait_until_shared(TOLERANCE)
        # The connections to the killed node broke in the middle of calls.
        calls = self.ended(cluster, crowd, takeovers=dict.fromkeys(self.names, FLAPS), resumes=False)
        self.say(f"{len(calls)} calls, {sum(not call.answered for call in calls)} retried, over {FLAPS} kills")
        seen = [node for node in cluster.view().nodes if node.name == "n3"]
        self.assertEqual(sum(node.state == "alive" for node in seen), 1, seen)


if __name__ == "__main__":
    unittest.main()
