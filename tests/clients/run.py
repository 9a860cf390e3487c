"""Runs every test in this directory against the release binary and closes with a count.

    run.py [--workers N] [--group clients | cluster] [FILE or FILE.CLASS or FILE.CLASS.TEST …]

Without a name: the files of a group, `clients` where none is named. Those of `cluster` start many processes each.

Files run at the same time, each in a process of its own; what one of them says is printed as a whole when it
is through. Inside a file the tests run one after the other. Several names run in this process, in that order.

What tests say holds where processes get a processor within a third of a lease. One that fails while the machine stood
still for longer has shown nothing: it runs once more, and that is printed with how long it was.
"""

import argparse
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor, as_completed

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from node import BINARY  # noqa: E402

# One for each core of the machine that checks every change.
WORKERS = 2
CLOSING = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.MULTILINE)
# Begins the line that says why a test failed. Of a long reason it has so many characters of the begin, and of the end.
FAILED, MOST = "failed: ", 300

# Seconds: a third of the lease of nodes in tests of clusters.
STOOD_STILL = 0.5
# Looks at the clock on one processor, for as long as whoever started it lives, and prints when it could not.
LOOK = """
import os, sys, time
parent, core, most = os.getppid(), int(sys.argv[1]), float(sys.argv[2])
os.sched_setaffinity(0, {core})
seen = time.monotonic()
while os.getppid() == parent:
    time.sleep(most / 20)
    now = time.monotonic()
    if now - seen > most:
        print(seen, now, flush=True)
    seen = now
"""


class Standstills:
    """When a processor of this machine did nothing for a process that wanted it, as `with` saw it."""

    def __enter__(self):
        self._looking = [subprocess.Popen([sys.executable, "-c", LOOK, str(core), str(STOOD_STILL)], text=True,
                                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
                         for core in os.sched_getaffinity(0)]
        self._seen = []
        return self

    def __exit__(self, *_):
        for process in self._looking:
            process.terminate()
        for process in self._looking:
            said, _ = process.communicate()
            self._seen += [tuple(map(float, line.split())) for line in said.splitlines()]

    def longest(self, begin, end):
        """Seconds, of those that were seen between two instants; 0 where there was none."""
        return max((until - since for since, until in self._seen if since < end and until > begin), default=0)


class Timed(unittest.TextTestResult):
    """Says how long each test took."""

    passed = 0

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        # Begin and end by the name of the test.
        self.spans = {}

    def startTest(self, test):
        self._began = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        self.spans[test.id()] = self._began, time.monotonic()
        super().stopTest(test)

    def failed(self):
        """Why each test that did not pass did not, by its name; a part of one stands for the whole."""
        wrong = self.failures + self.errors + [(test, "it passed, and is marked as one that does not") for test in self.unexpectedSuccesses]
        reasons = {}
        for test, said in wrong:
            reasons.setdefault(getattr(test, "test_case", test).id(), shortened(said))
        return reasons

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.passed += 1
        if self.showAll:
            self.stream.writeln(f"ok ({time.monotonic() - self._began:.1f} s)")
            self.stream.flush()

    def getDescription(self, test):
        return test.id()


def shortened(said):
    """What is behind the last frame of a traceback, in one line."""
    reason = re.search(r"^\S.*", said.rpartition("Traceback (most recent call last):\n")[2], re.MULTILINE | re.DOTALL)
    reason = " ".join(reason[0].split()) if reason else said
    return reason if len(reason) <= 2 * MOST else f"{reason[:MOST]} […] {reason[-MOST:]}"


def closing_line(passed, failed, skipped):
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")


def exit_code(passed, failed):
    return 1 if failed or not passed else 0


def run_here(names):
    """Runs these tests in this process; the numbers that passed, failed and were skipped."""
    with Standstills() as standstills:
        result = run_suite(names)
    passed, failed, again = result.passed, result.failed(), []
    for name in list(failed):
        # What failed outside of a test, such as in the set-up of a class, has no span.
        longest = standstills.longest(*result.spans.get(name, (0, 0)))
        if longest:
            print(f"run again, the machine stood still for {longest:.1f} s: {name}", flush=True)
            again.append(name)
            del failed[name]
    if again:
        second = run_suite(again)
        passed += second.passed
        failed |= second.failed()
    for name, reason in failed.items():
        print(f"{FAILED}{name}: {reason}")
    return passed, len(failed), len(result.skipped)


def run_suite(names):
    suite = unittest.TestLoader().loadTestsFromNames(names)
    return unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Timed).run(suite)


def run_apart(name):
    """The same for one file in a process of its own, with what it said."""
    command = [sys.executable, __file__, name]
    process = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    closing = list(CLOSING.finditer(process.stdout))
    if not closing:
        # It crashed: whatever it ran does not count.
        return (0, 1, 0), f"{process.stdout}\n{name} ended with {process.returncode} and without a count"
    passed, failed, skipped = (int(number or 0) for number in closing[-1].groups())
    text = process.stdout[:closing[-1].start()]
    if process.returncode != exit_code(passed, failed):
        return (passed, failed + 1, skipped), f"{text}\n{name} ended with {process.returncode} after its count"
    return (passed, failed, skipped), text


def run_all(names, workers):
    """Every file, `workers` at a time; the numbers of all."""
    totals, bad, took = [0, 0, 0], [], []
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(timed, name): name for name in names}
        for done in as_completed(running):
            (counts, text), seconds = done.result()
            name = running[done]
            print(f"\n==> {name}, {seconds:.1f} s\n{text.strip()}", flush=True)
            totals = [total + count for total, count in zip(totals, counts)]
            if counts[1]:
                bad += [line for line in text.splitlines() if line.startswith(FAILED)] or [f"{FAILED}{name}, see above"]
            took.append((seconds, name))
    print("\nthe longest: " + ", ".join(f"{name} {seconds:.1f} s" for seconds, name in sorted(took, reverse=True)[:6]))
    # Again, so that whoever sees the end of a log sees why.
    for line in sorted(bad):
        print(line)
    return totals


def timed(name):
    began = time.monotonic()
    return run_apart(name), time.monotonic() - began


def main():
    # A shell that starts this in the background has it ignored, and with it everything that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--group", choices=["clients", "cluster"], default="clients")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    if not BINARY.exists():
        sys.exit(f"{BINARY} is missing: cargo build --release --locked, or run scripts/test")
    if arguments.names:
        passed, failed, skipped = run_here(arguments.names)
    else:
        # The largest first: they tend to be the longest, and the last one to end is waited for.
        of_clusters = arguments.group == "cluster"
        files = [file for file in HERE.glob("test_*.py") if file.stem.startswith("test_cluster_") == of_clusters]
        files.sort(key=os.path.getsize, reverse=True)
        passed, failed, skipped = run_all([file.stem for file in files], arguments.workers)
    print("\n" + closing_line(passed, failed, skipped))
    sys.exit(exit_code(passed, failed))


if __name__ == "__main__":
    main()
