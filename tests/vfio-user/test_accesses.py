# SPDX-License-Identifier: GPL-2.0-or-later
"""REGION_READ and REGION_WRITE of each size and alignment: registers, configuration space, doorbells."""

import errno
import struct

from monitor import *
from rig import EVENT_ADMIN_DB, EVENT_DATA_DB, EVENT_VECTOR


class Registers(Case):
    def test_every_read_of_every_size_and_alignment_is_answered(self):
        _, client = self.connected()
        for region, size in ((REGS, 0x100), (CONFIG, 0x100), (MSIX, 0x20)):
            image = client.read(region, 0, size)
            for count in (1, 2, 3, 4, 5, 8, 16):
                for at in range(0, size - count + 1, 1 if count < 5 else 3):
                    self.assertEqual(client.read(region, at, count), image[at:at + count], (region, at, count))
        self.assertEqual(client.read(REGS, 0, 4096)[:4], b"PVHC")
        self.assertEqual(client.read(REGS, 0x1000, 0), b"")

    def test_only_aligned_words_are_written(self):
        _, client = self.connected()
        client.set_reg(0x10, 0x11223344)
        for count, at in ((1, 0x10), (2, 0x10), (8, 0x10), (4, 0x11), (4, 0x0E), (8, 0x0C), (0, 0x10), (3, 0x10)):
            client.write(REGS, at, b"\2" * count)
            self.assertEqual(client.reg(0x10), 0x11223344, (count, at))
            self.assertEqual(client.reg(0x08), 0)

    def test_accesses_outside_of_regions_are_refused(self):
        _, client = self.connected()
        for region, size in SIZES.items():
            for at, count in ((size, 1), (size - 1, 2), (size + 1, 0), ((1 << 64) - 1, 1), ((1 << 64) - 4, 8),
                              (1 << 63, 4)):
                with self.subTest(region=region, at=at, count=count):
                    self.refuses(errno.EINVAL, client.read, region, at, count)
                    self.refuses(errno.EINVAL, client.write, region, at, bytes(count))
        for region in (3, 4, 5, 6, 8, 9, 10, 0xFFFFFFFF):
            self.refuses(errno.EINVAL, client.read, region, 0, 4)
            self.refuses(errno.EINVAL, client.write, region, 0, bytes(4))

    def test_longer_accesses_than_offered_are_refused(self):
        _, client = self.connected()
        for count in (4097, 0x20000, 0x7FFFFFFF, 0xFFFFFFFF):
            self.refuses(errno.EINVAL, client.read, DOORBELL, 0, count)
        self.assertEqual(client.read(DOORBELL, 0, 4096), bytes(4096))

    def test_writes_whose_count_lies_are_refused(self):
        _, client = self.connected()
        for count, data in ((4, b""), (4, bytes(3)), (4, bytes(5)), (0, bytes(4)), (0xFFFFFFFF, bytes(4))):
            self.refuses(errno.EINVAL, client.call, REGION_WRITE, struct.pack("=QII", 0x10, REGS, count) + data)
        self.assertEqual(client.reg(0x10), 0)


class Configuration(Case):
    def word(self, client, at):
        return struct.unpack("<I", client.read(CONFIG, at))[0]

    def test_identity(self):
        _, client = self.connected("--vectors", "9")
        self.assertEqual(self.word(client, 0), 0x10F01AF4)
        self.assertEqual(self.word(client, 8), 0x02800001)
        self.assertEqual(self.word(client, 0x2C), 0x11001AF4)
        self.assertEqual(client.read(CONFIG, 0x3D, 1), b"\0")       # no INTx
        cap = client.read(CONFIG, 0x34, 1)[0]
        self.assertEqual(self.word(client, 4) >> 16 & 0x10, 0x10)
        self.assertEqual(self.word(client, cap), 0x11 | 8 << 16)
        self.assertEqual(self.word(client, cap + 4), MSIX)
        self.assertEqual(self.word(client, cap + 8), PBA | MSIX)

    def test_bars_tell_their_sizes(self):
        _, client = self.connected()
        for bar in range(6):
            client.write(CONFIG, 0x10 + 4 * bar, b"\xff" * 4)
            self.assertEqual(self.word(client, 0x10 + 4 * bar), -SIZES.get(bar, 0) & 0xFFFFFFFF)
        client.write(CONFIG, 0x10, b"\x34\x12\xad\xde")
        self.assertEqual(self.word(client, 0x10), 0xDEAD1000)

    def test_only_what_a_guest_may_change_changes(self):
        _, client = self.connected()
        before = client.read(CONFIG, 0, 256)
        client.write(CONFIG, 0, b"\xff" * 256)
        after = client.read(CONFIG, 0, 256)
        changed = {i for i in range(256) if before[i] != after[i]}
        # Command, cache line, BARs (the doorbells' lowest changing byte is the third), interrupt line, MSI-X control.
        self.assertEqual(changed, {4, 5, 0x0C, 0x11, 0x12, 0x13, 0x15, 0x16, 0x17, 0x1A, 0x1B, 0x3C, 0x43})
        client.call(DEVICE_RESET)
        self.assertEqual(client.read(CONFIG, 0, 256), before)

    def test_msix_table_is_kept(self):
        _, client = self.connected("--vectors", "3")
        self.assertEqual(client.read(MSIX, 0, 64), (bytes(12) + b"\1\0\0\0") * 3 + bytes(16))
        client.write(MSIX, 32, b"\xaa" * 32)
        self.assertEqual(client.read(MSIX, 16, 64), bytes(12) + b"\1\0\0\0" + b"\xaa" * 16 + bytes(32))
        client.write(MSIX, PBA, b"\xff" * 8)
        self.assertEqual(client.read(MSIX, PBA, 8), bytes(8))


class Doorbells(Case):
    def test_doorbells_wake_pvhcad(self):
        server, client = self.linked("--doorbells", "64")
        events = server.hostd.events
        for i in (0, 1, 63):
            client.write(DOORBELL, 8 * i, b"abcd")
            self.assertTrue(rung(events[EVENT_DATA_DB, i]))
        client.write(DOORBELL, 8, b"abcd", flags=NO_REPLY)
        self.assertTrue(rung(events[EVENT_DATA_DB, 1]))
        client.write(DOORBELL, 0x10000, bytes(4))
        self.assertTrue(rung(events[EVENT_ADMIN_DB, 0]))
        self.assertTrue(all(quiet(events[EVENT_DATA_DB, i]) for i in (0, 1, 2, 63)))

    def test_other_writes_do_not(self):
        server, client = self.linked()
        for at, count in ((0, 1), (0, 2), (0, 8), (4, 4), (1, 4), (8 * 8, 4), (0x10000, 8), (0x10008, 4)):
            client.write(DOORBELL, at, bytes(count))
        for key, fd in server.hostd.events.items():
            if key[0] != EVENT_VECTOR:
                self.assertTrue(quiet(fd), key)

    def test_doorbell_that_nobody_reads_stops_nobody(self):
        _, client = self.linked()
        for _ in range(2000):
            client.write(DOORBELL, 0, bytes(4), flags=NO_REPLY)
        self.still_works(client)


if __name__ == "__main__":
    unittest.main()
