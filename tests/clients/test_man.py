"""The pages of the manual: one for each command, and nothing in them that a formatter objects to."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from node import BINARY

DATE = "1795336200"
FORMATTERS = {
    "mandoc": ["mandoc", "-T", "lint", "-W", "warning"],
    "groff": ["groff", "-man", "-Kutf8", "-Tutf8", "-ww", "-z"],
}


def tollgate(*args, **environment):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TOLLGATE")}
    return subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=30, check=False,
                          env=inherited | environment)


def commands(*names):
    """Each command that the help lists, the program itself first."""
    yield names
    listed = re.search(r"^Commands:\n((?:  .*\n)+)", tollgate(*names, "-h").stdout, re.MULTILINE)
    for line in listed[1].splitlines() if listed else []:
        name = re.match(r"  ([a-z-]+)", line)
        if name and name[1] != "help":
            yield from commands(*names, name[1])


class Manual(unittest.TestCase):
    """R-OPS-2"""

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="tollgate-man-")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.pages = os.path.join(cls.dir, "share", "man1")
        cls.answer = tollgate("man", cls.pages, "-o", "json", SOURCE_DATE_EPOCH=DATE)

    def test_every_command_that_the_help_lists_has_a_page(self):
        self.assertEqual((self.answer.returncode, self.answer.stderr), (0, ""))
        expected = sorted("-".join(("tollgate", *names)) + ".1" for names in commands())
        self.assertGreater(len(expected), 60)
        self.assertEqual(sorted(os.listdir(self.pages)), expected)
        self.assertEqual(sorted(json.loads(self.answer.stdout)["pages"]), expected)

    def test_a_package_is_the_same_whenever_it_is_built(self):
        first = {page: pathlib.Path(self.pages, page).read_bytes() for page in os.listdir(self.pages)}
        again = tollgate("man", self.pages, SOURCE_DATE_EPOCH=DATE)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual({page: pathlib.Path(self.pages, page).read_bytes() for page in first}, first)
        self.assertEqual(tollgate("man", SOURCE_DATE_EPOCH=DATE).stdout.encode(), first["tollgate.1"])

    def test_a_formatter_objects_to_nothing(self):
        pages = sorted(str(path) for path in pathlib.Path(self.pages).iterdir())
        for name, command in FORMATTERS.items():
            with self.subTest(name):
                if not shutil.which(name):
                    self.skipTest(f"{name} is not installed: it would check the pages")
                ran = subprocess.run([*command, *pages], capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual((ran.returncode, ran.stdout + ran.stderr), (0, ""))

    def test_what_cannot_be_written_is_named(self):
        file = os.path.join(self.dir, "file")
        pathlib.Path(file).touch()
        refused = tollgate("man", file)
        self.assertEqual((refused.returncode, refused.stdout), (1, ""))
        self.assertIn(file, refused.stderr)
        self.assertEqual(tollgate("man", "--date", "tomorrow").returncode, 2)


if __name__ == "__main__":
    unittest.main()
