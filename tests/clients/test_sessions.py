"""Sessions: a start takes a slot and a first slice, heartbeats pay, and what is not heard of expires."""

import datetime
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

import grpc

from billing import LONG_CONNECTIONS, TRACK, UPGRADE, BilledCase, billed
from case import NodeCase, SharedNodeCase, fresh
from node import eventually
from plane import Plane, code_name, limit, metric, refusal

WHO = "vm 1"
USED_UP = "Monthly quota exceeded — upgrade to continue."
DAY = 24 * 3600
# In the middle of a month, so that no quota begins anew during a test.
MID_MONTH = datetime.datetime(2025, 10, 10, 12, 10, tzinfo=datetime.timezone.utc).timestamp()
NEXT_MONTH = datetime.datetime(2025, 11, 1, tzinfo=datetime.timezone.utc).timestamp()

TEN_MINUTES = f"""
[billing]
upgrade_url = "{UPGRADE}"
[rate]
amount = 100000
[defaults]
plan = "ten"
[plans.ten]
compute = {{ calendar_month = "10m" }}
max_sessions = "unlimited"
"""


def action(beat):
    return code_name(beat, "action").removeprefix("SESSION_ACTION_")


def state(session):
    """Of a session, or of a heartbeat's answer."""
    return code_name(session, "state").removeprefix("SESSION_STATE_")


class Client:
    """The rpcs of one plane with what every call of a test says alike."""

    def __init__(self, plane):
        self.plane, self.sessions = plane, plane.session

    def start(self, org, session="s", **fields):
        fields = {"identity": WHO, "request_id": fresh(), **fields}
        return self.sessions.StartSession(org=org, session_id=session, **fields)

    def beat(self, org, seconds, session="s", **fields):
        fields = {"identity": WHO, "incarnation": "b1", **fields}
        return self.sessions.Heartbeat(org=org, session_id=session, total_seconds=seconds, **fields)

    def end(self, org, session="s", **fields):
        fields = {"identity": WHO, "request_id": fresh(), **fields}
        return self.sessions.EndSession(org=org, session_id=session, **fields).session

    def get(self, org, session="s"):
        return self.sessions.GetSession(org=org, session_id=session).session

    def status(self, org, scope=""):
        (result,) = self.sessions.BatchStatus(items=[{"org": org, "scope": scope}]).results
        return result.status

    def use(self, org, seconds, scope=""):
        """Compute of the org that no session has used."""
        usage = [{"meter": "compute", "amount": round(seconds * 1000)}]
        self.plane.gate.Record(org=org, scope=scope, usage=usage, request_id=fresh())

    def used(self, org):
        return self.status(org).used_ms


class SharedSessionCase(SharedNodeCase):
    """Time is moved, but never out of the month."""

    CONFIG = TEN_MINUTES
    CLOCK = {"at": MID_MONTH}
    ENVIRONMENT = LONG_CONNECTIONS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.calls = Client(cls.client)

    def step(self, seconds):
        self.shared.clock.step(seconds)

    def assertDenied(self, answer, code, hint):
        self.assertEqual((answer.allowed, code_name(answer), answer.http_status_hint), (False, code, hint), answer.message)
        self.assertEqual((answer.first_slice_ms, answer.expires_at_ms), (0, 0), "nothing was granted")


class SessionNodeCase(NodeCase):
    """Tests that bring their own nodes, and restart them or move time far."""

    def started(self, config=TEN_MINUTES, at=MID_MONTH, environment=None):
        node = self.node(config=config, clock=self.clock(at=at), environment={**LONG_CONNECTIONS, **(environment or {})})
        return node, Client(self.plane(node))

    def restarted(self, node):
        return Client(self.plane(node.start()))

    def reloaded(self, node, calls, config):
        generation = calls.plane.admin.GetNode().config_generation + 1
        node.write_config(config)
        node.reload()
        eventually(lambda: calls.plane.admin.GetNode().config_generation == generation, "the reload")


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
        self.assertEqual(self.admin.GetOrg(org=org).sessions, [session])

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
        for field in ["decision_id", "first_slice_ms", "heartbeat_interval_ms", "expires_at_ms"]:
            self.assertEqual(getattr(first, field), getattr(again, field), field)
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

    def test_a_session_id_is_used_once(self):
        """An id of a session that runs, or ended within a day, is refused"""
        org = fresh("exists")
        self.calls.start(org)
        for ended in [False, True]:
            if ended:
                self.calls.end(org)
            exists = refusal(self.calls.start, org)
            self.assertEqual((exists.code.name, exists.reason), ("ALREADY_EXISTS", "SESSION_EXISTS"))
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


class Heartbeats(SharedSessionCase):
    def begun(self, prefix, used=0):
        org = fresh(prefix)
        if used:
            self.calls.use(org, used)
        self.assertTrue(self.calls.start(org).allowed)
        return org

    def test_totals_that_grow_are_booked_by_what_they_grew(self):
        """R-SES-3"""
        org = self.begun("grow")
        beats = [self.calls.beat(org, total) for total in [0, 30, 30, 61, 61, 250]]
        self.assertEqual([beat.booked_ms for beat in beats], [0, 30_000, 0, 31_000, 0, 189_000])
        self.assertEqual([beat.used_ms for beat in beats], [0, 30_000, 30_000, 61_000, 61_000, 250_000])
        self.assertEqual([beat.reserved_ms for beat in beats], [180_000, 150_000, 150_000, 119_000, 119_000, 0])
        self.assertEqual({(action(beat), state(beat)) for beat in beats}, {("CONTINUE", "RUNNING")})
        session = self.calls.get(org)
        self.assertEqual((session.booked_ms, session.incarnation, session.disputed_ms), (250_000, "b1", 0))

    def test_a_late_heartbeat_books_nothing(self):
        """R-SES-3: within one incarnation a lower total is a heartbeat that came late"""
        org = self.begun("late")
        beats = [self.calls.beat(org, total) for total in [100, 40, 0, 101]]
        self.assertEqual([beat.booked_ms for beat in beats], [100_000, 0, 0, 1000])
        self.assertEqual(beats[-1].used_ms, 101_000)

    def test_heartbeats_in_any_order_book_the_highest_total(self):
        """R-SES-3, R-PIPE-4"""
        org = self.begun("order")
        totals = [(number * 37) % 128 + 1 for number in range(128)]
        with ThreadPoolExecutor(16) as pool:
            booked = sum(beat.booked_ms for beat in pool.map(lambda total: self.calls.beat(org, total), totals))
        self.assertEqual((booked, self.calls.used(org)), (128_000, 128_000))

    def test_a_new_incarnation_books_its_whole_total(self):
        """R-SES-3"""
        org = self.begun("incarnation")
        beats = [self.calls.beat(org, total, incarnation=life) for life, total in [
            ("b1", 100), ("b2", 20), ("b2", 25), ("b3", 200),
        ]]
        self.assertEqual([beat.booked_ms for beat in beats], [100_000, 20_000, 5000, 200_000])
        self.assertEqual((beats[-1].used_ms, self.calls.get(org).incarnation), (325_000, "b3"))

    def test_a_gap_above_the_clamp_books_the_clamp_and_disputes_the_rest(self):
        """R-SES-3: it is not thrown away"""
        org = self.begun("gap")
        beat = self.calls.beat(org, 300)
        self.assertEqual((beat.booked_ms, beat.disputed_ms), (300_000, 0), "exactly the clamp is believed")
        beat = self.calls.beat(org, 601)
        self.assertEqual((beat.booked_ms, beat.disputed_ms, beat.used_ms), (300_000, 1000, 600_000))
        beat = self.calls.beat(org, 1601)
        self.assertEqual((beat.booked_ms, beat.disputed_ms), (300_000, 700_000))
        beat = self.calls.beat(org, 1611)
        self.assertEqual((beat.booked_ms, beat.disputed_ms), (10_000, 0), "what was disputed is not reported again")
        self.assertEqual((self.calls.get(org).disputed_ms, self.calls.get(org).booked_ms), (701_000, 910_000))
        disputed = [(each.source, each.meter, each.amount) for each in self.admin.GetOrg(org=org).disputed]
        self.assertEqual(disputed, [("s", "compute", 701_000)])
        self.calls.start(fresh("other"))
        beat = self.calls.beat(org, 2**62 // 10**6, incarnation="b2")
        self.assertEqual((beat.booked_ms, beat.disputed_ms), (300_000, 2**62 // 10**6 * 1000 - 300_000))

    def test_disputes_of_two_sessions_are_kept_apart(self):
        """R-SES-3"""
        org = self.begun("gaps")
        self.calls.start(org, "t")
        self.calls.beat(org, 301)
        self.calls.beat(org, 302, "t")
        disputed = {each.source: each.amount for each in self.admin.GetOrg(org=org).disputed}
        self.assertEqual(disputed, {"s": 1000, "t": 2000})

    def test_where_no_more_disputes_can_be_kept_what_ran_is_booked_all_the_same(self):
        """R-PIPE-3: what really happened always books"""
        org = self.begun("full")
        for number in range(1, 1001):
            self.gate.ReportCumulative(
                org=org, source="s", incarnation="1", meter="spend", total=10**16 + number, request_id=fresh())
        self.assertEqual(len(self.admin.GetOrg(org=org).disputed), 1000)
        beat = self.calls.beat(org, 301)
        self.assertEqual((beat.booked_ms, beat.disputed_ms, beat.used_ms), (300_000, 1000, 300_000))
        self.assertEqual(state(self.calls.end(org, incarnation="b1", total_seconds=602)), "ENDED")

    def test_inside_its_first_slice_a_session_is_not_stopped(self):
        """R-SES-1: the slice replaces a start-up guard"""
        org = self.begun("slice", used=420)
        beats = [self.calls.beat(org, total) for total in [1, 60, 150, 179]]
        self.assertNotIn("STOP", [action(beat) for beat in beats])
        self.assertEqual((beats[-1].used_ms, beats[-1].reserved_ms), (599_000, 1000))
        last = self.calls.beat(org, 180)
        self.assertEqual((action(last), last.used_ms, last.reserved_ms), ("STOP", 600_000, 0))

    def test_not_even_where_others_have_used_the_quota_up(self):
        """R-SES-1"""
        org = self.begun("others")
        self.calls.use(org, 700)
        self.assertEqual(action(self.calls.beat(org, 179)), "WARN")
        self.assertEqual(self.calls.get(org).stopping, False)
        beat = self.calls.beat(org, 180)
        self.assertEqual((action(beat), beat.used_ms, beat.quota_ms), ("STOP", 880_000, 600_000))

    def test_a_stop_gives_a_grace_that_runs_down(self):
        """R-SES-3"""
        org = self.begun("grace", used=420)
        first = self.calls.beat(org, 180)
        self.assertEqual((action(first), first.grace_ms, state(first)), ("STOP", 30_000, "RUNNING"))
        self.assertEqual((first.message, first.upgrade_url), (USED_UP, UPGRADE))
        self.assertTrue(self.calls.get(org).stopping)
        self.step(10)
        later = self.calls.beat(org, 190)
        self.assertEqual((action(later), later.booked_ms), ("STOP", 10_000), "what really ran is booked past the quota")
        self.assertAlmostEqual(later.grace_ms, 20_000, delta=1500)
        self.step(21)
        last = self.calls.beat(org, 211)
        self.assertEqual((action(last), last.grace_ms, last.used_ms), ("STOP", 0, 631_000))
        self.assertEqual(state(self.calls.end(org, incarnation="b1", total_seconds=212)), "ENDED")
        self.assertEqual(self.calls.used(org), 632_000)

    def test_it_warns_at_80_and_at_95_percent(self):
        """R-SES-3"""
        org = self.begun("warn")
        for total, said, percent in [
            (180, "CONTINUE", 0), (479, "CONTINUE", 0), (480, "WARN", 80), (569, "WARN", 80), (570, "WARN", 95),
            (599, "WARN", 95), (600, "STOP", 0),
        ]:
            beat = self.calls.beat(org, total)
            self.assertEqual((action(beat), beat.warn_percent), (said, percent), f"{total} of 600 s")
            self.assertEqual(bool(beat.message), said != "CONTINUE")
            self.assertEqual(beat.upgrade_url, "" if said == "CONTINUE" else UPGRADE)

    def test_another_identity_is_refused_and_books_nothing(self):
        """R-SES-4"""
        org = self.begun("identity")
        self.calls.beat(org, 10)
        self.step(5)
        before = self.calls.get(org)
        for call in [
            lambda: self.calls.beat(org, 100, identity="vm 2"),
            lambda: self.calls.beat(org, 100, identity="VM 1"),
            lambda: self.calls.end(org, identity="vm 2"),
            lambda: self.calls.end(org, identity="vm 2", incarnation="b1", total_seconds=100),
        ]:
            other = refusal(call)
            self.assertEqual((other.code.name, other.reason), ("PERMISSION_DENIED", "OTHER_IDENTITY"))
        self.assertEqual(self.calls.get(org), before, "not even heard of")
        self.assertEqual(self.calls.used(org), 10_000)
        self.calls.end(org)
        self.assertEqual(refusal(self.calls.beat, org, 100, identity="vm 2").reason, "OTHER_IDENTITY")

    def test_an_unknown_session_is_not_found(self):
        org = self.begun("unknown")
        for call in [
            lambda: self.calls.beat(org, 1, "other"), lambda: self.calls.end(org, "other"), lambda: self.calls.get(org, "other"),
            lambda: self.calls.get(fresh("nobody")),
        ]:
            unknown = refusal(call)
            self.assertEqual((unknown.code.name, unknown.reason), ("NOT_FOUND", "SESSION_UNKNOWN"))

    def test_a_retried_heartbeat_is_answered_alike_and_booked_once(self):
        """R-PIPE-6"""
        org = self.begun("retried")
        first = self.calls.beat(org, 400, request_id="same")
        self.calls.beat(org, 410)
        again = self.calls.beat(org, 400, request_id="same")
        self.assertEqual((first.replayed, again.replayed), (False, True))
        self.assertEqual((again.booked_ms, again.disputed_ms), (first.booked_ms, first.disputed_ms))
        self.assertEqual((again.used_ms, self.calls.get(org).disputed_ms), (310_000, 100_000))
        for other in [{"seconds": 401}, {"seconds": 400, "incarnation": "b2"}, {"seconds": 400, "session": "t"}]:
            reused = refusal(self.calls.beat, org, request_id="same", **other)
            self.assertEqual((reused.code.name, reused.reason), ("ALREADY_EXISTS", "REQUEST_ID_REUSED"))

    def test_every_heartbeat_moves_the_expiry(self):
        """R-SES-3"""
        org = self.begun("moves")
        for total in [100, 200, 300]:
            self.step(100)
            beat = self.calls.beat(org, total)
            self.assertEqual(state(beat), "RUNNING")
            self.assertAlmostEqual(beat.expires_at_ms, self.shared.clock.now_ms() + 120_000, delta=2000)
            self.assertEqual(self.calls.get(org).ends_at_ms, beat.expires_at_ms)

    def test_start_heartbeat_and_status_read_the_same_number(self):
        """R-SES-2"""
        org = self.begun("same")
        self.calls.use(org, 7, scope="workspace/w")
        for total in [50, 200]:
            beat = self.calls.beat(org, total)
            started = self.calls.start(org, f"other-{total}")
            status = self.calls.status(org)
            used = 7000 + total * 1000
            self.assertEqual(self.calls.get(org).booked_ms, total * 1000)
            self.assertEqual((beat.used_ms, status.used_ms, limit(started, "quota/compute").used), (used, used, used))
            self.assertEqual(limit(self.gate.GetStatus(org=org), "quota/compute").used, used)
            self.assertEqual(limit(self.admin.GetOrg(org=org), "quota/compute").used, used)
            again = self.calls.beat(org, total)
            reserved = limit(started, "quota/compute").reserved
            self.assertEqual((again.reserved_ms, status.reserved_ms), (reserved, reserved))


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


class Expiry(SessionNodeCase):
    """R-SES-3: three missed heartbeats and a grace expire a session."""

    # Short enough to pass while a node is down: more than a minute would not be believed.
    SHORT = TEN_MINUTES + '[sessions]\nfirst_slice = "15s"\nheartbeat = "5s"\nmissed = 3\ngrace = "5s"\n'

    def expired(self, node):
        return metric(node.http, "tollgate_sessions_total", outcome="expired")

    def test_a_session_that_is_not_heard_of_gives_its_slot_back_and_has_paid_for_the_silence(self):
        capped = TEN_MINUTES.replace('max_sessions = "unlimited"', "max_sessions = 1")
        node, calls = self.started(config=capped)
        started = calls.start("acme")
        node.clock.step(115)
        self.assertEqual((state(calls.get("acme")), calls.used("acme")), ("RUNNING", 0))
        self.assertEqual(code_name(calls.start("acme", "another")), "SESSION_LIMIT_REACHED")
        node.clock.step(6)
        status = calls.status("acme")
        self.assertEqual((status.sessions, status.used_ms, status.reserved_ms), (0, 120_000, 0))
        session = calls.get("acme")
        self.assertEqual((state(session), session.booked_ms, session.ends_at_ms), ("EXPIRED", 120_000, started.expires_at_ms))
        self.assertTrue(calls.start("acme", "another").allowed)
        eventually(lambda: self.expired(node) == 1, "the metric")

    def test_no_more_is_paid_for_silence_than_is_left_of_the_slice(self):
        for slice_seconds, total, used in [(180, 0, 120), (60, 0, 60), (180, 100, 180), (180, 170, 180), (180, 200, 200), (60, 5, 60)]:
            with self.subTest(slice=slice_seconds, total=total):
                node, calls = self.started(config=TEN_MINUTES + f'[sessions]\nfirst_slice = "{slice_seconds}s"\n')
                calls.start("acme")
                if total:
                    calls.beat("acme", total)
                node.clock.step(121)
                self.assertEqual((calls.used("acme"), calls.get("acme").booked_ms), (used * 1000, used * 1000))
                self.assertEqual(calls.status("acme").reserved_ms, 0)
                node.close()

    def test_it_happens_without_any_call(self):
        node, calls = self.started()
        calls.start("acme")
        node.clock.step(121)
        eventually(lambda: self.expired(node) == 1, "the sweep")
        self.assertEqual(node.stop(), 0)
        rows = [row for row in self.exported(node) if row.get("kind") in ("session", "reservation")]
        self.assertEqual([(row["kind"], row["value"].get("state")) for row in rows], [("session", "expired")])

    def test_it_happens_while_the_node_is_down(self):
        for end in ["stop", "kill"]:
            with self.subTest(end):
                node, calls = self.started(config=self.SHORT)
                expires = calls.start("acme").expires_at_ms
                calls.start("acme", "b")
                calls.beat("acme", 4, "b")
                getattr(node, end)()
                node.clock.step(30)
                calls = self.restarted(node)
                session = calls.get("acme")
                self.assertEqual((state(session), session.booked_ms, session.ends_at_ms), ("EXPIRED", 15_000, expires))
                self.assertEqual((state(calls.get("acme", "b")), calls.get("acme", "b").booked_ms), ("EXPIRED", 15_000))
                status = calls.status("acme")
                self.assertEqual((status.used_ms, status.reserved_ms, status.sessions), (30_000, 0, 0))
                self.assertEqual(self.expired(node), 2)
                node.close()

    def test_silence_counts_in_the_month_in_which_it_expired(self):
        """R-SES-7: also where that is found out in the next one"""
        for down in [False, True]:
            with self.subTest(down=down):
                node, calls = self.started(config=self.SHORT, at=NEXT_MONTH - 25)
                calls.use("acme", 5)
                calls.start("acme")
                if down:
                    node.kill()
                node.clock.step(35)
                calls = self.restarted(node) if down else calls
                self.assertEqual((calls.get("acme").booked_ms, calls.used("acme")), (15_000, 0))
                (ledger,) = calls.plane.admin.GetOrg(org="acme").ledgers
                self.assertEqual([hour.total for hour in ledger.hours], [20_000])
                node.close()

    def test_it_is_found_by_the_sweep_after_a_restart(self):
        node, calls = self.started(config=self.SHORT)
        calls.start("acme")
        self.assertEqual(node.stop(), 0)
        node.clock.step(30)
        node.start()
        eventually(lambda: self.expired(node) == 1, "the sweep, with no call")

    def test_a_late_heartbeat_is_told_to_stop_and_books_only_what_is_not_booked_yet(self):
        for heard in [True, False]:
            node, calls = self.started()
            calls.start("acme")
            if heard:
                calls.beat("acme", 10)
            covered = 130 if heard else 120
            node.clock.step(125)
            self.assertEqual(calls.used("acme"), covered * 1000)
            late = calls.beat("acme", covered - 20)
            self.assertEqual((action(late), state(late), late.booked_ms), ("STOP", "EXPIRED", 0))
            late = calls.beat("acme", covered + 3)
            self.assertEqual((action(late), late.booked_ms, late.used_ms), ("STOP", 3000, (covered + 3) * 1000))
            self.assertEqual(calls.status("acme").sessions, 0, "it does not come back")
            ended = calls.end("acme", incarnation="b1", total_seconds=covered + 5)
            self.assertEqual((state(ended), ended.booked_ms), ("EXPIRED", (covered + 5) * 1000))
            self.assertEqual(calls.end("acme").booked_ms, (covered + 5) * 1000, "silence after the expiry is nobody's")
            node.close()

    def test_a_session_that_ended_is_forgotten_after_a_day(self):
        node, calls = self.started()
        calls.start("acme")
        calls.end("acme", incarnation="b1", total_seconds=9)
        node.clock.step(DAY / 2)
        self.assertEqual(state(calls.get("acme")), "ENDED")
        node.clock.step(DAY / 2 + 10)
        calls = Client(self.plane(node))

        def forgotten():
            try:
                return refusal(calls.get, "acme").reason == "SESSION_UNKNOWN"
            except AssertionError:
                return False

        eventually(forgotten, "the sweep")
        self.assertTrue(calls.start("acme").allowed, "its id is free again")
        self.assertEqual(calls.used("acme"), 9000, "what it used is not forgotten")


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


class Kept(SessionNodeCase):
    """Durability contract: what a session was answered survives a crash."""

    def fill(self, calls):
        calls.use("acme", 40)
        calls.start("acme", "ended")
        calls.end("acme", "ended", incarnation="b1", total_seconds=20)
        calls.start("acme", request_id="start")
        calls.beat("acme", 350, request_id="beat")
        calls.start("acme", "second")
        calls.beat("acme", 30, "second")
        calls.end("acme", "second", incarnation="b1", total_seconds=31, request_id="end")
        calls.start("acme", "third")

    def check(self, calls, before):
        self.assertEqual({each.session_id: each for each in calls.plane.admin.GetOrg(org="acme").sessions}, before)
        status = calls.status("acme")
        self.assertEqual((status.used_ms, status.reserved_ms, status.sessions), (391_000, 180_000, 2))
        self.assertTrue(calls.start("acme", request_id="start").replayed)
        again = calls.beat("acme", 350, request_id="beat")
        self.assertEqual((again.replayed, again.booked_ms, again.disputed_ms, again.used_ms), (True, 300_000, 50_000, 391_000))
        beat = calls.beat("acme", 351)
        self.assertEqual((beat.booked_ms, beat.used_ms), (1000, 392_000))
        fields = {"org": "acme", "session_id": "second", "identity": WHO, "incarnation": "b1", "total_seconds": 31}
        self.assertTrue(calls.sessions.EndSession(**fields, request_id="end").replayed)
        self.assertEqual([each.amount for each in calls.plane.admin.GetOrg(org="acme").disputed], [50_000])
        self.assertEqual(refusal(calls.beat, "acme", 400, identity="vm 2").reason, "OTHER_IDENTITY")
        self.assertEqual(refusal(calls.start, "acme", "ended").reason, "SESSION_EXISTS")
        self.assertEqual(calls.start("acme", "fourth").first_slice_ms, 28_000)
        self.assertEqual(code_name(calls.start("acme", "fifth")), "QUOTA_EXCEEDED")

    def test_sessions_are_as_they_were_after_sigterm_and_after_sigkill(self):
        for end in ["stop", "kill"]:
            with self.subTest(end):
                node, calls = self.started()
                self.fill(calls)
                before = {each.session_id: each for each in calls.plane.admin.GetOrg(org="acme").sessions}
                getattr(node, end)()
                self.check(self.restarted(node), before)
                node.close()

    def test_a_stop_goes_on_over_a_restart(self):
        """R-SES-3: the grace runs down"""
        node, calls = self.started()
        calls.use("acme", 420)
        calls.start("acme")
        self.assertEqual(calls.beat("acme", 180).grace_ms, 30_000)
        node.kill()
        node.clock.step(10)
        calls = self.restarted(node)
        beat = calls.beat("acme", 181)
        self.assertEqual(action(beat), "STOP")
        self.assertLessEqual(beat.grace_ms, 20_000)

    def test_a_denied_start_is_told_the_same_wait_before_and_after_a_restart(self):
        """R-PIPE-5: retry_after is when it fits, and a slice that runs out unheard is used, not given back"""
        node, calls = self.started(config=TEN_MINUTES + '[sessions]\nfirst_slice = "60s"\n')
        calls.use("acme", 540)
        calls.start("acme")
        wait = calls.start("acme", "b").retry_after_ms
        self.assertGreater(wait, DAY * 1000, "not before the next month")
        self.assertEqual(node.stop(), 0)
        calls = self.restarted(node)
        self.assertAlmostEqual(calls.start("acme", "b").retry_after_ms, wait, delta=30_000)

    def test_heartbeats_and_ends_are_answered_while_the_node_drains(self):
        """R-OPS-4: what runs is settled, nothing new begins"""
        node, calls = self.started(environment={"TOLLGATE__BOUNDS__DRAIN_NOTICE_MS": "3000"})
        calls.start("acme")
        self.assertTrue(calls.start("acme", "b").allowed)
        node.process.terminate()

        def refused():
            try:
                calls.start("acme", fresh("new"))
            except grpc.RpcError as error:
                return error.code().name == "UNAVAILABLE"
            return False

        eventually(refused, "no new session")
        self.assertEqual(calls.beat("acme", 10).booked_ms, 10_000)
        self.assertEqual(state(calls.end("acme", incarnation="b1", total_seconds=11)), "ENDED")
        self.assertEqual(node.stop(), 0)
        self.assertEqual(self.restarted(node).get("acme").booked_ms, 11_000)

    def test_a_purge_forgets_sessions(self):
        node, calls = self.started()
        calls.start("acme")
        calls.beat("acme", 400)
        calls.plane.admin.PurgeOrg(org="acme", request_id="p")
        for _ in range(2):
            self.assertEqual(refusal(calls.get, "acme").reason, "SESSION_UNKNOWN")
            self.assertEqual(refusal(calls.beat, "acme", 410).reason, "SESSION_UNKNOWN")
            status = calls.status("acme")
            self.assertEqual((status.sessions, status.used_ms, status.reserved_ms), (0, 0, 0))
            self.assertEqual(refusal(calls.plane.admin.GetOrg, org="acme").reason, "ORG_UNKNOWN")
            node.kill()
            calls = self.restarted(node)
        self.assertTrue(calls.start("acme").allowed)


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
        self.reloaded(node, calls, '[plans.trial]\ntrial = true\ncompute = { calendar_month = "6h" }\n[orgs."acme"]\nplan = "trial"\n')
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


class Unreachable:
    """A provider that nobody ever reaches: what is to be reported waits, and can be looked at."""

    base_url = "http://127.0.0.1:9"


class Exported(SessionNodeCase):
    """R-BAL-7: compute is reported as sessions book it, and nothing of it is lost."""

    FEATURES = '[billing.features]\ncompute = "compute_ms"\ntrial_ended = "trial_ended"\n[orgs."new"]\nplan = "trial"\n'

    def unreachable(self, **bounds):
        environment = billed(self, Unreachable) | {f"TOLLGATE__BOUNDS__{name}": str(value) for name, value in bounds.items()}
        return self.started(config=self.FEATURES, environment=environment)

    def waiting(self, calls, meter, org="acme"):
        exports = calls.plane.admin.ListExports(org=org, page_size=1000).exports
        return sorted(row.amount for row in exports if row.meter == meter)

    def test_what_sessions_book_is_what_is_reported(self):
        node, calls = self.unreachable()
        calls.start("acme", "a")
        calls.start("acme", "b")
        for total in [30, 60, 60, 400]:
            calls.beat("acme", total, "a")
            calls.beat("acme", total, "b")
        calls.beat("acme", 30, "a", incarnation="b2")
        calls.end("acme", "a", incarnation="b2", total_seconds=31)
        node.kill()
        calls = self.restarted(node)
        expected = sorted([30_000, 30_000, 300_000] * 2 + [30_000, 1000])
        self.assertEqual(self.waiting(calls, "compute"), expected)
        self.assertEqual(calls.used("acme"), sum(expected))
        calls.start("acme", "c")
        node.clock.step(121)
        self.assertEqual(calls.used("acme"), sum(expected) + 120_000)
        self.assertEqual(self.waiting(calls, "compute"), sorted([*expected, 120_000]), "and what an expiry booked")

    def test_two_sessions_of_one_name_are_reported_both(self):
        """An ended session may have made room, and its name is free again"""
        node, calls = self.unreachable(sessions_per_org=1)
        for session in ["a", "b", "a"]:
            self.assertTrue(calls.start("acme", session).allowed)
            calls.end("acme", session, incarnation="b1", total_seconds=30)
        self.assertEqual(calls.used("acme"), 90_000)
        self.assertEqual(self.waiting(calls, "compute"), [30_000] * 3)

    def test_the_end_of_a_trial_is_one_row(self):
        """R-SES-7"""
        node, calls = self.unreachable()
        calls.use("new", 5 * 3600 - 180)
        calls.start("new")
        calls.beat("new", 179)
        self.assertEqual(self.waiting(calls, "trial_ended", "new"), [])
        for total in [180, 181, 182]:
            calls.beat("new", total)
        node.kill()
        calls = self.restarted(node)
        calls.beat("new", 190)
        calls.end("new", incarnation="b1", total_seconds=191)
        calls.start("new", "b")
        self.assertEqual(self.waiting(calls, "trial_ended", "new"), [1])


class ExportedTrial(BilledCase):
    def test_the_end_of_a_trial_is_exported_as_one_row(self):
        """R-SES-7, R-BAL-7"""
        features = {"executions": {"granted": 10**6}, "trial_ended": {"granted": 10**6}, "compute_ms": {"granted": 10**12}}
        self.standin.customers(acme={"features": features})
        config = '[billing.features]\ntrial_ended = "trial_ended"\n[orgs."acme"]\nplan = "trial"\n'
        node = self.billed(clock=self.clock(at=MID_MONTH), config=config)
        calls = Client(self.plane(node))
        calls.use("acme", 5 * 3600 - 180)
        calls.start("acme")
        for total in [180, 181, 182]:
            calls.beat("acme", total)

        def told():
            return [entry["body"]["value"] for entry in self.standin.ledger(TRACK) if entry["body"]["feature_id"] == "trial_ended"]

        eventually(lambda: told() and not calls.plane.admin.ListExports(org="acme").exports, "the report", within=20)
        node.stop()
        calls = Client(self.plane(node.start()))
        calls.beat("acme", 190)
        calls.end("acme")
        eventually(lambda: not calls.plane.admin.ListExports(org="acme").exports, "nothing waits", within=20)
        self.assertEqual(told(), [1])


if __name__ == "__main__":
    unittest.main()
