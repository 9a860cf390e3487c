"""Budgets that are set while the node runs: written, in force at once, kept, and healed where they are damaged."""

import unittest
from concurrent.futures import ThreadPoolExecutor

import grpc

from case import NodeCase, SharedNodeCase, fresh
from node import eventually
from plane import code_name, limit, metric, refusal

PERIODS = ["hourly", "daily", "weekly", "monthly"]
MOST = 10**16
CENT = 10_000
SCOPE = "workspace/ws_42"


def spend(amount):
    return [{"meter": "spend", "amount": amount}]


def limits(budget):
    """The limits in force by period, of those that have one."""
    return {name: period.limit for name, period in budget.periods.items() if period.HasField("limit")}


def set_here(budget):
    """The periods whose limits were set at run time."""
    return {name for name, period in budget.periods.items() if period.set}


class BudgetCase(SharedNodeCase):
    CLOCK = {"minute": 10}

    def patch(self, org, scope="", request_id=None, **periods):
        """`hourly=5` sets, `hourly=None` clears."""
        periods = {name: {"clear": True} if value is None else {"limit": value} for name, value in periods.items()}
        return self.budget.UpdateBudget(org=org, scope=scope, request_id=request_id or fresh(), periods=periods).budget

    def update(self, org, **fields):
        return self.budget.UpdateBudget(**{"org": org, "request_id": fresh(), **fields}).budget

    def replace(self, org, **fields):
        return self.budget.ReplaceBudget(**{"org": org, "request_id": fresh(), **fields}).budget

    def read(self, org, scope=""):
        return self.budget.GetBudget(org=org, scope=scope).budget

    def record(self, org, amount, scope=""):
        self.gate.Record(org=org, scope=scope, usage=spend(amount), request_id=fresh())

    def fits(self, org, amount, scope=""):
        """Whether so much could be held now; nothing is."""
        return self.gate.Acquire(org=org, scope=scope, reserve=spend(amount), mode="MODE_CHECK_ONLY").allowed

    def assertFits(self, org, amount, scope=""):
        """Exactly so much, and not one more."""
        self.assertTrue(self.fits(org, amount, scope), f"{amount} fit")
        self.assertFalse(self.fits(org, amount + 1, scope), f"{amount + 1} do not fit")


class Writing(BudgetCase):
    def test_nothing_is_set_at_first(self):
        """R-BUD-6"""
        budget = self.read(fresh("none"))
        self.assertEqual((budget.version, limits(budget), set_here(budget)), (0, {}, set()))
        self.assertEqual(set(budget.periods), set(PERIODS))
        self.assertFalse(budget.HasField("budget_limit") or budget.HasField("budget_limit_cents"))

    def test_a_patch_keeps_what_it_does_not_name(self):
        """R-BUD-6"""
        org = fresh("merge")
        self.patch(org, hourly=10, daily=20)
        self.assertEqual(limits(self.patch(org, weekly=30)), {"hourly": 10, "daily": 20, "weekly": 30})
        self.assertEqual(limits(self.patch(org, daily=25)), {"hourly": 10, "daily": 25, "weekly": 30})
        named_without_a_word = self.update(org, periods={"hourly": {}, "monthly": {"limit": 40}})
        self.assertEqual(limits(named_without_a_word), {"hourly": 10, "daily": 25, "weekly": 30, "monthly": 40})
        self.assertEqual(limits(self.read(org)), limits(named_without_a_word))
        self.assertEqual(set_here(self.read(org)), set(PERIODS))

    def test_clear_removes_one_limit_and_leaves_the_others(self):
        """R-BUD-6: null clears"""
        org = fresh("clear")
        self.patch(org, hourly=0, daily=20)
        self.assertFalse(self.gate.Acquire(org=org).allowed)
        self.assertEqual(limits(self.patch(org, hourly=None)), {"daily": 20})
        self.assertTrue(self.gate.Acquire(org=org).allowed, "no limit is no limit")
        self.assertEqual(limits(self.patch(org, daily=None)), {})

    def test_the_version_grows_by_one_with_every_change_and_with_nothing_else(self):
        """R-BUD-6"""
        org = fresh("version")
        steps = [
            ({"hourly": 5}, 1), ({"hourly": 5}, 1), ({"hourly": 6, "daily": 7}, 2), ({"weekly": None}, 2),
            ({}, 2), ({"daily": None}, 3), ({"daily": None}, 3), ({"hourly": 0}, 4),
        ]
        for patch, version in steps:
            self.assertEqual(self.patch(org, **patch).version, version, patch)
        self.assertEqual(self.replace(org, limits={"hourly": 0}).version, 4, "replaced by the same")
        self.assertEqual(self.replace(org, limits={"hourly": 1}).version, 5)
        self.record(org, 3)
        self.assertEqual(self.read(org).version, 5, "usage is no change of limits")
        self.assertEqual(self.read(org, SCOPE).version, 0, "every scope has a version of its own")

    def test_another_version_than_expected_changes_nothing(self):
        """R-BUD-6"""
        org = fresh("expected")
        self.assertEqual(self.update(org, periods={"hourly": {"limit": 5}}, expected_version=0).version, 1)
        for call, body in [
            (self.budget.UpdateBudget, {"periods": {"hourly": {"limit": 6}}}),
            (self.budget.UpdateBudget, {"budget_limit": 6}),
            (self.budget.ReplaceBudget, {"limits": {"daily": 6}}),
            (self.budget.ReplaceBudget, {}),
        ]:
            for wrong in [0, 2, 2**62]:
                stale = refusal(call, org=org, request_id=fresh(), expected_version=wrong, **body)
                self.assertEqual((stale.code.name, stale.reason), ("ABORTED", "BUDGET_VERSION"))
                self.assertIn("version 1", stale.message)
        budget = self.read(org)
        self.assertEqual((budget.version, limits(budget)), (1, {"hourly": 5}))
        self.assertEqual(self.update(org, periods={"hourly": {"limit": 6}}, expected_version=1).version, 2)

    def test_of_two_writers_who_expect_the_same_version_one_is_refused(self):
        """R-BUD-6, R-PIPE-4"""
        org = fresh("race")

        def write(amount):
            try:
                self.update(org, periods={"hourly": {"limit": amount}}, expected_version=0)
                return amount
            except grpc.RpcError as error:
                return error.code().name

        with ThreadPoolExecutor(16) as pool:
            outcomes = list(pool.map(write, range(1, 17)))
        self.assertEqual(outcomes.count("ABORTED"), 15, outcomes)
        (winner,) = [each for each in outcomes if each != "ABORTED"]
        budget = self.read(org)
        self.assertEqual((budget.version, limits(budget)), (1, {"hourly": winner}))

    def test_replace_clears_what_it_does_not_name(self):
        """R-BUD-6"""
        org = fresh("replace")
        self.patch(org, hourly=1, daily=2, weekly=3, monthly=4)
        self.assertEqual(limits(self.replace(org, limits={"daily": 9})), {"daily": 9})
        self.assertEqual(limits(self.replace(org, budget_limit=7)), {"monthly": 7})
        self.assertEqual(limits(self.replace(org, budget_limit_cents=7)), {"monthly": 7 * CENT})
        self.assertEqual(limits(self.replace(org)), {})
        self.assertEqual(self.read(org).version, 5)

    def test_a_retried_write_is_made_once(self):
        """R-PIPE-6"""
        org = fresh("retried")
        for call, body, other in [
            (self.budget.UpdateBudget, {"periods": {"hourly": {"limit": 5}}}, {"periods": {"hourly": {"limit": 6}}}),
            (self.budget.ReplaceBudget, {"limits": {"daily": 5}}, {"limits": {"daily": 6}}),
        ]:
            first = call(org=org, request_id="same", **body)
            self.assertFalse(first.replayed)
            self.patch(org, weekly=first.budget.version)
            changed = self.read(org)
            again = call(org=org, request_id="same", **body)
            self.assertTrue(again.replayed)
            self.assertEqual(again.budget, changed, "the budget is shown as it is now")
            reused = refusal(call, org=org, request_id="same", **other)
            self.assertEqual((reused.code.name, reused.reason), ("ALREADY_EXISTS", "REQUEST_ID_REUSED"))
            self.assertEqual(self.read(org), changed)

    def test_a_retry_is_answered_although_the_version_it_expected_is_gone(self):
        """R-PIPE-6"""
        org = fresh("retried")
        body = {"org": org, "request_id": "same", "periods": {"hourly": {"limit": 5}}, "expected_version": 0}
        self.budget.UpdateBudget(**body)
        again = self.budget.UpdateBudget(**body)
        self.assertEqual((again.replayed, again.budget.version), (True, 1))

    def test_a_refused_write_may_be_sent_again_corrected(self):
        """R-PIPE-6: only what was done is remembered"""
        org = fresh("corrected")
        refusal(self.budget.UpdateBudget, org=org, request_id="x", periods={"hourly": {"limit": 5}}, expected_version=9)
        done = self.budget.UpdateBudget(org=org, request_id="x", periods={"hourly": {"limit": 5}}, expected_version=0)
        self.assertEqual((done.replayed, done.budget.version), (False, 1))

    def test_negative_amounts_and_unknown_periods_are_refused_with_what_is_allowed(self):
        """R-BUD-2"""
        org = fresh("refused")
        self.patch(org, hourly=5)
        names = "hourly, daily, weekly, monthly"
        for call, body, part in [
            (self.budget.UpdateBudget, {"periods": {"fortnightly": {"limit": 1}}}, names),
            (self.budget.UpdateBudget, {"periods": {"Hourly": {"clear": True}}}, names),
            (self.budget.UpdateBudget, {"periods": {"": {}}}, names),
            (self.budget.ReplaceBudget, {"limits": {"fortnightly": 1}}, names),
            (self.budget.UpdateBudget, {"periods": {"daily": {"limit": -1}}}, f"0 to {MOST}"),
            (self.budget.UpdateBudget, {"periods": {"daily": {"limit": MOST + 1}}}, f"0 to {MOST}"),
            (self.budget.ReplaceBudget, {"limits": {"daily": -1}}, f"0 to {MOST}"),
            (self.budget.ReplaceBudget, {"limits": {"hourly": 1, "daily": -(2**63)}}, f"0 to {MOST}"),
            (self.budget.UpdateBudget, {"budget_limit": -1}, f"0 to {MOST}"),
            (self.budget.UpdateBudget, {"budget_limit_cents": -1}, f"0 to {MOST // CENT}"),
        ]:
            with self.subTest(body):
                bad = refusal(call, org=org, request_id=fresh(), **body)
                self.assertEqual((bad.code.name, bad.reason), ("INVALID_ARGUMENT", "INVALID_FIELD"))
                self.assertIn(part, bad.message)
        budget = self.read(org)
        self.assertEqual((budget.version, limits(budget)), (1, {"hourly": 5}), "nothing of it was done")
        self.assertEqual(limits(self.patch(org, monthly=MOST)), {"hourly": 5, "monthly": MOST}, "the largest")

    def test_budgets_of_an_org_have_a_bound_and_those_there_can_still_be_changed(self):
        """R-PIPE-8: every maximum is one"""
        node = self.node(environment={"TOLLGATE__BOUNDS__BUDGETS_PER_ORG": "2"})
        budgets = self.plane(node).budget
        patch = {"periods": {"hourly": {"limit": 1}}}
        for scope in ["", "workspace/a"]:
            budgets.UpdateBudget(org="acme", scope=scope, request_id=fresh(), **patch)
        full = refusal(budgets.UpdateBudget, org="acme", scope="workspace/b", request_id=fresh(), **patch)
        self.assertEqual((full.code.name, full.reason), ("RESOURCE_EXHAUSTED", "BUDGETS_FULL"))
        changed = budgets.ReplaceBudget(org="acme", scope="workspace/a", request_id=fresh(), limits={"hourly": 2})
        self.assertEqual(changed.budget.version, 2)
        self.assertEqual(budgets.GetBudget(org="acme", scope="workspace/b").budget.version, 0)


class Legacy(BudgetCase):
    """R-BUD-6: the older single limit is that of the month."""

    def test_it_sets_and_clears_monthly_and_is_mirrored_back(self):
        org = fresh("legacy")
        self.patch(org, hourly=10**9)
        budget = self.update(org, budget_limit=12_345_678)
        self.assertEqual(limits(budget), {"hourly": 10**9, "monthly": 12_345_678})
        self.record(org, 2_345_679)
        budget = self.read(org)
        self.assertEqual((budget.budget_limit, budget.monthly_spend, budget.budget_remaining), (12_345_678, 2_345_679, 9_999_999))
        cents = (budget.budget_limit_cents, budget.monthly_spend_cents, budget.budget_remaining_cents)
        self.assertEqual(cents, (1234, 235, 999), "never more is left than there is")
        month = budget.periods["monthly"]
        self.assertEqual((month.limit, month.spend, month.remaining), (12_345_678, 2_345_679, 9_999_999))
        budget = self.update(org, clear_budget_limit=True)
        self.assertEqual(limits(budget), {"hourly": 10**9})
        for field in ["budget_limit", "budget_remaining", "budget_limit_cents", "budget_remaining_cents"]:
            self.assertFalse(budget.HasField(field), field)
        self.assertEqual((budget.monthly_spend, budget.monthly_spend_cents), (2_345_679, 235))

    def test_it_may_be_given_in_cents(self):
        org = fresh("cents")
        budget = self.update(org, budget_limit_cents=250)
        self.assertEqual((budget.budget_limit, budget.budget_limit_cents), (250 * CENT, 250))
        self.assertFits(org, 250 * CENT)
        self.assertEqual(self.update(org, budget_limit_cents=0).budget_limit, 0)
        self.assertFalse(self.gate.Acquire(org=org).allowed, "0 blocks all")

    def test_remaining_may_be_negative_in_either_unit(self):
        org = fresh("below")
        self.update(org, budget_limit=CENT)
        self.record(org, CENT + 1)
        budget = self.read(org)
        self.assertEqual((budget.budget_remaining, budget.budget_remaining_cents, budget.monthly_spend_cents), (-1, -1, 2))

    def test_it_is_refused_together_with_monthly_or_with_itself(self):
        org = fresh("both")
        month = {"periods": {"monthly": {"limit": 5}}}
        for call, body in [
            (self.budget.UpdateBudget, {**month, "budget_limit": 5}),
            (self.budget.UpdateBudget, {**month, "budget_limit_cents": 5}),
            (self.budget.UpdateBudget, {**month, "clear_budget_limit": True}),
            (self.budget.UpdateBudget, {"budget_limit": 5, "budget_limit_cents": 5}),
            (self.budget.UpdateBudget, {"budget_limit": 5, "clear_budget_limit": True}),
            (self.budget.UpdateBudget, {"budget_limit_cents": 5, "clear_budget_limit": True}),
            (self.budget.UpdateBudget, {"periods": {"hourly": {"limit": 5, "clear": True}}}),
            (self.budget.ReplaceBudget, {"limits": {"monthly": 5}, "budget_limit": 5}),
            (self.budget.ReplaceBudget, {"limits": {"monthly": 5}, "budget_limit_cents": 5}),
        ]:
            with self.subTest(body):
                self.assertEqual(refusal(call, org=org, request_id=fresh(), **body).reason, "INVALID_FIELD")
        self.assertEqual(self.read(org).version, 0)
        beside = self.update(org, periods={"hourly": {"limit": 5}}, budget_limit=6)
        self.assertEqual((limits(beside), beside.version), ({"hourly": 5, "monthly": 6}, 1), "beside another period")


class InForce(BudgetCase):
    CONFIG = """
        [defaults]
        plan = "limited"
        [plans.limited]
        spend = { hourly = "100u" }
        [plans.limited.scopes]
        "workspace/*" = { spend = { hourly = "50u" } }
    """

    def test_a_set_limit_holds_on_the_very_next_call_over_the_configured_one(self):
        """R-PIPE-11, R-BUD-6"""
        org = fresh("over")
        self.assertFits(org, 100)
        for amount in [40, 400, 0, 100]:
            self.assertEqual(self.patch(org, hourly=amount).periods["hourly"].limit, amount)
            self.assertEqual(self.fits(org, amount), amount > 0)
            self.assertFalse(self.fits(org, amount + 1))
            self.assertEqual(limit(self.gate.GetStatus(org=org), "budget/hourly").amount, amount)
        self.assertEqual(self.read(org).version, 4)

    def test_clearing_brings_the_configured_limit_back(self):
        """R-BUD-6, R-PIPE-11"""
        org = fresh("back")
        configured = self.read(org).periods["hourly"]
        self.assertEqual((configured.limit, configured.set), (100, False))
        self.patch(org, hourly=400)
        cleared = self.patch(org, hourly=None).periods["hourly"]
        self.assertEqual((cleared.limit, cleared.set), (100, False))
        self.assertFits(org, 100)
        self.patch(org, hourly=7)
        self.assertEqual(self.replace(org, limits={"daily": 300}).periods["hourly"].limit, 100)
        self.assertFits(org, 100)

    def test_a_limit_set_on_one_scope_is_over_that_of_all_scopes_and_no_other_scope_has_it(self):
        """R-BUD-7"""
        org = fresh("scope")
        self.patch(org, SCOPE, hourly=60)
        self.assertFits(org, 60, SCOPE)
        self.assertFits(org, 50, "workspace/other")
        self.assertEqual(limits(self.patch(org, SCOPE, hourly=None)), {"hourly": 50})
        self.assertFits(org, 50, SCOPE)

    def test_a_raised_limit_unblocks_at_once_and_a_lowered_one_blocks_at_once(self):
        """R-PIPE-11: state is derived from counters each time"""
        org = fresh("raised")
        self.record(org, 130)
        denied = self.gate.Acquire(org=org)
        self.assertEqual((code_name(denied), denied.http_status_hint), ("BUDGET_EXCEEDED", 402))
        self.patch(org, hourly=131)
        allowed = self.gate.Acquire(org=org)
        self.assertTrue(allowed.allowed, allowed.message)
        self.assertEqual(limit(allowed, "budget/hourly").remaining, 1)
        self.patch(org, hourly=130)
        self.assertFalse(self.gate.Acquire(org=org).allowed, "used is the limit")
        self.patch(org, hourly=None)
        self.assertFalse(self.gate.Acquire(org=org).allowed, "100 are configured")

    def test_used_equal_to_the_limit_is_exceeded(self):
        """R-BUD-2: exceeded iff used >= limit"""
        for used, allowed in [(0, True), (9, True), (10, False), (11, False)]:
            org = fresh("exact")
            self.patch(org, daily=10)
            self.record(org, used)
            self.assertEqual(self.gate.Acquire(org=org).allowed, allowed, f"{used} of 10")

    def test_four_periods_stand_side_by_side_and_any_one_denies_by_its_name(self):
        """R-BUD-1, R-BUD-2"""
        for tight in PERIODS:
            org = fresh(tight)
            self.replace(org, limits={name: 10 if name == tight else 10_000 for name in PERIODS})
            self.record(org, 10)
            denied = self.gate.Acquire(org=org)
            self.assertEqual((denied.allowed, code_name(denied)), (False, "BUDGET_EXCEEDED"))
            limiting = [each.name for each in denied.limits if each.limiting]
            self.assertEqual(limiting, [f"budget/{tight}"])
            self.assertIn(f"budget/{tight}", denied.message)
            self.assertGreater(denied.retry_after_ms, 0)

    def test_nothing_blocks_all_and_no_limit_blocks_nothing(self):
        """R-BUD-2"""
        org = fresh("zero")
        self.patch(org, hourly=10**15)
        self.assertTrue(self.fits(org, 10**15))
        self.patch(org, weekly=0)
        denied = self.gate.Acquire(org=org)
        self.assertEqual((denied.allowed, denied.retry_after_ms), (False, 0), "waiting does not help")
        self.patch(org, weekly=None)
        self.assertTrue(self.gate.Acquire(org=org).allowed)

    def test_org_and_scope_must_both_fit_and_what_does_not_is_named(self):
        """R-BUD-7"""
        for of_org, of_scope, tightest in [(30, 20, SCOPE), (20, 30, "")]:
            org = fresh("both")
            self.patch(org, hourly=of_org)
            self.patch(org, SCOPE, hourly=of_scope)
            self.assertFits(org, 20, SCOPE)
            denied = self.gate.Acquire(org=org, scope=SCOPE, reserve=spend(31))
            self.assertTrue(limit(denied, "budget/hourly").limiting and limit(denied, "budget/hourly", SCOPE).limiting)
            self.assertIn(f"scope {SCOPE}" if tightest else "this org", denied.message)
            one = self.gate.Acquire(org=org, scope=SCOPE, reserve=spend(21))
            limiting = [each.scope for each in one.limits if each.limiting]
            self.assertEqual(limiting, [tightest])
            self.assertIn(f"scope {SCOPE}" if tightest else "this org", one.message)

    def test_what_a_scope_spends_counts_for_its_org(self):
        """R-BUD-7, R-PIPE-4"""
        org = fresh("sum")
        self.patch(org, daily=20)
        for scope in ["workspace/a", "workspace/b"]:
            self.patch(org, scope, daily=15)
            self.record(org, 10, scope)
        self.assertEqual([self.read(org, scope).periods["daily"].spend for scope in ["", "workspace/a"]], [20, 10])
        denied = self.gate.Acquire(org=org, scope="workspace/a")
        self.assertEqual([each.scope for each in denied.limits if each.limiting], [""])

    def test_the_number_shown_is_the_number_enforced(self):
        """R-BUD-3"""
        org = fresh("shown")
        self.replace(org, limits={"hourly": 1000, "daily": 900, "weekly": 800, "monthly": 700})
        self.record(org, 123, SCOPE)
        hold = self.gate.Acquire(org=org, reserve=spend(77)).reservation_id
        self.gate.Acquire(org=org, cost=spend(11))
        for settle in [False, True]:
            if settle:
                self.gate.Commit(org=org, reservation_id=hold, request_id=fresh(), actual=spend(60))
            budget = self.read(org)
            seen = self.gate.Acquire(org=org, mode="MODE_CHECK_ONLY", explain=True)
            for name, period in budget.periods.items():
                enforced = limit(seen, f"budget/{name}")
                self.assertEqual(
                    (period.limit, period.spend, period.reserved, period.remaining),
                    (enforced.amount, enforced.used, enforced.reserved, enforced.remaining))
            spends = [budget.periods[name].spend for name in PERIODS]
            self.assertEqual(spends, sorted(spends))
            self.assertFits(org, min(period.remaining for period in budget.periods.values()))

    def test_an_operator_sees_what_is_set(self):
        """R-OPS-2"""
        org = fresh("seen")
        self.patch(org, hourly=5)
        self.patch(org, SCOPE, daily=6, weekly=0)
        seen = {each.scope: (each.version, dict(each.limits)) for each in self.admin.GetOrg(org=org).budgets}
        self.assertEqual(seen, {"": (1, {"hourly": 5}), SCOPE: (1, {"daily": 6, "weekly": 0})})

    def test_a_purge_forgets_budgets(self):
        org = fresh("purged")
        self.patch(org, hourly=5)
        self.admin.PurgeOrg(org=org, request_id="p")
        budget = self.read(org)
        self.assertEqual((budget.version, limits(budget)), (0, {"hourly": 100}))
        self.assertFits(org, 100)


class Time(NodeCase):
    LONG = {"TOLLGATE__BOUNDS__CONNECTION_AGE_MS": "86400000"}

    def test_each_period_lets_go_of_what_it_no_longer_covers(self):
        """R-BUD-1, R-BUD-4: never early, at most one slice late"""
        clock = self.clock(minute=10)
        node = self.node(clock=clock, environment=self.LONG)
        plane = self.plane(node)
        shape = {"hourly": 10, "daily": 20, "weekly": 30, "monthly": 40}
        plane.budget.ReplaceBudget(org="acme", request_id="r", limits=shape)
        plane.gate.Record(org="acme", usage=spend(10), request_id="u")
        denied = plane.gate.Acquire(org="acme")
        self.assertFalse(denied.allowed)
        self.assertGreater(denied.retry_after_ms, 3_600_000 - 60_000)
        self.assertLessEqual(denied.retry_after_ms, 3_600_000 + 60_000)
        clock.step(denied.retry_after_ms / 1000 - 20)
        self.assertFalse(plane.gate.Acquire(org="acme").allowed, "20 s are left")
        clock.step(21)
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        spends = {name: period.spend for name, period in plane.budget.GetBudget(org="acme").budget.periods.items()}
        self.assertEqual(spends, {"hourly": 0, "daily": 10, "weekly": 10, "monthly": 10})
        plane.gate.Record(org="acme", usage=spend(9), request_id="u2")
        clock.step(24 * 3600)
        plane = self.plane(node)
        spends = {name: period.spend for name, period in plane.budget.GetBudget(org="acme").budget.periods.items()}
        self.assertEqual(spends, {"hourly": 0, "daily": 9, "weekly": 19, "monthly": 19})


class Kept(NodeCase):
    CONFIG = '[orgs."acme"]\nspend = { hourly = "1000u" }\n'

    def write(self, plane):
        plane.budget.UpdateBudget(org="acme", request_id="1", periods={"hourly": {"limit": 10}, "weekly": {"limit": 0}})
        plane.budget.UpdateBudget(org="acme", request_id="2", periods={"weekly": {"clear": True}})
        plane.budget.ReplaceBudget(org="acme", scope=SCOPE, request_id="3", limits={"daily": 5}, budget_limit=6)
        plane.gate.Record(org="acme", scope=SCOPE, usage=spend(4), request_id="4")

    def check(self, plane):
        of_org = plane.budget.GetBudget(org="acme").budget
        of_scope = plane.budget.GetBudget(org="acme", scope=SCOPE).budget
        self.assertEqual((of_org.version, limits(of_org)), (2, {"hourly": 10}))
        self.assertEqual((of_scope.version, limits(of_scope)), (1, {"daily": 5, "monthly": 6}))
        self.assertEqual((of_org.monthly_spend, of_scope.monthly_spend), (4, 4))
        peek = lambda amount: plane.gate.Acquire(  # noqa: E731
            org="acme", scope=SCOPE, reserve=spend(amount), mode="MODE_CHECK_ONLY").allowed
        self.assertEqual([peek(1), peek(2)], [True, False])
        again = plane.budget.UpdateBudget(org="acme", request_id="2", periods={"weekly": {"clear": True}})
        self.assertEqual((again.replayed, again.budget.version), (True, 2))

    def test_budgets_are_as_they_were_after_sigterm(self):
        """Durability contract"""
        node = self.node(config=self.CONFIG, clock=self.clock(minute=10))
        self.write(self.plane(node))
        self.assertEqual(node.stop(), 0)
        self.check(self.plane(node.start()))

    def test_an_answered_write_survives_sigkill(self):
        """Durability contract: limits wait for the disk"""
        node = self.node(config=self.CONFIG, clock=self.clock(minute=10))
        self.write(self.plane(node))
        node.kill()
        self.check(self.plane(node.start()))

    def test_a_purge_survives_a_restart(self):
        node = self.node(config=self.CONFIG, clock=self.clock(minute=10))
        plane = self.plane(node)
        self.write(plane)
        plane.admin.PurgeOrg(org="acme", request_id="p")
        node.kill()
        plane = self.plane(node.start())
        for scope, in_force in [("", {"hourly": 1000}), (SCOPE, {})]:
            budget = plane.budget.GetBudget(org="acme", scope=scope).budget
            self.assertEqual((budget.version, limits(budget)), (0, in_force))

    def test_a_reload_keeps_what_was_set_and_changes_what_is_under_it(self):
        """R-PIPE-11, R-OPS-4"""
        node = self.node(config=self.CONFIG, clock=self.clock(minute=10))
        plane = self.plane(node)
        self.write(plane)
        node.write_config('[orgs."acme"]\nspend = { hourly = "2000u", daily = "3000u" }\n')
        node.reload()
        eventually(lambda: plane.admin.GetNode().config_generation == 1, "the reload")
        budget = plane.budget.GetBudget(org="acme").budget
        self.assertEqual((limits(budget), set_here(budget), budget.version), ({"hourly": 10, "daily": 3000}, {"hourly"}, 2))
        fits = lambda amount: plane.gate.Acquire(org="acme", reserve=spend(amount), mode="MODE_CHECK_ONLY").allowed  # noqa: E731
        self.assertEqual([fits(6), fits(7)], [True, False])
        cleared = plane.budget.UpdateBudget(org="acme", request_id="5", periods={"hourly": {"clear": True}}).budget
        self.assertEqual(limits(cleared), {"hourly": 2000, "daily": 3000})
        self.assertEqual([fits(1996), fits(1997)], [True, False])


class Malformed(NodeCase):
    """R-BUD-2, R-OPS-6: a stored limit that cannot be understood is never no limit."""

    def damaged(self, change, scope=SCOPE, config="", environment=None):
        """A node whose stored budget of `scope` is damaged, and its plane."""
        node = self.node(clock=self.clock(minute=10))
        plane = self.plane(node)
        plane.budget.ReplaceBudget(org="acme", scope=scope, request_id="1", limits={"hourly": 7, "daily": 100})
        plane.budget.ReplaceBudget(org="well", scope=scope, request_id="1", limits={"hourly": 7})
        self.assertEqual(node.stop(), 0)

        def damage(row):
            if row.get("kind") == "budget" and row["org"] == "acme":
                row["value"]["limits"] = [change(name, amount) for name, amount in row["value"]["limits"]]

        new = self.restored(node, damage, clock=node.clock, config=config, environment=environment)
        return new, self.plane(new)

    @staticmethod
    def unknown_period(name, amount):
        return ["fortnightly", amount] if name == "hourly" else [name, amount]

    @staticmethod
    def absurd_amount(name, amount):
        return [name, MOST + 1] if name == "hourly" else [name, amount]

    def opened(self, node):
        return metric(node.http, "tollgate_fail_open_total", gate="budgets", cause="malformed_limit")

    def test_it_is_let_through_flagged_logged_and_counted_and_shown(self):
        for change, shown in [(self.unknown_period, "fortnightly=7"), (self.absurd_amount, f"hourly={MOST + 1}")]:
            with self.subTest(shown):
                node, plane = self.damaged(change)
                self.assertEqual(self.opened(node), 0)
                answer = plane.gate.Acquire(org="acme", scope=SCOPE)
                self.assertEqual((answer.allowed, code_name(answer)), (True, "ALLOWED"), answer.message)
                self.assertEqual([(each.gate, each.cause) for each in answer.fail_open], [("budgets", "malformed_limit")])
                self.assertEqual(self.opened(node), 1)
                plane.gate.Acquire(org="acme", scope=SCOPE)
                self.assertEqual(self.opened(node), 2)
                eventually(lambda: node.logged("malformed_limit"), "a line in the log")
                started = plane.session.StartSession(
                    org="acme", scope=SCOPE, session_id="s", identity="vm 1", request_id="s")
                self.assertEqual((started.allowed, [each.gate for each in started.fail_open]), (True, ["budgets"]))
                self.assertEqual(self.opened(node), 3)
                budget = plane.budget.GetBudget(org="acme", scope=SCOPE).budget
                self.assertEqual((list(budget.malformed), budget.version), ([shown], 1))
                self.assertEqual(limits(budget), {"daily": 100}, "the other one still holds")
                for org, scope in [("acme", ""), ("acme", "workspace/other"), ("well", SCOPE)]:
                    other = plane.gate.Acquire(org=org, scope=scope)
                    self.assertEqual((other.allowed, list(other.fail_open)), (True, []), (org, scope))
                self.assertEqual(self.opened(node), 3)
                node.close()

    def test_what_is_known_to_be_exhausted_still_denies(self):
        """R-PIPE-2"""
        node, plane = self.damaged(self.unknown_period)
        plane.gate.Record(org="acme", scope=SCOPE, usage=spend(100), request_id="u")
        denied = plane.gate.Acquire(org="acme", scope=SCOPE)
        self.assertEqual((denied.allowed, code_name(denied)), (False, "BUDGET_EXCEEDED"))
        self.assertEqual(self.opened(node), 0, "nothing was let through")

    def test_that_of_the_org_leaves_no_scope_with_an_answer(self):
        """R-BUD-7: both must fit, and one is not known"""
        _, plane = self.damaged(self.unknown_period, scope="")
        for scope in ["", SCOPE]:
            answer = plane.gate.Acquire(org="acme", scope=scope)
            self.assertEqual([(each.gate, each.cause) for each in answer.fail_open], [("budgets", "malformed_limit")])

    def test_where_the_policy_is_to_deny_it_denies_as_indeterminate(self):
        """R-PIPE-2"""
        node, plane = self.damaged(self.unknown_period, config='[budgets]\non_indeterminate = "deny"\n')
        denied = plane.gate.Acquire(org="acme", scope=SCOPE)
        self.assertEqual((denied.allowed, code_name(denied), denied.http_status_hint), (False, "INDETERMINATE", 503))
        self.assertIn("budgets", denied.message)
        self.assertIn("malformed_limit", denied.message)
        self.assertEqual((list(denied.fail_open), self.opened(node)), ([], 0))
        self.assertTrue(plane.gate.Acquire(org="acme").allowed)
        self.assertEqual(plane.gate.Resume(org="acme", execution_id="e").continuations, 1, "R-BAL-8")

    def test_a_patch_does_not_lose_it_and_replacing_the_budget_heals_it(self):
        for change in [self.unknown_period, self.absurd_amount]:
            node, plane = self.damaged(change)
            patched = plane.budget.UpdateBudget(
                org="acme", scope=SCOPE, request_id="2", periods={"weekly": {"limit": 50}}).budget
            self.assertEqual((len(patched.malformed), patched.version), (1, 2))
            self.assertTrue(plane.gate.Acquire(org="acme", scope=SCOPE).fail_open)
            healed = plane.budget.ReplaceBudget(org="acme", scope=SCOPE, request_id="3", limits={"hourly": 7}).budget
            self.assertEqual((list(healed.malformed), limits(healed), healed.version), ([], {"hourly": 7}, 3))
            answer = plane.gate.Acquire(org="acme", scope=SCOPE, reserve=spend(7))
            self.assertEqual((answer.allowed, list(answer.fail_open)), (True, []))
            self.assertFalse(plane.gate.Acquire(org="acme", scope=SCOPE).allowed)
            node.kill()
            plane = self.plane(node.start())
            self.assertEqual(list(plane.budget.GetBudget(org="acme", scope=SCOPE).budget.malformed), [])
            node.close()


if __name__ == "__main__":
    unittest.main()
