"""Pools of upstream accounts: who is in one, whom a pick chooses, and what a pool adds up to."""

import threading
import unittest
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from case import fresh
from plane import code_name, refusal
from pools import DAY_MS, Client, SharedPoolCase, account, masked, names, route, state


class Configured(SharedPoolCase):
    def test_what_an_account_leaves_open_is_the_default(self):
        """R-POOL-1"""
        org = fresh("defaults")
        answer = self.calls.configure(org, {"account": "acct-secret-0000"})
        self.assertEqual((list(answer.warnings), answer.replayed, answer.pool.version), ([], False, 1))
        (only,) = answer.pool.accounts
        self.assertEqual((only.account, only.daily_limit, only.safety_buffer), ("acct…0000", 20_000, 500))
        self.assertEqual((only.window, only.used, only.remaining, state(only), route(only)), ("anchored/1d", 0, 19_500, "ACTIVE", "OK"))
        self.assertEqual((only.window_ends_at_ms, only.last_used_at_ms, only.available_at_ms), (0, 0, 0), "it begins with the first call")
        before = self.shared.clock.now_ms()
        picked = self.calls.pick(org)
        self.assertEqual((picked.allowed, code_name(picked), picked.http_status_hint, picked.retry_after_ms), (True, "ALLOWED", 200, 0))
        self.assertEqual((picked.account, picked.remaining, picked.last_resort), ("acct-secret-0000", 19_499, False))
        self.assertFalse(picked.HasField("decision"), "no gate was asked")
        (only,) = self.calls.get(org).accounts
        self.assertAlmostEqual(only.window_ends_at_ms, before + DAY_MS, delta=60_000)
        self.assertAlmostEqual(only.last_used_at_ms, before, delta=60_000)

    def test_what_the_node_says_is_what_open_accounts_follow_and_an_account_may_say_otherwise(self):
        """R-POOL-1"""
        org = fresh("mixed")
        accounts = [account("acct-secret-0001", 10, 3, window="calendar/day"), {"account": "acct-secret-0000", "daily_limit": 600}]
        pool = self.calls.configure(org, *accounts).pool
        said = [(each.account, each.daily_limit, each.safety_buffer, each.window, each.remaining) for each in pool.accounts]
        self.assertEqual(said, [("acct…0000", 600, 500, "anchored/1d", 100), ("acct…0001", 10, 3, "calendar/day", 7)], "by their ids")
        self.assertEqual((pool.summary.capacity, pool.summary.accounts), (107, 2))

    def test_only_what_is_configured_counts(self):
        """R-POOL-3: one account with stale exhausted usage that has left, and one that is fresh"""
        org, (old, new) = fresh("left"), names(2)
        self.calls.configure(org, account(old, 5))
        self.assertEqual(self.calls.picked(org, 6), [old] * 5 + [""])
        self.calls.report(org, old, 429, "Quota exceeded")
        pool = self.calls.configure(org, account(new, 5)).pool
        self.assertEqual(([each.account for each in pool.accounts], pool.version), ([masked(new)], 2))
        summary = pool.summary
        self.assertEqual((summary.active, summary.accounts, summary.capacity, summary.used, summary.remaining), (1, 1, 5, 0, 5))
        self.assertEqual((summary.quota_errors, summary.soonest_reset_ms), (0, 0))
        self.assertEqual(self.calls.picked(org, 5), [new] * 5)
        self.assertFalse(self.calls.report(org, old, 200, bytes_up=1).known)
        self.calls.configure(org, account(old, 5), account(new, 7))
        self.assertEqual(self.calls.picked(org, 3), [new, new, ""], "leaving and coming back gives nothing back")

    def test_accounts_that_stay_keep_what_was_counted(self):
        org, (stays, comes) = fresh("stays"), names(2)
        self.calls.configure(org, account(stays, 10))
        self.calls.picked(org, 4)
        self.calls.report(org, stays, 403)
        self.calls.configure(org, account(stays, 20, 6), account(comes, 1))
        kept = self.calls.account(org, stays)
        self.assertEqual((kept.used, kept.remaining, kept.failed, route(kept)), (4, 10, 1, "QUARANTINE"))
        self.calls.configure(org, account(stays, 3))
        self.assertEqual((self.calls.account(org, stays).remaining, self.calls.summary(org).remaining), (-1, 0), "lowered below what was used")

    def test_a_pool_without_accounts_is_gone(self):
        org, (one, _) = fresh("gone"), names(2)
        self.calls.configure(org, account(one, 5))
        self.assertEqual(list(self.calls.configure(org).pool.accounts), [])
        for call in [self.calls.get, self.calls.pick, lambda org: self.calls.report(org, one)]:
            refused = refusal(call, org)
            self.assertEqual((refused.code.name, refused.reason), ("NOT_FOUND", "POOL_UNKNOWN"))
        again = self.calls.configure(org, account(one, 5), expected_version=0).pool
        self.assertEqual((again.version, again.accounts[0].account), (1, masked(one)))

    def test_a_buffer_that_leaves_nothing_is_accepted_with_a_warning_and_nothing_is_picked(self):
        """R-POOL-2: limit 1, buffer 500"""
        org, (one, _) = fresh("useless"), names(2)
        answer = self.calls.configure(org, {"account": one, "daily_limit": 1})
        self.assertEqual(len(answer.warnings), 1, answer)
        for word in [masked(one), "500", "safety_buffer"]:
            self.assertIn(word, answer.warnings[0])
        self.assertEqual(state(self.calls.account(org, one)), "LIMIT_REACHED")
        denied = self.calls.pick(org)
        self.assertExhausted(denied)
        self.assertEqual(denied.retry_after_ms, 0, "never by itself")
        summary = self.calls.summary(org)
        self.assertEqual((summary.capacity, summary.active, summary.accounts, summary.used), (0, 0, 1, 0))

    def test_what_an_account_has_left_is_its_limit_less_its_buffer_less_what_was_used(self):
        """PoolAccountStatus.remaining, also where the buffer is above the limit"""
        org, (one, _) = fresh("left-over"), names(2)
        for limit, buffer, remaining in [(10, 3, 6), (10, 9, 0), (1, 0, 0), (0, 0, -1), (1, 500, -1)]:
            self.calls.configure(org, account(one, 10))
            if not self.calls.account(org, one).used:
                self.calls.pick(org)
            with self.subTest(limit=limit, buffer=buffer):
                (status,) = self.calls.configure(org, account(one, limit, buffer)).pool.accounts
                self.assertEqual(status.remaining, remaining)

    def test_a_pool_is_configured_once_by_request_id(self):
        org, (one, two) = fresh("once"), names(2)
        first = self.calls.configure(org, account(one, 5), request_id="c")
        again = self.calls.configure(org, account(one, 5), request_id="c")
        self.assertEqual((again.replayed, again.pool), (True, first.pool))
        refused = refusal(self.calls.configure, org, account(two, 5), request_id="c")
        self.assertEqual((refused.code.name, refused.reason), ("ALREADY_EXISTS", "REQUEST_ID_REUSED"))
        self.assertEqual(self.calls.configure(org, account(one, 5)).pool.version, 1, "nothing has changed")


class Refused(SharedPoolCase):
    def test_conflicts_are_told_apart(self):
        """R-POOL-1"""
        org, (one, two) = fresh("conflict"), names(2)
        self.calls.configure(org, account(one, 5), pool="first")
        refused = refusal(self.calls.configure, org, account(two, 5), account(one, 5), pool="second")
        self.assertEqual((refused.code.name, refused.reason), ("ALREADY_EXISTS", "ACCOUNT_IN_OTHER_POOL"))
        self.assertIn("accounts[1]", refused.message)
        self.assertEqual(refusal(self.calls.get, org, "second").reason, "POOL_UNKNOWN", "nothing was changed")
        self.calls.configure(fresh("other"), account(one, 5), pool="second")
        for version in [0, 2]:
            refused = refusal(self.calls.configure, org, account(two, 5), pool="first", expected_version=version)
            self.assertEqual((refused.code.name, refused.reason), ("ABORTED", "POOL_VERSION"))
            self.assertIn("version 1", refused.message)
        self.assertEqual(self.calls.configure(org, account(two, 5), pool="first", expected_version=1).pool.version, 2)
        self.calls.configure(org, account(one, 5), pool="second")

    def test_bad_fields_are_named(self):
        org, one = fresh("bad"), account(names(1)[0], 5)
        configure = [
            ("accounts[0].daily_limit", [{**one, "daily_limit": -1}], {}),
            ("accounts[0].safety_buffer", [{**one, "safety_buffer": -1}], {}),
            ("accounts[0].daily_limit", [{**one, "daily_limit": 10**16 + 1}], {}),
            *[("accounts[0].window", [{**one, "window": window}], {}) for window in
              ["24h", "daily", "rolling/90m", "anchored/0s", "anchored/1ms", "calendar/decade", "calendar/day@Mars", "rolling/24h@Europe/Berlin", "anchored/99999d", "provider", "/"]],
            ("accounts[1].account", [one, one], {}),
            ("accounts[0].account", [{}], {}),
            ("accounts[0].account", [{"account": "a b"}], {}),
            ("request_id", [one], {"request_id": ""}),
            ("pool", [one], {"pool": ""}),
            ("expected_version", [one], {"expected_version": -1}),
        ]
        for field, accounts, fields in configure:
            with self.subTest(field, accounts=accounts):
                self.check(field, self.calls.configure, org, *accounts, **fields)
        self.calls.configure(org, one)
        reports = [("status", {"status": status}) for status in [99, -1, 1, 600]]
        reports += [("bytes_up", {"bytes_up": -1}), ("bytes_down", {"bytes_down": -1}), ("request_id", {"request_id": "a\nb"})]
        for field, fields in reports:
            with self.subTest(field, **fields):
                self.check(field, self.calls.report, org, one["account"], **fields)
        self.check("account", self.calls.report, org, "a b")
        self.check("org", self.calls.pick, "")
        self.check("pool", self.calls.pick, org, "a//b")
        self.check("request_id", self.calls.pick, org, request_id="x" * 129)
        self.check("pool", self.calls.get, org, "")
        self.assertEqual((self.calls.summary(org).total_calls, self.calls.get(org).version), (0, 1), "nothing was counted")

    def check(self, field, call, *args, **fields):
        refused = refusal(call, *args, **fields)
        self.assertEqual((refused.code.name, refused.reason), ("INVALID_ARGUMENT", "INVALID_FIELD"), refused.message)
        self.assertEqual(refused.fields, [field], refused.message)

    def test_a_report_is_counted_once_by_request_id(self):
        org, (one, _) = fresh("reported"), names(2)
        self.calls.configure(org, account(one, 5))
        self.calls.pick(org)
        answers = [self.calls.report(org, one, 500, bytes_up=7, request_id="r") for _ in range(3)]
        self.assertEqual([(each.replayed, each.known) for each in answers], [(False, True), (True, True), (True, True)])
        self.assertEqual((self.calls.account(org, one).failed, self.calls.summary(org).bytes), (1, 7))
        self.assertEqual(refusal(self.calls.report, org, one, 200, request_id="r").reason, "REQUEST_ID_REUSED")


class Picked(SharedPoolCase):
    def many(self, work, count=64, planes=8):
        """What so many threads answer that begin at once, over a few connections."""
        over = [Client(self.plane(self.shared)) for _ in range(planes)]
        ready = threading.Barrier(count)

        def run(number):
            ready.wait(30)
            return work(over[number % planes], number)

        with ThreadPoolExecutor(count) as threads:
            return list(threads.map(run, range(count)))

    def test_64_concurrent_pickers_are_given_exactly_limit_less_buffer_of_each_account(self):
        """R-POOL-2, R-PIPE-4"""
        org, accounts = fresh("many"), names(5)
        self.calls.configure(org, *(account(name, 20, 5) for name in accounts))
        answers = sum(self.many(lambda calls, _: [calls.pick(org) for _ in range(2)]), [])
        given = Counter(answer.account for answer in answers if answer.allowed)
        self.assertEqual(given, {name: 15 for name in accounts})
        for answer in answers:
            if not answer.allowed:
                self.assertExhausted(answer)
        pool = self.calls.get(org)
        self.assertEqual([(each.used, each.remaining, state(each)) for each in pool.accounts], [(15, 0, "LIMIT_REACHED")] * 5)
        self.assertEqual((pool.summary.used, pool.summary.remaining, pool.summary.active, pool.summary.total_calls), (75, 0, 0, 128))

    def test_what_clients_were_given_is_what_is_counted(self):
        """R-POOL-2: with accounts of different sizes, none of them used up"""
        org, accounts = fresh("agree"), names(5)
        self.calls.configure(org, *(account(name, 100 * size) for size, name in enumerate(accounts, 1)))
        given = Counter(sum(self.many(lambda calls, _: calls.picked(org, 3)), []))
        self.assertEqual(sum(given.values()), 192)
        self.assertEqual(self.calls.used(org), {masked(name): given[name] for name in accounts})
        parts = [given[name] / (100 * size) for size, name in enumerate(accounts, 1)]
        self.assertLess(max(parts) - min(parts), 0.02, "accounts of any size are used up together")

    def test_ten_tries_of_one_call_count_ten(self):
        """R-POOL-2: a call that is tried again picks again"""
        org, (one, _) = fresh("tries"), names(2)
        self.calls.configure(org, account(one, 12, 2))
        remaining = []
        for attempt in range(10):
            picked = self.calls.pick(org, request_id=f"call-{attempt}")
            self.calls.report(org, one, 503)
            remaining.append(picked.remaining)
        self.assertEqual(remaining, list(range(9, -1, -1)))
        self.assertExhausted(self.calls.pick(org))
        self.assertEqual((self.calls.account(org, one).used, self.calls.account(org, one).failed), (10, 10))

    def test_a_repeated_request_id_counts_once_and_answers_the_same_account(self):
        """R-POOL-2"""
        org, accounts = fresh("repeated"), names(5)
        self.calls.configure(org, *(account(name, 10) for name in accounts))
        self.calls.picked(org, 3)
        answers = self.many(lambda calls, _: calls.pick(org, request_id="same"), count=16)
        self.assertEqual(len({answer.account for answer in answers}), 1, answers)
        self.assertEqual(sorted(answer.replayed for answer in answers), [False] + [True] * 15)
        self.assertEqual((self.calls.summary(org).used, self.calls.summary(org).total_calls), (4, 4))
        refused = refusal(self.calls.pick, org, request_id="same", acquire={})
        self.assertEqual((refused.code.name, refused.reason), ("ALREADY_EXISTS", "REQUEST_ID_REUSED"))
        # The answer stands when its account is used up, and when it has left.
        self.calls.configure(org, *(account(name, 1) for name in accounts))
        again = self.calls.pick(org, request_id="same")
        self.assertEqual((again.allowed, again.account, again.replayed, again.remaining), (True, answers[0].account, True, 0))

    def test_a_refused_pick_is_not_remembered(self):
        org, (one, _) = fresh("refused"), names(2)
        self.calls.configure(org, account(one, 0))
        self.assertExhausted(self.calls.pick(org, request_id="same"))
        self.calls.configure(org, account(one, 1))
        answer = self.calls.pick(org, request_id="same")
        self.assertEqual((answer.allowed, answer.replayed), (True, False), "a denial may have ended")


if __name__ == "__main__":
    unittest.main()
