"""Holds under load and under their bounds: never more than fits, settled once, given back in time."""

import unittest
from concurrent.futures import ThreadPoolExecutor

import grpc

from billing import LONG_CONNECTIONS
from case import NodeCase, SharedNodeCase, fresh
from node import eventually
from plane import code_name, limit, metric, refusal

THREADS = 16


def spend(amount):
    return [{"meter": "spend", "amount": amount}]


def bounds(**values):
    """As environment, beside connections that outlive a moved clock."""
    return LONG_CONNECTIONS | {f"TOLLGATE__BOUNDS__{name.upper()}": str(value) for name, value in values.items()}


class Concurrent(SharedNodeCase):
    CONFIG = "[rate]\namount = 100000\n"
    CLOCK = {"minute": 10}

    def limited(self, prefix, amount, scope=""):
        org = fresh(prefix)
        self.budget.ReplaceBudget(org=org, scope=scope, request_id=fresh(), limits={"hourly": amount})
        return org

    def hourly(self, org, scope=""):
        return self.budget.GetBudget(org=org, scope=scope).budget.periods["hourly"]

    def pair(self, org, reserve, actual, scope=""):
        """Reserves and commits; what was committed, `None` where it was denied."""
        answer = self.gate.Acquire(org=org, scope=scope, reserve=spend(reserve), request_id=fresh())
        if not answer.allowed:
            self.assertEqual(code_name(answer), "BUDGET_EXCEEDED")
            return None
        self.gate.Commit(org=org, reservation_id=answer.reservation_id, request_id=fresh(), actual=spend(actual))
        return actual

    def pairs(self, count, *arguments, **more):
        with ThreadPoolExecutor(THREADS) as pool:
            outcomes = list(pool.map(lambda _: self.pair(*arguments, **more), range(count)))
        return [each for each in outcomes if each is not None]

    def test_of_500_pairs_at_once_exactly_the_200_that_fit_are_admitted(self):
        """R-PIPE-4: no overshoot from concurrent callers"""
        org = self.limited("pairs", 200 * 7)
        committed = self.pairs(500, org, 7, 7)
        self.assertEqual(len(committed), 200)
        hour = self.hourly(org)
        self.assertEqual((hour.spend, hour.reserved, hour.remaining), (sum(committed), 0, 0))
        kept = self.admin.GetOrg(org=org)
        self.assertEqual((kept.rate.count, kept.rate.blocked, list(kept.reservations)), (200, 300, []))
        self.assertEqual(self.admin.Audit(org=org).drifted, 0)

    def test_the_same_over_one_stream(self):
        """R-PIPE-4"""
        org = self.limited("stream", 200 * 7)
        asked = ({"tag": tag, "acquire": {"org": org, "reserve": spend(7), "request_id": str(tag)}} for tag in range(500))
        answers = [answer.decision for answer in self.gate.AcquireStream(asked)]
        admitted = [answer.reservation_id for answer in answers if answer.allowed]
        self.assertEqual((len(answers), len(admitted), len(set(admitted))), (500, 200, 200))
        self.assertEqual((self.hourly(org).reserved, self.hourly(org).remaining), (1400, 0))
        with ThreadPoolExecutor(THREADS) as pool:
            commit = lambda hold: self.gate.Commit(org=org, reservation_id=hold, request_id=hold, actual=spend(7))  # noqa: E731
            list(pool.map(commit, admitted))
        self.assertEqual((self.hourly(org).spend, self.hourly(org).reserved), (1400, 0))

    def test_what_is_given_back_can_be_taken_again_and_the_sum_is_that_of_the_commits(self):
        """R-PIPE-3, R-PIPE-4"""
        org = self.limited("less", 1000)
        committed = self.pairs(500, org, 10, 4)
        while (more := self.pair(org, 10, 4)) is not None:
            committed.append(more)
        hour = self.hourly(org)
        self.assertEqual((hour.spend, hour.reserved), (sum(committed), 0))
        self.assertGreater(hour.spend, 990, "it was denied only when 10 did not fit")
        self.assertLessEqual(hour.spend, 1000)

    def test_commits_above_their_reserve_book_and_admission_stays_exact(self):
        """R-PIPE-3: what really happened always books"""
        org = self.limited("more", 1000)
        committed = self.pairs(300, org, 5, 9)
        hour = self.hourly(org)
        self.assertEqual((hour.spend, hour.reserved), (sum(committed), 0))
        self.assertFalse(self.gate.Acquire(org=org, reserve=spend(1)).allowed)

    def test_two_scopes_under_one_org_share_exactly_what_the_org_has(self):
        """R-BUD-7, R-PIPE-4"""
        org = self.limited("shared", 200)
        scopes = ["workspace/a", "workspace/b"]
        for scope in scopes:
            self.budget.ReplaceBudget(org=org, scope=scope, request_id=fresh(), limits={"hourly": 150})
        with ThreadPoolExecutor(THREADS) as pool:
            outcomes = list(pool.map(lambda number: self.pair(org, 1, 1, scope=scopes[number % 2]), range(500)))
        self.assertEqual(len([each for each in outcomes if each is not None]), 200)
        spends = [self.hourly(org, scope).spend for scope in ["", *scopes]]
        self.assertEqual((spends[0], spends[1] + spends[2]), (200, 200))
        self.assertLessEqual(max(spends[1:]), 150)

    def test_of_many_settlements_at_once_one_counts(self):
        """R-PIPE-4, R-PIPE-6"""
        for number in range(10):
            org = self.limited("settle", 1000)
            hold = self.gate.Acquire(org=org, reserve=spend(100)).reservation_id

            def settle(number):
                fields = {"org": org, "reservation_id": hold, "request_id": str(number)}  # noqa: B023
                try:
                    if number % 2:
                        self.gate.Commit(**fields, actual=spend(number))
                        return number
                    self.gate.Release(**fields)
                    return 0
                except grpc.RpcError as error:
                    return error.code().name

            with ThreadPoolExecutor(THREADS) as pool:
                outcomes = list(pool.map(settle, range(THREADS)))
            (booked,) = [each for each in outcomes if each != "FAILED_PRECONDITION"]
            self.assertEqual((self.hourly(org).spend, self.hourly(org).reserved), (booked, 0), number)


class Length(NodeCase):
    """A client that leaks its reservations starves an org for no longer than an operator lets it."""

    def started(self, **values):
        node = self.node(clock=self.clock(minute=10), environment=bounds(**values))
        return node, self.plane(node)

    def test_a_longer_one_is_refused_and_the_default_is_shortened(self):
        node, plane = self.started(reservation_ttl_max_ms=60_000)
        held = plane.gate.Acquire(org="acme", reserve=spend(1))
        self.assertAlmostEqual(held.reservation_expires_at_ms, node.clock.now_ms() + 60_000, delta=2000)
        self.assertTrue(plane.gate.Acquire(org="acme", reserve=spend(1), reservation_ttl_ms=60_000).allowed)
        for ttl in [60_001, 300_000, 86_400_000]:
            for request in [{}, {"request_id": "r"}]:
                refused = refusal(plane.gate.Acquire, org="acme", reserve=spend(1), reservation_ttl_ms=ttl, **request)
                self.assertEqual((refused.code.name, refused.reason), ("INVALID_ARGUMENT", "RESERVATION_TOO_LONG"))
                self.assertIn("60000", refused.message)
        (item,) = plane.gate.AcquireBatch(
            items=[{"org": "acme", "reserve": spend(1), "reservation_ttl_ms": 60_001}]).results
        self.assertEqual((item.error.grpc_code, item.error.reason), (3, "RESERVATION_TOO_LONG"))
        kept = plane.admin.GetOrg(org="acme")
        self.assertEqual((len(kept.reservations), kept.rate.count, kept.admitted_total), (2, 2, 2), "nothing was charged")
        corrected = plane.gate.Acquire(org="acme", reserve=spend(1), reservation_ttl_ms=1000, request_id="r")
        self.assertEqual((corrected.allowed, corrected.replayed), (True, False))

    def test_a_longer_extension_is_refused_and_extending_again_and_again_is_not(self):
        node, plane = self.started(reservation_ttl_max_ms=60_000)
        held = plane.gate.Acquire(org="acme", reserve=spend(1))
        extend = {"org": "acme", "reservation_id": held.reservation_id}
        refused = refusal(plane.gate.Extend, **extend, request_id="x", ttl_ms=60_001)
        self.assertEqual((refused.code.name, refused.reason), ("INVALID_ARGUMENT", "RESERVATION_TOO_LONG"))
        (row,) = plane.admin.GetOrg(org="acme").reservations
        self.assertEqual(row.expires_at_ms, held.reservation_expires_at_ms)
        for number in range(3):
            node.clock.step(50)
            moved = plane.gate.Extend(**extend, request_id=str(number), ttl_ms=60_000)
            self.assertAlmostEqual(moved.expires_at_ms, node.clock.now_ms() + 60_000, delta=2000)

    def test_a_session_lives_by_its_heartbeats_all_the_same(self):
        """R-SES-3"""
        node, plane = self.started(reservation_ttl_max_ms=1000)
        started = plane.session.StartSession(org="acme", session_id="s", identity="vm 1", request_id="r")
        self.assertEqual((started.allowed, started.first_slice_ms), (True, 180_000))
        node.clock.step(60)
        self.assertEqual(plane.session.GetSession(org="acme", session_id="s").session.reserved_ms, 180_000)

    def test_open_reservations_have_a_bound(self):
        _, plane = self.started(reservations_per_org=3)
        holds = [plane.gate.Acquire(org="acme", reserve=spend(1)).reservation_id for _ in range(3)]
        full = refusal(plane.gate.Acquire, org="acme", reserve=spend(1))
        self.assertEqual((full.code.name, full.reason), ("RESOURCE_EXHAUSTED", "RESERVATIONS_FULL"))
        self.assertTrue(plane.gate.Acquire(org="acme").allowed, "what holds nothing needs no place")
        plane.gate.Release(org="acme", reservation_id=holds[0], request_id="r")
        self.assertTrue(plane.gate.Acquire(org="acme", reserve=spend(1)).allowed)


class Share(SharedNodeCase):
    """The largest part of a limit that one reservation may hold."""

    ENVIRONMENT = bounds(reservation_share_percent=25)
    CLOCK = {"minute": 10}
    CONFIG = """
        [defaults]
        plan = "limited"
        [plans.limited]
        spend = { hourly = "100u", daily = "1000u" }
        bytes = { calendar_day = 100, hourly = { amount = 200, buffer = 40 } }
        tokens = { hourly = { amount = 100, shadow = true }, daily = "unlimited" }
        [plans.limited.scopes]
        "workspace/*" = { spend = { hourly = "60u" } }
    """

    def reserve(self, org, meter, amount, **fields):
        return self.gate.Acquire(org=org, reserve=[{"meter": meter, "amount": amount}], **fields)

    def assertOver(self, answer, code, name, scope=""):
        self.assertEqual((answer.allowed, code_name(answer), answer.http_status_hint), (False, code, 402), answer.message)
        self.assertEqual([(each.name, each.scope) for each in answer.limits if each.limiting], [(name, scope)])
        self.assertIn(name, answer.message)
        self.assertIn("25 %", answer.message)
        self.assertEqual((answer.reservation_id, answer.retry_after_ms), ("", 0), "waiting does not help")

    def test_at_the_share_it_is_held_and_over_it_denied_by_the_limit(self):
        """R-PIPE-5: the code is that of the limit's kind"""
        org = fresh("share")
        self.assertOver(self.reserve(org, "spend", 26), "BUDGET_EXCEEDED", "budget/hourly")
        self.assertOver(self.reserve(org, "bytes", 26), "QUOTA_EXCEEDED", "quota/bytes/calendar/day")
        kept = self.admin.GetOrg(org=org)
        self.assertEqual((kept.rate.count, kept.rate.blocked, list(kept.reservations)), (0, 2, []))
        self.assertTrue(self.reserve(org, "spend", 25).allowed)
        self.assertTrue(self.reserve(org, "bytes", 25).allowed)

    def test_every_reservation_has_a_share_of_the_limit_not_of_what_is_left(self):
        org = fresh("several")
        self.assertEqual([self.reserve(org, "spend", 25).allowed for _ in range(5)], [True] * 4 + [False])
        full = self.reserve(org, "spend", 1)
        self.assertEqual((full.allowed, code_name(full)), (False, "BUDGET_EXCEEDED"))
        self.assertGreater(full.retry_after_ms, 0, "this one fits when a hold expires")

    def test_a_buffer_is_no_part_of_it(self):
        """R-PIPE-3"""
        node = self.node(environment=bounds(reservation_share_percent=25),
                         config='[orgs."acme"]\nbytes = { hourly = { amount = 100, buffer = 20 } }\n')
        gate = self.plane(node).gate
        answers = [gate.Acquire(org="acme", reserve=[{"meter": "bytes", "amount": amount}]) for amount in (21, 20)]
        self.assertEqual([answer.allowed for answer in answers], [False, True])
        self.assertOver(answers[0], "BUDGET_EXCEEDED", "budget/bytes/hourly")

    def test_the_limit_of_a_scope_has_a_share_of_its_own(self):
        """R-BUD-7"""
        org, scope = fresh("scope"), "workspace/w"
        self.assertOver(self.reserve(org, "spend", 16, scope=scope), "BUDGET_EXCEEDED", "budget/hourly", scope)
        self.assertTrue(self.reserve(org, "spend", 15, scope=scope).allowed)
        self.assertTrue(self.reserve(org, "spend", 16).allowed)

    def test_what_is_charged_at_once_or_not_limited_has_no_share(self):
        org = fresh("free")
        self.assertTrue(self.gate.Acquire(org=org, cost=[{"meter": "spend", "amount": 60}]).allowed)
        self.assertTrue(self.reserve(org, "tokens", 99).allowed, "in shadow, and unlimited")
        self.assertTrue(self.reserve(org, "other", 10**15).allowed)

    def test_a_peek_tells_of_it_and_shadow_lets_it_through(self):
        """R-PIPE-7"""
        org = fresh("peek")
        self.assertOver(self.reserve(org, "spend", 26, mode="MODE_CHECK_ONLY"), "BUDGET_EXCEEDED", "budget/hourly")
        shadow = self.reserve(org, "spend", 26, mode="MODE_SHADOW")
        self.assertEqual((shadow.allowed, code_name(shadow)), (True, "BUDGET_EXCEEDED"))

    def test_an_explanation_tells_of_it_also_where_another_gate_denies(self):
        """R-PIPE-1: explain runs every gate"""
        org = fresh("explained")
        self.admin.Freeze(org=org, request_id="f")
        frozen = self.reserve(org, "spend", 26, explain=True)
        self.assertEqual((frozen.allowed, code_name(frozen)), (False, "FROZEN"))
        self.assertTrue(limit(frozen, "budget/hourly").limiting)


class Expiry(NodeCase):
    """R-PIPE-3: a hold that nobody settles is given back, once."""

    def started(self):
        node = self.node(clock=self.clock(minute=10), environment=LONG_CONNECTIONS)
        plane = self.plane(node)
        plane.budget.ReplaceBudget(org="acme", request_id="r", limits={"hourly": 100})
        return node, plane

    def assertSettled(self, plane, hold, reason):
        calls = [(plane.gate.Release, {}), (plane.gate.Extend, {"ttl_ms": 5000})]
        if reason != "expired":
            calls.append((plane.gate.Commit, {"actual": spend(5)}))
        for call, more in calls:
            for _ in range(2):
                late = refusal(call, org="acme", reservation_id=hold, request_id=fresh(), **more)
                self.assertEqual((late.code.name, late.reason), ("FAILED_PRECONDITION", "RESERVATION_SETTLED"))
                self.assertIn(reason, late.message)

    def hourly(self, plane):
        hour = plane.budget.GetBudget(org="acme").budget.periods["hourly"]
        return hour.spend, hour.reserved

    def test_after_it_nothing_gives_the_hold_back_or_extends_it_any_more(self):
        node, plane = self.started()
        hold = plane.gate.Acquire(org="acme", reserve=spend(60), reservation_ttl_ms=10_000).reservation_id
        node.clock.step(9)
        self.assertEqual(self.hourly(plane), (0, 60))
        node.clock.step(2)
        self.assertSettled(plane, hold, "expired")
        self.assertEqual((self.hourly(plane), list(plane.admin.GetOrg(org="acme").reservations)), ((0, 0), []))
        plane.gate.Record(org="acme", usage=spend(55), request_id="late")
        self.assertEqual(self.hourly(plane), (55, 0), "what was used is booked as usage")
        self.assertEqual(plane.admin.Audit(org="acme").drifted, 0)

    def test_a_hold_that_was_settled_does_not_expire_on_top(self):
        node, plane = self.started()
        holds = [plane.gate.Acquire(org="acme", reserve=spend(30), reservation_ttl_ms=10_000).reservation_id for _ in range(3)]
        plane.gate.Commit(org="acme", reservation_id=holds[0], request_id="c", actual=spend(20))
        plane.gate.Release(org="acme", reservation_id=holds[1], request_id="c")
        self.assertEqual(self.hourly(plane), (20, 30))
        node.clock.step(11)
        self.assertEqual(self.hourly(plane), (20, 0))
        for hold, reason in zip(holds, ["committed", "released", "expired"]):
            self.assertSettled(plane, hold, reason)
        self.assertTrue(plane.gate.Commit(org="acme", reservation_id=holds[0], request_id="c", actual=spend(20)).replayed)
        self.assertEqual(self.hourly(plane), (20, 0))

    def test_it_happens_without_any_call(self):
        node, plane = self.started()
        hold = plane.gate.Acquire(org="acme", reserve=spend(60), reservation_ttl_ms=10_000).reservation_id
        node.clock.step(11)
        eventually(lambda: metric(node.http, "tollgate_reservations_open") == 0, "the sweep")
        node.kill()
        kept = [row for row in self.exported(node) if row.get("kind") == "reservation"]
        self.assertTrue(all(row["value"]["expired_at"] for row in kept) and len(kept) == 1, kept)
        plane = self.plane(node.start())
        self.assertSettled(plane, hold, "expired")
        self.assertEqual(self.hourly(plane), (0, 0))

    def test_it_waits_for_a_node_that_is_down(self):
        """R-LEASE-1"""
        node, plane = self.started()
        holds = [plane.gate.Acquire(org="acme", reserve=spend(30), reservation_ttl_ms=ttl).reservation_id for ttl in (10_000, 50_000)]
        node.kill()
        node.clock.step(3600)
        plane = self.plane(node.start())
        self.assertEqual(self.hourly(plane), (0, 60), "both hold")
        node.clock.step(20)
        self.assertSettled(plane, holds[0], "expired")
        self.assertEqual(self.hourly(plane), (0, 30), "the longer one still holds")
        plane.gate.Commit(org="acme", reservation_id=holds[1], request_id="c", actual=spend(31))
        self.assertEqual(self.hourly(plane), (31, 0))

    def test_an_extension_survives_a_crash(self):
        """Durability contract"""
        node, plane = self.started()
        hold = plane.gate.Acquire(org="acme", reserve=spend(30), reservation_ttl_ms=10_000).reservation_id
        plane.gate.Extend(org="acme", reservation_id=hold, request_id="x", ttl_ms=120_000)
        node.kill()
        node.clock.step(30)
        plane = self.plane(node.start())
        self.assertEqual(self.hourly(plane), (0, 30))
        self.assertTrue(plane.gate.Extend(org="acme", reservation_id=hold, request_id="x", ttl_ms=120_000).replayed)


if __name__ == "__main__":
    unittest.main()
