"""Settlement that loses nothing: commits after the expiry, what a commit answers, what is left of every lease."""

import json
import unittest

from billing import LONG_CONNECTIONS, BilledCase, tracks
from case import NodeCase, SharedNodeCase, fresh
from node import eventually
from plane import limit, refusal

DAY = 24 * 3600
LIMITED = '[defaults]\nplan = "p"\n[plans.p]\nspend = { hourly = "$0.0001", weekly = "$1000" }\n'


def spend(amount):
    return [{"meter": "spend", "amount": amount}]


def scoped(amounts):
    return [(each.scope, each.meter, each.amount) for each in amounts]


class Late(NodeCase):
    """R-RES-1: a Commit is taken for a day after the hold expired."""

    def started(self):
        node = self.node(config=LIMITED, clock=self.clock(minute=10), environment=LONG_CONNECTIONS)
        return node, self.plane(node)

    def expired(self, node, plane, amount=90):
        hold = plane.gate.Acquire(org="acme", reserve=spend(amount), reservation_ttl_ms=10_000).reservation_id
        node.clock.step(11)
        return hold

    def used(self, plane):
        shown = limit(plane.gate.GetStatus(org="acme"), "budget/weekly")
        return shown.used, shown.reserved

    def test_what_happened_is_recorded_once(self):
        node, plane = self.started()
        hold = self.expired(node, plane)
        self.assertEqual(self.used(plane), (0, 0), "what has expired holds nothing")
        first = plane.gate.Commit(org="acme", reservation_id=hold, request_id="c", actual=spend(500))
        self.assertEqual((first.late, first.replayed), (True, False))
        self.assertEqual(scoped(first.booked), [("", "spend", 500)])
        self.assertEqual((scoped(first.released), scoped(first.overrun)), ([], [("", "spend", 410)]))
        hourly = limit(first, "budget/hourly")
        self.assertEqual((hourly.used, hourly.remaining, hourly.exhausted), (500, -400, True))
        again = plane.gate.Commit(org="acme", reservation_id=hold, request_id="c", actual=spend(500))
        self.assertEqual((again.replayed, again.late, scoped(again.overrun)), (True, True, scoped(first.overrun)))
        other = refusal(plane.gate.Commit, org="acme", reservation_id=hold, request_id="d", actual=spend(500))
        self.assertEqual((other.code.name, other.reason), ("FAILED_PRECONDITION", "RESERVATION_SETTLED"))
        self.assertEqual((self.used(plane), plane.admin.Audit(org="acme").drifted), ((500, 0), 0))

    def test_a_crash_between_expiry_and_commit_loses_nothing(self):
        node, plane = self.started()
        hold = self.expired(node, plane)
        self.assertEqual(self.used(plane), (0, 0))
        # In order: what a crash forgets of the time that the node was up is given to a hold once more.
        for ended in [node.stop, node.kill]:
            ended()
            plane = self.plane(node.start())
        node.kill()
        node.clock.step(DAY - 120)
        plane = self.plane(node.start())
        self.assertTrue(plane.gate.Commit(org="acme", reservation_id=hold, request_id="c", actual=spend(500)).late)
        node.kill()
        plane = self.plane(node.start())
        self.assertTrue(plane.gate.Commit(org="acme", reservation_id=hold, request_id="c", actual=spend(500)).replayed)
        self.assertEqual(self.used(plane), (500, 0))

    def test_a_day_later_and_after_a_release_it_is_refused(self):
        node, plane = self.started()
        hold = self.expired(node, plane)
        for call, more in [(plane.gate.Release, {}), (plane.gate.Extend, {"ttl_ms": 5000})]:
            refused = refusal(call, org="acme", reservation_id=hold, request_id=fresh(), **more)
            self.assertEqual((refused.code.name, refused.reason), ("FAILED_PRECONDITION", "RESERVATION_SETTLED"))
            self.assertIn("expired", refused.message)
        released = plane.gate.Acquire(org="acme", reserve=spend(1), reservation_ttl_ms=10_000).reservation_id
        plane.gate.Release(org="acme", reservation_id=released, request_id="r")
        node.clock.step(11)
        refused = refusal(plane.gate.Commit, org="acme", reservation_id=released, request_id="c", actual=spend(1))
        self.assertIn("released", refused.message)
        node.clock.step(DAY)
        # A connection does not outlive a day without a call.
        plane = self.plane(node)
        gone = refusal(plane.gate.Commit, org="acme", reservation_id=hold, request_id="c2", actual=spend(1))
        self.assertEqual((gone.code.name, gone.reason), ("NOT_FOUND", "RESERVATION_UNKNOWN"))


class LateExport(BilledCase):
    def test_it_is_exported_like_any_other_with_what_its_admission_was_charged(self):
        """R-BAL-7: also where the execution was admitted more than a day ago"""
        self.standin.customers(acme={"features": {"executions": {"granted": 1_000}, "usd": {"granted": 10**9}}})
        node = self.billed(clock=self.clock(minute=10), FEATURES__SPEND="usd")
        plane = self.plane(node)
        cost = [{"meter": "executions", "amount": 3}]
        hold = plane.gate.Acquire(org="acme", cost=cost, reserve=spend(90), reservation_ttl_ms=3600_000).reservation_id
        node.clock.step(3601)
        plane.gate.GetStatus(org="acme")
        node.clock.step(DAY - 1800)
        # A connection is no older than a day.
        plane = self.plane(node)
        answer = plane.gate.Commit(org="acme", reservation_id=hold, request_id="c", actual=spend(500))
        self.assertTrue(answer.late)

        def told():
            entries = [entry["body"] for entry in tracks(self.standin, "acme") if entry["status"]]
            return sorted((body["feature_id"], body["value"]) for body in entries)

        eventually(lambda: told() == [("executions", 3), ("usd", 500)], "both reports", within=20)


class Answers(SharedNodeCase):
    """R-RES-2 and R-RES-3"""

    CONFIG = LIMITED
    CLOCK = {"minute": 10}
    ENVIRONMENT = LONG_CONNECTIONS

    def test_a_commit_says_what_it_booked_gave_back_and_ran_over_in_every_scope(self):
        org = fresh("scoped")
        reserve = spend(90) + [{"meter": "bytes", "amount": 5}]
        hold = self.gate.Acquire(org=org, scope="workspace/a", reserve=reserve).reservation_id
        actual = spend(40) + [{"meter": "bytes", "amount": 7}]
        answer = self.gate.Commit(org=org, reservation_id=hold, request_id="c", actual=actual)
        self.assertFalse(answer.late)
        each = ["workspace/a", ""]
        self.assertEqual(scoped(answer.booked), [(s, m, a) for s in each for m, a in [("spend", 40), ("bytes", 7)]])
        self.assertEqual(scoped(answer.released), [(s, "spend", 50) for s in each])
        self.assertEqual(scoped(answer.overrun), [(s, "bytes", 2) for s in each])

    def test_what_is_left_stands_beside_every_expiry_also_in_a_replay(self):
        org = fresh("left")
        ask = {"org": org, "reserve": spend(10), "reservation_ttl_ms": 60_000, "request_id": "a"}
        first = self.gate.Acquire(**ask)
        self.assertEqual(first.reservation_remaining_ms, 60_000)
        rate = limit(first, "rate")
        self.assertTrue(0 < rate.resets_in_ms <= 3600_000)
        self.shared.clock.step(20)
        again = self.gate.Acquire(**ask)
        self.assertTrue(again.replayed and 30_000 < again.reservation_remaining_ms <= 40_000)
        self.assertEqual(again.reservation_expires_at_ms, first.reservation_expires_at_ms)
        extend = {"org": org, "reservation_id": first.reservation_id, "request_id": "x", "ttl_ms": 120_000}
        self.assertTrue(110_000 < self.gate.Extend(**extend).remaining_ms <= 120_000)
        self.shared.clock.step(10)
        self.assertTrue(100_000 < self.gate.Extend(**extend).remaining_ms <= 110_000)
        self.assertTrue(100_000 < self.gate.Acquire(**ask).reservation_remaining_ms <= 110_000, "it was extended")
        (held,) = self.admin.GetOrg(org=org).reservations
        self.assertTrue(100_000 < held.remaining_ms <= 110_000)

    def test_so_it_is_with_a_session(self):
        org = fresh("session")
        start = {"org": org, "session_id": "s", "identity": "vm", "request_id": "a"}
        started = self.session.StartSession(**start)
        self.assertTrue(started.remaining_ms > 0)
        self.shared.clock.step(20)
        self.assertTrue(0 < self.session.StartSession(**start).remaining_ms <= started.remaining_ms - 20_000)
        beat = self.session.Heartbeat(org=org, session_id="s", identity="vm", incarnation="b", total_seconds=20)
        self.assertTrue(started.remaining_ms - 5_000 < beat.remaining_ms <= started.remaining_ms)
        shown = self.session.GetSession(org=org, session_id="s").session
        self.assertTrue(0 < shown.remaining_ms <= beat.remaining_ms)

    def test_reservations_are_listed_and_released_by_hand(self):
        org = fresh("listed")
        late = self.gate.Acquire(org=org, reserve=spend(1), reservation_ttl_ms=5_000).reservation_id
        self.shared.clock.step(6)
        held = [self.gate.Acquire(org=org, scope="workspace/a", reserve=spend(2)).reservation_id for _ in range(2)]
        every = self.gate.ListReservations(org=org).reservations
        self.assertEqual([each.reservation_id for each in every], [late, *held])
        self.assertEqual([each.state for each in every], [2, 1, 1])
        self.assertEqual(every[0].remaining_ms, 0)
        self.assertTrue(DAY * 1000 - 60_000 < every[0].commit_within_ms <= DAY * 1000)
        found = self.gate.ListReservations(org=org, states=["RESERVATION_STATE_OPEN"], page_size=1)
        self.assertEqual([each.reservation_id for each in found.reservations], held[:1])
        found = self.gate.ListReservations(org=org, states=[1], page_size=1, page_token=found.next_page_token)
        self.assertEqual([each.reservation_id for each in found.reservations], held[1:])
        old = self.gate.ListReservations(org=org, min_age_ms=5_000).reservations
        self.assertEqual([each.reservation_id for each in old], [late])
        none = self.gate.ListReservations(org=org, scope="workspace/b").reservations
        self.assertEqual(list(none), [])
        bad = refusal(self.gate.ListReservations, org=org, states=[0])
        self.assertEqual((bad.code.name, bad.fields), ("INVALID_ARGUMENT", ["states[0]"]))
        node = self.shared
        listed = node.run("reservation", "list", org, "--state", "open", "--addr", node.grpc, "--output", "json")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        shown = [each["reservationId"] for each in json.loads(listed.stdout)["reservations"]]
        self.assertEqual(shown, held)
        released = node.run("release", org, held[0], "--addr", node.grpc)
        self.assertEqual((released.returncode, released.stdout), (0, f"released  {org}  {held[0]}\n"), released.stderr)
        self.assertEqual([each.reservation_id for each in self.admin.GetOrg(org=org).reservations], held[1:])


if __name__ == "__main__":
    unittest.main()
