"""R-RES-3: what is left of what is alive is the same wherever it is shown, while the wall clock steps back and ahead
under a running node, and real time does not pass."""

import unittest

from case import NodeCase
from plane import limit

CONFIG = "[rate]\namount = 3\n"
HOLD = {"reserve": [{"meter": "spend", "amount": 1}], "reservation_ttl_ms": 400_000, "request_id": "h"}


class Remaining(NodeCase):
    def lefts(self, plane):
        """By the name of the field, in milliseconds."""
        pool = plane.pool.GetPool(org="o", pool="k").pool
        (account,) = pool.accounts
        (session,) = plane.session.ListSessions(org="o").sessions
        (hold,) = [hold for hold in plane.gate.ListReservations(org="o").reservations if hold.reservation_id == self.hold]
        org = plane.admin.GetOrg(org="o")
        beat = plane.session.Heartbeat(org="o", session_id="s", identity="i", incarnation="b", total_seconds=1)
        return {
            "GetSession": (plane.session.GetSession(org="o", session_id="s").session.remaining_ms, 120_000),
            "ListSessions": (session.remaining_ms, 120_000),
            "GetOrg.sessions": (org.sessions[0].remaining_ms, 120_000),
            "Heartbeat": (beat.remaining_ms, 120_000),
            "ListReservations": (hold.remaining_ms, 400_000),
            "GetOrg.reservations": (next(h for h in org.reservations if h.reservation_id == self.hold).remaining_ms, 400_000),
            "Acquire, replayed": (plane.gate.Acquire(org="o", **HOLD).reservation_remaining_ms, 400_000),
            "StartSession, replayed": (self.start(plane).remaining_ms, 120_000),
            "available_in_ms": (account.available_in_ms, 300_000),
            "route_remaining_ms": (account.route_remaining_ms, 300_000),
            "soonest_reset_in_ms": (pool.summary.soonest_reset_in_ms, 300_000),
            "GetOrg.pools": (org.pools[0].summary.soonest_reset_in_ms, 300_000),
            "Pick": (plane.pool.Pick(org="o", pool="k").retry_after_ms, 300_000),
        }

    def start(self, plane):
        return plane.session.StartSession(org="o", session_id="s", identity="i", request_id="s")

    def test_what_is_left_does_not_follow_the_wall_clock(self):
        clock = self.clock(monotonic=False, minute=30)
        plane = self.plane(self.node(config=CONFIG, clock=clock))
        self.start(plane)
        self.hold = plane.gate.Acquire(org="o", **HOLD).reservation_id
        plane.pool.ConfigurePool(org="o", pool="k", accounts=[{"account": "acct-aaaa-0001"}], settings={"profile": 2}, request_id="p")
        plane.pool.ReportOutcome(org="o", pool="k", account="acct-aaaa-0001", status=429, retry_after_ms=300_000)
        for step in [0, -600, 600, 600, -600]:
            clock.step(step)
            for name, (left, most) in self.lefts(plane).items():
                self.assertLessEqual(left, most, f"{name} after {step} s")
                self.assertGreater(left, most - 15_000, f"{name} after {step} s")

    def test_the_end_of_a_window_is_counted_to_the_wall_clock(self):
        """R-CLOCK-1: service time goes on when the wall clock is there"""
        clock = self.clock(monotonic=False, minute=30)
        plane = self.plane(self.node(config=CONFIG, clock=clock))
        held = plane.gate.Acquire(org="o", reserve=[{"meter": "spend", "amount": 1}], request_id="h")
        clock.step(-600)
        status = plane.gate.GetStatus(org="o")
        for answer in [status, plane.admin.GetOrg(org="o"), plane.gate.Commit(org="o", reservation_id=held.reservation_id, request_id="c")]:
            rate = limit(answer, "rate")
            self.assertAlmostEqual(rate.resets_in_ms, 40 * 60_000, delta=15_000)
            self.assertAlmostEqual(rate.resets_at_ms - clock.now_ms(), rate.resets_in_ms, delta=15_000)


if __name__ == "__main__":
    unittest.main()
