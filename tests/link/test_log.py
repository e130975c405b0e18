# SPDX-License-Identifier: GPL-2.0-or-later
"""Nobody can make pvhcad log without limit: lines are counted."""
import time
import unittest

from pvhca import (ENABLE_REPLY, Daemon, Guest, Peer, Qemu, enable, wait_for)

# As in hostd/lib/log.h.
BURST, PACE_SECONDS = 32, 2
ROUNDS = 400


class Log(unittest.TestCase):
    def daemon(self, log_level="message", *options, config=None):
        daemon = Daemon(*options, log_level=log_level, config=config)
        self.addCleanup(daemon.clean_up)
        self.begin = time.monotonic()
        return daemon

    def most(self, sources=1):
        """Lines that so many sources can cause from daemon() to now."""
        return sources * (BURST + (time.monotonic() - self.begin) / PACE_SECONDS + 1)

    def lines(self, daemon):
        return daemon.log().splitlines()

    def flood(self, guest, rounds=ROUNDS):
        """A guest's registers: ENABLE with a bad address, RESET."""
        for _ in range(rounds):
            guest.qemu.ident += 1
            guest.qemu.send(enable(guest.qemu.ident, 4097))
            guest.qemu.reply(ENABLE_REPLY)
            guest.qemu.reset()

    def guest(self, daemon, **kwargs):
        guest = Guest(daemon, bring_up=False, **kwargs)
        self.addCleanup(guest.close)
        guest.prepare()
        return guest

    def test_a_guest_that_enables_and_resets(self):
        for level in ("message", "debug"):
            with self.subTest(level):
                daemon = self.daemon(level)
                guest = self.guest(daemon, name=b"evil")
                self.flood(guest)
                # Its socket's lines and its own, details apart.
                self.assertLess(len(self.lines(daemon)), self.most(4))
                session, = daemon.stats()["sessions"]
                self.assertGreater(session["log_lines_dropped"], ROUNDS / 2)
                self.assertIn("more lines like these are left out", daemon.log())

    def test_connections_that_say_nothing_right(self):
        daemon = self.daemon()
        for _ in range(ROUNDS):
            peer = Peer(daemon)
            peer.send(bytes(16))
            self.assertTrue(peer.is_closed())
            peer.close()
        self.assertLess(len(self.lines(daemon)), self.most())
        self.assertIn("more lines like these are left out", daemon.log())

    def test_sessions_that_come_and_go_have_no_more_lines_than_one(self):
        daemon = self.daemon()
        for _ in range(ROUNDS):
            Qemu(daemon, name=b"evil").close()
        wait_for(lambda: not daemon.totals()["sessions"], "sessions to end")
        # Of the socket: each session begins with what it can spare, and a moment's more.
        self.assertLess(len(self.lines(daemon)), self.most(2))

    def test_refusals_in_all_names(self):
        daemon = self.daemon("message", "--unlisted-vms", "false")
        for i in range(ROUNDS):
            Qemu(daemon, name=b"vm%d" % i).close()
        self.assertLess(len(self.lines(daemon)), self.most())

    def test_what_another_vm_does_is_logged_all_the_same(self):
        daemon = self.daemon()
        other = self.guest(daemon, name=b"other")
        self.flood(self.guest(daemon, name=b"evil"))
        other.qemu.ident += 1
        other.qemu.send(enable(other.qemu.ident, 4097))
        other.qemu.reply(ENABLE_REPLY)
        self.assertIn("VM other: device not enabled", daemon.log())

    def test_the_first_line_afterwards_tells_how_many_were_left_out(self):
        daemon = self.daemon()
        guest = self.guest(daemon, name=b"evil")
        self.flood(guest, 60)

        def told():
            self.flood(guest, 1)
            return "lines before this one were left out)" in daemon.log()
        wait_for(told, "a line that tells of the others")


if __name__ == "__main__":
    unittest.main()
