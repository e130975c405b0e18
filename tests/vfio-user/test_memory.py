# SPDX-License-Identifier: GPL-2.0-or-later
"""DMA_MAP and DMA_UNMAP: what pvhcad gets of guest memory, what it does not, and what is refused."""

import errno
import os
import struct
import tempfile

from monitor import *

PAGE = 4096
MIB = 1 << 20
REGIONS = 256       # of the link


class Map(Case):
    def regions(self, server):
        server.hostd.settle()
        return {gpa: region[:2] for gpa, region in server.hostd.memory.items()}

    def test_memory_with_a_descriptor_goes_to_pvhcad(self):
        server, client = self.linked()
        ram = memory(8 * MIB)
        client.map(4 * MIB, 4 * MIB, ram, offset=MIB)
        self.assertEqual(self.regions(server), {4 * MIB: (4 * MIB, MIB)})
        size, offset, page, fd = server.hostd.memory[4 * MIB]
        self.assertEqual(page, PAGE)
        self.assertEqual(os.fstat(fd).st_ino, os.fstat(ram).st_ino)
        os.close(ram)

    def test_memory_that_came_before_pvhcad_is_passed_when_it_comes(self):
        server, client = self.connected()
        ram = memory(MIB)
        client.map(0, MIB, ram)
        os.close(ram)
        server.hostd.greet()
        self.assertEqual(self.regions(server), {0: (MIB, 0)})
        server.hostd.hang_up()
        server.hostd.greet()
        self.assertEqual(self.regions(server), {0: (MIB, 0)})

    def test_memory_that_goes_is_taken_away(self):
        server, client = self.linked()
        ram, before = memory(2 * MIB), server.descriptors()
        client.map(0, MIB, ram)
        client.map(MIB, MIB, ram, offset=MIB)
        answer = client.unmap(0, MIB)
        self.assertEqual(struct.unpack("=IIQQ", answer), (24, 0, 0, MIB))
        self.assertEqual(self.regions(server), {MIB: (MIB, MIB)})
        client.unmap(0, 0, flags=UNMAP_ALL)
        self.assertEqual(self.regions(server), {})
        self.descriptors_stay(server, before)
        client.map(0, MIB, ram)
        self.assertEqual(self.regions(server), {0: (MIB, 0)})
        os.close(ram)

    def test_memory_that_is_of_no_use_is_accepted(self):
        server, client = self.linked()
        ram, before = memory(MIB), server.descriptors()
        client.map(0, MIB)                                          # without a descriptor: ROM, video memory
        client.map(1 << 40, 3)
        client.map(MIB, MIB, ram, flags=1)                          # not to be written to
        client.map(2 * MIB, MIB, ram, flags=2)
        client.map(3 * MIB, MIB, ram, flags=0)
        client.map(4 * MIB + 512, PAGE, ram)                        # not of pages
        client.map(5 * MIB, PAGE + 1, ram)
        client.map(6 * MIB, PAGE, ram, offset=512)
        with tempfile.TemporaryFile() as file, open("/dev/null", "r+b") as null:
            read_only = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY)
            client.map(7 * MIB, PAGE, read_only)
            client.map(8 * MIB, PAGE, null.fileno())
            os.close(read_only)
        for end in os.pipe() + (socket.socket().detach(), eventfd()):
            client.map(9 * MIB, PAGE, end)
            client.unmap(9 * MIB, PAGE)
            os.close(end)
        self.assertEqual(self.regions(server), {})
        self.assertEqual(server.descriptors(), before)
        client.unmap(0, MIB)
        client.unmap(1 << 40, 3)
        os.close(ram)

    def test_overlaps_are_refused(self):
        server, client = self.linked()
        ram, before = memory(4 * MIB), server.descriptors()
        client.map(MIB, MIB, ram)
        client.map(4 * MIB, MIB)
        for address, size in ((MIB, MIB), (MIB, PAGE), (0, MIB + PAGE), (2 * MIB - PAGE, PAGE), (0, 8 * MIB),
                              (4 * MIB, PAGE), (4 * MIB - PAGE, 2 * PAGE)):
            self.refuses(errno.EEXIST, client.map, address, size, ram)
            self.refuses(errno.EEXIST, client.map, address, size)
        client.map(0, MIB, ram)
        client.map(2 * MIB, 2 * MIB, ram)
        self.assertEqual(self.regions(server), {0: (MIB, 0), MIB: (MIB, 0), 2 * MIB: (2 * MIB, 0)})
        self.assertEqual(server.descriptors(), before + 3)
        os.close(ram)

    def test_what_cannot_be_is_refused_and_its_descriptor_closed(self):
        server, client = self.linked()
        ram, before = memory(MIB), server.descriptors()
        for address, size, more in (
                (0, 0, {}), (PAGE, (1 << 64) - PAGE + 1, {}), ((1 << 64) - PAGE, PAGE + 1, {}),
                (0, 1 << 63, {}), (0, PAGE, {"offset": 1 << 63}), (0, PAGE, {"offset": (1 << 63) - PAGE}),
                (0, PAGE, {"flags": 4}), (0, PAGE, {"flags": 0x80000003}), (0, PAGE, {"argsz": 31})):
            with self.subTest(address=address, size=size, **more):
                self.refuses(errno.EINVAL, client.map, address, size, ram, **more)
        self.refuses(errno.EINVAL, client.call, DMA_MAP, struct.pack("=IIQQQ", 32, 3, 0, 0, PAGE), [ram, ram])
        client.map((1 << 64) - PAGE, PAGE)
        self.assertEqual(server.descriptors(), before)
        self.assertEqual(self.regions(server), {})
        os.close(ram)

    def test_only_what_was_mapped_can_be_unmapped(self):
        _, client = self.connected()
        client.map(MIB, MIB)
        for address, size in ((0, MIB), (MIB, PAGE), (MIB, 2 * MIB), (MIB + PAGE, MIB - PAGE), (0, 0), (MIB, 0),
                              ((1 << 64) - 1, (1 << 64) - 1)):
            self.refuses(errno.ENOENT, client.unmap, address, size)
        self.refuses(errno.ENOTSUP, client.unmap, MIB, MIB, flags=1)
        for flags in (3, 4, 5, 0x80000000):
            self.refuses(errno.EINVAL, client.unmap, MIB, MIB, flags=flags)
        self.refuses(errno.EINVAL, client.unmap, MIB, MIB, flags=UNMAP_ALL)
        self.refuses(errno.EINVAL, client.unmap, MIB, MIB, argsz=23)
        client.unmap(MIB, MIB)
        self.refuses(errno.ENOENT, client.unmap, MIB, MIB)

    def test_regions_beyond_the_links_number_are_of_no_use_and_the_log_says_so(self):
        server, client = self.linked()
        ram, before = memory(MIB), server.descriptors()
        for i in range(REGIONS + 50):
            client.map(2 * i * PAGE, PAGE, ram)
        self.assertEqual(len(self.regions(server)), REGIONS)
        self.assertEqual(server.descriptors(), before + REGIONS)
        self.assertIn("guest RAM has more than 256 regions", server.output())
        for i in range(REGIONS + 50):
            client.unmap(2 * i * PAGE, PAGE)
        self.assertEqual(self.regions(server), {})
        self.assertEqual(server.descriptors(), before)
        os.close(ram)

    def test_number_of_mappings_is_bounded(self):
        _, client = self.connected()
        for i in range(4096):
            client.map(2 * i * PAGE, PAGE)
        self.refuses(errno.ENOSPC, client.map, 1 << 40, PAGE)
        client.unmap(0, PAGE)
        client.map(1 << 40, PAGE)
        self.still_works(client)

    def test_monitor_that_goes_leaves_no_memory_behind(self):
        server, client = self.linked()
        before, ram = server.descriptors(), memory(MIB)
        for i in range(20):
            client.map(2 * i * PAGE, PAGE, ram)
        client.close()
        os.close(ram)
        self.assertRaises((Gone, ConnectionResetError), lambda: [server.hostd.receive() for _ in range(100)])
        with Client(server) as again:
            server.hostd.greet()
            self.assertEqual(server.hostd.memory, {})
            self.until_status(again, 1)
            self.descriptors_stay(server, before)


class Sharing(Case):
    """The guest enables the device, and its memory is not what it should be."""

    ADMIN = 0x345000

    def enable(self, client):
        client.set_reg(0x10, self.ADMIN)
        client.set_reg(0x0C, 2)

    def test_memory_that_the_guest_wrote_raises_no_complaint(self):
        server, client = self.linked()
        ram = memory(8 * MIB)
        os.pwrite(ram, b"PADM", MIB + self.ADMIN)
        client.map(0, 7 * MIB, ram, offset=MIB)
        self.enable(client)
        self.still_works(client)
        self.assertNotIn("share=on", server.output())
        self.assertNotIn("vIOMMU", server.output())
        os.close(ram)

    def test_private_memory_is_found_out(self):
        server, client = self.linked()
        ram = memory(8 * MIB)
        client.map(0, 8 * MIB, ram)
        self.enable(client)
        self.still_works(client)
        self.assertIn("memory needs share=on", server.output())
        os.close(ram)

    def test_memory_without_a_descriptor_is_found_out(self):
        server, client = self.linked()
        client.map(0, 8 * MIB)
        self.enable(client)
        self.still_works(client)
        self.assertIn("add -object memory-backend-memfd", server.output())

    def test_memory_behind_an_iommu_is_found_out(self):
        server, client = self.linked()
        self.enable(client)
        self.still_works(client)
        self.assertIn("bypass_iommu=on", server.output())


if __name__ == "__main__":
    unittest.main()
