"""What an upstream said: a quota text exhausts an account, anything else only moves its route."""

import unittest

from case import fresh
from node import eventually
from pools import QUOTA_TEXTS, Client, PoolNodeCase, SharedPoolCase, account, names, outcome, route, state


class Understood(SharedPoolCase):
    def test_every_quota_text_in_any_case_exhausts_an_account_whatever_the_status(self):
        """R-POOL-4"""
        org, (one, _) = fresh("texts"), names(2)
        for text in QUOTA_TEXTS:
            for said in [text, text.upper(), text.title(), f"<b>Error: {text.swapcase()}!</b> Try tomorrow"]:
                for status in [200, 403, 429, 500]:
                    # In the pool anew, it is as if nothing had been said.
                    self.calls.configure(org)
                    self.calls.configure(org, account(one, 10))
                    answer = self.calls.report(org, one, status, said)
                    self.assertEqual((outcome(answer), answer.known), ("QUOTA_EXHAUSTED", True), (status, said))
                    seen = self.calls.account(org, one)
                    found = (state(seen), seen.quota_errors, seen.failed, route(seen))
                    self.assertEqual(found, ("QUOTA_EXHAUSTED", 1, 0, "OK"), (status, said))
        self.assertExhausted(self.calls.pick(org))

    def test_faults_and_refusals_move_the_route_and_never_the_quota(self):
        """R-POOL-4"""
        rows = [
            (401, "REFUSED", "QUARANTINE"), (403, "REFUSED", "QUARANTINE"), (429, "REFUSED", "QUARANTINE"),
            (500, "UNAVAILABLE", "COOLDOWN"), (503, "UNAVAILABLE", "COOLDOWN"), (0, "UNAVAILABLE", "COOLDOWN"),
            (400, "FAILED", "OK"), (404, "FAILED", "OK"),
        ]
        texts = ["", "io error", "tls handshake failed", "timeout", "connection reset by peer", "Forbidden"]
        for status, taken_for, health in rows:
            with self.subTest(status):
                org, (one, _) = fresh("fault"), names(2)
                self.calls.configure(org, account(one, 10))
                for count, text in enumerate(texts, 1):
                    self.assertEqual(outcome(self.calls.report(org, one, status, text)), taken_for, text)
                    seen = self.calls.account(org, one)
                    found = (state(seen), seen.failed, seen.quota_errors, seen.used, seen.remaining, route(seen))
                    self.assertEqual(found, ("ACTIVE", count, 0, 0, 10, health), text)
                self.assertEqual(self.calls.pick(org).account, one)

    def test_no_answer_is_no_word_of_a_quota(self):
        """R-POOL-4: with status 0 the text is that of the caller's own transport"""
        org, (one, _) = fresh("transport"), names(2)
        self.calls.configure(org, account(one, 10))
        for text in ["bandwidth", "quota", "rate limit: io error"]:
            self.assertEqual(outcome(self.calls.report(org, one, 0, text)), "UNAVAILABLE")
        self.assertEqual((state(self.calls.account(org, one)), self.calls.account(org, one).quota_errors), ("ACTIVE", 0))

    def test_a_call_that_went_well_moves_nothing(self):
        org, (one, _) = fresh("well"), names(2)
        self.calls.configure(org, account(one, 10))
        for status in [200, 204, 302]:
            self.assertEqual(outcome(self.calls.report(org, one, status, "all is well")), "OK")
        seen = self.calls.account(org, one)
        self.assertEqual((state(seen), seen.failed, seen.quota_errors, route(seen)), ("ACTIVE", 0, 0, "OK"))

    def test_an_account_of_another_pool_is_not_known(self):
        org, (one, two) = fresh("pools"), names(2)
        self.calls.configure(org, account(one, 10), pool="first")
        self.calls.configure(org, account(two, 10), pool="second")
        answer = self.calls.report(org, one, 429, "quota", pool="second", bytes_up=5)
        self.assertEqual((outcome(answer), answer.known), ("QUOTA_EXHAUSTED", False))
        self.assertEqual(state(self.calls.account(org, one, "first")), "ACTIVE")
        self.assertEqual((self.calls.summary(org, "second").bytes, self.calls.summary(org, "first").bytes), (5, 0))


class Avoided(SharedPoolCase):
    def test_an_avoided_route_is_used_only_where_no_other_account_is_left(self):
        """R-POOL-4"""
        org, (one, two) = fresh("avoided"), names(2)
        self.calls.configure(org, account(one, 1000), account(two, 10))
        self.calls.report(org, one, 500)
        picks = [self.calls.pick(org) for _ in range(8)]
        self.assertEqual({(each.account, each.last_resort) for each in picks}, {(two, False)}, "whatever is left of the other")
        summary = self.calls.summary(org)
        self.assertEqual((summary.active, summary.avoided, summary.failed), (2, 1, 1))
        self.calls.report(org, two, 403)
        self.assertEqual(self.calls.summary(org).avoided, 2)
        picked = self.calls.pick(org)
        self.assertEqual((picked.account, picked.last_resort), (one, True), "one that failed before one that refused")
        self.calls.report(org, one, 200, "quota")
        picked = self.calls.pick(org)
        self.assertEqual((picked.account, picked.last_resort), (two, True), "an exhausted one is no choice at all")
        self.assertEqual((self.calls.summary(org).avoided, self.calls.summary(org).active), (1, 1))


class Configured(PoolNodeCase):
    def test_routes_are_avoided_for_a_minute_and_for_a_day(self):
        """R-POOL-4"""
        node, calls = self.started()
        org, (fault, refused) = "acme", names(2)
        calls.configure(org, account(fault, 1000), account(refused, 1000), account("spare-account", 2))
        before = node.clock.now_ms()
        calls.report(org, fault, 503)
        calls.report(org, refused, 401)
        calls.report(org, refused, 503)
        self.assertEqual(route(calls.account(org, refused)), "QUARANTINE", "a refusal lasts over a failure")
        self.assertAlmostEqual(calls.account(org, fault).route_until_ms, before + 60_000, delta=20_000)
        self.assertAlmostEqual(calls.account(org, refused).route_until_ms, before + 24 * 3_600_000, delta=20_000)
        self.assertEqual(calls.pick(org).account, "spare-account")
        node.clock.step(61)
        self.assertEqual((route(calls.account(org, fault)), calls.account(org, fault).route_until_ms), ("OK", 0))
        self.assertEqual({calls.pick(org).account for _ in range(4)}, {fault})
        self.assertEqual(route(calls.account(org, refused)), "QUARANTINE")
        node.clock.step(24 * 3600 - 60)
        # Connections do not live that long.
        calls = Client(self.plane(node))
        self.assertEqual(route(calls.account(org, refused)), "OK")
        self.assertIn(refused, calls.picked(org, 4))

    def test_a_cooldown_of_a_second_ends_by_itself(self):
        """R-POOL-4"""
        _, calls = self.started('[pools]\ncooldown = "1s"\n')
        one, two = names(2)
        calls.configure("acme", account(one, 10))
        calls.pick("acme")
        calls.configure("acme", account(one, 10), account(two, 1))
        calls.report("acme", one, 500)
        eventually(lambda: route(calls.account("acme", one)) == "OK", "the route is healthy again")
        picks = [calls.pick("acme") for _ in range(3)]
        self.assertEqual([(each.account, each.last_resort) for each in picks], [(two, False), (one, False), (one, False)])
        self.assertEqual(calls.account("acme", one).failed, 1, "that it failed is still counted")

    def test_an_operators_texts_stand_in_place_of_ours(self):
        """R-POOL-4"""
        node, calls = self.started('[pools]\nquota_texts = ["Erschöpft"]\nquarantine = "2h"\n')
        one, two = names(2)
        calls.configure("acme", account(one, 10), account(two, 10))
        self.assertEqual(outcome(calls.report("acme", one, 429, "quota")), "REFUSED")
        until = calls.account("acme", one).route_until_ms
        self.assertAlmostEqual(until, node.clock.now_ms() + 7_200_000, delta=60_000)
        self.assertEqual(outcome(calls.report("acme", two, 429, "Kontingent ERSCHÖPFT")), "QUOTA_EXHAUSTED")
        self.reloaded(node, calls, "")
        self.assertEqual(outcome(calls.report("acme", one, 429, "quota")), "QUOTA_EXHAUSTED")


if __name__ == "__main__":
    unittest.main()
