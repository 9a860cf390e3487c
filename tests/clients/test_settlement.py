"""Reserve, then commit, release, extend or let it expire."""

import unittest

from case import NodeCase, SharedNodeCase, fresh
from plane import code_name, limit, refusal


def spend(amount):
    return [{"meter": "spend", "amount": amount}]


LIMITED = """
[defaults]
plan = "tight"
[plans.tight]
spend = { hourly = "100u", daily = "1000u" }
executions = { calendar_day = 3 }
bytes = { hourly = { amount = 100, buffer = 20 } }
[plans.tight.scopes]
"workspace/*" = { spend = { hourly = "50u" } }
"""


class Settlement(SharedNodeCase):
    CONFIG = LIMITED
    CLOCK = {"minute": 10}

    def hourly(self, org, scope=""):
        return self.budget.GetBudget(org=org, scope=scope).budget.periods["hourly"]

    def test_a_hold_takes_room_until_it_is_settled(self):
        """R-PIPE-3"""
        org = fresh("hold")
        held = self.gate.Acquire(org=org, reserve=spend(70))
        self.assertTrue(held.allowed and held.reservation_id)
        hour = limit(held, "budget/hourly")
        self.assertEqual((hour.used, hour.reserved, hour.remaining), (0, 70, 30))
        denied = self.gate.Acquire(org=org, reserve=spend(31))
        self.assertEqual((code_name(denied), denied.http_status_hint, denied.reservation_id), ("BUDGET_EXCEEDED", 402, ""))
        self.assertTrue(limit(denied, "budget/hourly").limiting)
        self.assertFalse(limit(denied, "budget/daily").limiting)
        self.assertTrue(self.gate.Acquire(org=org, reserve=spend(30)).allowed, "exactly at the limit fits")

    def test_commit_books_what_was_used_and_gives_the_rest_back(self):
        """R-PIPE-3"""
        org = fresh("commit")
        hold = self.gate.Acquire(org=org, reserve=spend(70)).reservation_id
        self.gate.Commit(org=org, reservation_id=hold, request_id="c", actual=spend(20))
        hour = self.hourly(org)
        self.assertEqual((hour.limit, hour.spend, hour.reserved, hour.remaining), (100, 20, 0, 80))

    def test_commit_above_the_reserve_always_books(self):
        """R-PIPE-3: remaining may become negative"""
        org = fresh("above")
        hold = self.gate.Acquire(org=org, reserve=spend(10)).reservation_id
        self.gate.Commit(org=org, reservation_id=hold, request_id="c", actual=spend(130) + [{"meter": "bytes", "amount": 7}])
        self.assertEqual((self.hourly(org).spend, self.hourly(org).remaining), (130, -30))
        denied = self.gate.Acquire(org=org)
        self.assertEqual(code_name(denied), "BUDGET_EXCEEDED")
        self.assertEqual(limit(denied, "budget/hourly").remaining, -30)

    def test_a_reserved_meter_that_is_absent_from_commit_is_given_back(self):
        org = fresh("absent")
        hold = self.gate.Acquire(org=org, reserve=spend(70)).reservation_id
        self.gate.Commit(org=org, reservation_id=hold, request_id="c")
        self.assertEqual((self.hourly(org).spend, self.hourly(org).reserved), (0, 0))

    def test_release_gives_everything_back(self):
        org = fresh("release")
        hold = self.gate.Acquire(org=org, reserve=spend(100)).reservation_id
        self.assertFalse(self.gate.Acquire(org=org, reserve=spend(1)).allowed)
        self.gate.Release(org=org, reservation_id=hold, request_id="c")
        self.assertTrue(self.gate.Acquire(org=org, reserve=spend(100)).allowed)

    def test_extend_moves_the_expiry(self):
        org = fresh("extend")
        held = self.gate.Acquire(org=org, reserve=spend(1), reservation_ttl_ms=5000)
        now = self.shared.clock.now_ms()
        self.assertAlmostEqual(held.reservation_expires_at_ms, now + 5000, delta=1000)
        moved = self.gate.Extend(org=org, reservation_id=held.reservation_id, request_id="x", ttl_ms=60_000)
        self.assertAlmostEqual(moved.expires_at_ms, now + 60_000, delta=1000)
        self.assertEqual(self.admin.GetOrg(org=org).reservations[0].expires_at_ms, moved.expires_at_ms)

    def test_a_scope_and_its_org_must_both_fit_and_a_charge_counts_in_both(self):
        """R-BUD-7, R-PIPE-4"""
        org, scope = fresh("scoped"), "workspace/ws_42"
        denied = self.gate.Acquire(org=org, scope=scope, reserve=spend(51))
        self.assertFalse(denied.allowed)
        self.assertTrue(limit(denied, "budget/hourly", scope).limiting)
        self.assertFalse(limit(denied, "budget/hourly").limiting)
        self.assertIn(scope, denied.message)
        self.gate.Acquire(org=org, scope=scope, cost=spend(40))
        self.assertEqual((self.hourly(org).spend, self.hourly(org, scope).spend), (40, 40))
        self.assertEqual(self.hourly(org, "workspace/other").spend, 0)
        self.gate.Acquire(org=org, scope="workspace/other", cost=spend(50))
        other = self.gate.Acquire(org=org, scope="workspace/third", cost=spend(11))
        self.assertTrue(limit(other, "budget/hourly").limiting, "90 of the org's 100 are spent")
        self.assertFalse(limit(other, "budget/hourly", "workspace/third").limiting)

    def test_all_or_nothing(self):
        """R-PIPE-4: a denied call charges none of its meters"""
        org = fresh("whole")
        self.gate.Acquire(org=org, cost=spend(90))
        self.assertFalse(self.gate.Acquire(org=org, cost=[{"meter": "bytes", "amount": 5}], reserve=spend(20)).allowed)
        kept = self.admin.GetOrg(org=org)
        self.assertEqual((kept.rate.count, kept.rate.blocked, len(kept.reservations)), (1, 1, 0))
        self.assertEqual([ledger.meter for ledger in kept.ledgers if ledger.meter == "bytes"], [])

    def test_a_buffer_is_held_back(self):
        """R-PIPE-3"""
        org = fresh("buffer")
        over = self.gate.Acquire(org=org, cost=[{"meter": "bytes", "amount": 81}])
        self.assertEqual((over.allowed, code_name(over)), (False, "BUDGET_EXCEEDED"))
        self.assertTrue(limit(over, "budget/bytes/hourly").limiting)
        self.assertTrue(self.gate.Acquire(org=org, cost=[{"meter": "bytes", "amount": 80}]).allowed)

    def test_a_quota_on_executions(self):
        org = fresh("quota")
        self.assertEqual([self.gate.Acquire(org=org).allowed for _ in range(4)], [True, True, True, False])
        denied = self.gate.Acquire(org=org)
        self.assertEqual((code_name(denied), denied.http_status_hint), ("QUOTA_EXCEEDED", 402))
        self.assertGreater(denied.retry_after_ms, 0)


class Expiry(NodeCase):
    def test_a_hold_that_nobody_settles_expires_and_can_not_be_released(self):
        """R-PIPE-3, R-LEASE-1: while the node is up"""
        clock = self.clock(minute=10)
        environment = {"TOLLGATE__BOUNDS__CONNECTION_AGE_MS": "86400000"}
        node = self.node(config=LIMITED, clock=clock, environment=environment)
        plane = self.plane(node)
        first = plane.gate.Acquire(org="acme", reserve=spend(100), reservation_ttl_ms=10_000)
        self.assertFalse(plane.gate.Acquire(org="acme", reserve=spend(1)).allowed)
        clock.step(11)
        second = plane.gate.Acquire(org="acme", reserve=spend(100), reservation_ttl_ms=10_000)
        self.assertTrue(second.allowed, second.message)
        late = refusal(plane.gate.Release, org="acme", reservation_id=first.reservation_id, request_id="late")
        self.assertEqual((late.code.name, late.reason), ("FAILED_PRECONDITION", "RESERVATION_SETTLED"))
        self.assertEqual(node.stop(), 0)
        clock.step(11)
        plane = self.plane(node.start())
        self.assertFalse(plane.gate.Acquire(org="acme", reserve=spend(100)).allowed, "its holder could not be heard")
        clock.step(11)
        self.assertTrue(plane.gate.Acquire(org="acme", reserve=spend(100)).allowed)


if __name__ == "__main__":
    unittest.main()
