"""R-REACH-1: the story of test_connect_clients.py where there is no Node: in a page of another site, in a Worker, by grpcio, by curl."""

import functools
import http.server
import json
import os
import platform
import shutil
import subprocess
import threading
import unittest
from urllib.parse import quote

import grpc
from google.protobuf import json_format, message_factory

from case import SharedNodeCase, fresh
from callers import Rpcs
from node import ROOT
from plane import Refusal
from test_connect_clients import CONFIG, WITHIN, Scripts, StoryCase, doors, details, error_details_pb2

WEB = ROOT / "web" / "node_modules"
TYPESCRIPT = ROOT / "clients" / "typescript" / "node_modules"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WORKERD = TYPESCRIPT / "@cloudflare" / f"workerd-linux-{'arm64' if platform.machine() == 'aarch64' else '64'}" / "bin" / "workerd"
FETCH = ["fetch-connect-json", "fetch-connect-proto", "fetch-connect-get", "fetch-grpc-web"]
WORKER = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2026-01-01",
);
"""
GATE, BUDGET, ADMIN = "tollgate.v1.GateService", "tollgate.v1.BudgetService", "tollgate.admin.v1.AdminService"


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def bundled(scripts, name, form):
    """A script with all that it imports in one file."""
    esbuild = next((path for path in (WEB / ".bin" / "esbuild", TYPESCRIPT / ".bin" / "esbuild") if path.exists()), None)
    if esbuild is None:
        raise unittest.SkipTest("esbuild is missing; scripts/test installs it as root (Debian: npm)")
    made = scripts.dir / "bundled" / f"{name}.js"
    subprocess.run([esbuild, f"{name}.mjs", "--bundle", f"--format={form}", "--target=es2022", f"--outfile={made}", "--log-level=error"],
                   cwd=scripts.dir, check=True, timeout=WITHIN)
    return made


class Told(StoryCase):
    CLOCK = {"minute": 10}

    def told_by(self, tell, node):
        """Runs the story by something that calls by path in JSON."""
        org = fresh("org")

        def limit(answer, named):
            found = next(limit for limit in answer["limits"] if limit["name"] == named)
            numbers = {name: f"{found[name]}n" for name in ("amount", "used", "remaining", "resetsAtMs")}
            return {**numbers, "limiting": found["limiting"]}

        def decision(answer):
            said = {name: answer[name] for name in ("allowed", "replayed", "httpStatusHint")}
            return {**said, "code": answer["code"].removeprefix("DECISION_CODE_"), "message": answer["message"].split(":")[0]}

        def ask(path, within=5, **request):
            return tell.ask(path, request, within)

        def late(path, within, **request):
            answered = ask(path, within, **request)
            return "limits" in answered or answered["code"] == "deadline_exceeded" or answered

        acquire = functools.partial(ask, f"{GATE}/Acquire", org=org)
        heard, first = {}, acquire(requestId="first")
        heard["admitted"], again = decision(first), acquire(requestId="first")
        heard["again"] = {**decision(again), "same": again["decisionId"] == first["decisionId"] != ""}
        heard["reused"] = acquire(requestId="first", scope="workspace/a")
        status = ask(f"{GATE}/GetStatus", org=org)
        heard["rate"], heard["budget"] = limit(status, "rate"), limit(status, "budget/monthly")
        changed = ask(f"{BUDGET}/UpdateBudget", org=org, requestId="b", periods={"daily": {"limit": "5000000"}})
        periods = ask(f"{BUDGET}/GetBudget", org=org)["budget"]["periods"]
        heard["set"] = {"version": f"{changed['budget']['version']}n", "daily": f"{periods['daily']['limit']}n",
                        "weekly": periods["weekly"].get("limit")}
        heard["stale"] = ask(f"{BUDGET}/UpdateBudget", org=org, requestId="c", expectedVersion="0")
        heard["second"], denied = decision(acquire()), acquire()
        heard["denied"] = {**decision(denied), "rate": limit(denied, "rate"), "waits": int(denied["retryAfterMs"]) > 0}
        batch = ask(f"{GATE}/AcquireBatch", items=[{"org": org}, {"org": "a b"}])["results"]
        heard["batch"] = [[name, result[name].get("allowed", result[name].get("reason"))] for result in batch for name in result]
        heard["nameless"] = ask(f"{GATE}/Acquire", org="")
        heard["misnamed"] = ask(f"{GATE}/GetStatus", org="a b")
        heard["unknown"] = ask(f"{ADMIN}/GetOrg", org=f"{org}-unknown")
        heard["hasty"] = late(f"{GATE}/GetStatus", 0.001, org=org)
        seen, end = tell.watch({"org": org, "afterNumber": "0"}, 3, "denials_began")
        events = [answer["event"] for answer in seen if "event" in answer]
        heard["events"] = {"seen": [[event["org"] == org, f"{event['number']}n", event["kind"]] for event in events], "end": end}
        _, end = tell.watch({"org": f"{org}-unknown"}, 0.3)
        heard["late"] = end == "deadline_exceeded"
        heard["misasked"] = tell.watch({"org": "a b"}, 5)[1]
        heard["stream"] = tell.stream(org)
        self.told(node, tell.NAME, heard)


class Grpcio:
    """The stock client of Python."""

    NAME = "grpcio"

    def __init__(self, channel):
        self._channel, self._methods = channel, Rpcs(channel).methods

    def _stub(self, path, kind):
        method = self._methods[path]
        self._request = message_factory.GetMessageClass(method.input_type)
        answer = message_factory.GetMessageClass(method.output_type)
        return getattr(self._channel, kind)(f"/{path}", lambda message: message.SerializeToString(), answer.FromString)

    def _refusal(self, error):
        refused = Refusal(error)
        return {"code": refused.code.name.lower().replace("cancelled", "canceled"), "reason": refused.reason,
                "domain": refused.domain, "fields": refused.fields}

    def _shown(self, answer):
        return json_format.MessageToDict(answer, always_print_fields_with_no_presence=True)

    def ask(self, path, request, within):
        stub = self._stub(path, "unary_unary")
        try:
            return self._shown(stub(json_format.ParseDict(request, self._request()), timeout=within))
        except grpc.RpcError as error:
            return self._refusal(error)

    def watch(self, request, within, last=None):
        stub, seen = self._stub(f"{ADMIN}/WatchEvents", "unary_stream"), []
        answers = stub(json_format.ParseDict(request, self._request()), timeout=within)
        try:
            for answer in answers:
                seen.append(self._shown(answer))
                if last and seen[-1].get("event", {}).get("kind") == last:
                    answers.cancel()
        except grpc.RpcError as error:
            refused = self._refusal(error)
            return seen, refused if refused["reason"] == "INVALID_FIELD" else refused["code"]
        return seen, None

    def stream(self, org):
        stub = self._stub(f"{GATE}/AcquireStream", "stream_stream")
        asked = [json_format.ParseDict({"tag": tag, "acquire": {"org": f"{org}-stream"}}, self._request()) for tag in (7, 8)]
        return sorted(f"{answer.tag}n" for answer in stub(iter(asked), timeout=5))


class Curl:
    """The protocol of Connect by hand."""

    NAME = "curl"

    def __init__(self, door):
        self._door = door

    def _refusal(self, error):
        infos = details(error, error_details_pb2.ErrorInfo)
        fields = [each.field for bad in details(error, error_details_pb2.BadRequest) for each in bad.field_violations]
        return {"code": error["code"], "reason": infos[0].reason, "domain": infos[0].domain, "fields": fields}

    def ask(self, path, request, within):
        answer = self._door.ask(f"/{path}", request, connect_timeout_ms=str(int(within * 1000)))
        return answer.json if answer.status == 200 else self._refusal(answer.json)

    def watch(self, request, within, last=None):
        sent, end = self._door.stream(f"/{ADMIN}/WatchEvents", request, connect_timeout_ms=str(int(within * 1000)))
        refused = self._refusal(end["error"])
        if refused["code"] != "deadline_exceeded":
            return [], refused
        # It reads until the end, which is that of its time: it cannot leave before.
        return [json.loads(each) for each in sent], "canceled" if last else refused["code"]

    def stream(self, org):
        _, end = self._door.stream(f"/{GATE}/AcquireStream", {"tag": "7", "acquire": {"org": org}})
        return end["error"]["code"]


class ByHand(Told, SharedNodeCase):
    CONFIG = CONFIG

    def test_grpcio(self):
        for address in (self.shared.grpc, self.shared.http):
            with self.subTest(address), grpc.insecure_channel(address) as channel:
                self.told_by(Grpcio(channel), self.shared)

    def test_curl(self):
        for door in doors(self.shared):
            with self.subTest(door.name):
                self.told_by(Curl(door), self.shared)


class Bundled(Told):
    def scripts(self, node):
        return Scripts.of(self.plane(node).channel)

    def test_a_page_of_another_site(self):
        playwright = WEB / "playwright-core" / "index.js"
        if not CHROMIUM or not playwright.exists():
            self.skipTest("chromium is missing; scripts/test installs it as root (Debian: chromium)")
        scripts = self.scripts(self.node())
        page = bundled(scripts, "page", "iife")
        (page.parent / "index.html").write_text('<!doctype html><title>story</title><script src="page.js"></script>')
        served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=page.parent))
        self.addCleanup(served.server_close)
        self.addCleanup(served.shutdown)
        threading.Thread(target=served.serve_forever, daemon=True).start()
        origin = f"http://127.0.0.1:{served.server_address[1]}"
        node = self.node(config=f'{CONFIG}[cors]\norigins = ["{origin}"]\n', clock=self.clock(minute=10))
        for address in (node.grpc, node.http):
            stories = [f"{transport}={fresh('org')}" for transport in FETCH]
            heard = scripts.run("browse.mjs", str(playwright), CHROMIUM, f"{origin}/index.html", f"http://{address}", *stories)
            self.assertEqual(heard["faults"], [])
            for transport, told in zip(FETCH, heard["told"], strict=True):
                with self.subTest(transport, address=address):
                    self.told(node, transport, told)

    def test_a_worker(self):
        if not WORKERD.exists():
            self.skipTest("workerd is missing; scripts/test installs it as root (Debian: npm)")
        node = self.node(config=CONFIG, clock=self.clock(minute=10))
        worker = bundled(self.scripts(node), "worker", "esm")
        (worker.parent / "config.capnp").write_text(WORKER)
        reads, writes = os.pipe()
        started = subprocess.Popen([WORKERD, "serve", f"--control-fd={writes}", "config.capnp"], cwd=worker.parent,
                                   pass_fds=[writes], stdin=subprocess.DEVNULL)
        self.addCleanup(started.wait)
        self.addCleanup(started.kill)
        os.close(writes)
        with os.fdopen(reads) as said:
            port = json.loads(said.readline())["port"]
            for address in (node.grpc, node.http):
                for transport in FETCH:
                    with self.subTest(transport, address=address):
                        url = f"http://127.0.0.1:{port}/{transport}/{fresh('org')}?{quote(f'http://{address}', safe='')}"
                        told = subprocess.run(["curl", "-sS", "--max-time", "30", url], capture_output=True, timeout=WITHIN, check=True)
                        self.told(node, transport, json.loads(told.stdout))


if __name__ == "__main__":
    unittest.main()
