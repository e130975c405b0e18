# SPDX-License-Identifier: GPL-2.0-or-later
"""A session as Cloud Hypervisor has it: what its client sends, in its order, with the sizes that it reads.

It reads replies of fixed sizes, and an error where it expects none would leave it waiting. So each reply has exactly the
bytes that it reads. (Its sources of August 2026, with version 0.1 of the protocol; the program itself is not in Debian.)
"""

import os
import struct
import unittest

from monitor import *

OFFER = {"capabilities": {"max_msg_fds": 1, "max_data_xfer_size": 1048576, "migration": {"pgsize": 4096}}}
BLOCK = 16                  # eventfds in a message
INFO_SIZE, REGION_SIZE, IRQ_SIZE = 16, 32, 16       # of what follows a reply's header
IS_PCI = 2
MIB = 1 << 20


class CloudHypervisor(Case):
    def begin(self, *options):
        server = self.server(*options)
        client = Client(server, greet=False)
        self.addCleanup(client.close)
        client.greet(0, 1, OFFER)
        return server, client

    def regions(self, client):
        """It asks for each region that there may be, and for more where the reply is longer than it gave room for."""
        # Its argsz counts the header, too.
        answer = client.call(GET_INFO, struct.pack("=4I", 16 + INFO_SIZE, 0, 0, 0))
        self.assertEqual(len(answer), INFO_SIZE)
        _, flags, regions, irqs = struct.unpack("=4I", answer)
        self.assertTrue(flags & IS_PCI)
        sizes = {}
        for index in range(regions):
            answer = client.call(GET_REGION_INFO, struct.pack("=4I2Q", REGION_SIZE, 0, index, 0, 0, 0))
            self.assertEqual(len(answer), REGION_SIZE)
            argsz, _, of, _, size, _ = struct.unpack("=4I2Q", answer)
            self.assertEqual((argsz, of), (REGION_SIZE, index))
            sizes[index] = size
        return sizes, irqs

    def vectors(self, client, index):
        answer = client.call(GET_IRQ_INFO, struct.pack("=4I", IRQ_SIZE, 0, index, 0))
        self.assertEqual(len(answer), IRQ_SIZE)
        return struct.unpack("=4I", answer)[3]

    def test_session_from_its_begin_to_its_end(self):
        server, client = self.begin("--vectors", "20")
        sizes, irqs = self.regions(client)
        self.assertEqual({index: size for index, size in sizes.items() if size}, SIZES)
        self.assertEqual([self.vectors(client, index) for index in range(irqs)], [0, 0, 20])
        # The configuration space a register at a time, and the BARs' sizes as a guest finds them.
        for register in range(64):
            client.read(CONFIG, register * 4)
        for bar in range(3):
            client.write(CONFIG, 0x10 + bar * 4, struct.pack("<I", 0xFFFFFFFF))
            client.read(CONFIG, 0x10 + bar * 4)
        ram = memory(4 * MIB)
        self.addCleanup(os.close, ram)
        client.map(0, 2 * MIB, ram)
        client.map(0x100000000, 2 * MIB, ram, offset=2 * MIB)
        server.hostd.greet()
        self.until_status(client, 1)

        fds = [eventfd() for _ in range(20)]
        self.addCleanup(lambda: [os.close(fd) for fd in fds])
        for start in range(0, len(fds), BLOCK):
            block = fds[start:start + BLOCK]
            client.set_irqs(EVENTFD | TRIGGER, start, len(block), block)
        server.hostd.hang_up()
        self.assertTrue(rung(fds[0]))
        server.hostd.greet()
        self.until_status(client, 1)

        # It posts no write, and its pauses and ends switch interrupts off first.
        client.write(DOORBELL, 0, struct.pack("<I", 1))
        client.set_irqs(NONE | TRIGGER, 0, 0)
        self.assertEqual(len(client.unmap(0x100000000, 2 * MIB)), 24)
        self.still_works(client)

    def test_next_monitor_is_served(self):
        server, client = self.begin()
        client.sock.shutdown(2)
        client.close()
        server.until(lambda: "the monitor" in server.output(), "the end is seen")
        second = Client(server, greet=False)
        self.addCleanup(second.close)
        second.greet(0, 1, OFFER)
        self.regions(second)


if __name__ == "__main__":
    unittest.main()
