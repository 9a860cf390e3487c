"""What a denial says to people: the limit whose time it gives, of whichever gate, that time, and the numbers."""

import datetime
import re
import unittest

from billing import LONG_CONNECTIONS
from case import SharedNodeCase, fresh
from plane import code_name, limit
from sessions import MID_MONTH

DOLLAR = 1_000_000
TIME = re.compile(r"at (\d{4}-\d\d-\d\dT[\d:.]+Z) \(in ([^)]*)\)")
UNITS = {"d": 86_400_000, "h": 3_600_000, "min": 60_000, "s": 1_000, "ms": 1}
SCOPE = "workspace/a"


def spend(dollars):
    return [{"meter": "spend", "amount": int(dollars * DOLLAR)}]


def executions(count):
    return [{"meter": "executions", "amount": count}]


class Sentences(SharedNodeCase):
    CLOCK = {"at": MID_MONTH}
    ENVIRONMENT = LONG_CONNECTIONS
    CONFIG = """
        [rate]
        amount = 50
        [defaults]
        plan = "limited"
        [plans.limited]
        executions = { aligned_1m = 10, calendar_month = 12 }
        spend = { daily = "$25" }
        [plans.limited.scopes]
        "workspace/*" = { spend = { hourly = "$5" } }
        [plans.open]
        [plans.spending]
        spend = { hourly = "$2", daily = "$2", weekly = "$2", monthly = "$2", rolling_12h = "$2" }
        executions = { calendar_month = 1 }
        [orgs.fast]
        plan = "open"
        [orgs.many]
        plan = "spending"
        [orgs.tight]
        plan = "open"
        bytes = { anchored_1h = { amount = 1000000, buffer = 100000 } }
    """

    def assertAgrees(self, denied):
        """The time in the sentence is the decision's, in both forms."""
        self.assertFalse(denied.allowed)
        found = TIME.search(denied.message)
        self.assertIsNotNone(found, denied.message)
        at = datetime.datetime.fromisoformat(found.group(1)).timestamp() * 1000
        self.assertAlmostEqual(at - self.shared.clock.now_ms(), denied.retry_after_ms, delta=2_000, msg=denied.message)
        words = found.group(2).split()
        said = sum(int(number) * UNITS[unit] for number, unit in zip(words[::2], words[1::2]))
        self.assertTrue(0 <= said - denied.retry_after_ms < 3_600_000, denied.message)

    def assertPlain(self, message):
        """No name of a meter for its unit, no window in the form of the API, no bare micro-dollars."""
        for wrong in ["spend per", "per rolling/", "per aligned/", " ms)", "000000 "]:
            self.assertNotIn(wrong, message)

    def test_of_two_limits_the_one_that_fits_last_is_named_with_its_time(self):
        """R-BUD-7, R-PIPE-5"""
        org = fresh("two")
        self.gate.Acquire(org=org, cost=executions(10))
        self.shared.clock.step(60)
        self.gate.Acquire(org=org, cost=executions(2))
        self.gate.Record(org=org, usage=executions(8), request_id=fresh())
        denied = self.gate.Acquire(org=org)
        self.assertEqual(sorted(each.name for each in denied.limits if each.limiting),
                         ["quota/executions", "quota/executions/aligned/1m"])
        self.assertTrue(denied.message.startswith(
            "Quota quota/executions of this org is used up: 20 executions used of 12 executions per calendar month. "), denied.message)
        self.assertIn(" Also exceeded: quota/executions/aligned/1m of this org (used up, fits again in ", denied.message)
        self.assertAgrees(denied)
        ends = limit(denied, "quota/executions").resets_at_ms
        self.assertAlmostEqual(ends - self.shared.clock.now_ms(), denied.retry_after_ms, delta=2_000)
        self.assertPlain(denied.message)

    def test_what_is_not_used_up_says_what_was_asked_and_what_is_left(self):
        """R-PIPE-5"""
        org = fresh("left")
        self.gate.Acquire(org=org, cost=executions(5))
        denied = self.gate.Acquire(org=org, cost=executions(7))
        self.assertIn("has too little left: 7 executions asked, 5 executions left of 10 executions per aligned minute.", denied.message)
        self.assertNotIn("used up", denied.message)
        self.assertAgrees(denied)

    def test_money_is_in_dollars_of_the_org_and_of_its_scope(self):
        org = fresh("money")
        self.gate.Record(org=org, scope=SCOPE, usage=spend(4.5), request_id=fresh())
        denied = self.gate.Acquire(org=org, scope=SCOPE, reserve=spend(22))
        self.assertEqual((denied.retry_after_ms, code_name(denied)), (0, "BUDGET_EXCEEDED"))
        self.assertEqual(
            denied.message,
            "Budget budget/hourly of scope workspace/a has too little left: $22.00 asked, $0.50 left of $5.00 per rolling "
            "hour. It will not fit while this limit stands. Also exceeded: budget/daily of this org ($22.00 asked, $20.50 "
            "left, fits again in 1 d 1 h).")
        denied = self.gate.Acquire(org=org, scope=SCOPE, reserve=spend(1))
        self.assertIn("$1.00 asked, $0.50 left of $5.00 per rolling hour. It fits again at ", denied.message)
        self.assertAgrees(denied)

    def test_a_hold_and_a_buffer_are_named_where_they_are_what_is_missing(self):
        org = "tight"
        bytes_ = lambda amount: [{"meter": "bytes", "amount": amount}]  # noqa: E731
        self.gate.Acquire(org=org, cost=bytes_(500_000))
        self.gate.Acquire(org=org, reserve=bytes_(400_000))
        denied = self.gate.Acquire(org=org, cost=bytes_(1))
        self.assertIn("is used up: 500.0 kB used and 400.0 kB reserved of 1.0 MB less a buffer of 100.0 kB per hour from first use.",
                      denied.message)
        self.assertAgrees(denied)

    def test_a_limit_of_nothing_blocks_and_says_so(self):
        org = fresh("zero")
        self.budget.UpdateBudget(org=org, request_id=fresh(), periods={"daily": {"limit": 0}})
        denied = self.gate.Acquire(org=org)
        self.assertEqual(denied.retry_after_ms, 0)
        self.assertEqual(denied.message, "Budget budget/daily of this org is $0.00 per rolling day and blocks everything. "
                                         "It will not fit while this limit stands.")

    def test_of_many_limits_some_are_named_and_the_rest_counted(self):
        org = "many"
        self.gate.Acquire(org=org)
        self.gate.Record(org=org, usage=spend(2), request_id=fresh())
        denied = self.gate.Acquire(org=org)
        self.assertEqual(sum(each.limiting for each in denied.limits), 6)
        self.assertTrue(denied.message.startswith("Budget budget/monthly of this org is used up: $2.00 used of $2.00 per rolling 30 days."))
        self.assertTrue(denied.message.endswith(" and 2 more."), denied.message)
        self.assertAgrees(denied)
        self.assertPlain(denied.message)

    def test_the_backstop_says_its_own_time(self):
        for _ in range(50):
            self.gate.Acquire(org="fast")
        denied = self.gate.Acquire(org="fast")
        self.assertEqual(code_name(denied), "RATE_LIMITED")
        self.assertAgrees(denied)
        self.assertPlain(denied.message)

    def test_the_command_line_heads_with_the_same_limit(self):
        org = fresh("cli")
        self.gate.Record(org=org, usage=executions(12), request_id=fresh())
        denied = self.shared.run("acquire", org, "--addr", self.shared.grpc)
        self.assertEqual(denied.returncode, 3, denied.stderr)
        head, sentence = denied.stdout.splitlines()[:2]
        self.assertIn("QUOTA_EXCEEDED  0 left of 12 (quota/executions, resets in ", head.replace("-0", "0"))
        self.assertTrue(sentence.startswith("Quota quota/executions of this org is used up: 12 executions used of 12 "), sentence)


class ManyGates(SharedNodeCase):
    """R-PIPE-5: the first gate that denies gives the code; time and sentence are of every limit that is known to be full."""

    CLOCK = {"at": MID_MONTH + 1_800}
    ENVIRONMENT = {**LONG_CONNECTIONS, "TOLLGATE__BILLING__PROVIDER": "static"}
    CONFIG = """
        [rate]
        amount = 100
        [defaults]
        plan = "open"
        [plans.open]
        [plans.two]
        included = 2
        executions = { calendar_day = 2 }
        [plans.sessions]
        max_sessions = 1
        compute = { calendar_month = "1h" }
        executions = { calendar_day = 2 }
        [plans.none]
        max_sessions = 0
        [orgs.day]
        rate = { amount = 2 }
        executions = { calendar_day = 2 }
        [orgs.month]
        plan = "two"
        [orgs.slots]
        plan = "sessions"
        [orgs.busy]
        plan = "sessions"
        [orgs.closed]
        plan = "none"
    """
    assertAgrees = Sentences.assertAgrees

    def used_up(self, org, times=2):
        for _ in range(times):
            self.assertTrue(self.gate.Acquire(org=org).allowed)
        return [self.gate.Acquire(org=org), self.gate.Acquire(org=org, explain=True), self.gate.GetStatus(org=org)]

    def start(self, org, session, **fields):
        return self.session.StartSession(
            org=org, session_id=session, identity="vm", request_id=fresh(), **fields)

    def test_a_backstop_that_resets_before_a_quota_does_not_give_the_time(self):
        for denied in self.used_up("day"):
            self.assertEqual(code_name(denied), "RATE_LIMITED")
            self.assertTrue(denied.message.startswith("Quota quota/executions/calendar/day of this org is used up: "),
                            denied.message)
            self.assertIn(" Also exceeded: the rate backstop (2 of 2 calls per clock hour, resets in ", denied.message)
            self.assertAgrees(denied)
            ends = limit(denied, "quota/executions/calendar/day").resets_at_ms
            self.assertAlmostEqual(ends - self.shared.clock.now_ms(), denied.retry_after_ms, delta=2_000)
            self.assertEqual({each.name for each in denied.limits if each.limiting}, {"rate", "quota/executions/calendar/day"})

    def test_a_balance_that_resets_after_a_quota_gives_the_time(self):
        for denied in self.used_up("month")[:2]:
            self.assertEqual(code_name(denied), "QUOTA_EXCEEDED")
            self.assertTrue(denied.message.startswith("The included executions of plan two are used up"), denied.message)
            self.assertIn(" Also exceeded: quota/executions/calendar/day of this org (used up, fits again in ", denied.message)
            self.assertAgrees(denied)
            ends = limit(denied, "balance").resets_at_ms
            self.assertAlmostEqual(ends - self.shared.clock.now_ms(), denied.retry_after_ms, delta=2_000)

    def test_ending_a_session_is_not_advised_where_it_does_not_help(self):
        self.assertTrue(self.start("slots", "s").allowed)
        self.assertEqual(self.start("slots", "t").message, "Session limit reached: 1 of 1 run. End one to start another.")
        self.gate.Record(org="slots", usage=[{"meter": "compute", "amount": 3_600_000}], request_id=fresh())
        for fields in ({}, {"explain": True}):
            denied = self.start("slots", "t", **fields)
            self.assertEqual(code_name(denied), "SESSION_LIMIT_REACHED")
            self.assertEqual(denied.message, "Monthly quota exceeded — upgrade to continue. Also exceeded: sessions (1 of 1 run).")
            ends = limit(denied, "quota/compute").resets_at_ms
            self.assertAlmostEqual(ends - self.shared.clock.now_ms(), denied.retry_after_ms, delta=2_000)

    def test_what_never_fits_has_no_time(self):
        denied = self.start("closed", "s")
        self.assertEqual((code_name(denied), denied.retry_after_ms), ("SESSION_LIMIT_REACHED", 0))
        self.assertEqual(denied.message, "Session limit reached: 0 of 0 run. None may be started while `max_sessions` is 0.")


class StaticBalance(SharedNodeCase):
    CLOCK = {"at": MID_MONTH}
    ENVIRONMENT = {"TOLLGATE__BILLING__PROVIDER": "static"}
    CONFIG = """
        [defaults]
        plan = "ten"
        [plans.ten]
        included = 10
    """

    def test_a_balance_that_is_too_small_is_not_called_used_up(self):
        """R-BAL-9"""
        org = fresh("balance")
        self.gate.Acquire(org=org, cost=executions(5))
        denied = self.gate.Acquire(org=org, cost=executions(7))
        self.assertEqual(code_name(denied), "BALANCE_EXHAUSTED")
        self.assertTrue(denied.message.startswith(
            "The included executions of plan ten do not suffice (it includes 10): 7 asked, 5 left. It resets at "), denied.message)
        self.assertGreater(denied.retry_after_ms, 0)
        never = self.gate.Acquire(org=org, cost=executions(11))
        self.assertIn("11 asked, 5 left. One period does not include as much.", never.message)
        self.assertEqual(never.retry_after_ms, 0, "waiting does not help")
        self.gate.Acquire(org=org, cost=executions(5))
        self.assertIn("are used up (it includes 10). It resets at ", self.gate.Acquire(org=org).message)


if __name__ == "__main__":
    unittest.main()
