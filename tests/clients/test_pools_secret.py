"""An account is a secret: only Pick tells it, and nothing that people read does."""

import unittest
import urllib.request

import grpc

from case import fresh
from plane import CALL_WITHIN
from pools import POOL_EXHAUSTED, POOL_UP, Client, PoolNodeCase, account, told

LONG, OTHER, SPOILT = "sk-secret-0123456789-9f3c", "sk-hidden/abcdefgh-77aa", "sk-spoilt-zyxwvuts-55bb"
NINE, EIGHT, SHORT = "ninechars", "eight888", "tok7"
SECRETS = [LONG, OTHER, SPOILT, NINE, EIGHT, SHORT]
MASKED = {LONG: "sk-s…9f3c", OTHER: "sk-h…77aa", NINE: "nine…hars", EIGHT: "***", SHORT: "***"}


class Secret(PoolNodeCase):
    def setUp(self):
        # What every call was answered, with what it was.
        self.answers = []

    def say(self, call, *args, **fields):
        """Calls, and keeps the answer or the error as text; for a pick, without the account."""
        try:
            answer = call(*args, **fields)
        except grpc.RpcError as error:
            details = [str(error.code()), error.details(), repr(error.trailing_metadata()), error.debug_error_string()]
            self.answers.append(("\n".join(details), fields))
            return None
        kept = type(answer)()
        kept.CopyFrom(answer)
        if hasattr(answer, "account") and hasattr(answer, "last_resort"):
            kept.account = ""
        self.answers.append((str(kept), fields))
        return answer

    def assertHidden(self, text, what):
        for secret in SECRETS:
            # Of a secret neither all of it nor the middle, which no mask shows.
            for part in {secret, secret[4:-4] if len(secret) > 12 else secret}:
                self.assertNotIn(part, text, what)

    def configure_all(self, calls):
        say, pool = self.say, calls.plane.pool
        accounts = [account(name, 3) for name in MASKED]
        say(calls.configure, "acme", *accounts)
        say(calls.configure, "acme", {"account": SPOILT, "daily_limit": 1, "safety_buffer": 500}, pool="useless")
        say(pool.ConfigurePool, org="acme", pool="p", accounts=accounts, request_id="")
        bad = [
            {"window": "daily"}, {"daily_limit": -1}, {"safety_buffer": -1}, {"account": LONG + " "}, {"account": LONG + "\n"},
            {"account": LONG * 9}, {"account": "-" + LONG}, {"account": EIGHT + ","}, {"account": f"{LONG}//{LONG}"},
        ]
        for fields in bad:
            self.assertIsNone(say(calls.configure, "acme", {"account": LONG, **fields}), fields)
        self.assertIsNone(say(calls.configure, "acme", {"account": LONG}, {"account": LONG}))
        self.assertIsNone(say(calls.configure, "acme", {"account": EIGHT}, {"account": EIGHT}))
        self.assertIsNone(say(calls.configure, "acme", {"account": LONG}, pool="another"))
        self.assertIsNone(say(calls.configure, "acme", {"account": LONG}, expected_version=9))
        self.assertEqual({each.account for each in calls.get("acme").accounts}, set(MASKED.values()))

    def call_all(self, calls):
        """Every rpc of the service, and what goes wrong in each."""
        say = self.say
        for _ in range(5):
            picked = say(calls.pick, "acme", request_id=fresh())
            self.assertIn(picked.account, MASKED)
            say(calls.pick, "acme", acquire={"explain": True, "reserve": [{"meter": "spend", "amount": 1}]}, request_id=fresh())
            say(calls.report, "acme", picked.account, 500, f"io error of {picked.account}", request_id=fresh())
        for name in [*MASKED, SPOILT, LONG + "x"]:
            say(calls.report, "acme", name, 429, f"Quota of {name} exceeded")
            say(calls.report, "acme", name, 99, f"{name}")
            say(calls.report, "acme", name, 403, f"{name}", pool="unknown")
        say(calls.report, "acme", LONG + " ", 200)
        for pool in ["p", "useless", "unknown"]:
            say(calls.pick, "acme", pool)
            say(calls.pick, "acme", pool, acquire={"scope": f"account/{LONG}", "explain": True})
            say(calls.pick, "acme", pool, acquire={"scope": f"account/{LONG} "})
            say(calls.get, "acme", pool)
            say(calls.plane.gate.Acquire, org="acme", pool=pool)

    def use_as_scope(self, calls, name):
        """Whatever else takes a scope, with that of an account, valid and not."""
        say, gate, budget, session = self.say, calls.plane.gate, calls.plane.budget, calls.plane.session
        for scope in [f"account/{name}", f"account/{name} ", f"account/{name}//", f"account//{name}"]:
            ask = {"org": "acme", "scope": scope, "explain": True}
            spend = [{"meter": "spend", "amount": 4}]
            held = say(gate.Acquire, **ask, cost=spend, reserve=spend, request_id=fresh())
            say(budget.UpdateBudget, org="acme", scope=scope, request_id=fresh(), periods={"hourly": {"limit": 5}})
            for mode in ["MODE_NORMAL", "MODE_CHECK_ONLY", "MODE_SHADOW"]:
                say(gate.Acquire, **ask, cost=spend, mode=mode)
            say(gate.AcquireBatch, items=[ask, ask])
            self.answers += [(str(list(gate.AcquireStream([{"acquire": ask}]))), scope)]
            say(gate.GetStatus, org="acme", scope=scope)
            say(gate.BatchGetStatus, items=[{"org": "acme", "scope": scope}])
            say(gate.Record, org="acme", scope=scope, usage=spend, request_id=fresh())
            report = {"org": "acme", "scope": scope, "source": "vm", "incarnation": "b", "meter": "bytes"}
            for total in [7, 3, 2**62]:
                say(gate.ReportCumulative, **report, total=total, request_id=fresh())
            if held is not None and held.reservation_id:
                say(gate.Extend, org="acme", reservation_id=held.reservation_id, request_id=fresh(), ttl_ms=60_000)
            say(budget.GetBudget, org="acme", scope=scope)
            say(budget.UpdateBudget, org="acme", scope=scope, request_id=fresh(), periods={"hourly": {"limit": -1}})
            say(budget.ReplaceBudget, org="acme", scope=scope, request_id=fresh(), limits={"daily": 5}, expected_version=9)
            say(budget.ReplaceBudget, org="acme", scope=scope, request_id=fresh(), limits={"daily": 5, "hourly": 5})
            named = {"org": "acme", "session_id": fresh("s"), "identity": "vm"}
            say(session.StartSession, **named, scope=scope, request_id=fresh(), explain=True)
            say(session.Heartbeat, **named, incarnation="b1", total_seconds=10_000)
            say(session.BatchStatus, items=[{"org": "acme", "scope": scope}])
            say(session.GetSession, org="acme", session_id=named["session_id"])

    def test_no_answer_no_error_and_no_line_of_the_log_has_an_account_in_it(self):
        """R-POOL-1: at the most talkative, `***` for up to 8 characters, `abcd…wxyz` for longer ones"""
        node, calls = self.started('[log]\nlevel = "trace"\n[pools]\nstats = "1s"\n')
        self.configure_all(calls)
        self.call_all(calls)
        for name in MASKED:
            self.use_as_scope(calls, name)
        self.look(calls)
        with urllib.request.urlopen(f"http://{node.http}/metrics", timeout=CALL_WITHIN) as answer:
            self.answers.append((answer.read().decode(), "metrics"))
        node.kill()
        calls = Client(self.plane(node.start()))
        self.look(calls)
        self.say(calls.configure, "acme", pool="useless")
        self.assertEqual(node.stop(), 0)
        self.assertGreater(len(self.answers), 300)
        for text, what in self.answers:
            self.assertHidden(text, what)
        for line in node.log:
            self.assertHidden(line, "a line of the log")
        (line,) = told(node, POOL_EXHAUSTED, pool="p")
        self.assertIn("sk-s…9f3c", line["accounts"])
        self.assertIn("***", line["accounts"])
        self.assertTrue(told(node, POOL_UP, pool="p")[-1]["stopped"])

    def look(self, calls):
        admin, say = calls.plane.admin, self.say
        found = say(admin.GetOrg, org="acme")
        self.assertIn("account/sk-s…9f3c", {each.scope for each in found.ledgers}, "shown, and masked")
        say(admin.Audit, page_size=100)
        say(admin.ListOrgs, page_size=100)
        say(admin.ListExports, org="acme", page_size=1000)
        say(admin.GetNode)
        say(calls.plane.session.ListSessions, org="acme")
        for pool in ["p", "useless"]:
            say(calls.get, "acme", pool)


if __name__ == "__main__":
    unittest.main()
