"""I11, I13, R-LOAD: too much of one org is that org's trouble. With hardly any room, so that a few calls are too many."""

import base64
import os
import shutil
import threading
import unittest

from google.rpc import error_details_pb2, status_pb2

from case import NodeCase, fresh
from frames import Caller, acquire, message
from node import eventually
from plane import metric

# Every wait is too long, there is room for one call at work and four that wait, and each lasts until it is on disk.
TIGHT = {
    "TOLLGATE__BOUNDS__TURN_WAIT_US": "0",
    "TOLLGATE__BOUNDS__BUSY_CALLS_PER_CORE": "1",
    "TOLLGATE__DURABILITY__WRITE_BEHIND_MS": "0",
    "TOLLGATE__RATE__AMOUNT": "1000000",
    # No hour ends between what is asked and what is counted.
    "TOLLGATE__RATE__WINDOW__ALIGNED": "1d",
}
ONE_CORE = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
# So that calls are in flight for longer than a client needs to send them.
SLOW_DISK = ["strace", "-D", "-f", "--seccomp-bpf", "-q", "-o", "/dev/null", "--trace=fdatasync",
             "--inject=fdatasync:delay_enter=30000"]
AT_ONCE = 60
CONNECTIONS = 20


class Flood:
    """Acquires, many at once on one connection, until it is told to stop."""

    def __init__(self, address, requests):
        self.served, self.refusals, self.other = 0, [], []
        self._over = threading.Event()
        self._requests = requests
        self._caller = Caller(address)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        caller = self._caller
        while not self._over.is_set() and not caller.gone:
            streams = [caller.ask(data=message(request), end=True) for request in self._requests]
            for stream in streams:
                self._take(caller.answer(stream))

    def _take(self, answer):
        match answer.get("grpc-status"):
            case "0":
                self.served += 1
            case "8":
                details = answer["grpc-status-details-bin"]
                details = status_pb2.Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
                self.refusals.append(details)
            case _:
                self.other.append(answer)

    def reasons(self):
        return {info.reason for refusal in list(self.refusals) for info in unpacked(refusal, error_details_pb2.ErrorInfo)}

    def stop(self):
        self._over.set()
        self._thread.join()
        self._caller.close()


class Floods:
    """Several, as one."""

    def __init__(self, floods):
        self._floods = floods

    @property
    def served(self):
        return sum(flood.served for flood in self._floods)

    @property
    def refusals(self):
        return [refusal for flood in self._floods for refusal in list(flood.refusals)]

    @property
    def other(self):
        return [answer for flood in self._floods for answer in flood.other]

    def reasons(self):
        return set().union(*(flood.reasons() for flood in self._floods))

    def stop(self):
        for flood in self._floods:
            flood.stop()


def unpacked(status, kind):
    found = []
    for detail in status.details:
        unpacked_one = kind()
        if detail.Unpack(unpacked_one):
            found.append(unpacked_one)
    return found


class Overload(NodeCase):
    def flood(self, node, requests):
        flood = Flood(node.grpc, requests)
        self.addCleanup(flood.stop)
        return flood

    def floods(self, node, requests):
        """Of connections with a few calls each: none of them floods, all of them do."""
        return Floods([self.flood(node, requests[at::CONNECTIONS]) for at in range(CONNECTIONS)])

    def started(self, under=(), **bounds):
        more = {f"TOLLGATE__BOUNDS__{name.upper()}": str(value) for name, value in bounds.items()}
        return self.node(environment={**TIGHT, **more}, under=[*ONE_CORE, *under])

    def on_a_slow_disk(self):
        if shutil.which("strace") is None:
            self.skipTest("a slow disk is made with strace, which is not installed")
        return self.started(under=SLOW_DISK)

    def test_a_hot_org_is_refused_its_settlement_and_other_orgs_are_served(self):
        node = self.on_a_slow_disk()
        plane = self.plane(node)
        held = plane.gate.Acquire(org="hot", request_id=fresh(), reserve=[{"meter": "spend", "amount": 5}])
        session = {"org": "hot", "session_id": fresh("s"), "identity": "vm-1"}
        self.assertTrue(plane.session.StartSession(request_id=fresh(), **session).allowed)
        flood = self.floods(node, [acquire("hot")] * AT_ONCE)
        eventually(lambda: len(flood.refusals) > AT_ONCE, "the hot org is refused")
        for _ in range(10):
            self.assertTrue(plane.gate.Resume(org="hot", execution_id="e").counted, "I7")
            plane.gate.Record(org="hot", request_id=fresh(), usage=[{"meter": "spend", "amount": 1}])
            self.assertTrue(plane.gate.Acquire(org="calm").allowed, "I11")
        plane.session.Heartbeat(incarnation="m-1", total_seconds=1, **session)
        plane.session.EndSession(request_id=fresh(), incarnation="m-1", total_seconds=1, **session)
        plane.gate.Commit(org="hot", reservation_id=held.reservation_id, request_id=fresh(),
                          actual=[{"meter": "spend", "amount": 3}])
        flood.stop()
        # With another call in flight as well, its connection has its share too.
        self.assertIn("ORG_OVERLOADED", flood.reasons())
        self.assertEqual((flood.reasons() - {"ORG_OVERLOADED", "NODE_OVERLOADED"}, flood.other), (set(), []))
        for refusal in flood.refusals:
            (retry,) = unpacked(refusal, error_details_pb2.RetryInfo)
            self.assertGreater(retry.retry_delay.ToTimedelta().total_seconds(), 0, "I13")
            self.assertIn("not a quota", refusal.message)
        for _ in range(5):
            self.assertTrue(plane.gate.Acquire(org="hot").allowed, "after the flood")
        # Those of the flood, the one that reserved, the start of the session, and those after it.
        used = plane.gate.GetStatus(org="hot").limits[0].used
        self.assertEqual(used, flood.served + 7, "what was shed was not charged")
        shed = [metric(node.http, "tollgate_calls_shed_total", by=by) for by in ("org_share", "caller_share")]
        self.assertEqual(sum(shed), len(flood.refusals))

    def test_connections_of_many_orgs_are_refused_before_anything_is_decoded(self):
        node = self.on_a_slow_disk()
        plane = self.plane(node)
        flood = self.floods(node, [acquire(f"org-{number}") for number in range(AT_ONCE)])
        eventually(lambda: "NODE_OVERLOADED" in flood.reasons(), "connections are refused")
        for _ in range(10):
            self.assertTrue(plane.gate.Resume(org="org-1", execution_id="e").counted, "I7")
            plane.gate.Record(org="org-1", request_id=fresh(), usage=[{"meter": "spend", "amount": 1}])
            self.assertTrue(plane.gate.Acquire(org="calm").allowed, "I11: on another connection")
        flood.stop()
        self.assertEqual(flood.other, [])
        self.assertGreater(metric(node.http, "tollgate_calls_shed_total", by="caller_share"), 0)
        self.assertTrue(plane.gate.Acquire(org="org-1").allowed, "after the flood")

    def test_a_connection_that_floods_is_read_in_turn_and_others_at_once(self):
        node = self.started(busy_calls_per_core=2)
        plane = self.plane(node)
        floods = [self.flood(node, [acquire(name)] * AT_ONCE) for name in ("hot", "warm")]
        eventually(lambda: metric(node.http, "tollgate_call_room") > 0, "calls wait too long")
        for _ in range(20):
            self.assertTrue(plane.gate.Acquire(org="calm").allowed, "I11")
        eventually(lambda: all(flood.served > 10 * AT_ONCE for flood in floods), "each is read in its turn")
        for flood in floods:
            flood.stop()
            self.assertEqual(flood.other, [])
        # What was read before calls waited too long may be refused, and a little where the disk hangs.
        refused = sum(len(flood.refusals) for flood in floods)
        self.assertLess(refused, sum(flood.served for flood in floods) / 5, "what is not read is not refused")

    def test_nothing_is_refused_where_there_is_room(self):
        node = self.started(busy_calls_per_core=AT_ONCE)
        flood = self.flood(node, [acquire("hot")] * AT_ONCE)
        eventually(lambda: flood.served > 5 * AT_ONCE, "it is served")
        flood.stop()
        self.assertEqual((flood.refusals, flood.other), ([], []))

    def test_items_of_a_batch_are_calls_in_flight(self):
        node = self.node(environment={**TIGHT, "TOLLGATE__BOUNDS__TURN_WAIT_US": "10000000",
                                      "TOLLGATE__BOUNDS__ORG_IN_FLIGHT": "10"}, under=ONE_CORE)
        plane = self.plane(node)
        answer = plane.gate.AcquireBatch(items=[{"org": "hot"}] * 50)
        self.assertEqual([item.decision.allowed for item in answer.results], [True] * 50, "one may go past the bound")
        self.assertTrue(plane.gate.Acquire(org="hot").allowed)
        self.assertEqual(plane.admin.GetNode().in_flight, 0, "and nothing stays")


if __name__ == "__main__":
    unittest.main()
