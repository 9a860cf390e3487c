"""R-REACH-1: every rpc as JSON over Connect is what it is over gRPC; and the edges of the protocol, seen from plain HTTP/1.1."""

import json
import re
import time
import unittest

import grpc
from google.protobuf import json_format, message_factory
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from callers import OverConnect
from case import NodeCase, fresh
from connect import ENDS, Connect
from frames import message as framed
from plane import Plane, Refusal, metric

GATE = "tollgate.v1.GateService"
ACQUIRE, STATUS = f"{GATE}/Acquire", f"{GATE}/GetStatus"
NAMED = '[node]\nname = "n"\n'
# What differs between two nodes that were told the same: times, names, and in how many commits it was written.
MOVES = re.compile(r"(^sequence|^journal|AtMs|InMs|Ms|At|Since|Until|ecisionId|servationId|uptime\w*|version|ddress|grpc|http|dataDir|traceId)$")
# Each call once, in an order in which most of them have something to do.
FIELDS = {
    "cost": [{"meter": "executions", "amount": 1}], "reserve": [{"meter": "spend", "amount": 5}], "explain": True,
    "usage": [{"meter": "spend", "amount": 7}], "actual": [{"meter": "spend", "amount": 3}], "plane": "executor",
    "amounts": [{"meter": "spend", "amount": 2}], "session_id": "s", "identity": "i", "incarnation": "1",
    "total_seconds": 30, "source": "c", "meter": "bytes", "total": 9, "execution_id": "e", "ttl_ms": 60_000,
    "account": "sk-0123456789", "reason": "why", "limit": "rate", "amount": 5, "change": "CHANGE_CONFIGURED",
    "accounts": [{"account": "sk-0123456789", "daily_limit": 5}], "status": 200, "to": "other", "bytes_up": 3,
    "periods": {"daily": {"limit": 100}}, "limits": [{"period": "daily", "amount": 1}],
}
# Their answer is about the process or about everything else that was asked.
OF_THE_PROCESS = {"GetNode", "GetCluster", "Snapshot", "Reload", "DrainNode"}


def at_rest(value, name=""):
    """The same without what moves."""
    if isinstance(value, dict):
        return {key: at_rest(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [at_rest(each, name) for each in value]
    if MOVES.search(name):
        return "…"
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\b[0-9a-f]{32}\b|\bin \d[\d a-z]*|\d+ (ms|s|min)\b", "…", value) if isinstance(value, str) else value


class ReachCase(NodeCase):
    def connect(self, address, token=None):
        connect = Connect(address, token)
        self.addCleanup(connect.close)
        return connect

    def plane(self, node):
        plane = Plane(node.grpc)
        self.addCleanup(plane.close)
        return plane


class Described:
    """What /openapi.json says of messages."""

    def __init__(self, document):
        self._all = Resource(contents=document, specification=DRAFT202012)
        self._registry = Registry().with_resource("urn:api", self._all)

    def check(self, kind, value):
        """An error where the description of a message is not what was written."""
        schema = {"$ref": f"urn:api#/components/schemas/{kind.full_name}"}
        if kind.full_name in self._all.contents["components"]["schemas"]:
            Draft202012Validator(schema, registry=self._registry).validate(value)


class Alike(ReachCase):
    """Two nodes are told the same, one over gRPC and one in JSON."""

    maxDiff = None

    def setUp(self):
        self.one, self.other = self.node(config=NAMED), self.node(config=NAMED)
        self.channel = grpc.insecure_channel(self.one.grpc)
        self.addCleanup(self.channel.close)
        self.rpcs = OverConnect(self.channel)

    def request(self, method):
        message = message_factory.GetMessageClass(method.input_type)()
        message.ParseFromString(self.rpcs.request(method.containing_service.full_name + "/" + method.name, "acme")[0])
        target = message.items[0] if "items" in method.input_type.fields_by_name else message
        known = {name: value for name, value in FIELDS.items() if name in target.DESCRIPTOR.fields_by_name}
        for name, value in known.items():
            field = target.DESCRIPTOR.fields_by_name[name]
            is_list, is_map = field.is_repeated, field.message_type and field.message_type.GetOptions().map_entry
            if (is_list and not is_map) == isinstance(value, list) and bool(is_map) == isinstance(value, dict):
                try:
                    json_format.ParseDict({field.json_name: value}, target)
                except json_format.ParseError:
                    continue
        return message

    def test_every_rpc_answers_alike(self):
        connect, answered = self.connect(self.other.http), 0
        described = Described(connect.send("GET", "/openapi.json").json)
        for name, method in self.rpcs.methods.items():
            if method.server_streaming:
                continue
            message = self.request(method)
            kind = message_factory.GetMessageClass(method.output_type)
            call = self.channel.unary_unary(f"/{name}", response_deserializer=kind.FromString)
            with self.subTest(rpc=name):
                asked = json_format.MessageToDict(message)
                described.check(method.input_type, asked)
                over_json = connect.post(name, json.dumps(asked).encode())
                try:
                    answer = call(message.SerializeToString(), timeout=10)
                except grpc.RpcError as error:
                    refused = Refusal(error)
                    self.assertEqual(over_json.code, refused.code.name.lower().replace("cancelled", "canceled"))
                    self.assertEqual(over_json.reason, refused.reason)
                    self.assertEqual(at_rest(over_json.message), at_rest(error.details()))
                    continue
                self.assertEqual((over_json.status, over_json.headers["content-type"]), (200, "application/json"), over_json.body)
                answered += 1
                described.check(method.output_type, over_json.json)
                if method.name not in OF_THE_PROCESS:
                    # What gRPC has answered, as Google's own library writes it.
                    expected = json_format.MessageToDict(answer, always_print_fields_with_no_presence=True)
                    self.assertEqual(at_rest(over_json.json), at_rest(expected))
                # And what was written is that message to it again.
                json_format.Parse(over_json.body, kind())
        self.assertGreater(answered, 40)

    def test_what_only_reads_answers_a_get_and_all_else_is_called_by_post(self):
        connect = self.connect(self.other.http)
        reads = {name for name, method in self.rpcs.methods.items() if method.GetOptions().idempotency_level == 1}
        self.assertGreater(len(reads), 20)
        for name, method in self.rpcs.methods.items():
            if method.server_streaming:
                continue
            with self.subTest(rpc=name):
                answered = connect.get(name, {})
                if name in reads:
                    self.assertNotEqual(answered.status, 405)
                    self.assertEqual(answered.headers["content-type"], "application/json")
                else:
                    self.assertEqual((answered.status, answered.headers["allow"]), (405, "POST"))


class Edges(ReachCase):
    @classmethod
    def setUpClass(cls):
        cls.config = '[cors]\norigins = ["https://app.example.com"]\n[bounds]\nmessage_bytes = 200000\n'

    def setUp(self):
        self.started = self.node(config=self.config)
        self.http = self.connect(self.started.http)

    def test_a_first_call_is_a_line_of_curl(self):
        answered = self.http.post(ACQUIRE, {"org": "acme"})
        self.assertEqual((answered.status, answered.json["allowed"], answered.json["code"]), (200, True, "DECISION_CODE_ALLOWED"))
        self.assertEqual(answered.json["failOpen"], [], "defaults are written")
        on_the_other_port = self.connect(self.started.grpc).post(ACQUIRE, {"org": "acme"})
        used = [limit["used"] for limit in on_the_other_port.json["limits"] if limit["name"] == "rate"]
        self.assertEqual(used, ["2"], "one count, whichever port")

    def test_a_denial_is_an_answer(self):
        self.plane(self.started).admin.Freeze(org="icy", reason="why", request_id="f")
        denied = self.http.post(ACQUIRE, {"org": "icy"})
        self.assertEqual((denied.status, denied.json["allowed"], denied.json["code"]), (200, False, "DECISION_CODE_FROZEN"))
        self.assertEqual(denied.json["httpStatusHint"], 403)

    def test_a_denial_has_its_real_status_where_that_is_asked_for(self):
        self.plane(self.started).admin.Freeze(org="cold", reason="why", request_id="f")
        for content_type in ("application/json", "application/proto"):
            body = {"org": "cold"} if content_type.endswith("json") else b"\n\x04cold"
            denied = self.http.post(ACQUIRE + "?status=real", body, content_type)
            self.assertEqual((denied.status, denied.headers["content-type"]), (403, content_type))
        self.assertEqual(self.http.post(ACQUIRE + "?status=real", {"org": "warm"}).status, 200)
        for query in ("status=real", "status=odd"):
            refused = self.http.post(f"{STATUS}?{query}", {"org": "cold"})
            self.assertEqual((refused.status, refused.reason), (400, "INVALID_FIELD"))
            self.assertIn('status "', refused.message)
        self.assertEqual(self.http.post(f"{ACQUIRE}?status=odd", {"org": "uncounted"}).status, 400)
        self.assertEqual(self.http.post(STATUS, {"org": "uncounted"}).json["limits"][0]["used"], "0")

    def test_errors_have_a_code_a_status_and_details(self):
        for body, told in [({"org": ""}, "org"), ({"org": "acme", "mode": "MODE_NEVER"}, "MODE_NEVER"),
                           ({"orgg": "acme"}, "orgg"), (b'{"org":', "line 1"), (b"\xff", "JSON"), ([], "JSON")]:
            refused = self.http.post(ACQUIRE, body)
            self.assertEqual((refused.status, refused.code), (400, "invalid_argument"), (body, refused.body))
            self.assertIn(told, refused.message)
        refused = self.http.post(ACQUIRE, {"org": ""})
        self.assertEqual(refused.reason, "INVALID_FIELD")
        fields = [detail["debug"]["fieldViolations"] for detail in refused.json["details"] if detail["type"].endswith("BadRequest")]
        self.assertEqual(fields[0][0]["field"], "org")
        unknown = self.http.post("tollgate.admin.v1.AdminService/GetOrg", {"org": fresh("nobody")})
        self.assertEqual((unknown.status, unknown.code), (404, "not_found"))

    def test_what_is_no_call_is_refused_and_not_executed(self):
        org = fresh("media")
        body = json.dumps({"org": org}).encode()
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/grpc+json", "", None]:
            refused = self.http.send("POST", f"/{ACQUIRE}", body, content_type=kind)
            self.assertEqual(refused.status, 415, kind)
            self.assertIn("application/json", refused.headers["accept-post"])
        for kind in ["application/connect+json", "application/connect+proto"]:
            refused = self.http.send("POST", f"/{ACQUIRE}", framed(body), content_type=kind)
            self.assertEqual((refused.status, "application/json" in refused.headers["accept-post"]), (415, True))
        for method in ["PUT", "DELETE", "HEAD", "OPTIONS"]:
            self.assertEqual(self.http.send(method, f"/{ACQUIRE}", body, content_type="application/json").status, 405, method)
        self.assertEqual(self.http.post(f"{GATE}/Novel", {"org": org}).status, 404)
        self.assertEqual(self.http.post(f"{GATE}/Novel", {"org": org}).code, "unimplemented")
        self.assertEqual(self.http.send("GET", "/nothing").status, 404)
        compressed = self.http.post(ACQUIRE, {"org": org}, content_encoding="gzip")
        self.assertEqual((compressed.status, compressed.code), (501, "unimplemented"))
        grpc_ = self.http.send("POST", f"/{ACQUIRE}", framed(b""), content_type="application/grpc")
        self.assertEqual(grpc_.status, 505, "gRPC is HTTP/2")
        unknown = self.http.post("tollgate.admin.v1.AdminService/GetOrg", {"org": org})
        self.assertEqual(unknown.status, 404, "nothing of it was executed")

    def test_without_credentials_nothing_is_called_by_get_under_a_name_that_may_lead_here_from_elsewhere(self):
        get = f"/{STATUS}?connect=v1&encoding=json&message=%7B%22org%22%3A%22acme%22%7D"
        port = self.started.http.rsplit(":", 1)[1]
        for host, expected in ((f"evil.example:{port}", 403), (f"127.0.0.1:{port}", 200), (f"localhost:{port}", 200)):
            self.assertEqual(self.http.send("GET", get, host=host).status, expected, host)
        self.assertEqual(self.http.post(STATUS, {"org": "acme"}, host=f"gate.internal:{port}").status, 200, "no page: it has no Origin")

    def test_what_is_refused_before_it_is_read_is_counted_and_has_a_reason(self):
        def counted(reason):
            return metric(self.started.http, "tollgate_rpc_errors_total", rpc="Acquire", reason=reason)

        for ask in (
            lambda connect: connect.post(ACQUIRE, b'{"org":'), lambda connect: connect.post(ACQUIRE, b"\xff", "application/proto"),
            lambda connect: connect.post(ACQUIRE, {"org": "acme", "requestId": "r" * 70_000}),
            lambda connect: connect.post(ACQUIRE, {"org": "acme"}, content_encoding="gzip"),
        ):
            before = counted("UNREADABLE")
            self.assertEqual(ask(self.connect(self.started.http)).reason, "UNREADABLE")
            self.assertEqual(counted("UNREADABLE"), before + 1)
        before = counted("NO_ANSWER_IN_TIME")
        self.assertEqual(self.http.post(ACQUIRE, {"org": "acme"}, connect_timeout_ms="0").reason, "NO_ANSWER_IN_TIME")
        self.assertEqual(counted("NO_ANSWER_IN_TIME"), before + 1)

    def test_the_callers_time_runs_while_the_request_arrives(self):
        org, slow = fresh("late"), self.connect(self.started.http).connection
        slow.putrequest("POST", f"/{ACQUIRE}")
        for name, value in (("content-type", "application/json"), ("content-length", str(len(org) + 10)), ("connect-timeout-ms", "200")):
            slow.putheader(name, value)
        slow.endheaders()
        time.sleep(2)
        slow.send(json.dumps({"org": org}, separators=(",", ":")).encode())
        answered = slow.getresponse()
        self.assertEqual((answered.status, json.loads(answered.read())["code"]), (504, "deadline_exceeded"))
        self.assertTrue(self.http.post(STATUS, {"org": org}).json["unknown"], "nothing was charged")

    def test_streams(self):
        watch = "tollgate.admin.v1.AdminService/WatchEvents"
        flags, frame = self.http.first_of(watch, {"org": "acme"})
        self.assertEqual(flags, 0, frame)
        flags, frame = self.http.first_of(watch, {"org": "…"})
        self.assertEqual((flags, json.loads(frame)["error"]["code"]), (ENDS, "invalid_argument"))
        flags, frame = self.http.first_of(f"{GATE}/AcquireStream", {})
        self.assertEqual((flags, json.loads(frame)["error"]["code"]), (ENDS, "unimplemented"))
        for body in [b"", b"\x00", framed(b"{}")[:6], b"\x01\x00\x00\x00\x02{}"]:
            refused = self.http.send("POST", f"/{watch}", body, content_type="application/connect+json")
            self.assertEqual(refused.status, 200, "a stream says how it ended in its last frame")
            self.assertEqual(json.loads(refused.body[5:])["error"]["code"], "invalid_argument", body)

    def test_the_callers_time(self):
        answered = self.http.post(ACQUIRE, {"org": "acme"}, connect_timeout_ms="5000", connect_protocol_version="1")
        self.assertEqual(answered.status, 200)
        for given in ["soon", "-1", "1.5", "99999999999"]:
            refused = self.http.post(ACQUIRE, {"org": "acme"}, connect_timeout_ms=given)
            self.assertEqual((refused.status, refused.code), (400, "invalid_argument"))
            self.assertIn("connect-timeout-ms", refused.message)
        late = self.http.post(ACQUIRE, {"org": "acme"}, connect_timeout_ms="0")
        self.assertEqual((late.status, late.code), (504, "deadline_exceeded"))

    def test_a_request_has_the_bounds_that_it_has_over_grpc(self):
        long = self.http.post(ACQUIRE, {"org": "acme", "requestId": "r" * 70_000})
        self.assertEqual((long.status, long.code), (400, "out_of_range"))
        many = b'{"items":[' + b",".join([b"{}"] * 66_000) + b"]}"
        refused = self.connect(self.started.http).post(f"{GATE}/AcquireBatch", many)
        self.assertEqual((refused.status, refused.code), (400, "invalid_argument"))
        self.assertIn("split it", refused.message)
        slow = self.connect(self.node(config=self.config + "request_ms = 1000\n").http)
        slow.connection.putrequest("POST", f"/{ACQUIRE}")
        slow.connection.putheader("content-type", "application/json")
        slow.connection.putheader("content-length", "15")
        slow.connection.endheaders()
        slow.connection.send(b'{"org"')
        began = time.monotonic()
        late = slow.connection.getresponse()
        self.assertEqual((late.status, json.loads(late.read())["code"]), (504, "deadline_exceeded"))
        self.assertLess(time.monotonic() - began, 5)

    def test_a_page_of_another_site_may_call_where_it_is_configured(self):
        def ask(origin):
            return self.http.send("OPTIONS", f"/{ACQUIRE}", origin=origin, access_control_request_method="POST",
                                  access_control_request_headers="authorization,content-type,connect-protocol-version")

        allowed = ask("https://app.example.com")
        self.assertEqual((allowed.status, allowed.headers["access-control-allow-origin"]), (200, "https://app.example.com"))
        self.assertIn("connect-protocol-version", allowed.headers["access-control-allow-headers"])
        evil = ask("https://evil.example.com")
        self.assertEqual((evil.status, evil.headers["access-control-allow-origin"]), (403, None))
        refused = self.http.post(ACQUIRE, {"org": "acme"}, origin="https://evil.example.com")
        self.assertEqual(refused.status, 403, "also where a browser takes it for a page of its own site")
        answered = self.http.post(ACQUIRE, {"org": "acme"}, origin="https://app.example.com")
        self.assertEqual(answered.headers["access-control-allow-origin"], "https://app.example.com")
        self.assertIn("grpc-status", answered.headers["access-control-expose-headers"])
        self.assertIsNone(answered.headers["access-control-allow-credentials"], "no credential is sent along by itself")
        closed = self.connect(self.node().http)
        refused = closed.send("OPTIONS", f"/{ACQUIRE}", origin="https://app.example.com", access_control_request_method="POST")
        self.assertEqual((refused.status, refused.headers["access-control-allow-origin"]), (403, None))

    def test_the_api_is_described(self):
        described = self.http.send("GET", "/openapi.json")
        self.assertEqual((described.status, described.headers["content-type"]), (200, "application/json"))
        validate(described.json, cls=OpenAPIV31SpecValidator)
        schema = described.json["components"]["schemas"]["tollgate.v1.AcquireResponse"]
        # To validate takes long, and a connection that asked nothing for `request_ms` ends.
        answered = self.connect(self.started.http).post(ACQUIRE, {"org": "acme"}).json
        self.assertLessEqual(set(answered), set(schema["properties"]))


if __name__ == "__main__":
    unittest.main()
