"""Pools of keys of a provider that limits by the minute: pauses, times that upstreams name, what ends them."""

import os
import unittest

from case import fresh
from plane import code_name, refusal
from pools import (
    ACCOUNT_EXHAUSTED, DAY_MS, Client, PoolNodeCase, SharedPoolCase, account, masked, names, outcome, route, state, told,
)

RELAY, LLM = 1, 2
HOUR_MS = 3_600_000


def keys(*keys_of, **fields):
    """Accounts that nothing but their upstream limits."""
    return [account(name, 1_000_000, **fields) for name in keys_of]


class Named(SharedPoolCase):
    """The time that an upstream names decides, in every profile."""

    def wait(self, org, name):
        """For how long the account is exhausted or avoided, in whole seconds."""
        seen, now = self.calls.account(org, name), self.shared.clock.now_ms()
        until = max(seen.available_at_ms, seen.route_until_ms)
        return round((until - now) / 1000) if until else 0

    def test_a_time_beside_the_text_or_in_it_is_how_long(self):
        """R-POOL-4: a 429 per minute takes no key out for a day"""
        rows = [
            (RELAY, 429, "", 21_000, "RATE_LIMITED", 21),
            (RELAY, 429, "Rate limit reached for gpt-4o. Please try again in 14.4s.", None, "QUOTA_EXHAUSTED", 14),
            (RELAY, 403, "", 50_000, "REFUSED", 50),
            (RELAY, 503, "overloaded; Retry-After: 120", None, "UNAVAILABLE", 120),
            (LLM, 429, "You exceeded your current quota. Please retry in 21.4s.", None, "RATE_LIMITED", 21),
            (LLM, 429, '"retryDelay": "37s"', None, "RATE_LIMITED", 37),
            (LLM, 429, "TRY AGAIN IN 2 MINUTES", None, "RATE_LIMITED", 120),
            (LLM, 429, "try again in 5s", 70_000, "RATE_LIMITED", 70),
            (LLM, 429, "requests per day (RPD): your quota will reset after 3h2m", None, "QUOTA_EXHAUSTED", 10_920),
            (LLM, 429, "requests per day (RPD): Limit 200", None, "QUOTA_EXHAUSTED", 86_400),
            (LLM, 401, "", None, "REFUSED", 86_400),
            (LLM, 500, "", None, "UNAVAILABLE", 60),
        ]
        for profile, status, text, named, taken_for, seconds in rows:
            with self.subTest(profile=profile, status=status, text=text):
                org, (one, two) = fresh("named"), names(2)
                self.calls.configure(org, *keys(one, two), settings={"profile": profile})
                fields = {} if named is None else {"retry_after_ms": named}
                self.assertEqual(outcome(self.calls.report(org, one, status, text, **fields)), taken_for)
                self.assertAlmostEqual(self.wait(org, one), seconds, delta=3)
                self.assertEqual(set(self.calls.picked(org, 3)), {two})

    def test_a_time_out_of_bounds_is_refused_by_name(self):
        org, (one, _) = fresh("bounds"), names(2)
        self.calls.configure(org, *keys(one))
        for field, value in [("retry_after_ms", -1), ("retry_after_ms", 30 * DAY_MS + 1), ("picked_at_ms", -1)]:
            refused = refusal(self.calls.report, org, one, 429, **{field: value})
            self.assertEqual((refused.code.name, refused.fields), ("INVALID_ARGUMENT", [field]))
        self.assertEqual(route(self.calls.account(org, one)), "OK")


class Cleared(SharedPoolCase):
    def test_a_success_of_a_call_that_was_picked_later_clears_evidence_and_route(self):
        """R-POOL-4"""
        for status, text in [(429, "quota"), (429, ""), (403, ""), (503, "")]:
            for profile in [RELAY, LLM]:
                with self.subTest(status=status, text=text, profile=profile):
                    org, (one, _) = fresh("success"), names(2)
                    self.calls.configure(org, *keys(one), settings={"profile": profile})
                    before = self.calls.pick(org)
                    self.calls.report(org, one, status, text)

                    def held():
                        seen = self.calls.account(org, one)
                        return (state(seen), route(seen)) != ("ACTIVE", "OK")

                    self.assertTrue(held())
                    self.calls.report(org, one, 200)
                    self.calls.report(org, one, 200, picked_at_ms=before.picked_at_ms)
                    self.assertTrue(held(), "both may be of calls from before")
                    self.calls.report(org, one, 200, picked_at_ms=before.picked_at_ms + 5_000_000)
                    self.assertTrue(held(), "nothing is picked in the future")
                    self.step(2)
                    later = self.shared.clock.now_ms() - 1_000
                    self.calls.report(org, one, 200, picked_at_ms=later)
                    self.assertFalse(held())
                    self.assertEqual(self.calls.pick(org).account, one)

    def test_the_time_of_a_pick_is_told_and_told_again(self):
        org, (one, _) = fresh("picked-at"), names(2)
        self.calls.configure(org, *keys(one))
        first = self.calls.pick(org, request_id="p")
        self.assertAlmostEqual(first.picked_at_ms, self.shared.clock.now_ms(), delta=60_000)
        self.step(5)
        again = self.calls.pick(org, request_id="p")
        self.assertEqual((again.replayed, again.picked_at_ms), (True, first.picked_at_ms))
        gated = self.calls.pick(org, request_id="q", acquire={"scope": ""})
        self.assertEqual(self.calls.pick(org, request_id="q", acquire={"scope": ""}).picked_at_ms, gated.picked_at_ms)

    def test_an_operator_clears_by_hand_once_by_request_id(self):
        """R-POOL-4"""
        org, (one, two) = fresh("by-hand"), names(2)
        self.calls.configure(org, account(one, 2), *keys(two))
        self.calls.pick(org)
        self.calls.report(org, one, 429, "quota")
        self.calls.report(org, one, 403)
        answer = self.calls.clear(org, one, request_id="c")
        seen = (answer.cleared, answer.replayed, answer.account.account, state(answer.account), route(answer.account))
        self.assertEqual(seen, (True, False, masked(one), "ACTIVE", "OK"))
        self.calls.report(org, one, 403)
        again = self.calls.clear(org, one, request_id="c")
        self.assertEqual((again.cleared, again.replayed, route(again.account)), (True, True, "QUARANTINE"))
        self.assertEqual(refusal(self.calls.clear, org, two, request_id="c").reason, "REQUEST_ID_REUSED")
        self.calls.clear(org, one)
        self.assertFalse(self.calls.clear(org, one).cleared)
        for fields, reason in [({"pool": "q"}, "POOL_UNKNOWN"), ({"name": "another"}, "ACCOUNT_UNKNOWN")]:
            refused = refusal(self.calls.clear, org, **{"name": one, **fields})
            self.assertEqual((refused.code.name, refused.reason), ("NOT_FOUND", reason))
        for field, fields in [("account", {"name": "a b"}), ("account", {"name": ""}), ("request_id", {"request_id": ""})]:
            refused = refusal(self.calls.clear, org, **{"name": one, **fields})
            self.assertEqual((refused.code.name, refused.fields), ("INVALID_ARGUMENT", [field]))

    def test_the_command_clears_and_shows_the_account_masked(self):
        org, (one, _) = fresh("cli"), names(2)
        self.calls.configure(org, *keys(one))
        self.calls.report(org, one, 429, "quota")
        file = os.path.join(self.shared.data_dir, "..", "account")
        with open(file, "w", encoding="utf-8") as text:
            text.write(one)
        for said, where in [("cleared", ["--account-file", file]), ("nothing to clear", [one])]:
            answer = self.shared.run("pool", "clear", org, "p", *where, "--addr", f"http://{self.shared.grpc}")
            self.assertEqual(answer.returncode, 0, answer.stderr)
            self.assertTrue(answer.stdout.startswith(f"{said}  {org}  p\n"), answer.stdout)
            self.assertIn(masked(one), answer.stdout)
            self.assertNotIn(one, answer.stdout + answer.stderr)
        self.assertEqual(self.calls.pick(org).account, one)


class Llm(PoolNodeCase):
    """The profile `llm`."""

    def llm(self, *accounts, config="", **settings):
        node, calls = self.started(config)
        calls.configure("acme", *accounts, settings={"profile": LLM, **settings})
        return node, calls

    def test_pauses_double_from_a_second_to_an_hour_over_restarts_and_begin_again_with_a_success(self):
        """R-POOL-4"""
        one, _ = names(2)
        node, calls = self.llm(*keys(one))
        for round_ in range(14):
            expected = min(1000 << round_, HOUR_MS)
            calls.report("acme", one, 429)
            if round_ in [3, 11]:
                node.kill()
                calls = self.restarted(node)
            denied = calls.pick("acme")
            self.assertExhausted(denied)
            self.assertAlmostEqual(denied.retry_after_ms, expected, delta=8_000 if round_ in [3, 11] else 1_000)
            seen = calls.account("acme", one)
            self.assertIn((state(seen), route(seen)), [("RATE_LIMITED", "COOLDOWN")])
            # Connections do not live for hours.
            node.clock.step(expected / 1000)
            calls = Client(self.plane(node))
            picked = calls.pick("acme")
            self.assertEqual((picked.account, picked.last_resort), (one, False), "its time is over")
        calls.report("acme", one, 200, picked_at_ms=picked.picked_at_ms)
        calls.report("acme", one, 429)
        self.assertAlmostEqual(calls.pick("acme").retry_after_ms, 1_000, delta=1_000)

    def test_calls_that_were_under_way_together_are_one_refusal(self):
        """R-POOL-4"""
        one, two = names(2)
        _, calls = self.llm(*keys(one, two))
        picks = [calls.pick("acme") for _ in range(20)]
        for pick in picks:
            if pick.account == one:
                calls.report("acme", one, 429, picked_at_ms=pick.picked_at_ms)
        seen = calls.account("acme", one)
        self.assertLess(seen.route_until_ms - max(pick.picked_at_ms for pick in picks), 5_000)
        self.assertEqual(seen.failed, 10)

    def test_no_dead_key_is_used_while_another_only_waits(self):
        """R-POOL-4"""
        dead, waits, faults = [f"acct-secret-{number:04}" for number in range(3)]
        node, calls = self.llm(*keys(dead, waits))
        calls.report("acme", dead, 401)
        calls.report("acme", waits, 429, retry_after_ms=21_000)
        denied = calls.pick("acme")
        self.assertExhausted(denied)
        self.assertAlmostEqual(denied.retry_after_ms, 21_000, delta=2_000)
        self.assertEqual([state(calls.account("acme", name)) for name in [dead, waits]], ["REFUSED", "RATE_LIMITED"])
        calls.configure("acme", *keys(dead, waits, faults))
        calls.report("acme", faults, 503)
        picked = calls.pick("acme")
        self.assertEqual((picked.account, picked.last_resort), (faults, True), "one that only failed is the last resort")
        node.clock.step(22)
        self.assertEqual(calls.pick("acme").account, waits)

    def test_a_limit_per_minute_beside_the_one_per_day(self):
        """R-POOL-1, R-POOL-2"""
        one, two = names(2)
        node, calls = self.llm({"account": one}, {"account": two, "per_minute": 1}, daily_limit=6, safety_buffer=0, per_minute=3)
        self.assertEqual(sorted(filter(None, calls.picked("acme", 6))), [one] * 3 + [two])
        denied = calls.pick("acme")
        self.assertExhausted(denied)
        self.assertLessEqual(denied.retry_after_ms, 60_000)
        self.assertEqual(state(calls.account("acme", one)), "LIMIT_REACHED")
        self.assertEqual((calls.account("acme", one).per_minute, calls.account("acme", two).per_minute), (3, 1))
        node.kill()
        calls = self.restarted(node)
        self.assertExhausted(calls.pick("acme"))
        node.clock.step(60)
        self.assertEqual(sorted(filter(None, calls.picked("acme", 6))), [one] * 3 + [two])
        node.clock.step(60)
        self.assertEqual(set(filter(None, calls.picked("acme", 6))), {two}, "the day of the other is used up")
        self.assertEqual(len(told(node, ACCOUNT_EXHAUSTED)), 1, "the day is announced, and no minute")

    def test_settings_come_from_the_pool_its_name_and_the_node(self):
        config = (
            '[pools]\nper_minute = 100\nquota_texts = ["spent"]\n[pools.named.p]\nprofile = "llm"\ncooldown = "5s"\n'
        )
        node, calls = self.started(config)
        one, two = names(2)
        pool = calls.configure("acme", account(one, 10)).pool
        self.assertEqual((code_name(pool.in_force, "profile"), pool.in_force.per_minute), ("POOL_PROFILE_LLM", 100))
        self.assertEqual((pool.in_force.cooldown_ms, pool.in_force.quarantine_ms), (5_000, DAY_MS))
        self.assertEqual(outcome(calls.report("acme", one, 429, "spent")), "RATE_LIMITED", "a text of the other profile")
        settings = {"per_minute": 2, "quota_texts": ["Erschöpft"]}
        pool = calls.configure("acme", account(one, 10), settings=settings).pool
        self.assertEqual((pool.version, pool.settings.per_minute, list(pool.settings.quota_texts)), (2, 2, ["erschöpft"]))
        self.assertEqual(outcome(calls.report("acme", one, 429, "ERSCHÖPFT")), "QUOTA_EXHAUSTED")
        self.assertEqual(outcome(calls.report("acme", one, 429, "daily")), "RATE_LIMITED")
        pool = calls.configure("acme", account(one, 10), account(two, 10)).pool
        self.assertEqual((pool.version, pool.settings.per_minute), (3, 2), "settings that are not given stay")
        node.stop()
        calls = self.restarted(node, "")
        pool = calls.get("acme")
        self.assertEqual((code_name(pool.in_force, "profile"), pool.in_force.per_minute), ("POOL_PROFILE_RELAY", 2))
        pool = calls.configure("acme", account(one, 10), settings={}).pool
        self.assertFalse(pool.in_force.HasField("per_minute"), "none takes the place of all")
        refused = refusal(calls.configure, "acme", account(one, 1), settings={"cooldown_ms": 999})
        self.assertEqual((refused.code.name, refused.fields), ("INVALID_ARGUMENT", ["settings.cooldown_ms"]))


if __name__ == "__main__":
    unittest.main()
