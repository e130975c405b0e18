# SPDX-License-Identifier: GPL-2.0-or-later
"""pvhcactl as whoever runs it sees it, of a real pvhcad with false VMs."""
import json
import os
import pty
import socket
import stat
import subprocess
import tempfile
import threading
import unittest

from pvhca import *

PROGRAM = os.environ["PVHCACTL"]
OK, FAILED, USAGE, NOT_RUNNING, DENIED, NO_SUCH_VM = range(6)

UUID = bytes(range(16))
UUID_TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def ctl(socket_path, *args, **kwargs):
    return subprocess.run([PROGRAM, "--socket", socket_path, *args],
                          capture_output=True, text=True, timeout=PROGRAM_SECONDS, **kwargs)


class Commands(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon("--quota", "qps=77", "--quota", "adapters=2")
        cls.addClassCleanup(cls.daemon.clean_up)
        cls.guests = [Guest(cls.daemon, name=b"one", uuid=UUID),
                      Guest(cls.daemon, name=b"two words"),
                      Guest(cls.daemon, name=b"two words")]
        for guest in cls.guests:
            cls.addClassCleanup(guest.close)
            guest.world()

    def ctl(self, *args, code=OK):
        done = ctl(self.daemon.socket, *args)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertNotIn("Sanitizer", done.stderr)
        if code:
            self.assertEqual(done.stdout, "")
            self.assertTrue(done.stderr.startswith("pvhcactl: "), done.stderr)
            return done.stderr
        self.assertEqual(done.stderr, "")
        return done.stdout

    def rows(self, *args):
        return [line.split() for line in self.ctl(*args).splitlines()]

    def test_list(self):
        rows = self.rows("list")
        self.assertEqual(rows[0], ["ID", "VM", "STATE", "UUID", "CONTEXTS",
                                   "MRS", "CQS", "QPS", "REGISTERED"])
        self.assertEqual(rows[1], ["1", "one", "enabled", UUID_TEXT, "1", "1",
                                   "1", "1", "4.00", "KiB"])
        self.assertEqual(rows[2][:4], ["2", "two", "words", "enabled"])
        self.assertEqual(len(rows), 4)

    def test_list_as_json(self):
        told = json.loads(self.ctl("list", "--json"))
        self.assertEqual(told["fabric"], "loopback")
        self.assertEqual([s["name"] for s in told["sessions"]],
                         ["one", "two words", "two words"])
        one = told["sessions"][0]
        self.assertEqual((one["id"], one["uuid"], one["state"], one["qps"]),
                         (1, UUID_TEXT, "enabled", 1))
        self.assertNotIn("doorbells", one)

    def test_names(self):
        self.assertEqual(self.ctl("list", "--names"),
                         "one\ntwo words\ntwo words\n")

    def test_show(self):
        for vm in ("one", UUID_TEXT, UUID_TEXT.upper(), "1"):
            rows = self.rows("show", vm)
            self.assertEqual(rows[0], ["VM", "one"])
            self.assertIn(["UUID", UUID_TEXT], rows)
            self.assertIn(["state", "enabled"], rows)
            self.assertIn(["qps", "1", "77", "queue", "pairs"], rows)

    def test_a_vm_with_two_adapters_shows_both(self):
        text = self.ctl("show", "two words")
        self.assertEqual(text.count("VM two words\n"), 2)
        told = json.loads(self.ctl("stats", "two words", "-j"))
        self.assertEqual([s["id"] for s in told["sessions"]], [2, 3])
        self.assertNotIn("totals", told)

    def test_show_as_json_is_all_that_the_daemon_tells(self):
        told = json.loads(self.ctl("show", "one", "--json"))
        self.assertEqual(told["sessions"],
                         [s for s in self.daemon.stats()["sessions"]
                          if s["name"] == "one"])
        self.assertEqual(told["sessions"][0]["quota"]["qps"], 77)

    def test_stats_are_the_daemons_to_the_digit(self):
        stats = self.daemon.stats()
        for args, want in (((), stats["totals"]),
                           (("1",), next(s for s in stats["sessions"]
                                         if s["id"] == 1))):
            shown = {row[0]: row[1] for row in self.rows("stats", *args)[2:]}
            self.assertIn("admin_commands", shown)
            for name, value in shown.items():
                self.assertEqual(int(value), want[name], name)
        self.assertEqual(json.loads(self.ctl("stats", "--json"))["totals"],
                         stats["totals"])

    def commands_meanwhile(self, guest):
        """Keep a guest's admin queue busy until the function returned is called."""
        end = threading.Event()

        def run():
            while not end.wait(0.002):
                guest.ok(NOP)
        thread = threading.Thread(target=run)
        thread.start()

        def stop():
            end.set()
            thread.join()
        return stop

    def test_top(self):
        stop = self.commands_meanwhile(self.guests[0])
        try:
            text = self.ctl("top", "--interval", "0.3", "--count", "2")
        finally:
            stop()
        self.assertNotIn("\033", text)  # it is no terminal
        screens = text.split("\n\npvhcad ")
        self.assertEqual(len(screens), 2)
        for screen in screens:
            rows = [line.split() for line in screen.splitlines()]
            titles = rows[2]
            self.assertEqual(titles[:4], ["ID", "VM", "STATE", "QPS"])
            one = next(row for row in rows if row[:1] == ["1"])
            self.assertGreater(float(one[titles.index("INTR/s") + 2]), 0)
            self.assertEqual(rows[-1][:2], ["all", "3"])

    def test_top_as_json_is_a_line_each(self):
        before = self.daemon.totals()["admin_commands"]
        stop = self.commands_meanwhile(self.guests[0])
        try:
            lines = self.ctl("top", "-j", "-i", "0.3", "-n", "2").splitlines()
        finally:
            stop()
        commands = self.daemon.totals()["admin_commands"] - before
        self.assertEqual(len(lines), 2)
        shown = 0
        for line in map(json.loads, lines):
            rates = {s["id"]: s["rates"] for s in line["sessions"]}
            self.assertGreaterEqual(line["seconds"], 0.3)
            self.assertGreater(rates[1]["admin_commands"], 0)
            self.assertEqual(rates[2]["admin_commands"], 0)
            self.assertEqual(rates[1]["admin_commands"],
                             line["totals"]["rates"]["admin_commands"])
            shown += rates[1]["admin_commands"] * line["seconds"]
        self.assertLessEqual(round(shown), commands)

    def test_top_on_a_terminal_clears_it(self):
        master, slave = pty.openpty()
        try:
            done = subprocess.run([PROGRAM, "-s", self.daemon.socket, "top",
                                   "-i", "0.1", "-n", "1"], stdout=slave,
                                  timeout=PROGRAM_SECONDS)
            self.assertEqual(done.returncode, 0)
            self.assertTrue(os.read(master, 65536).startswith(b"\033[H\033[2J"))
        finally:
            os.close(master)
            os.close(slave)

    def test_top_does_not_know_rates_of_a_new_session(self):
        with subprocess.Popen([PROGRAM, "-s", self.daemon.socket, "top", "-j",
                               "-i", "0.5", "-n", "2"], text=True,
                              stdout=subprocess.PIPE) as top:
            first = json.loads(top.stdout.readline())
            guest = Guest(self.daemon, name=b"new")
            try:
                second = json.loads(top.stdout.readline())
            finally:
                guest.close()
        self.assertNotIn("new", [s["name"] for s in first["sessions"]])
        new = next(s for s in second["sessions"] if s["name"] == "new")
        self.assertIsNone(new["rates"])
        self.assertIsNotNone(second["sessions"][0]["rates"])

    def test_who_has_not_said_hello_is_shown_without_name(self):
        peer = Peer(self.daemon)
        try:
            wait_for(lambda: len(self.daemon.stats()["sessions"]) == 4,
                     "the session")
            self.assertEqual(self.rows("list")[-1][1:3], ["-", "connected"])
            self.assertNotIn("-", self.ctl("list", "--names"))
            self.ctl("show", "", code=NO_SUCH_VM)
        finally:
            peer.close()
        wait_for(lambda: len(self.daemon.stats()["sessions"]) == 3,
                 "the session to end")

    def test_there_is_no_such_vm(self):
        for command in ("show", "stats"):
            for args in (("nobody",), ("nobody", "--json"), ("99",), ("",)):
                self.assertIn("no VM", self.ctl(command, *args,
                                                code=NO_SUCH_VM))

    def test_the_command_line_is_wrong(self):
        for args in ((), ("lists",), ("show",), ("show", "a", "b"),
                     ("list", "one"), ("top", "one"), ("--none",),
                     ("list", "--count", "1"), ("stats", "-i", "1"),
                     ("show", "one", "--names"), ("list", "--names", "-j"),
                     ("top", "-i", "0"), ("top", "-i", "0.01"),
                     ("top", "-i", "nan"), ("top", "-i", "1e9"),
                     ("top", "-i", "x"), ("top", "-n", "-1"),
                     ("top", "-n", "x")):
            with self.subTest(args):
                self.ctl(*args, code=USAGE)

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([PROGRAM, "-s", self.daemon.socket, "list"],
                                  stdout=full, stderr=subprocess.PIPE,
                                  text=True, timeout=PROGRAM_SECONDS)
        self.assertEqual(done.returncode, FAILED)
        self.assertIn("output", done.stderr)


class Alone(unittest.TestCase):
    """Without a pvhcad, or with something else in its place."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pvhca-")
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "sock")

    def fails(self, code, *words, path=None):
        done = ctl(path or self.path, "list")
        self.assertEqual(done.returncode, code, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def answer(self, text):
        """Somebody who says this to the next who connects."""
        s = socket.socket(socket.AF_UNIX)
        self.addCleanup(s.close)
        s.bind(self.path + ".stats")
        s.listen()

        def run():
            peer = s.accept()[0]
            peer.sendall(text)
            peer.close()
        thread = threading.Thread(target=run)
        thread.start()
        self.addCleanup(thread.join)

    def test_version_and_help_need_none(self):
        self.assertRegex(ctl(self.path, "--version").stdout,
                         r"^pvhcactl \d+\.\d+\.\d+\n$")
        self.assertIn("show VM", ctl(self.path, "--help").stdout)

    def test_nothing_is_there(self):
        self.fails(NOT_RUNNING, "not running", self.path + ".stats")

    def test_nobody_listens(self):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(self.path + ".stats")
            self.fails(NOT_RUNNING, "not running")

    def test_a_daemon_that_ended(self):
        daemon = Daemon()
        self.addCleanup(daemon.clean_up)
        self.assertEqual(ctl(daemon.socket, "list").returncode, OK)
        daemon.stop()
        self.fails(NOT_RUNNING, path=daemon.socket)

    @unittest.skipIf(os.geteuid() == 0 and not os.path.exists("/usr/bin/setpriv"),
                     "root may connect everywhere")
    def test_no_permission(self):
        daemon = Daemon("--socket-mode", "0")
        self.addCleanup(daemon.clean_up)
        os.chmod(daemon.folder.name, 0o711)
        drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] \
            if os.geteuid() == 0 else []
        done = subprocess.run([*drop, PROGRAM, "-s", daemon.socket, "list"],
                              capture_output=True, text=True, timeout=PROGRAM_SECONDS)
        if done.returncode == 127 or "setpriv" in done.stderr:
            self.skipTest("cannot be another user here")
        self.assertEqual(done.returncode, DENIED, done.stderr)
        self.assertIn("permission", done.stderr)

    def test_a_path_too_long(self):
        self.fails(USAGE, "too long", path="/" + "x" * 200)

    def test_no_answer(self):
        self.answer(b"")
        self.fails(FAILED, "again")

    def test_another_answer(self):
        self.answer(b"220 mail ESMTP\r\n")
        self.fails(FAILED, "not pvhcad's statistics")

    def test_names_cannot_command_the_terminal(self):
        # pvhcad leaves no such character in; but the file may be another's.
        self.answer(json.dumps({"sessions": [
            {"id": 1, "name": "a\033[2J\n\x9bb", "state": "\007"}]}).encode())
        done = ctl(self.path, "list")
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertIn("a?[2J??b", done.stdout)
        self.assertNotIn("\007", done.stdout)

    def test_a_daemon_that_tells_less(self):
        self.answer(b'{"sessions": [{"id": 1, "name": "old"}]}')
        done = ctl(self.path, "show", "old")
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^  qps +- +-  queue pairs$")


if __name__ == "__main__":
    unittest.main()
