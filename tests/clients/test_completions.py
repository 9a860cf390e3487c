"""What a shell offers while a command line is typed: commands, options, and values that the node has."""

import os
import pathlib
import pty
import select
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

from case import SharedNodeCase, fresh
from node import BINARY

PLANS = '[plans.free]\n[plans.pro]\nspend = { daily = "5u" }\n[defaults]\nplan = "free"\n[orgs.x]\nplan = "pro"\n'
# Runs the function that bash has for the command, with the words as bash would give them.
ASK = """
source <("$TOLLGATE" completions bash)
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
COMP_TYPE=9
asks=$(complete -p tollgate | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
"$asks" tollgate "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""
KEY_WITHIN = 20.0


class Values(SharedNodeCase):
    """R-OPS-2"""

    CONFIG = PLANS

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = tempfile.mkdtemp(prefix="tollgate-home-")
        cls.addClassCleanup(shutil.rmtree, cls.home)
        bin_dir = pathlib.Path(cls.home, "bin")
        bin_dir.mkdir()
        (bin_dir / "tollgate").symlink_to(BINARY.resolve())
        cls.path = f"{bin_dir}:{os.environ['PATH']}"

    def environ(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("TOLLGATE")}
        own = {"TOLLGATE_ADDR": self.shared.grpc, "TOLLGATE": "tollgate", "PATH": self.path, "HOME": self.home,
               "XDG_CONFIG_HOME": self.home}
        return kept | own | more

    def offered(self, *words, **environment):
        """What bash would offer for the last of the words."""
        ran = subprocess.run(["bash", "--norc", "-c", ASK, "bash", "tollgate", *words], env=self.environ(**environment),
                             capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        return [line for line in ran.stdout.splitlines() if line]

    def kept(self, org):
        """Something of the org is on disk, so that lists have it."""
        self.gate.Record(org=org, request_id=fresh(), usage=[{"meter": "spend", "amount": 1}])

    def test_commands_and_options_need_no_node(self):
        self.assertEqual(self.offered("bud"), ["budget"])
        self.assertEqual(self.offered("org", "over"), ["override"])
        self.assertEqual(self.offered("acquire", "acme", "--rese"), ["--reserve"])
        self.assertEqual(self.offered("budget", "set", "acme", "dai"), ["daily="])
        self.assertEqual(self.offered("acquire", "acme", "--mode", "sha"), ["shadow"])

    def test_orgs_are_those_of_the_node_that_the_line_names(self):
        prefix = fresh("org")
        for name in ["a", "a-1", "b"]:
            self.kept(prefix + name)
        self.assertEqual(self.offered("status", prefix), [prefix + name for name in ["a", "a-1", "b"]])
        self.assertEqual(self.offered("org", "freeze", prefix + "a"), [prefix + "a", prefix + "a-1"])
        self.assertEqual(self.offered("status", prefix + "a", prefix + "b"), [prefix + "b"], "another one of several")
        self.assertEqual(self.offered("audit", prefix + "b", "--addr", self.shared.grpc, TOLLGATE_ADDR="127.0.0.1:1"), [])
        elsewhere = self.offered("--addr", self.shared.grpc, "audit", prefix + "b", TOLLGATE_ADDR="127.0.0.1:1")
        self.assertEqual(elsewhere, [prefix + "b"])
        self.assertIn(prefix + "a", self.offered("status", ""))

    def test_what_an_org_has_is_offered_for_that_org_alone(self):
        org, other = fresh("has"), fresh("other")
        self.gate.Acquire(org=org, scopes=["workspace/one", "workspace/two"])
        self.budget.UpdateBudget(org=org, scope="agent/7", request_id=fresh(), periods={"daily": {"limit": 5}})
        self.client.pool.ConfigurePool(org=org, pool="relay", request_id=fresh(), accounts=[{"account": "key-1"}])
        self.session.StartSession(org=org, session_id="vm-1", identity="i", request_id=fresh())
        held = self.gate.Acquire(org=org, reserve=[{"meter": "spend", "amount": 1}])
        for words, values in [
            (["acquire", org, "--scope", "work"], ["workspace/one", "workspace/two"]),
            (["budget", "get", org, "--scope", "a"], ["agent/7"]),
            (["pool", "show", org, ""], ["relay"]),
            (["acquire", org, "--pool", "re"], ["relay"]),
            (["session", "show", org, "vm"], ["vm-1"]),
            (["org", "set-plan", org, "p"], ["pro"]),
            (["org", "override", "set", org, "da"], ["daily="]),
            (["org", "override", "clear", org, "ra"], ["rate"]),
        ]:
            with self.subTest(words):
                self.assertEqual(self.offered(*words), values)
        self.assertIn(held.reservation_id, self.offered("release", org, ""))
        self.assertLess({"free", "pro"}, set(self.offered("org", "set-plan", org, "")), "with those that are built in")
        self.assertEqual(self.offered("acquire", other, "--scope", "work"), [])
        self.assertEqual(self.offered("session", "start", org, "vm"), [], "a new name")

    def test_contexts_come_from_the_file_of_the_user_and_say_which_node(self):
        org = fresh("ctx")
        self.kept(org)
        home = tempfile.mkdtemp(prefix="tollgate-home-")
        self.addCleanup(shutil.rmtree, home)
        for name, addr in [("prod", self.shared.grpc), ("proto", "127.0.0.1:1")]:
            added = subprocess.run([BINARY, "context", "add", name, "--addr", addr], check=False, timeout=30,
                                   env=self.environ(XDG_CONFIG_HOME=home), capture_output=True)
            self.assertEqual(added.returncode, 0, added.stderr)
        self.assertEqual(self.offered("context", "use", "pro", XDG_CONFIG_HOME=home), ["prod", "proto"])
        environment = self.environ(XDG_CONFIG_HOME=home)
        del environment["TOLLGATE_ADDR"]
        ran = subprocess.run(["bash", "--norc", "-c", ASK, "bash", "tollgate", "--context", "prod", "status", org],
                             env=environment, capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(ran.stdout.split(), [org])

    def test_a_name_that_a_shell_would_run_is_not_offered(self):
        prefix = fresh("run")
        for name in ["$(reboot)", ";reboot", "&x", "-ok"]:
            self.kept(prefix + name)
        self.assertEqual(self.offered("status", prefix), [prefix + "-ok"])

    def test_a_node_that_is_away_or_silent_offers_nothing_and_says_nothing(self):
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        for addr in ["127.0.0.1:1", f"127.0.0.1:{silent.getsockname()[1]}"]:
            with self.subTest(addr):
                self.assertEqual(self.offered("status", "a", TOLLGATE_ADDR=addr), [])
        self.assertEqual(self.offered("--addr", "no address", "status", "a"), [])
        self.assertEqual(self.offered("--token-file", "/no/such/file", "status", "a"), [])

    def test_a_key_in_a_terminal_completes_the_word(self):
        org = fresh("typed")
        self.gate.Acquire(org=org, scope="workspace/only")
        typed = f"tollgate budget get {org} --scope work"
        self.assertIn("workspace/only", self.typed(typed, "space/only"))

    def typed(self, line, expected):
        """What a terminal shows when this is typed into a bash that has the completions, and the tabulator."""
        child, terminal = pty.fork()
        if child == 0:
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], self.environ(PS1="> ", TERM="dumb", INPUTRC="/dev/null"))
        self.addCleanup(os.waitpid, child, 0)
        self.addCleanup(os.close, terminal)
        self.addCleanup(os.kill, child, 9)
        os.write(terminal, b"source <(tollgate completions bash); echo re''ady\n")
        shown = self.until(terminal, "ready")
        os.write(terminal, line.encode() + b"\t")
        return shown + self.until(terminal, expected)

    def until(self, terminal, expected):
        shown, until = "", time.monotonic() + KEY_WITHIN
        while expected not in shown:
            self.assertLess(time.monotonic(), until, f"{expected!r} is not in {shown!r}")
            if select.select([terminal], [], [], 0.1)[0]:
                shown += os.read(terminal, 4096).decode(errors="replace")
        return shown

    def test_other_shells_have_the_same(self):
        org = fresh("fish")
        self.kept(org)
        for shell, command, expected in [
            ("fish", ["fish", "--no-config", "-c", f"tollgate completions fish | source; complete -C 'tollgate status {org}'"],
             org),
            ("zsh", ["zsh", "-f", "-c", "autoload -U compinit && compinit -u -D && source <(tollgate completions zsh) && "
                     "echo $_comps[tollgate]"], "_clap_dynamic_completer_tollgate"),
        ]:
            with self.subTest(shell):
                if not shutil.which(shell):
                    self.skipTest(f"{shell} is not installed: it would run its script")
                ran = subprocess.run(command, env=self.environ(), capture_output=True, text=True, timeout=30, check=False)
                self.assertEqual((ran.returncode, ran.stderr), (0, ""))
                self.assertIn(expected, ran.stdout.split())


if __name__ == "__main__":
    unittest.main()
