"""A wall clock that lies, under the real binary. Only the wall steps; real time does not pass."""

import unittest

from case import NodeCase
from node import StartFailed, eventually
from plane import code_name, limit, refusal

HOUR = 3600
YEAR = 365 * 24 * HOUR
FIVE = {"TOLLGATE__RATE__AMOUNT": "5"}


class WallClock(NodeCase):
    def started(self, **clock):
        clock = self.clock(monotonic=False, **clock)
        node = self.node(clock=clock, environment=FIVE)
        return clock, node, self.plane(node)

    def spend_all(self, plane):
        self.assertEqual([plane.gate.Acquire(org="acme").allowed for _ in range(6)], [True] * 5 + [False])

    def denied(self, plane):
        answer = plane.gate.Acquire(org="acme")
        self.assertEqual((answer.allowed, code_name(answer)), (False, "RATE_LIMITED"), answer.message)
        return answer

    def test_an_hour_back_does_not_reopen_a_window(self):
        """DESIGN §5"""
        clock, node, plane = self.started(minute=30)
        self.spend_all(plane)
        window = plane.admin.GetOrg(org="acme").rate.window_id
        clock.step(-HOUR)
        self.denied(plane)
        eventually(lambda: "behind" in plane.admin.GetNode().clock, "the node notices")
        clock.step(-HOUR)
        self.denied(plane)
        self.assertEqual(plane.admin.GetOrg(org="acme").rate.window_id, window)
        self.assertEqual(node.stop(), 0)
        plane = self.plane(node.start())
        self.assertEqual(limit(self.denied(plane), "rate").used, 5)
        clock.step(2 * HOUR)
        self.denied(plane)
        eventually(lambda: plane.admin.GetNode().clock == "steady", "the clock is steady again")

    def test_a_year_ahead_purges_nothing_and_set_right_again_windows_roll(self):
        """DESIGN §5"""
        clock, node, plane = self.started(minute=59, second=20)
        plane.gate.Record(org="acme", usage=[{"meter": "spend", "amount": 7}], request_id="r")
        self.spend_all(plane)
        clock.step(YEAR)
        self.denied(plane)
        eventually(lambda: "not believed" in plane.admin.GetNode().clock, "the node notices")
        self.assertEqual(plane.budget.GetBudget(org="acme").budget.periods["hourly"].spend, 7)
        eventually(lambda: node.logged("clock alarm"), "an alarm in the log")
        self.assertEqual(node.stop(), 0)
        plane = self.plane(node.start())
        self.denied(plane)
        self.assertEqual(plane.budget.GetBudget(org="acme").budget.periods["hourly"].spend, 7)
        self.assertLess(plane.admin.GetNode().now_ms, clock.now_ms() - (YEAR - HOUR) * 1000)
        clock.step(-YEAR)
        eventually(lambda: plane.admin.GetNode().clock == "steady", "the clock is steady again")
        clock.step(45)
        rolled = plane.gate.Acquire(org="acme")
        self.assertEqual((rolled.allowed, limit(rolled, "rate").used), (True, 1), rolled.message)

    def test_a_jump_of_the_wall_does_not_spend_real_time(self):
        """A hold whose time has not passed is not expired by a wrong clock"""
        clock, _, plane = self.started(minute=10)
        hold = plane.gate.Acquire(org="acme", reserve=[{"meter": "spend", "amount": 1}]).reservation_id
        clock.step(YEAR)
        plane.gate.Commit(org="acme", reservation_id=hold, request_id="c")
        self.assertEqual(refusal(plane.gate.Commit, org="acme", reservation_id=hold, request_id="d").reason, "RESERVATION_SETTLED")

    def test_a_mark_from_the_future_is_refused_and_the_named_command_repairs_it(self):
        """DESIGN §5"""
        clock, node, plane = self.started(minute=10)
        self.spend_all(plane)
        self.assertEqual(node.stop(), 0)
        clock.step(-24 * HOUR)
        self.plane(node.start())
        self.assertEqual(node.stop(), 0, "a day is believed to be a clock that was wrong")
        clock.step(-2 * HOUR)
        with self.assertRaises(StartFailed) as failed:
            node.start()
        self.assertIn("clock mark", str(failed.exception))
        self.assertIn("tollgate fsck", str(failed.exception))
        self.assertIn("--set-clock", str(failed.exception))
        repaired = node.run("fsck", "--data-dir", node.data_dir, "--set-clock")
        self.assertEqual(repaired.returncode, 0, repaired.stdout + repaired.stderr)
        plane = self.plane(node.start())
        self.assertEqual(plane.admin.GetNode().clock, "steady")
        self.assertAlmostEqual(plane.admin.GetNode().now_ms, clock.now_ms(), delta=60_000)
        self.assertEqual(limit(plane.gate.GetStatus(org="acme"), "rate").used, 5, "counts are kept")
        self.assertTrue(plane.gate.Acquire(org="other").allowed)


if __name__ == "__main__":
    unittest.main()
