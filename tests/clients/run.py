"""Runs every test in this directory against the release binary and closes with a count."""

import pathlib
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from node import BINARY  # noqa: E402


class Timed(unittest.TextTestResult):
    """Says how long each test took."""

    passed = 0

    def startTest(self, test):
        self._began = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.passed += 1
        if self.showAll:
            self.stream.writeln(f"ok ({time.monotonic() - self._began:.1f} s)")
            self.stream.flush()

    def getDescription(self, test):
        return test.id()


def main():
    if not BINARY.exists():
        sys.exit(f"{BINARY} is missing: cargo build --release --locked, or run scripts/test")
    chosen = sys.argv[1:]
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromNames(chosen) if chosen else loader.discover(str(HERE))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Timed).run(suite)
    bad = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print(f"\n{result.passed} passed, {bad} failed" + (f", {len(result.skipped)} skipped" if result.skipped else ""))
    sys.exit(1 if bad or not result.passed else 0)


if __name__ == "__main__":
    main()
