"""deploy/docker: the linter finds nothing, the steps can be carried out, and what comes of them decides and ends."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import image
from node import BINARY, ROOT, TARGET, eventually

DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
COMMIT = "0123456789ab"
ASK = """
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.argv[2].encode() or None, {"content-type": "application/json"})
sys.stdout.write(urllib.request.urlopen(request, timeout=5).read().decode())
"""


class Dockerfile(unittest.TestCase):
    text = DOCKERFILE.read_text(encoding="utf-8")

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tollgate-image-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def test_the_linter_finds_nothing(self):
        hadolint = shutil.which("hadolint", path=f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}")
        if hadolint is None:
            self.skipTest("hadolint is missing: scripts/test clients installs it")
        checked = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual((checked.returncode, checked.stdout), (0, ""))
        worse = self.folder / "Dockerfile"
        worse.write_text(self.text.replace("USER 65532:65532", "USER root"), encoding="utf-8")
        checked = subprocess.run([hadolint, str(worse)], capture_output=True, text=True, timeout=60, check=False)
        self.assertIn("DL3002", checked.stdout, "it can find something")

    def test_versions_and_ports_are_those_of_the_project(self):
        manifest = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
        (version,) = re.findall(r'^version = "(.*)"', manifest, re.MULTILINE)
        toolchain = re.search(r'channel = "(.*)"', (ROOT / "rust-toolchain.toml").read_text(encoding="utf-8"))[1]
        self.assertIn(f"ARG RUST=rust:{toolchain}-slim-bookworm\n", self.text)
        self.assertIn(f'image.version="{version}"', self.text)
        example = (ROOT / "tollgate.example.toml").read_text(encoding="utf-8")
        ports = re.findall(r'^(?:grpc|http|peer) = "127\.0\.0\.1:(\d+)"', example, re.MULTILINE)
        self.assertIn(f"EXPOSE {' '.join(ports)}\n", self.text)

    def test_a_build_gets_every_file_that_it_needs_and_no_other(self):
        sent = image.context(ROOT, self.folder)
        self.assertFalse([path for path in sent if path.startswith((".", "tests/clients", "docs", "clients", "target"))])
        described = subprocess.run(["cargo", "metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"],
                                   cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(described.returncode, 0, described.stderr)
        for source in (self.folder / "src").rglob("*.rs"):
            for name in re.findall(r'include_(?:str|bytes)!\("([^"]+)"\)', source.read_text(encoding="utf-8")):
                in_tests = "tests" in source.relative_to(self.folder).with_suffix("").parts
                self.assertTrue(in_tests or (source.parent / name).is_file(), f"{source} needs {name}")

    def test_the_build_script_has_all_that_it_reads_and_names_the_commit(self):
        """The script is what a build leaves behind as a program. It embeds the dashboard of the server as well."""
        left = [script for profile in ("release", "debug") for script in TARGET.glob(f"{profile}/build/tollgate-*/build-script-build")]
        if not left:
            self.skipTest(f"there is no build script in {TARGET}")
        script = max(left, key=lambda path: path.stat().st_mtime)
        sent, out = self.folder / "context", self.folder / "out"
        image.context(ROOT, sent)
        out.mkdir()
        for commit, expected in ((COMMIT, f"=0.1.0 ({COMMIT})\n"), ("main", "hexadecimal digits of a commit")):
            environment = {"PATH": os.environ["PATH"], "PROFILE": "release", "CARGO_PKG_VERSION": "0.1.0", "OUT_DIR": str(out),
                           "TOLLGATE_COMMIT": commit, "CARGO_FEATURE_SERVER": "1"}
            said = subprocess.run([str(script)], cwd=sent, env=environment, capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(said.returncode != 0, commit == "main", said.stderr)
            self.assertIn(expected, said.stdout + said.stderr)
        self.assertIn('"/assets/', (out / "page.rs").read_text(encoding="utf-8"))

    def test_a_step_that_cannot_be_carried_out_is_found(self):
        for text in ("FROM x\nCOPY nowhere .\n", "FROM x\nADD a b\n", "FROM x\nRUN --security=insecure true\n"):
            with self.assertRaises(image.Refused):
                image.Build(text, self.folder, BINARY, self.folder / "out", {})
            shutil.rmtree(self.folder / "out")

    def test_what_is_built_decides_as_a_user_with_a_root_that_is_read_only(self):
        why = image.why_not()
        if why:
            self.skipTest(f"the steps are not carried out: {why}")
        sent = self.folder / "context"
        image.context(ROOT, sent)
        built = image.Build(self.text, sent, BINARY, self.folder / "out", {"COMMIT": COMMIT})
        self.assertEqual(built.stages["build"].environment["TOLLGATE_COMMIT"], COMMIT)
        config = built.stage.config
        self.assertEqual(config["labels"]["org.opencontainers.image.revision"], COMMIT)
        self.assertEqual((config["user"], config["stop"], config["volumes"]), ((image.NONROOT,) * 2, "SIGTERM", ["/data"]))
        self.has_only_what_it_should(built.stage.folder)
        self.decides(built)

    def has_only_what_it_should(self, root):
        files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        base = {path.lstrip("/") for path in image.needed(BINARY).values()} | {"etc/passwd", "etc/group"}
        docs = {f"usr/share/doc/tollgate/{name}" for name in ("copyright", "tollgate.example.toml")}
        self.assertEqual(files - base, docs | {"usr/local/bin/tollgate"})
        self.assertEqual((root / "usr/local/bin/tollgate").read_bytes(), BINARY.read_bytes())
        self.assertEqual((os.stat(root / "data").st_uid, os.stat(root / "data").st_mode & 0o777), (image.NONROOT, 0o700))
        if pathlib.Path("/etc/debian_version").exists() and pathlib.Path("/etc/debian_version").read_text().startswith("12."):
            self.assertLessEqual(image.newest_glibc(BINARY), image.GLIBC, "the image has an older glibc")

    def decides(self, built):
        data = self.folder / "data"
        shutil.copytree(built.stage.folder / "data", data)
        os.chown(data, image.NONROOT, image.NONROOT)
        os.chmod(self.folder, 0o755)
        alone = built.start(data, [], stderr=subprocess.PIPE, text=True)
        said = alone.communicate(timeout=30)[1]
        self.assertEqual(alone.returncode, 1, "beyond loopback without [auth]")
        self.assertIn("--insecure", said)
        with open(self.folder / "log", "wb") as log:
            node = built.start(data, ["--insecure"], stderr=log)
        self.addCleanup(lambda: node.poll() is None and node.kill())
        http = "http://127.0.0.1:7071"
        eventually(lambda: self.asked(node, f"{http}/readyz", "") is not None, "it is up", within=20)
        answer = json.loads(self.asked(node, f"{http}/tollgate.v1.GateService/Acquire", '{"org":"acme"}'))
        self.assertTrue(answer["allowed"])
        over_grpc = self.inside(node, str(BINARY), "acquire", "acme")
        self.assertIn("998 left of 1000", over_grpc.stdout, over_grpc.stderr)
        with open(f"/proc/{node.pid}/status", encoding="ascii") as status:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in status)
        self.assertEqual((status["Uid"].split()[0], status["NoNewPrivs"]), (str(image.NONROOT), "1"))
        self.assertEqual(int(status["CapEff"], 16), 0)
        node.send_signal(signal.Signals[built.stage.config["stop"]])
        self.assertEqual(node.wait(30), 0, (self.folder / "log").read_text(encoding="utf-8"))
        self.assertTrue(any(path.stat().st_uid == image.NONROOT for path in data.rglob("*")), "the ledger is in the volume")

    @staticmethod
    def inside(node, *command):
        """A command in the network of the node."""
        return subprocess.run(["nsenter", f"--target={node.pid}", "--net", *command], capture_output=True, text=True, timeout=20,
                              check=False)

    def asked(self, node, url, body):
        answer = self.inside(node, sys.executable, "-c", ASK, url, body)
        return answer.stdout if answer.returncode == 0 else None


if __name__ == "__main__":
    unittest.main()
