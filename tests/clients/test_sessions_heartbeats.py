"""Heartbeats pay for what has run and say whether to go on; what is not heard of expires."""

import unittest
from concurrent.futures import ThreadPoolExecutor

from billing import UPGRADE
from case import at_rest, fresh
from node import eventually
from plane import code_name, limit, metric, refusal
from sessions import (
    DAY, NEXT_MONTH, TEN_MINUTES, USED_UP, Client, SessionNodeCase, SharedSessionCase, action, state,
)


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
        self.assertEqual(at_rest(self.calls.get(org)), at_rest(before), "not even its time")
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

    def test_it_happens_to_an_org_that_has_left_memory(self):
        node, calls = self.started(environment={"TOLLGATE__BOUNDS__IDLE_MS": "100"})
        calls.start("acme")
        calls.beat("acme", 10)
        eventually(lambda: calls.plane.admin.GetNode().resident_orgs == 0, "the org leaves memory")
        node.clock.step(121)
        eventually(lambda: self.expired(node) == 1, "the sweep")
        self.assertEqual((state(calls.get("acme")), calls.used("acme")), ("EXPIRED", 130_000))

    def test_it_waits_for_a_node_that_is_down(self):
        """R-LEASE-1"""
        for end in ["stop", "kill"]:
            with self.subTest(end):
                node, calls = self.started(config=self.SHORT)
                calls.start("acme")
                calls.start("acme", "b")
                calls.beat("acme", 4, "b")
                getattr(node, end)()
                node.clock.step(30)
                calls = self.restarted(node)
                self.assertEqual(calls.status("acme").sessions, 2)
                expires = calls.get("acme").ends_at_ms
                self.assertGreater(expires, node.clock.now_ms())
                node.clock.step(30)
                session = calls.get("acme")
                self.assertEqual((state(session), session.booked_ms), ("EXPIRED", 15_000))
                self.assertAlmostEqual(session.ends_at_ms, expires, delta=2_000)
                self.assertEqual((state(calls.get("acme", "b")), calls.get("acme", "b").booked_ms), ("EXPIRED", 15_000))
                status = calls.status("acme")
                self.assertEqual((status.used_ms, status.reserved_ms, status.sessions), (30_000, 0, 0))
                self.assertEqual(self.expired(node), 2)
                node.close()

    def test_silence_counts_in_the_month_in_which_it_expired(self):
        """R-SES-7: also where that is found out in the next one"""
        node, calls = self.started(config=self.SHORT, at=NEXT_MONTH - 25)
        calls.use("acme", 5)
        calls.start("acme")
        node.clock.step(35)
        self.assertEqual((calls.get("acme").booked_ms, calls.used("acme")), (15_000, 0))
        (ledger,) = calls.plane.admin.GetOrg(org="acme").ledgers
        self.assertEqual([hour.total for hour in ledger.hours], [20_000])

    def test_it_is_found_by_the_sweep_after_a_restart(self):
        node, calls = self.started(config=self.SHORT)
        calls.start("acme")
        self.assertEqual(node.stop(), 0)
        node.start()
        node.clock.step(30)
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


if __name__ == "__main__":
    unittest.main()
