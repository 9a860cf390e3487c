"""What plans say of sessions: tiers, trials, limits that change, and watching only."""

import datetime
import unittest

from case import fresh
from node import eventually
from plane import code_name, limit, metric, refusal
from sessions import (
    MID_MONTH, NEXT_MONTH, TEN_MINUTES, USED_UP, Client, SessionNodeCase, SharedSessionCase, action,
)


class Monitor(SharedSessionCase):
    """R-SES-6: usage accrues in every mode; enforcement can be off."""

    CONFIG = TEN_MINUTES.replace('max_sessions = "unlimited"', "max_sessions = 1") + "[sessions]\nenforce = false\n"

    def test_nothing_is_denied_or_stopped_and_everything_is_counted(self):
        org = fresh("watched")
        self.calls.use(org, 590)
        for number in range(4):
            started = self.calls.start(org, f"s{number}")
            self.assertEqual((started.allowed, code_name(started), started.first_slice_ms), (True, "ALLOWED", 180_000))
        for total in [100, 180, 480, 780]:
            beat = self.calls.beat(org, total, "s0")
            self.assertIn(action(beat), ("CONTINUE", "WARN"))
            self.assertEqual((beat.used_ms, beat.quota_ms), (590_000 + total * 1000, 600_000))
        self.assertEqual(self.calls.get(org, "s0").stopping, False)
        status = self.calls.status(org)
        self.assertEqual((status.can_start, code_name(status), status.message), (True, "ALLOWED", ""))
        self.assertEqual((status.used_ms, status.sessions, status.sessions_max), (1_370_000, 4, 1))
        self.calls.end(org, "s0", incarnation="b1", total_seconds=790)
        self.assertEqual(self.calls.used(org), 1_380_000)

    def test_a_quota_in_shadow_is_shown_and_denies_nothing(self):
        """R-PIPE-7"""
        shadow = TEN_MINUTES.replace('"10m"', '{ amount = "10m", shadow = true }')
        calls = Client(self.plane(self.node(config=shadow)))
        calls.use("acme", 700)
        started = calls.start("acme")
        self.assertEqual((started.allowed, started.first_slice_ms), (True, 180_000))
        self.assertTrue(limit(started, "quota/compute").exhausted and limit(started, "quota/compute").shadow)
        self.assertEqual(action(calls.beat("acme", 200)), "CONTINUE")

    def test_identity_and_ids_are_checked_all_the_same(self):
        """R-SES-4"""
        org = fresh("watched")
        self.calls.start(org)
        self.assertEqual(refusal(self.calls.beat, org, 1, identity="vm 2").reason, "OTHER_IDENTITY")
        self.assertEqual(refusal(self.calls.start, org).reason, "SESSION_EXISTS")


class Tiers(SharedSessionCase):
    """R-SES-7"""

    HOUR = 3600
    PLANS = {"free": (4, 1), "trial": (5, 1), "standard": (40, 1), "advanced": (80, 2), "max": (160, 3), "unlimited": (None, 5)}
    CONFIG = "".join(f'[orgs."{plan}"]\nplan = "{plan}"\n[orgs."{plan}-2"]\nplan = "{plan}"\n' for plan in PLANS)

    def test_the_six_plans_are_there_without_a_section(self):
        for plan, (hours, sessions) in self.PLANS.items():
            with self.subTest(plan):
                status = self.calls.status(plan)
                self.assertEqual((status.plan, status.can_start), (plan, True))
                self.assertEqual((status.unlimited, status.quota_ms), (hours is None, (hours or 0) * self.HOUR * 1000))
                self.assertEqual((status.sessions_unlimited, status.sessions_max), (False, sessions))

    def test_their_sessions_are_capped(self):
        for plan, (_, sessions) in self.PLANS.items():
            answers = [self.calls.start(plan, f"s{number}") for number in range(sessions + 1)]
            self.assertEqual([answer.allowed for answer in answers], [True] * sessions + [False], plan)
            self.assertEqual(code_name(answers[-1]), "SESSION_LIMIT_REACHED")

    def test_their_compute_is_used_up_at_the_hour_and_unlimited_never_is(self):
        """R-SES-6: unlimited plans skip the check"""
        for plan, (hours, _) in self.PLANS.items():
            org = f"{plan}-2"
            self.calls.use(org, (hours or 10_000) * self.HOUR - 1)
            self.assertTrue(self.calls.start(org).allowed, plan)
            beat = self.calls.beat(org, 200)
            self.assertEqual(action(beat), "CONTINUE" if hours is None else "STOP", plan)
            self.calls.end(org, incarnation="b1", total_seconds=200)
            answer = self.calls.start(org, "another")
            self.assertEqual(code_name(answer), "ALLOWED" if hours is None else "QUOTA_EXCEEDED", plan)

    def test_a_section_of_such_a_name_stands_in_its_place(self):
        config = '[plans.free]\ncompute = { calendar_month = "1h" }\n[defaults]\nplan = "free"\n'
        calls = Client(self.plane(self.node(config=config)))
        status = calls.status("acme")
        self.assertEqual((status.quota_ms, status.sessions_unlimited), (3_600_000, True))


class Limits(SessionNodeCase):
    def test_a_raised_limit_lets_a_stopping_session_go_on(self):
        """R-PIPE-11: derived from the counters each time"""
        node, calls = self.started()
        calls.use("acme", 420)
        calls.start("acme")
        self.assertEqual(action(calls.beat("acme", 180)), "STOP")
        node.clock.step(20)
        self.reloaded(node, calls, TEN_MINUTES.replace('"10m"', '"20m"'))
        beat = calls.beat("acme", 200)
        self.assertEqual((action(beat), beat.grace_ms, beat.quota_ms), ("CONTINUE", 0, 1_200_000))
        self.assertEqual(calls.get("acme").stopping, False)
        self.reloaded(node, calls, TEN_MINUTES.replace('"10m"', '"640s"'))
        self.assertEqual((action(calls.beat("acme", 210)), calls.beat("acme", 210).warn_percent), ("WARN", 95))
        self.reloaded(node, calls, TEN_MINUTES)
        again = calls.beat("acme", 211)
        self.assertEqual((action(again), again.grace_ms), ("STOP", 30_000), "a stop of its own, with a whole grace")

    def test_a_raised_cap_lets_the_next_start_pass(self):
        """R-PIPE-11"""
        one = TEN_MINUTES.replace('max_sessions = "unlimited"', "max_sessions = 1")
        node, calls = self.started(config=one)
        calls.start("acme")
        self.assertFalse(calls.start("acme", "b").allowed)
        self.reloaded(node, calls, one.replace("max_sessions = 1", "max_sessions = 2"))
        self.assertTrue(calls.start("acme", "b").allowed)
        self.reloaded(node, calls, one.replace("max_sessions = 1", "max_sessions = 0"))
        self.assertEqual(code_name(calls.start("acme", "c")), "SESSION_LIMIT_REACHED")
        self.assertEqual(action(calls.beat("acme", 5)), "CONTINUE", "those that run go on")

    def test_a_new_month_begins_with_nothing_used(self):
        """R-SES-7: calendar month, UTC"""
        node, calls = self.started(at=NEXT_MONTH - 100)
        calls.use("acme", 420)
        calls.start("acme")
        self.assertEqual(action(calls.beat("acme", 180)), "STOP")
        denied = calls.start("acme", "b")
        self.assertEqual(denied.message, USED_UP)
        self.assertLessEqual(denied.retry_after_ms, 100_000)
        node.clock.step(101)
        beat = calls.beat("acme", 190)
        self.assertEqual((action(beat), beat.used_ms), ("CONTINUE", 10_000))
        self.assertTrue(calls.start("acme", "b").allowed)

    def test_the_number_of_sessions_has_a_bound_and_ended_ones_make_room(self):
        node, calls = self.started(environment={"TOLLGATE__BOUNDS__SESSIONS_PER_ORG": "3"})
        for session in "abc":
            calls.start("acme", session)
        full = refusal(calls.start, "acme", "d")
        self.assertEqual((full.code.name, full.reason), ("RESOURCE_EXHAUSTED", "SESSIONS_FULL"))
        calls.end("acme", "b")
        self.assertTrue(calls.start("acme", "d").allowed)
        self.assertEqual({each.session_id for each in calls.plane.admin.GetOrg(org="acme").sessions}, {"a", "c", "d"})


class Trial(SessionNodeCase):
    """R-SES-7: the effective plan is computed at read."""

    ENDS = datetime.datetime.fromtimestamp(MID_MONTH + 300, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    ENDING = f'[orgs."acme"]\nplan = "trial"\ntrial_ends = "{ENDS}"\n'
    HOUR = 3600

    def ended(self, node):
        return metric(node.http, "tollgate_trials_ended_total")

    def test_it_falls_to_the_next_plan_at_that_instant_without_a_restart(self):
        node, calls = self.started(config=self.ENDING)
        calls.use("acme", 4.5 * self.HOUR)
        calls.start("acme")
        status = calls.status("acme")
        self.assertEqual((status.plan, status.quota_ms), ("trial", 5 * self.HOUR * 1000))
        for total in [100, 200, 280]:
            node.clock.step(95)
            beat = calls.beat("acme", total)
            self.assertIn(action(beat), ("CONTINUE", "WARN"))
        node.clock.step(20)
        status = calls.status("acme")
        self.assertEqual((status.plan, status.quota_ms), ("free", 4 * self.HOUR * 1000))
        beat = calls.beat("acme", 301)
        self.assertEqual((action(beat), beat.grace_ms), ("STOP", 30_000), "a plan that is no trial has a grace")
        calls.end("acme", incarnation="b1", total_seconds=301)
        denied = calls.start("acme", "b")
        self.assertEqual((code_name(denied), denied.message), ("QUOTA_EXCEEDED", USED_UP))
        self.assertEqual(calls.plane.gate.GetStatus(org="acme").plan, "free")
        self.assertEqual((self.ended(node), calls.plane.admin.GetOrg(org="acme").trial_ended_at_ms), (0, 0), "it was not used up")

    def test_it_falls_also_where_it_ended_while_the_node_was_down(self):
        soon = datetime.datetime.fromtimestamp(MID_MONTH + 30, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        node, calls = self.started(config=f'[orgs."acme"]\nplan = "trial"\ntrial_ends = "{soon}"\n')
        self.assertEqual(calls.status("acme").plan, "trial")
        node.stop()
        node.clock.step(40)
        self.assertEqual(self.restarted(node).status("acme").plan, "free")

    def test_a_budget_set_meanwhile_stays_in_force(self):
        """R-PIPE-11"""
        node, calls = self.started(config=self.ENDING)
        calls.plane.budget.UpdateBudget(org="acme", request_id="r", periods={"hourly": {"limit": 0}})
        self.assertEqual(code_name(calls.start("acme")), "BUDGET_EXCEEDED")
        node.clock.step(301)
        self.assertEqual((code_name(calls.start("acme")), calls.status("acme").plan), ("BUDGET_EXCEEDED", "free"))

    def test_its_end_has_no_grace_and_is_told_once(self):
        node, calls = self.started(config='[orgs."acme"]\nplan = "trial"\n')
        calls.use("acme", 5 * self.HOUR - 180)
        calls.start("acme")
        calls.beat("acme", 179)
        self.assertEqual(self.ended(node), 0)
        beat = calls.beat("acme", 180)
        self.assertEqual((action(beat), beat.grace_ms), ("STOP", 0))
        self.assertEqual(self.ended(node), 1)
        at = calls.plane.admin.GetOrg(org="acme").trial_ended_at_ms
        self.assertAlmostEqual(at, node.clock.now_ms(), delta=2000)
        for total in [181, 190]:
            node.clock.step(20)
            beat = calls.beat("acme", total)
            self.assertEqual((action(beat), beat.grace_ms), ("STOP", 0))
        calls.end("acme", incarnation="b1", total_seconds=195)
        self.assertEqual(code_name(calls.start("acme", "b")), "QUOTA_EXCEEDED")
        calls.use("acme", 100)
        self.assertEqual(self.ended(node), 1)
        node.kill()
        calls = self.restarted(node)
        self.assertEqual(action(calls.beat("acme", 200)), "STOP")
        self.assertEqual(code_name(calls.start("acme", "b")), "QUOTA_EXCEEDED")
        self.assertEqual(self.ended(node), 0, "told by the process before")
        self.assertEqual(calls.plane.admin.GetOrg(org="acme").trial_ended_at_ms, at)
        raised = '[plans.trial]\ntrial = true\ncompute = { calendar_month = "6h" }\n[orgs."acme"]\nplan = "trial"\n'
        self.reloaded(node, calls, f"[reload]\naccept_lost_limits = true\n{raised}")
        self.assertTrue(calls.start("acme", "c").allowed, "a raised limit")
        calls.use("acme", self.HOUR)
        calls.beat("acme", 180, "c")
        self.assertEqual(self.ended(node), 0, "once in the life of the org")

    def test_its_end_is_told_also_where_no_session_used_the_last_of_it(self):
        """R-SES-7: used up is used up; no session can start any more to tell it"""
        node, calls = self.started(config='[orgs."acme"]\nplan = "trial"\n')
        calls.use("acme", 5 * self.HOUR)
        self.assertEqual(code_name(calls.start("acme")), "QUOTA_EXCEEDED")
        self.assertEqual(self.ended(node), 1)
        self.assertGreater(calls.plane.admin.GetOrg(org="acme").trial_ended_at_ms, 0)

    def test_it_is_told_also_by_a_session_that_expires(self):
        """R-SES-3, R-SES-7"""
        node, calls = self.started(config='[orgs."acme"]\nplan = "trial"\n')
        calls.use("acme", 5 * self.HOUR - 60)
        self.assertEqual(calls.start("acme").first_slice_ms, 60_000)
        node.clock.step(121)
        eventually(lambda: self.ended(node) == 1, "the sweep")


if __name__ == "__main__":
    unittest.main()
