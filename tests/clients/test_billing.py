"""The balance gate: what the provider says, how long it is remembered, and how it is asked anew."""

import unittest
from concurrent.futures import ThreadPoolExecutor

from billing import CHECK, CUSTOMER, UPGRADE, BilledCase, SharedBilledCase, fault_for
from case import fresh
from node import eventually
from plane import code_name, limit

HOUR_MS = 3_600_000
PLAN = """
[defaults]
plan = "team"
[plans.team]
rate = { amount = 100000 }
"""


def names(answer):
    return [each.name for each in answer.limits]


def opened(answer):
    return [(each.gate, each.cause) for each in answer.fail_open]


class Decisions(SharedBilledCase):
    """What each state of a balance means for an execution."""

    CONFIG = PLAN

    def ask(self, prefix, **feature):
        org = fresh(prefix)
        self.standin.grant(org, **feature)
        return self.gate.Acquire(org=org)

    def assert_plainly_allowed(self, answer):
        self.assertEqual((answer.allowed, code_name(answer), answer.http_status_hint), (True, "ALLOWED", 200))
        self.assertEqual((answer.message, opened(answer)), ("", []))

    def assert_exhausted(self, answer):
        self.assertEqual(
            (answer.allowed, code_name(answer), answer.http_status_hint), (False, "BALANCE_EXHAUSTED", 402), answer.message
        )
        self.assertEqual(opened(answer), [])

    def test_a_metered_balance_allows_and_is_shown(self):
        answer = self.ask("metered", granted=10_000, usage=1)
        self.assert_plainly_allowed(answer)
        balance = limit(answer, "balance")
        self.assertEqual((balance.meter, balance.window), ("executions", "provider"))
        self.assertEqual((balance.amount, balance.used, balance.remaining), (10_000, 1, 9_999))
        self.assertFalse(balance.limiting or balance.exhausted or balance.unlimited)

    def test_a_balance_that_is_used_up_denies_and_names_plan_reset_and_a_way_out(self):
        """R-BAL-9"""
        now = self.admin.GetNode().now_ms
        resets = now + HOUR_MS
        denied = self.ask("exhausted", granted=100, usage=100, next_reset_at=resets)
        after = self.admin.GetNode().now_ms
        self.assert_exhausted(denied)
        for part in ["plan team", "used up", "includes 100", "resets at", UPGRADE]:
            self.assertIn(part, denied.message)
        self.assertTrue(resets - after <= denied.retry_after_ms <= resets - now, denied.retry_after_ms)
        balance = limit(denied, "balance")
        self.assertEqual((balance.amount, balance.used, balance.remaining), (100, 100, 0))
        self.assertEqual(balance.resets_at_ms, resets)
        self.assertTrue(balance.limiting and balance.exhausted)

    def test_unlimited_is_never_used_up(self):
        """R-BAL-4: the provider shows 0 remaining"""
        answer = self.ask("unlimited", unlimited=True)
        self.assert_plainly_allowed(answer)
        self.assertTrue(limit(answer, "balance").unlimited)

    def test_overage_allows_with_nothing_remaining(self):
        """R-BAL-4"""
        answer = self.ask("overage", granted=10, usage=12, overage_allowed=True)
        self.assert_plainly_allowed(answer)
        self.assertFalse(limit(answer, "balance").limiting)

    def test_a_cap_on_overage_denies(self):
        denied = self.ask("capped", granted=10, usage=15, overage_allowed=True, max_purchase=5)
        self.assert_exhausted(denied)
        self.assertIn("spending limit", denied.message)

    def test_a_cap_on_usage_denies_although_a_balance_remains(self):
        denied = self.ask("windowed", granted=100, usage=5, usage_limit=5)
        self.assert_exhausted(denied)
        self.assertIn("usage limit", denied.message)
        self.assertEqual(limit(denied, "balance").remaining, 95)

    def test_a_feature_that_is_on_allows(self):
        """No balance, and yet in the plan"""
        answer = self.ask("flag", boolean=True)
        self.assert_plainly_allowed(answer)
        self.assertNotIn("balance", names(answer))

    def test_what_is_not_in_the_plan_is_not_used_up(self):
        """R-BAL-4"""
        org = fresh("no-plan")
        self.standin.customers(**{org: {}})
        answer = self.gate.Acquire(org=org)
        self.assertTrue(answer.allowed)
        self.assertEqual((code_name(answer), opened(answer)), ("ALLOWED", [("balance", "no_entitlement")]))

    def test_an_unknown_customer_is_let_through_and_asked_again(self):
        """R-BAL-3"""
        org = fresh("stranger")
        for _ in range(2):
            answer = self.gate.Acquire(org=org)
            self.assertEqual((answer.allowed, opened(answer)), (True, [("balance", "unknown_customer")]))
        self.assertEqual([entry["status"] for entry in self.checks(org)], [404, 404], "not remembered")

    def test_no_answer_lets_through_says_why_and_is_not_remembered(self):
        """R-BAL-3, R-BAL-6: each with a cause of its own, over an org that the provider denies"""
        for fault, cause in [
            ("failed_open", "provider_failed_open"),
            ({"status": 500}, "provider_error"),
            ({"status": 401}, "provider_unauthorized"),
            ("feature_not_found", "unknown_feature"),
            ({"rate_limited": {"retry_after": "1"}}, "provider_rate_limited"),
            ({"status": 400}, "provider_refused"),
            ("garbage", "provider_bad_answer"),
            ("close", "provider_unreachable"),
            ("hang", "timeout"),
        ]:
            with self.subTest(cause):
                org = fresh("broken")
                self.standin.grant(org, granted=1, usage=1)
                self.standin.faults(fault_for(CHECK, fault))
                answer = self.gate.Acquire(org=org)
                self.assertEqual((answer.allowed, opened(answer)), (True, [("balance", cause)]))
                self.assert_exhausted(self.gate.Acquire(org=org))

    def test_a_peek_asks_and_a_denied_execution_is_not_counted_as_used(self):
        """R-PIPE-1, R-PIPE-7"""
        org = fresh("peek")
        self.standin.grant(org, granted=1, usage=1)
        self.assert_exhausted(self.gate.Acquire(org=org, mode="MODE_CHECK_ONLY"))
        status = self.gate.GetStatus(org=org)
        self.assertEqual((status.allowed, code_name(status)), (False, "BALANCE_EXHAUSTED"))
        shadow = self.gate.Acquire(org=org, mode="MODE_SHADOW")
        self.assertEqual((shadow.allowed, code_name(shadow)), (True, "BALANCE_EXHAUSTED"))
        self.assertEqual(self.gate.Resume(org=org, execution_id="e").continuations, 1, "R-BAL-8")
        self.assertEqual(len(self.checks(org)), 1)


class Strict(SharedBilledCase):
    """The same where nothing is let through that could not be evaluated."""

    CONFIG = PLAN
    SETTINGS = {"ON_NO_ENTITLEMENT": "deny", "ON_UNKNOWN_CUSTOMER": "deny", "ON_INDETERMINATE": "deny"}

    def test_what_is_not_in_the_plan_is_denied_where_that_is_asked_for(self):
        org = fresh("no-plan")
        self.standin.customers(**{org: {}})
        denied = self.gate.Acquire(org=org)
        self.assertEqual((denied.allowed, code_name(denied), denied.http_status_hint), (False, "BALANCE_EXHAUSTED", 402))
        self.assertIn("not included in plan team", denied.message)
        self.assertNotIn("used up", denied.message)

    def test_an_unknown_customer_is_denied_where_that_is_asked_for(self):
        denied = self.gate.Acquire(org=fresh("stranger"))
        self.assertEqual((denied.allowed, code_name(denied), denied.http_status_hint), (False, "INDETERMINATE", 503))
        self.assertIn("unknown_customer", denied.message)

    def test_no_answer_is_denied_where_that_is_asked_for(self):
        """R-PIPE-2"""
        org = fresh("broken")
        self.standin.grant(org, granted=10)
        self.standin.faults(fault_for(CHECK, {"status": 500}))
        denied = self.gate.Acquire(org=org)
        self.assertEqual((denied.allowed, code_name(denied)), (False, "INDETERMINATE"))
        self.assertIn("provider_error", denied.message)
        self.assertTrue(self.gate.Acquire(org=org).allowed)


class Memory(BilledCase):
    """R-BAL-1, R-BAL-2: how often the provider is asked. Time passes for the process."""

    def started(self, **settings):
        clock = self.clock(minute=10)
        # Nothing is asked in the background, so every question is one that an execution waited for.
        node = self.billed(clock=clock, config=PLAN, **{"DENY_REVALIDATE": "60s", **settings})
        return clock, self.plane(node)

    def test_both_outcomes_are_asked_for_once_a_minute(self):
        clock, plane = self.started()
        for org, usage in [("allowed", 0), ("denied", 1_000)]:
            with self.subTest(org):
                self.standin.grant(org, granted=1_000, usage=usage)
                asked = lambda: plane.gate.Acquire(org=org).allowed  # noqa: E731
                self.assertEqual([asked() for _ in range(10)], [usage == 0] * 10)
                clock.step(50)
                self.assertEqual((asked(), len(self.checks(org))), (usage == 0, 1), "50 s later it is still remembered")
                clock.step(12)
                self.assertEqual((asked(), len(self.checks(org))), (usage == 0, 2), "and after a minute it is not")

    def test_what_is_remembered_ends_with_the_providers_reset(self):
        clock, plane = self.started()
        self.standin.grant("acme", granted=10, usage=10, next_reset_at=clock.now_ms() + 20_000)
        denied = plane.gate.Acquire(org="acme")
        self.assertEqual((denied.allowed, code_name(denied)), (False, "BALANCE_EXHAUSTED"))
        self.standin.grant("acme", granted=10, usage=0, next_reset_at=clock.now_ms() + 3_600_000)
        clock.step(10)
        self.assertFalse(plane.gate.Acquire(org="acme").allowed)
        clock.step(11)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed, "no minute has passed, but the balance was reset")
        self.assertEqual(len(self.checks("acme")), 2)

    def test_an_allowance_ends_with_the_reset_too(self):
        clock, plane = self.started()
        self.standin.grant("acme", granted=10, next_reset_at=clock.now_ms() + 20_000)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        self.standin.grant("acme", granted=0, next_reset_at=clock.now_ms() + 3_600_000)
        clock.step(10)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        clock.step(11)
        self.assertFalse(plane.gate.Acquire(org="acme").allowed)
        self.assertEqual(len(self.checks("acme")), 2)

    def test_no_org_has_anothers_answer(self):
        _, plane = self.started()
        orgs = [f"org-{number}" for number in range(20)] + ["org", "org/1", "org-1/x"]
        granted = {org: number % 2 for number, org in enumerate(orgs)}
        for org, amount in granted.items():
            self.standin.grant(org, granted=amount * 100)
        for _ in range(2):
            items = [{"org": org} for org in orgs]
            answers = [result.decision.allowed for result in plane.gate.AcquireBatch(items=items).results]
            self.assertEqual(answers, [amount == 1 for amount in granted.values()])
        self.assertEqual({org: len(self.checks(org)) for org in orgs}, dict.fromkeys(orgs, 1))

    def test_callers_at_the_same_time_share_one_question(self):
        """R-BAL-2"""
        _, plane = self.started()
        self.standin.grant("acme", granted=1_000)
        self.standin.faults(fault_for(CHECK, {"stall": {"ms": 500}}))
        with ThreadPoolExecutor(32) as callers:
            answers = list(callers.map(lambda _: plane.gate.Acquire(org="acme"), range(32)))
        self.assertTrue(all(answer.allowed and not answer.fail_open for answer in answers))
        self.assertEqual(len(self.checks("acme")), 1)

    def test_an_allowance_is_not_remembered_beyond_what_it_left(self):
        """T5: the last known balance is counted down, and asked for when it is gone"""
        _, plane = self.started(EXPORT="off")
        self.standin.grant("acme", granted=3)
        self.assertEqual([plane.gate.Acquire(org="acme").allowed for _ in range(3)], [True] * 3)
        self.assertEqual(len(self.checks("acme")), 1)
        self.standin.grant("acme", granted=3, usage=3)
        self.assertFalse(plane.gate.Acquire(org="acme").allowed)
        self.assertEqual(len(self.checks("acme")), 2)


class JustPaid(SharedBilledCase):
    """R-BAL-2: an org that has just paid does not wait for what is remembered of it."""

    CONFIG = PLAN

    def denied(self, prefix):
        org = fresh(prefix)
        self.standin.grant(org, granted=1, usage=1)
        self.assertFalse(self.gate.Acquire(org=org).allowed)
        return org

    def test_a_denial_that_is_asked_for_is_checked_again_beside_the_callers(self):
        org = self.denied("asking")
        self.standin.grant(org, granted=10)
        eventually(lambda: self.gate.Acquire(org=org).allowed, "it is let through without being refreshed")

    def test_a_refresh_lets_through_at_the_next_call_past_the_providers_cache(self):
        self.standin.caching(True)
        self.addCleanup(self.standin.caching, False)
        org = self.denied("paid")
        self.standin.grant(org, granted=10, usage=1)
        answer = self.admin.RefreshBalance(org=org)
        self.assertEqual(answer.DESCRIPTOR.fields_by_name["verdict"].enum_type.values_by_number[answer.verdict].name,
                         "BALANCE_VERDICT_ALLOWED")
        self.assertEqual((answer.granted, answer.remaining, answer.granted_known, answer.remaining_known), (10, 9, True, True))
        asked = len(self.checks(org))
        self.assertTrue(self.gate.Acquire(org=org).allowed)
        self.assertEqual(len(self.checks(org)), asked, "the refresh is remembered")
        skipped = [entry["headers"].get("x-skip-cache") for entry in self.checks(org)]
        self.assertEqual(skipped[0], None, "only a refresh goes past the provider's cache")
        self.assertEqual(skipped[-1], "true")

    def test_a_refresh_says_why_not_and_what_could_not_be_said(self):
        org = self.denied("unpaid")
        answer = self.admin.RefreshBalance(org=org)
        self.assertEqual((answer.verdict, answer.reason, answer.cause), (2, "exhausted", ""))
        stranger = self.admin.RefreshBalance(org=fresh("stranger"))
        self.assertEqual((stranger.verdict, stranger.reason, stranger.cause), (0, "", "unknown_customer"))

    def test_a_refresh_before_the_payment_goes_on_asking_by_itself(self):
        org = self.denied("slow")
        self.assertEqual(self.admin.RefreshBalance(org=org).verdict, 2)
        polled = lambda: self.checks(org)[2:]  # noqa: E731
        eventually(polled, "a question that nobody waits for")
        self.assertFalse(polled()[0]["answer"]["allowed"])
        self.standin.grant(org, granted=10)
        eventually(lambda: polled()[-1]["status"] == 200 and polled()[-1]["answer"]["allowed"], "the payment is seen")
        self.assertEqual({entry["headers"].get("x-skip-cache") for entry in polled()}, {"true"})
        asked = len(self.checks(org))
        eventually(lambda: self.gate.Acquire(org=org).allowed, "what was seen is what counts", within=1.0)
        self.assertEqual(len(self.checks(org)), asked, "no execution had to wait for the provider")


class Exempt(BilledCase):
    """R-RATE-6: the backstop spares who pays, and asks for that only when it is reached."""

    def started(self):
        clock = self.clock(minute=10)
        node = self.billed(clock=clock, config="[rate]\namount = 2\n", RATE_EXEMPT="paying")
        return clock, self.plane(node)

    def customer(self, org, *plans):
        subscriptions = [{"plan_id": plan, "status": "active"} for plan in plans]
        self.standin.customers(**{org: {"features": {"executions": {"granted": 1_000}}, "subscriptions": subscriptions}})

    def asked(self, org):
        return len([entry for entry in self.standin.ledger(CUSTOMER) if entry["body"]["customer_id"] == org])

    def test_who_pays_is_asked_only_over_the_limit_and_once(self):
        _, plane = self.started()
        self.customer("pays", "free", "pro")
        self.customer("free", "free")
        self.customer("none")
        for org, spared in [("pays", True), ("free", False), ("none", False), ("stranger", False)]:
            with self.subTest(org):
                self.assertEqual([plane.gate.Acquire(org=org).allowed for _ in range(2)], [True, True])
                self.assertEqual(self.asked(org), 0, "under its limit nobody asks")
                answers = [plane.gate.Acquire(org=org) for _ in range(3)]
                self.assertEqual([code_name(answer) for answer in answers], ["ALLOWED" if spared else "RATE_LIMITED"] * 3)
                self.assertEqual(self.asked(org), 1)

    def test_an_outage_takes_away_no_exemption_and_gives_none(self):
        clock, plane = self.started()
        for org in ["known", "unknown"]:
            self.customer(org, "pro")
            self.assertEqual([plane.gate.Acquire(org=org).allowed for _ in range(2)], [True, True])
        self.assertTrue(plane.gate.Acquire(org="known").allowed)
        self.standin.close()
        clock.step(61)
        honoured = plane.gate.Acquire(org="known")
        self.assertEqual((honoured.allowed, code_name(honoured)), (True, "ALLOWED"), honoured.message)
        self.assertIn(("balance", "provider_unreachable"), opened(honoured), "the provider is down")
        denied = plane.gate.Acquire(org="unknown")
        self.assertEqual((denied.allowed, code_name(denied)), (False, "RATE_LIMITED"))


if __name__ == "__main__":
    unittest.main()
