"""Every bad field of every rpc: INVALID_ARGUMENT that names the field, its value and what is allowed."""

import unittest

from case import SharedNodeCase
from plane import refusal

LONG = "x" * 129
GOOD = {"meter": "spend", "amount": 1}
TOO_MUCH = 10**16 + 1
ID_RULE = "1 to 128 printable ASCII characters without space, quotes, backquote"
PRINTABLE = "1 to 128 printable ASCII characters"
METER_RULE = "1 to 64 characters of [a-z0-9_]"
HEX_RULE = "32 lower-case hexadecimal digits"
TTL_RULE = "1000 to 86400000"
AMOUNT_RULE = "0 to 10000000000000000 micro-USD"
CENT_RULE = "0 to 1000000000000 cents"
SECOND_RULE = "0 to 10000000000000 seconds"
PERIOD_RULE = "one of hourly, daily, weekly, monthly"
LABEL_RULE = "at most 64 printable ASCII characters"
HOLD = "0" * 32

ORGS = [("org", value, shown, ID_RULE) for value, shown in [
    ("", ""), (LONG, "x" * 64), ("../..", "../.."), ("a\0", "a\\u{0}"), ("a\nb", "a\\nb"), ("-a", "-a"),
    ("a\u007fb", "a\\u{7f}b"), ('a"b', 'a\\"b'), ("a'b", "a\\'b"), ("a`b", "a`b"), ("a\\b", "a\\\\b"), ("a<b>", "a<b>"),
    ("a,b", "a,b"), ("team/*", "team/*"), ("|a", "|a"),
]]
SCOPES = [("scope", value, value[:64], ID_RULE) for value in ["a//b", "../x", "a b", LONG]]
IDS = [("request_id", value, shown, PRINTABLE) for value, shown in [
    ("a\nb", "a\\nb"), ("é", "\\u{e9}"), (LONG, "x" * 64),
]]
MUST_HAVE_ID = [("request_id", "", "", PRINTABLE), *IDS]
SESSIONS = [("session_id", value, shown, ID_RULE) for value, shown in [
    ("", ""), (LONG, "x" * 64), ("a//b", "a//b"), ("../..", "../.."), ("a\0", "a\\u{0}"), (" a", " a"),
]]
IDENTITIES = [("identity", value, shown, PRINTABLE) for value, shown in [("", ""), (LONG, "x" * 64), ("a\nb", "a\\nb"), ("é", "\\u{e9}")]]
INCARNATIONS = [("incarnation", value, shown, PRINTABLE) for value, shown in [(LONG, "x" * 64), ("a\nb", "a\\nb")]]
TOTALS = [("total_seconds", value, str(value), SECOND_RULE) for value in [-1, 10**13 + 1, 2**63 - 1, -(2**63)]]
VERSIONS = [("expected_version", value, str(value), "0 or more") for value in [-1, -(2**63)]]
OLDER_LIMITS = [
    *[("budget_limit", value, str(value), AMOUNT_RULE) for value in [-1, TOO_MUCH]],
    *[("budget_limit_cents", value, str(value), CENT_RULE) for value in [-1, 10**12 + 1, 2**63 - 1]],
]
PAGES = [("page_size", value, str(value), "1 to 1000") for value in [-1, 1001]]
HOLDS = [("reservation_id", value, value, HEX_RULE) for value in ["", "0" * 31, "G" * 32, "A" * 32, "+" + "0" * 31]]


def amounts(field):
    """Every way in which a list of amounts can be wrong: field in the error, list, value shown, allowed."""
    return [
        (field, f"{field}[0].meter", [{"meter": "Spend", "amount": 1}], "Spend", METER_RULE),
        (field, f"{field}[0].meter", [{"meter": "", "amount": 1}], "", METER_RULE),
        (field, f"{field}[0].meter", [{"meter": "m" * 65, "amount": 1}], "m" * 64, METER_RULE),
        (field, f"{field}[1].meter", [GOOD, GOOD], "spend", "each meter at most once"),
        (field, f"{field}[0].amount", [{"meter": "spend", "amount": -1}], "-1", "0 to 10000000000000000"),
        (field, f"{field}[1].amount", [GOOD, {"meter": "bytes", "amount": TOO_MUCH}], str(TOO_MUCH), "0 to 10000000000000000"),
        (field, field, [{"meter": f"m{i}", "amount": 1} for i in range(17)], "17 amounts", "at most 16 amounts"),
    ]


def plain(rows):
    return [(name, name, value, shown, allowed) for name, value, shown, allowed in rows]


ACQUIRE = plain([
    *ORGS, *SCOPES, *IDS,
    ("mode", 9, "9", "MODE_CHECK_ONLY"),
    ("operation", -1, "-1", "OPERATION_EXECUTE"),
    ("plane", "p" * 65, "p" * 64, "at most 64 printable ASCII characters"),
    ("plane", "a\tb", "a\\tb", "at most 64 printable ASCII characters"),
    *[("reservation_ttl_ms", value, str(value), TTL_RULE) for value in [-1, 1, 999, 86_400_001]],
]) + amounts("cost") + amounts("reserve")


class BadFields(SharedNodeCase):
    def check(self, call, good, rows):
        """Each row on top of a request that is good without it."""
        for place, field, value, shown, allowed in rows:
            with self.subTest(field=field, value=str(value)[:80]):
                refused = refusal(call, **{**good, place: value})
                self.assertEqual(refused.code.name, "INVALID_ARGUMENT", refused.message)
                self.assertEqual((refused.reason, refused.fields), ("INVALID_FIELD", [field]))
                self.assertTrue(refused.message.startswith(f'{field} "{shown}'), refused.message)
                self.assertIn(allowed, refused.message)
        self.assertEqual(refusal(self.admin.GetOrg, org="acme").reason, "ORG_UNKNOWN", "a refused call left a trace")

    def test_acquire(self):
        self.check(self.gate.Acquire, {"org": "acme"}, ACQUIRE)

    def test_acquire_batch_refuses_each_item_by_itself(self):
        items = [{"org": "batch"}, *[{"org": "batch", place: value} for place, _, value, _, _ in ACQUIRE], {"org": "batch"}]
        results = self.gate.AcquireBatch(items=items).results
        self.assertEqual(len(results), len(items))
        self.assertTrue(results[0].decision.allowed and results[-1].decision.allowed)
        for result, (_, field, _, shown, allowed) in zip(results[1:-1], ACQUIRE):
            error = result.error
            self.assertEqual((error.grpc_code, error.reason), (3, "INVALID_FIELD"), error)
            self.assertTrue(error.message.startswith(f'{field} "{shown}'), error.message)
            self.assertIn(allowed, error.message)
        self.assertEqual(self.admin.GetOrg(org="batch").rate.count, 2)

    def test_acquire_stream_refuses_each_item_by_itself(self):
        items = [{"tag": tag, "acquire": {"org": "stream", place: value}} for tag, (place, _, value, _, _) in enumerate(ACQUIRE)]
        items += [{"tag": 10_000, "acquire": {"org": "stream"}}, {"tag": 10_001}]
        answers = {answer.tag: answer for answer in self.gate.AcquireStream(items)}
        self.assertEqual(len(answers), len(items))
        for tag, (_, field, _, shown, _) in enumerate(ACQUIRE):
            error = answers[tag].error
            self.assertEqual((error.grpc_code, error.reason), (3, "INVALID_FIELD"), error)
            self.assertTrue(error.message.startswith(f'{field} "{shown}'), error.message)
        self.assertTrue(answers[10_000].decision.allowed)
        self.assertEqual(answers[10_001].error.reason, "INVALID_FIELD", "an item without its acquire")

    def test_batches_within_their_bound(self):
        item = {"org": "many"}
        for call in [self.gate.AcquireBatch, self.gate.BatchGetStatus, self.session.BatchStatus]:
            self.check(call, {}, [
                ("items", "items", [], "0", "1 to 1000 items"),
                ("items", "items", [item] * 1001, "1001", "1 to 1000 items"),
            ])
        for call in [self.gate.BatchGetStatus, self.session.BatchStatus]:
            self.assertEqual(len(call(items=[item] * 1000).results), 1000)

    def test_batch_get_status_refuses_each_item_by_itself(self):
        rows = ORGS + SCOPES
        items = [{"org": "acme", field: value} for field, value, _, _ in rows] + [{"org": "acme"}]
        results = self.gate.BatchGetStatus(items=items).results
        for result, (field, _, shown, allowed) in zip(results, rows):
            self.assertEqual(result.error.reason, "INVALID_FIELD")
            self.assertTrue(result.error.message.startswith(f'{field} "{shown}'), result.error.message)
            self.assertIn(allowed, result.error.message)
        self.assertEqual(results[-1].status.org, "acme")

    def test_commit(self):
        good = {"org": "acme", "reservation_id": HOLD, "request_id": "r"}
        self.check(self.gate.Commit, good, plain([*ORGS, *HOLDS, *MUST_HAVE_ID]) + amounts("actual"))

    def test_release(self):
        good = {"org": "acme", "reservation_id": HOLD, "request_id": "r"}
        self.check(self.gate.Release, good, plain([*ORGS, *HOLDS, *MUST_HAVE_ID]))

    def test_extend(self):
        good = {"org": "acme", "reservation_id": HOLD, "request_id": "r", "ttl_ms": 1000}
        ttls = [("ttl_ms", value, str(value), TTL_RULE) for value in [0, -1, 999, 86_400_001]]
        self.check(self.gate.Extend, good, plain([*ORGS, *HOLDS, *MUST_HAVE_ID, *ttls]))

    def test_resume(self):
        executions = [("execution_id", value, shown, PRINTABLE) for value, shown in [("", ""), (LONG, "x"), ("a\n", "a\\n")]]
        self.check(self.gate.Resume, {"org": "acme", "execution_id": "e"}, plain([*ORGS, *IDS, *executions]))

    def test_record(self):
        good = {"org": "acme", "usage": [GOOD], "request_id": "r"}
        decisions = [("decision_id", value, value, HEX_RULE) for value in ["x", "0" * 33, "A" * 32]]
        none = [("usage", [], "", "1 to 16 amounts, or none with a decision_id, which it completes")]
        self.check(self.gate.Record, good, plain([*ORGS, *SCOPES, *MUST_HAVE_ID, *decisions, *none]) + amounts("usage"))

    def test_report_cumulative(self):
        good = {"org": "acme", "source": "s", "incarnation": "i", "meter": "spend", "total": 1, "request_id": "r"}
        own = [
            ("source", "", "", ID_RULE), ("source", "a//b", "a//b", ID_RULE), ("source", LONG, "x" * 64, ID_RULE),
            ("incarnation", "", "", PRINTABLE), ("incarnation", "a\nb", "a\\nb", PRINTABLE),
            ("meter", "", "", METER_RULE), ("meter", "1a", "1a", METER_RULE), ("meter", "a-b", "a-b", METER_RULE),
            ("total", -1, "-1", "0 or more"),
        ]
        self.check(self.gate.ReportCumulative, good, plain([*ORGS, *SCOPES, *MUST_HAVE_ID, *own]))

    def test_get_status_and_get_budget(self):
        for call in [self.gate.GetStatus, self.budget.GetBudget]:
            self.check(call, {"org": "acme"}, plain([*ORGS, *SCOPES]))

    def test_update_budget(self):
        good = {"org": "acme", "request_id": "r", "periods": {"daily": {"limit": 1}}}
        periods = [("periods", field, value, shown, allowed) for field, value, shown, allowed in [
            ("periods", {"fortnightly": {"limit": 1}}, "fortnightly", PERIOD_RULE),
            ("periods", {"": {"clear": True}}, "", PERIOD_RULE),
            ("periods", {"Daily": {}}, "Daily", PERIOD_RULE),
            ("periods[daily].limit", {"daily": {"limit": -1}}, "-1", AMOUNT_RULE),
            ("periods[hourly].limit", {"daily": {"limit": 1}, "hourly": {"limit": TOO_MUCH}}, str(TOO_MUCH), AMOUNT_RULE),
            ("periods[weekly].limit", {"weekly": {"limit": 0, "clear": True}}, "0", "either a limit or clear"),
        ]]
        self.check(self.budget.UpdateBudget, good, plain([*ORGS, *SCOPES, *MUST_HAVE_ID, *VERSIONS, *OLDER_LIMITS]) + periods)

    def test_an_older_limit_is_refused_under_the_name_it_was_given_by(self):
        good = {"org": "acme", "request_id": "r"}
        month, cents = {"monthly": {"limit": 5}}, {**good, "budget_limit_cents": 7}
        self.check(self.budget.UpdateBudget, cents, [
            ("budget_limit", "budget_limit_cents", 5, "7", "not together with budget_limit"),
            ("periods", "budget_limit_cents", month, "7", "not together with monthly"),
            ("clear_budget_limit", "clear_budget_limit", True, "true", "not together with budget_limit_cents"),
        ])
        self.check(self.budget.UpdateBudget, {**good, "clear_budget_limit": True}, [
            ("budget_limit", "clear_budget_limit", 5, "true", "not together with budget_limit"),
            ("periods", "clear_budget_limit", month, "true", "not together with monthly"),
        ])

    def test_replace_budget(self):
        good = {"org": "acme", "request_id": "r", "limits": {"daily": 1}}
        limits = [("limits", field, value, shown, allowed) for field, value, shown, allowed in [
            ("limits", {"fortnightly": 1}, "fortnightly", PERIOD_RULE),
            ("limits", {"": 1}, "", PERIOD_RULE),
            ("limits[daily]", {"daily": -1}, "-1", AMOUNT_RULE),
            ("limits[monthly]", {"hourly": 1, "monthly": TOO_MUCH}, str(TOO_MUCH), AMOUNT_RULE),
        ]]
        self.check(self.budget.ReplaceBudget, good, plain([*ORGS, *SCOPES, *MUST_HAVE_ID, *VERSIONS, *OLDER_LIMITS]) + limits)

    def test_start_session(self):
        good = {"org": "acme", "session_id": "s", "identity": "i", "request_id": "r"}
        planes = [("plane", "p" * 65, "p" * 64, LABEL_RULE), ("plane", "a\tb", "a\\tb", LABEL_RULE)]
        self.check(self.session.StartSession, good, plain([*ORGS, *SESSIONS, *IDENTITIES, *SCOPES, *MUST_HAVE_ID, *planes]))

    def test_heartbeat(self):
        good = {"org": "acme", "session_id": "s", "identity": "i", "incarnation": "b", "total_seconds": 1}
        nameless = ("incarnation", "", "", PRINTABLE)
        self.check(self.session.Heartbeat, good, plain([*ORGS, *SESSIONS, *IDENTITIES, *IDS, nameless, *INCARNATIONS, *TOTALS]))

    def test_end_session(self):
        good = {"org": "acme", "session_id": "s", "identity": "i", "request_id": "r"}
        told = {**good, "incarnation": "b", "total_seconds": 1}
        rows = plain([*ORGS, *SESSIONS, *IDENTITIES, *MUST_HAVE_ID])
        self.check(self.session.EndSession, good, [
            *rows, ("incarnation", "incarnation", "b", "b", "only together with total_seconds"),
            ("total_seconds", "incarnation", 0, "", PRINTABLE),
        ])
        self.check(self.session.EndSession, told, rows + plain([*INCARNATIONS, *TOTALS]))

    def test_get_session_and_list_sessions(self):
        self.check(self.session.GetSession, {"org": "acme", "session_id": "s"}, plain([*ORGS, *SESSIONS]))
        tokens = [("page_token", value, value[:64], ID_RULE) for value in ["../..", LONG, "a b"]]
        self.check(self.session.ListSessions, {"org": "acme"}, plain([*ORGS, *PAGES, *tokens]))

    def test_batch_status_refuses_each_item_by_itself(self):
        rows = ORGS + SCOPES
        items = [{"org": "acme", field: value} for field, value, _, _ in rows] + [{"org": "acme"}]
        results = self.session.BatchStatus(items=items).results
        for result, (field, _, shown, allowed) in zip(results, rows):
            self.assertEqual((result.error.grpc_code, result.error.reason), (3, "INVALID_FIELD"))
            self.assertTrue(result.error.message.startswith(f'{field} "{shown}'), result.error.message)
            self.assertIn(allowed, result.error.message)
        self.assertEqual(results[-1].status.org, "acme")

    def test_audit(self):
        orgs = [row for row in ORGS if row[1]]
        tokens = [("page_token", value, value[:64], ID_RULE) for value in ["../..", LONG]]
        self.check(self.admin.Audit, {}, plain([*orgs, *PAGES, *tokens]))

    def test_the_admin_service(self):
        reasons = [("reason", value, shown, "at most 256 printable ASCII characters") for value, shown in [
            ("x" * 257, "x" * 64), ("a\x1b[2J", "a\\u{1b}[2J"),
        ]]
        pages = [
            *PAGES,
            ("page_token", "../..", "../..", ID_RULE), ("page_token", LONG, "x" * 64, ID_RULE),
        ]
        self.check(self.admin.GetOrg, {"org": "acme"}, plain(ORGS))
        lists = [
            *(row for row in ORGS if row[1]),
            ("match", "a b", "a b", "1 to 128 characters of the name of an org, with * for any characters"),
            ("match", "x" * 129, "x" * 64, "with * for any characters"),
            ("state", 7, "7", "0 to 6"), ("sort", 5, "5", "0 to 4"),
            ("near_percent", 101, "101", "1 to 100"), ("near_percent", -1, "-1", "1 to 100"),
        ]
        self.check(self.admin.ListOrgs, {}, plain([*pages, *lists]))
        self.check(self.admin.Freeze, {"org": "acme", "request_id": "r"}, plain([*ORGS, *MUST_HAVE_ID, *reasons]))
        for call in [self.admin.Unfreeze, self.admin.PurgeOrg]:
            self.check(call, {"org": "acme", "request_id": "r"}, plain([*ORGS, *MUST_HAVE_ID]))


if __name__ == "__main__":
    unittest.main()
