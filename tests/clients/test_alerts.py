"""deploy/prometheus and deploy/grafana: the rules are valid and fire when they should, and what they ask for is there."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import unittest
import urllib.request

from case import SharedNodeCase
from node import ROOT

RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
CASES = ROOT / "deploy" / "prometheus" / "alerts_test.yaml"
BOARD = ROOT / "deploy" / "grafana" / "tollgate.json"
NAMES = re.compile(r"\b(?:tollgate|rpc_server)_[a-z_]+\b")
# Series that a node has only once something has happened that these tests do not bring about.
SELDOM = {"tollgate_billing_checks_total", "tollgate_exports_total", "tollgate_pool_accounts"}


def promtool(*arguments):
    beside = pathlib.Path(sys.executable).with_name("promtool")
    found = shutil.which("promtool") or (beside if beside.exists() else None)
    if not found:
        raise unittest.SkipTest("promtool is missing: scripts/test takes it out of Debian's package prometheus")
    return subprocess.run([str(found), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


class Files(SharedNodeCase):
    """R-OPS-3"""

    CONFIG = "[rate]\namount = 1\n"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Something of each kind: an answer, a denial, an error, a commit.
        cls.gate.Acquire(org="acme")
        cls.gate.Acquire(org="acme")
        cls.gate.Record(org="acme", request_id="r", usage=[{"meter": "spend", "amount": 1}])
        try:
            cls.gate.Acquire(org="")
        except Exception:  # It is refused; that is what is counted.
            pass
        with urllib.request.urlopen(f"http://{cls.shared.http}/metrics", timeout=15) as answer:
            lines = answer.read().decode().splitlines()
        cls.series = {NAMES.match(line).group() for line in lines if NAMES.match(line)}
        cls.lines = lines

    def there(self, text, where):
        asked = set(NAMES.findall(text))
        self.assertGreater(len(asked), 10, where)
        self.assertEqual(asked - self.series - SELDOM, set(), f"{where} asks for what no node has")

    def test_the_rules_are_valid_and_fire_when_they_should(self):
        for arguments in (("check", "rules", RULES), ("test", "rules", CASES)):
            ran = promtool(*arguments)
            self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)

    def test_every_metric_of_the_rules_is_there(self):
        self.there(RULES.read_text(encoding="utf-8"), RULES.name)

    def test_every_metric_of_the_board_is_there_and_each_panel_asks_for_one(self):
        board = json.loads(BOARD.read_text(encoding="utf-8"))
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        asked = [target["expr"] for panel in panels for target in panel["targets"]]
        self.assertTrue(all(NAMES.search(expr) for expr in asked))
        self.there("\n".join(asked), BOARD.name)
        self.assertEqual(len({panel["id"] for panel in board["panels"]}), len(board["panels"]))

    def test_what_alerts_count_begins_at_zero(self):
        for series in (
            'tollgate_fail_open_total{gate="balance",cause="timeout"} 0',
            'tollgate_calls_shed_total{by="org_share"} 0',
            'tollgate_forwarded_calls_total{outcome="gone"} 0',
            'tollgate_sessions_total{outcome="expired"} 0',
            "tollgate_emergency_denials_total 0",
        ):
            self.assertIn(series, self.lines)

    def test_each_alert_says_what_it_is_in_words(self):
        text = RULES.read_text(encoding="utf-8")
        alerts = text.split("- alert: ")[1:]
        for alert in alerts:
            with self.subTest(alert.split()[0]):
                self.assertRegex(alert, r"severity: (page|warning|info)")
                self.assertIn("summary:", alert)
        guide = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
        for heading in re.findall(r"docs/operations\.md, ([A-Z][A-Za-z ]+)[,.;]", text):
            self.assertRegex(guide, rf"(?m)^#+ {heading}$", f"the guide has no section {heading}")


if __name__ == "__main__":
    unittest.main()
