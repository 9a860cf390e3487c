"""What the person on call does, as commands: each task takes at most two of them, none is run on the host of the node,
and none reads its directory."""

import csv
import io
import json
import pathlib
import re
import shlex
import signal
import subprocess
import tempfile
import threading

from case import NodeCase
from node import eventually

HOUR = 3600
DAY = 24 * HOUR
DOLLAR = 1_000_000
CONFIG = """
[rate]
amount = 1000
[plans.free]
spend = { daily = "$25" }
scopes."workspace/*" = { spend = { daily = "$2" } }
[plans.pro]
spend = { daily = "$250" }
scopes."workspace/*" = { spend = { daily = "$100" } }
[defaults]
plan = "free"
"""
MOST_COMMANDS = 2


def spend(dollars):
    return [{"meter": "spend", "amount": round(dollars * DOLLAR)}]


class Story(NodeCase):
    """R-EXPL-1, R-EXPL-2, R-EXPL-3, R-CTRL-1, R-CTRL-2, R-OPS-2"""

    def setUp(self):
        self.time = self.clock(minute=10)
        self.here = self.node(clock=self.time, config=CONFIG)
        self.commands = {}
        self.work = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def task(self, name, *arguments, code=0):
        """One command, which knows no more of the node than its address."""
        self.commands[name] = self.commands.get(name, 0) + 1
        self.assertLessEqual(self.commands[name], MOST_COMMANDS, name)
        answer = self.here.run(*arguments, "--addr", f"http://{self.here.grpc}")
        self.assertEqual(answer.returncode, code, f"{name}: {arguments}\n{answer.stdout}{answer.stderr}")
        return answer.stdout

    def calls(self, count, org="acme", dollars=0.4, scope="workspace/a", plane="executor"):
        gate = self.plane(self.here).gate
        return [gate.Acquire(org=org, scope=scope, plane=plane, reserve=spend(dollars)) for _ in range(count)]

    def used_up(self):
        """acme has 1.95 of 2 dollars used in a workspace, and half of its calls are denied."""
        gate = self.plane(self.here).gate
        used = [{"meter": "executions", "amount": 1}, *spend(1.95)]
        gate.Acquire(org="acme", scope="workspace/a", cost=used, request_id="used", plane="executor")
        gate.Record(org="globex", usage=spend(22), request_id="used")
        small, large = self.calls(10, dollars=0), self.calls(10)
        self.assertTrue(all(answer.allowed for answer in small))
        self.assertFalse(any(answer.allowed for answer in large))
        # What is written behind is listed when it is stored.
        eventually(lambda: len(self.plane(self.here).admin.ListOrgs().orgs) == 2, "both are listed")

    def test_who_is_blocked_why_since_when_until_when_and_how_they_are_let_through(self):
        self.used_up()
        seen = self.task("why, since when, until when", "why", "acme", code=3)
        for text in ("budget/daily of workspace/a", "$1.95 of $2.00 used", "since", "until", "denied  10 calls", "executor (10)"):
            self.assertIn(text, seen)
        most_denied = self.task("the most denied", "org", "list", "--most-denied", "--limit", "1")
        self.assertIn("acme", most_denied)
        self.assertNotIn("globex", most_denied)
        near = self.task("near a limit", "status", "--near", "80")
        self.assertIn("acme", near)
        self.assertIn("globex", near)

        (command,) = re.findall(r"^ +tollgate (org override set .*)$", seen.replace("\\\n", " "), re.MULTILINE)
        self.task("let them through", *shlex.split(command))
        self.assertTrue(self.calls(1)[0].allowed, "the command that was shown lets the next call through")
        self.time.step(DAY + HOUR)

    def test_more_for_today_and_a_plan_and_a_freeze(self):
        self.used_up()
        self.task("raise for today", "org", "grant", "acme", "daily", "$1", "--scope", "workspace/a", "--for", "1d",
                  "--reason", "ticket 4711")
        self.assertTrue(self.calls(1)[0].allowed)
        self.task("freeze for a day", "org", "freeze", "acme", "--for", "1d", "--reason", "unpaid")
        self.assertEqual(self.calls(1)[0].http_status_hint, 403)
        changes = self.task("who changed what", "org", "changes", "acme")
        self.assertIn("unpaid", changes)
        self.time.step(2 * DAY)
        self.assertTrue(self.calls(1)[0].allowed, "both have ended by themselves")
        self.task("change the plan", "org", "set-plan", "acme", "pro", "--reason", "upgraded")
        self.assertTrue(all(answer.allowed for answer in self.calls(10)))

    def test_a_refund_and_a_new_beginning_of_a_window(self):
        self.used_up()
        self.task("refund", "refund", "acme", "--amount", "spend=$1", "--scope", "workspace/a", "--reason", "failed run")
        self.assertTrue(all(answer.allowed for answer in self.calls(2)))
        self.assertFalse(self.calls(2)[1].allowed)
        self.task("reset", "org", "reset", "acme", "daily", "--scope", "workspace/a", "--reason", "billed by mistake")
        self.assertTrue(self.calls(1)[0].allowed)
        self.task("audit", "audit", "acme")

    def test_who_consumed_what_and_what_finance_gets(self):
        self.used_up()
        scopes = json.loads(self.task("who consumed", "usage", "acme", "--meter", "spend", "-o", "json"))["rows"]
        self.assertIn(("workspace/a", "1950000"), [(row["scope"], row["amount"]) for row in scopes])
        planes = json.loads(self.task("who consumed", "usage", "acme", "--meter", "spend", "--by-plane", "-o", "json"))["rows"]
        self.assertIn(("executor", "1950000"), [(row["plane"], row["amount"]) for row in planes])
        for name, period in [("finance export", "day"), ("monthly report", "month")]:
            table = self.task(name, "usage", "--all", "--by", period, "--meter", "spend", "-o", "csv")
            rows = list(csv.DictReader(io.StringIO(table)))
            of_orgs = {row["org"]: row["amount"] for row in rows if not row["scope"]}
            self.assertEqual(of_orgs, {"acme": "1950000", "globex": "22000000"})

    def test_what_happens_is_watched(self):
        watching = subprocess.Popen(
            [str(self.here.binary), "events", "--follow", "--since", "1h", "--addr", f"http://{self.here.grpc}", "-o", "json"],
            env=self.here.environ(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        self.addCleanup(watching.stdout.close)
        self.addCleanup(watching.wait)
        self.addCleanup(watching.kill)
        # Nothing waits for a line without an end.
        late = threading.Timer(30, watching.kill)
        late.start()
        self.addCleanup(late.cancel)
        self.used_up()
        seen = ""
        while "acme" not in seen or "NEAR_LIMIT" not in seen.upper():
            line = watching.stdout.readline()
            self.assertTrue(line, f"the command ended: {seen}")
            seen += line
        watching.send_signal(signal.SIGINT)

    def test_a_backup_of_a_live_node_is_restored_elsewhere(self):
        self.used_up()
        backup = self.work / "backup.jsonl"
        self.task("live backup", "snapshot", str(backup))
        self.assertFalse(self.calls(1)[0].allowed, "it serves on")
        elsewhere = self.node(start=False, clock=self.time, config=CONFIG)
        restored = elsewhere.run("import", str(backup), "--data-dir", elsewhere.data_dir)
        self.assertEqual(restored.returncode, 0, restored.stderr)
        again = self.plane(elsewhere.start())
        answer = again.gate.Acquire(org="acme", scope="workspace/a", reserve=spend(0.4))
        self.assertFalse(answer.allowed, "what was used is there")

    def test_an_org_gets_another_name_and_what_runs_under_the_old_one_goes_on(self):
        self.used_up()
        renamed = self.task("rename", "org", "rename", "acme", "acme-corp", "--reason", "ticket 4711")
        self.assertIn("acme → acme-corp", renamed)
        self.assertFalse(self.calls(1, org="acme-corp")[0].allowed, "what was used is used")
        self.assertFalse(self.calls(1)[0].allowed, "planes of the old name are of the same org")
        self.assertIn("acme-corp (id acme)", self.task("who is who", "org", "show", "acme"))
        self.task("rename back", "org", "rename", "acme-corp", "acme", "--reason", "by mistake")

    def test_an_org_is_deleted_with_a_receipt(self):
        self.used_up()
        receipt = self.task("delete", "org", "delete", "acme", "--yes", "--reason", "they have left")
        self.assertIn("acme", receipt)
        self.assertIn("nothing is stored", self.task("why, since when, until when", "why", "acme"))

    def test_a_change_of_the_configuration_says_what_it_did(self):
        self.here.write_config(CONFIG.replace("amount = 1000", "amount = 1001"))
        told = self.task("reload", "reload")
        self.assertIn("rate", told)
        self.assertIn("1001", told)
        eventually(lambda: self.plane(self.here).gate.GetStatus(org="acme").limits[0].amount == 1001, "it is in force")
