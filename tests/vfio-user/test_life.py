# SPDX-License-Identifier: GPL-2.0-or-later
"""Start and end, monitors and pvhcads that come and go, time limits, and what the process may not do."""

import errno
import os
import stat
import struct
import threading
import unittest

from monitor import *
from rig import ENABLE, ENABLE_REPLY, ERR_ADMIN_AREA, EVENT_ADMIN_DB, EVENT_DATA_DB, EVENT_VECTOR, FAILED, HELLO, \
    LINK, ENABLED, MEM_ADD, RESET, RESET_REPLY, RESETTING

PAGE = 4096


def enable(case, server, client):
    client.set_reg(0x10, 0x345000)
    client.set_reg(0x14, 1)
    client.set_reg(0x0C, 2)
    kind, payload, _ = server.hostd.receive()
    ident, gpa = struct.unpack("=QQ", payload)
    case.assertEqual((kind, gpa), (ENABLE, 0x100345000))
    server.hostd.reply(ENABLE_REPLY, ident)
    case.until_status(client, LINK | ENABLED)


class Log(Case):
    def test_monitors_cannot_fill_it(self):
        server = self.server()
        for _ in range(200):
            with socket.socket(socket.AF_UNIX) as monitor:
                monitor.connect(server.socket)
                # No command: the connection ends.
                monitor.sendall(struct.pack("=HHIII", 1, 1, 16, 1, 0))
                monitor.settimeout(PATIENCE)
                try:
                    monitor.recv(1)
                except ConnectionResetError:
                    pass
        lines = server.output().splitlines()
        # 32 at once, one in 2 seconds; a machine that is slow has some more.
        self.assertLess(len(lines), 150)
        self.assertTrue(any("more lines are left out" in line for line in lines), lines[-3:])


class Session(Case):
    def test_hello_says_who_we_are(self):
        server = self.server("--vectors", "5", "--doorbells", "9", "--name", "vm1", "--mac", "52:54:00:01:02:03",
                             "--uuid", "00112233-4455-6677-8899-aabbccddeeff")
        with Client(server):
            hello = struct.unpack("=HHIIIQ16s64s32s6s10s", server.hostd.greet())
            self.assertEqual(hello[:6], (1, 1, 5, 9, 0, 0))
            self.assertEqual(hello[6].hex(), "00112233445566778899aabbccddeeff")
            self.assertEqual(hello[7], b"vm1".ljust(64, b"\0"))
            self.assertIn(b" vfio-user", hello[8])
            self.assertEqual(hello[9], bytes.fromhex("525400010203"))
            self.assertEqual(set(server.hostd.events), {(EVENT_ADMIN_DB, 0)} | {(EVENT_DATA_DB, i) for i in range(9)} |
                             {(EVENT_VECTOR, i) for i in range(1, 5)})

    def test_hello_asks_for_pairing(self):
        server = self.server("--mac", "52:54:00:01:02:03", "--pair")
        with Client(server):
            server.hostd.accept()
            self.assertEqual(struct.unpack_from("=Q", server.hostd.receive()[1], 16)[0], 1)

    def test_there_is_no_session_without_a_monitor(self):
        server = self.server()
        server.hostd.listener.settimeout(0.5)
        with self.assertRaises(socket.timeout):
            server.hostd.listener.accept()

    def test_device_is_enabled_and_reset(self):
        server, client = self.linked()
        enable(self, server, client)
        client.set_reg(0x0C, 1)
        self.assertEqual(client.reg(0x08), LINK | RESETTING)
        kind, payload, _ = server.hostd.receive()
        self.assertEqual(kind, RESET)
        server.hostd.reply(RESET_REPLY, struct.unpack("=Q", payload)[0])
        self.until_status(client, LINK)

    def test_reset_of_the_machine_is_one_of_the_device(self):
        server, client = self.linked()
        enable(self, server, client)
        client.call(DEVICE_RESET)
        self.assertEqual((client.reg(0x08), client.reg(0x10)), (LINK | RESETTING, 0))
        kind, payload, _ = server.hostd.receive()
        self.assertEqual(kind, RESET)
        server.hostd.reply(RESET_REPLY, struct.unpack("=Q", payload)[0])
        self.until_status(client, LINK)
        enable(self, server, client)

    def test_pvhcad_that_is_restarted_is_found_again_under_the_guest(self):
        server, client = self.linked()
        ram = memory(PAGE)
        client.map(0, PAGE, ram)
        enable_generation = client.reg(0x24)
        server.stop_hostd()
        self.until_status(client, 0)
        server.start_hostd()
        server.hostd.greet()
        self.until_status(client, LINK)
        self.assertEqual(client.reg(0x24), enable_generation + 1)
        self.assertIn(0, server.hostd.memory)
        os.close(ram)

    def test_absence_of_pvhcad_is_told_once(self):
        server, client = self.connected(hostd=False)
        time.sleep(1)
        self.assertEqual(client.reg(0x08), 0)
        self.assertEqual(server.output().count("pvhcad cannot be reached at"), 1)
        server.start_hostd()
        server.hostd.greet()
        self.until_status(client, LINK)

    def test_pvhcad_of_another_version_is_told_and_shown(self):
        server, client = self.connected()
        server.hostd.accept()
        self.assertEqual(server.hostd.receive()[0], HELLO)
        server.hostd.send(0x81, Hostd.hello_reply(major=2, version=b"hostd 2.0"))
        self.until_status(client, FAILED)
        self.assertIn("pvhcad hostd 2.0 speaks version 2.0 of the link, this pvhca-vfio-user 1.1", server.output())

    def test_descriptor_of_pvhcads_ends_the_session_and_is_closed(self):
        server, client = self.linked()
        before = server.descriptors()
        with open("/dev/null") as null:
            server.hostd.send(RESET_REPLY, bytes(16), fds=[null.fileno()])
        self.until_status(client, 0)
        server.hostd.greet()
        self.until_status(client, LINK)
        self.descriptors_stay(server, before)

    def test_noise_of_pvhcads_ends_only_the_session(self):
        server, client = self.linked()
        for _ in range(3):
            server.hostd.sock.sendall(os.urandom(1000))
            self.until_status(client, 0)
            server.hostd.greet()
            self.until_status(client, LINK)


class Time(Case):
    """A vCPU waits for each reply. A server that waits for somebody is slow each time, a loaded machine at times."""

    def is_in_time(self, scenario):
        slowest = []
        for _ in range(3):
            server = self.server()
            with Client(server) as client:
                scenario(server, client)
                slowest.append(client.slowest)
            if slowest[-1] < REPLY_SECONDS:
                return
        self.fail(f"slowest replies, in seconds: {slowest}")

    def test_pvhcad_that_does_not_answer_keeps_no_reply_waiting(self):
        def scenario(_, client):        # pvhcad does not even accept
            ram = memory(PAGE)
            for i in range(300):
                client.map(2 * i * PAGE, PAGE, ram)
                client.reg(0x08)
            client.set_reg(0x0C, 2)
            client.call(DEVICE_RESET)
            os.close(ram)

        self.is_in_time(scenario)

    def test_pvhcad_that_does_not_read_keeps_no_reply_waiting(self):
        def scenario(server, client):
            server.hostd.greet()
            self.until_status(client, LINK)
            ram, before = memory(PAGE), server.descriptors()
            for _ in range(3000):
                client.map(0, PAGE, ram)
                client.unmap(0, PAGE)
            self.assertIn("pvhcad does not read, disconnecting", server.output())
            server.hostd.hang_up()
            server.hostd.greet()
            self.until_status(client, LINK)
            self.descriptors_stay(server, before)
            os.close(ram)

        self.is_in_time(scenario)

    def test_storm_of_interrupts_keeps_no_reply_waiting(self):
        def scenario(server, client):
            server.hostd.greet()
            self.until_status(client, LINK)
            fd, stop = eventfd(), threading.Event()
            client.set_irqs(EVENTFD | TRIGGER, 1, 1, [fd])

            def storm():
                while not stop.is_set():
                    os.write(server.hostd.events[EVENT_VECTOR, 1], struct.pack("=Q", 1))

            thread = threading.Thread(target=storm)
            thread.start()
            for _ in range(200):
                client.reg(0x08)
            stop.set()
            thread.join()
            self.assertTrue(rung(fd))
            os.close(fd)

        self.is_in_time(scenario)


class Monitors(Case):
    def test_second_monitor_is_turned_away(self):
        server, client = self.connected()
        for _ in range(3):
            with Client(server, greet=False) as other:
                self.assertTrue(other.gone())
        self.assertIn("a second monitor was turned away", server.output())
        self.still_works(client)

    def test_monitor_that_goes_ends_the_session_and_the_next_finds_a_new_device(self):
        server, client = self.linked()
        before = server.descriptors()
        enable(self, server, client)
        client.write(CONFIG, 0x10, b"\xff" * 4)
        client.close()
        with self.assertRaises((Gone, ConnectionResetError)):
            server.hostd.receive()
        for _ in range(20):
            with Client(server) as again:
                server.hostd.greet()
                self.until_status(again, LINK)
                self.assertEqual((again.reg(0x10), again.read(CONFIG, 0x10)), (0, bytes(4)))
                enable(self, server, again)
        with Client(server):
            server.hostd.greet()
            self.descriptors_stay(server, before)

    def test_monitor_may_go_at_any_moment(self):
        server = self.server()
        data = struct.pack("=HHIII", 1, VERSION, 20, 0, 0) + bytes(4) + \
            struct.pack("=HHIII", 2, REGION_READ, 32, 0, 0) + struct.pack("=QII", 0, REGS, 4)
        for size in range(len(data) + 1):
            with Client(server, greet=False) as client:
                client.sock.sendall(data[:size])
        with Client(server) as client:
            self.still_works(client)


class Start(unittest.TestCase):
    def refuses(self, text, *options):
        with self.assertRaises(RuntimeError) as caught:
            Server(*options).close()
        self.assertIn(text, str(caught.exception))

    def test_settings_are_checked(self):
        self.refuses("'vectors' must be between 3 and 66", "--vectors", "2")
        self.refuses("'vectors' must be between 3 and 66", "--vectors", "67")
        self.refuses("'vectors' must be between 3 and 66", "--vectors", "-1")
        self.refuses("'doorbells' must be between 1 and 64", "--doorbells", "0")
        self.refuses("'doorbells' must be between 1 and 64", "--doorbells", "65")
        self.refuses("'mac' must be a unicast address", "--mac", "01:00:00:00:00:01")
        for mac in ("", "52:54:00:12:34", "52:54:00:12:34:5", "52:54:00:12:34:56:78", "52-54-00-12-34-56",
                    "525400:12:34:5600", "g2:54:00:12:34:56"):
            self.refuses("'mac' must be like", "--mac", mac)
        for uuid in ("", "00112233", "00112233445566778899aabbccddeeff", "g0112233-4455-6677-8899-aabbccddeeff"):
            self.refuses("'uuid' must be like", "--uuid", uuid)
        self.refuses("'name' must be shorter", "--name", "x" * 64)
        self.refuses("'socket-mode' must be octal", "--socket-mode", "0999")
        self.refuses("unexpected argument", "more")
        self.refuses("--user nobody-at-all", "--user", "nobody-at-all")
        self.refuses("--user root", "--user", "root")

    def test_socket_that_is_in_use_is_not_taken(self):
        server = Server()
        self.refuses("cannot listen", "--socket", server.socket)
        Client(server).close()
        self.assertEqual(server.close(), 0)

    def test_stale_socket_is_replaced_and_removed_at_the_end(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o777)
            path = f"{folder}/vm.sock"
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(path)
            os.chown(path, NOBODY, NOBODY)
            os.chmod(path, 0o666)
            server = Server("--socket", path, "--socket-mode", "0640")
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o640)
            self.assertEqual(server.close(), 0)
            self.assertFalse(os.path.exists(path))

    def test_root_is_refused(self):
        if os.geteuid():
            self.skipTest("not root")
        done = subprocess.run([PROGRAM, "--socket", "/nonexistent", "--link", "/nonexistent"], capture_output=True,
                              text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("this needs no rights of root", done.stderr)

    def test_root_becomes_another(self):
        if os.geteuid():
            self.skipTest("not root")
        with tempfile.TemporaryDirectory() as folder:
            process = subprocess.Popen([PROGRAM, "--socket", f"{folder}/a", "--link", f"{folder}/b", "--user",
                                        "nobody"], stderr=subprocess.PIPE)
            line = process.stderr.readline().decode()
            if "mount view" in line:
                line = process.stderr.readline().decode()
            self.assertIn("waiting", line)
            if not SANITIZED:
                self.assertEqual(status_of(process.pid)["Uid"].split(), [str(NOBODY)] * 4)
                self.assertEqual(status_of(process.pid)["Gid"].split(), [str(NOBODY)] * 4)
                self.assertEqual(status_of(process.pid)["Groups"].split(), [])
            process.terminate()
            self.assertEqual(process.wait(PATIENCE), 0)
            process.stderr.close()


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


@unittest.skipIf(SANITIZED, "the sanitizers need more than the filter allows")
class Sandbox(Case):
    def test_process_has_no_rights_and_can_have_none(self):
        server, client = self.connected()
        status = status_of(server.process.pid)
        self.assertEqual(status["NoNewPrivs"].strip(), "1")
        self.assertEqual(status["Seccomp"].strip(), "2")
        for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            self.assertEqual(int(status[kind], 16), 0, kind)
        self.still_works(client)

    def test_process_sees_nothing_but_the_directory_of_pvhcads_socket(self):
        server = self.server()
        if "no mount view" in server.output():
            self.skipTest("not permitted here")
        root = f"/proc/{server.process.pid}/root"
        self.assertEqual(os.listdir(root), ["link"])
        self.assertIn("hostd", os.listdir(root + "/link"))
        for kind in ("mnt", "net", "ipc"):
            self.assertNotEqual(os.readlink(f"/proc/{server.process.pid}/ns/{kind}"),
                                os.readlink(f"/proc/self/ns/{kind}"))

    def test_whole_session_stays_within_the_filter(self):
        """Everything that makes a system call: memory, interrupts, doorbells, errors, pvhcads and monitors going."""
        server, client = self.linked()
        ram, fd = memory(PAGE), eventfd()
        client.map(0, PAGE, ram)
        client.set_irqs(EVENTFD | TRIGGER, 1, 1, [fd])
        os.write(server.hostd.events[EVENT_VECTOR, 1], struct.pack("=Q", 1))
        self.assertTrue(rung(fd))
        client.write(DOORBELL, 0, bytes(4))
        server.hostd.settle()
        enable(self, server, client)
        client.read(MSIX, PBA, 8)
        client.unmap(0, PAGE)
        server.stop_hostd()
        self.until_status(client, 0)
        server.start_hostd()
        server.hostd.greet()
        self.refuses(errno.EINVAL, client.greet)
        client.close()
        for _ in range(3):
            with Client(server):
                pass
        os.close(ram)
        os.close(fd)


if __name__ == "__main__":
    unittest.main()
