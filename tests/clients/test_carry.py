"""`overrun = "carry"`: what went over a limit is the first usage of its next window."""

import unittest

from case import NodeCase, fresh
from node import eventually
from plane import code_name, limit
from test_zones import at

HOUR = "quota/spend/aligned/1h"
DAY = "quota/executions/calendar/day@Asia/Kolkata"
PLAN = '[plans.p]\noverrun = "carry"\nspend = { aligned_1h = "100u" }\n'
ALL = '[defaults]\nplan = "p"\n'


class Carry(NodeCase):
    """R-BUD-9"""

    def started(self, config, at_):
        node = self.node(config=config, clock=self.clock(at=at_))
        return node, self.plane(node)

    def step(self, node, seconds):
        node.clock.step(seconds)
        return self.plane(node)

    def again(self, node):
        """Killed and started."""
        node.kill()
        return self.plane(node.start())

    def spend(self, plane, amount, **fields):
        plane.gate.Record(org="acme", request_id=fresh(), usage=[{"meter": "spend", "amount": amount}], **fields)

    def standing(self, plane, name=HOUR, scope=""):
        shown = limit(plane.gate.GetStatus(org="acme", scope=scope), name, scope)
        return shown.used, shown.carried, shown.remaining

    def test_it_is_worked_off_window_by_window_whatever_happens_to_the_node(self):
        node, plane = self.started(PLAN + ALL, at("2026-06-21T16:10:00"))
        hold = plane.gate.Acquire(org="acme", request_id=fresh(), reserve=[{"meter": "spend", "amount": 90}])
        plane.gate.Commit(org="acme", reservation_id=hold.reservation_id, request_id=fresh(),
                          actual=[{"meter": "spend", "amount": 500}])
        plane = self.again(node)
        self.assertEqual(self.standing(plane), (500, 0, -400))
        plane = self.step(node, 3600)
        self.assertEqual(self.standing(plane), (400, 400, -300))
        # What is on disk by then says that it is the next hour.
        plane.gate.Record(org="acme", request_id=fresh(), usage=[{"meter": "bytes", "amount": 1}])
        plane = self.again(node)
        self.assertEqual(self.standing(plane), (400, 400, -300), "kill -9")
        denied = plane.gate.Acquire(org="acme")
        self.assertEqual(code_name(denied), "QUOTA_EXCEEDED")
        self.assertIn("$0.0004 used ($0.0004 of it carried over from before) of $0.0001 per clock hour", denied.message)
        self.assertIn("fits again at 2026-06-21T21:00:00Z", denied.message)
        self.assertEqual(limit(denied, HOUR).resets_at_ms, at("2026-06-21T21:00:00") * 1000)
        self.assertAlmostEqual(denied.retry_after_ms, (3 * 60 + 50) * 60_000, delta=20_000)
        for verb in (["status", "acme"], ["org", "show", "acme"]):
            shown = node.run(*verb, "--addr", node.grpc)
            self.assertIn("carried over", shown.stdout + shown.stderr, verb)
        self.assertEqual(node.stop(), 0)
        node.start()
        plane = self.step(node, 2 * 3600)
        self.assertEqual(self.standing(plane), (200, 200, -100), "two hours in which nobody asked")
        self.assertFalse(plane.gate.Acquire(org="acme").allowed)
        plane = self.step(node, 2 * 3600)
        self.assertEqual(self.standing(plane), (0, 0, 100))
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        self.assertEqual(plane.admin.Audit(org="acme").drifted, 0)
        node.stop()
        checked = node.run("fsck", "--data-dir", node.data_dir)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_an_export_has_it_and_an_import_goes_on_with_it(self):
        node, plane = self.started(PLAN + ALL, at("2026-06-21T16:10:00"))
        self.spend(plane, 350)
        self.assertEqual(self.standing(self.step(node, 3600))[1], 250)
        node.stop()
        other = self.restored(node, lambda row: None, config=PLAN + ALL, clock=node.clock)
        self.assertEqual(self.standing(self.plane(other)), (250, 250, -150))
        self.assertEqual(self.standing(self.step(other, 3600)), (150, 150, -50))

    def test_days_in_a_zone_and_scopes_carry_each_by_themselves(self):
        config = ('[plans.p]\noverrun = "carry"\nexecutions = { calendar_day = { amount = 10, zone = "Asia/Kolkata" } }\n'
                  'scopes."workspace/*" = { executions = { calendar_month = 2 } }\n' + ALL)
        node, plane = self.started(config, at("2026-06-30T18:20:00"))
        used = [{"meter": "executions", "amount": 5}]
        for workspace in ("a", "a", "b"):
            plane.gate.Record(org="acme", request_id=fresh(), scope=f"workspace/{workspace}", usage=used)
        plane = self.step(node, 600)
        self.assertEqual(self.standing(plane, DAY), (5, 5, 5), "18:30 UTC is midnight in Kolkata")
        month, day = "quota/executions", 86_400
        self.assertEqual(self.standing(plane, month, scope="workspace/a"), (10, 0, -8), "June goes on in UTC")
        plane = self.step(node, 5.5 * 3600)
        self.assertEqual(self.standing(plane, month, scope="workspace/a"), (8, 8, -6))
        self.assertEqual(self.standing(plane, month, scope="workspace/b"), (3, 3, -1))
        denied = plane.gate.Acquire(org="acme", scope="workspace/a")
        self.assertIn("2026-11-01T00:00:00Z", denied.message, "8, 6, 4, 2 until the first of November")
        # The ledger keeps 35 days; the org sleeps, and is woken for what it carries.
        plane = self.step(node, 62 * day)
        self.assertEqual(self.standing(plane, month, scope="workspace/a"), (4, 4, -2))
        self.assertEqual(self.standing(plane, month, scope="workspace/b"), (0, 0, 2))

    def test_reloads_between_forget_and_carry_and_other_limits(self):
        forgets = PLAN.replace('overrun = "carry"\n', "")
        node, plane = self.started(forgets + ALL, at("2026-06-21T16:10:00"))

        def reload(config):
            before = plane.admin.GetNode().config_generation
            node.write_config(config + ALL)
            node.reload()
            eventually(lambda: plane.admin.GetNode().config_generation > before, "a reload")

        self.spend(plane, 500)
        reload(PLAN)
        plane = self.step(node, 3600)
        self.assertEqual(self.standing(plane)[:2], (400, 400), "in force when the hour ended")
        reload(forgets)
        self.assertEqual(self.standing(plane)[:2], (0, 0))
        reload(PLAN.replace("100u", "1000u"))
        self.assertEqual(self.standing(plane), (400, 400, 600), "of the hour before, 100 were allowed")
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        reload(PLAN.replace("100u", "150u"))
        plane = self.step(node, 3600)
        self.assertEqual(self.standing(plane)[:2], (250, 250))
        reload(forgets)
        plane = self.step(node, 3600)
        self.assertEqual(self.standing(plane)[:2], (0, 0))

    def test_another_word_is_refused(self):
        node = self.node(start=False, config='[plans.p]\noverrun = "keep"\n')
        answer = node.run("check-config", node.config_file)
        self.assertNotEqual(answer.returncode, 0)
        self.assertIn('plans.p.overrun "keep" is not allowed: "carry"', answer.stdout + answer.stderr)
        self.assertIn('or "forget"', answer.stdout + answer.stderr)


if __name__ == "__main__":
    unittest.main()
