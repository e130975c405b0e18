# SPDX-License-Identifier: GPL-2.0-or-later
"""Which VM a connection is, which addresses are whose, and who may connect where."""
import os
import stat
import unittest

from pvhca import *

EACCES, EBUSY = 13, 16
NOBODY = 65534
UUID = bytes(range(16))
OTHER_UUID = bytes(range(1, 17))
UUID_TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"
MAC = bytes.fromhex("020000000005")


def link_local(mac):
    return b"\xfe\x80" + bytes(6) + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]


def as_user(uid, function):
    """What function returns, a number, in a process of this user."""
    pid = os.fork()
    if not pid:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            os._exit(function())
        except PermissionError:
            os._exit(EACCES)
        finally:
            os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class IdentityCase(unittest.TestCase):
    def daemon(self, config="", *options, **kwargs):
        """%s in the settings: its folder."""
        daemon = Daemon(*options, config=config, **kwargs)
        self.addCleanup(daemon.clean_up)
        self.assertTrue(daemon.alive(), daemon.log())
        return daemon

    def qemu(self, daemon, **kwargs):
        qemu = Qemu(daemon, **kwargs)
        self.addCleanup(qemu.close)
        return qemu

    def guest(self, daemon, **kwargs):
        guest = Guest(daemon, **kwargs)
        self.addCleanup(guest.close)
        return guest


class Once(IdentityCase):
    def test_a_name_and_a_uuid_are_served_once(self):
        daemon = self.daemon()
        self.assertFalse(self.qemu(daemon, name=b"a", uuid=UUID).refused)
        for kwargs in (dict(name=b"a"), dict(name=b"a", uuid=OTHER_UUID), dict(name=b"b", uuid=UUID),
                       dict(name=b"", uuid=UUID)):
            refused = self.qemu(daemon, **kwargs)
            self.assertEqual(refused.refused, EBUSY, kwargs)
            self.assertIn("session 1", refused.reason)
        self.assertFalse(self.qemu(daemon, name=b"b", uuid=OTHER_UUID).refused)
        # A name that is only told apart by what logs do not show.
        self.qemu(daemon, name=b"x\x01")
        self.assertEqual(self.qemu(daemon, name=b"x\x02").refused, EBUSY)

    def test_refusals_are_logged_within_a_limit(self):
        daemon = self.daemon()
        self.qemu(daemon, name=b"a")
        for _ in range(50):
            self.qemu(daemon, name=b"a").close()
        told = daemon.log().count(": refused: ")
        self.assertGreater(told, 0)
        self.assertLess(told, 25)

    def test_quotas_are_not_doubled_by_one_who_comes_again(self):
        """Its former session is not at its end when the next one is let in."""
        daemon = self.daemon("[quota]\nqps=1\n")
        for _ in range(30):
            guest = Guest(daemon, name=b"a")
            guest.world()
            self.assertLessEqual(daemon.totals()["qps"], 1)
            guest.close()

    def test_adapters_say_how_many(self):
        daemon = self.daemon("[vm a]\nadapters=2\n")
        self.assertFalse(self.qemu(daemon, name=b"a").refused)
        second = self.qemu(daemon, name=b"a")
        self.assertFalse(second.refused)
        self.assertEqual(self.qemu(daemon, name=b"a").refused, EBUSY)
        second.close()
        self.assertFalse(self.qemu(daemon, name=b"a").refused)

    def test_vms_without_name_and_uuid_are_different_ones(self):
        daemon = self.daemon()
        for _ in range(3):
            self.assertFalse(self.qemu(daemon, name=b"").refused)

    def test_a_qemu_that_waits_for_its_former_session_may_not_go_on(self):
        daemon = self.daemon()
        self.qemu(daemon, name=b"a")
        peer = Peer(daemon)
        self.addCleanup(peer.close)
        peer.send(hello(name=b"a") * 2)
        self.assertEqual(peer.receive()[0], HELLO_REPLY)
        self.assertTrue(peer.is_closed())


class OwnSocket(IdentityCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="pvhca-own-")
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        self.folder = folder.name
        self.path = os.path.join(folder.name, "a")
        give_to_daemon(folder.name)

    def daemon(self, config, *options, **kwargs):
        return super().daemon(config % {"path": self.path}, *options, **kwargs)

    def test_whoever_comes_by_it_is_that_vm(self):
        daemon = self.daemon("[vm a]\nsocket=%(path)s\nqps=3\n[vm b]\nqps=4\n")
        self.assertFalse(self.qemu(daemon, path=self.path, name=b"b", uuid=UUID).refused)
        session, = daemon.stats()["sessions"]
        self.assertEqual((session["name"], session["uuid"], session["quota"]["qps"]), ("a", "", 3))
        # What it said of itself keeps nobody else out.
        self.assertFalse(self.qemu(daemon, name=b"b", uuid=UUID).refused)
        self.assertEqual(self.qemu(daemon, path=self.path, name=b"c").refused, EBUSY)

    def test_the_vm_of_a_uuid(self):
        daemon = self.daemon("[vm " + UUID_TEXT.upper() + "]\nsocket=%(path)s\n")
        self.assertFalse(self.qemu(daemon, path=self.path, name=b"b").refused)
        session, = daemon.stats()["sessions"]
        self.assertEqual((session["name"], session["uuid"]), (UUID_TEXT, UUID_TEXT))

    def test_nobody_is_that_vm_by_the_socket_for_all(self):
        daemon = self.daemon("[vm a]\nsocket=%(path)s\n[vm " + UUID_TEXT + "]\n"
                             "socket=%(path)s.2\n[vm b]\n")
        for kwargs in (dict(name=b"a"), dict(name=b"b", uuid=UUID), dict(name=b"", uuid=UUID)):
            refused = self.qemu(daemon, **kwargs)
            self.assertEqual(refused.refused, EACCES, kwargs)
            self.assertIn("socket", refused.reason)
        self.assertFalse(self.qemu(daemon, path=self.path).refused)

    def test_access_is_as_set(self):
        self.daemon("[vm a]\nsocket=%(path)s\nsocket-mode=0640\nsocket-owner=4242\nsocket-group=4343\n")
        st = os.stat(self.path)
        self.assertEqual((stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid), (0o640, 4242, 4343))

    def test_it_goes_with_the_daemon(self):
        daemon = self.daemon("[vm a]\nsocket=%(path)s\n")
        self.assertEqual(daemon.stop(), 0)
        self.assertFalse(os.path.exists(self.path))

    def test_where_nothing_can_listen_the_daemon_does_not_start(self):
        with open(self.path, "w"):
            pass
        daemon = Daemon(config="[vm a]\nsocket=%s\n" % self.path)
        self.addCleanup(daemon.clean_up)
        self.assertEqual(daemon.process.wait(PATIENCE), 1)
        self.assertIn(self.path, daemon.log())
        self.assertFalse(os.path.exists(daemon.socket))

    @unittest.skipIf(os.getuid(), "another user is only to be had by root")
    def test_only_the_users_that_are_set_may_come(self):
        daemon = self.daemon("[vm a]\nsocket=%(path)s\nsocket-mode=666\nuid=nobody\n"
                             "[vm b]\nuid=root\n[vm c]\n[vm 01020304-0506-0708-090a-0b0c0d0e0f10]\n", "--socket-mode", "666")
        listed = bytes(range(1, 17))
        os.chmod(daemon.folder.name, 0o755)
        for uid, kwargs, want in ((0, dict(path=self.path), EACCES), (NOBODY, dict(path=self.path), 0),
                                  (0, dict(name=b"b"), 0), (NOBODY, dict(name=b"b"), EACCES),
                                  (NOBODY, dict(name=b"c"), 0), (NOBODY, dict(name=b"any", uuid=listed), 0),
                                  # Whose settings he has is one thing, whose name another.
                                  (NOBODY, dict(name=b"b", uuid=listed), EACCES), (0, dict(name=b"b", uuid=listed), 0)):
            self.assertEqual(as_user(uid, lambda: Qemu(daemon, **kwargs).refused), want, (uid, kwargs))
            wait_for(lambda: daemon.totals()["sessions"] == 0, "the session to end")

    @unittest.skipIf(os.getuid(), "another user is only to be had by root")
    def test_statistics_are_for_others_than_qemus(self):
        daemon = self.daemon("", "--socket-mode", "666", "--stats-mode", "640", "--stats-group", "4343")
        os.chmod(daemon.folder.name, 0o755)
        st = os.stat(daemon.socket + ".stats")
        self.assertEqual((stat.S_IMODE(st.st_mode), st.st_gid), (0o640, 4343))
        self.assertEqual(as_user(NOBODY, lambda: Qemu(daemon).refused), 0)
        self.assertEqual(as_user(4242, lambda: len(daemon.stats()["sessions"])), EACCES)


class Reserved(IdentityCase):
    """What the settings give to a VM is not to be had by another, at no time."""

    CONFIG = "[vm victim]\naddresses=10.0.0.5\nmac=02:00:00:00:00:05\n"

    def add(self, guest, gid):
        return guest.command(ADD_GID, gid_payload(gid))[0]

    def test_an_address_before_its_vm_is_there(self):
        daemon = self.daemon(self.CONFIG)
        evil = self.guest(daemon, name=b"evil")
        for gid in (v4(10, 0, 0, 5), link_local(MAC)):
            self.assertEqual(self.add(evil, gid), ST_DENIED)
        victim = self.guest(daemon, name=b"victim")
        self.assertEqual(self.add(victim, v4(10, 0, 0, 5)), ST_OK)

    def test_an_address_while_its_vm_starts_anew(self):
        daemon = self.daemon(self.CONFIG)
        evil = self.guest(daemon, name=b"evil")
        victim = self.guest(daemon, name=b"victim")
        self.assertEqual(self.add(victim, v4(10, 0, 0, 5)), ST_OK)
        self.assertEqual(victim.qemu.reset(), 0)
        self.assertEqual(self.add(evil, v4(10, 0, 0, 5)), ST_DENIED)
        victim.prepare()
        self.assertEqual(victim.qemu.enable(victim.area), 0)
        self.assertEqual(self.add(victim, v4(10, 0, 0, 5)), ST_OK)

    def test_a_mac(self):
        daemon = self.daemon(self.CONFIG)
        evil = self.guest(daemon, name=b"evil", mac=MAC)
        self.assertNotIn(MAC, evil.ok(QUERY_DEVICE))
        victim = self.guest(daemon, name=b"victim")
        self.assertIn(MAC, victim.ok(QUERY_DEVICE))

    def test_the_link_local_address_of_a_vm_that_is_there(self):
        daemon = self.daemon()
        victim = self.guest(daemon, mac=b"\x02\0\0\0\0\x09")
        evil = self.guest(daemon)
        gid = link_local(b"\x02\0\0\0\0\x09")
        self.assertEqual(self.add(evil, gid), ST_IN_USE)
        self.assertEqual(self.add(victim, gid), ST_OK)


if __name__ == "__main__":
    unittest.main()
