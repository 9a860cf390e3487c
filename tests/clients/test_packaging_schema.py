"""tollgate.schema.json for editors: it says of a file what `tollgate check-config` says, as far as a schema can."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

import jsonschema

from node import BINARY, ROOT

try:
    import tomllib
except ImportError:
    tomllib = None

SCHEMA = ROOT / "tollgate.schema.json"
EXAMPLE = ROOT / "tollgate.example.toml"
HASH = "[auth.jwt]\nissuer = \"i\"\naudience = \"a\"\nclaim = \"c\"\njwks = "
ROW = "[auth.certificates]\nca = \"/ca\"\n[auth.certificates.principals]\n"

# What both take.
GOOD = [
    "",
    "[listen]\ngrpc = \"[::1]:7070\"\nhttp = \"0.0.0.0:0\"",
    "[cors]\norigins = [\"https://app.example.com\", \"http://localhost:3000\"]",
    "[cors]\norigins = [\"*\"]",
    "[durability]\nwrite_behind_ms = 0\nwrite_behind_max = 1",
    "[rate]\namount = \"off\"\nwindow = { aligned = \"1m\" }",
    "[emergency]\namount = 1",
    "[cluster]\npostgres_urls = [\"postgres://t@db/q\"]\nadvertise = \"n1.internal:7072\"\nweight = 1000",
    "[cluster]",
    "[billing]\nprovider = \"static\"\ndeny_stale = \"off\"\nupgrade_url = \"https://example.com/up\"\nfree_plans = [\"a\", \"b.c\"]",
    "[billing.features]\ncompute = \"compute_ms\"",
    "[billing.autumn]\nbase_url = \"http://127.0.0.1:80\"\napi_version = \"2.10.0\"\nbreaker_pause = \"500ms\"",
    "[webhook]\nkinds = [\"exhausted\"]\ntimeout = \"1s\"",
    "[sessions]\nenforce = false\nheartbeat = \"1m\"\nclamp = \"1h\"",
    "[pools]\nwindow = { calendar = \"day\", zone = \"America/Los_Angeles\" }\nquota_texts = [\"quota\"]\nper_minute = 60",
    "[pools.named.keys]\nprofile = \"llm\"\nwindow = { rolling = \"24h\" }",
    "[plans.free]\nrate = { amount = 500 }\nexecutions = { calendar_month = 10000, aligned_6h = \"unlimited\", hourly = 0 }",
    "[plans.free]\nspend = { hourly = \"$1\", daily = \"5.25usd\", weekly = \"12u\", monthly = \"block\", anchored_24h = \"unlimited\" }",
    "[plans.free]\ncompute = { calendar_month = \"4h\", daily = 5 }\nmax_sessions = \"unlimited\"",
    "[plans.free]\nscans = { calendar_day = { amount = 100, zone = \"Europe/Berlin\", shadow = true }, rolling_12h = { amount = 9, buffer = 1 } }",
    "[plans.free]\nrequire_scopes = [\"agent/*\"]\noverrun = \"carry\"\nexempt = true\ntrial = true\nthen = \"max\"",
    "[plans.free.scopes]\n\"team/*\" = \"deny\"\n\"team/core\" = { spend = { daily = \"$50\" } }\n\"*\" = { scans = { daily = 1 } }",
    "[orgs]\nadmit = \"listed\"",
    "[orgs]\nadmit = [\"acme\", \"beta-*\"]",
    "[orgs.admit]\nplan = \"free\"",
    "[orgs.\"a/b@c\"]\nplan = \"\"\nbilling_anchor = 31",
    "[orgs.new]\nplan = \"trial\"\ntrial_ends = \"2026-12-15T08:00:00Z\"",
    "[orgs.new]\nplan = \"trial\"\ntrial_ends = 2026-12-15",
    "[bounds]\nconnections = 1\ndenials_per_org = 0",
    "[log]\nlevel = \"trace\"\nformat = \"json\"\n[node]\nname = \"n.1\"\n[reload]\naccept_lost_limits = true",
]
# What both refuse: a key that nobody reads, a type, a range, a choice, a unit, what belongs together.
BAD = [
    "[listn]\ngrpc = \"127.0.0.1:1\"", "[listen]\npeers = \"127.0.0.1:1\"", "[listen]\ngrpc = \"localhost\"", "listen.http = 7071",
    "[cors]\norigins = \"*\"", "[cors]\norigins = [\"*\", \"https://a.b\"]", "[cors]\norigins = [\"https://a.b/c\"]",
    "[tls]\ncert = \"/c\"", "[tls]\nkey = \"\"", "[data]\ndir = \"\"", "[durability]\nwrite_behind_ms = -1", "[durability]\nwrite_behind_max = 0",
    "rate = 5", "[rate]\namont = 5", "[rate]\namount = 0", "[rate]\namount = 1.5", "[rate]\nwindow = \"1h\"", "[rate]\nwindow = { rolling = \"1h\" }",
    "[rate]\nwindow = { aligned = \"1 h\" }", "[rate]\nidle_windows = 0", "[emergency]\namount = \"off\"", "[emergency]\nwindow = 5",
    "[auth]\nmetrics = \"all\"", "[auth]\ntoken_store = \"file\"", "[auth.jwt]\nissuer = \"i\"", HASH + "5", HASH + "\"k\"\nkid = 1",
    ROW + "\"a b\" = { role = \"plane\", orgs = [\"*\"] }", ROW + "n = { role = \"king\", orgs = [\"*\"] }", ROW + "n = { role = \"plane\" }",
    "[cluster]\nweight = 2", "[cluster]\npostgres_urls = []", "[cluster]\npostgres_urls = [\"postgres://a@b/c\"]\nadvertise = \"n1\"",
    "[cluster]\npostgres_urls = [\"postgres://a@b/c\", \"postgres://a@b/c\"]", "[cluster.tls]\ncert = \"/c\"",
    "[bounds]\nbatch_item = 1", "[bounds]\nbatch_items = 0", "[bounds]\nbatch_items = 10001", "[bounds]\nbatch_items = \"5\"",
    "[billing]\nprovider = \"stripe\"", "[billing]\nallow_ttl = 60", "[billing]\nallow_ttl = \"1 minute\"", "[billing]\nfeature = \"a b\"",
    "[billing]\nfree_plans = \"free\"", "[billing]\nupgrade_url = \"example.com\"", "[billing]\ndeny_stale = \"never\"",
    "[billing.features]\nexecutions = \"e\"", "[billing.features]\ncompute = 5", "[billing.autumn]\nbase_url = \"http://example.com\"",
    "[billing.autumn]\napi_version = \"2\"", "[billing.autumn]\nbreaker_failures = 0", "[billing.autumn]\nsecret = \"am_sk_x\"",
    "[webhook]\nurl = \"https://a.b\"", "[webhook]\nkinds = []", "[webhook]\nkinds = [\"denied\"]", "[webhook]\nurl = \"http://a.b\"\nsecret_file = \"/s\"",
    "[budgets]\non_indeterminate = \"maybe\"", "[sessions]\nmissed = 24", "[sessions]\nheartbeat = 30", "[sessions]\nenforce = \"no\"",
    "[pools]\ndaily_limit = -1", "[pools]\nwindow = { aligned = \"1h\", anchored = \"24h\" }", "[pools]\nwindow = { calendar = \"decade\" }",
    "[pools]\nwindow = { anchored = \"24h\", zone = \"Europe/Berlin\" }", "[pools]\nprofile = \"gpt\"", "[pools]\nquota_texts = [\"\"]",
    "[pools.named.\"a b\"]", "[pools.named.a]\nstats = \"1m\"", "[defaults]\nplan = 7", "[defaults]\nplans = \"free\"",
    "[plans]\nfree = 5", "[plans.\"a b\"]", "[plans.a]\nmax_session = 1", "[plans.a]\nmax_sessions = -1", "[plans.a]\nplan = \"b\"",
    "[plans.a]\nbilling_anchor = 5", "[plans.a]\nspend = 5", "[plans.a]\n\"Spend!\" = { hourly = 1 }", "[plans.a]\nspend = { hourly = 5 }",
    "[plans.a]\nspend = { hourly = \"5\" }", "[plans.a]\nspend = { hourly = \"$1.1234567\" }", "[plans.a]\nspend = { hourley = \"5u\" }",
    "[plans.a]\nspend = { rolling_ = \"5u\" }", "[plans.a]\nspend = { hourly = { buffer = \"5u\" } }",
    "[plans.a]\nspend = { hourly = { amount = \"5u\", buffer = \"unlimited\" } }", "[plans.a]\nspend = { hourly = { amount = \"5u\", name = \"x\" } }",
    "[plans.a]\nbytes = { hourly = { amount = 5, zone = \"Europe/Berlin\" } }", "[plans.a]\nbytes = { hourly = \"1GB\" }",
    "[plans.a]\ncompute = { daily = \"4 hours\" }", "[plans.a]\nexecutions = { daily = false }", "[plans.a]\nexecutions = { daily = [5] }",
    "[plans.a]\noverrun = \"keep\"", "[plans.a]\nrequire_scopes = \"agent/*\"", "[plans.a]\nrate = { amount = \"off\" }",
    "[plans.a]\nrate = { idle_windows = 3 }", "[plans.a.scopes]\n\"team/*\" = \"allow\"", "[plans.a.scopes.\"\"]", "[plans.a.scopes.w]\nrate = { amount = 5 }",
    "[orgs.\"*\"]", "[orgs.default]", "[orgs.\"a//b\"]", "[orgs.\"a b\"]", "[orgs.a]\nplan = 7", "[orgs.a]\nthen = \"free\"", "[orgs.a]\nbilling_anchor = 32",
    "[orgs.a]\nplan = \"trial\"\ntrial_ends = \"soon\"", "[orgs]\nadmit = \"none\"", "[orgs]\nadmit = []", "[orgs]\nadmit = [\"a*b\"]",
    "[node]\nname = \"a b\"", "[log]\nlevel = \"loud\"", "[log]\nformat = true", "[reload]\naccept_lost_limits = 1",
]


@unittest.skipIf(tomllib is None, "Python before 3.11 reads no TOML")
class Schema(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
        jsonschema.Draft7Validator.check_schema(cls.schema)
        cls.validator = jsonschema.Draft7Validator(cls.schema)

    def found(self, text):
        """What an editor marks. Dates are text to it, as the plug-ins hand them over."""
        read = json.loads(json.dumps(tomllib.loads(text), default=str))
        return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in self.validator.iter_errors(read)]

    def test_the_file_is_what_the_command_prints(self):
        said = subprocess.run([str(BINARY), "config-schema"], capture_output=True, text=True, timeout=30, check=True)
        self.assertEqual(said.stdout, SCHEMA.read_text(encoding="utf-8"), "tollgate config-schema > tollgate.schema.json")

    def test_the_example_and_all_that_is_commented_out_in_it_is_good(self):
        text = EXAMPLE.read_text(encoding="utf-8")
        self.assertTrue(text.startswith(f"#:schema ./{SCHEMA.name}\n"), "editors read the first line")
        self.assertEqual(self.found(text), [])
        lines = [line[1:] if line.startswith("#") and not line.startswith(("# ", "#:")) else line for line in text.splitlines()]
        self.assertEqual(self.found("\n".join(lines)), [])

    def test_the_configurations_of_deploy_are_good(self):
        for file in (ROOT / "deploy").rglob("tollgate.toml"):
            self.assertEqual(self.found(file.read_text(encoding="utf-8")), [], file)

    def test_the_schema_and_the_node_say_the_same_of_each_file(self):
        with tempfile.TemporaryDirectory(prefix="tollgate-schema-") as folder, ThreadPoolExecutor(2) as pool:
            def judged(numbered):
                number, text = numbered
                file = pathlib.Path(folder, f"{number}.toml")
                file.write_text(text, encoding="utf-8")
                said = subprocess.run([str(BINARY), "check-config", str(file)], capture_output=True, text=True, timeout=60,
                                      env={"PATH": os.environ["PATH"]}, check=False)
                # What is in other files is not for a schema.
                return said.returncode, said.stderr.replace(folder, "")
            verdicts = list(pool.map(judged, enumerate(GOOD + BAD)))
        for text, (code, said) in zip(GOOD, verdicts):
            with self.subTest(text):
                self.assertEqual((code, self.found(text)), (0, []), said)
        for text, (code, said) in zip(BAD, verdicts[len(GOOD):]):
            with self.subTest(text):
                self.assertEqual(code, 1, "the node takes it")
                self.assertNotEqual(self.found(text), [], said)

    def test_the_engine_of_editors_takes_it(self):
        taplo = ROOT / ".packaging" / "node_modules" / "@taplo" / "cli" / "dist" / "cli.js"
        if shutil.which("node") is None or not taplo.exists():
            self.skipTest("node or taplo is missing: scripts/test clients installs it")
        with tempfile.TemporaryDirectory(prefix="tollgate-schema-") as folder:
            # As in the repository and in an archive: the first line of a file names the schema beside it.
            shutil.copy2(SCHEMA, folder)
            text = EXAMPLE.read_text(encoding="utf-8")
            pathlib.Path(folder, "good.toml").write_text(text, encoding="utf-8")
            pathlib.Path(folder, "wrong.toml").write_text(text.replace("\nidle_windows = ", "\nidle_window = "), encoding="utf-8")
            said = subprocess.run(["node", str(taplo), "lint", "--colors=never", "good.toml", "wrong.toml"], cwd=folder, timeout=60,
                                  capture_output=True, text=True, check=False)
        self.assertEqual(said.returncode, 1, "it finds the key that is mistyped")
        self.assertIn("'idle_window' was unexpected", said.stderr)
        self.assertNotIn("good.toml", said.stderr)

    def test_an_editor_can_show_what_each_key_is(self):
        sections = self.schema["properties"]
        self.assertEqual(sections["rate"]["properties"]["amount"]["default"], 1000)
        self.assertIn("Milliseconds", sections["durability"]["properties"]["write_behind_ms"]["description"])
        self.assertIn("A duration from 1s to 1h.", sections["sessions"]["properties"]["heartbeat"]["description"])
        for bound in sections["bounds"]["properties"].values():
            self.assertRegex(bound["description"], r"Takes effect with a re(load|start)\.$")


if __name__ == "__main__":
    unittest.main()
