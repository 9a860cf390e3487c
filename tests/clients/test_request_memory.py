"""How long request ids are remembered, and what is answered about one that may be forgotten."""

import concurrent.futures

from case import NodeCase, fresh
from node import eventually
from plane import metric, refusal

SPEND = [{"meter": "spend", "amount": 5}]
DAY = 24 * 3600
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SMALL = "[bounds]\nrequest_id_bytes_per_org = 65536\n"


def ulid(made_at_ms, number=0):
    digits = []
    for value, count in [(made_at_ms, 10), (number, 16)]:
        digits += [CROCKFORD[value >> 5 * at & 31] for at in reversed(range(count))]
    return "".join(digits)


def uuid7(made_at_ms):
    time = f"{made_at_ms:012x}"
    return f"{time[:8]}-{time[8:]}-7000-8000-000000000000"


class Remembered(NodeCase):
    """R-PIPE-6"""

    def begin(self, config="", clock=None):
        self.clock_ = clock or self.clock(minute=5)
        self.node_ = self.node(config=config, clock=self.clock_)
        self.connect()

    def connect(self):
        plane = self.plane(self.node_)
        self.gate, self.session, self.pool, self.admin = plane.gate, plane.session, plane.pool, plane.admin

    def restart(self):
        self.node_.kill()
        self.node_.start()
        self.connect()

    def pass_time(self, seconds):
        """Connections do not last for hours."""
        self.clock_.step(seconds)
        self.connect()

    def record(self, org, request_id):
        return self.gate.Record(org=org, request_id=request_id, usage=SPEND)

    def many(self, org, prefix, count):
        """Durable calls share the sync of a group, so many at once are fast."""
        with concurrent.futures.ThreadPoolExecutor(32) as callers:
            list(callers.map(lambda number: self.record(org, f"{prefix}{number}"), range(count)))

    def spent(self, org):
        ledgers = self.admin.GetOrg(org=org).ledgers
        return sum(hour.total for each in ledgers if each.meter == "spend" for hour in each.hours)

    def test_an_id_is_remembered_whatever_number_of_calls_came_after_it(self):
        self.begin("[bounds]\nrequest_ids_per_org = 200\n")
        org = fresh("many")
        self.many(org, "a", 150)
        self.clock_.step(62)
        self.many(org, "b", 150)
        self.assertTrue(self.record(org, "a0").replayed)
        self.restart()
        self.assertTrue(self.record(org, "a0").replayed, "after kill -9")
        self.pass_time(DAY - 120)
        self.assertTrue(self.record(org, "a0").replayed, "nearly a day later")
        self.assertTrue(self.record(org, "b149").replayed)
        self.assertEqual(self.admin.GetOrg(org=org).admitted_total, 0)
        self.clock_.step(120)
        self.assertFalse(self.record(org, "a0").replayed, "a day is over")

    def test_every_durable_call_is_remembered_past_the_memory_of_its_org(self):
        self.begin("[bounds]\nidle_ms = 100\n")
        org = fresh("kinds")
        self.pool.ConfigurePool(org=org, pool="p", accounts=[{"account": "account-one"}], request_id="c")
        held = [self.gate.Acquire(org=org, request_id=f"h{n}", reserve=SPEND).reservation_id for n in range(2)]
        calls = [
            lambda: self.gate.Acquire(org=org, request_id="h0", reserve=SPEND),
            lambda: self.gate.Commit(org=org, request_id="c", reservation_id=held[0], actual=SPEND),
            lambda: self.gate.Release(org=org, request_id="r", reservation_id=held[1]),
            lambda: self.record(org, "u"),
            lambda: self.gate.ReportCumulative(
                org=org, request_id="t", source="m", incarnation="1", meter="spend", total=7),
            lambda: self.session.StartSession(org=org, session_id="s", identity="i", request_id="s"),
            lambda: self.pool.Pick(org=org, pool="p", request_id="p"),
            lambda: self.pool.ReportOutcome(org=org, pool="p", account="account-one", status=200, request_id="o"),
        ]
        for call in calls:
            call()
        eventually(lambda: self.metric("tollgate_resident_orgs") == 0, "the org has left memory")
        for number, call in enumerate(calls):
            self.assertTrue(call().replayed, number)
        again = refusal(self.gate.Release, org=org, request_id="r2", reservation_id=held[0])
        self.assertEqual((again.reason, "committed" in again.message), ("RESERVATION_SETTLED", True))
        reused = refusal(self.gate.Record, org=org, request_id="u", usage=[{"meter": "spend", "amount": 6}])
        self.assertEqual(reused.reason, "REQUEST_ID_REUSED")

    def metric(self, name):
        return metric(self.node_.http, name)

    def test_past_its_bytes_the_oldest_go_first_with_a_warning_before_and_a_refusal_after(self):
        self.begin(SMALL)
        org, other = fresh("small"), fresh("other")
        early = [ulid(self.clock_.now_ms()), uuid7(self.clock_.now_ms()), uuid7(self.clock_.now_ms()).replace("-", "")]
        for request_id in early:
            self.record(org, request_id)
        self.many(org, "a" * 22, 550)
        self.assertEqual(self.metric("tollgate_request_ids_forgotten_total"), 0)
        warned = eventually(lambda: self.node_.logged("nearly used up"), "a warning before anything is forgotten")
        fields = self.node_.fields(warned[0])
        self.assertEqual((fields["org"], fields["key"]), (org, "bounds.request_id_bytes_per_org"))
        self.assertEqual(self.metric("tollgate_request_ids_filling_total"), 1)
        self.clock_.step(62)
        self.many(org, "b" * 22, 550)
        self.assertGreater(self.metric("tollgate_request_ids_forgotten_total"), 100)
        kept = self.admin.GetOrg(org=org)
        self.assertLess(kept.request_id_bytes, 80_000)
        self.assertGreater(kept.request_ids_known_from_ms, self.clock_.now_ms() - 180_000)
        before = self.spent(org)
        for restarted in [False, True]:
            for request_id in early:
                refused = refusal(self.gate.Record, org=org, request_id=request_id, usage=SPEND)
                self.assertEqual((refused.code.name, refused.reason), ("FAILED_PRECONDITION", "REQUEST_ID_TOO_OLD"))
                self.assertIn("new request_id", refused.message)
            if not restarted:
                self.restart()
        self.assertTrue(self.record(org, "b" * 22 + "549").replayed)
        self.assertEqual(self.spent(org), before, "nothing was charged twice")
        self.assertFalse(self.record(other, early[0]).replayed, "another org has forgotten nothing")
        shown = self.node_.run("org", "show", org, "--addr", self.node_.grpc)
        self.assertIn("forgotten early", shown.stdout)
        self.node_.stop()
        fsck = self.node_.run("fsck", "--data-dir", self.node_.data_dir)
        self.assertEqual(fsck.returncode, 0, fsck.stdout + fsck.stderr)

    def test_an_id_that_is_more_than_a_day_old_is_refused_where_it_says_so(self):
        self.begin()
        org, made_at = fresh("old"), self.clock_.now_ms() - DAY * 1000 - 5_000
        refused = refusal(self.gate.Acquire, org=org, request_id=ulid(made_at), reserve=SPEND)
        self.assertEqual(refused.reason, "REQUEST_ID_TOO_OLD")
        self.assertTrue(self.gate.Acquire(org=org, request_id=ulid(made_at)).allowed, "a plain call")
        self.assertFalse(self.record(org, ulid(made_at + 20_000)).replayed)

    def test_an_export_has_every_id_and_its_import_knows_them(self):
        self.begin()
        org = fresh("moved")
        self.many(org, "a", 300)
        self.pass_time(3700)
        self.record(org, "b")
        self.node_.stop()
        rows = self.exported(self.node_)
        self.assertEqual(sum(row.get("kind") == "request_id" for row in rows), 301)
        moved = self.restored(self.node_, lambda row: None, clock=self.clock_)
        gate = self.plane(moved).gate
        for request_id in ["a0", "a299", "b"]:
            self.assertTrue(gate.Record(org=org, request_id=request_id, usage=SPEND).replayed, request_id)
        moved.stop()
        fsck = moved.run("fsck", "--data-dir", moved.data_dir)
        self.assertEqual(fsck.returncode, 0, fsck.stdout)
