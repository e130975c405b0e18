# SPDX-License-Identifier: GPL-2.0-or-later
"""A real monitor: the QEMU of a distribution, without a guest (the test is the processor, by qtest)."""

import json
import os
import struct
import time
import unittest

import monitor
import rig
from monitor import *
from rig import BAR, DB_ADMIN, DB_STRIDE, ENABLE, ENABLE_REPLY, ENABLED, ERR_HOST, EVENT_ADMIN_DB, EVENT_DATA_DB, EVENT_FDS, \
    EVENT_VECTOR, FAILED, FATAL, LINK, MSG_AREA, REG_ADMIN_HI, REG_ADMIN_LO, REG_CONTROL, REG_GENERATION, \
    REG_STATUS, RESET, RESET_REPLY, RESETTING, SLOT, Machine

STOCK = os.environ.get("PVHCA_STOCK_QEMU", str(SOURCE / "build" / "qemu-11.1-bin" / "qemu-system-x86_64"))
CYCLES = 50
# Registers of intel-iommu, by which a guest turns it on.
VTD_GLOBAL_COMMAND, VTD_GLOBAL_STATUS, VTD_TRANSLATION = 0xFED90018, 0xFED9001C, 1 << 31


@unittest.skipUnless(os.access(STOCK, os.X_OK), f"{STOCK} is not there")
class Qemu(Case):
    def setUp(self):
        rig.QEMU = STOCK

    def device(self, server, **more):
        return {"driver": "vfio-user-pci", "id": "hca", "addr": f"{SLOT:x}",
                "socket": {"type": "unix", "path": server.socket}, **more}

    def machine(self, *options, extra=(), **more):
        """A server, and a machine with its device."""
        server = self.server(*options)
        vm = Machine(*extra, "-device", json.dumps(self.device(server)), chardev=None, **more)
        self.addCleanup(self.finish_machine, vm)
        vm.hostd.close()
        vm.hostd = server.hostd
        return server, vm

    def finish_machine(self, vm):
        running = vm.process.poll() is None
        vm.hostd = Hostd(vm.folder + "/unused")
        self.assertEqual((running, vm.close()), (True, 0), "QEMU ended badly")

    def linked(self, *options, **more):
        server, vm = self.machine(*options, **more)
        vm.setup()
        server.hostd.greet()
        vm.until_status(LINK)
        vm.raised(0)
        return server, vm

    def enable(self, vm):
        vm.set_reg(REG_ADMIN_LO, 0x00345000)
        vm.set_reg(REG_ADMIN_HI, 0)
        vm.set_reg(REG_CONTROL, rig.CONTROL_ENABLE)
        kind, payload, fds = vm.hostd.receive()
        while kind == EVENT_FDS:        # vectors that MSI-X has been switched on for
            vm.hostd.take((kind, payload, fds))
            kind, payload, fds = vm.hostd.receive()
        ident, gpa = struct.unpack("=QQ", payload)
        self.assertEqual((kind, gpa), (ENABLE, 0x345000))
        vm.hostd.reply(ENABLE_REPLY, ident)
        vm.until_status(LINK | ENABLED)
        vm.until_raised(0)

    def signal(self, vm, vector):
        vm.hostd.catch_up()
        os.write(vm.hostd.events[EVENT_VECTOR, vector], struct.pack("=Q", 1))

    def test_device_looks_like_our_own(self):
        _, vm = self.machine("--vectors", "7", "--doorbells", "3")
        vm.setup()
        self.assertEqual(vm.config_read(0), 0x10F01AF4)
        self.assertEqual(vm.config_read(8), 0x02800001)
        self.assertEqual(vm.config_read(0x2C), 0x11001AF4)
        self.assertEqual(vm.config_read(0x3C) >> 8 & 0xFF, 0)
        self.assertEqual(vm.vectors, 7)
        self.assertEqual(vm.reg(rig.REG_DOORBELLS), 3)
        self.assertRegex(vm.text(rig.REG_QEMU_VERSION), r"^\d+\.\d+\.\d+ vfio-user$")
        for size in (1, 2, 4, 8):
            for at in (0, 1, 2, 3, 5, 7, 0x40, 0xFF8):
                self.assertEqual(vm.read(BAR[0] + at, size) & 0xFF, vm.read(BAR[0] + at, 1), (at, size))

    def test_enable_reset_and_fatal(self):
        server, vm = self.linked()
        self.enable(vm)
        server.hostd.reply(FATAL, 0, ERR_HOST)
        vm.until_status(LINK | FAILED)
        vm.until_raised(0)
        vm.set_reg(REG_CONTROL, rig.CONTROL_RESET)
        self.assertEqual(vm.reg(REG_STATUS), LINK | RESETTING)
        kind, payload, _ = server.hostd.receive()
        self.assertEqual(kind, RESET)
        server.hostd.reply(RESET_REPLY, struct.unpack("=Q", payload)[0])
        vm.until_status(LINK)
        self.enable(vm)

    def test_doorbells_wake_pvhcad(self):
        server, vm = self.linked("--doorbells", "64")
        for i in (0, 1, 63):
            vm.write(BAR[2] + i * DB_STRIDE, 0x1234 + i)
            self.assertTrue(rung(server.hostd.events[EVENT_DATA_DB, i]))
        vm.write(BAR[2] + DB_ADMIN, 0)
        self.assertTrue(rung(server.hostd.events[EVENT_ADMIN_DB, 0]))

    def test_pvhcad_raises_vectors(self):
        _, vm = self.linked("--vectors", "66")
        for vector in (1, 2, 65):
            self.signal(vm, vector)
            vm.until_raised(vector)
        self.assertFalse(vm.raised(3))

    def test_masked_vector_waits_and_is_not_lost(self):
        _, vm = self.linked()
        vm.mask(1, True)
        self.signal(vm, 1)
        # QEMU 11.1 takes it and keeps it; the pending bit it reads from us, who have passed it on.
        time.sleep(0.2)
        self.assertFalse(vm.raised(1))
        vm.mask(1, False)
        vm.until_raised(1)

    def test_guest_ram_is_shared(self):
        server, vm = self.linked()
        gpa = 0x200000
        base = next(b for b, (size, *_) in server.hostd.memory.items() if b <= gpa < b + size)
        _, offset, page, fd = server.hostd.memory[base]
        self.assertEqual(page, 4096)
        vm.write(gpa, 0x600D)
        self.assertEqual(struct.unpack("<I", os.pread(fd, 4, offset + gpa - base))[0], 0x600D)
        os.pwrite(fd, b"\1\2\3\4", offset + gpa - base)
        self.assertEqual(vm.read(gpa), 0x04030201)

    def test_private_ram_is_found_out(self):
        size = "64M"
        server, vm = self.linked(ram=None, extra=(
            "-object", f"memory-backend-memfd,id=ram,size={size},share=off", "-machine", "memory-backend=ram"))
        vm.write(0x345000, 0x4D444150)
        vm.set_reg(REG_ADMIN_LO, 0x345000)
        vm.set_reg(REG_CONTROL, rig.CONTROL_ENABLE)
        server.until(lambda: "memory needs share=on" in server.output(), "complaint")

    def test_device_on_a_bus_that_bypasses_a_viommu_keeps_the_memory(self):
        server, vm = self.linked(machine="q35,default_bus_bypass_iommu=on", extra=("-device", "intel-iommu"))
        before = {gpa: region[:2] for gpa, region in server.hostd.memory.items()}
        vm.write(VTD_GLOBAL_COMMAND, VTD_TRANSLATION)
        self.assertTrue(vm.read(VTD_GLOBAL_STATUS) & VTD_TRANSLATION)
        server.hostd.settle()
        self.assertEqual({gpa: region[:2] for gpa, region in server.hostd.memory.items()}, before)
        self.enable(vm)

    def test_server_that_is_not_there_is_named(self):
        with self.assertRaisesRegex(RuntimeError, "Failed to connect to '/nowhere/vm.sock': No such file"):
            Machine("-device", json.dumps({"driver": "vfio-user-pci", "socket": {"type": "unix", "path": "/nowhere/vm.sock"}}),
                    chardev=None)

    def test_memory_is_hot_plugged(self):
        server, vm = self.linked()
        before = sum(size for size, *_ in server.hostd.memory.values())
        vm.command("object-add", **{"qom-type": "memory-backend-memfd", "id": "more", "size": 128 << 20,
                                    "share": True})
        self.assertIn("return", vm.command("device_add", driver="pc-dimm", id="dimm", memdev="more"))
        server.hostd.settle()
        self.assertEqual(sum(size for size, *_ in server.hostd.memory.values()), before + (128 << 20))

    def test_reset_of_the_machine_resets_the_session(self):
        server, vm = self.linked()
        self.enable(vm)
        vm.command("system_reset")
        kind, payload, _ = server.hostd.receive()
        while kind != RESET:
            server.hostd.take((kind, payload, _))
            kind, payload, _ = server.hostd.receive()
        vm.setup()
        self.assertEqual(vm.reg(REG_ADMIN_LO), 0)
        server.hostd.reply(RESET_REPLY, struct.unpack("=Q", payload)[0])
        vm.until_status(LINK)
        server.hostd.settle()
        self.enable(vm)

    def test_restarted_pvhcad_is_found_again(self):
        server, vm = self.linked()
        self.enable(vm)
        for generation in (2, 3):
            server.hostd.hang_up()
            vm.until_status(0)
            vm.until_raised(0)
            server.hostd.greet()
            vm.until_status(LINK)
            vm.until_raised(0)
            self.assertEqual(vm.reg(REG_GENERATION), generation)
            self.assertTrue(server.hostd.memory)
            self.enable(vm)

    def unplug(self, vm):
        """As a guest without ACPI does: eject the slot."""
        self.assertIn("return", vm.command("device_del", id="hca"))
        vm.line("outl 0xae10 0")
        vm.line(f"outl 0xae08 {1 << SLOT:#x}")
        # QEMU 11.1.3 tears down a vfio-user device's MSI-X twice, whatever device it is, and ends by that.
        time.sleep(0.3)
        if vm.process.poll() is not None and "memory_region_del_subregion: Assertion" in vm.output():
            vm.process.poll = lambda: None
            vm.process.wait = lambda *_: 0
            vm.process.terminate = vm.qmp.close = lambda: None
            self.skipTest("this QEMU cannot unplug a vfio-user device with MSI-X")

    def plug(self, server, vm):
        self.assertIn("return", vm.command("device_add", **self.device(server)))
        server.hostd.greet()
        vm.setup()
        vm.until_status(LINK)
        vm.raised(0)
        self.enable(vm)

    def test_device_is_plugged_into_a_running_machine(self):
        server = self.server()
        vm = Machine(chardev=None, machine="pc")
        self.addCleanup(self.finish_machine, vm)
        vm.hostd.close()
        vm.hostd = server.hostd
        self.plug(server, vm)
        self.signal(vm, 1)
        vm.until_raised(1)

    def test_device_is_plugged_and_unplugged_again_and_again(self):
        server, vm = self.linked(machine="pc")
        self.enable(vm)
        before = server.descriptors()
        for _ in range(CYCLES):
            self.unplug(vm)
            with self.assertRaises((Gone, ConnectionResetError)):
                while True:
                    server.hostd.receive()
            self.plug(server, vm)
            self.assertEqual(server.descriptors(), before)

    def test_two_devices_have_sessions_of_their_own(self):
        server, vm = self.linked(machine="pc")
        other = self.server("--vectors", "9")
        self.assertIn("return", vm.command("device_add", **{**self.device(other), "id": "hca2", "addr": "6"}))
        other.hostd.greet()
        self.assertEqual(other.hostd.memory.keys(), server.hostd.memory.keys())
        self.enable(vm)

    def test_server_that_dies_leaves_qemu_running_and_pvhcad_without_the_session(self):
        server, vm = self.linked()
        self.enable(vm)
        server.die()
        with self.assertRaises((Gone, ConnectionResetError)):
            server.hostd.receive()
        for _ in range(3):
            self.assertEqual(vm.reg(REG_STATUS), 0xFFFFFFFF)
            vm.write(BAR[2], 0)
        vm.command("query-status")

    def test_server_that_dies_is_told_to_the_guest_by_pvhcad(self):
        server, vm = self.linked()
        self.enable(vm)
        server.hostd.catch_up()
        events = server.hostd.events
        server.die()
        with self.assertRaises((Gone, ConnectionResetError)):
            server.hostd.receive()
        self.assertFalse(vm.raised(0))
        os.write(events[EVENT_VECTOR, 0], struct.pack("=Q", 1))
        vm.until_raised(0)
        self.assertEqual(vm.reg(REG_STATUS), 0xFFFFFFFF)


if __name__ == "__main__":
    unittest.main()
