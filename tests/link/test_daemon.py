# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon as whoever runs it sees it: options, file, socket, signals."""
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import unittest

from pvhca import *

PROGRAM = os.environ["PVHCAD"]


class Settings(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pvhca-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def check(self, *options, config=""):
        path = os.path.join(self.folder, "conf")
        with open(path, "w") as f:
            f.write(config)
        return subprocess.run([PROGRAM, "--check-config", "--config", path,
                               *options], capture_output=True, text=True,
                              timeout=PROGRAM_SECONDS)

    def assert_wrong(self, *words, options=(), config=""):
        done = self.check(*options, config=config)
        self.assertEqual(done.returncode, 2, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_version(self):
        done = subprocess.run([PROGRAM, "--version"], capture_output=True,
                              text=True, timeout=PROGRAM_SECONDS)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"^pvhcad \d+\.\d+\.\d+\n$")

    def test_the_example_is_right(self):
        example = os.path.join(os.path.dirname(__file__), "..", "..", "hostd",
                               "dist", "pvhcad.conf")
        with open(example) as f:
            text = f.read()
        done = self.check(config=text)
        self.assertEqual(done.returncode, 0, done.stderr)
        # And with all that is commented out.
        done = self.check(config="\n".join(
            line[1:] if line.startswith("#") and line[1:2].strip() else line
            for line in text.splitlines()))
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_file_that_is_missing(self):
        done = subprocess.run([PROGRAM, "--config", self.folder + "/none",
                               "--check-config"], capture_output=True,
                              text=True, timeout=PROGRAM_SECONDS)
        self.assertEqual(done.returncode, 2)
        self.assertIn("/none", done.stderr)

    def test_errors_name_file_group_and_key(self):
        for config, words in (
                ("[pvhcad]\nworkerz=1\n", ("conf", "[pvhcad]", "workerz")),
                ("[pvhcad]\nworkers=many\n", ("workers", "many")),
                ("[pvhcad]\nworkers=0\n", ("workers", "1 to 256")),
                ("[pvhcad]\nworkers=-1\n", ("workers",)),
                ("[pvhcad]\nsocket-mode=999\n", ("socket-mode", "999")),
                ("[pvhcad]\nunlisted-vms=perhaps\n", ("unlisted-vms",)),
                ("[pvhcad]\nlog-level=loud\n", ("log-level", "debug")),
                ("[pvhcad]\ncpus=a\n", ("cpus",)),
                ("[pvhkad]\n", ("[pvhkad]",)),
                ("[quota]\nqps=2000000\n", ("[quota]", "qps")),
                ("[quota]\npinned-bytes=12X\n", ("pinned-bytes", "12X")),
                ("[quota]\npinned-bytes=99999999999999T\n", ("pinned-bytes",)),
                ("[vm a]\nmac=01:00:00:00:00:01\n", ("[vm a]", "mac")),
                ("[vm a]\nmac=020000000001\n", ("mac",)),
                ("[vm a]\naddresses=10.0.0.300\n", ("addresses",)),
                ("[vm a]\naddresses=10.0.0.0/33\n", ("addresses",)),
                ("[vm a]\nsockets=/x\n", ("[vm a]", "sockets")),
                ("[vm a]\nuid=nobody-of-this-name\n", ("[vm a]", "uid")),
                ("[vm a]\n[vm  a]\n", ("already",)),
                ("no group\n", ("conf",))):
            with self.subTest(config):
                self.assert_wrong(*words, config=config)

    def test_options_that_are_wrong(self):
        for options, word in ((("--workers", "0"), "--workers"),
                              (("--quota", "qps"), "--quota"),
                              (("--quota", "qps=x"), "qps=x"),
                              (("--none",), "--none"),
                              (("word",), "word")):
            with self.subTest(options):
                self.assert_wrong(word, options=options)

    def test_sizes(self):
        for size in ("4096", "64K", "10M", "10g", "2T"):
            self.assertEqual(self.check("--quota", "pinned-bytes=" + size)
                             .returncode, 0)


class Running(unittest.TestCase):
    def daemon(self, *options, **kwargs):
        daemon = Daemon(*options, **kwargs)
        self.addCleanup(daemon.clean_up)
        return daemon

    def test_signals_end_it_and_its_sessions_cleanly(self):
        for sig in (signal.SIGTERM, signal.SIGINT):
            daemon = self.daemon()
            guests = [Guest(daemon) for _ in range(3)]
            for guest in guests:
                guest.world()
            self.assertEqual(daemon.stop(sig), 0)
            self.assertFalse(os.path.exists(daemon.socket))
            self.assertFalse(os.path.exists(daemon.socket + ".stats"))
            for guest in guests:
                self.assertTrue(guest.qemu.is_closed())
                guest.close()

    def test_systemd_is_told_when_it_serves(self):
        told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(told.close)
        told.bind("\0pvhca-ready-%d" % os.getpid())
        told.settimeout(PATIENCE)
        os.environ["NOTIFY_SOCKET"] = "@pvhca-ready-%d" % os.getpid()
        self.addCleanup(os.environ.pop, "NOTIFY_SOCKET")
        daemon = self.daemon()
        self.assertEqual(told.recv(100), b"READY=1")
        Guest(daemon).close()

    def test_hangup_is_no_reason_to_end(self):
        daemon = self.daemon()
        daemon.process.send_signal(signal.SIGHUP)
        guest = Guest(daemon)
        guest.close()
        self.assertTrue(daemon.alive())

    def test_socket_has_the_mode_asked_for(self):
        daemon = self.daemon("--socket-mode", "600")
        for path in (daemon.socket, daemon.socket + ".stats"):
            # Made without any, so that nobody gets in before.
            wait_for(lambda: stat.S_IMODE(os.stat(path).st_mode) == 0o600,
                     f"the mode of {path}")

    def test_a_dead_daemons_socket_is_replaced(self):
        daemon = self.daemon()
        daemon.stop(signal.SIGKILL)
        self.assertTrue(os.path.exists(daemon.socket))
        done = subprocess.Popen([PROGRAM, "--socket", daemon.socket,
                                 "--config", daemon.config],
                                stderr=subprocess.DEVNULL)
        try:
            def answers():
                try:
                    return Qemu(daemon).close() is None
                except (ConnectionRefusedError, FileNotFoundError):
                    return False
            wait_for(answers, "the second daemon")
        finally:
            done.terminate()
            self.assertEqual(done.wait(60), 0)

    def start_at(self, path):
        with tempfile.NamedTemporaryFile() as config:
            return subprocess.run([PROGRAM, "--socket", path, "--config",
                                   config.name], capture_output=True,
                                  text=True, timeout=PROGRAM_SECONDS)

    def test_a_living_daemons_socket_is_not(self):
        daemon = self.daemon()
        done = self.start_at(daemon.socket)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another", done.stderr)
        Guest(daemon).close()

    def test_a_file_that_is_no_socket_is_not(self):
        # In a folder, for its lock stays.
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s")
            open(path, "w").close()
            self.assertEqual(self.start_at(path).returncode, 1)
            self.assertTrue(os.path.exists(path))

    def test_a_strangers_socket_is_not(self):
        with tempfile.TemporaryDirectory() as folder, \
                socket.socket(socket.AF_UNIX) as s:
            path = os.path.join(folder, "s")
            s.bind(path)
            s.listen()
            self.assertEqual(self.start_at(path).returncode, 1)
            self.assertTrue(os.path.exists(path))

    def test_a_path_too_long_is_told(self):
        self.assertEqual(self.start_at("/tmp/" + "x" * 200).returncode, 2)

    def test_unlisted_vms_are_refused_if_so_set(self):
        daemon = self.daemon("--unlisted-vms", "false",
                             config="[vm known]\n")
        refused = Qemu(daemon, name=b"stranger")
        self.assertEqual(refused.refused, 13)  # EACCES
        self.assertIn("unlisted-vms", refused.reason)
        refused.close()
        known = Qemu(daemon, name=b"known")
        self.assertEqual(known.refused, 0)
        known.close()

    def test_peers_cannot_take_all_descriptors(self):
        daemon = self.daemon(fds=300)
        peers = []
        for _ in range(400):
            try:
                peers.append(Qemu(daemon, vectors=66, doorbells=64))
                # How many are refused meanwhile is a matter of speed: the test has no limit for them to meet.
                peers[-1].close_events()
            except (OSError, EOFError):
                pass
        self.assertTrue(daemon.alive(), daemon.log()[-2000:])
        self.assertLess(daemon.fds(), 290)
        for peer in peers:
            peer.close()
        wait_for(lambda: daemon.totals()["sessions"] == 0, "sessions to end")
        guest = Guest(daemon)
        guest.world()
        guest.close()

    def test_statistics_name_all_there_is(self):
        daemon = self.daemon()
        guest = Guest(daemon, name=b"one")
        guest.world()
        stats = daemon.stats()
        guest.close()
        self.assertEqual(stats["fabric"], "loopback")
        session = stats["sessions"][0]
        self.assertEqual(session["name"], "one")
        self.assertEqual(session["state"], "enabled")
        for name in ("contexts", "pds", "mrs", "cqs", "qps"):
            self.assertEqual(session[name], 1, name)
            self.assertEqual(stats["totals"][name], 1, name)
        self.assertEqual(session["pinned_bytes"], 4096)
        self.assertGreater(session["admin_commands"], 5)
        self.assertGreater(session["doorbells"], 0)
        self.assertGreater(session["interrupts"], 0)

    def test_readers_of_statistics_that_do_not_read_cost_nothing(self):
        daemon = self.daemon()
        readers = []
        for _ in range(40):
            s = socket.socket(socket.AF_UNIX)
            s.connect(daemon.socket + ".stats")
            readers.append(s)
        guest = Guest(daemon)
        guest.world()
        guest.close()
        for s in readers:
            s.close()
        wait_for(lambda: daemon.totals()["sessions"] == 0, "session to end")


DIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "hostd", "dist")
ANALYZE = shutil.which("systemd-analyze")


def unit_lines(*drop_ins):
    """The unit's text, with drop-ins at its end."""
    lines = []
    for name in ("pvhcad.service", *("systemd/%s.conf" % drop_in for drop_in in drop_ins)):
        with open(os.path.join(DIST, name)) as f:
            text = f.read().replace("[Install]\nWantedBy=multi-user.target\n", "")
        lines += [line for line in text.splitlines() if not lines or line != "[Service]"]
    return lines


@unittest.skipUnless(ANALYZE, "needs systemd-analyze")
class Unit(unittest.TestCase):
    def exposure(self, threshold, *drop_ins):
        with tempfile.TemporaryDirectory(prefix="pvhca-") as folder:
            path = os.path.join(folder, "pvhcad.service")
            with open(path, "w") as f:
                # The programs need not be installed.
                f.write("\n".join(unit_lines(*drop_ins)).replace("=/usr/sbin/", "=/bin/true ") + "\n")
            done = subprocess.run([ANALYZE, "security", "--offline=true", "--no-pager",
                                   "--threshold=%d" % threshold, path], capture_output=True, text=True,
                                  timeout=PROGRAM_SECONDS)
        if "unrecognized option" in done.stderr or "Unknown" in done.stderr:
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_exposure_on_the_loopback_fabric(self):
        self.exposure(5)

    def test_exposure_on_the_verbs_fabric(self):
        self.exposure(15, "verbs")
        self.exposure(15, "verbs", "workers")

    def test_exposure_with_a_port_for_metrics(self):
        self.exposure(15, "metrics")


class SystemCalls(unittest.TestCase):
    """What the unit file allows is what the daemon does."""

    def expand(self, names):
        calls = set()
        for name in names:
            if not name.startswith("@"):
                calls.add(name)
                continue
            text = subprocess.run([ANALYZE, "--no-pager", "syscall-filter", name], capture_output=True, text=True,
                                  check=True, timeout=PROGRAM_SECONDS).stdout
            calls |= self.expand(line.strip() for line in text.splitlines()[1:]
                                 if line.strip() and not line.strip().startswith("#"))
        return calls

    def allowed(self):
        allowed = set()
        for line in unit_lines("workers"):
            if line.startswith("SystemCallFilter=~"):
                allowed -= self.expand(line.split("~", 1)[1].split())
            elif line.startswith("SystemCallFilter="):
                allowed |= self.expand(line.split("=", 1)[1].split())
        # The unit names the user: there is no root to become one.
        return allowed | {"setgroups", "setresgid", "setresuid"}

    @unittest.skipUnless(ANALYZE, "needs systemd-analyze")
    @unittest.skipUnless(shutil.which("strace"), "needs strace")
    @unittest.skipIf("asan" in PROGRAM, "the sanitizers make calls of their own")
    def test_a_vms_life_makes_only_allowed_calls(self):
        with tempfile.TemporaryDirectory() as folder:
            trace = os.path.join(folder, "trace")
            wrapper = os.path.join(folder, "pvhcad")
            with open(wrapper, "w") as f:
                f.write('#!/bin/sh\nexec strace -D -f -qq -o %s %s "$@"\n'
                        % (trace, PROGRAM))
            os.chmod(wrapper, 0o755)
            os.environ["PVHCAD"] = wrapper
            try:
                # With the settings that have workers make calls of their own.
                daemon = Daemon("--priority", "1", "--cpus", "0")
            finally:
                os.environ["PVHCAD"] = PROGRAM
            self.addCleanup(daemon.clean_up)
            guest = Guest(daemon)
            guest.world()
            guest.ok(ADD_GID, gid_payload(v4(10, 0, 0, 1)))
            guest.qemu.reset()
            guest.close()
            daemon.stop()

            def ended():
                with open(trace) as f:
                    return "exit_group(" in f.read()
            wait_for(ended, "strace to write")
            with open(trace) as f:
                used = set(re.findall(r"^\d+ +(\w+)\(", f.read(), re.M))
        self.assertLessEqual({"recvmsg", "setpriority", "sched_setaffinity"}, used)
        self.assertEqual(used - self.allowed(), set())


if __name__ == "__main__":
    unittest.main()
