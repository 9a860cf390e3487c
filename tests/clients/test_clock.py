"""A wall clock that lies, under the real binary. Only the wall steps; real time does not pass."""

import unittest
import urllib.request

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

    def test_a_clock_that_stands_still_says_so_and_waits_are_counted_to_the_wall(self):
        """R-CLOCK-1"""
        clock, node, plane = self.started(minute=10)
        self.spend_all(plane)
        self.assertEqual(self.metric(node, "tollgate_clock_behind_seconds"), 0)
        before = self.denied(plane)
        clock.step(-8 * HOUR)
        waiting = self.denied(plane)
        self.assertAlmostEqual(waiting.retry_after_ms, before.retry_after_ms + 8 * HOUR * 1000, delta=5_000)
        self.assertIn("in 8 h", waiting.message)
        self.assertAlmostEqual(limit(waiting, "rate").resets_at_ms, clock.now_ms() + waiting.retry_after_ms, delta=5_000)
        eventually(lambda: "fsck --set-clock" in plane.admin.GetNode().clock, "the node says what to do")
        self.assertIn("behind", node.run("--addr", f"http://{node.grpc}", "node").stdout)
        self.assertAlmostEqual(self.metric(node, "tollgate_clock_behind_seconds"), 8 * HOUR, delta=5)
        eventually(lambda: node.logged("fsck --set-clock"), "so does the log")

    def metric(self, node, name):
        text = urllib.request.urlopen(f"http://{node.http}/metrics", timeout=10).read().decode()
        (line,) = [line for line in text.splitlines() if line.startswith(name + " ")]
        return float(line.split()[1])

    def test_the_repair_brings_every_org_back_for_any_lead(self):
        """R-CLOCK-2: eight hours, which no start refuses, and ten minutes"""
        for lead in [8 * HOUR, 600]:
            with self.subTest(lead=lead):
                clock = self.clock(monotonic=False, minute=20)
                node = self.node(clock=clock, environment=FIVE)
                plane = self.plane(node)
                plane.gate.Record(org="known", usage=[{"meter": "spend", "amount": 3}], request_id="r")
                plane.gate.Acquire(org="known")
                clock.step(lead)
                self.assertEqual(node.stop(), 0)
                plane = self.plane(node.start("--accept-clock"))
                for org in ["acme", "beta"]:
                    self.assertEqual([plane.gate.Acquire(org=org).allowed for _ in range(6)], [True] * 5 + [False])
                plane.budget.ReplaceBudget(org="acme", request_id="b", limits={"hourly": 10})
                plane.gate.Record(org="acme", usage=[{"meter": "spend", "amount": 10}], request_id="s")
                plane.session.StartSession(org="delta", session_id="s", identity="vm", request_id="s")
                held = plane.gate.Acquire(org="gamma", reserve=[{"meter": "spend", "amount": 4}], request_id="h")
                self.assertEqual(node.stop(), 0)
                clock.step(-lead)
                repaired = node.run("fsck", "--data-dir", node.data_dir, "--set-clock")
                self.assertEqual(repaired.returncode, 0, repaired.stdout + repaired.stderr)
                # The last one where its timer was due by the wrong clock.
                self.assertRegex(repaired.stdout, "[45] orgs had seen a later time and were brought back")
                again = node.run("fsck", "--data-dir", node.data_dir)
                self.assertEqual(again.returncode, 0, again.stdout + again.stderr)
                plane = self.plane(node.start())
                self.assertEqual(plane.admin.GetNode().clock, "steady")
                denied = self.denied(plane)
                self.assertLess(denied.retry_after_ms, 62 * 60 * 1000, "also its budget is full: an hour, and a slice of it")
                self.assertEqual(plane.budget.GetBudget(org="acme").budget.periods["hourly"].spend, 10, "nothing is lost")
                self.assertEqual(plane.budget.GetBudget(org="known").budget.periods["hourly"].spend, 3)
                (session,) = plane.session.ListSessions(org="delta").sessions
                self.assertAlmostEqual(session.ends_at_ms, clock.now_ms() + 120_000, delta=30_000)
                self.assertLessEqual(session.started_at_ms, clock.now_ms())
                for org in ["acme", "beta", "gamma", "delta", "known"]:
                    self.assertEqual(plane.admin.Audit(org=org).drifted, 0)
                plane.gate.Commit(org="gamma", reservation_id=held.reservation_id, request_id="c")
                self.assertEqual(node.stop(), 0)
                clock.step(62 * 60)
                plane = self.plane(node.start("--accept-clock"))
                self.assertTrue(plane.gate.Acquire(org="beta").allowed, "the next hour")
                self.assertEqual(plane.budget.GetBudget(org="acme").budget.periods["hourly"].spend, 0, "an hour later")
                node.close()

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
