"""R-PAGE-1, R-PAGE-2, R-AUTH-3: the dashboard. What is served, to which pages the node answers, that what is committed is what the sources make, and
the page itself in a browser.

The browser is Debian's `chromium`, driven by web/test/browse.mjs. Screenshots of every screen are left in TOLLGATE_PAGE_SHOTS, or
in page-screenshots/ of the target directory.
"""

import gzip
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from callers import CallerCase
from case import NodeCase
from connect import Connect
from node import ROOT, TARGET

WEB = ROOT / "web"
BUILT = WEB / "node_modules" / "esbuild"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SHOTS = pathlib.Path(os.environ.get("TOLLGATE_PAGE_SHOTS", TARGET / "page-screenshots"))
# For a browser that hangs; it takes a minute and a half.
BROWSED_WITHIN = 900.0
CALLER = "tollgate.admin.v1.AdminService/GetCaller"


def node_version():
    """The major version of Node.js; 0 without it."""
    if not shutil.which("node"):
        return 0
    asked = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=30, check=True)
    return int(asked.stdout.lstrip("v").split(".")[0])


def needs_packages():
    if node_version() < 20 or not BUILT.exists():
        raise unittest.SkipTest("Node.js 20 or a package of web/ is missing; scripts/test installs both as root (Debian: npm)")


class Served(NodeCase):
    def setUp(self):
        self.http = Connect(self.node().http)
        self.addCleanup(self.http.close)

    def test_every_place_of_the_page_is_the_page_under_a_strict_policy(self):
        first = self.http.send("GET", "/")
        for path in ["/", "/orgs", "/orgs/acme", "/orgs/auth0%7Cabc", "/orgs/a%2Fb", "/cluster", "/events"]:
            page = self.http.send("GET", path)
            self.assertEqual((page.status, page.headers["content-type"]), (200, "text/html; charset=utf-8"), path)
            self.assertEqual(page.body, first.body)
            self.assertEqual(page.headers["cache-control"], "no-cache")
            rules = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
            for name in ["default-src", "form-action", "base-uri", "frame-ancestors"]:
                self.assertEqual(rules[name], "'none'")
            for name in ["script-src", "style-src", "connect-src"]:
                self.assertEqual(rules[name], "'self'")
            self.assertNotIn("unsafe", page.headers["content-security-policy"])
            self.assertEqual(page.headers["x-content-type-options"], "nosniff")
            self.assertEqual(page.headers["referrer-policy"], "no-referrer")
        self.assertEqual(self.http.send("HEAD", "/").status, 200)
        self.assertEqual(self.http.send("POST", "/", b"{}", content_type="application/json").status, 405)

    def test_its_files_are_for_ever_and_compressed_for_whom_that_is_good(self):
        files = re.findall(rb'"(/assets/[^"]+)"', self.http.send("GET", "/").body)
        self.assertEqual(len(files), 3, files)
        for path in [file.decode() for file in files]:
            plain = self.http.send("GET", path)
            packed = self.http.send("GET", path, accept_encoding="br, gzip")
            self.assertEqual((plain.status, plain.headers["content-encoding"]), (200, None))
            self.assertEqual(packed.headers["content-encoding"], "gzip")
            self.assertEqual(gzip.decompress(packed.body), plain.body)
            for answer in (plain, packed):
                self.assertIn("immutable", answer.headers["cache-control"])
                self.assertEqual((answer.headers["vary"], answer.headers["x-content-type-options"]), ("accept-encoding", "nosniff"))
                self.assertIn("default-src 'none'", answer.headers["content-security-policy"])
            self.assertIsNone(self.http.send("GET", path, accept_encoding="gzip;q=0").headers["content-encoding"])
        for path in ["/assets/", "/assets/app.js", "/assets/../Cargo.toml", "/index.html", "/page", "/cluster/x"]:
            self.assertEqual(self.http.send("GET", path).status, 404, path)

    def test_the_start_up_line_says_where_it_is(self):
        node = self.node()
        (up,) = [node.fields(line) for line in node.logged("tollgate is up")]
        self.assertEqual(up["dashboard"], f"http://{node.http}/")


class Origins(CallerCase):
    """A browser names the origin of the page that calls: the node takes its own pages where nobody else can make one."""

    def status(self, node, origin, host=None, token=None):
        http = Connect(node.http, token)
        try:
            return http.send("POST", f"/{CALLER}", b"{}", content_type="application/json", origin=origin, host=host or node.http).status
        finally:
            http.close()

    def test_without_auth_a_page_of_the_node_under_an_address_or_localhost(self):
        node = self.node()
        port = node.http.rsplit(":", 1)[1]
        for host in [node.http, f"localhost:{port}", f"[::1]:{port}", "10.1.2.3"]:
            self.assertEqual(self.status(node, f"http://{host}", host), 200, host)
        for host in [f"gate.internal:{port}", "rebound.example", f"localhost.example:{port}", f"127.0.0.1.example:{port}"]:
            self.assertEqual(self.status(node, f"http://{host}", host), 403, host)

    def test_with_auth_a_page_of_the_node_under_any_name(self):
        token = self.token("ops", "admin")
        node = self.guarded()
        self.assertEqual(self.status(node, "http://gate.internal", "gate.internal", token), 200)
        self.assertEqual(self.status(node, "https://gate.internal", "gate.internal", token), 200, "behind a proxy that ends TLS")
        self.assertEqual(self.status(node, "http://gate.internal", "gate.internal"), 401, "the token is needed all the same")

    def test_a_page_of_another_origin_never(self):
        token = self.token("ops", "admin")
        for node in [self.node(), self.guarded()]:
            port = int(node.http.rsplit(":", 1)[1])
            for origin in ["http://evil.example", f"http://127.0.0.1:{port + 1}", "http://127.0.0.1", "null", f"http://localhost:{port}"]:
                self.assertEqual(self.status(node, origin, None, token), 403, origin)
            # The page of another site that has led its name here since it was loaded, and says so honestly.
            self.assertEqual(self.status(node, "http://evil.example", "127.0.0.1:80", token), 403)


class Callers(CallerCase):
    def test_whoever_is_known_is_told_who_that_is(self):
        tokens = {role: self.token(role, role, "acme,beta-*", expires="1h") for role in ["reporter", "plane", "viewer", "admin"]}
        node = self.guarded()
        for role, token in tokens.items():
            caller = self.plane(node, token).admin.GetCaller()
            self.assertEqual((caller.name, caller.role, list(caller.orgs), caller.authenticated), (role, role, ["acme", "beta-*"], True))
            self.assertAlmostEqual(caller.expires_in_ms, 3_600_000, delta=120_000)
            self.assertAlmostEqual(caller.expires_at_ms, (time.time() + 3600) * 1000, delta=120_000)
        file = os.path.join(self.dir, "token")
        with open(file, "w", encoding="ascii") as out:
            out.write(tokens["viewer"])
        shown = node.run("whoami", "--addr", node.grpc, "--token-file", file)
        self.assertRegex(shown.stdout, r"(?s)^name  viewer\nrole  viewer\norgs  acme, beta-\*\nends  .* \(in .*\)\n$")
        nobody = self.plane(self.node()).admin.GetCaller()
        self.assertEqual((nobody.role, list(nobody.orgs), nobody.expires_at_ms, nobody.authenticated), ("admin", ["*"], 0, False))


class Sources(unittest.TestCase):
    """Without these packages it is skipped; they are in web/package-lock.json."""

    def setUp(self):
        needs_packages()

    def test_what_is_committed_is_what_the_sources_make(self):
        with tempfile.TemporaryDirectory(prefix="tollgate-page-") as into:
            subprocess.run(["node", "build.mjs", into], cwd=WEB, capture_output=True, timeout=120, check=True)
            made, committed = files_of(pathlib.Path(into)), files_of(WEB / "dist")
        self.assertEqual(sorted(made), sorted(committed), "run `npm run build` in web/ and commit web/dist")
        self.assertEqual(made, committed, "run `npm run build` in web/ and commit web/dist")

    def test_its_types_are_right(self):
        checked = subprocess.run(["npx", "--no-install", "tsc", "--noEmit"], cwd=WEB, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(checked.returncode, 0, checked.stdout)


def files_of(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


class InABrowser(CallerCase):
    def setUp(self):
        needs_packages()
        if not CHROMIUM:
            self.skipTest("chromium is missing; scripts/test installs it as root (Debian: chromium)")
        super().setUp()

    def test_every_step_of_an_operator(self):
        tokens = {name: self.token(name, role) for name, role in [("ops", "admin"), ("viewer", "viewer"), ("plane-eu", "plane")]}
        tokens = {"admin": tokens["ops"], "viewer": tokens["viewer"], "plane": tokens["plane-eu"], "hour": self.token("hour", "admin", expires="1h"),
                  "one": self.token("one", "viewer", "globex")}
        config = subprocess.run(["node", "-e", "import('./seed.mjs').then((seed) => console.log(seed.CONFIG))"], cwd=WEB / "test",
                                capture_output=True, text=True, timeout=60, check=True).stdout
        node = self.guarded(config)
        given = {"base": f"http://{node.http}", "tokens": tokens, "chromium": CHROMIUM, "shots": str(SHOTS)}
        browse = subprocess.Popen(["node", "test/browse.mjs"], cwd=WEB, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  env=os.environ | {"TOLLGATE_PAGE": json.dumps(given)})
        self.addCleanup(browse.kill)
        steps, until = 0, time.monotonic() + BROWSED_WITHIN
        for line in browse.stdout:
            said = json.loads(line)
            if "ask" in said:
                browse.stdin.write(json.dumps(self.does(said["ask"], node)) + "\n")
                browse.stdin.flush()
                continue
            steps += 1
            print(f"  {said['seconds']:5.1f} s  {'ok' if said['ok'] else 'FAILED'}  {said['step']}", file=sys.stdout, flush=True)
            with self.subTest(said["step"]):
                self.assertTrue(said["ok"], said.get("error"))
            self.assertLess(time.monotonic(), until, "it takes too long")
        self.assertEqual(browse.wait(30), 0)
        self.assertGreater(steps, 15)

    def does(self, what, node):
        """What the browser cannot do itself."""
        if what == "stop":
            node.kill()
        elif what in ("pause", "resume"):
            node.process.send_signal({"pause": signal.SIGSTOP, "resume": signal.SIGCONT}[what])
        elif what == "start":
            # Where it was, so that the page finds it.
            node.arguments = lambda: ["serve", "--config", node.config_file, "--data-dir", node.data_dir, "--grpc", "127.0.0.1:0", "--http", node.http]
            node.start()
        elif what == "revoke viewer":
            self.revoke("viewer")
        elif what == "open":
            return {"base": f"http://{self.node().http}"}
        return {}


if __name__ == "__main__":
    unittest.main()
