"""R-REACH-4: the TypeScript package in clients/typescript: its build, its shape, and its own tests against the release binary.

Each file of its tests is one test here: Node, workerd, Deno and Bun, faults, the example Worker.
"""

import filecmp
import os
import shutil
import subprocess
import unittest

from node import BINARY, ROOT

PACKAGE = ROOT / "clients" / "typescript"
MODULES = PACKAGE / "node_modules"
# What runs is many processes on a machine that does much else.
WITHIN = 300.0
# The versions of Node that its dependencies take begin with this one.
NODE = 20


def run(*command):
    """What it said, where it failed."""
    environment = os.environ | {"TOLLGATE_BINARY": str(BINARY), "NO_COLOR": "1"}
    ran = subprocess.run(command, cwd=PACKAGE, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True, errors="replace", timeout=WITHIN, check=False)
    if ran.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stdout}")
    return ran.stdout


def set_up():
    """Builds the package and its tests; a SkipTest where something is missing."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise unittest.SkipTest("node or npm is missing; scripts/test installs both as root (Debian: npm)")
    version = run("node", "--version").strip()
    if int(version.lstrip("v").split(".")[0]) < NODE:
        raise unittest.SkipTest(f"node is {version}: the package needs {NODE} or newer")
    lock, installed = PACKAGE / "package-lock.json", MODULES / "installed"
    if not installed.exists() or not filecmp.cmp(lock, installed, shallow=False):
        raise unittest.SkipTest("what package-lock.json names is not installed; scripts/test does it")
    run("npm", "run", "--silent", "build")
    run("npm", "run", "--silent", "build:test")


class TypeScript(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        set_up()

    def test_the_shape_of_the_package(self):
        run("npm", "run", "--silent", "shape")

    def test_the_style(self):
        run("npm", "run", "--silent", "style")


def of_file(name):
    """The tests of one file; those that it skips are printed with their reasons."""
    def test(self):
        said = run("node", "--test", "--test-reporter=spec", f".test/{name}.test.js")
        self.assertRegex(said, r"pass [1-9]")
        for line in said.splitlines():
            if "# SKIP" in line or "﹣" in line:
                print(f"    {self.id()}: {line.strip()}", flush=True)

    return test


for each in sorted((PACKAGE / "test").glob("*.test.ts")):
    title = each.name.removesuffix(".test.ts")
    setattr(TypeScript, f"test_{title}", of_file(title))


if __name__ == "__main__":
    unittest.main()
