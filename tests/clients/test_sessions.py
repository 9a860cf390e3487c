"""How sessions start and end, and what is seen of them: a start takes a slot and a first slice in one step."""

import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

from billing import UPGRADE
from case import fresh
from plane import Plane, code_name, limit, refusal
from sessions import DAY, NEXT_MONTH, TEN_MINUTES, USED_UP, WHO, Client, SharedSessionCase, action, state


class Starting(SharedSessionCase):
    CONFIG = TEN_MINUTES + '[plans.one]\ncompute = { calendar_month = "10m" }\nmax_sessions = 1\n' + "".join(
        f'[orgs."one/{number}"]\nplan = "one"\n' for number in range(30))

    def test_a_start_reserves_a_slot_and_a_first_slice(self):
        """R-SES-1"""
        org = "one/20"
        before = self.shared.clock.now_ms()
        started = self.calls.start(org, scope="workspace/w")
        self.assertTrue(started.allowed, started.message)
        self.assertEqual((started.first_slice_ms, started.heartbeat_interval_ms), (180_000, 30_000))
        self.assertAlmostEqual(started.expires_at_ms, before + 120_000, delta=2000)
        sessions, quota = limit(started, "sessions"), limit(started, "quota/compute")
        self.assertEqual((sessions.used, sessions.amount, sessions.remaining, sessions.window), (1, 1, 0, "concurrent"))
        self.assertEqual((quota.used, quota.reserved, quota.amount), (0, 180_000, 600_000))
        status = self.calls.status(org)
        self.assertEqual((status.sessions, status.sessions_max, status.used_ms, status.reserved_ms), (1, 1, 0, 180_000))
        session = self.calls.get(org)
        self.assertEqual((state(session), session.identity, session.scope), ("RUNNING", WHO, "workspace/w"))
        self.assertEqual((session.booked_ms, session.reserved_ms, session.stopping), (0, 180_000, False))
        self.assertEqual((session.decision_id, session.ends_at_ms), (started.decision_id, started.expires_at_ms))
        (kept,) = self.admin.GetOrg(org=org).sessions
        kept.remaining_ms = session.remaining_ms
        self.assertEqual(kept, session)

    def test_at_the_cap_the_next_start_is_denied_with_a_code_of_its_own(self):
        """R-SES-1"""
        org = "one/21"
        self.assertTrue(self.calls.start(org).allowed)
        denied = self.calls.start(org, "another")
        self.assertDenied(denied, "SESSION_LIMIT_REACHED", 429)
        self.assertEqual((denied.upgrade_url, limit(denied, "sessions").limiting), (UPGRADE, True))
        self.assertTrue(denied.message)
        status = self.calls.status(org)
        self.assertEqual((status.can_start, code_name(status), status.sessions), (False, "SESSION_LIMIT_REACHED", 1))
        self.assertEqual(refusal(self.calls.get, org, "another").reason, "SESSION_UNKNOWN")
        self.calls.end(org)
        self.assertTrue(self.calls.start(org, "another").allowed, "the slot is free again")

    def test_a_used_up_quota_is_denied_with_the_sentence_and_where_to_upgrade(self):
        """R-SES-1, R-SES-5"""
        org = fresh("used-up")
        self.calls.use(org, 600)
        denied = self.calls.start(org)
        self.assertDenied(denied, "QUOTA_EXCEEDED", 402)
        self.assertEqual((denied.message, denied.upgrade_url), (USED_UP, UPGRADE))
        self.assertTrue(limit(denied, "quota/compute").limiting)
        self.assertAlmostEqual(denied.retry_after_ms, NEXT_MONTH * 1000 - self.shared.clock.now_ms(), delta=2000)
        org_now = self.admin.GetOrg(org=org)
        self.assertEqual((list(org_now.reservations), list(org_now.sessions), org_now.admitted_total), ([], [], 0))

    def test_the_quota_is_exact_to_the_millisecond(self):
        """R-PIPE-3"""
        for used, allowed in [(599_999, True), (600_000, False), (600_001, False)]:
            org = fresh("exact")
            self.calls.use(org, used / 1000)
            self.assertEqual(self.calls.start(org).allowed, allowed, used)

    def test_the_cap_is_named_before_the_quota_and_explain_looks_at_both(self):
        """R-PIPE-1: sessions at once, then their quota"""
        org = "one/22"
        self.calls.start(org)
        self.calls.use(org, 600)
        self.assertDenied(self.calls.start(org, "another"), "SESSION_LIMIT_REACHED", 429)
        explained = self.calls.start(org, "another", explain=True)
        self.assertDenied(explained, "SESSION_LIMIT_REACHED", 429)
        self.assertTrue(limit(explained, "sessions").limiting and limit(explained, "quota/compute").limiting)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        other = Plane(cls.shared.grpc)
        cls.addClassCleanup(other.close)
        cls.pair = [cls.calls, Client(other)]

    def at_once(self, org):
        """Two planes start a session each at the same moment."""
        barrier = threading.Barrier(2)

        def start(calls, session):
            barrier.wait(10)
            return calls.start(org, session)

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(start, self.pair, ["a", "b"]))
        return sorted(answers, key=lambda answer: answer.allowed)

    def test_of_two_simultaneous_starts_for_one_slot_exactly_one_passes(self):
        """R-SES-1, R-PIPE-4"""
        for number in range(20):
            denied, allowed = self.at_once(f"one/{number}")
            self.assertTrue(allowed.allowed, allowed.message)
            self.assertDenied(denied, "SESSION_LIMIT_REACHED", 429)
            self.assertEqual(self.calls.status(f"one/{number}").sessions, 1)

    def test_of_two_simultaneous_starts_for_the_last_slice_exactly_one_passes(self):
        """R-SES-1, R-PIPE-4"""
        for _ in range(20):
            org = fresh("last-slice")
            self.calls.use(org, 500)
            denied, allowed = self.at_once(org)
            self.assertEqual((allowed.allowed, allowed.first_slice_ms), (True, 100_000), allowed.message)
            self.assertDenied(denied, "QUOTA_EXCEEDED", 402)
            self.assertEqual(self.calls.status(org).reserved_ms, 100_000)

    def test_starting_and_ending_at_a_used_up_quota_gets_nothing(self):
        """R-SES-1"""
        org = fresh("loop")
        self.calls.use(org, 600)
        for number in range(100):
            self.assertDenied(self.calls.start(org, f"s{number}"), "QUOTA_EXCEEDED", 402)
            unknown = refusal(self.calls.end, org, f"s{number}")
            self.assertEqual((unknown.code.name, unknown.reason), ("NOT_FOUND", "SESSION_UNKNOWN"))
            self.step(1)
        status = self.calls.status(org)
        self.assertEqual((status.used_ms, status.reserved_ms, status.sessions), (600_000, 0, 0))
        self.assertEqual(self.admin.GetOrg(org=org).rate.blocked, 100)

    def test_starting_and_ending_in_a_loop_pays_for_the_time_that_passes(self):
        """R-SES-1: loops get nothing for free"""
        org = fresh("loop")
        for number in range(5):
            self.assertTrue(self.calls.start(org, f"s{number}").allowed)
            self.step(20)
            session = self.calls.end(org, f"s{number}")
            self.assertAlmostEqual(session.booked_ms, 20_000, delta=1500)
        self.assertAlmostEqual(self.calls.used(org), 100_000, delta=5000)
        self.assertEqual(self.calls.status(org).reserved_ms, 0)
        for number in range(5, 10):
            self.assertTrue(self.calls.start(org, f"s{number}").allowed)
            self.step(100)
            self.calls.end(org, f"s{number}")
        self.assertGreaterEqual(self.calls.used(org), 600_000)
        self.assertDenied(self.calls.start(org, "s10"), "QUOTA_EXCEEDED", 402)

    def test_the_last_minute_of_a_quota_can_be_used(self):
        """R-SES-1: the slice is what is left where that is less"""
        org = fresh("last-minute")
        self.calls.use(org, 540)
        self.assertEqual(self.calls.start(org).first_slice_ms, 60_000)
        self.assertDenied(self.calls.start(org, "another"), "QUOTA_EXCEEDED", 402)
        beat = self.calls.beat(org, 59)
        self.assertEqual((action(beat), beat.used_ms, beat.reserved_ms), ("WARN", 599_000, 1000))
        beat = self.calls.beat(org, 60)
        self.assertEqual((action(beat), beat.used_ms, beat.reserved_ms), ("STOP", 600_000, 0))

    def test_no_compute_is_promised_twice(self):
        """R-SES-1"""
        org = fresh("promised")
        slices = [self.calls.start(org, f"s{number}").first_slice_ms for number in range(5)]
        self.assertEqual(slices, [180_000, 180_000, 180_000, 60_000, 0])
        self.assertEqual(self.calls.status(org).reserved_ms, 600_000)
        self.calls.end(org, "s1", incarnation="b1", total_seconds=0)
        self.assertEqual(self.calls.start(org, "s5").first_slice_ms, 180_000, "given back and taken again")

    def test_a_denied_start_is_told_when_a_slice_that_runs_out_makes_room(self):
        """R-PIPE-5, R-SES-3: of a slice that is not heard of, the time to its expiry is used"""
        org = fresh("wait")
        self.calls.use(org, 420)
        started = self.calls.start(org)
        self.assertEqual(started.first_slice_ms, 180_000)
        denied = self.calls.start(org, "another")
        self.assertDenied(denied, "QUOTA_EXCEEDED", 402)
        self.assertAlmostEqual(denied.retry_after_ms, started.expires_at_ms - self.shared.clock.now_ms(), delta=2000)
        self.step(denied.retry_after_ms / 1000 + 1)
        self.assertEqual(self.calls.start(org, "another").first_slice_ms, 60_000)

    def test_every_gate_of_an_acquire_is_asked(self):
        """R-PIPE-1"""
        org = fresh("gates")
        self.assertTrue(self.calls.start(org, "before").allowed)
        self.assertEqual(self.admin.GetOrg(org=org).rate.count, 1, "a start is a call")
        self.admin.Freeze(org=org, request_id="f", reason="unpaid")
        frozen = self.calls.start(org)
        self.assertDenied(frozen, "FROZEN", 403)
        self.assertIn("unpaid", frozen.message)
        self.assertEqual((self.calls.status(org).can_start, code_name(self.calls.status(org))), (False, "FROZEN"))
        self.assertEqual(self.calls.beat(org, 10, "before").booked_ms, 10_000, "what runs goes on and pays")
        self.admin.Unfreeze(org=org, request_id="u")
        self.budget.UpdateBudget(org=org, request_id="b", periods={"hourly": {"limit": 0}})
        self.assertDenied(self.calls.start(org), "BUDGET_EXCEEDED", 402)

    def test_where_executions_are_used_up_no_session_starts(self):
        """R-PIPE-1: session quota, budgets, then the balance"""
        included = '[plans.one]\nincluded = 1\n[orgs."included"]\nplan = "one"\n'
        counted = '[orgs."counted"]\nexecutions = { calendar_day = 1 }\n'
        node = self.node(config='[billing]\nprovider = "static"\non_no_entitlement = "allow"\n' + included + counted)
        plane = self.plane(node)
        calls = Client(plane)
        for org, code in [("included", "BALANCE_EXHAUSTED"), ("counted", "QUOTA_EXCEEDED")]:
            self.assertTrue(calls.start(org, "a").allowed, "a start is no execution")
            self.assertTrue(plane.gate.Acquire(org=org).allowed)
            self.assertDenied(calls.start(org, "b"), code, 402)
            self.assertFalse(calls.status(org).can_start)

    def test_a_retried_start_takes_one_slot(self):
        """R-PIPE-6"""
        org = fresh("retried")
        first = self.calls.start(org, request_id="same")
        self.calls.beat(org, 30)
        again = self.calls.start(org, request_id="same")
        self.assertEqual((first.replayed, again.replayed, again.allowed), (False, True, True))
        for field in ["decision_id", "first_slice_ms", "heartbeat_interval_ms"]:
            self.assertEqual(getattr(first, field), getattr(again, field), field)
        self.assertAlmostEqual(again.expires_at_ms, self.calls.get(org).ends_at_ms, delta=1000, msg="as it is now")
        status = self.calls.status(org)
        self.assertEqual((status.sessions, status.used_ms, status.reserved_ms), (1, 30_000, 150_000))
        for other in [{"identity": "vm 2"}, {"session": "other"}, {"scope": "workspace/w"}]:
            reused = refusal(self.calls.start, org, request_id="same", **other)
            self.assertEqual((reused.code.name, reused.reason), ("ALREADY_EXISTS", "REQUEST_ID_REUSED"))
        self.assertEqual(self.gate.Acquire(org=org, request_id="same").replayed, False, "ids are per rpc")

    def test_a_denied_start_is_evaluated_afresh(self):
        """R-PIPE-6: only what was admitted is remembered"""
        org = "one/23"
        self.calls.start(org)
        self.assertFalse(self.calls.start(org, "b", request_id="same").allowed)
        self.calls.end(org)
        again = self.calls.start(org, "b", request_id="same")
        self.assertEqual((again.allowed, again.replayed), (True, False))

    def test_the_id_of_a_session_that_runs_is_refused(self):
        org = fresh("exists")
        self.calls.start(org)
        exists = refusal(self.calls.start, org)
        self.assertEqual((exists.code.name, exists.reason), ("ALREADY_EXISTS", "SESSION_EXISTS"))
        self.calls.end(org)
        status = self.calls.status(org)
        self.assertEqual((status.sessions, status.reserved_ms), (0, 0), "a refused start takes nothing")
        self.assertTrue(self.calls.start(fresh("exists")).allowed, "another org's ids are its own")

    def test_the_slice_is_no_reservation_of_the_gates(self):
        """The session settles it, nobody else"""
        org = fresh("slice")
        hold = self.calls.start(org).decision_id
        for call, more in [(self.gate.Commit, {}), (self.gate.Release, {}), (self.gate.Extend, {"ttl_ms": 5000})]:
            for _ in range(2):
                unknown = refusal(call, org=org, reservation_id=hold, request_id=fresh(), **more)
                self.assertEqual((unknown.code.name, unknown.reason), ("NOT_FOUND", "RESERVATION_UNKNOWN"))
        self.assertEqual(self.calls.status(org).reserved_ms, 180_000)
        self.calls.end(org)
        self.assertEqual(refusal(self.gate.Commit, org=org, reservation_id=hold, request_id=fresh()).code.name, "NOT_FOUND")

    def test_a_quota_of_a_scope_holds_beside_that_of_the_org(self):
        """R-BUD-7, R-PIPE-4"""
        node = self.node(config=TEN_MINUTES + '[plans.ten.scopes]\n"workspace/*" = { compute = { calendar_month = "1m" } }\n')
        calls = Client(self.plane(node))
        self.assertEqual(calls.start("acme", scope="workspace/w").first_slice_ms, 60_000)
        self.assertEqual(code_name(calls.start("acme", "b", scope="workspace/w")), "QUOTA_EXCEEDED")
        self.assertEqual(calls.start("acme", "c", scope="workspace/v").first_slice_ms, 60_000)
        beat = calls.beat("acme", 60)
        self.assertEqual((action(beat), beat.used_ms, beat.reserved_ms, beat.quota_ms), ("STOP", 60_000, 60_000, 600_000))
        self.assertTrue(beat.message)
        self.assertFalse(calls.status("acme", "workspace/w").can_start)
        self.assertTrue(calls.status("acme").can_start)


class Ending(SharedSessionCase):
    def test_an_end_with_a_total_books_the_rest_and_gives_slice_and_slot_back(self):
        """R-SES-1, R-SES-3"""
        org = fresh("total")
        self.calls.start(org)
        self.calls.beat(org, 10)
        session = self.calls.end(org, incarnation="b1", total_seconds=25)
        self.assertEqual((state(session), session.booked_ms, session.reserved_ms), ("ENDED", 25_000, 0))
        self.assertAlmostEqual(session.ends_at_ms, self.shared.clock.now_ms(), delta=2000)
        status = self.calls.status(org)
        self.assertEqual((status.used_ms, status.reserved_ms, status.sessions), (25_000, 0, 0))
        self.assertEqual(list(self.admin.GetOrg(org=org).reservations), [])

    def test_an_end_without_a_total_books_the_time_since_the_last_heartbeat(self):
        """R-SES-1: nothing for free"""
        org = fresh("silent")
        self.calls.start(org)
        self.step(10)
        self.calls.beat(org, 8)
        self.step(20)
        self.assertAlmostEqual(self.calls.end(org).booked_ms, 28_000, delta=1000)
        self.assertAlmostEqual(self.calls.used(org), 28_000, delta=1000)

    def test_an_end_in_another_life_or_above_the_clamp_books_as_a_heartbeat_does(self):
        """R-SES-3"""
        org = fresh("as-beats")
        self.calls.start(org, "a")
        self.calls.beat(org, 10, "a")
        self.assertEqual(self.calls.end(org, "a", incarnation="b2", total_seconds=5).booked_ms, 15_000)
        self.calls.start(org, "b")
        session = self.calls.end(org, "b", incarnation="b1", total_seconds=310)
        self.assertEqual((session.booked_ms, session.disputed_ms), (300_000, 10_000))
        self.calls.start(org, "c")
        self.calls.beat(org, 10, "c")
        self.assertEqual(self.calls.end(org, "c", incarnation="b1", total_seconds=4).booked_ms, 10_000, "a late total")
        self.assertEqual(self.calls.used(org), 325_000)

    def test_a_retried_end_books_once(self):
        """R-PIPE-6"""
        org = fresh("retried")
        self.calls.start(org)
        fields = {"org": org, "session_id": "s", "identity": WHO, "request_id": "same"}
        self.step(5)
        first = self.session.EndSession(**fields)
        self.step(5)
        again = self.session.EndSession(**fields)
        self.assertEqual((first.replayed, again.replayed), (False, True))
        self.assertEqual(first.session, again.session)
        self.assertEqual(self.calls.used(org), first.session.booked_ms)
        reused = refusal(self.session.EndSession, **fields, incarnation="b1", total_seconds=9)
        self.assertEqual((reused.code.name, reused.reason), ("ALREADY_EXISTS", "REQUEST_ID_REUSED"))

    def test_a_second_end_and_late_heartbeats_change_only_what_really_ran(self):
        """A session that has ended stays so; what is heard of it later still books"""
        org = fresh("after")
        self.calls.start(org)
        ended = self.calls.end(org, incarnation="b1", total_seconds=20)
        self.step(60)
        again = self.calls.end(org)
        self.assertEqual((state(again), again.booked_ms, again.ends_at_ms), ("ENDED", 20_000, ended.ends_at_ms))
        late = self.calls.beat(org, 15)
        self.assertEqual((action(late), state(late), late.booked_ms), ("STOP", "ENDED", 0))
        late = self.calls.beat(org, 22)
        self.assertEqual((action(late), late.booked_ms, late.reserved_ms), ("STOP", 2000, 0))
        status = self.calls.status(org)
        self.assertEqual((status.used_ms, status.sessions), (22_000, 0))
        self.assertEqual(self.calls.get(org).ends_at_ms, ended.ends_at_ms)

    def test_sessions_are_listed_by_id_a_page_at_a_time(self):
        """R-OPS-2"""
        org = fresh("list")
        for number in range(12):
            self.calls.start(org, f"s{number:02}")
            self.calls.end(org, f"s{number:02}", incarnation="b1", total_seconds=0)
        for number in range(12, 15):
            self.calls.start(org, f"s{number:02}")

        def listed(**fields):
            seen, token = [], ""
            while True:
                page = self.session.ListSessions(org=org, page_token=token, **fields)
                seen += [session.session_id for session in page.sessions]
                token = page.next_page_token
                self.assertLess(len(seen), 100, "the list has no end")
                if not token:
                    return seen

        every = [f"s{number:02}" for number in range(15)]
        for size in [0, 1, 4, 15, 16]:
            self.assertEqual(listed(page_size=size, ended=True), every)
            self.assertEqual(listed(page_size=size), every[12:])
        self.assertEqual(list(self.session.ListSessions(org=fresh("nobody")).sessions), [])


class Looking(SharedSessionCase):
    """R-SES-5"""

    CONFIG = TEN_MINUTES + '[orgs."capped"]\nmax_sessions = 1\n[orgs."endless"]\nplan = "unlimited"\n'

    def test_many_orgs_are_answered_in_order_each_alone(self):
        fine, used_up = fresh("fine"), fresh("used-up")
        self.calls.use(used_up, 600)
        self.calls.start(fine)
        self.calls.beat(fine, 30)
        self.calls.start("capped")
        orgs = [fine, used_up, "capped", "a b", "endless", "../..", fine]
        results = self.session.BatchStatus(items=[{"org": org} for org in orgs]).results
        self.assertEqual([result.WhichOneof("result") for result in results],
                         ["status", "status", "status", "error", "status", "error", "status"])
        for result in (results[3], results[5]):
            self.assertEqual((result.error.grpc_code, result.error.reason), (3, "INVALID_FIELD"))
        for org, result in zip(orgs, results):
            if result.WhichOneof("result") == "status":
                self.assertEqual(result.status.org, org)
        said = [results[index].status for index in (0, 1, 2, 4)]
        self.assertEqual([(each.can_start, code_name(each)) for each in said],
                         [(True, "ALLOWED"), (False, "QUOTA_EXCEEDED"), (False, "SESSION_LIMIT_REACHED"), (True, "ALLOWED")])
        self.assertEqual([each.message == "" for each in said], [True, False, False, True])
        self.assertEqual([each.upgrade_url for each in said], ["", UPGRADE, UPGRADE, ""])
        self.assertEqual((said[1].message, said[1].used_ms, said[1].quota_ms), (USED_UP, 600_000, 600_000))
        self.assertEqual((said[0].used_ms, said[0].reserved_ms, said[0].plan), (30_000, 150_000, "ten"))
        self.assertEqual([(each.sessions, each.sessions_max, each.sessions_unlimited) for each in said],
                         [(1, 0, True), (0, 0, True), (1, 1, False), (0, 5, False)])
        self.assertEqual([each.unlimited for each in said], [False, False, False, True])
        self.assertGreater(said[1].retry_after_ms, DAY * 1000)

    def test_a_look_takes_nothing_and_leaves_no_trace(self):
        org = fresh("looked-at")
        items = [{"org": org}] * 1000
        results = self.session.BatchStatus(items=items).results
        self.assertEqual((len(results), all(result.status.can_start for result in results)), (1000, True))
        self.assertEqual(refusal(self.admin.GetOrg, org=org).reason, "ORG_UNKNOWN")

    def test_what_it_says_is_what_a_start_is_answered(self):
        """R-SES-2"""
        for used in [0, 599.999, 600, 601]:
            org = fresh("agree")
            self.calls.use(org, used)
            status = self.calls.status(org)
            started = self.calls.start(org)
            self.assertEqual((status.can_start, status.code, status.message), (started.allowed, started.code, started.message))


if __name__ == "__main__":
    unittest.main()
