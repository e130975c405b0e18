# SPDX-License-Identifier: GPL-2.0-or-later
"""What pvhcad gives up when it is started."""
import os
import pwd
import stat
import unittest

from pvhca import *

PROGRAM = os.environ["PVHCAD"]


@unittest.skipIf("asan" in PROGRAM, "a sanitized pvhcad gives up nothing")
class GivenUp(unittest.TestCase):
    def daemon(self, *options, **kwargs):
        daemon = Daemon(*options, **kwargs)
        self.addCleanup(daemon.clean_up)
        return daemon

    def threads(self, daemon):
        """/proc/PID/status of each."""
        tasks = "/proc/%d/task" % daemon.process.pid
        for task in os.listdir(tasks):
            with open("%s/%s/status" % (tasks, task)) as f:
                yield dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)

    def served(self, daemon):
        guest = Guest(daemon)
        guest.world()
        self.addCleanup(guest.close)
        return guest

    def test_all_threads_are_without_rights_and_behind_the_filter(self):
        daemon = self.daemon("--workers", "2")
        self.served(daemon)
        threads = list(self.threads(daemon))
        self.assertGreater(len(threads), 3)
        for thread in threads:
            for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                self.assertEqual(int(thread[name], 16), 0, thread["Name"])
            self.assertEqual(thread["NoNewPrivs"], "1", thread["Name"])
            self.assertEqual(thread["Seccomp"], "2", thread["Name"])

    @unittest.skipIf(os.geteuid(), "needs root")
    def test_root_becomes_a_user_of_its_own(self):
        daemon = self.daemon()
        for thread in self.threads(daemon):
            self.assertEqual(set(thread["Uid"].split()), {str(daemon_user())}, thread["Name"])
        st = os.stat(daemon.socket)
        self.assertEqual(st.st_uid, daemon_user())

    @unittest.skipIf(os.geteuid(), "needs root")
    def test_or_the_one_that_is_named(self):
        user = pwd.getpwnam("daemon")
        daemon = self.daemon("--user", "daemon")
        self.served(daemon)
        for thread in self.threads(daemon):
            self.assertEqual(set(thread["Uid"].split()), {str(user.pw_uid)})
            self.assertEqual(set(thread["Gid"].split()), {str(user.pw_gid)})

    @unittest.skipIf(os.geteuid(), "needs root")
    def test_a_folder_that_it_makes_is_its_own(self):
        with tempfile.TemporaryDirectory(prefix="pvhca-") as folder:
            os.chmod(folder, 0o755)
            path = os.path.join(folder, "made", "a")
            daemon = self.daemon(config="[vm a]\nsocket=%s\n" % path)
            self.assertEqual(os.stat(os.path.dirname(path)).st_uid, daemon_user())
            self.assertTrue(stat.S_ISSOCK(os.stat(path).st_mode))
            self.assertEqual(daemon.stop(), 0)
            self.assertFalse(os.path.exists(path))

    def test_a_user_that_is_none_is_refused(self):
        daemon = self.daemon("--user", "no-such-user")
        self.assertEqual(daemon.process.wait(PATIENCE), 2)
        self.assertIn("no-such-user", daemon.log())

    def test_the_filter_can_be_left_out(self):
        daemon = self.daemon("--sandbox", "false")
        self.served(daemon)
        for thread in self.threads(daemon):
            self.assertEqual(thread["Seccomp"], "0")


if __name__ == "__main__":
    unittest.main()
