"""The provider's own SDK agrees with the stand-in: what the tests of tollgate are held against is what
the real client sends, and takes for an answer."""

import json
import pathlib
import shutil
import subprocess
import unittest

from autumn import WITHIN, Standin
from node import ROOT

SCRIPT = pathlib.Path(__file__).resolve().parent / "sdk" / "sdk.mjs"
MODULES = ROOT / ".sdk"


class AutumnSdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("node") or not (MODULES / "node_modules" / "installed").exists():
            raise unittest.SkipTest("node or the SDK is missing; scripts/test installs both as root (Debian: npm)")
        cls.standin = Standin()
        cls.addClassCleanup(cls.standin.close)
        cls.standin.grant("org_1", granted=100, usage=28, next_reset_at=1773851121437)
        cls.standin.grant("org_2", granted=100, usage=100)
        cls.standin.grant("org_3", unlimited=True)
        cls.standin.grant("org_4", boolean=True)
        cls.standin.customers(org_5={})
        run = subprocess.run(
            ["node", str(SCRIPT), str(MODULES), cls.standin.base_url],
            capture_output=True, text=True, timeout=6 * WITHIN, check=False,
        )
        if run.returncode != 0:
            raise AssertionError(run.stderr)
        cls.outcomes = json.loads(run.stdout)

    def test_check_is_understood(self):
        check = self.outcomes["check"]
        self.assertTrue(check["allowed"])
        self.assertEqual(check["balance"]["remaining"], 72)
        self.assertEqual(check["balance"]["nextResetAt"], 1773851121437)

    def test_track_is_booked(self):
        self.assertEqual(self.outcomes["track"]["balance"]["remaining"], 69)
        self.assertEqual(self.standin.usage("org_1"), 31)

    def test_every_state_of_a_balance_passes_the_sdks_own_checks(self):
        exhausted, unlimited = self.outcomes["exhausted"], self.outcomes["unlimited"]
        self.assertEqual((exhausted["allowed"], exhausted["balance"]["remaining"]), (False, 0))
        self.assertEqual((unlimited["allowed"], unlimited["balance"]["unlimited"]), (True, True))
        flag, missing = self.outcomes["flag"], self.outcomes["notInPlan"]
        self.assertEqual((flag["allowed"], flag["balance"], flag["flag"]["featureId"]), (True, None, "executions"))
        self.assertEqual((missing["allowed"], missing["balance"], missing["flag"]), (False, None, None))

    def test_an_unknown_customer_is_an_error(self):
        stranger = self.outcomes["stranger"]
        self.assertEqual((stranger["status"], stranger["body"]["code"]), (404, "customer_not_found"))

    def test_a_customer_passes_the_sdks_own_checks(self):
        self.assertEqual(self.outcomes["customer"]["id"], "org_6")

    def test_the_ledger_has_what_the_sdk_sent(self):
        check = self.standin.ledger("/v1/balances.check")[0]
        track = self.standin.ledger("/v1/balances.track")[0]
        self.assertEqual(check["body"], {"customer_id": "org_1", "feature_id": "executions"})
        self.assertEqual(track["body"], {"customer_id": "org_1", "feature_id": "executions", "value": 3})
        for entry in (check, track):
            self.assertEqual((entry["method"], entry["status"]), ("POST", 200))
            self.assertEqual(entry["headers"]["authorization"], "Bearer am_sk_test_sdk")
            self.assertTrue(entry["headers"]["x-api-version"].startswith("2."))
