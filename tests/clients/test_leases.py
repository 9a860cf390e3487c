"""Leases run while the node is up: what was alive when it went away is alive when it is back."""

import time
import unittest

from case import NodeCase, fresh
from node import eventually
from plane import code_name
from sessions import Client, SessionNodeCase, action, state

STANDARD = """
[rate]
amount = 100000
[defaults]
plan = "standard"
"""
SHORT = STANDARD + '[sessions]\nheartbeat = "1s"\ngrace = "1s"\nfirst_slice = "60s"\n'
FAILED = {"status": 503}


class Away(SessionNodeCase):
    """R-LEASE-1"""

    def running(self, **options):
        """A node with a session of 30 seconds, a hold of 200 and an account whose route failed."""
        node, calls = self.started(config=STANDARD, **options)
        calls.start("acme", request_id="start")
        self.assertEqual(calls.beat("acme", 30).booked_ms, 30_000)
        gate, pool = calls.plane.gate, calls.plane.pool
        hold = gate.Acquire(org="acme", reserve=[{"meter": "bytes", "amount": 1}], reservation_ttl_ms=200_000, request_id="hold")
        pool.ConfigurePool(org="acme", pool="relay", accounts=[{"account": "aaaa-account-aaaa"}], request_id=fresh())
        pool.ReportOutcome(org="acme", pool="relay", account="aaaa-account-aaaa", request_id=fresh(), **FAILED)
        return node, calls, hold

    def route(self, calls):
        (account,) = calls.plane.pool.GetPool(org="acme", pool="relay").pool.accounts
        return code_name(account, "route"), account.route_until_ms

    def check_alive(self, node, calls, hold, away):
        begun = node.clock.now_ms()
        self.assertEqual(state(calls.get("acme")), "RUNNING")
        self.assertAlmostEqual(calls.get("acme").ends_at_ms, begun + 120_000, delta=20_000)
        self.assertEqual(code_name(calls.start("acme", "second")), "SESSION_LIMIT_REACHED", "the slot is taken")
        route, until = self.route(calls)
        self.assertEqual(route, "ROUTE_HEALTH_COOLDOWN")
        self.assertAlmostEqual(until, begun + 60_000, delta=20_000)
        (reservation,) = [held for held in calls.plane.admin.GetOrg(org="acme").reservations if held.reservation_id == hold.reservation_id]
        self.assertAlmostEqual(reservation.expires_at_ms, begun + 200_000, delta=20_000)
        again = calls.plane.gate.Acquire(org="acme", reserve=[{"meter": "bytes", "amount": 1}], reservation_ttl_ms=200_000, request_id="hold")
        self.assertTrue(again.replayed)
        self.assertAlmostEqual(again.reservation_expires_at_ms, reservation.expires_at_ms, delta=1000)
        beat = calls.beat("acme", 30 + away)
        self.assertEqual((action(beat), state(beat)), ("CONTINUE", "RUNNING"))
        self.assertEqual((beat.booked_ms, beat.disputed_ms), (away * 1000, 0), "all of what ran is recorded")
        calls.plane.gate.Commit(org="acme", reservation_id=hold.reservation_id, request_id=fresh())

    def test_sessions_holds_and_routes_outlive_two_and_a_half_and_twenty_minutes_of_absence(self):
        for end in ["kill", "stop"]:
            for away in [150, 1200]:
                with self.subTest(f"{end}, {away} s"):
                    node, calls, hold = self.running()
                    getattr(node, end)()
                    node.clock.step(away)
                    calls = Client(self.plane(node.start("--accept-clock")))
                    self.check_alive(node, calls, hold, away)
                    node.close()

    def test_a_session_without_heartbeats_expires_when_the_node_was_up_for_its_lease(self):
        node, calls, _ = self.running()
        node.kill()
        node.clock.step(1200)
        calls = self.restarted(node)
        node.clock.step(100)
        self.assertEqual(state(calls.get("acme")), "RUNNING")
        node.clock.step(21)
        self.assertEqual(state(calls.get("acme")), "EXPIRED")
        self.assertAlmostEqual(calls.get("acme").ends_at_ms, node.clock.now_ms(), delta=10_000)
        self.assertTrue(calls.start("acme", "second").allowed)

    def test_an_org_that_is_asked_for_only_after_several_absences_has_lost_nothing(self):
        node, calls, _ = self.running()
        node.kill()
        for _ in range(3):
            node.clock.step(600)
            node.start()
            node.clock.step(20)
            self.assertEqual(node.stop(), 0)
        calls = self.restarted(node)
        self.assertEqual(state(calls.get("acme")), "RUNNING", "60 s of 120 the node was up")
        self.assertAlmostEqual(calls.get("acme").ends_at_ms, node.clock.now_ms() + 60_000, delta=20_000)

    def test_real_seconds_away_are_no_time_for_a_lease(self):
        """Without a clock that is moved: four seconds of lease, four and a half away"""
        node = self.node(config=SHORT)
        calls = Client(self.plane(node))
        calls.start("acme")
        calls.beat("acme", 1)
        node.kill()
        time.sleep(4.5)
        calls = self.restarted(node)
        self.assertEqual(state(calls.beat("acme", 5)), "RUNNING")
        eventually(lambda: state(calls.get("acme")) == "EXPIRED", "four seconds without a heartbeat")

    def test_a_quiet_node_keeps_the_time_that_it_was_up(self):
        """A lease is not given again what passed while the node was up, however long ago its last commit is"""
        node, calls, _ = self.running()
        node.clock.step(100)
        time.sleep(7)
        node.kill()
        calls = self.restarted(node)
        self.assertLess(calls.get("acme").ends_at_ms, node.clock.now_ms() + 25_000)


class Corrected(NodeCase):
    """R-LEASE-1: a correction of the clock is no time"""

    def test_a_slow_clock_that_is_put_right_ends_nothing(self):
        clock = self.clock(monotonic=False, minute=10)
        node = self.node(clock=clock, config=STANDARD)
        calls = Client(self.plane(node))
        calls.start("acme")
        hold = calls.plane.gate.Acquire(org="acme", reserve=[{"meter": "bytes", "amount": 1}], reservation_ttl_ms=200_000)
        before = calls.plane.admin.GetNode().now_ms
        for _ in range(6):
            clock.step(50)
            calls.plane.admin.GetNode()
        self.assertGreater(calls.plane.admin.GetNode().now_ms, before + 290_000, "believed")
        self.assertEqual(state(calls.beat("acme", 5)), "RUNNING")
        (held,) = [each for each in calls.plane.admin.GetOrg(org="acme").reservations if each.reservation_id == hold.reservation_id]
        self.assertAlmostEqual(held.expires_at_ms, clock.now_ms() + 200_000, delta=20_000)
        calls.plane.gate.Commit(org="acme", reservation_id=hold.reservation_id, request_id=fresh())
        node.kill()
        clock.step(300)
        calls = Client(self.plane(node.start("--accept-clock")))
        self.assertEqual(state(calls.beat("acme", 6)), "RUNNING")

    def test_leases_end_while_service_time_stands_still(self):
        clock = self.clock(monotonic=False, minute=10)
        node = self.node(clock=clock, config=SHORT)
        calls = Client(self.plane(node))
        calls.start("acme")
        hold = calls.plane.gate.Acquire(org="acme", reserve=[{"meter": "bytes", "amount": 1}], reservation_ttl_ms=1000)
        clock.step(-8 * 3600)
        self.assertEqual(code_name(calls.start("acme", "second")), "SESSION_LIMIT_REACHED")
        eventually(lambda: calls.start("acme", "second").allowed, "the slot of a session without heartbeats")
        held = {each.reservation_id for each in calls.plane.admin.GetOrg(org="acme").reservations}
        self.assertNotIn(hold.reservation_id, held)


if __name__ == "__main__":
    unittest.main()
