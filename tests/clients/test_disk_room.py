"""The disk is nearly full: nothing new is admitted before it is, what runs settles on, and it ends with room."""

import os

from disk import DISK_BYTES, DiskCase, free
from node import eventually
from plane import metric, ready, refusal

SPEND = [{"meter": "spend", "amount": 1}]
LITTLE = DISK_BYTES // 12


class Headroom(DiskCase):
    """R-AUTH-2: bounds.disk_headroom_bytes and bounds.disk_headroom_percent."""

    def refused(self, call, **fields):
        refused = refusal(call, **fields)
        self.assertEqual((refused.code.name, refused.reason), ("UNAVAILABLE", "DISK_LOW"))
        self.assertIn("bounds.disk_headroom_bytes", refused.message)
        self.assertGreater(refused.retry_after, 0)

    def low(self, node):
        return metric(node.http, "tollgate_disk_low") == 1

    def test_nothing_new_begins_and_what_runs_settles(self):
        disk = self.disk()
        node = self.node(data_dir=os.path.join(disk, "data"))
        plane = self.plane(node)
        hold = {"reserve": [{"meter": "spend", "amount": 5}]}
        held = plane.gate.Acquire(org="acme", request_id="1", **hold)
        plane.session.StartSession(org="acme", request_id="2", session_id="s", identity="i")
        self.assertFalse(self.low(node))
        self.assertEqual(ready(node.http), (200, "serving"))
        self.fill(disk, leave=LITTLE)
        eventually(lambda: self.low(node), "the disk is seen")
        self.assertGreater(metric(node.http, "tollgate_disk_free_bytes"), 0)
        for text in (ready(node.http)[1], plane.admin.GetNode().health):
            self.assertIn("nothing new is admitted", text)
            self.assertIn("bounds.disk_headroom_percent", text)
        self.assertEqual(ready(node.http)[0], 200, "what runs settles here or nowhere")
        self.assertTrue(plane.is_serving())
        shown = node.run("--addr", f"http://{node.grpc}", "node").stdout
        self.assertIn("nothing new is admitted", shown)
        self.assertIn(f"of {DISK_BYTES} bytes free", shown)

        for org in ("acme", "new"):
            self.refused(plane.gate.Acquire, org=org)
            self.refused(plane.gate.Acquire, org=org, mode="MODE_SHADOW")
            self.refused(plane.gate.Acquire, org=org, request_id="3", **hold)
            self.refused(plane.session.StartSession, org=org, request_id="3", session_id="t", identity="i")
        self.assertTrue(plane.gate.Acquire(org="acme", mode="MODE_CHECK_ONLY").allowed, "it writes nothing")
        self.refused(plane.gate.Record, org="new", request_id="1", usage=SPEND)
        self.assertFalse(plane.gate.Resume(org="new", execution_id="e").counted, "I7")

        self.assertTrue(plane.gate.Resume(org="acme", execution_id="e").counted)
        plane.gate.Record(org="acme", request_id="4", usage=SPEND)
        plane.session.Heartbeat(org="acme", session_id="s", identity="i", incarnation="1", total_seconds=1)
        plane.session.EndSession(org="acme", request_id="5", session_id="s", identity="i", incarnation="1",
                                 total_seconds=2)
        plane.gate.Commit(org="acme", request_id="6", reservation_id=held.reservation_id,
                          actual=[{"meter": "spend", "amount": 5}])
        plane.admin.Freeze(org="acme", request_id="7", reason="an operator may")
        plane.admin.Unfreeze(org="acme", request_id="8")

        os.remove(disk / "filler")
        eventually(lambda: not self.low(node), "room again")
        self.assertEqual(ready(node.http), (200, "serving"))
        self.assertTrue(plane.gate.Acquire(org="new").allowed)
        self.assertEqual(len(node.logged("nothing new is admitted:")), 1)
        self.assertTrue(node.logged("the disk has room again"))

    def test_a_flood_ends_before_the_disk_is_full(self):
        disk = self.disk()
        node = self.node(data_dir=os.path.join(disk, "data"), config="[rate]\namount = \"off\"\n")
        plane = self.plane(node)
        self.fill(disk, leave=DISK_BYTES // 4)
        held = plane.gate.Acquire(org="acme", request_id="1", reserve=[{"meter": "spend", "amount": 5}])

        def fill_up(number):
            items = [{"org": f"flood-{each % 50}", "request_id": f"{number}-{each}"} for each in range(1000)]
            plane.gate.AcquireBatch(items=items)
            return self.low(node)

        numbers = iter(range(10_000))
        eventually(lambda: fill_up(next(numbers)), "admission ends", within=60)
        self.assertGreater(free(disk), 0)
        plane.gate.Commit(org="acme", request_id="2", reservation_id=held.reservation_id,
                          actual=[{"meter": "spend", "amount": 5}])
        self.assertEqual(metric(node.http, "tollgate_store_faults_total"), 0, "the disk was never full")

    def test_the_bounds_are_live(self):
        disk = self.disk()
        node = self.node(data_dir=os.path.join(disk, "data"))
        plane = self.plane(node)
        self.fill(disk, leave=LITTLE)
        eventually(lambda: self.low(node), "the disk is seen")
        node.write_config("[bounds]\ndisk_headroom_percent = 1\n")
        self.assertTrue(plane.admin.Reload().applied)
        eventually(lambda: not self.low(node), "less has to be free")
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
