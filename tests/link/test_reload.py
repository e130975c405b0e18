# SPDX-License-Identifier: GPL-2.0-or-later
"""Settings that change, and VMs that are sent away, while others are served."""
import os
import signal
import socket
import stat
import subprocess
import unittest

from errno import EACCES

from pvhca import *

PROGRAM = os.environ["PVHCACTL"]


class ReloadCase(unittest.TestCase):
    def daemon(self, config="", *options):
        daemon = Daemon(*options, config=config)
        self.addCleanup(daemon.clean_up)
        return daemon

    def guest(self, daemon, **kwargs):
        guest = Guest(daemon, **kwargs)
        self.addCleanup(guest.close)
        return guest

    def qemu(self, daemon, **kwargs):
        qemu = Qemu(daemon, events=False, **kwargs)
        self.addCleanup(qemu.close)
        return qemu

    def ctl(self, daemon, *args):
        return subprocess.run([PROGRAM, "--socket", daemon.socket, *args], capture_output=True, text=True,
                              timeout=PROGRAM_SECONDS)

    def write_and_reload(self, daemon, config):
        with open(daemon.config, "w") as f:
            f.write(config)
        return self.ctl(daemon, "reload")

    def reload(self, daemon, config):
        done = self.write_and_reload(daemon, config)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def refused(self, daemon, config):
        done = self.write_and_reload(daemon, config)
        self.assertEqual(done.returncode, 1, done.stdout)
        return done.stderr

    def session(self, daemon, name):
        return next(s for s in daemon.stats()["sessions"] if s["name"] == name)


class Reload(ReloadCase):
    def test_rates_shares_and_quotas_of_a_vm_that_is_served(self):
        daemon = self.daemon("[vm a]\nqps=1\n")
        a, b = self.guest(daemon, name=b"a"), self.guest(daemon, name=b"b")
        h = a.world()
        page = a.alloc(GRANULE)
        self.reload(daemon, "[quota]\npds=7\n[vm a]\npds=1\nshare=200\nrate=1M\nmessage-rate=50\n")
        wait_for(lambda: self.session(daemon, "a")["share"] == 200, "the new share")
        wait_for(lambda: self.session(daemon, "b")["quota"]["pds"] == 7, "the new quota of the other")
        session = self.session(daemon, "a")
        self.assertEqual((session["rate"], session["message_rate"]), (1 << 20, 50))
        self.assertEqual(session["quota"]["pds"], 1)
        # What is there stays; more there is not.
        self.assertEqual(session["pds"], 1)
        self.assertEqual(a.command(ALLOC_PD, struct.pack("<II", h["context"], 0))[0], ST_QUOTA)
        self.reload(daemon, "[vm a]\npds=2\n")
        wait_for(lambda: self.session(daemon, "a")["share"] == 100, "the old share")
        self.assertEqual(a.command(ALLOC_PD, struct.pack("<II", h["context"], 0))[0], ST_OK)
        self.assertEqual(self.session(daemon, "a")["rate"], 0)
        # Neither session has ended.
        self.assertEqual([s["state"] for s in daemon.stats()["sessions"]], ["enabled"] * 2)
        self.assertTrue(page)
        b.world()

    def test_addresses(self):
        daemon = self.daemon("[vm a]\naddresses=10.0.0.1\n")
        a = self.guest(daemon, name=b"a")
        b = self.guest(daemon, name=b"b")
        want = gid_payload(v4(10, 0, 0, 2), index=1)
        self.assertEqual(a.command(ADD_GID, want)[0], ST_DENIED)
        self.reload(daemon, "[vm a]\naddresses=10.0.0.1, 10.0.0.2\nshare=300\n")
        wait_for(lambda: self.session(daemon, "a")["share"] == 300, "the new settings")
        # It is a's from now on, also while a has not got it.
        self.assertEqual(b.command(ADD_GID, want)[0], ST_DENIED)
        self.assertEqual(a.command(ADD_GID, want)[0], ST_OK)

    def test_a_vm_stays_in_its_network_until_it_connects_again(self):
        reserved = "[vm b]\nnetwork=blue\naddresses=10.0.0.9\n"
        daemon = self.daemon(reserved)
        a = Guest(daemon, name=b"a")
        self.reload(daemon, reserved + "[vm a]\nnetwork=blue\nshare=200\n")
        wait_for(lambda: self.session(daemon, "a")["share"] == 200, "the new share")
        self.assertEqual(self.session(daemon, "a")["network"], "default")
        # What is kept for a VM of another network is free in this one.
        self.assertEqual(a.command(ADD_GID, gid_payload(v4(10, 0, 0, 9)))[0], ST_OK)
        a.close()
        again = self.guest(daemon, name=b"a")
        self.assertEqual(self.session(daemon, "a")["network"], "blue")
        self.assertEqual(again.command(ADD_GID, gid_payload(v4(10, 0, 0, 9)))[0], ST_DENIED)

    def test_a_vm_that_is_new(self):
        daemon = self.daemon("[vm a]\n", "--unlisted-vms", "false")
        self.assertEqual(self.qemu(daemon, name=b"b").refused, EACCES)
        self.reload(daemon, "[vm a]\n[vm b]\n")
        self.assertEqual(self.qemu(daemon, name=b"b").refused, 0)

    def test_sockets_come_and_go(self):
        daemon = self.daemon()
        first, second = (os.path.join(daemon.folder.name, name) for name in "ab")
        self.reload(daemon, "[vm a]\nsocket=%s\n" % first)
        session = self.guest(daemon, path=first)
        self.reload(daemon, "[vm a]\nsocket=%s\nsocket-mode=600\n[vm b]\nsocket=%s\n" % (first, second))
        self.assertEqual(stat.S_IMODE(os.stat(first).st_mode), 0o600)
        self.assertEqual(self.qemu(daemon, path=second).refused, 0)
        self.reload(daemon, "[vm b]\nsocket=%s\n" % second)
        self.assertFalse(os.path.exists(first))
        self.assertTrue(os.path.exists(second))
        # Who is served is served on.
        session.world()
        self.assertIn("would not be served any more", daemon.log())

    def test_a_fault_is_refused_as_a_whole_with_its_line(self):
        daemon = self.daemon("[vm a]\nshare=50\n")
        self.guest(daemon, name=b"a")
        for config, words in (("[vm a]\nshare=60\n\n[vm b]\nshare=much\n", ("line 5", "[vm b]", "share", "much")),
                              ("[vm a]\nshare=60\n[vmm b]\n", ("line 3", "[vmm b]")),
                              ("[vm a]\nshare=60\n[pvhcad]\nno-such=1\n", ("line 4", "no-such")),
                              ("[vm a]\nshare=60\nrubbish\n", ("rubbish",)),
                              ("[vm a]\nshare=60\nsocket=/proc/none/x\n", ("/proc/none/x",))):
            with self.subTest(config):
                told = self.refused(daemon, config)
                for word in (*words, "nothing is changed"):
                    self.assertIn(word, told)
                self.assertEqual(self.session(daemon, "a")["share"], 50)
        os.unlink(daemon.config)
        self.assertEqual(self.ctl(daemon, "reload").returncode, 1)
        self.assertTrue(daemon.alive())

    def test_what_waits_for_the_next_start_is_named(self):
        daemon = self.daemon("[pvhcad]\nworkers=1\n")
        told = self.reload(daemon, "[pvhcad]\nworkers=3\nlog-level=debug\nmax-sessions=9\n")
        self.assertIn("not before the next start: workers", told)
        self.assertNotIn("max-sessions", told)

    def test_the_command_line_wins_again(self):
        daemon = self.daemon("", "--quota", "qps=3")
        self.guest(daemon, name=b"a")
        self.reload(daemon, "[quota]\nqps=5\nshare=70\n")
        wait_for(lambda: self.session(daemon, "a")["share"] == 70, "the new share")
        self.assertEqual(self.session(daemon, "a")["quota"]["qps"], 3)

    def test_sighup_does_the_same(self):
        daemon = self.daemon("")
        self.guest(daemon, name=b"a")
        with open(daemon.config, "w") as f:
            f.write("[vm a]\nshare=42\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.session(daemon, "a")["share"] == 42, "the new share")
        self.assertIn("the settings are read again", daemon.log())

    def test_many_times_while_a_guest_works(self):
        daemon = self.daemon("")
        guest = self.guest(daemon, name=b"a")
        for i in range(30):
            self.reload(daemon, "[vm a]\nshare=%d\n" % (i + 1))
            guest.world()
        wait_for(lambda: self.session(daemon, "a")["share"] == 30, "the last share")


class Evict(ReloadCase):
    def test_by_name_uuid_and_number(self):
        daemon = self.daemon()
        uuid = bytes(range(16))
        for kwargs, text in ((dict(name=b"a"), "a"), (dict(name=b"b", uuid=uuid), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
                             (dict(name=b"c"), None)):
            other = Guest(daemon, name=b"other")
            guest = self.guest(daemon, **kwargs)
            number = self.session(daemon, kwargs["name"].decode())["id"]
            done = self.ctl(daemon, "evict", text or str(number))
            self.assertEqual((done.returncode, done.stdout), (0, "1 session\n"), done.stderr)
            self.assertTrue(guest.qemu.is_closed())
            other.world()
            other.close()
            wait_for(lambda: not daemon.totals()["sessions"], "sessions to end")

    def test_nobody(self):
        daemon = self.daemon()
        self.assertEqual(self.ctl(daemon, "evict", "nobody").returncode, 5)
        self.assertEqual(self.ctl(daemon, "evict").returncode, 2)

    def test_who_is_not_to_be_served_stays_away(self):
        daemon = self.daemon()
        guest = self.guest(daemon, name=b"evil")
        self.reload(daemon, "[vm evil]\nserve=false\n")
        guest.world()
        self.assertEqual(self.ctl(daemon, "evict", "evil").returncode, 0)
        self.assertTrue(guest.qemu.is_closed())
        refused = self.qemu(daemon, name=b"evil")
        self.assertEqual(refused.refused, EACCES)
        self.assertIn("serve=false", refused.reason)


class Requests(ReloadCase):
    def ask(self, daemon, data):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE)
            s.connect(daemon.socket + ".ctl")
            s.sendall(data)
            answer = b""
            while not answer.endswith(b"\n"):
                piece = s.recv(4096)
                if not piece:
                    break
                answer += piece
        return answer

    def test_only_for_its_own_account(self):
        daemon = self.daemon("", "--socket-mode", "666", "--stats-mode", "666")
        self.assertEqual(stat.S_IMODE(os.stat(daemon.socket + ".ctl").st_mode), 0o600)

    def test_wrong_ones(self):
        daemon = self.daemon()
        for data in (b"\n", b"evict\n", b"evict \n", b"reload now\n", b"x" * 256, b"\0\n"):
            with self.subTest(data):
                self.assertTrue(self.ask(daemon, data).startswith(b"error "), data)
        self.assertEqual(self.ask(daemon, b"evict nobody\n"), b"none\n")

    def test_those_who_say_nothing_keep_nobody_away_for_ever(self):
        daemon = self.daemon()
        silent = [socket.socket(socket.AF_UNIX) for _ in range(40)]
        for s in silent:
            s.connect(daemon.socket + ".ctl")
        self.guest(daemon).world()
        for s in silent:
            s.close()
        wait_for(lambda: self.ctl(daemon, "reload").returncode == 0, "a place")


if __name__ == "__main__":
    unittest.main()
