"""R-REACH-1: clients of Connect, gRPC-Web and gRPC that nobody here wrote, on both ports: each sees the same answers.

What is generated for JavaScript is made when the test runs, by protoc-gen-es from the protos that a node reports.
"""

import atexit
import base64
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest
from urllib.parse import quote

from google.protobuf import descriptor_pb2, json_format, message_factory
from google.protobuf.compiler import plugin_pb2
from google.rpc import error_details_pb2, status_pb2

from callers import CallerCase, documented
from case import NodeCase, SharedNodeCase, fresh
from frames import message
from node import ROOT, eventually
from plane import SERVICES, descriptors, metric

MODULES = ROOT / ".sdk"
SCRIPTS = pathlib.Path(__file__).resolve().parent / "sdk"
PLUGIN = MODULES / "node_modules" / "@bufbuild" / "protoc-gen-es" / "bin" / "protoc-gen-es"
WITHIN = 60.0
GATE, ADMIN = "/tollgate.v1.GateService", "/tollgate.admin.v1.AdminService"
ACQUIRE, STATUS, WATCH = f"{GATE}/Acquire", f"{GATE}/GetStatus", f"{ADMIN}/WatchEvents"
JSON, PROTO = "application/json", "application/proto"
WEB, TEXT = "application/grpc-web+proto", "application/grpc-web-text+proto"
IN_STREAM = {JSON: "application/connect+json", PROTO: "application/connect+proto"}
# Of a frame: the last of a stream of Connect, and the trailers of gRPC-Web.
LAST, TRAILERS = 2, 0x80
# More than a double can tell apart.
LARGE = 2**53 + 1
CONFIG = f"""
[rate]
amount = 2
[plans.all]
spend = {{ monthly = "{LARGE}u" }}
[defaults]
plan = "all"
"""
# As transports.mjs and web.mjs have them; and those of them that can send a stream of requests.
TRANSPORTS = [
    "connect-http1-json", "connect-http1-proto", "connect-http1-get", "connect-http2-json", "connect-http2-proto",
    "connect-http2-get", "grpc-web-http1", "grpc-web-http2", "grpc", "fetch-connect-json", "fetch-connect-proto",
    "fetch-connect-get", "fetch-grpc-web", "grpc-js",
]
SEND_STREAMS = {"grpc", "grpc-js", "grpcio", "grpc-web-http1", "grpc-web-http2"}
OVER_TLS = ["connect-http1-json", "connect-http2-proto", "grpc-web-http2", "grpc", "grpc-js", "fetch-connect-get"]
# Reads of the story.
READS = 5
HTTP = {"1.1": "--http1.1", "2": "--http2-prior-knowledge"}


def decision(allowed, code, hint, said="", replayed=False):
    return {"allowed": allowed, "code": code, "replayed": replayed, "httpStatusHint": hint, "message": said}


def refused(code, reason, *fields):
    return {"code": code, "reason": reason, "domain": "tollgate", "fields": list(fields)}


def story(hour_end_ms):
    """What every client is answered, in the names of story.mjs."""
    rate = {"amount": "2n", "resetsAtMs": f"{hour_end_ms}n"}
    denied = decision(False, "RATE_LIMITED", 429, "Rate backstop reached")
    return {
        "admitted": decision(True, "ALLOWED", 200),
        "again": {**decision(True, "ALLOWED", 200, replayed=True), "same": True},
        "reused": refused("already_exists", "REQUEST_ID_REUSED"),
        "rate": {**rate, "used": "1n", "remaining": "1n", "limiting": False},
        "budget": {"amount": f"{LARGE}n", "used": "0n", "remaining": f"{LARGE}n", "limiting": False},
        "set": {"version": "1n", "daily": "5000000n", "weekly": None},
        "stale": refused("aborted", "BUDGET_VERSION"),
        "second": decision(True, "ALLOWED", 200),
        "denied": {**denied, "rate": {**rate, "used": "2n", "remaining": "0n", "limiting": True}, "waits": True},
        "batch": [["decision", False], ["error", "INVALID_FIELD"]],
        "nameless": refused("invalid_argument", "INVALID_FIELD", "org"),
        "misnamed": refused("invalid_argument", "INVALID_FIELD", "org"),
        "unknown": refused("not_found", "ORG_UNKNOWN"),
        "hasty": True,
        "events": {
            "seen": [[True, "1n", "operator"], [True, "2n", "exhausted"], [True, "3n", "denials_began"]],
            "end": "canceled",
        },
        "late": True,
        "misasked": refused("invalid_argument", "INVALID_FIELD", "org"),
    }


class Scripts:
    """The scripts of sdk/ beside what they import: the installed packages, and what is made of the protos."""

    _made = None

    @classmethod
    def of(cls, channel):
        """Once per run; a SkipTest where something is missing."""
        if not shutil.which("node") or not PLUGIN.exists() or not (MODULES / "node_modules" / "installed").exists():
            raise unittest.SkipTest("node or a package is missing; scripts/test installs both as root (Debian: npm)")
        asked = ["node", "--version"]
        version = subprocess.run(asked, capture_output=True, text=True, timeout=WITHIN, check=True).stdout
        if int(version.lstrip("v").split(".")[0]) < 20:
            raise unittest.SkipTest(f"node is {version.strip()}: the packages of Connect need 20 or newer")
        if cls._made is None:
            cls._made = cls(channel)
        return cls._made

    def __init__(self, channel):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="tollgate-sdk-"))
        atexit.register(shutil.rmtree, self.dir, ignore_errors=True)
        (self.dir / "node_modules").symlink_to(MODULES / "node_modules")
        (self.dir / "package.json").write_text('{ "type": "module" }')
        for script in SCRIPTS.glob("*.mjs"):
            shutil.copy(script, self.dir)
        request = plugin_pb2.CodeGeneratorRequest(parameter="target=js,import_extension=js")
        pool = descriptors(channel)
        files = [pool.FindServiceByName(service).file for service in SERVICES.values()]
        for file in [*files, error_details_pb2.DESCRIPTOR, status_pb2.DESCRIPTOR]:
            self._add(request, file)
        ran = subprocess.run(["node", str(PLUGIN)], input=request.SerializeToString(), capture_output=True,
                             timeout=WITHIN, check=False)
        made = plugin_pb2.CodeGeneratorResponse.FromString(ran.stdout)
        if ran.returncode != 0 or made.error or not made.file:
            raise AssertionError(f"protoc-gen-es: {made.error}\n{ran.stderr.decode()}")
        for file in made.file:
            path = self.dir / "generated" / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.content, encoding="utf-8")

    def _add(self, request, file):
        """What a file imports comes before it."""
        if any(file.name == known.name for known in request.proto_file):
            return
        for imported in file.dependencies:
            self._add(request, imported)
        file.CopyToProto(request.proto_file.add())
        # These come with the package.
        if not file.name.startswith("google/protobuf/"):
            request.file_to_generate.append(file.name)

    def run(self, script, *arguments, ca=None):
        """What a script prints. `ca`: whom it trusts, as a file."""
        environment = os.environ | ({"NODE_EXTRA_CA_CERTS": ca} if ca else {})
        ran = subprocess.run(["node", script, *arguments], cwd=self.dir, env=environment, stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, timeout=WITHIN, check=False)
        if ran.returncode != 0:
            raise AssertionError(f"{script} {arguments[:2]} ended with {ran.returncode}:\n{ran.stderr}")
        return json.loads(ran.stdout)


class Answer:
    """What curl was answered."""

    def __init__(self, head, body):
        # Of the last head: one before it may say to continue.
        first, *lines = head.decode("latin-1").strip().split("\r\n\r\n")[-1].split("\r\n")
        self.status, self.body = int(first.split()[1]), body
        self.headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()

    @property
    def kind(self):
        return self.headers.get("content-type")

    @property
    def json(self):
        if self.kind != JSON:
            raise AssertionError(f"{self.status} {self.headers} {self.body[:200]}")
        return json.loads(self.body)

    def error(self):
        """The status, the code and the reason of an error of Connect."""
        reasons = [info.reason for info in details(self.json, error_details_pb2.ErrorInfo)]
        return self.status, self.json["code"], reasons[0] if reasons else None


def details(error, kind):
    """Those of an error of Connect that are of this kind; what each says for people is what it says for programs."""
    found = []
    for detail in error.get("details", []):
        if detail["type"] == kind.DESCRIPTOR.full_name:
            if "=" in detail["value"]:
                raise AssertionError(f"padded: {detail}")
            found.append(kind.FromString(base64.b64decode(detail["value"] + "==")))
            shown = json_format.Parse(json.dumps(detail["debug"]), kind())
            if shown != found[-1]:
                raise AssertionError(f"{detail} is {found[-1]}")
    return found


def reason_of(trailers):
    """Of an error of gRPC-Web."""
    packed = trailers.get("grpc-status-details-bin", "")
    for detail in status_pb2.Status.FromString(base64.b64decode(packed + "=" * (-len(packed) % 4))).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason
    return None


def frames(body):
    """The flags and the payload of each message of a stream."""
    found = []
    while body:
        flags, length = struct.unpack(">BI", body[:5])
        if len(body) < 5 + length:
            raise AssertionError(f"the last frame is cut: {body[:200]}")
        found.append((flags, body[5:5 + length]))
        body = body[5 + length:]
    return found


class Door:
    """One port of a node by one version of HTTP, as curl uses it."""

    def __init__(self, name, address, version):
        self.name, self._address, self._version = name, address, version

    def ask(self, path, body=None, kind=JSON, method=None, token=None, **headers):
        """A body that is not bytes is JSON. `headers` with `_` for `-`; one that is None is not sent."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"content_type": kind if body is not None else None, "expect": None, **headers}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        options = [part for name, value in headers.items()
                   for part in ["-H", f"{name.replace('_', '-')}:{'' if value is None else ' ' + value}"]]
        with tempfile.NamedTemporaryFile() as head:
            ran = subprocess.run(
                ["curl", "-sS", "--max-time", "20", self._version, "-D", head.name, *options,
                 *(["-X", method] if method else []), *(["--data-binary", "@-"] if body is not None else []),
                 f"http://{self._address}{path}"],
                input=body if body is not None else b"", capture_output=True, timeout=WITHIN, check=False)
            if ran.returncode != 0:
                raise AssertionError(f"curl {self.name} {path}: {ran.returncode} {ran.stderr.decode()}")
            return Answer(head.read(), ran.stdout)

    def stream(self, path, *requests, kind=JSON, body=None, **headers):
        """The messages of a stream of Connect, and what its end says."""
        if body is None:
            body = b"".join(message(each if kind == PROTO else json.dumps(each).encode()) for each in requests)
        answer = self.ask(path, body, IN_STREAM[kind], **headers)
        if (answer.status, answer.kind) != (200, IN_STREAM[kind]):
            raise AssertionError(f"{answer.status} {answer.headers} {answer.body[:200]}")
        *sent, (flags, end) = frames(answer.body)
        if flags != LAST or any(flags for flags, _ in sent):
            raise AssertionError(f"the frames of {answer.body}")
        return [payload for _, payload in sent], json.loads(end)

    def web(self, path, payload, kind=WEB, body=None, **headers):
        """The messages and the trailers of gRPC-Web."""
        text = "-text" in kind
        framed = message(payload)
        if body is None:
            body = base64.b64encode(framed) if text else framed
        answer = self.ask(path, body, kind, **{"accept": kind, **headers})
        # The name of the codec may be written out.
        if answer.status != 200 or answer.kind not in (kind, f"{kind}+proto"):
            raise AssertionError(f"{answer.status} {answer.headers} {answer.body[:200]}")
        said = answer.body
        if text:
            # Each piece of it may be padded.
            said = b"".join(base64.b64decode(said[at:at + 4], validate=True) for at in range(0, len(said), 4))
        found = frames(said)
        ends = [payload for flags, payload in found if flags == TRAILERS]
        if not ends:
            return [], answer.headers
        if found[-1] != (TRAILERS, ends[0]) or len(ends) > 1:
            raise AssertionError(f"the frames of {said}")
        lines = [line.partition(":") for line in ends[0].decode("ascii").split("\r\n") if line]
        return [payload for _, payload in found[:-1]], {name: value.strip() for name, _, value in lines}


def doors(node):
    """Both ports by both versions."""
    if not shutil.which("curl"):
        raise unittest.SkipTest("curl is missing; root may: apt-get install -y curl")
    ports = {"grpc": node.grpc, "http": node.http}
    ways = [(port, version) for port in ports for version in HTTP]
    return [Door(f"{port} port, HTTP/{version}", ports[port], HTTP[version]) for port, version in ways]


class StoryCase(NodeCase):
    maxDiff = None

    def tell(self, node, scripts, transport, url, ca=None):
        """Runs the story in Node, and holds it against what every client is answered."""
        heard = scripts.run("tell.mjs", transport, url, fresh("org"), ca=ca)
        fetched = heard.pop("fetched")
        self.told(node, transport, heard)
        if transport.startswith("fetch"):
            self.assertEqual(fetched.get("GET", 0), READS if transport.endswith("get") else 0)

    def told(self, node, transport, heard):
        streamed = heard.pop("stream")
        # It fits now, and the window has no end that all share.
        heard["budget"].pop("resetsAtMs")
        self.assertEqual(heard, story(node.clock.hour_end_ms()))
        # What is known before anything is sent: `fetch` takes no stream.
        refusal = "unknown" if transport.startswith("fetch") else "unimplemented"
        self.assertEqual(streamed, ["7n", "8n"] if transport in SEND_STREAMS else refusal)


class EveryTransport(StoryCase, SharedNodeCase):
    CLOCK = {"minute": 10}
    CONFIG = CONFIG

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.scripts = Scripts.of(cls.client.channel)

    def tell_on(self, address):
        for transport in TRANSPORTS:
            with self.subTest(transport):
                self.tell(self.shared, self.scripts, transport, f"http://{address}")
        eventually(lambda: metric(self.shared.http, "tollgate_watches_open") == 0, "every stream has ended")

    def test_on_the_grpc_port(self):
        self.tell_on(self.shared.grpc)

    def test_on_the_http_port(self):
        self.tell_on(self.shared.http)


class Encrypted(StoryCase, CallerCase):
    def test_over_tls_on_both_ports(self):
        path = os.path.join(self.dir, "tls")
        made = self.any_node().run("cert", "dev", path)
        self.assertEqual(made.returncode, 0, made.stderr)
        tls = f'[tls]\ncert = "{path}/cert.pem"\nkey = "{path}/key.pem"\n'
        node = self.node(config=CONFIG + tls, clock=self.clock(minute=10))
        ca = pathlib.Path(path, "ca.pem")
        scripts = Scripts.of(self.plane(node, ca=ca.read_bytes()).channel)
        for address in [node.grpc, node.http]:
            for transport in OVER_TLS:
                with self.subTest(transport, address=address):
                    url = f"https://localhost:{address.rsplit(':', 1)[1]}"
                    self.tell(node, scripts, transport, url, ca=str(ca))


class Identities(CallerCase):
    """R-AUTH-1"""

    def setUp(self):
        super().setUp()
        self.viewer, self.plane_token = self.token("viewer", "viewer", "acme"), self.token("plane", "plane", "acme")
        self.admin = self.token("admin", "admin")
        self.node_ = self.guarded()

    def test_a_client_is_known_by_its_token_over_every_protocol(self):
        scripts = Scripts.of(self.plane(self.node_, self.admin).channel)
        nobody, role = ["unauthenticated", "CREDENTIAL_MISSING"], ["permission_denied", "ROLE_NOT_ALLOWED"]
        known = ["ok", ""]
        for address in [self.node_.grpc, self.node_.http]:
            for transport in TRANSPORTS:
                with self.subTest(transport, address=address):
                    tokens = ["", self.viewer, self.plane_token]
                    heard = scripts.run("ask.mjs", transport, f"http://{address}", "acme", *tokens)
                    self.assertEqual(heard, [
                        {"acquire": nobody, "status": nobody, "watch": nobody},
                        {"acquire": role, "status": known, "watch": known},
                        {"acquire": known, "status": known, "watch": role},
                    ])

    def test_connect_says_it_with_a_status_and_a_challenge(self):
        get = f"{STATUS}?connect=v1&encoding=json&message=" + quote('{"org":"acme"}')
        for door in doors(self.node_):
            with self.subTest(door.name):
                for token, reason in [(None, "CREDENTIAL_MISSING"), ("tg_0000000000000000_00", "CREDENTIAL_INVALID")]:
                    for answer in [
                        door.ask(ACQUIRE, {"org": "acme"}, token=token), door.ask(ACQUIRE, b"nonsense", token=token),
                        door.ask(ACQUIRE, b"\xff", PROTO, token=token), door.ask(get, token=token),
                    ]:
                        self.assertEqual(answer.error(), (401, "unauthenticated", reason))
                        self.assertTrue(answer.headers["www-authenticate"].startswith("Bearer"), answer.headers)
                self.assertEqual(door.ask(ACQUIRE, {"org": "acme"}, token=self.viewer).error(),
                                 (403, "permission_denied", "ROLE_NOT_ALLOWED"))
                self.assertEqual(door.ask(ACQUIRE, {"org": "other"}, token=self.plane_token).error(),
                                 (403, "permission_denied", "ORG_NOT_ALLOWED"))
                self.assertEqual(door.ask(get, token=self.viewer).status, 200)
                self.assertTrue(door.ask(ACQUIRE, {"org": "acme"}, token=self.plane_token).json["allowed"])

    def test_grpc_web_says_it_with_a_code(self):
        for door in doors(self.node_):
            for kind in [WEB, TEXT]:
                with self.subTest(door.name, kind=kind):
                    for token, code, reason in [
                        (None, 16, "CREDENTIAL_MISSING"), (self.viewer, 7, "ROLE_NOT_ALLOWED"),
                        (self.plane_token, 0, None),
                    ]:
                        _, trailers = door.web(ACQUIRE, b"\x0a\x04acme", kind, token=token)
                        self.assertEqual((trailers["grpc-status"], reason_of(trailers)), (str(code), reason))


class CurlCase(SharedNodeCase):
    CLOCK = {"minute": 10}
    CONFIG = CONFIG

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.doors = doors(cls.shared)

    def every(self, test):
        """Runs a test by each door, with an org of its own."""
        for door in self.doors:
            with self.subTest(door.name):
                test(door, fresh("org"))

    def charged(self, org):
        """How many calls of an org were admitted or denied: 0 where nothing is kept of it."""
        if self.gate.GetStatus(org=org).unknown:
            return 0
        rate = self.admin.GetOrg(org=org).rate
        return rate.count + rate.blocked

    def method(self, path):
        service, name = path.lstrip("/").split("/")
        return descriptors(self.client.channel).FindServiceByName(service).methods_by_name[name]

    def request(self, path, **fields):
        """As bytes."""
        return message_factory.GetMessageClass(self.method(path).input_type)(**fields).SerializeToString()

    def answer(self, path, payload):
        """The message in bytes, or in JSON, which has to name what the protos name."""
        made = message_factory.GetMessageClass(self.method(path).output_type)()
        if isinstance(payload, bytes):
            made.ParseFromString(payload)
            return made
        return json_format.ParseDict(payload, made)


class Connect(CurlCase):
    def test_an_acquire_is_one_post(self):
        def test(door, org):
            first = door.ask(ACQUIRE, {"org": org, "requestId": "r", "operation": "OPERATION_EXECUTE"})
            self.assertEqual((first.status, first.kind), (200, JSON))
            decided = first.json
            self.assertEqual((decided["allowed"], decided["code"]), (True, "DECISION_CODE_ALLOWED"))
            self.assertEqual((decided["replayed"], decided["failOpen"], decided["retryAfterMs"]), (False, [], "0"))
            self.assertEqual(decided["limits"][0]["remaining"], "1", "a number of 64 bits is a string")
            self.assertEqual(self.answer(ACQUIRE, decided).decision_id, decided["decisionId"])
            again = door.ask(ACQUIRE, {"org": org, "request_id": "r"}, connect_protocol_version="1").json
            self.assertEqual((again["replayed"], again["decisionId"]), (True, decided["decisionId"]))
            cost = [{"meter": "executions", "amount": 1}, {"meter": "bytes", "amount": "2"}]
            self.assertTrue(door.ask(ACQUIRE, {"org": org, "cost": cost, "operation": 1}).json["allowed"])
            denied = door.ask(ACQUIRE, {"org": org})
            self.assertEqual((denied.status, denied.json["allowed"]), (200, False), "a denial is no error")
            self.assertEqual((denied.json["code"], denied.json["httpStatusHint"]), ("DECISION_CODE_RATE_LIMITED", 429))
            self.assertTrue(denied.json["message"].startswith("Rate backstop reached"))

        self.every(test)

    def test_bytes_are_answered_with_bytes_and_errors_with_json(self):
        def test(door, org):
            answer = door.ask(ACQUIRE, self.request(ACQUIRE, org=org), PROTO)
            self.assertEqual((answer.status, answer.kind), (200, PROTO))
            self.assertTrue(self.answer(ACQUIRE, answer.body).allowed)
            nothing = door.ask(f"{ADMIN}/GetNode", b"", PROTO)
            self.assertTrue(self.answer(f"{ADMIN}/GetNode", nothing.body).version, "no byte is a message")
            refused_ = door.ask(ACQUIRE, self.request(ACQUIRE, org="a b"), PROTO)
            self.assertEqual(refused_.error(), (400, "invalid_argument", "INVALID_FIELD"))
            self.assertEqual(door.ask(ACQUIRE, b"\xff\xff", PROTO).error()[:2], (400, "invalid_argument"))

        self.every(test)

    def test_a_read_is_a_get(self):
        def test(door, org):
            self.assertTrue(self.gate.Acquire(org=org).allowed)
            text, proto = json.dumps({"org": org}), self.request(STATUS, org=org)
            safe = base64.urlsafe_b64encode
            for query in [
                f"connect=v1&encoding=json&message={quote(text)}",
                f"message={quote(text)}&encoding=json&connect=v1&compression=identity",
                f"connect=v1&encoding=json&base64=1&message={quote(safe(text.encode()).decode())}",
                f"connect=v1&encoding=json&base64=1&message={safe(text.encode()).decode().rstrip('=')}",
                f"connect=v1&encoding=proto&base64=1&message={safe(proto).decode().rstrip('=')}",
                f"connect=v1&encoding=proto&message={quote(proto)}",
            ]:
                answer = door.ask(f"{STATUS}?{query}")
                self.assertEqual(answer.status, 200, (query, answer.body))
                status = self.answer(STATUS, answer.body if "proto" in query else answer.json)
                self.assertEqual((status.org, status.limits[0].used), (org, 1))
            for path, wanted in [(f"{ADMIN}/GetOrg", {"org": org}), (f"{ADMIN}/ListOrgs", {}),
                                 ("/tollgate.v1.BudgetService/GetBudget", {"org": org})]:
                answer = door.ask(f"{path}?connect=v1&encoding=json&message={quote(json.dumps(wanted))}")
                self.assertEqual(answer.status, 200, answer.body)
                self.answer(path, answer.json)

        self.every(test)

    def test_a_get_that_is_wrong_is_refused(self):
        def test(door, org):
            good = quote(json.dumps({"org": org}))
            for query in [
                f"connect=v2&encoding=json&message={good}", "connect=v1&encoding=json",
                "connect=v1&encoding=json&message=nonsense", "connect=v1&encoding=json&base64=1&message=!",
                f"connect=v1&encoding=json&base64=1&message={good}", f"connect=v1&encoding=xml&message={good}",
                f"connect=v1&encoding=json&message={quote('{}')}", f"connect=v1&message={good}",
                f"connect=v1&encoding=proto&message={good}",
            ]:
                answer = door.ask(f"{STATUS}?{query}")
                self.assertEqual(answer.error()[:2], (400, "invalid_argument"), query)
            unknown = door.ask(f"{ADMIN}/GetOrg?connect=v1&encoding=json&message={good}")
            self.assertEqual(unknown.error(), (404, "not_found", "ORG_UNKNOWN"))

        self.every(test)

    def test_what_changes_something_is_no_get(self):
        """What is marked as without side effects is what viewers may call."""
        door, read_by = self.doors[0], documented()
        pool = descriptors(self.client.channel)
        for service in SERVICES.values():
            for method in pool.FindServiceByName(service).methods:
                if method.client_streaming or method.server_streaming:
                    continue
                name = f"{service}/{method.name}"
                with self.subTest(name):
                    is_read = method.GetOptions().idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
                    self.assertEqual(is_read, "viewer" in read_by[name])
                    answer = door.ask(f"/{name}?connect=v1&encoding=json&message=%7B%7D")
                    if is_read:
                        self.assertIn(answer.status, (200, 400), answer.body)
                    else:
                        self.assertEqual((answer.status, answer.headers.get("allow")), (405, "POST"))

    def test_another_method_is_refused_with_those_that_are_allowed(self):
        def test(door, org):
            body = {"org": org}
            for method in ["PUT", "DELETE", "PATCH"]:
                for path, allowed in [(ACQUIRE, {"POST"}), (STATUS, {"GET", "POST"}), (WATCH, {"POST"})]:
                    answer = door.ask(path, body, method=method)
                    self.assertEqual(answer.status, 405, (method, path))
                    self.assertEqual({each.strip() for each in answer.headers["allow"].split(",")}, allowed)
            self.assertEqual(self.charged(org), 0)

        self.every(test)

    def test_another_content_type_is_refused_and_not_executed(self):
        def test(door, org):
            for path, kinds in [
                (ACQUIRE, ["text/plain", "application/xml", "application/jsonx", "application/connect+json", None]),
                (WATCH, ["text/plain", JSON, PROTO, None]),
            ]:
                for kind in kinds:
                    answer = door.ask(path, {"org": org}, kind)
                    self.assertEqual(answer.status, 415, (path, kind, answer.body))
                    accepted = {each.strip() for each in answer.headers["accept-post"].split(",")}
                    wanted = {IN_STREAM[JSON] if path == WATCH else JSON, "application/grpc"}
                    self.assertTrue(accepted >= wanted, accepted)
            self.assertEqual(self.charged(org), 0)
            for kind in ["application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON"]:
                self.assertEqual(door.ask(STATUS, {"org": org}, kind).status, 200, kind)

        self.every(test)

    def test_an_rpc_that_is_not_there(self):
        def test(door, org):
            for path in [f"{GATE}/Nothing", "/tollgate.v1.NothingService/Acquire", "/tollgate.v1.GateService/acquire"]:
                self.assertEqual(door.ask(path, {"org": org}).error()[:2], (404, "unimplemented"), path)

        self.every(test)

    def test_json_that_does_not_fit_is_an_invalid_argument_and_charges_nothing(self):
        def test(door, org):
            for body in [b"", b"nonsense", b'{"org":', b"[]", b'{"org":5}', b'{"org":"\xff"}', b'{"org":"a"} {}',
                         b'{"org":"a","operation":"NOVEL"}', b'{"org":"a","cost":{}}',
                         b'{"org":"a","reservationTtlMs":"9223372036854775808"}', b"[" * 10_000]:
                self.assertEqual(door.ask(ACQUIRE, body).error()[:2], (400, "invalid_argument"), body[:40])
            for body, name in [
                ({"org": org, "orgg": "b"}, "orgg"), ({"org": org, "Org": "b"}, "Org"),
                ({"org": org, "cost": [{"metre": "spend"}]}, "metre"),
            ]:
                answer = door.ask(ACQUIRE, body)
                self.assertEqual(answer.error()[:2], (400, "invalid_argument"), name)
                self.assertIn(name, answer.json["message"])
            self.assertEqual(self.charged(org), 0)

        self.every(test)

    def test_each_error_has_its_status_and_its_details(self):
        def test(door, org):
            self.assertTrue(door.ask(ACQUIRE, {"org": org, "requestId": "r"}).json["allowed"])
            update = "/tollgate.v1.BudgetService/UpdateBudget"
            reserve = [{"meter": "spend", "amount": 1}]
            for path, body, wanted in [
                (ACQUIRE, {"org": "a b"}, (400, "invalid_argument", "INVALID_FIELD")),
                (ACQUIRE, {"org": org, "requestId": "r", "scope": "s"}, (409, "already_exists", "REQUEST_ID_REUSED")),
                (ACQUIRE, {"org": org, "requestId": "01800000-0000-7000-8000-000000000000", "reserve": reserve},
                 (400, "failed_precondition", "REQUEST_ID_TOO_OLD")),
                (update, {"org": org, "requestId": "b", "expectedVersion": "9"}, (409, "aborted", "BUDGET_VERSION")),
                (f"{ADMIN}/GetOrg", {"org": fresh("nobody")}, (404, "not_found", "ORG_UNKNOWN")),
            ]:
                answer = door.ask(path, body)
                self.assertEqual(answer.error(), wanted)
                (info,) = details(answer.json, error_details_pb2.ErrorInfo)
                self.assertEqual(info.domain, "tollgate")
                self.assertTrue(answer.json["message"])
            (bad,) = details(door.ask(ACQUIRE, {"org": "a b"}).json, error_details_pb2.BadRequest)
            self.assertEqual([violation.field for violation in bad.field_violations], ["org"])

        self.every(test)

    def test_a_deadline_is_kept_and_one_that_is_no_number_is_refused(self):
        def test(door, org):
            for malformed in ["soon", "-1", "1.5", "5s", "12345678901"]:
                answer = door.ask(ACQUIRE, {"org": org}, connect_timeout_ms=malformed)
                self.assertEqual(answer.error()[:2], (400, "invalid_argument"), malformed)
            self.assertEqual(self.charged(org), 0)
            for patient in ["5000", "9999999999"]:
                self.assertEqual(door.ask(STATUS, {"org": org}, connect_timeout_ms=patient).status, 200)
            hasty = door.ask(STATUS, {"org": org}, connect_timeout_ms="1")
            if hasty.status != 200:
                self.assertEqual(hasty.error()[:2], (504, "deadline_exceeded"))

        self.every(test)

    def test_a_version_or_a_compression_that_is_not_known_is_refused(self):
        def test(door, org):
            version = door.ask(ACQUIRE, {"org": org}, connect_protocol_version="2")
            self.assertEqual(version.error()[:2], (400, "invalid_argument"))
            squeezed = door.ask(ACQUIRE, {"org": org}, content_encoding="snappy")
            self.assertEqual(squeezed.error()[:2], (501, "unimplemented"))
            self.assertEqual(self.charged(org), 0)
            self.assertTrue(door.ask(ACQUIRE, {"org": org}, content_encoding="identity").json["allowed"])

        self.every(test)

    def test_a_message_past_the_bound_is_refused(self):
        # Over HTTP/2 curl takes an answer that comes before its request is sent for a fault.
        for door in [door for door in self.doors if door.name.endswith("HTTP/1.1")]:
            with self.subTest(door.name):
                status, code, _ = door.ask(ACQUIRE, {"org": "a" * (2 << 20)}).error()
                self.assertIn((status, code), [(429, "resource_exhausted"), (400, "out_of_range")])


class Streams(CurlCase):
    def test_events_come_until_the_deadline(self):
        def test(door, org):
            for _ in range(3):
                self.gate.Acquire(org=org)
            eventually(lambda: self.admin.ListEvents(org=org).newest_number == 2, "both events")
            asked = {"org": org, "afterNumber": "0"}
            for kind, request in [(JSON, asked), (PROTO, self.request(WATCH, org=org, after_number=0))]:
                sent, end = door.stream(WATCH, request, kind=kind, connect_timeout_ms="500")
                answers = [self.answer(WATCH, each if kind == PROTO else json.loads(each)) for each in sent]
                events = [answer.event for answer in answers if answer.WhichOneof("what") == "event"]
                self.assertEqual([event.kind for event in events], ["exhausted", "denials_began"])
                self.assertEqual(answers[0].WhichOneof("what"), "heartbeat", "at once")
                # A client knows by itself that its time is up.
                self.assertIn(end.get("error", {}).get("code"), [None, "deadline_exceeded"])

        self.every(test)

    def test_an_error_is_in_the_end_of_the_stream(self):
        def test(door, _):
            sent, end = door.stream(WATCH, {"org": "a b"})
            self.assertEqual((sent, end["error"]["code"]), ([], "invalid_argument"))
            (info,) = details(end["error"], error_details_pb2.ErrorInfo)
            self.assertEqual((info.domain, info.reason), ("tollgate", "INVALID_FIELD"))
            good = message(json.dumps({"org": "acme"}).encode())
            for body in [b"", b"{}", message(b"nonsense"), good[:-1], good * 2, b"\x01" + good[1:]]:
                sent, end = door.stream(WATCH, body=body, connect_timeout_ms="2000")
                self.assertEqual(sent, [], body)
                self.assertIn(end["error"]["code"], ["invalid_argument", "internal", "unimplemented"], body)
            sent, end = door.stream(WATCH, {"org": "acme"}, connect_timeout_ms="soon")
            self.assertEqual((sent, end["error"]["code"]), ([], "invalid_argument"))

        self.every(test)

    def test_streams_of_requests_are_unimplemented(self):
        def test(door, org):
            path = f"{GATE}/AcquireStream"
            asked = {"tag": "1", "acquire": {"org": org}}
            for kind, request in [(JSON, asked), (PROTO, self.request(path, tag=1, acquire={"org": org}))]:
                sent, end = door.stream(path, request, kind=kind)
                self.assertEqual((sent, end["error"]["code"]), ([], "unimplemented"))
            self.assertEqual(self.charged(org), 0)

        self.every(test)


class Web(CurlCase):
    KINDS = ["application/grpc-web", WEB, "application/grpc-web-text", TEXT]

    def test_an_acquire_is_answered_in_kind(self):
        def test(door, org):
            request = self.request(ACQUIRE, org=org, request_id="r")
            for at, kind in enumerate(self.KINDS):
                sent, trailers = door.web(ACQUIRE, request, kind, x_grpc_web="1", grpc_timeout="5S")
                (decided,) = [self.answer(ACQUIRE, each) for each in sent]
                self.assertEqual((decided.allowed, decided.replayed), (True, at > 0), kind)
                self.assertEqual(trailers["grpc-status"], "0")
            self.assertEqual(self.charged(org), 1)

        self.every(test)

    def test_what_is_no_message_is_refused_and_not_executed(self):
        def test(door, org):
            framed = message(self.request(ACQUIRE, org=org))
            for kind, body in [(TEXT, b"?" * 8), (TEXT, framed), (WEB, framed[:-1]), (WEB, base64.b64encode(framed))]:
                sent, trailers = door.web(ACQUIRE, b"", kind, body=body)
                self.assertEqual((sent, trailers["grpc-status"] not in ("0", "2")), ([], True), (body, trailers))
            self.assertEqual(self.charged(org), 0)

        self.every(test)

    def test_an_error_has_its_code_and_its_reason(self):
        def test(door, org):
            for kind in self.KINDS:
                sent, trailers = door.web(ACQUIRE, self.request(ACQUIRE, org="a b"), kind)
                self.assertEqual((sent, trailers["grpc-status"], reason_of(trailers)), ([], "3", "INVALID_FIELD"))
                sent, trailers = door.web(f"{ADMIN}/GetOrg", self.request(f"{ADMIN}/GetOrg", org=org), kind)
                self.assertEqual((sent, trailers["grpc-status"], reason_of(trailers)), ([], "5", "ORG_UNKNOWN"))
                sent, trailers = door.web(f"{GATE}/Nothing", b"", kind)
                self.assertEqual((sent, trailers["grpc-status"]), ([], "12"))

        self.every(test)

    def test_events_come_until_the_deadline(self):
        def test(door, org):
            for _ in range(3):
                self.gate.Acquire(org=org)
            eventually(lambda: self.admin.ListEvents(org=org).newest_number == 2, "both events")
            for kind in self.KINDS:
                request = self.request(WATCH, org=org, after_number=0)
                sent, trailers = door.web(WATCH, request, kind, grpc_timeout="500m")
                answers = [self.answer(WATCH, each) for each in sent]
                kinds = [answer.event.kind for answer in answers if answer.HasField("event")]
                self.assertEqual(kinds, ["exhausted", "denials_began"])
                self.assertIn(trailers["grpc-status"], ["0", "4"])

        self.every(test)


class Draining(NodeCase):
    def test_a_node_that_drains_says_when_to_try_again(self):
        node = self.node(environment={"TOLLGATE__BOUNDS__DRAIN_NOTICE_MS": "5000"})
        plane, ways = self.plane(node), doors(node)
        node.process.terminate()
        eventually(lambda: not plane.is_serving(), "it drains")
        for door in ways:
            with self.subTest(door.name):
                answer = door.ask(ACQUIRE, {"org": "acme"})
                self.assertEqual(answer.error(), (503, "unavailable", "DRAINING"))
                self.assertEqual(len(details(answer.json, error_details_pb2.RetryInfo)), 1)
        self.assertEqual(node.ended(), 0)


if __name__ == "__main__":
    unittest.main()
