"""Every number that is kept is derived from the ledger again: there is no drift, and where there is it is found."""

import random
import unittest
from concurrent.futures import ThreadPoolExecutor

import grpc

from billing import LONG_CONNECTIONS
from case import NodeCase, SharedNodeCase, fresh
from node import eventually
from plane import code_name, metric, refusal

HOUR_MS = 3_600_000
PLAN = """
[rate]
amount = 100000
[defaults]
plan = "all"
[plans.all]
spend = { hourly = "100000u", daily = "$5", monthly = "$50", rolling_12h = "400000u", aligned_6h = "300000u", anchored_24h = "500000u" }
executions = { calendar_day = 5000 }
compute = { calendar_month = "100h", daily = "50h" }
bytes = { calendar_week = 10000000 }
[plans.all.scopes]
"workspace/*" = { spend = { hourly = "40000u", aligned_1h = "40000u" }, compute = { weekly = "80h" } }
"agent/*" = { spend = { anchored_1h = "20000u" } }
"""
SCOPES = ["", "workspace/a", "workspace/b", "agent/k1"]


def amounts(**meters):
    return [{"meter": meter, "amount": amount} for meter, amount in meters.items()]


class Workload:
    """A bit of everything, from one seed."""

    def __init__(self, plane, org, seed):
        self.plane, self.org, self.random = plane, org, random.Random(seed)
        self.holds, self.sessions, self.steps = [], {}, 0

    def run(self, steps):
        acts = [self.acquire, self.reserve, self.settle, self.record, self.report, self.start, self.beat, self.end, self.budget]
        for _ in range(steps):
            self.steps += 1
            self.random.choice(acts)()
        return self

    def name(self):
        return f"{self.org}-{self.steps}"

    def scope(self):
        return self.random.choice(SCOPES)

    def acquire(self):
        cost = amounts(executions=1, spend=self.random.randrange(500))
        self.plane.gate.Acquire(org=self.org, scope=self.scope(), cost=cost)

    def reserve(self):
        reserve = amounts(spend=self.random.randrange(2000), bytes=self.random.randrange(100))
        ttl = self.random.choice([1000, 20_000, 300_000])
        answer = self.plane.gate.Acquire(org=self.org, scope=self.scope(), reserve=reserve, reservation_ttl_ms=ttl)
        if answer.allowed:
            self.holds.append(answer.reservation_id)

    def settle(self):
        if not self.holds:
            return
        fields = {"org": self.org, "reservation_id": self.holds.pop(), "request_id": self.name()}
        call, more = self.random.choice([
            (self.plane.gate.Commit, {"actual": amounts(spend=self.random.randrange(3000))}),
            (self.plane.gate.Release, {}), (self.plane.gate.Extend, {"ttl_ms": 60_000}),
        ])
        try:
            call(**fields, **more)
        except grpc.RpcError as error:
            # It may have expired before.
            if error.code().name != "FAILED_PRECONDITION":
                raise

    def record(self):
        usage = amounts(spend=self.random.randrange(900), bytes=self.random.randrange(50), compute=self.random.randrange(9000))
        self.plane.gate.Record(org=self.org, scope=self.scope(), usage=usage, request_id=self.name())

    def report(self):
        self.plane.gate.ReportCumulative(
            org=self.org, scope=self.scope(), source="s", incarnation="1", meter="spend",
            total=self.random.randrange(2000), request_id=self.name())

    def start(self):
        session = self.name()
        started = self.plane.session.StartSession(
            org=self.org, session_id=session, identity="vm 1", scope=self.scope(), request_id=session)
        if started.allowed:
            self.sessions[session] = 0

    def beat(self):
        if self.sessions:
            session = self.random.choice(sorted(self.sessions))
            self.sessions[session] += self.random.randrange(400)
            self.plane.session.Heartbeat(
                org=self.org, session_id=session, identity="vm 1", incarnation=self.random.choice("ab"),
                total_seconds=self.sessions[session])

    def end(self):
        if self.sessions:
            session = self.random.choice(sorted(self.sessions))
            del self.sessions[session]
            self.plane.session.EndSession(org=self.org, session_id=session, identity="vm 1", request_id=self.name())

    def budget(self):
        limits = {"hourly": self.random.randrange(50_000, 200_000), "weekly": 10**9}
        self.plane.budget.ReplaceBudget(org=self.org, scope=self.scope(), request_id=self.name(), limits=limits)


class Clean(NodeCase):
    """R-BUD-3: drift must be 0."""

    def assertNoDrift(self, plane, org=""):
        token, orgs, numbers = "", 0, 0
        while True:
            page = plane.admin.Audit(org=org, page_token=token)
            self.assertEqual((page.drifted, list(page.drift), list(page.failures)), (0, [], []))
            orgs, numbers, token = orgs + page.orgs, numbers + page.numbers, page.next_page_token
            if not token:
                return orgs, numbers

    def test_no_number_drifts_over_work_time_and_restarts(self):
        node = self.node(config=PLAN, clock=self.clock(minute=10), environment=LONG_CONNECTIONS)
        plane = self.plane(node)
        orgs = ["acme", "bolt", "corp"]
        loads = {org: Workload(plane, org, seed) for seed, org in enumerate(orgs)}
        # Minutes, hours, days; what is held and what runs expires in between.
        for step, end in [(0, None), (45, "stop"), (50, "kill"), (600, None), (3 * 3600, None), (20 * 3600, None), (55, "kill")]:
            node.clock.step(step)
            if end:
                getattr(node, end)()
                node.start()
            if end or step > 3600:
                plane = self.plane(node)
                for load in loads.values():
                    load.plane = plane
            with ThreadPoolExecutor(len(orgs)) as pool:
                list(pool.map(lambda load: load.run(60), loads.values()))
            for org in orgs:
                self.assertGreater(self.assertNoDrift(plane, org)[1], 0)
            self.assertEqual(self.assertNoDrift(plane)[0], len(orgs))
        kept = plane.admin.GetOrg(org="acme")
        self.assertTrue(kept.sessions and kept.ledgers and kept.counters and kept.budgets)
        self.assertEqual(metric(node.http, "tollgate_audit_drift_total"), 0)
        self.assertEqual(node.logged("rows do not fit together") + node.logged("numbers are not what the ledger says"), [])

    def test_what_sessions_and_holds_have_reserved_is_what_is_kept_as_reserved(self):
        node = self.node(config=PLAN, clock=self.clock(minute=10), environment=LONG_CONNECTIONS)
        plane = self.plane(node)
        for number in range(5):
            plane.session.StartSession(
                org="acme", session_id=str(number), identity="i", request_id=str(number), scope=SCOPES[number % 4])
            plane.gate.Acquire(org="acme", scope=SCOPES[number % 4], reserve=amounts(spend=7, compute=9), reservation_ttl_ms=200_000)
        plane.session.Heartbeat(org="acme", session_id="0", identity="i", incarnation="1", total_seconds=50)
        self.assertNoDrift(plane)
        node.clock.step(125)
        self.assertNoDrift(plane)
        reserved = {(each.scope, each.meter): each.reserved for each in plane.admin.GetOrg(org="acme").ledgers}
        self.assertEqual((reserved["", "compute"], reserved["agent/k1", "compute"], reserved["", "spend"]), (45, 9, 35))
        node.clock.step(80)
        self.assertNoDrift(plane)
        self.assertEqual({each.reserved for each in plane.admin.GetOrg(org="acme").ledgers}, {0})


class Paging(SharedNodeCase):
    CLOCK = {"minute": 10}

    def test_all_orgs_are_audited_a_page_at_a_time(self):
        """R-OPS-2"""
        orgs = sorted(fresh("page") for _ in range(7))
        for org in orgs:
            self.gate.Record(org=org, usage=amounts(spend=1), request_id="r")
        for size, pages in [(3, [3, 3, 1]), (7, [7, 0]), (100, [7])]:
            seen, token = [], ""
            while True:
                page = self.admin.Audit(page_size=size, page_token=token)
                seen, token = [*seen, page.orgs], page.next_page_token
                if not token:
                    break
                self.assertLess(len(seen), 100, "the pages have no end")
            self.assertIn(seen, (pages, [each for each in pages if each]))

    def test_an_audit_of_an_org_that_is_not_there_says_so_and_leaves_nothing(self):
        org = fresh("nobody")
        self.assertEqual(refusal(self.admin.Audit, org=org).reason, "ORG_UNKNOWN")
        self.assertEqual(refusal(self.admin.GetOrg, org=org).reason, "ORG_UNKNOWN")


class Damaged(NodeCase):
    """R-BUD-3, R-OPS-6: damage is found, named, and loud."""

    CONFIG = '[orgs."acme"]\nspend = { hourly = "100u" }\n'

    def damaged(self, change, config=CONFIG):
        node = self.node(config=config, clock=self.clock(minute=10), environment=LONG_CONNECTIONS)
        plane = self.plane(node)
        plane.gate.Record(org="acme", usage=amounts(spend=30), request_id="1")
        plane.gate.Record(org="well", usage=amounts(spend=30), request_id="1")
        plane.gate.Acquire(org="acme", scope="workspace/a", reserve=amounts(spend=5), cost=amounts(spend=10))
        self.assertEqual((plane.admin.Audit().drifted, node.stop()), (0, 0))
        new = self.restored(node, change, config=config, clock=node.clock, environment=LONG_CONNECTIONS)
        return new, self.plane(new)

    def drifted(self, node):
        return metric(node.http, "tollgate_audit_drift_total")

    def test_an_hour_that_is_not_the_sum_of_its_minutes_is_found_at_load_and_by_an_audit(self):
        starts = []

        def change(row):
            if row.get("kind") == "slice" and row["org"] == "acme" and row["scope"] == "":
                starts.append(row["start"])
                row["value"]["total"] += 7

        node, plane = self.damaged(change)
        self.assertEqual((self.drifted(node), len(starts)), (0, 1), "nothing is loaded yet")
        self.assertTrue(plane.gate.GetStatus(org="well").allowed)
        self.assertEqual(self.drifted(node), 0)
        plane.gate.GetStatus(org="acme")
        (line,) = eventually(lambda: node.logged("rows do not fit together"), "a line in the log")
        fields = node.fields(line)
        self.assertEqual((fields["level"], fields["org"]), ("ERROR", "acme"))
        at_load = self.drifted(node)
        self.assertGreaterEqual(at_load, 1)
        audit = plane.admin.Audit(org="acme")
        self.assertGreaterEqual(audit.drifted, 1)
        (drift,) = [each for each in audit.drift if each.what == f"hour {starts[0] // HOUR_MS}"]
        self.assertEqual((drift.org, drift.scope, drift.meter), ("acme", "", "spend"))
        self.assertEqual((drift.kept, drift.derived_least, drift.derived_most), (47, 40, 40))
        self.assertGreater(self.drifted(node), at_load)
        self.assertTrue(node.logged("numbers are not what the ledger says"))
        everybody = plane.admin.Audit()
        self.assertEqual((everybody.orgs, everybody.drifted, {each.org for each in everybody.drift}), (2, audit.drifted, {"acme"}))
        self.assertEqual(list(everybody.failures), [])
        self.assertEqual(plane.admin.Audit(org="well").drifted, 0)

    def test_minutes_that_are_not_their_hour_are_found(self):
        def change(row):
            if row.get("kind") == "slice" and row["org"] == "acme" and row["scope"] == "":
                row["value"]["minutes"] = [[minute, amount + 1] for minute, amount in row["value"]["minutes"]]

        node, plane = self.damaged(change)
        self.assertIn("hour ", " ".join(each.what for each in plane.admin.Audit(org="acme").drift))
        self.assertGreaterEqual(self.drifted(node), 1)

    def test_a_scope_that_has_used_more_than_its_org_is_found(self):
        def change(row):
            if row.get("kind") == "slice" and row["org"] == "acme" and row["scope"] == "workspace/a":
                (minute, amount), = row["value"]["minutes"]
                row["value"] = {"total": 100 * amount, "minutes": [[minute, 100 * amount]]}

        node, plane = self.damaged(change)
        drift = [(each.scope, each.kept, each.derived_least) for each in plane.admin.Audit(org="acme").drift]
        self.assertIn(("", 40, 1000), drift)
        self.assertGreaterEqual(self.drifted(node), 1)

    def test_a_counter_that_the_ledger_does_not_bear_out_is_found(self):
        def change(row):
            if row.get("kind") == "counter" and row["org"] == "acme":
                row["value"]["used"] += 5

        node, plane = self.damaged(change, config='[orgs."acme"]\nspend = { aligned_6h = "100u" }\n')
        (drift,) = plane.admin.Audit(org="acme").drift
        self.assertEqual((drift.what, drift.kept, drift.derived_most), ("aligned/6h", 45, 40))
        self.assertEqual(self.drifted(node), 1)

    def test_a_damaged_org_still_denies_what_its_numbers_say_is_used_up(self):
        """R-OPS-6: never treated as fresh"""
        def change(row):
            if row.get("kind") == "slice" and row["org"] == "acme" and row["scope"] == "":
                row["value"]["minutes"] = [[minute, 100] for minute, _ in row["value"]["minutes"]]

        _, plane = self.damaged(change)
        denied = plane.gate.Acquire(org="acme")
        self.assertEqual((denied.allowed, code_name(denied)), (False, "BUDGET_EXCEEDED"))


if __name__ == "__main__":
    unittest.main()
