"""What docs/security.md says, literally: its commands, its configuration, and its clients in Python, Node and Rust."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
import unittest

from callers import CallerCase
from issuer import Key, key_set, write
from node import ROOT, TARGET

DOCUMENT = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
MODULES = ROOT / ".sdk"
EXAMPLE = TARGET / "debug" / "examples" / "guarded"
# org "acme-1" as field 1 of an AcquireRequest.
REQUEST = b"\x0a\x06acme-1"
NODE_CALL = """
const client = new grpc.Client(process.argv[2], credentials);
const bytes = (buffer) => buffer;
client.makeUnaryRequest("/tollgate.v1.GateService/Acquire", bytes, bytes, Buffer.from(process.argv[3], "hex"),
  (error, answer) => { console.log(error ? `${error.code} ${error.details}` : answer.toString("hex")); client.close(); });
"""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def block(language, has):
    (found,) = [each for each in blocks(language) if has in each]
    return found


class DocumentCase(CallerCase):
    def sh(self, command):
        """As a shell runs it, where the command is on the path."""
        path = f"{TARGET / 'release'}:{os.environ['PATH']}"
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
            self.skipTest(f"{EXAMPLE} is missing: cargo build --locked --example guarded")
        example = (ROOT / "examples" / "guarded.rs").read_text(encoding="utf-8")
        lines = [line.strip() for line in example.splitlines()]
        for line in block("rust", "ClientTlsConfig").splitlines():
            self.assertIn(line.strip(), lines)
        ran = subprocess.run([str(EXAMPLE), f"https://localhost:{self.port}", "acme-1"], cwd=self.dir, capture_output=True,
                             text=True, timeout=30, check=False)
        self.assertEqual((ran.returncode, ran.stdout.strip()), (0, "allowed"), ran.stderr)


class Identities(DocumentCase):
    def test_certificates_of_callers(self):
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


if __name__ == "__main__":
    unittest.main()
