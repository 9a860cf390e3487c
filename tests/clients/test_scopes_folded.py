"""A scope per short-lived workspace: past `ledgers_per_org` new scopes share a ledger, and the org goes on."""

import unittest
from concurrent.futures import ThreadPoolExecutor

from case import NodeCase, SharedNodeCase, at_rest, fresh
from node import eventually
from plane import code_name, limit, metric, refusal

ROOM = 4
DAY = "quota/executions/calendar/day"
ENVIRONMENT = {"TOLLGATE__BOUNDS__LEDGERS_PER_ORG": str(ROOM)}
CONFIG = """
    [defaults]
    plan = "workspaces"
    [plans.workspaces]
    executions = { calendar_day = 40 }
    [plans.workspaces.scopes]
    "workspace/named" = { spend = { daily = "$1" } }
    "agent/*" = { executions = { calendar_day = 2 } }
"""


def ledgers(admin, org):
    """What each ledger has, and holds, by scope and meter."""
    views = admin.GetOrg(org=org).ledgers
    return {(view.scope, view.meter): (sum(hour.total for hour in view.hours), view.reserved) for view in views}


def executions(admin, org):
    return {scope: used for (scope, meter), (used, _) in ledgers(admin, org).items() if meter == "executions"}


def amount(meter, count):
    return [{"meter": meter, "amount": count}]


class Folded(SharedNodeCase):
    ENVIRONMENT, CONFIG = ENVIRONMENT, CONFIG

    def fill(self, org, prefix="workspace", more=2):
        """Scopes up to the bound, and some past it."""
        return [self.gate.Acquire(org=org, scope=f"{prefix}/{number}") for number in range(ROOM + more)]

    def test_the_limits_of_the_org_decide_and_new_scopes_share_one_ledger(self):
        """R-PIPE-4, R-PIPE-12"""
        org = fresh("many")
        answers = self.fill(org)
        self.assertEqual([answer.allowed for answer in answers], [True] * len(answers))
        folded = [list(answer.folded_scopes) for answer in answers]
        self.assertEqual(folded, [[]] * ROOM + [["workspace/4"], ["workspace/5"]])
        self.assertEqual(executions(self.admin, org), {"": 6, "other": 2} | {f"workspace/{n}": 1 for n in range(ROOM)})
        known = self.gate.Acquire(org=org, scope="workspace/0", scopes=["late/1", "late/2"])
        self.assertEqual(list(known.folded_scopes), ["late/1", "late/2"], "what has a ledger keeps it")
        for number in range(33):
            self.assertTrue(self.gate.Acquire(org=org, scope=f"late/{number}").allowed)
        denied = self.gate.Acquire(org=org, scope="late/99")
        self.assertEqual((code_name(denied), limit(denied, DAY).used), ("QUOTA_EXCEEDED", 40))
        self.assertEqual(executions(self.admin, org)["other"], 2 + 1 + 33)
        self.assertEqual(self.admin.Audit(org=org).drifted, 0)

    def test_it_is_counted_and_logged_once(self):
        before, org = metric(self.shared.http, "tollgate_folded_calls_total"), fresh("logged")
        self.fill(org)
        self.gate.Record(org=org, scope="late/x", usage=amount("executions", 1), request_id=fresh())
        self.fill(org, "late")
        counted = before + 2 + 1 + 6
        eventually(lambda: metric(self.shared.http, "tollgate_folded_calls_total") == counted, "the metric")
        lines = [line for line in self.shared.logged("bounds.ledgers_per_org") if f'"{org}"' in line]
        self.assertEqual(len(lines), 1, lines)

    def test_what_a_limit_names_has_its_ledger_for_the_meter_that_it_limits(self):
        """R-PIPE-3"""
        org = fresh("named")
        self.fill(org)
        cost = amount("executions", 1) + amount("spend", 600_000)
        first, second, third = [self.gate.Acquire(org=org, scope="workspace/named", cost=cost) for _ in range(3)]
        self.assertEqual((first.allowed, list(first.folded_scopes)), (True, ["workspace/named"]))
        self.assertEqual(limit(first, "budget/daily", "workspace/named").used, 600_000)
        self.assertEqual((code_name(second), code_name(third)), ("BUDGET_EXCEEDED", "BUDGET_EXCEEDED"))
        found = ledgers(self.admin, org)
        self.assertEqual(found["workspace/named", "spend"], (600_000, 0))
        self.assertNotIn(("workspace/named", "executions"), found)

    def test_a_limit_of_a_pattern_is_never_escaped(self):
        """R-PIPE-12"""
        org = fresh("agents")
        for number in range(2 * ROOM):
            self.assertEqual(list(self.gate.Acquire(org=org, scope=f"agent/{number}").folded_scopes), [])
        allowed = [self.gate.Acquire(org=org, scope=f"agent/late-{number}").allowed for number in range(4)]
        self.assertEqual(allowed, [True, True, False, False], "all of them share what one has")
        denied = self.gate.Acquire(org=org, scopes=["agent/late-9", "agent/0"])
        self.assertEqual((code_name(denied), limit(denied, DAY, "agent/late-9").used), ("QUOTA_EXCEEDED", 2))
        self.assertIn("counted with others in other/agent/*", denied.message)
        self.assertTrue(self.gate.Acquire(org=org, scope="agent/0").allowed, "by its own ledger")
        self.assertEqual(code_name(self.gate.Acquire(org=org, scope="agent/0")), "QUOTA_EXCEEDED")
        self.assertTrue(self.gate.Acquire(org=org, scope="workspace/0").allowed, "nothing limits it")
        self.assertEqual(executions(self.admin, org)["other/agent/*"], 2)
        status = self.gate.GetStatus(org=org, scope="agent/late-9")
        self.assertEqual((status.allowed, list(status.folded_scopes)), (False, ["agent/late-9"]))
        self.assertEqual(limit(status, DAY, "agent/late-9").used, 2)

    def test_what_is_held_there_is_given_back_there_and_a_commit_is_never_refused(self):
        """R-PIPE-3, R-RES-1"""
        org, hold = fresh("held"), amount("executions", 2)
        self.fill(org)
        held = self.gate.Acquire(org=org, scope="workspace/x", cost=hold, reserve=hold)
        self.assertEqual(ledgers(self.admin, org)["other", "executions"], (2 + 2, 2))
        (listed,) = self.gate.ListReservations(org=org, scope="workspace/x").reservations
        self.assertEqual((list(listed.scopes), list(listed.folded_scopes)), (["workspace/x"], ["workspace/x"]))
        actual = amount("executions", 1) + amount("bytes", 9)
        settled = {"org": org, "reservation_id": held.reservation_id, "actual": actual, "request_id": fresh()}
        committed, again = self.gate.Commit(**settled), self.gate.Commit(**settled)
        self.assertEqual((list(committed.folded_scopes), again.replayed), (["workspace/x"], True))
        self.assertEqual({each.scope for each in committed.booked}, {"", "workspace/x"})
        self.assertEqual(list(again.folded_scopes), ["workspace/x"])
        found = ledgers(self.admin, org)
        self.assertEqual((found["other", "executions"], found["other", "bytes"]), ((2 + 2 + 1, 0), (9, 0)))
        released = self.gate.Acquire(org=org, scope="workspace/y", reserve=hold)
        self.gate.Release(org=org, reservation_id=released.reservation_id, request_id=fresh())
        self.assertEqual(ledgers(self.admin, org)["other", "executions"], (6, 0))
        self.assertEqual(self.admin.Audit(org=org).drifted, 0)

    def test_usage_after_the_fact_never_waits_for_room(self):
        """R-PIPE-3"""
        org = fresh("recorded")
        self.fill(org)
        for number in range(3 * ROOM):
            recorded = self.gate.Record(
                org=org, scope=f"recorded/{number}", usage=amount("executions", 2), request_id=fresh()
            )
            self.assertEqual(list(recorded.folded_scopes), [f"recorded/{number}"])
        report = {"source": "vm", "incarnation": "1", "meter": "bytes", "total": 7, "request_id": fresh()}
        reported, again = [self.gate.ReportCumulative(org=org, scope="recorded/z", **report) for _ in range(2)]
        self.assertEqual((reported.increment, list(reported.folded_scopes)), (7, ["recorded/z"]))
        self.assertEqual((again.replayed, list(again.folded_scopes)), (True, ["recorded/z"]))
        found = ledgers(self.admin, org)
        self.assertEqual((found["", "executions"], found["other", "executions"]), ((6 + 24, 0), (2 + 24, 0)))
        self.assertEqual((found["", "bytes"], found["other", "bytes"]), ((7, 0), (7, 0)))
        self.assertEqual(len(found), ROOM + 4)

    def test_a_session_is_counted_there_from_its_start_to_its_end(self):
        """R-SES-1"""
        org, who = fresh("session"), {"session_id": "s", "identity": "vm"}
        self.fill(org)
        status = self.session.BatchStatus(items=[{"org": org, "scope": "workspace/x"}]).results[0].status
        self.assertEqual(list(status.folded_scopes), ["workspace/x"])
        started = self.session.StartSession(org=org, scope="workspace/x", request_id=fresh(), **who)
        self.assertEqual((started.allowed, list(started.folded_scopes)), (True, ["workspace/x"]))
        beat = {"incarnation": "1", "total_seconds": 2}
        beaten = self.session.Heartbeat(org=org, **who, **beat)
        self.assertEqual((list(beaten.folded_scopes), beaten.booked_ms), (["workspace/x"], 2_000))
        shown = self.session.GetSession(org=org, session_id="s").session
        self.assertEqual((list(shown.scopes), list(shown.folded_scopes)), (["workspace/x"], ["workspace/x"]))
        ended = self.session.EndSession(org=org, request_id=fresh(), **who, **beat).session
        self.assertEqual(list(ended.folded_scopes), ["workspace/x"])
        found = ledgers(self.admin, org)
        self.assertEqual((found["", "compute"], found["other", "compute"]), ((2_000, 0), (2_000, 0)))

    def test_many_callers_at_once_count_every_call_once(self):
        """I1, R-PIPE-4"""
        org, calls = fresh("callers"), 38
        with ThreadPoolExecutor(16) as callers:
            ask = lambda number: self.gate.Acquire(org=org, scope=f"workspace/{number}")
            answers = list(callers.map(ask, range(calls)))
        self.assertEqual(sum(len(answer.folded_scopes) for answer in answers), calls - ROOM)
        found = executions(self.admin, org)
        self.assertEqual((found.pop(""), found.pop("other"), found), (calls, calls - ROOM, dict.fromkeys(found, 1)))

    def test_no_call_names_a_shared_scope(self):
        org = fresh("reserved")
        for call, more in [
            (self.gate.Acquire, {}),
            (self.gate.GetStatus, {}),
            (self.gate.Record, {"usage": amount("spend", 1), "request_id": "r"}),
            (self.session.StartSession, {"session_id": "s", "identity": "i", "request_id": "r"}),
        ]:
            refused = refusal(call, org=org, scope="other", **more)
            self.assertEqual((refused.code.name, refused.fields), ("INVALID_ARGUMENT", ["scope"]))
            self.assertIn("ledgers_per_org", refused.message)
            self.assertEqual(refusal(call, org=org, scopes=["a", "other"], **more).fields, ["scopes[1]"])
            self.assertEqual(refusal(call, org=org, scope="other/agent/*", **more).fields, ["scope"])
        refused = refusal(self.budget.UpdateBudget, org=org, scope="other", request_id="r")
        self.assertEqual(refused.fields, ["scope"])
        answer = self.shared.run("--addr", f"http://{self.shared.grpc}", "acquire", org, "--scope", "other")
        self.assertNotEqual(answer.returncode, 0)

    def test_batches_and_the_command_line_say_it_too(self):
        org = fresh("batch")
        items = [{"org": org, "scope": f"workspace/{number}"} for number in range(ROOM + 1)]
        results = self.gate.AcquireBatch(items=items).results
        self.assertEqual([list(each.decision.folded_scopes) for each in results], [[]] * ROOM + [["workspace/4"]])
        answer = self.shared.run("--addr", f"http://{self.shared.grpc}", "acquire", org, "--scope", "workspace/9")
        self.assertIn("counted with others", answer.stdout, answer.stderr)


class Kept(NodeCase):
    def test_restarts_exports_and_imports_keep_what_is_shared(self):
        """R-BUD-3"""
        node, org = self.node(config=CONFIG, environment=ENVIRONMENT), "acme"
        plane = self.plane(node)
        for number in range(ROOM + 1):
            plane.gate.Acquire(org=org, scope=f"workspace/{number}", reserve=amount("executions", 1))
        for number in range(2 * ROOM - ROOM + 1):
            plane.gate.Acquire(org=org, scope=f"agent/{number}", reserve=amount("executions", 1))
        before = ledgers(plane.admin, org)
        self.assertEqual((before["other", "executions"], before["other/agent/*", "executions"]), ((1, 1), (1, 1)))
        reservations = [at_rest(each) for each in plane.gate.ListReservations(org=org).reservations]
        self.assertEqual(sum(len(each.folded_scopes) for each in reservations), 2)
        node.kill()
        node.start()
        plane = self.plane(node)
        self.assertEqual(ledgers(plane.admin, org), before)
        self.assertEqual(node.stop(), 0)
        checked = node.run("fsck", "--data-dir", node.data_dir)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        restored = self.restored(node, lambda row: None, config=CONFIG, environment=ENVIRONMENT)
        plane = self.plane(restored)
        self.assertEqual(ledgers(plane.admin, org), before)
        folded = [list(each.folded_scopes) for each in plane.gate.ListReservations(org=org).reservations]
        self.assertEqual(folded, [list(each.folded_scopes) for each in reservations])
        for held in plane.gate.ListReservations(org=org).reservations:
            plane.gate.Release(org=org, reservation_id=held.reservation_id, request_id=fresh())
        after = ledgers(plane.admin, org)
        self.assertEqual(after, {pair: (used, 0) for pair, (used, _) in before.items()})
        self.assertEqual(plane.admin.Audit(org=org).drifted, 0)

    def test_more_room_ends_it_without_a_second_allowance(self):
        """R-PIPE-11, R-PIPE-12"""
        node, org = self.node(config=CONFIG + f"[bounds]\nledgers_per_org = {ROOM}\n"), "acme"
        plane = self.plane(node)
        for number in range(2 * ROOM):
            plane.gate.Acquire(org=org, scope=f"agent/{number}")
        self.assertEqual(list(plane.gate.Acquire(org=org, scope="agent/late").folded_scopes), ["agent/late"])
        node.write_config(CONFIG + "[bounds]\nledgers_per_org = 100\n")
        node.reload()
        room = lambda: not plane.gate.GetStatus(org=org, scope="agent/late").folded_scopes
        eventually(room, "room for the ledger")
        allowed = [plane.gate.Acquire(org=org, scope="agent/late").allowed for _ in range(2)]
        self.assertEqual(allowed, [True, False], "one there, one here")
        self.assertEqual(executions(plane.admin, org)["agent/late"], 1)


class Configured(NodeCase):
    def test_no_limit_names_a_shared_scope(self):
        for name, said in [("other", "ledgers_per_org"), ("other/agent/**", "one `*`, at the end")]:
            node = self.node(start=False, config=f'[plans.p.scopes]\n"{name}" = {{ executions = {{ hourly = 1 }} }}\n')
            answer = node.run("check-config", node.config_file)
            self.assertNotEqual(answer.returncode, 0, answer.stdout)
            self.assertIn(said, answer.stdout + answer.stderr)


if __name__ == "__main__":
    unittest.main()
