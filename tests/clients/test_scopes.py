"""One call names several scopes: a set, of which every limit is judged and charged in the one step."""

import collections
import concurrent.futures
import random
import unittest

from case import NodeCase, SharedNodeCase, fresh
from plane import code_name, limit, refusal

PLAN = """
    [defaults]
    plan = "agents"
    [plans.agents]
    executions = { calendar_day = 1000 }
    spend = { daily = "$100" }
    [plans.agents.scopes]
    "agent/*" = { executions = { calendar_day = 5 }, spend = { daily = "$5" } }
    "workspace/*" = { executions = { calendar_day = 8 } }
"""
DAY = "quota/executions/calendar/day"
DOLLAR = 1_000_000


def spend(amount):
    return [{"meter": "spend", "amount": amount}]


class Scopes(SharedNodeCase):
    CONFIG = PLAN

    def used(self, org, *scopes, name=DAY):
        answer = self.gate.GetStatus(org=org, scopes=scopes)
        return [limit(answer, name, scope).used for scope in ("", *scopes)]

    def test_a_charge_counts_in_each_scope_and_once_in_the_org(self):
        """R-PIPE-4"""
        org = fresh("set")
        answer = self.gate.Acquire(org=org, scope="workspace/w", scopes=["agent/7"])
        named = [(each.scope, each.used) for each in answer.limits if each.name == DAY]
        self.assertEqual(named, [("", 1), ("agent/7", 1), ("workspace/w", 1)], "every limit, once")
        self.assertEqual(self.used(org, "agent/7", "workspace/w"), [1, 1, 1])
        self.assertEqual(self.used(org, "agent/8", "workspace/v"), [1, 0, 0])

    def test_the_budget_of_an_agent_holds_across_workspaces(self):
        """R-PIPE-4: the tightest is named, and what is denied is charged nowhere."""
        org = fresh("across")
        for number in range(5):
            self.assertTrue(self.gate.Acquire(org=org, scope=f"workspace/{number}", scopes=["agent/7"]).allowed)
        denied = self.gate.Acquire(org=org, scope="workspace/5", scopes=["agent/7"])
        self.assertEqual((denied.allowed, code_name(denied)), (False, "QUOTA_EXCEEDED"))
        self.assertIn("agent/7", denied.message)
        self.assertEqual([each.scope for each in denied.limits if each.limiting], ["agent/7"])
        self.assertEqual(self.used(org, "agent/7", "workspace/5"), [5, 5, 0], "all or nothing")
        self.assertTrue(self.gate.Acquire(org=org, scope="workspace/5", scopes=["agent/8"]).allowed)

    def test_a_set_knows_neither_order_nor_repetition(self):
        """R-PIPE-6: the same call, in whatever fields its scopes stand."""
        org, request_id = fresh("same"), fresh()
        first = self.gate.Acquire(org=org, scope="team/a", scopes=["agent/7"], request_id=request_id)
        for fields in [
            {"scope": "agent/7", "scopes": ["team/a"]},
            {"scopes": ["team/a", "agent/7", "agent/7"]},
            {"scope": "agent/7", "scopes": ["agent/7", "team/a"]},
        ]:
            again = self.gate.Acquire(org=org, request_id=request_id, **fields)
            self.assertEqual((again.replayed, again.decision_id), (True, first.decision_id), fields)
        for fields in [{"scope": "team/a"}, {"scope": "team/a", "scopes": ["agent/8"]}, {}]:
            reused = refusal(self.gate.Acquire, org=org, request_id=request_id, **fields)
            self.assertEqual(reused.reason, "REQUEST_ID_REUSED", fields)
        one = self.gate.Acquire(org=org, scope="agent/9", request_id="one")
        self.assertEqual(self.gate.Acquire(org=org, scopes=["agent/9"], request_id="one").decision_id, one.decision_id)
        self.assertEqual(self.used(org, "agent/7", "agent/9"), [2, 1, 1])

    def test_what_a_set_may_be(self):
        org = fresh("bad")
        names = [f"team/{number}" for number in range(9)]
        for fields, field, allowed in [
            ({"scopes": names}, "scopes", "at most 8 scopes"),
            ({"scope": "x", "scopes": names[:8]}, "scopes", "at most 8 scopes"),
            ({"scopes": ["a", ""]}, "scopes[1]", "the name of a scope"),
            ({"scopes": ["a", "a//b"]}, "scopes[1]", "first a letter, a digit or one of +/_@"),
            ({"scopes": ["pool/a"]}, "scopes[0]", "PoolService"),
        ]:
            for call, more in [
                (self.gate.Acquire, {}),
                (self.gate.GetStatus, {}),
                (self.gate.Record, {"usage": spend(1), "request_id": "r"}),
                (self.gate.ReportCumulative, {
                    "source": "s", "incarnation": "i", "meter": "spend", "total": 1, "request_id": "r"}),
                (self.session.StartSession, {"session_id": "s", "identity": "i", "request_id": "r"}),
            ]:
                refused = refusal(call, org=org, **fields, **more)
                self.assertEqual((refused.code.name, refused.fields), ("INVALID_ARGUMENT", [field]), fields)
                self.assertIn(allowed, refused.message)
        eight = self.gate.Acquire(org=org, scope="team/0", scopes=names[:8])
        self.assertTrue(eight.allowed)

    def test_usage_after_the_fact_is_recorded_in_each(self):
        """R-BUD-5: a cumulative source is a counter of its set."""
        org, scopes = fresh("after"), ["agent/7", "workspace/w"]
        self.gate.Record(org=org, scopes=scopes, usage=spend(7), request_id="r")
        self.assertEqual(self.used(org, "agent/7", name="budget/daily"), [7, 7])

        def report(total, *scopes):
            return self.gate.ReportCumulative(
                org=org, scopes=scopes, source="s", incarnation="i", meter="spend", total=total, request_id=fresh()
            ).increment

        self.assertEqual([report(60, *scopes), report(100, *reversed(scopes))], [60, 40])
        self.assertEqual([report(5, "agent/7"), report(8, "agent/7")], [5, 3], "another set, another counter")
        self.assertEqual(self.used(org, "agent/7", name="budget/daily"), [115, 115])
        shown = self.admin.GetOrg(org=org)
        self.assertEqual(
            sorted((list(base.scopes), base.total) for base in shown.baselines),
            [(["agent/7"], 8), (["agent/7", "workspace/w"], 100)],
        )
        self.assertEqual(self.admin.Audit(org=org).drifted, 0)

    def test_a_session_and_a_pick_name_several_as_well(self):
        """R-SES-1, R-POOL-2"""
        org = fresh("both")
        started = self.session.StartSession(
            org=org, scope="workspace/w", scopes=["agent/7"], session_id="s", identity="i", request_id="r")
        self.assertTrue(started.allowed)
        self.session.Heartbeat(org=org, session_id="s", identity="i", incarnation="m", total_seconds=20)
        shown = self.session.GetSession(org=org, session_id="s").session
        self.assertEqual((shown.scope, list(shown.scopes)), ("agent/7", ["agent/7", "workspace/w"]))
        ledgers = {each.scope: each for each in self.admin.GetOrg(org=org).ledgers if each.meter == "compute"}
        self.assertEqual({scope: sum(hour.total for hour in each.hours) for scope, each in ledgers.items()},
                         {"": 20_000, "agent/7": 20_000, "workspace/w": 20_000})
        (status,) = self.session.BatchStatus(items=[{"org": org, "scopes": ["agent/7", "x"]}]).results
        self.assertEqual(list(status.status.scopes), ["agent/7", "x"])

        self.client.pool.ConfigurePool(org=org, pool="p", accounts=[{"account": "k"}], request_id="p")
        for number in range(6):
            picked = self.client.pool.Pick(
                org=org, pool="p", request_id=fresh(), acquire={"scope": f"workspace/{number}", "scopes": ["agent/7"]})
            self.assertEqual(picked.allowed, number < 5)
        self.assertEqual(self.used(org, "agent/7"), [5, 5])

    def test_many_callers_with_overlapping_sets_pass_no_limit(self):
        """R-PIPE-4: 64 callers, each limit exact."""
        org, chance = fresh("many"), random.Random(22)
        agents, spaces = [f"agent/{n}" for n in range(8)], [f"workspace/{n}" for n in range(6)]
        sets = [[*chance.sample(agents, chance.randint(1, 3)), *chance.sample(spaces, chance.randint(1, 2))]
                for _ in range(640)]
        admitted = collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(64) as callers:
            answers = callers.map(lambda scopes: (scopes, self.gate.Acquire(org=org, scopes=scopes)), sets)
            for scopes, answer in answers:
                for scope in [*scopes, ""] if answer.allowed else []:
                    admitted[scope] += 1
        for scope in [*agents, *spaces]:
            self.assertLessEqual(admitted[scope], 5 if scope in agents else 8, scope)
            self.assertEqual(self.used(org, scope), [admitted[""], admitted[scope]])
        self.assertTrue(any(admitted[agent] == 5 for agent in agents), "some of them are used up")
        for scopes in sets:
            full = [each for each in scopes if admitted[each] == (5 if each in agents else 8)]
            self.assertTrue(full, f"{scopes} could still have been admitted")
        self.assertEqual(self.admin.Audit(org=org).drifted, 0)


class Kept(NodeCase):
    def test_a_hold_settles_in_every_scope_it_was_made_in_over_a_restart(self):
        """I3, I4: kept with the reservation, the session, the open execution and the source"""
        node = self.node(config=PLAN)
        plane = self.plane(node)
        scopes = ["agent/7", "workspace/w"]
        held = plane.gate.Acquire(org="acme", scopes=scopes, reserve=spend(3 * DOLLAR), request_id="hold")
        lost = plane.gate.Acquire(org="acme", scopes=scopes, reserve=spend(DOLLAR), request_id="lost")
        plane.gate.ReportCumulative(
            org="acme", scopes=scopes, source="s", incarnation="i", meter="spend", total=10, request_id="r")
        plane.session.StartSession(org="acme", scopes=scopes, session_id="s", identity="i", request_id="s")
        node.kill()
        plane = self.plane(node.start())
        (shown,) = [each for each in plane.admin.GetOrg(org="acme").reservations
                    if each.reservation_id == held.reservation_id]
        self.assertEqual((shown.scope, list(shown.scopes)), ("agent/7", scopes))
        over = plane.gate.Acquire(org="acme", scope="agent/7", reserve=spend(2 * DOLLAR))
        self.assertEqual(code_name(over), "BUDGET_EXCEEDED", "what is held counts against the agent")
        plane.gate.Commit(
            org="acme", reservation_id=held.reservation_id, actual=spend(2 * DOLLAR), request_id="commit")
        plane.gate.Release(org="acme", reservation_id=lost.reservation_id, request_id="release")
        again = plane.gate.ReportCumulative(
            org="acme", scopes=scopes, source="s", incarnation="i", meter="spend", total=15, request_id="r2")
        self.assertEqual(again.increment, 5)
        beat = plane.session.Heartbeat(org="acme", session_id="s", identity="i", incarnation="m", total_seconds=4)
        self.assertEqual(beat.booked_ms, 4_000)
        totals = {
            (each.scope, each.meter): (sum(hour.total for hour in each.hours), each.reserved)
            for each in plane.admin.GetOrg(org="acme").ledgers
        }
        for scope in ("", *scopes):
            self.assertEqual(totals[scope, "spend"], (2 * DOLLAR + 15, 0), scope)
            self.assertEqual(totals[scope, "compute"][0], 4_000, scope)
        self.assertEqual(plane.admin.Audit(org="acme").drifted, 0)
        self.assertEqual(node.stop(), 0)
        rows = self.exported(node)
        self.assertIn("agent/7,workspace/w", [row.get("scope") for row in rows if row.get("kind") == "baseline"])
        restored = self.restored(node, lambda row: None, config=PLAN)
        status = self.plane(restored).gate.GetStatus(org="acme", scopes=scopes)
        self.assertEqual(limit(status, "budget/daily", "agent/7").used, 2 * DOLLAR + 15)


if __name__ == "__main__":
    unittest.main()
