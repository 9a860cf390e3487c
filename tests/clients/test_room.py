"""Orgs in memory are bounded: the idlest leave early and lose nothing, and nobody keeps a place who does not use it."""

import contextlib
import shutil
import threading

import grpc

from case import NodeCase, fresh
from node import eventually
from plane import metric, refusal

SPEND = [{"meter": "spend", "amount": 1}]


def batches(names, size=500):
    for begin in range(0, len(names), size):
        yield [{"org": name} for name in names[begin:begin + size]]


def touch(plane, names):
    """An Acquire for each org, in batches; answers the results. A busy machine may let one through uncounted."""
    return [result for items in batches(names) for result in plane.gate.AcquireBatch(items=items).results]


def store(plane, names):
    """The same, each of them on disk."""
    for items in batches(names, size=16):
        held = [{**item, "request_id": "first", "reserve": SPEND} for item in items]
        for result in plane.gate.AcquireBatch(items=held).results:
            assert result.decision.allowed, result


class ResidentOrgs(NodeCase):
    """R-AUTH-2: bounds.resident_orgs."""

    MOST = 64
    CONFIG = f"[bounds]\nresident_orgs = {MOST}\nidle_ms = 86400000\nbatch_items = 1000\n"

    def test_past_the_bound_the_idlest_leave_and_every_count_is_kept(self):
        node = self.node(config=self.CONFIG)
        plane = self.plane(node)
        names = [fresh("org") for _ in range(300)]
        for number in range(0, len(names), 16):
            store(plane, names[number:number + 16])
            self.assertLessEqual(plane.admin.GetNode().resident_orgs, self.MOST)
        self.assertGreaterEqual(metric(node.http, "tollgate_orgs_left_early_total"), len(names) - self.MOST)
        self.assertTrue(node.logged("bounds.resident_orgs"), "an operator reads why")
        for name in names[::29]:
            self.assertEqual(plane.admin.GetOrg(org=name).rate.count, 1, "they leave with all that they have")
            store(plane, [name])
            self.assertEqual(plane.admin.GetOrg(org=name).rate.count, 1, "the id as well")
        self.assertLessEqual(plane.admin.GetNode().resident_orgs, self.MOST)

    def test_with_every_org_in_flight_what_runs_settles_and_nothing_new_begins(self):
        if shutil.which("strace") is None:
            self.skipTest("a disk that hangs is made with strace, which is not installed")
        stored = self.node(start=False, config="[bounds]\nresident_orgs = 16\n")
        stored.start()
        self.plane(stored).gate.Acquire(org="at_rest")
        stored.stop()
        inject = "--inject=fdatasync:delay_enter=5000000:when=2"
        strace = ["strace", "-D", "-f", "--seccomp-bpf", "-q", "-o", "/dev/null", "--trace=fdatasync", inject]
        node = self.node(config="[bounds]\nresident_orgs = 16\n", data_dir=stored.data_dir, under=strace)
        plane = self.plane(node)
        eventually(lambda: plane.admin.GetNode().resident_orgs == 0, "nothing is in memory")

        def record(org):
            # The one that waits for the disk runs into its deadline.
            while not settled.is_set():
                with contextlib.suppress(grpc.RpcError):
                    plane.gate.Record(org=org, request_id=fresh(), usage=SPEND)

        settled = threading.Event()
        waiting = [threading.Thread(target=record, args=(f"busy-{number}",)) for number in range(14)]
        self.addCleanup(lambda: [thread.join() for thread in waiting])
        self.addCleanup(settled.set)
        for thread in waiting:
            thread.start()
        eventually(lambda: plane.admin.GetNode().resident_orgs == 14, "each of them is in flight")

        def is_refused():
            try:
                return refusal(plane.gate.Acquire, org=fresh("new"))
            except AssertionError:
                return None

        refused = eventually(is_refused, "a new org is refused")
        self.assertEqual((refused.code.name, refused.reason), ("RESOURCE_EXHAUSTED", "NODE_OVERLOADED"))
        self.assertIn("bounds.resident_orgs = 16", refused.message)
        self.assertGreater(refused.retry_after, 0)
        self.assertTrue(plane.gate.Resume(org="at_rest", execution_id="e").counted, "I7: it has room of its own")


class Audits(NodeCase):
    """R-AUTH-2: who goes through all orgs keeps none of them in memory."""

    def test_an_audit_of_all_orgs_leaves_none_of_them_in_memory(self):
        node = self.node(config="[bounds]\nidle_ms = 86400000\n")
        names = [fresh("org") for _ in range(300)]
        store(self.plane(node), names)
        node.stop()
        node.start()
        plane = self.plane(node)
        store(plane, names[:1])
        seen, token = 0, ""
        while seen == 0 or token:
            page = plane.admin.Audit(page_size=100, page_token=token)
            seen, token = seen + page.orgs, page.next_page_token
        self.assertEqual(seen, len(names))
        eventually(lambda: plane.admin.GetNode().resident_orgs == 1, "only the one that was used stays")

    def test_an_org_that_somebody_only_asks_about_leaves_at_once(self):
        node = self.node(config="[bounds]\nidle_ms = 86400000\n")
        plane = self.plane(node)
        for _ in range(200):
            plane.gate.GetStatus(org=fresh("nobody"))
        eventually(lambda: plane.admin.GetNode().resident_orgs == 0, "nothing is stored of them")
