"""What docs/security.md and docs/python.md say, literally: commands, configuration, and clients in Python, Node and Rust."""

import contextlib
import http.server
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest

import grpc

from callers import CallerCase
from issuer import Key, key_set, write
from node import ROOT, TARGET

DOCUMENT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
PYTHON = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
MODULES = ROOT / ".sdk"
EXAMPLE = TARGET / "debug" / "examples" / "plane"
# org "acme-1" as field 1 of an AcquireRequest.
REQUEST = b"\x0a\x06acme-1"
NODE_CALL = """
const client = new grpc.Client(process.argv[2], credentials);
const bytes = (buffer) => buffer;
client.makeUnaryRequest("/tollgate.v1.GateService/Acquire", bytes, bytes, Buffer.from(process.argv[3], "hex"),
  (error, answer) => { console.log(error ? `${error.code} ${error.details}` : answer.toString("hex")); client.close(); });
"""


def blocks(language, document):
    return re.findall(rf"^```{language}\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)


def block(language, has, document=DOCUMENT):
    (found,) = [each for each in blocks(language, document) if has in each]
    return found


class DocumentCase(CallerCase):
    def sh(self, command):
        """As a shell runs it, where the command is on the path."""
        path = f"{TARGET / 'release'}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        environment = self.any_node().environ() | {"PATH": path}
        ran = subprocess.run(["sh", "-ec", command], cwd=self.dir, env=environment, capture_output=True, text=True,
                             timeout=30, check=False)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout

    def started(self, *sections):
        self.node_ = self.node(config="".join(block("toml", section) for section in sections), cwd=self.dir)
        self.port = self.node_.grpc.rsplit(":", 1)[1]

    def here(self, text):
        return text.replace("localhost:7070", f"localhost:{self.port}")

    def python(self, script):
        """Acquires over the channel that a script makes; the answer in hexadecimal."""
        call = f"""
            acquire = channel.unary_unary("/tollgate.v1.GateService/Acquire")
            print(acquire({REQUEST!r}, timeout=10).hex())
        """
        script = "import grpc\n" + self.here(script) + textwrap.dedent(call)
        ran = subprocess.run([sys.executable, "-c", script], cwd=self.dir, capture_output=True, text=True, timeout=30,
                             check=False)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout


class Documented(DocumentCase):
    def setUp(self):
        super().setUp()
        self.sh(block("sh", "cert dev ./tollgate-tls --host").strip())
        self.sh(block("sh", "token create --name ops").strip())
        self.started("[tls]", "[auth]\ntokens")

    def test_the_command(self):
        (command,) = [line for line in block("sh", "--token-file").splitlines() if "--token-file" in line]
        self.assertIn("serving", self.sh(self.here(command)))

    def test_python(self):
        answer = self.python(block("python", "access_token_call_credentials"))
        self.assertTrue(answer.startswith("0801"), "allowed = true")

    def test_node(self):
        if not shutil.which("node") or not (MODULES / "node_modules" / "@grpc").exists():
            self.skipTest("node or @grpc/grpc-js is missing; scripts/test installs both as root (Debian: npm)")
        script = f"""
            const grpc = require("{MODULES}/node_modules/@grpc/grpc-js");
            const fs = require("fs");
        """
        file = os.path.join(self.dir, "client.cjs")
        with open(file, "w", encoding="utf-8") as out:
            out.write(textwrap.dedent(script) + block("js", "createFromMetadataGenerator") + NODE_CALL)
        ran = subprocess.run(["node", file, f"localhost:{self.port}", REQUEST.hex()], cwd=self.dir, capture_output=True,
                             text=True, timeout=30, check=False)
        self.assertTrue(ran.stdout.startswith("0801"), ran.stdout + ran.stderr)

    def test_rust(self):
        if not EXAMPLE.exists():
            self.skipTest(f"{EXAMPLE} is missing: cargo build --locked --example plane")
        example = (ROOT / "examples" / "plane.rs").read_text(encoding="utf-8")
        lines = [line.strip() for line in example.splitlines()]
        for line in block("rust", "Client::connect").splitlines():
            self.assertIn(line.strip(), lines)
        secured = ["--ca", "tollgate-tls/ca.pem", "--token-file", "plane-eu.token"]
        command = [str(EXAMPLE), "acme-1", "--addr", f"https://localhost:{self.port}", *secured]
        ran = subprocess.run(command, cwd=self.dir, capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual((ran.returncode, ran.stdout.splitlines()[-1:]), (0, ["settled: Done"]), ran.stderr)


class Identities(DocumentCase):
    def test_certificates_of_callers(self):
        # From the top of the page, in one folder.
        self.sh(block("sh", "cert dev ./tollgate-tls --host").strip())
        make, call = block("sh", "--client-cert").splitlines()
        self.sh(make)
        self.started("[tls]", "[auth.certificates]")
        self.assertIn("serving", self.sh(self.here(call)))
        self.assertTrue(self.python(block("python", "client-key")).startswith("0801"), "allowed = true")

    def test_signed_tokens(self):
        node = self.node(start=False, config=block("toml", "issuer.example.com"))
        checked = node.run("check-config", node.config_file)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        of_a_cluster = block("toml", "system:serviceaccount").replace("/etc/tollgate/jwks.json", f"{self.dir}/jwks.json")
        key = Key("RS256", "cluster")
        write(f"{self.dir}/jwks.json", key_set(key))
        node = self.node(config=of_a_cluster)
        pod = {"iss": "https://kubernetes.default.svc.cluster.local", "aud": ["tollgate"]}
        for subject, org in [("prod:plane", "beta"), ("team-7:runner", "acme")]:
            token = key.token(f"system:serviceaccount:{subject}", **pod)
            self.assertTrue(self.plane(node, token).gate.Acquire(org=org).allowed)


ORGS = """
[sessions]
heartbeat = "1s"
[orgs."few"]
executions = { anchored_24h = 1 }
spend = { monthly = "$1" }
[orgs."again"]
spend = { monthly = "$1" }
"""


class Losing:
    """A transport that loses the first answer."""

    def __init__(self, call, fault):
        self.call, self.fault, self.sent = call, fault, 0

    def __call__(self, rpc, message, timeout):
        answer = self.call(rpc, message, timeout)
        self.sent += 1
        if self.sent == 1:
            raise self.fault("unavailable", "lost")
        return answer


def page(*has):
    """What these blocks of docs/python.md define."""
    defined = {"__name__": "plane"}
    for each in ["class Plane:", *has, "def host("]:
        exec(compile(block("python", each, PYTHON), "docs/python.md", "exec"), defined)
    return defined


class PythonPlane(DocumentCase):
    """docs/python.md: the same plane over each of its transports."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.made = tempfile.TemporaryDirectory(prefix="tollgate-messages-")
        cls.addClassCleanup(cls.made.cleanup)
        os.symlink(ROOT / "proto", os.path.join(cls.made.name, "proto"))

    def setUp(self):
        super().setUp()
        self.node_ = self.node(config=ORGS)
        self.ran = []

    def run_it(self, decision, used):
        self.ran.append(decision)
        used["spend"] = 12_000
        return "done"

    def spend(self, org="few"):
        status = self.plane(self.node_).gate.GetStatus(org=org)
        (monthly,) = [limit for limit in status.limits if limit.name == "budget/monthly"]
        return monthly.used, monthly.reserved

    def story(self, has, transport):
        doc = page(has)
        call = transport(doc)
        plane = doc["Plane"](Losing(call, doc["Fault"]), fail_open=False, budget=15, attempt=10)
        reserve = [{"meter": "spend", "amount": 50_000}]
        decision, value = plane.guard("few", self.run_it, reserve=reserve, scopes=["workspace/a"])
        self.assertEqual((value, decision["replayed"], self.spend()), ("done", True, (12_000, 0)), "charged once")
        decision, value = plane.guard("few", self.run_it, reserve=reserve)
        self.assertEqual((value, decision["code"]), (None, "DECISION_CODE_QUOTA_EXCEEDED"))
        self.assertEqual(len(self.ran), 1, "what is denied does not run")
        paused, _ = plane.guard("acme", lambda _, used: None, operation="OPERATION_EXECUTE_WITH_PAUSE")
        plane.resume("acme", paused["decisionId"])
        self.assertEqual(plane.ask("GateService/Resume", {"org": "acme", "executionId": paused["decisionId"]})["continuations"],
                         "2")
        beats = iter([True, False])
        started = doc["host"](plane, "acme", "vm-1", "user 7", lambda: next(beats), self.fail)
        self.assertTrue(started["allowed"])
        ended = plane.ask("SessionService/GetSession", {"org": "acme", "sessionId": "vm-1"})["session"]
        self.assertEqual((ended["state"], list(plane.later)), ("SESSION_STATE_ENDED", []))
        self.redelivered(plane)
        self.throttled(doc, transport)

        opens = doc["Plane"](call, fail_open=True, budget=0.6, attempt=0.2)
        with self.assertRaises(doc["Refused"]):
            opens.guard("no org", self.run_it)
        with self.assertRaises(ZeroDivisionError):
            opens.guard("acme", lambda _, used: 1 / 0, reserve=reserve)
        self.node_.kill()
        self.assertEqual(opens.guard("few", self.run_it), (None, "done"))

        def fails(_, used):
            used["spend"] = 500
            raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            opens.guard("few", fails)
        closed = doc["Plane"](call, fail_open=False, budget=0.6, attempt=0.2)
        with self.assertRaises(doc["NoDecision"]):
            closed.guard("few", self.run_it)
        self.assertEqual((len(self.ran), opens.failed_open, opens.settle_later()), (2, 2, False))
        self.node_.start()
        opens.call, opens.budget, opens.attempt = transport(doc), 15, 10
        self.assertTrue(opens.settle_later())
        self.assertEqual(self.spend(), (24_500, 0), "what ran without a decision is recorded")

    def redelivered(self, plane):
        """Work of its own id that fails, and is delivered again."""
        def spends(amount, error=None):
            def run(_, used):
                used.update({"spend": amount} if amount else {})
                if error:
                    raise error
            return run

        ask = {"requestId": "message-1", "reserve": [{"meter": "spend", "amount": 100}]}
        with self.assertRaises(ZeroDivisionError):
            plane.guard("again", spends(0, ZeroDivisionError()), **ask)
        self.assertEqual(self.spend("again"), (0, 100))
        with self.assertRaises(ZeroDivisionError):
            plane.guard("again", spends(20, ZeroDivisionError()), **ask)
        for _ in range(2):
            plane.guard("again", spends(60), **ask)
        self.assertEqual((self.spend("again"), list(plane.later)), ((80, 0), []))
        with self.assertRaises(ValueError):
            plane.guard("again", self.fail, operation="OPERATION_EXECUTE_WITH_PAUSE", reserve=ask["reserve"])

    def throttled(self, doc, transport):
        """A token that was revoked never opens, also where the node has stopped checking it."""
        tokens = os.path.join(self.dir, "tokens.toml")
        made = self.node_.run("token", "create", "--name", "a", "--role", "plane", "--orgs", "*", "--expires", "1d",
                              "--file", tokens)
        self.assertEqual(made.returncode, 0, made.stderr)
        checked = self.node(config=f'[auth]\ntokens = "{tokens}"\n')
        opens = doc["Plane"](transport(doc, checked, "wrong"), fail_open=True, budget=15, attempt=10)
        reasons = set()
        for _ in range(25):
            with self.assertRaises(doc["Refused"]) as refused:
                opens.guard("acme", self.fail)
            reasons.add(refused.exception.reason)
        self.assertIn("TOO_MANY_REFUSALS", reasons)

    def test_over_http(self):
        def transport(doc, node=self.node_, token=None):
            return doc["Json"]("127.0.0.1", int(node.grpc.rsplit(":", 1)[1]), token)

        self.story("class Json:", transport)
        example = block("python", "class Json:", PYTHON) + block("python", "def run(", PYTHON)
        defined = {}
        exec(block("python", "class Plane:", PYTHON) + example.replace("7070", self.node_.grpc.rsplit(":", 1)[1]), defined)
        self.assertEqual(defined["value"], "done")

    def test_over_grpc(self):
        make = block("sh", "grpc_tools.protoc", PYTHON)
        path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
        subprocess.run(["sh", "-ec", make], cwd=self.made.name, env=os.environ | {"PATH": path}, check=True, timeout=60)
        sys.path.insert(0, self.made.name)
        self.addCleanup(sys.path.remove, self.made.name)

        def transport(doc, node=self.node_, token=None):
            channel = grpc.insecure_channel(node.grpc)
            self.addCleanup(channel.close)
            return doc["Grpc"](WithToken(channel, token) if token else channel)

        self.story("class Grpc:", transport)


class WithToken:
    """A channel without TLS, on which grpcio sends no credentials of its own."""

    def __init__(self, channel, token):
        self.channel, self.metadata = channel, [("authorization", f"Bearer {token}")]

    def unary_unary(self, *about):
        call = self.channel.unary_unary(*about)
        return lambda request, timeout: call(request, timeout=timeout, metadata=self.metadata)


class Canned(http.server.BaseHTTPRequestHandler):
    """Something in between, which answers every call with `answer`: a status, headers and a body."""

    answer, drips = None, False

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        status, headers, body = self.answer
        self.send_response(status)
        for name, value in (headers | {"content-length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            for byte in [body] if not self.drips else [body[at:at + 1] for at in range(len(body))]:
                self.wfile.write(byte)
                time.sleep(0.2 if self.drips else 0)

    def log_message(self, *_):
        pass


class PythonFaults(unittest.TestCase):
    """docs/python.md: whatever is answered in place of a node, the policy decides."""

    def plane(self, **options):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Canned)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        doc = page("class Json:")
        return doc, doc["Plane"](doc["Json"]("127.0.0.1", server.server_port), **options)

    def test_answers_of_something_in_between(self):
        doc, plane = self.plane(fail_open=True, budget=0.3, attempt=0.2)
        faults = [
            (503, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, b""), (500, {}, b"[1]"), (200, {}, b"[1]"),
            (200, {}, b'"x"'), (200, {}, b'{"a":1}'), (200, {}, b'{"allowed":"yes"}'), (200, {}, b""), (500, {}, b'{"code":[1]}'),
            (503, {}, b'{"code":503}'),
        ]
        for Canned.answer in faults:
            with self.subTest(answer=Canned.answer):
                self.assertEqual(plane.guard("acme", lambda decision, used: "ran"), (None, "ran"))
        for Canned.answer in [(400, {}, b"<p>"), (400, {}, b'{"error":"no"}'), (404, {}, b""), (403, {}, b"[]"), (302, {}, b"")]:
            with self.subTest(answer=Canned.answer), self.assertRaises(doc["Refused"]):
                plane.guard("acme", self.fail)

    def test_a_slow_answer_is_bounded_by_the_budget(self):
        _, plane = self.plane(fail_open=True, budget=1, attempt=1)
        Canned.answer, Canned.drips = (200, {}, b'{"allowed": true, "decisionId": "d"}' + b" " * 40), True
        self.addCleanup(setattr, Canned, "drips", False)
        began = time.monotonic()
        self.assertEqual(plane.guard("acme", lambda decision, used: "ran"), (None, "ran"))
        self.assertLess(time.monotonic() - began, 5)

    def test_what_is_lost_is_counted(self):
        doc, plane = self.plane(fail_open=True, budget=0.3, attempt=0.2)
        doc["KEPT"] = 1
        Canned.answer = (503, {}, b"")
        for _ in range(3):
            plane.guard("acme", lambda decision, used: used.update(spend=1))
        self.assertEqual((plane.lost, len(plane.later)), (2, 1))

    def test_a_session_goes_on_until_the_node_does_not_know_it(self):
        doc = page("class Json:")
        started = {"allowed": True, "heartbeatIntervalMs": "1"}
        stop = {"action": "SESSION_ACTION_STOP", "graceMs": "5000", "heartbeatIntervalMs": "1"}
        beats = [doc["Fault"]("unauthenticated", "rotated"), {"heartbeatIntervalMs": "1"}, stop, stop,
                 doc["Fault"]("not_found", "gone", reason="SESSION_UNKNOWN")]
        sent, stops = [], []

        def call(rpc, message, timeout):
            sent.append(rpc)
            answer = started if rpc.endswith("StartSession") else beats.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        plane = doc["Plane"](call, fail_open=False)
        doc["host"](plane, "acme", "vm-1", "user 7", lambda: True, stops.append)
        self.assertEqual((stops, beats, sent[-1]), ([5.0], [], "SessionService/Heartbeat"))


if __name__ == "__main__":
    unittest.main()
