# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages as such: their order, sizes, descriptors; VERSION."""

import errno
import struct

from monitor import *

PAYLOADS = {DMA_MAP: 32, DMA_UNMAP: 24, GET_INFO: 16, GET_REGION_INFO: 32, GET_IRQ_INFO: 16, SET_IRQS: 20,
            REGION_READ: 16, REGION_WRITE: 16, DEVICE_RESET: 0}
LONGER_IS_FINE = (GET_INFO, GET_REGION_INFO, GET_IRQ_INFO)


class Version(Case):
    def test_offer_says_what_we_take(self):
        _, client = self.connected()
        self.assertEqual(client.version, (0, 0))
        self.assertEqual(client.offer, {"capabilities": {"max_msg_fds": 16, "max_data_xfer_size": 4096}})

    def test_lower_minor_is_spoken(self):
        server = self.server()
        for minor, want in ((0, 0), (1, 1), (7, 1)):
            with Client(server, greet=False) as client:
                client.greet(minor=minor)
                self.assertEqual(client.version, (0, want))

    def test_offer_is_optional_and_may_say_more(self):
        server = self.server()
        for offer in (None, {}, {"capabilities": {}}, {"other": [1]},
                      {"capabilities": {"max_dma_maps": 65535, "migration": {"pgsize": 4096}, "write_multiple": True}}):
            with Client(server, greet=False) as client:
                client.greet(offer=offer)
                self.assertEqual("max_dma_maps" in client.offer["capabilities"],
                                 offer is not None and "max_dma_maps" in offer.get("capabilities", {}))

    def test_other_major_is_refused_and_the_log_says_so(self):
        server = self.server()
        with Client(server, greet=False) as client:
            self.refuses(errno.ENOTSUP, client.greet, major=1)
            self.assertTrue(client.gone())
        self.assertIn("the monitor speaks version 1.0 of vfio-user, we 0.1", server.output())

    def test_monitor_that_passes_no_descriptors_is_told_what_to_change(self):
        server = self.server()
        with Client(server, greet=False) as client:
            client.greet(offer={"capabilities": {"max_msg_fds": 1}})
        self.assertNotIn("max_msg_fds", server.output())
        with Client(server, greet=False) as client:
            client.greet(offer={"capabilities": {"max_msg_fds": 0}})
        self.assertIn("max_msg_fds is 0", server.output())

    def test_malformed_offers_end_the_connection(self):
        server = self.server()
        for text in (b"{}", b"\0", b"{\0}\0", b"nonsense\0", b"[]\0", b"1\0", b"{\0", b"{\"a\":\xff\"}\0", b"{}\0\0",
                     b'{"capabilities":1}\0', b'{"capabilities":{"max_msg_fds":"8"}}\0',
                     b'{"capabilities":{"max_msg_fds":-1}}\0', b'{"capabilities":{"max_msg_fds":1.5}}\0',
                     b'{"capabilities":{"max_data_xfer_size":[]}}\0',
                     b"[" * 1023 + b"\0", b"{}" + b" " * 1024 + b"\0"):
            with self.subTest(text=text[:40]), Client(server, greet=False) as client:
                self.refuses(errno.EINVAL, client.call, VERSION, struct.pack("=HH", 0, 0) + text)
                self.assertTrue(client.gone())
        Client(server).close()

    def test_short_versions_end_the_connection(self):
        server = self.server()
        for size in range(4):
            with Client(server, greet=False) as client:
                self.refuses(errno.EINVAL, client.call, VERSION, bytes(size))
                self.assertTrue(client.gone())

    def test_second_version_is_refused_and_the_first_holds(self):
        _, client = self.connected()
        self.refuses(errno.EINVAL, client.greet)
        self.still_works(client)

    def test_any_other_command_before_version_ends_the_connection(self):
        server = self.server()
        for command, size in PAYLOADS.items():
            with Client(server, greet=False) as client:
                self.refuses(errno.EINVAL, client.call, command, bytes(size))
                self.assertTrue(client.gone())


class Framing(Case):
    def ends(self, act, answered=False):
        server, client = self.connected()
        before = server.descriptors()
        act(client)
        if answered:
            ident, command, flags, error, payload = client.receive()
            self.assertEqual((ident, command, flags, error, payload),
                             (client.ident, GET_INFO, REPLY | ERROR, errno.EINVAL, b""))
        self.assertTrue(client.gone())
        client.close()
        # And the next monitor is served.
        with Client(server) as again:
            self.still_works(again)
            server.until(lambda: server.descriptors() <= before, "descriptors are closed")

    def test_sizes_below_a_header(self):
        for size in (0, 1, 15):
            self.ends(lambda c: c.send(GET_INFO, bytes(16), size=size), answered=True)

    def test_sizes_beyond_the_longest_message(self):
        for size in (16 + 16 + 4096 + 1, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF):
            self.ends(lambda c: c.send(GET_INFO, bytes(16), size=size), answered=True)

    def test_reply_that_nobody_asked_for(self):
        self.ends(lambda c: c.send(GET_INFO, bytes(16), flags=REPLY), answered=True)

    def test_type_that_is_none(self):
        for kind in range(2, 16):
            with Client(self.server()) as client:
                client.send(GET_INFO, bytes(16), flags=kind)
                self.assertTrue(client.gone())

    def test_more_descriptors_than_a_message_may_have(self):
        with open("/dev/null") as null:
            self.ends(lambda c: c.send(SET_IRQS, bytes(20), fds=[null.fileno()] * (MAX_FDS + 1)))
            self.ends(lambda c: c.send(SET_IRQS, bytes(20), fds=[null.fileno()] * 253))

    def test_descriptors_spread_over_a_message_count_together(self):
        def act(client):
            with open("/dev/null") as null:
                data = struct.pack("=HHIII", 1, SET_IRQS, 36, 0, 0) + bytes(20)
                client.send_bytes(data[:16], [null.fileno()] * MAX_FDS)
                client.send_bytes(data[16:], [null.fileno()])
        self.ends(act)

    def test_message_in_single_bytes_is_put_together(self):
        _, client = self.connected()
        data = struct.pack("=HHIII", 77, REGION_READ, 32, 0, 0) + struct.pack("=QII", 0, REGS, 4)
        for byte in data:
            client.sock.sendall(bytes([byte]))
        self.assertEqual(client.receive()[0], 77)

    def test_many_messages_in_one_write_are_answered_in_order(self):
        _, client = self.connected()
        data = b"".join(struct.pack("=HHIII", i, REGION_READ, 32, 0, 0) + struct.pack("=QII", 0, REGS, 4)
                        for i in range(100))
        client.sock.sendall(data)
        self.assertEqual([client.receive()[0] for _ in range(100)], list(range(100)))

    def test_monitor_that_does_not_read_stops_only_itself(self):
        server, client = self.connected()
        data = struct.pack("=HHIII", 1, REGION_READ, 32, 0, 0) + struct.pack("=QII", 0, DOORBELL, 4096)
        client.sock.settimeout(0.5)
        sent = 0
        with self.assertRaises(socket.timeout):
            while sent < 1 << 24:
                sent += client.sock.send(data * 16)
        client.sock.settimeout(PATIENCE)
        resident = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096
        self.assertLess(resident, (1 << 30) if SANITIZED else (32 << 20))
        server.hostd.greet()
        for _ in range(sent // len(data)):
            self.assertEqual(len(client.receive()[4]), 16 + 4096)

    def test_half_a_message_does_not_keep_the_server(self):
        server, client = self.connected()
        client.sock.sendall(b"\1\0\7\0")
        server.hostd.greet()
        with Client(server, greet=False) as other:
            self.assertTrue(other.gone())
        server.hostd.hang_up()
        server.hostd.greet()
        client.close()
        with Client(server) as again:
            self.still_works(again)


class Commands(Case):
    def test_commands_that_there_are_not_are_refused(self):
        _, client = self.connected()
        for command in (0, GET_REGION_IO_FDS, DMA_READ, DMA_WRITE, DIRTY_PAGES, WRITE_MULTI, 16, 17, 18, 99, 0xFFFF):
            self.refuses(errno.ENOTSUP, client.call, command, bytes(24))
        self.still_works(client)

    def test_payloads_of_other_sizes_are_refused(self):
        _, client = self.connected()
        for command, size in PAYLOADS.items():
            for wrong in {0, 1, size - 1, size + 1, size + 8, 4096} - {size, -1}:
                if wrong > size and command in LONGER_IS_FINE:
                    continue
                with self.subTest(command=command, size=wrong):
                    self.refuses(errno.EINVAL, client.call, command, bytes(wrong))
        self.still_works(client)

    def test_descriptors_with_commands_that_take_none_are_refused_and_closed(self):
        server, client = self.connected()
        before = server.descriptors()
        with open("/dev/null") as null:
            for command in set(PAYLOADS) - {DMA_MAP, SET_IRQS}:
                self.refuses(errno.EINVAL, client.call, command, bytes(PAYLOADS[command]), [null.fileno()])
            for command in (DMA_READ, 99):
                self.refuses(errno.ENOTSUP, client.call, command, b"", [null.fileno()] * MAX_FDS)
        self.assertEqual(server.descriptors(), before)

    def test_no_reply_means_none_even_for_errors(self):
        _, client = self.connected()
        client.set_reg(0x10, 0)
        client.write(REGS, 0x10, b"\1\2\3\4", flags=NO_REPLY)
        client.send(REGION_WRITE, bytes(3), flags=NO_REPLY)
        client.send(99, bytes(3), flags=NO_REPLY)
        client.write(REGS, 0x14, b"\5\0\0\0", flags=NO_REPLY)
        self.assertEqual(client.reg(0x10), 0x04030201)
        self.assertEqual(client.reg(0x14), 5)

    def test_information(self):
        _, client = self.connected("--vectors", "7")
        self.assertEqual(struct.unpack("=4I", client.call(GET_INFO, struct.pack("=4I", 16, 0, 0, 0))), (16, 3, 9, 3))
        for index in range(9):
            answer = client.call(GET_REGION_INFO, struct.pack("=4I2Q", 32, 0, index, 0, 0, 0))
            size = SIZES.get(index, 0)
            # Readable and writable, and nothing of it can be mapped.
            self.assertEqual(struct.unpack("=4I2Q", answer), (32, 3 if size else 0, index, 0, size, 0))
        for index in range(3):
            answer = client.call(GET_IRQ_INFO, struct.pack("=4I", 16, 0, index, 0))
            self.assertEqual(struct.unpack("=4I", answer), (16, 3, index, 7) if index == MSIX_INDEX else
                             (16, 0, index, 0))

    def test_information_that_there_is_not_is_refused(self):
        _, client = self.connected()
        for index in (9, 10, 0xFFFFFFFF):
            self.refuses(errno.EINVAL, client.call, GET_REGION_INFO, struct.pack("=4I2Q", 32, 0, index, 0, 0, 0))
        for index in (3, 4, 0xFFFFFFFF):
            self.refuses(errno.EINVAL, client.call, GET_IRQ_INFO, struct.pack("=4I", 16, 0, index, 0))
        self.refuses(errno.EINVAL, client.call, GET_INFO, struct.pack("=4I", 15, 0, 0, 0))
        self.refuses(errno.EINVAL, client.call, GET_REGION_INFO, struct.pack("=4I2Q", 31, 0, 0, 0, 0, 0))
        self.refuses(errno.EINVAL, client.call, GET_IRQ_INFO, struct.pack("=4I", 15, 0, 2, 0))


if __name__ == "__main__":
    unittest.main()
