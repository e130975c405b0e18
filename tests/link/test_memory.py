# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that QEMU passes, wrong in each way; and memory that vanishes."""
import mmap
import os
import tempfile
import unittest

from case import DaemonCase
from pvhca import *

MIB = 1 << 20


class Regions(DaemonCase):
    def setUp(self):
        super().setUp()
        self.fd = self.memfd(MIB)
        self.qemu = Qemu(self.daemon)
        self.addCleanup(self.qemu.close)

    def memfd(self, size):
        fd = os.memfd_create("guest")
        self.addCleanup(os.close, fd)
        os.ftruncate(fd, size)
        return fd

    def regions(self):
        return self.daemon.stats()["sessions"][0]["regions"]

    def assert_refused(self, *args, fd=None, **kwargs):
        self.qemu.send(mem(MEM_ADD, *args, **kwargs),
                       [self.fd if fd is None else fd])
        self.assertTrue(self.qemu.is_closed())

    def assert_added(self, *args, fd=None, **kwargs):
        self.qemu.send(mem(MEM_ADD, *args, **kwargs),
                       [self.fd if fd is None else fd])
        self.assertEqual(self.qemu.reset(), 0)

    def test_neighbours_are_no_overlap(self):
        self.assert_added(0x100000, 0x80000)
        self.assert_added(0x180000, 0x80000, 0x80000)
        self.assert_added(0, 0x100000)
        self.assertEqual(self.regions(), 3)

    def test_overlap_at_the_end(self):
        self.assert_added(0x100000, 0x10000)
        self.assert_refused(0x10F000, 0x2000)

    def test_overlap_at_the_start(self):
        self.assert_added(0x100000, 0x10000)
        self.assert_refused(0xFF000, 0x2000)

    def test_overlap_all_around(self):
        self.assert_added(0x110000, 0x1000)
        self.assert_refused(0x100000, 0x100000)

    def test_the_same_twice(self):
        self.assert_added(0, MIB)
        self.assert_refused(0, MIB)

    def test_unaligned_address(self):
        self.assert_refused(0x800, 0x1000)

    def test_unaligned_size(self):
        self.assert_refused(0, 0x1800)

    def test_no_size(self):
        self.assert_refused(0, 0)

    def test_unaligned_offset(self):
        self.assert_refused(0, 0x1000, 0x800)

    def test_address_that_wraps(self):
        self.assert_refused(0xFFFFFFFFFFFFF000, 0x2000)

    def test_offset_that_wraps(self):
        self.assert_refused(0, 0x2000, 0xFFFFFFFFFFFFF000)

    def test_offset_beyond_what_files_have(self):
        self.assert_refused(0, 0x1000, 0x7FFFFFFFFFFFF000)

    def test_size_beyond_the_file(self):
        self.assert_refused(0, MIB + 4096)

    def test_offset_beyond_the_file(self):
        self.assert_refused(0, 4096, MIB)

    def test_page_size_no_power_of_two(self):
        self.assert_refused(0, MIB, page_size=4097)

    def test_page_size_zero(self):
        self.assert_refused(0, MIB, page_size=0)

    def test_page_size_that_is_not_the_files(self):
        # The file's own counts: this is no more than a wrong word.
        self.assert_added(0, MIB, page_size=1 << 30)

    def test_pipe(self):
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        self.assert_refused(0, 4096, fd=read)

    def test_directory(self):
        fd = os.open("/", os.O_RDONLY)
        self.addCleanup(os.close, fd)
        self.assert_refused(0, 4096, fd=fd)

    def test_device(self):
        fd = os.open("/dev/zero", os.O_RDWR)
        self.addCleanup(os.close, fd)
        self.assert_refused(0, 4096, fd=fd)

    def test_descriptor_that_cannot_be_written(self):
        fd = os.open("/proc/self/fd/%d" % self.fd, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        self.assert_refused(0, 4096, fd=fd)

    def test_descriptor_that_only_names(self):
        fd = os.open("/proc/self/fd/%d" % self.fd, os.O_PATH)
        self.addCleanup(os.close, fd)
        self.assert_refused(0, 4096, fd=fd)

    def test_more_regions_than_there_may_be(self):
        for i in range(256):
            self.qemu.send(mem(MEM_ADD, i * 8192, 4096), [self.fd])
        self.assertEqual(self.qemu.reset(), 0)
        self.assertEqual(self.regions(), 256)
        self.assert_refused(256 * 8192, 4096)

    def test_taking_away_what_is_there(self):
        self.assert_added(0, MIB)
        self.qemu.send(mem(MEM_DEL, 0, MIB))
        self.assertEqual(self.qemu.reset(), 0)
        self.assertEqual(self.regions(), 0)
        self.assert_added(0, MIB)

    def test_taking_away_what_is_not(self):
        self.assert_added(0, MIB)
        self.qemu.send(mem(MEM_DEL, 0, MIB // 2))
        self.assertTrue(self.qemu.is_closed())

    def test_taking_away_with_an_offset(self):
        self.assert_added(0, MIB)
        self.qemu.send(mem(MEM_DEL, 0, MIB, 4096))
        self.assertTrue(self.qemu.is_closed())


class Vanishing(DaemonCase):
    """The file behind a VM's memory is cut while it is in use."""

    def test_admin_area_vanishes(self):
        guest = Guest(self.daemon)
        self.addCleanup(guest.close)
        healthy = Guest(self.daemon, name=b"healthy")
        self.addCleanup(healthy.close)
        os.ftruncate(guest.fd, 0)
        guest.qemu.ring()
        self.assertEqual(guest.qemu.reply(FATAL), DEV_ERR_MEMORY)
        self.assertEqual(healthy.command(NOP)[0], ST_OK)
        # Not to be enabled again: the memory is still what it was.
        self.assertEqual(guest.qemu.reset(), 0)
        self.assertEqual(guest.qemu.enable(guest.area), DEV_ERR_MEMORY)

    def test_context_page_that_a_worker_polls_vanishes(self):
        guest = Guest(self.daemon)
        self.addCleanup(guest.close)
        healthy = Guest(self.daemon, name=b"healthy")
        self.addCleanup(healthy.close)
        guest.alloc(64 * GRANULE)
        handles = guest.world()
        self.assertTrue(handles)
        os.ftruncate(guest.fd, guest.alloc(0) // 2 // GRANULE * GRANULE)
        # Wake the worker: both doorbells, as it may listen to either.
        guest.qemu.ring(DATA_DB, 0)
        guest.qemu.ring(DATA_DB, 1)
        self.assertEqual(guest.qemu.reply(FATAL), DEV_ERR_MEMORY)
        healthy.world()

    def test_memory_taken_away_stays_for_what_was_registered(self):
        guest = Guest(self.daemon)
        self.addCleanup(guest.close)
        context = guest.context()
        pd = guest.pd(context)
        fd = os.memfd_create("guest")
        self.addCleanup(os.close, fd)
        os.ftruncate(fd, MIB)
        high = 1 << 32
        guest.qemu.add_memory(high, MIB, fd)
        guest.qemu.send(reset(0))
        self.assertEqual(guest.qemu.receive()[0], RESET_REPLY)
        guest.prepare()
        self.assertEqual(guest.qemu.enable(guest.area), 0)
        pd = guest.pd(guest.context())
        payload = mr_payload(pd, [(high, MIB)], MIB)
        mr = guest.create(REG_MR, payload)
        guest.qemu.send(mem(MEM_DEL, high, MIB))
        status, _ = guest.command(REG_MR, payload)
        while status == ST_OK:  # the message and the command race
            status, _ = guest.command(REG_MR, payload)
        self.assertEqual(status, ST_BAD_ADDRESS)
        self.assertEqual(guest.destroy(DEREG_MR, mr), ST_OK)


if __name__ == "__main__":
    unittest.main()
