# SPDX-License-Identifier: GPL-2.0-or-later
"""Test cases with a pvhcad that must outlive what is done to it."""
import unittest

from pvhca import Daemon, Guest, wait_for


class DaemonCase(unittest.TestCase):
    """Each test class has one daemon. After each test it must be alive, serve a
    healthy VM, and hold no descriptor, mapping or object more than before."""

    options = ()
    config = None

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(*cls.options, config=cls.config)
        try:
            # What is opened once, by the first session.
            guest = Guest(cls.daemon)
            guest.world()
            guest.close()
            cls.wait_idle()
        except Exception:
            print(cls.daemon.log()[-8000:])
            cls.daemon.clean_up()
            raise

    @classmethod
    def wait_idle(cls):
        def idle():
            totals = cls.daemon.totals()
            return not any(totals[name] for name in (
                "sessions", "contexts", "pds", "mrs", "mws", "ahs", "cqs",
                "srqs", "qps",
                "pinned_bytes", "mappings"))
        wait_for(idle, "sessions to end")

    @classmethod
    def tearDownClass(cls):
        try:
            status = cls.daemon.stop()
            log = cls.daemon.log()
            if status != 0 or "Sanitizer" in log or "runtime error" in log:
                raise AssertionError("pvhcad ended with status %d\n%s"
                                     % (status, log[-8000:]))
        finally:
            cls.daemon.clean_up()

    def setUp(self):
        self.wait_idle()
        # Cleanups run last in, first out: this one after the test's own.
        self.addCleanup(self.check_daemon, self.daemon.fds())

    def check_daemon(self, fds):
        self.assertTrue(self.daemon.alive(), self.daemon.log()[-8000:])
        # Sessions that end count towards --max-sessions until they are gone.
        self.wait_idle()
        guest = Guest(self.daemon)
        guest.world()
        guest.close()
        self.wait_idle()
        # An ended session is taken away by the main thread, a little later.
        wait_for(lambda: self.daemon.fds() <= fds, "descriptors to be closed")
        self.assertEqual(self.daemon.mappings(), 0)
