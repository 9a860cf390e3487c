"""What the tests of clusters have in common: a cluster that is always ended, a load, and the judges of every history."""

import itertools
import os
import random
import time
import unittest

import history
from cluster import WRITE_BEHIND_MAX, Cluster, size
from crowd import Crowd, fresh
from history import DENIED, History

# Far above what is asked for, where nothing is to be denied.
PLENTY = 10**9
# Of tests whose neighbours show nearly the same in less time.
seldom = unittest.skipUnless("TOLLGATE_CLUSTER_ROUNDS" in os.environ, "scripts/torture cluster runs it")


def limited(limits):
    """The configuration of orgs that may execute so often in a month, which does not end during a test."""
    return "".join(f'[orgs."{org}"]\nexecutions = {{ calendar_month = {most} }}\n' for org, most in limits.items())


class ClusterCase(unittest.TestCase):
    def cluster(self, **options):
        cluster = Cluster(**options)
        self.addCleanup(cluster.close)
        return cluster

    def crowd(self, addresses, count=None, **patience):
        crowd = Crowd(addresses, History(), count or size("PLANES", 16), **patience)
        self.addCleanup(crowd.close)
        return crowd

    def say(self, text):
        """A figure for people; nothing is asserted of it."""
        print(f"    {self.id()}: {text}", flush=True)

    def patiently(self, holds, what, within=60.0):
        """As `eventually`, for what goes through a long history: the load has the interpreter in between."""
        until = time.monotonic() + within
        while not holds():
            if time.monotonic() >= until:
                self.fail(f"not within {within} s: {what}")
            time.sleep(0.25)

    def mixed(self, orgs, often=(), bulk=()):
        """One step of a caller: an execution, now and then what it used, and a continuation. Every other one is
        of an org in `often`, and every fourth of one in `bulk`, each of which has its turn."""
        chance = random.Random()
        turns = itertools.cycle(bulk)

        def step(caller, number):
            if bulk and number % 4 == 0:
                org = next(turns)
            else:
                org = chance.choice(often if often and number % 2 else orgs)
            answer = caller.acquire(org)
            if answer is not None and answer.allowed:
                if number % 3 == 0:
                    caller.record(org, chance.randint(1, 1000))
                if number % 5 == 0:
                    caller.resume(org, answer.decision_id)

        return step

    def loaded(self, crowd, orgs, often=(), bulk=(), seconds=1.0):
        """Callers that go on; returns once every org was answered and some time has passed."""
        crowd.run(self.mixed(orgs, often, bulk))
        until = time.monotonic() + seconds
        self.patiently(lambda: {call.org for call in crowd.history.of("Acquire") if call.answered} >= {*orgs, *bulk}
                       and time.monotonic() >= until, "every org was answered", within=60.0 + len(bulk) / 50)

    def until_denied(self, crowd, names):
        """The load goes on until the orgs of a small limit are at it, so that one admission too many would be seen."""
        def denied():
            return {call.org for call in crowd.history.of("Acquire") if call.outcome == DENIED} >= set(names)

        self.patiently(denied, "the small limits are used up", within=120.0)

    def until_answered(self, crowd, since, names, within=60.0):
        """Until each of these orgs was answered to a call that began since then, and not flagged."""
        def answered():
            return set(history.pauses(crowd.history.since(since), since, names)) == set(names)

        self.patiently(answered, "each org is answered", within)

    def until_recorded(self, crowd, since, names, within=120.0):
        """The same of an entry that is acknowledged."""
        def recorded():
            return {call.org for call in crowd.history.since(since) if call.rpc == "Record" and call.answered} >= set(names)

        self.patiently(recorded, "each org records again", within)

    def assertWell(self, wrong, what):
        self.assertEqual(wrong[:10], [], f"{len(wrong)} breaches of: {what}")

    def assertHonest(self, cluster, calls, limits, takeovers=None, epochs=None, resumes=True):
        """What holds in every history. `takeovers`: how often an org may have lost its write-behind, by org.
        `epochs`: those before the first call; without them the owner may not change at all."""
        takeovers = takeovers or {}
        spare = {org: count * WRITE_BEHIND_MAX for org, count in takeovers.items()}
        acquires = [call for call in calls if call.rpc == "Acquire"]
        self.assertWell(history.over_admitted(acquires, limits, spare), "no window admits more than its limit and B")
        if takeovers:
            self.say(f"{history.most_over(acquires, limits)} over a limit at most, B = {WRITE_BEHIND_MAX} for each takeover")
        allowed = cluster.changes(epochs) if epochs is not None else 0
        self.assertWell(history.owner_changes(calls, allowed), "one node at a time decides for an org")
        if resumes:
            self.assertWell(history.resumes_refused(calls), "a Resume is never refused")
        self.assertWell(history.unanswered(calls), "every request is answered in the end")
        self.assertRecorded(cluster, calls)

    def assertRecorded(self, cluster, calls):
        """Each acknowledged entry once, as GetOrg, the views of PostgreSQL and the audit say."""
        records = [call for call in calls if call.rpc == "Record"]
        orgs = {call.org for call in records}
        self.assertTrue(orgs, "a history without entries shows nothing")
        self.assertWell(history.misrecorded(records, cluster.ledger(orgs, "e/")), "the ledger of GetOrg")
        stored = {place: amount for place, amount in cluster.stored("e/").items() if place[0] in orgs}
        self.assertWell(history.misrecorded(records, stored), "the ledger in PostgreSQL")
        for org in orgs:
            audit = cluster.admin().Audit(org=org)
            self.assertEqual((audit.drifted, list(audit.failures)), (0, []), audit)

    def assertPauses(self, calls, since, orgs, within=30.0):
        """Each of these orgs was answered again; for how long it was not is printed."""
        found = history.pauses(calls, since, orgs)
        self.assertEqual(set(found), set(orgs), "each org is answered again")
        self.assertLess(max(found.values(), default=0), within)
        self.say(f"takeover: {history.summary(found)}")


def orgs(count, prefix="org"):
    return [fresh(prefix) for _ in range(count)]
