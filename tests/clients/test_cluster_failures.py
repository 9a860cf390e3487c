"""What fails, one thing at a time, while planes go on asking: no acknowledged entry is lost, no two nodes decide for an
org, and a limit is passed by no more than a takeover may forget. ADR 15 has the table that these tests follow."""

import time
import unittest

import history
from cluster import LEASE, SHARDS, size
from cluster_case import PLENTY, ClusterCase, limited, orgs, seldom
from history import ALLOWED
from network import CALLERS, PEERS, STORE
from node import eventually

ROUNDS = size("ROUNDS", 1)
PLANES = size("PLANES", 16)
LIMIT = size("LIMIT", 300)
# So many that each node owns some of them.
MANY = size("ORGS", 32)
# Orgs that are asked now and then, and judged in the end.
BULK = size("BULK", 0)
# How often a node is killed, and so many seconds from one time to the next at least.
KILLS = size("KILLS", ROUNDS)
KILL_EVERY = size("KILL_EVERY", 0)
# What a caller may get while something is broken, and retries: a node that stands still lets calls run into their
# deadline, and an answer that a proxy passes on may be cut in the middle.
BROKEN = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN")


class FailureCase(ClusterCase):
    """A cluster under load, with orgs whose limit is used up in the end."""

    def begun(self, direct=False, attempt=4.0, bulk=0, **options):
        """`direct`: the planes ask the nodes themselves, in turn."""
        self.few, self.many = orgs(4, "few"), orgs(MANY, "many")
        bulk = orgs(bulk, "bulk")
        self.limits = dict.fromkeys(self.few, LIMIT) | dict.fromkeys([*self.many, *bulk], PLENTY)
        options.setdefault("balancer", None if direct else "haproxy")
        cluster = self.cluster(config=limited(dict.fromkeys(self.few, LIMIT)), **options)
        self.before = cluster.epochs()
        addresses = [node.grpc for node in cluster.nodes.values()] if direct else [cluster.balancer.address]
        crowd = self.crowd(addresses, count=PLANES, attempt=attempt, patience=150.0)
        self.loaded(crowd, self.few + self.many, self.few, bulk)
        return cluster, crowd

    def owned_by(self, cluster, name):
        """Orgs of a node. That it owns none of so many happens once in a million times."""
        return eventually(lambda: cluster.orgs_of(name, self.few + self.many), f"{name} owns one of the orgs")

    def ended(self, cluster, crowd, resumes=True):
        """The small limits are used up, the load ends, and everything is judged."""
        self.until_denied(crowd, self.few)
        crowd.end()
        calls = crowd.history.calls
        errors = [call for call in calls if not call.answered]
        flagged = sum(call.flagged for call in calls)
        self.say(f"{len(calls)} calls, {len(errors)} retried, {flagged} flagged, {sorted({call.reason[:40] for call in errors})}")
        self.assertWell(history.unexpected_errors(calls, BROKEN), "only errors that are retried")
        takeovers = {org: count for org, count in cluster.changes(self.before).items() if count}
        self.assertHonest(cluster, calls, self.limits, takeovers, self.before, resumes=resumes)
        return calls


class Nodes(FailureCase):
    """I3, I5, I6 over several nodes"""

    def test_a_killed_node_is_replaced(self):
        cluster, crowd = self.begun(bulk=BULK)
        died = 0.0
        for number in range(KILLS):
            name = f"n{number % 3 + 1}"
            eventually(lambda: time.monotonic() >= died + KILL_EVERY, "the next one", within=KILL_EVERY + 10)
            lost = self.owned_by(cluster, name)
            died = cluster.kill(name)
            cluster.wait_until_owned()
            self.until_answered(crowd, died, lost)
            returned = time.monotonic()
            calls = crowd.history.since(died)
            self.assertWell(history.decided_while_gone(calls, name, died, returned), f"{name} is dead")
            self.assertPauses(calls, died, lost)
            cluster.start(name)
            cluster.balancer.wait_until(cluster.running())
        # The connections to the dead node broke in the middle of calls, those of Resume as well.
        self.ended(cluster, crowd, resumes=False)

    def test_a_node_that_stood_still_decides_nothing_when_it_goes_on(self):
        cluster, crowd = self.begun()
        for _ in range(ROUNDS):
            lost = self.owned_by(cluster, "n1")
            incarnation = cluster.view("n2").alive()["n1"].incarnation
            stopped = cluster.stop("n1")
            cluster.wait_until_owned()
            eventually(lambda: time.monotonic() > stopped + 3 * LEASE, "three leases are over")
            self.until_answered(crowd, stopped, lost)
            resumed = cluster.cont("n1")
            calls = crowd.history.since(stopped)
            self.assertWell(history.decided_while_gone(calls, "n1", stopped, resumed), "it stands still")
            self.assertPauses(calls, stopped, lost)
            cluster.wait_until_owned()
            alive = cluster.view("n2").alive()["n1"]
            self.assertNotEqual(alive.incarnation, incarnation, "a lease that is over is never valid again")
        self.ended(cluster, crowd, resumes=False)

    @seldom
    def test_two_of_three_nodes_are_killed_at_once(self):
        cluster, crowd = self.begun()
        lost = self.owned_by(cluster, "n1") | self.owned_by(cluster, "n2")
        cluster.kill("n1")
        died = cluster.kill("n2")
        cluster.wait_until_owned()
        self.until_answered(crowd, died, lost)
        self.assertPauses(crowd.history.since(died), died, lost)
        self.assertEqual(cluster.view("n3").shares(), {"n3": SHARDS})
        cluster.start("n1", "n2")
        self.ended(cluster, crowd, resumes=False)

    def test_all_nodes_are_killed_and_come_back_with_all_that_was_acknowledged(self):
        cluster, crowd = self.begun(direct=True)
        for name in list(cluster.nodes):
            cluster.kill(name)
        cluster.start(*cluster.nodes)
        self.ended(cluster, crowd, resumes=False)


class Databases(FailureCase):
    """I3, I8, I14 over several nodes"""

    def restarted(self, away):
        """The primary crashes and is back after so many seconds at the earliest."""
        cluster, crowd = self.begun()
        cell = cluster.cells[0]
        cell.primary.stop("immediate")
        gone = time.monotonic()
        eventually(lambda: time.monotonic() > gone + away, "it is away", within=away + 10)
        # Nothing durable is answered while there is nowhere to write it.
        acknowledged = [call for call in crowd.history.since(gone)
                        if call.rpc == "Record" and call.answered and not call.replayed]
        self.assertEqual([str(call) for call in acknowledged], [])
        cell.primary.start()
        back = time.monotonic()
        cluster.wait_until_owned()
        self.until_recorded(crowd, back, self.many)
        self.assertEqual(cluster.running(), list(cluster.nodes), "no node has ended")
        calls = self.ended(cluster, crowd, resumes=False)
        for call in calls:
            if call.flagged and call.rpc == "Acquire":
                self.assertGreater(call.end, gone - 1.0, f"flagged while everything was well: {call}")

    def test_the_database_restarts(self):
        self.restarted(away=0.0)

    def test_the_database_is_away_for_longer_than_a_lease(self):
        self.restarted(away=2 * LEASE)

    def test_the_synchronous_standby_takes_over(self):
        cluster, crowd = self.begun(standby=True)
        cell = cluster.cells[0]
        gone = cell.fail_over()
        done = time.monotonic()
        cluster.wait_until_owned()
        self.until_recorded(crowd, done, self.many)
        self.assertPauses([call for call in crowd.history.since(gone) if call.rpc == "Record"], gone, set(self.many), 120.0)
        self.ended(cluster, crowd, resumes=False)


class Networks(FailureCase):
    """I3, I6, I8: cables between nodes, and to the database, are cut. Only root may."""

    def begun(self, **options):
        return super().begun(isolated=True, direct=True, **options)

    def others(self, cluster, name):
        return [each for each in cluster.nodes if each != name]

    def taken_over(self, cluster, crowd, name, *cables):
        """The node is cut off, the others have its shards; when, and which orgs it lost."""
        lost = self.owned_by(cluster, name)
        cut = cluster.cut(name, *cables)
        others = self.others(cluster, name)

        def taken():
            view = cluster.view(others[0])
            return name not in view.alive() and sum(view.alive()[each].shards for each in others) == SHARDS

        eventually(taken, f"{others} own all shards", within=60.0)

        def decided():
            calls = crowd.history.since(cut)
            return {call.org for call in calls if call.node in others and call.answered and not call.flagged} >= lost

        self.patiently(decided, "each org is decided by another node")
        return cut, lost

    def back(self, cluster, crowd, name, incarnation, *cables):
        cluster.mend(name, *cables)
        cluster.wait_until_owned()
        self.assertNotEqual(cluster.view(name).alive()[name].incarnation, incarnation, "it comes back as another one")

    def cut_off(self, *cables):
        cluster, crowd = self.begun()
        incarnation = cluster.view("n2").alive()["n1"].incarnation
        cut, lost = self.taken_over(cluster, crowd, "n1", *cables)
        over = time.monotonic()
        decided = [call for call in crowd.history.since(cut) if call.org in lost and call.node in self.others(cluster, "n1")]
        self.assertPauses(decided, cut, lost, within=60.0)
        self.back(cluster, crowd, "n1", incarnation, *cables)
        # What it answered by itself after its lease was no decision, and it says so.
        late = [call for call in crowd.history.since(cut + 2 * LEASE) if call.node == "n1" and call.end < over
                and call.rpc == "Acquire" and call.outcome == ALLOWED]
        self.assertWell([str(call) for call in late if not call.flagged and not call.replayed], "flagged without a lease")
        self.say(f"{sum(call.flagged for call in crowd.history.calls)} calls were let through flagged")
        self.ended(cluster, crowd, resumes=False)

    def test_a_node_is_cut_off_from_the_database(self):
        self.cut_off(STORE)

    @seldom
    def test_a_node_is_cut_off_from_the_database_and_from_other_nodes(self):
        self.cut_off(STORE, PEERS)

    def test_a_node_is_cut_off_from_everything(self):
        self.cut_off(STORE, PEERS, CALLERS)

    def test_a_node_is_cut_off_from_other_nodes_and_keeps_what_it_owns(self):
        cluster, crowd = self.begun()
        own = self.owned_by(cluster, "n1")
        mine = {place for place, owner in cluster.owners().items() if owner == "n1"}
        epochs = cluster.epochs()
        cut = cluster.cut("n1", PEERS)
        eventually(lambda: time.monotonic() > cut + 3 * LEASE, "three leases are over", within=30.0)
        plane = cluster.plane("n1")
        for org in sorted(own):
            answer = plane.gate.Acquire(org=org)
            self.assertEqual((answer.node, list(answer.fail_open)), ("n1", []), "what reaches it, it decides")
        now = cluster.epochs()
        self.assertEqual({place for place in mine if now[place] != epochs[place]}, set(), "its lease is good")
        during = [call for call in crowd.history.since(cut) if call.org in own and call.answered and not call.replayed]
        self.assertLessEqual({call.node for call in during if call.node}, {"n1"}, "nobody else decides for its orgs")
        cluster.mend("n1", PEERS)
        self.ended(cluster, crowd, resumes=False)


if __name__ == "__main__":
    unittest.main()
