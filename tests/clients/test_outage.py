"""The disk is full: what cannot be evaluated is said gate by gate, and the emergency cap bounds it."""

import os

from disk import DiskCase
from node import eventually
from plane import code_name, metric, refusal

CAP = 3
CONFIG = f"""
[rate]
amount = "off"
[emergency]
amount = {CAP}
[bounds]
store_fault_grace_ms = 60000
disk_headroom_bytes = 0
"""


class FullDisk(DiskCase):
    """R-PIPE-2: a node on a disk of its own, which another process fills up. The disk needs root."""

    def break_store(self, node, gate):
        """Until a durable call finds the disk full."""

        numbers = iter(range(10_000))
        eventually(lambda: refused(gate, f"broken-{next(numbers)}"), "a store fault", within=30)
        eventually(lambda: node.logged("No space left"), "the cause in the log")

    def test_orgs_that_nobody_can_read_are_flagged_and_capped_with_the_backstop_off(self):
        disk = self.disk()
        node = self.node(config=CONFIG, data_dir=os.path.join(disk, "data"))
        plane = self.plane(node)
        plane.admin.Freeze(org="icy", request_id="f", reason="unpaid")
        plane.budget.UpdateBudget(org="poor", request_id="b", periods={"daily": {"limit": 10}})
        plane.gate.Record(org="poor", request_id="r", usage=[{"meter": "spend", "amount": 10}])
        self.assertEqual(code_name(plane.gate.Acquire(org="icy")), "FROZEN")
        self.assertEqual(code_name(plane.gate.Acquire(org="poor")), "BUDGET_EXCEEDED")
        node.stop()

        node.start()
        plane = self.plane(node)
        plane.budget.UpdateBudget(org="warm", request_id="b", periods={"daily": {"limit": 1_000_000}})
        self.assertTrue(plane.gate.Acquire(org="warm").allowed)
        self.fill(disk)
        self.break_store(node, plane.gate)
        # It waits for its supervisor longer than the test takes, and ends with 1 because of the fault.
        self.addCleanup(node.kill)

        for org, gates in (("icy", ["freeze", "budgets"]), ("poor", ["freeze", "budgets"]), ("warm", ["budgets"])):
            with self.subTest(org=org):
                answers = [plane.gate.Acquire(org=org) for _ in range(CAP + 2)]
                let_through = [answer for answer in answers if answer.allowed]
                self.assertEqual(len(let_through), CAP, "the cap holds although the backstop is off")
                for answer in let_through:
                    self.assertEqual([(each.gate, each.cause) for each in answer.fail_open],
                                     [(gate, "store_fault") for gate in gates])
                for capped in answers[CAP:]:
                    self.assertEqual((code_name(capped), capped.http_status_hint), ("RATE_LIMITED", 429))
                    self.assertIn("the store cannot be asked", capped.message)
                    self.assertIn(f"{CAP} calls", capped.message)
                self.assertFalse(plane.gate.Acquire(org=org, mode="MODE_CHECK_ONLY").allowed)
                self.assertTrue(plane.gate.Acquire(org=org, mode="MODE_SHADOW").allowed, "R-PIPE-7")
        self.assertGreaterEqual(metric(node.http, "tollgate_fail_open_total", gate="freeze", cause="store_fault"), 2 * CAP)
        self.assertFalse(plane.gate.Resume(org="icy", execution_id="e").counted, "R-BAL-8: served, uncounted")


def refused(gate, name):
    """Whether a durable call is UNAVAILABLE now."""
    try:
        error = refusal(gate.Record, org="filler", request_id=name, usage=[{"meter": "spend", "amount": 1}])
    except AssertionError:
        return False
    return error.code.name == "UNAVAILABLE"
