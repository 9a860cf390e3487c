"""When upstream accounts are exhausted, when they are usable again, and what a pool adds up to meanwhile."""

import unittest

from case import fresh
from node import eventually
from plane import code_name, metric
from pools import (
    ACCOUNT_EXHAUSTED, ACCOUNT_USABLE, DAY_MS, MINUTE, POOL_EXHAUSTED, POOL_USABLE,
    PoolNodeCase, SharedPoolCase, account, masked, names, outcome, state, told,
)


class Windows(SharedPoolCase):
    CONFIG = SharedPoolCase.CONFIG + """
        [orgs."limited".scopes."pool/p"]
        calls = { anchored_1h = 3 }
        [orgs."heavy".scopes."account/*"]
        bytes = { anchored_1h = 1000 }
    """

    def test_exhausted_before_its_first_use_an_account_is_usable_when_its_window_has_ended(self):
        """R-POOL-4"""
        org, (one, _) = fresh("before"), names(2)
        self.calls.configure(org, account(one, 5, window=MINUTE))
        before = self.shared.clock.now_ms()
        self.assertEqual(outcome(self.calls.report(org, one, 429, "Daily Limit reached")), "QUOTA_EXHAUSTED")
        status = self.calls.account(org, one)
        self.assertEqual((state(status), status.used, status.quota_errors, status.failed), ("QUOTA_EXHAUSTED", 0, 1, 0))
        self.assertAlmostEqual(status.available_at_ms, before + 60_000, delta=20_000)
        self.assertEqual(self.calls.summary(org).soonest_reset_ms, status.available_at_ms)
        denied = self.calls.pick(org)
        self.assertExhausted(denied)
        self.assertAlmostEqual(denied.retry_after_ms, 60_000, delta=20_000)
        self.step(denied.retry_after_ms / 1000 + 1)
        self.assertEqual(self.calls.pick(org).account, one)
        status = self.calls.account(org, one)
        self.assertEqual((state(status), status.used, status.quota_errors, status.available_at_ms), ("ACTIVE", 1, 0, 0))

    def test_an_anchored_window_that_was_used_up_ends(self):
        """R-POOL-2"""
        org, (one, two) = fresh("anchored"), names(2)
        self.calls.configure(org, account(one, 2, window=MINUTE), account(two, 1, window="anchored/10m"))
        self.assertEqual(sorted(self.calls.picked(org, 3)), [one, one, two])
        denied = self.calls.pick(org)
        self.assertExhausted(denied)
        self.assertAlmostEqual(denied.retry_after_ms, 60_000, delta=20_000, msg="the first that is usable again")
        self.step(61)
        self.assertEqual(self.calls.picked(org, 3), [one, one, ""])

    def test_a_raised_limit_frees_an_account_on_the_next_call(self):
        """R-POOL-4: used up here, or said so by its upstream"""
        for why in ["limit", "upstream"]:
            with self.subTest(why):
                org, (one, _) = fresh("raised"), names(2)
                self.calls.configure(org, account(one, 2))
                self.calls.picked(org, 2)
                if why == "upstream":
                    self.calls.report(org, one, 200, "over quota")
                self.assertExhausted(self.calls.pick(org))
                self.calls.configure(org, account(one, 3))
                self.assertEqual((self.calls.pick(org).account, self.calls.pick(org).account), (one, ""))
                self.assertEqual(self.calls.account(org, one).used, 3)

    def test_evidence_holds_where_the_limit_stays_or_is_lowered(self):
        """R-POOL-4"""
        org, (one, _) = fresh("lowered"), names(2)
        self.calls.configure(org, account(one, 10))
        self.calls.report(org, one, 200, "over quota")
        for limit in [10, 9]:
            self.calls.configure(org, account(one, limit, 1))
            self.assertExhausted(self.calls.pick(org))
            self.assertEqual(state(self.calls.account(org, one)), "QUOTA_EXHAUSTED")

    def test_a_limit_on_the_scope_of_a_pool_is_enforced(self):
        org, (one, two) = "limited", names(2)
        self.calls.configure(org, account(one, 10), account(two, 10))
        self.assertNotIn("", self.calls.picked(org, 3))
        denied = self.calls.pick(org)
        self.assertEqual((denied.allowed, code_name(denied), denied.account), (False, "QUOTA_EXCEEDED", ""))
        self.assertEqual(denied.http_status_hint, 402)
        self.assertAlmostEqual(denied.retry_after_ms, 3_600_000, delta=60_000)
        summary = self.calls.summary(org)
        self.assertEqual((summary.used, summary.active, summary.total_calls), (3, 2, 4))
        self.step(3601)
        self.assertTrue(self.calls.pick(org).allowed)

    def test_a_budget_on_the_scope_of_a_pool_that_blocks_all_is_enforced(self):
        org, (one, _) = fresh("budget"), names(2)
        self.calls.configure(org, account(one, 10))
        self.client.budget.UpdateBudget(org=org, scope="pool/p", request_id="b", periods={"hourly": {"limit": 0}})
        denied = self.calls.pick(org)
        self.assertEqual((denied.allowed, code_name(denied), denied.account), (False, "BUDGET_EXCEEDED", ""))
        self.client.budget.UpdateBudget(org=org, scope="pool/p", request_id="c", periods={"hourly": {"clear": True}})
        self.assertTrue(self.calls.pick(org).allowed)

    def test_reported_bytes_exhaust_an_account_where_a_limit_says_so(self):
        org, (one, two) = "heavy", names(2)
        self.calls.configure(org, account(one, 100))
        self.calls.report(org, one, bytes_up=1, bytes_down=998)
        self.assertEqual(self.calls.pick(org).account, one, "a byte is left")
        self.calls.configure(org, account(one, 100), account(two, 1))
        self.calls.report(org, one, bytes_down=1)
        self.assertEqual(state(self.calls.account(org, one)), "LIMIT_REACHED")
        self.assertEqual(self.calls.picked(org, 2), [two, ""])
        self.step(3601)
        self.assertEqual(self.calls.pick(org).account, one)


class Sums(SharedPoolCase):
    def test_refused_picks_and_calls_that_bypassed_the_pool_are_counted(self):
        """R-POOL-6"""
        org, (one, _) = fresh("calls"), names(2)
        self.calls.configure(org, account(one, 2))
        self.calls.picked(org, 5)
        for _ in range(3):
            passed = self.calls.report(org, "", 500)
            self.assertEqual((outcome(passed), passed.known), ("UNAVAILABLE", False))
        summary = self.calls.summary(org)
        self.assertEqual((summary.total_calls, summary.used, summary.failed), (8, 2, 0))
        # No more than to the next day: connections of the class do not live a whole one.
        self.step(DAY_MS / 2000)
        self.assertEqual(self.calls.summary(org).total_calls, 0, "since midnight")

    def test_bytes_of_every_path_are_counted(self):
        """R-POOL-7"""
        org, (one, two) = fresh("bytes"), names(2)
        self.calls.configure(org, account(one, 9))
        self.calls.pick(org)
        self.assertTrue(self.calls.report(org, one, bytes_up=1, bytes_down=20).known)
        self.calls.report(org, "", bytes_up=300, bytes_down=4000)
        self.assertFalse(self.calls.report(org, two, bytes_up=50_000).known, "an account of no pool")
        self.calls.report(org, one, 500, bytes_down=600_000)
        self.assertEqual(self.calls.summary(org).bytes, 654_321)
        status = self.calls.account(org, one)
        self.assertEqual((status.bytes_up, status.bytes_down), (1, 600_020))

    def test_what_is_left_to_transfer_is_estimated_from_five_calls_on(self):
        """R-POOL-7: the average counts as 50 to 500 KB"""
        for transferred, average in [(0, 50_000), (500_000, 100_000), (10**10, 500_000)]:
            with self.subTest(transferred):
                org, (one, _) = fresh("estimate"), names(2)
                self.calls.configure(org, account(one, 100))
                self.calls.picked(org, 4)
                self.calls.report(org, one, bytes_up=transferred // 2, bytes_down=transferred - transferred // 2)
                for view in [self.calls.account(org, one), self.calls.summary(org)]:
                    self.assertFalse(view.HasField("estimated_remaining_bytes"))
                self.calls.pick(org)
                for view in [self.calls.account(org, one), self.calls.summary(org)]:
                    self.assertEqual(view.estimated_remaining_bytes, 95 * average)


class Told(PoolNodeCase):
    def test_an_exhausted_pool_is_told_once_and_names_no_account_to_who_picks(self):
        """R-POOL-3: one event, whatever is picked afterwards"""
        node, calls = self.started()
        accounts = names(3)
        calls.configure("acme", *(account(name, 2) for name in accounts))
        calls.picked("acme", 6)
        for _ in range(50):
            denied = calls.pick("acme")
            self.assertExhausted(denied)
            for name in accounts:
                self.assertNotIn(name, str(denied))
                self.assertNotIn(masked(name), denied.message)
        self.assertAlmostEqual(denied.retry_after_ms, DAY_MS, delta=120_000)
        self.assertEqual(metric(node.http, "tollgate_pools_exhausted_total"), 1)
        self.assertEqual(metric(node.http, "tollgate_accounts_exhausted_total", by="limit"), 3)
        self.assertEqual(metric(node.http, "tollgate_picks_total", code="ACCOUNTS_EXHAUSTED"), 50)
        self.assertEqual(metric(node.http, "tollgate_picks_total", code="ALLOWED"), 6)
        self.assertEqual(node.stop(), 0)
        (line,) = told(node, POOL_EXHAUSTED)
        self.assertEqual((line["level"], line["target"], line["org"], line["pool"]), ("ERROR", "tollgate::pools", "acme", "p"))
        for name in accounts:
            self.assertIn(f"{masked(name)}: 2 of 2", line["accounts"])
        self.assertEqual(len(told(node, ACCOUNT_EXHAUSTED)), 3)
        # A restart tells it by its own line, not again.
        calls = self.restarted(node)
        self.assertExhausted(calls.pick("acme"))
        node.stop()
        self.assertEqual(len(told(node, POOL_EXHAUSTED)), 1)

    def test_windows_roll_while_nothing_is_called(self):
        """R-POOL-3"""
        node, calls = self.started('[pools]\nstats = "1s"\n')
        accounts = names(2)
        calls.configure("acme", *(account(name, 1, window=MINUTE) for name in accounts))
        calls.picked("acme", 2)
        exhausted = lambda count: metric(node.http, "tollgate_pool_accounts", state="exhausted") == count  # noqa: E731
        eventually(lambda: exhausted(2), "the metrics know")
        eventually(lambda: told(node, "pools", exhausted=1, active="0/2"), "the line that comes every second knows")
        self.assertEqual(told(node, ACCOUNT_USABLE), [])
        node.clock.step(61)
        eventually(lambda: len(told(node, ACCOUNT_USABLE)) == 2, "both accounts are told to be usable", within=20)
        eventually(lambda: told(node, POOL_USABLE, org="acme", pool="p"), "and their pool")
        eventually(lambda: exhausted(0), "the metrics know it")
        eventually(lambda: told(node, "pools", exhausted=0, active="2/2", used=0, remaining=2), "and so does the line")
        self.assertEqual(metric(node.http, "tollgate_pool_remaining"), 2)
        calls.picked("acme", 3)
        self.assertEqual(metric(node.http, "tollgate_pools_exhausted_total"), 2, "exhausted anew is another event")

    def test_a_limit_that_is_raised_for_the_node_frees_accounts_that_follow_it(self):
        """R-POOL-1, R-PIPE-11"""
        config = "[pools]\ndaily_limit = {}\nsafety_buffer = 1\n"
        node, calls = self.started(config.format(3))
        follows, own = names(2)
        calls.configure("acme", {"account": follows}, account(own, 1, 1))
        self.assertEqual(calls.picked("acme", 3), [follows, follows, ""])
        self.reloaded(node, calls, config.format(4))
        self.assertEqual(calls.picked("acme", 2), [follows, ""])
        self.reloaded(node, calls, config.format(2))
        self.assertEqual(calls.account("acme", follows).remaining, -2)
        calls.report("acme", follows, 429, "quota")
        self.reloaded(node, calls, config.format(9))
        eventually(lambda: told(node, ACCOUNT_USABLE), "it is told without a call")
        self.assertEqual(calls.pick("acme").account, follows)


if __name__ == "__main__":
    unittest.main()
