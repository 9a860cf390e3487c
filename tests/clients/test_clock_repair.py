"""R-CLOCK-2: `fsck --set-clock` under the real binary. What a window had counted before the clock ran ahead counts
again after the repair, together with what was counted ahead."""

import unittest

from case import NodeCase
from plane import limit

HOUR = 3600
DAY = 24 * HOUR
# Every kind of window that keeps a counter, and two that are sums of slices; how far ahead the clock is.
WINDOWS = {
    "h": ("aligned_1h = 100", 8 * HOUR),
    "w": ("aligned_7d = 100", 9 * DAY),
    "f": ("anchored_24h = 100", 40 * HOUR),
    "z": ('calendar_day = { amount = 100, zone = "Asia/Kolkata" }', 40 * HOUR),
    "m": ('calendar_month = { amount = 100, zone = "Asia/Kolkata" }', 9 * DAY),
    "d": ("calendar_day = 100", 8 * HOUR),
    "c": ("calendar_day = 100", 40 * HOUR),
    "y": ("calendar_year = 100", 9 * DAY),
}
CARRIES = "c"
OVERRUN = {org: 'overrun = "carry"' if org == CARRIES else "" for org in WINDOWS}
CONFIG = "".join(
    f'[plans.{org}]\n{OVERRUN[org]}\nexecutions = {{ {window} }}\n[orgs.{org}]\nplan = "{org}"\n'
    for org, (window, _) in WINDOWS.items()
)


class ClockRepair(NodeCase):
    def started(self, config, **clock):
        clock = self.clock(monotonic=False, **clock)
        node = self.node(config=config, clock=clock)
        return clock, node, self.plane(node)

    def ahead(self, clock, node, seconds):
        self.assertEqual(node.stop(), 0)
        clock.step(seconds)
        return self.plane(node.start("--accept-clock"))

    def repaired(self, clock, node, seconds):
        self.assertEqual(node.stop(), 0)
        clock.step(-seconds)
        done = node.run("fsck", "--data-dir", node.data_dir, "--set-clock")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return self.plane(node.start())

    def test_nothing_is_admitted_past_a_limit_after_the_repair(self):
        for lead in sorted({lead for _, lead in WINDOWS.values()}):
            orgs = [org for org, (_, of) in WINDOWS.items() if of == lead]
            with self.subTest(lead=lead, orgs=orgs):
                clock, node, plane = self.started(CONFIG, at=1_782_057_600 + 1200)
                for org in orgs:
                    plane.gate.Record(org=org, usage=[{"meter": "executions", "amount": 89}], request_id="r")
                    self.assertTrue(plane.gate.Acquire(org=org).allowed)
                plane = self.ahead(clock, node, lead)
                for org in orgs:
                    self.assertEqual([plane.gate.Acquire(org=org).allowed for _ in range(5)], [True] * 5)
                plane = self.repaired(clock, node, lead)
                for org in orgs:
                    name = next(each.name for each in plane.gate.GetStatus(org=org).limits if each.name != "rate")
                    self.assertEqual(limit(plane.gate.GetStatus(org=org), name).used, 95, org)
                    self.assertEqual([plane.gate.Acquire(org=org).allowed for _ in range(6)], [True] * 5 + [False], org)
                    self.assertEqual(list(plane.admin.Audit(org=org).drift), [], org)
                node.close()

    def test_the_backstop_scopes_and_pools_count_again_what_they_had(self):
        config = "[rate]\namount = 100\n[defaults]\nplan = 'p'\n[plans.p]\nscopes.'ws/*' = { executions = { aligned_24h = 50 } }\n"
        clock, node, plane = self.started(config, minute=20)
        for _ in range(40):
            plane.gate.Acquire(org="acme", scope="ws/1")
        accounts = [
            {"account": "acct-aaaa-0001", "daily_limit": 5, "safety_buffer": 0, "window": "aligned/24h"},
            {"account": "acct-aaaa-0002", "daily_limit": 5, "safety_buffer": 0, "window": "anchored/24h"},
        ]
        plane.pool.ConfigurePool(org="acme", pool="k", accounts=accounts, request_id="p")
        self.assertEqual([plane.pool.Pick(org="acme", pool="k").allowed for _ in range(8)], [True] * 8)
        lead = 30 * HOUR
        plane = self.ahead(clock, node, lead)
        self.assertTrue(plane.gate.Acquire(org="acme", scope="ws/1").allowed)
        self.assertTrue(plane.pool.Pick(org="acme", pool="k").allowed)
        plane = self.repaired(clock, node, lead)
        status = plane.gate.GetStatus(org="acme", scope="ws/1")
        self.assertEqual({each.name: each.used for each in status.limits}, {"rate": 41, "quota/executions/aligned/1d": 41})
        self.assertEqual(sum(each.used for each in plane.pool.GetPool(org="acme", pool="k").pool.accounts), 9)
        self.assertEqual([plane.pool.Pick(org="acme", pool="k").allowed for _ in range(2)], [True, False])
        self.assertEqual(list(plane.admin.Audit(org="acme").drift), [])


if __name__ == "__main__":
    unittest.main()
