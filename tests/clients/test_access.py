"""I15, R-AUTH-1: who may call what: every rpc, by every kind of caller, for its own org, for another and for one that does not exist.

Which role may call an rpc is read from the table in docs/security.md, which a test holds against the node's own.
"""

import contextlib
import time
import unittest

import grpc

from callers import ROLES, CallerCase, OverConnect, Rpcs, documented
from connect import Connect
from node import eventually
from plane import refusal

OWN, OTHER, MISSING = "own", "other", "missing"
# What a caller that may reach every org is answered.
OF_ITS_ORGS = {"tollgate.admin.v1.AdminService/WatchEvents", "tollgate.admin.v1.AdminService/ListOrgs"}
# It needs gRPC.
STREAM = "tollgate.v1.GateService/AcquireStream"
NODE_WIDE = {
    "tollgate.admin.v1.AdminService/Reload": None,
    "tollgate.admin.v1.AdminService/DrainNode": "NODE_UNKNOWN",
}


class Matrix(CallerCase):
    @classmethod
    def setUpClass(cls):
        cls.table = documented()

    def setUp(self):
        super().setUp()
        self.callers = {role: self.token(role, role, OWN) for role in ROLES}
        self.all_orgs = self.token("all", "admin")
        self.scoped = self.token("scoped", "plane", OWN, "--scopes", "agent/*")
        self.bound = self.token("bound", "plane", OWN, "--bind", "agent/a")
        self.reporting = self.token("reporting", "reporter", OWN, "--bind", "agent/a")
        revoked = self.token("revoked", "admin", OWN)
        expired = self.token("expired", "admin", OWN, expires="1s")
        began = time.monotonic()
        self.node_ = self.guarded()
        self.admin = self.plane(self.node_, self.all_orgs)
        self.revoke("revoked")
        eventually(lambda: self.node_.logged("the tokens were read"), "the revocation")
        self.nobody = {
            "none": (None, "CREDENTIAL_MISSING"),
            "garbage": ("tg_0000000000000000_00", "CREDENTIAL_INVALID"),
            "revoked": (revoked, "CREDENTIAL_INVALID"),
            "expired": (expired, "CREDENTIAL_EXPIRED"),
        }
        self.expired_at = began + 1.1
        self.channel = grpc.insecure_channel(self.node_.grpc)
        self.addCleanup(self.channel.close)
        for org in [OWN, OTHER]:
            self.assertTrue(self.admin.gate.Acquire(org=org).allowed)
        self.rpcs, self.port = self.spoken()
        self.methods, self.request = self.rpcs.methods, self.rpcs.request

    def spoken(self):
        """The rpcs in the protocol of these tests, and where they are asked."""
        return Rpcs(self.admin.channel), self.channel

    def ask(self, name, token, request):
        return self.rpcs.ask(self.port, name, token, request)

    def test_the_documented_table_has_every_rpc(self):
        self.assertEqual(set(self.table), set(self.methods))

    def test_who_is_nobody_is_refused_before_the_body_is_read(self):
        time.sleep(max(0.0, self.expired_at - time.monotonic()))
        for name in self.methods:
            for kind, (token, reason) in self.nobody.items():
                for body in [b"", b"\xff\xff\xff", self.request(name, OWN)[0]]:
                    with self.subTest(rpc=name, caller=kind):
                        said = self.ask(name, token, body)
                        # Many wrong ones in a row, from one address.
                        guessed = reason == "CREDENTIAL_INVALID"
                        self.assertIn(said, {reason, "TOO_MANY_REFUSALS"} if guessed else {reason})

    def test_a_role_calls_what_the_table_gives_it_and_nothing_else(self):
        for name, may in self.table.items():
            for role, token in self.callers.items():
                with self.subTest(rpc=name, role=role):
                    if role not in may:
                        for body in [b"\xff\xff\xff", self.request(name, OWN)[0]]:
                            self.assertEqual(self.ask(name, token, body), "ROLE_NOT_ALLOWED")
                    elif name in NODE_WIDE:
                        self.assertEqual(self.ask(name, token, b""), "ORG_NOT_ALLOWED")
                        # A node that is alone has no other to hand anything over to.
                        self.assertEqual(self.ask(name, self.all_orgs, b""), NODE_WIDE[name])
                    else:
                        said = self.ask(name, token, self.request(name, OWN)[0])
                        self.assertNotIn(said, {"ROLE_NOT_ALLOWED", "ORG_NOT_ALLOWED", "CREDENTIAL_INVALID"})

    def test_another_org_and_one_that_does_not_exist_are_refused_alike(self):
        judged = 0
        for name, may in self.table.items():
            if not self.rpcs.names_an_org(name):
                continue
            for role in may & set(self.callers):
                with self.subTest(rpc=name, role=role):
                    judged += 1
                    answers = [self.ask(name, self.callers[role], self.request(name, org)[0]) for org in [OTHER, MISSING, ""]]
                    # Without an org it is about those that the caller may reach.
                    of_none = None if name in OF_ITS_ORGS else "ORG_NOT_ALLOWED"
                    self.assertEqual(answers, ["ORG_NOT_ALLOWED", "ORG_NOT_ALLOWED", of_none])
        self.assertGreater(judged, 60)
        stored = {summary.org for summary in self.admin.admin.ListOrgs().orgs}
        self.assertNotIn(MISSING, stored)
        listed = self.plane(self.node_, self.callers["viewer"]).admin.ListOrgs()
        self.assertEqual({summary.org for summary in listed.orgs}, {OWN})
        counted = self.plane(self.node_, self.callers["viewer"]).admin.ListOrgs(numbers=True, sort="ORG_SORT_MOST_USED")
        self.assertEqual(({summary.org for summary in counted.orgs}, counted.orgs_read), ({OWN}, 1))

    def test_a_caller_of_some_scopes_names_one_of_them(self):
        judged = 0
        for name in self.methods:
            if "plane" not in self.table[name] or not self.request(name, OWN)[1]:
                continue
            judged += 1
            with self.subTest(rpc=name):
                for token, scopes, reason in [
                    (self.scoped, [], "SCOPE_MISSING"),
                    (self.scoped, ["team/x"], "SCOPE_NOT_ALLOWED"),
                    (self.scoped, ["agent/a", "team/x"], "SCOPE_NOT_ALLOWED"),
                    (self.bound, ["agent/b"], "SCOPE_NOT_ALLOWED"),
                ]:
                    if name.endswith("/Pick") and not scopes:
                        continue
                    self.assertEqual(self.ask(name, token, self.request(name, OWN, scopes)[0]), reason)
                for token, scopes in [(self.scoped, ["agent/a"]), (self.bound, []), (self.bound, ["team/x"])]:
                    said = self.ask(name, token, self.request(name, OWN, scopes)[0])
                    self.assertNotIn(said, {"SCOPE_MISSING", "SCOPE_NOT_ALLOWED"})
        self.assertGreaterEqual(judged, 9)

    def test_what_is_bound_is_charged_whatever_the_call_names(self):
        bound, reporter = self.plane(self.node_, self.bound), self.plane(self.node_, self.reporting)
        self.assertTrue(bound.gate.Acquire(org=OWN, scope="team/x").allowed)
        reporter.gate.Record(org=OWN, usage=[{"meter": "spend", "amount": 7}], request_id="u")
        (row,) = [row for row in self.admin.admin.GetOrg(org=OWN).ledgers if (row.scope, row.meter) == ("agent/a", "spend")]
        self.assertEqual(sum(hour.total for hour in row.hours), 7)

    def test_what_was_begun_elsewhere_is_not_there(self):
        held = self.admin.gate.Acquire(
            org=OWN, scope="team/x", reserve=[{"meter": "spend", "amount": 5}], request_id="h").decision_id
        self.admin.session.StartSession(org=OWN, session_id="s", identity="i", scope="team/x", request_id="s")
        bound = self.plane(self.node_, self.bound)
        for call, fields, reason in [
            (bound.gate.Commit, {"reservation_id": held, "request_id": "c"}, "RESERVATION_UNKNOWN"),
            (bound.gate.Release, {"reservation_id": held, "request_id": "c"}, "RESERVATION_UNKNOWN"),
            (bound.gate.Extend, {"reservation_id": held, "ttl_ms": 5000, "request_id": "c"}, "RESERVATION_UNKNOWN"),
            (bound.session.GetSession, {"session_id": "s"}, "SESSION_UNKNOWN"),
            (bound.session.EndSession, {"session_id": "s", "identity": "i", "request_id": "e"}, "SESSION_UNKNOWN"),
            (bound.session.Heartbeat, {"session_id": "s", "identity": "i", "incarnation": "b"}, "SESSION_UNKNOWN"),
        ]:
            self.assertEqual(refusal(call, org=OWN, **fields).reason, reason)
        self.assertEqual(len(bound.gate.ListReservations(org=OWN).reservations), 0)
        self.assertEqual(len(bound.session.ListSessions(org=OWN).sessions), 0)
        self.assertEqual(len(self.admin.gate.ListReservations(org=OWN).reservations), 1)

    def test_who_changed_something_is_in_the_audit_log(self):
        self.admin.admin.Freeze(org=OWN, request_id="f")
        (line,) = eventually(lambda: self.node_.logged("Freeze"), "the audit line")
        self.assertEqual(self.node_.fields(line)["caller"], "all")


class OtherPaths(CallerCase):
    def test_health_is_open_and_all_else_is_for_whoever_is_known(self):
        token = self.token("peer", "peer")
        node = self.guarded()
        plane = self.plane(node, token)
        self.assertTrue(plane.is_serving())
        channel = grpc.insecure_channel(node.grpc)
        self.addCleanup(channel.close)
        for path in ["/tollgate.v1.GateService/Novel", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/x/y"]:
            self.assertEqual(refusal(channel.unary_unary(path), b"", timeout=10).reason, "CREDENTIAL_MISSING")
        for name in ["tollgate.v1.GateService/Novel", "tollgate.v1.Novel/Acquire"]:
            with contextlib.closing(Connect(node.http)) as connect:
                self.assertEqual(connect.post(name, {}).reason, "CREDENTIAL_MISSING")
        known = refusal(channel.unary_unary("/x/y"), b"", metadata=[("authorization", f"Bearer {token}")], timeout=10)
        self.assertEqual(known.code, grpc.StatusCode.UNIMPLEMENTED)


class MatrixOverConnect(Matrix):
    """The same in JSON over HTTP/1.1, on the HTTP port."""

    def spoken(self):
        self.table = {name: may for name, may in self.table.items() if name != STREAM}
        return OverConnect(self.admin.channel), self.node_.http


if __name__ == "__main__":
    unittest.main()
