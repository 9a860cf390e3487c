"""Nodes of an older build are replaced by those of this one, one after the other, while planes go on asking.

TOLLGATE_OLD_BINARY names the older build; scripts/torture makes it of the commit that scripts/lanes names."""

import os
import unittest

import history
from cluster import size
from cluster_case import PLENTY, ClusterCase, limited, orgs
from node import BINARY, StartFailed, eventually

OLD = os.environ.get("TOLLGATE_OLD_BINARY")
PLANES = size("PLANES", 16)
LIMIT = size("LIMIT", 150)


@unittest.skipUnless(OLD, "TOLLGATE_OLD_BINARY names no older build")
class Upgrade(ClusterCase):
    """I3, I6, I7, I17 over several nodes, of two builds"""

    def begun(self):
        self.few, self.many = orgs(4, "few"), orgs(12, "many")
        self.limits = dict.fromkeys(self.few, LIMIT) | dict.fromkeys(self.many, PLENTY)
        cluster = self.cluster(balancer="haproxy", binary=OLD, config=limited(dict.fromkeys(self.few, LIMIT)))
        self.before = cluster.epochs()
        crowd = self.crowd([cluster.balancer.address], count=PLANES)
        self.loaded(crowd, self.few + self.many, self.few)
        return cluster, crowd

    def replace(self, cluster, name, binary):
        cluster.terminate(name)
        cluster.nodes[name].binary = binary
        cluster.start(name, wait=False)
        cluster.wait_until_owned()
        cluster.balancer.wait_until(cluster.running())

    def ended(self, cluster, crowd):
        self.until_denied(crowd, self.few)
        crowd.end()
        calls = crowd.history.calls
        errors = [call for call in calls if not call.answered]
        self.say(f"{len(calls)} calls, {len(errors)} of them were retried: {sorted({call.reason for call in errors})}")
        self.assertWell(history.unexpected_errors(calls), "only UNAVAILABLE, which is retried")
        self.assertHonest(cluster, calls, self.limits, epochs=self.before)
        acquires = [call for call in calls if call.rpc == "Acquire"]
        self.assertWell(history.not_exhausted(acquires, self.limits), "all of the limit")

    def migrations(self, cluster):
        ((_, count),) = cluster.rows("SELECT count(*) FROM {schema}.migration")
        return int(count)

    def test_nodes_are_updated_one_after_the_other_under_load(self):
        cluster, crowd = self.begun()
        before = self.migrations(cluster)
        for name in cluster.nodes:
            self.replace(cluster, name, BINARY)
            # Nodes of both builds decide, and each forwards to the other.
            self.loaded_on(crowd, cluster)
        after = self.migrations(cluster)
        self.say(f"{before} migrations of the database before, {after} after")
        if after > before:
            # What ran went on; what starts now has to know the tables.
            cluster.terminate("n3")
            cluster.nodes["n3"].binary = OLD
            with self.assertRaisesRegex(StartFailed, "start a newer one"):
                cluster.nodes["n3"].start()
            cluster.nodes["n3"].kill()
            cluster.nodes["n3"].binary = BINARY
            cluster.start("n3")
            cluster.balancer.wait_until(cluster.running())
        self.ended(cluster, crowd)

    def loaded_on(self, crowd, cluster):
        """Until every node has decided since now."""
        since = len(crowd.history.calls)
        eventually(lambda: {call.node for call in crowd.history.calls[since:] if call.node} >= set(cluster.nodes),
                   "every node decides", within=60.0)


if __name__ == "__main__":
    unittest.main()
