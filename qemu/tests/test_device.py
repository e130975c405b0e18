#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of -device pvhca, without a guest and with a false pvhcad."""

import errno
import mmap
import os
import random
import select
import signal
import socket
import struct
import unittest

from rig import *


def rung(fd):
    """Whether the eventfd has been written since this was last asked."""
    if not select.select([fd], [], [], 1.0)[0]:
        return False
    os.read(fd, 8)
    return True


def quiet(fd):
    return not select.select([fd], [], [], 0.05)[0]


class Case(unittest.TestCase):
    def machine(self, *extra, **options):
        vm = Machine(*extra, **options)
        self.addCleanup(self.finish, vm)
        return vm

    def finish(self, vm):
        running = vm.process.poll() is None
        status = vm.close()
        self.assertEqual((running, status), (True, 0), "QEMU ended badly")

    def linked(self, *extra, **options):
        """A machine whose guest sees the link."""
        vm = self.machine(*extra, **options)
        vm.setup()
        self.hello = vm.hostd.greet()
        vm.until_status(LINK)
        vm.until_raised(0)
        return vm

    def enabled(self, *extra, **options):
        vm = self.linked(*extra, **options)
        self.enable(vm)
        return vm

    def enable(self, vm):
        vm.set_reg(REG_ADMIN_LO, 0x00345000)
        vm.set_reg(REG_ADMIN_HI, 0x1)
        vm.set_reg(REG_CONTROL, CONTROL_ENABLE)
        ident, gpa = self.expect(vm, ENABLE, "=QQ")
        self.assertEqual(gpa, 0x100345000)
        vm.hostd.reply(ENABLE_REPLY, ident)
        vm.until_status(LINK | ENABLED)
        vm.until_raised(0)

    def expect(self, vm, kind, layout):
        got, payload, fds = vm.hostd.receive()
        self.assertEqual((got, fds), (kind, []))
        return struct.unpack(layout, payload)

    def expect_gone(self, vm):
        try:
            while True:
                vm.hostd.receive()
        except (Gone, ConnectionResetError):
            pass


class Start(Case):
    """What the device refuses to start with."""

    def refuses(self, text, *extra, **options):
        with self.assertRaises(RuntimeError) as caught:
            Machine(*extra, **options).close()
        self.assertIn(text, str(caught.exception))

    def test_private_ram_is_refused_saying_what_to_add(self):
        self.refuses("add -object memory-backend-memfd,id=ram,size=64M,share=on "
                     "-machine memory-backend=ram", ram="default")

    def test_missing_chardev_is_refused(self):
        self.refuses("'chardev' is missing", "-device", "pvhca", chardev=None)

    def test_chardev_that_passes_no_descriptors_is_refused(self):
        self.refuses("must be a unix socket", "-chardev", "null,id=x", "-device",
                     "pvhca,chardev=x", chardev=None)

    def test_number_of_vectors_is_checked(self):
        self.refuses("'vectors' must be between 3 and 66", device=",vectors=2")
        self.refuses("'vectors' must be between 3 and 66", device=",vectors=67")

    def test_number_of_doorbells_is_checked(self):
        self.refuses("'doorbells' must be between 1 and 64", device=",doorbells=0")
        self.refuses("'doorbells' must be between 1 and 64", device=",doorbells=65")

    def test_multicast_mac_is_refused(self):
        self.refuses("'mac' must be a unicast address", device=",mac=01:00:00:00:00:01")

    def test_pair_needs_an_address(self):
        self.refuses("'pair' needs 'mac'", device=",pair=on")

    def test_migration_is_blocked_saying_why(self):
        vm = self.machine()
        answer = vm.command("migrate", uri="exec:cat >/dev/null")
        self.assertIn("cannot be migrated", answer["error"]["desc"])


class Registers(Case):
    def test_identity(self):
        vm = self.machine(device=",vectors=7,doorbells=3")
        vm.setup()
        self.assertEqual(vm.config_read(0), 0x10F01AF4)
        self.assertEqual(vm.config_read(8) & 0xFF, 1)
        self.assertEqual(vm.reg(REG_MAGIC), struct.unpack("<I", b"PVHC")[0])
        self.assertEqual(vm.reg(REG_ABI), 0x10000)
        self.assertEqual(vm.reg(REG_VECTORS), 7)
        self.assertEqual(vm.vectors, 7)
        self.assertEqual(vm.reg(REG_DOORBELLS), 3)
        self.assertRegex(vm.text(REG_QEMU_VERSION), r"^\d+\.\d+\.\d+ QEMU \d")
        self.assertEqual(vm.text(REG_HOSTD_VERSION), "")

    def test_every_read_of_every_size_and_alignment_is_answered(self):
        vm = self.machine()
        vm.setup()
        image = b"".join(struct.pack("<I", vm.reg(i)) for i in range(0, 0x100, 4))
        for size in (1, 2, 4, 8):
            for at in list(range(0, 0x60)) + list(range(0xF0, 0x100 - size)):
                self.assertEqual(vm.read(BAR[0] + at, size),
                                 int.from_bytes(image[at:at + size], "little"),
                                 (at, size))
            for at in range(0xFF0, 0x1000 - size + 1):
                self.assertEqual(vm.read(BAR[0] + at, size), 0)

    def test_only_aligned_words_are_written(self):
        vm = self.machine()
        vm.setup()
        vm.set_reg(REG_ADMIN_LO, 0x11223344)
        for size, at in ((1, 0x10), (2, 0x10), (8, 0x10), (4, 0x11), (4, 0x0E),
                         (8, 0x0C)):
            vm.write(BAR[0] + at, 2, size)
            self.assertEqual(vm.reg(REG_ADMIN_LO), 0x11223344, (size, at))
            self.assertEqual(vm.reg(REG_STATUS), 0)
        for at in range(0, 0x1000, 4):
            if at not in (REG_CONTROL, REG_ADMIN_LO, REG_ADMIN_HI):
                before = vm.reg(at)
                vm.set_reg(at, 0xFFFFFFFF)
                self.assertEqual(vm.reg(at), before)

    def test_doorbells_and_msix_answer_every_access(self):
        vm = self.machine()
        vm.setup()
        for size in (1, 2, 4, 8):
            for at in (0, 1, 2, 7, 8, 0xFFFC, 0x10000, 0x10003, 0x1FFF8):
                self.assertEqual(vm.read(BAR[2] + at, size), 0)
                vm.write(BAR[2] + at, 0xFF, size)
                vm.read(BAR[1] + at % 0x1000, size)
        vm.read(BAR[0])

    def test_unknown_control_values_are_ignored(self):
        vm = self.linked()
        for value in (0, 3, 0x80000001, 0xFFFFFFFF):
            vm.set_reg(REG_CONTROL, value)
        self.assertEqual(vm.reg(REG_STATUS), LINK)
        self.assertEqual(vm.reg(REG_CONTROL), 0)


class Session(Case):
    def test_hello_says_who_we_are(self):
        self.linked("-uuid", "00112233-4455-6677-8899-aabbccddeeff", "-name", "vm" * 50,
                    device=",vectors=5,doorbells=9,mac=52:54:00:01:02:03")
        major, minor, vectors, doorbells, r0, features, uuid, name, version, mac, r1 = \
            struct.unpack("=HHIIIQ16s64s32s6s10s", self.hello)
        self.assertEqual((major, minor, vectors, doorbells, r0, features),
                         (1, 1, 5, 9, 0, 0))
        self.assertEqual(uuid.hex(), "00112233445566778899aabbccddeeff")
        self.assertEqual(name, b"vm" * 31 + b"v\0")
        self.assertIn(b" QEMU ", version)
        self.assertEqual(mac, bytes.fromhex("525400010203"))
        self.assertEqual(r1, bytes(10))

    def test_pairing_is_asked_for_and_nothing_goes_without_it(self):
        vm = self.machine(device=",mac=52:54:00:01:02:03,pair=on")
        vm.setup()
        vm.hostd.accept()
        features = struct.unpack_from("=Q", vm.hostd.receive()[1], 16)[0]
        self.assertEqual(features, 1)
        vm.hostd.send(HELLO_REPLY, Hostd.hello_reply())
        self.expect_gone(vm)
        vm.until_status(FAILED)
        self.assertEqual(vm.reg(REG_ERROR), ERR_BACKEND_VERSION)
        vm.hostd.accept()
        vm.hostd.receive()
        vm.hostd.send(HELLO_REPLY, Hostd.hello_reply(minor=1, features=1))
        vm.until_status(FAILED | LINK)
        self.assertEqual(vm.reg(REG_LINK_ABI), 0x10001)

    def test_nothing_is_sent_before_pvhcad_accepts(self):
        vm = self.machine()
        vm.hostd.accept()
        self.assertEqual(vm.hostd.receive()[0], HELLO)
        vm.hostd.sock.settimeout(0.3)
        with self.assertRaises(socket.timeout):
            vm.hostd.receive()

    def test_every_eventfd_is_sent_once(self):
        vm = self.linked(device=",vectors=21,doorbells=64")
        wanted = {(EVENT_ADMIN_DB, 0)} | {(EVENT_DATA_DB, i) for i in range(64)} | \
            {(EVENT_VECTOR, i) for i in range(1, 21)}
        self.assertEqual(set(vm.hostd.events), wanted)

    def test_link_is_shown_with_versions_and_generation(self):
        vm = self.linked()
        self.assertEqual(vm.text(REG_HOSTD_VERSION), "hostd 9.9")
        self.assertEqual(vm.reg(REG_LINK_ABI), 0x10000)
        self.assertEqual(vm.reg(REG_GENERATION), 1)

    def test_losing_pvhcad_is_shown_and_its_return_too(self):
        vm = self.enabled()
        vm.hostd.hang_up()
        vm.until_status(0)
        vm.until_raised(0)
        self.assertEqual(vm.text(REG_HOSTD_VERSION), "")
        self.assertEqual(vm.reg(REG_LINK_ABI), 0)
        vm.hostd.greet()
        vm.until_status(LINK)
        vm.until_raised(0)
        self.assertEqual(vm.reg(REG_GENERATION), 2)
        self.assertTrue(vm.hostd.memory and vm.hostd.events)
        self.enable(vm)

    def test_without_reconnect_the_machine_goes_on(self):
        vm = self.linked(chardev="")
        vm.hostd.hang_up()
        vm.until_status(0)

    def test_other_major_version_is_refused_and_shown(self):
        for reply in (dict(major=2, version=b"hostd 2.0"),
                      dict(refused=errno.EPROTO, version=b"hostd 2.0",
                           reason=b"too old\n")):
            vm = self.machine()
            vm.setup()
            vm.hostd.accept()
            vm.hostd.receive()
            vm.hostd.send(HELLO_REPLY, Hostd.hello_reply(**reply))
            self.expect_gone(vm)
            vm.until_status(FAILED)
            vm.until_raised(0)
            self.assertEqual(vm.reg(REG_ERROR), ERR_BACKEND_VERSION)
            self.assertEqual(vm.text(REG_HOSTD_VERSION), "hostd 2.0")
            # A pvhcad that fits is used when it comes.
            vm.hostd.greet()
            vm.until_status(FAILED | LINK)
            vm.set_reg(REG_CONTROL, CONTROL_RESET)
            vm.hostd.reply(RESET_REPLY, *self.expect(vm, RESET, "=Q"))
            vm.until_status(LINK)
            self.enable(vm)

    def test_refusal_by_policy_is_logged(self):
        vm = self.machine()
        vm.setup()
        vm.hostd.accept()
        vm.hostd.receive()
        vm.hostd.send(HELLO_REPLY,
                      Hostd.hello_reply(refused=errno.EACCES, reason=b"no such VM"))
        self.expect_gone(vm)
        self.assertEqual(vm.reg(REG_STATUS), 0)
        self.assertIn("pvhcad refuses this VM: no such VM", vm.output())

    def test_messages_in_single_bytes_are_put_together(self):
        vm = self.machine()
        vm.setup()
        vm.hostd.accept()
        vm.hostd.receive()
        message = struct.pack("=4I", LINK_MAGIC, HELLO_REPLY, 208, 0)
        message += Hostd.hello_reply()
        for byte in message:
            vm.hostd.sock.sendall(bytes([byte]))
        vm.until_status(LINK)

    def test_a_second_device_of_one_machine_has_its_own_session(self):
        vm = self.machine()
        other = Hostd(vm.folder + "/other")
        self.addCleanup(other.close)
        vm.command("chardev-add", id="b", backend={"type": "socket", "data": {
            "server": False,
            "addr": {"type": "unix", "data": {"path": vm.folder + "/other"}}}})
        other.accept()
        vm.hostd.greet()


class Malformed(Case):
    """Nothing that pvhcad sends ends or stops QEMU, only the connection."""

    def breaks(self, act, before_hello=False):
        vm = self.machine()
        vm.setup()
        if before_hello:
            vm.hostd.accept()
            vm.hostd.receive()
        else:
            vm.hostd.greet()
            vm.until_status(LINK)
        act(vm.hostd)
        self.expect_gone(vm)
        self.assertIn("pvhca: pvhcad ", vm.output())
        vm.until_status(0)
        # And all is well with the next one.
        vm.hostd.greet()
        vm.until_status(LINK)
        self.enable(vm)

    def test_wrong_magic(self):
        self.breaks(lambda h: h.send(FATAL, bytes(16), magic=1))

    def test_reserved_header_field(self):
        self.breaks(lambda h: h.send(FATAL, bytes(16), reserved=1))

    def test_unknown_type(self):
        self.breaks(lambda h: h.send(0x77, bytes(16)))

    def test_message_of_the_other_direction(self):
        self.breaks(lambda h: h.send(RESET, bytes(8)))

    def test_sizes(self):
        for size in (0, 15, 17, 512, 0x7FFFFFFF, 0xFFFFFFFF):
            with self.subTest(size=size):
                self.breaks(lambda h: h.send(RESET_REPLY, bytes(16), size=size))

    def test_descriptor(self):
        with open("/dev/null") as null:
            self.breaks(lambda h: h.send(RESET_REPLY, bytes(16), fds=[null.fileno()]))

    def test_reserved_payload_field(self):
        self.breaks(lambda h: h.reply(RESET_REPLY, 1, reserved=1))

    def test_fatal_without_an_error_or_with_an_id(self):
        self.breaks(lambda h: h.reply(FATAL, 0, 0))
        self.breaks(lambda h: h.reply(FATAL, 1, ERR_HOST))

    def test_anything_before_the_hello_reply(self):
        self.breaks(lambda h: h.reply(FATAL, 0, ERR_HOST), before_hello=True)

    def test_second_hello_reply(self):
        self.breaks(lambda h: h.send(HELLO_REPLY, h.hello_reply()))

    def test_feature_never_offered(self):
        self.breaks(lambda h: h.send(HELLO_REPLY, h.hello_reply(features=1)),
                    before_hello=True)

    def test_noise(self):
        self.breaks(lambda h: h.sock.sendall(os.urandom(100)))


class States(Case):
    def test_enable_and_reset(self):
        vm = self.enabled()
        vm.set_reg(REG_CONTROL, CONTROL_RESET)
        self.assertEqual(vm.reg(REG_STATUS), LINK | RESETTING)
        ident, = self.expect(vm, RESET, "=Q")
        self.assertFalse(vm.raised(0))
        vm.hostd.reply(RESET_REPLY, ident)
        vm.until_status(LINK)
        vm.until_raised(0)
        self.enable(vm)

    def test_enable_without_pvhcad_fails(self):
        vm = self.machine()
        vm.setup()
        vm.set_reg(REG_CONTROL, CONTROL_ENABLE)
        self.assertEqual(vm.reg(REG_STATUS), FAILED)
        self.assertEqual(vm.reg(REG_ERROR), ERR_NO_BACKEND)
        self.assertTrue(vm.raised(0))
        vm.set_reg(REG_CONTROL, CONTROL_RESET)
        self.assertEqual((vm.reg(REG_STATUS), vm.reg(REG_ERROR)), (0, 0))
        self.assertTrue(vm.raised(0))

    def test_enable_that_pvhcad_refuses(self):
        vm = self.linked()
        vm.set_reg(REG_CONTROL, CONTROL_ENABLE)
        ident, _ = self.expect(vm, ENABLE, "=QQ")
        vm.hostd.reply(ENABLE_REPLY, ident, ERR_ADMIN_AREA)
        vm.until_status(LINK | FAILED)
        vm.until_raised(0)
        self.assertEqual(vm.reg(REG_ERROR), ERR_ADMIN_AREA)
        vm.set_reg(REG_CONTROL, CONTROL_ENABLE)
        self.assertEqual(vm.reg(REG_ERROR), ERR_BAD_STATE)

    def test_second_enable_fails(self):
        vm = self.enabled()
        vm.set_reg(REG_CONTROL, CONTROL_ENABLE)
        self.assertEqual(vm.reg(REG_STATUS), LINK | FAILED)
        self.assertEqual(vm.reg(REG_ERROR), ERR_BAD_STATE)

    def test_enable_during_reset_fails_and_reset_still_ends(self):
        vm = self.enabled()
        vm.set_reg(REG_CONTROL, CONTROL_RESET)
        vm.set_reg(REG_CONTROL, CONTROL_ENABLE)
        self.assertEqual(vm.reg(REG_STATUS), LINK | RESETTING | FAILED)
        vm.hostd.reply(RESET_REPLY, *self.expect(vm, RESET, "=Q"))
        vm.until_status(LINK | FAILED)

    def test_many_resets_send_one_message(self):
        vm = self.enabled()
        for _ in range(100):
            vm.set_reg(REG_CONTROL, CONTROL_RESET)
        vm.hostd.reply(RESET_REPLY, *self.expect(vm, RESET, "=Q"))
        vm.until_status(LINK)
        self.enable(vm)

    def test_late_reply_is_not_taken_for_the_next_requests(self):
        vm = self.linked()
        vm.set_reg(REG_CONTROL, CONTROL_ENABLE)
        first, _ = self.expect(vm, ENABLE, "=QQ")
        vm.set_reg(REG_CONTROL, CONTROL_RESET)
        vm.hostd.reply(ENABLE_REPLY, first)
        vm.hostd.reply(RESET_REPLY, *self.expect(vm, RESET, "=Q"))
        vm.until_status(LINK)
        vm.set_reg(REG_CONTROL, CONTROL_ENABLE)
        second, _ = self.expect(vm, ENABLE, "=QQ")
        self.assertNotEqual(first, second)
        vm.hostd.reply(ENABLE_REPLY, first)
        vm.hostd.reply(RESET_REPLY, second)
        vm.hostd.reply(ENABLE_REPLY, second, ERR_ADMIN_AREA)
        vm.until_status(LINK | FAILED)
        self.assertEqual(vm.reg(REG_ERROR), ERR_ADMIN_AREA)

    def test_fatal_needs_a_reset(self):
        vm = self.enabled()
        vm.hostd.reply(FATAL, 0, ERR_HOST)
        vm.until_status(LINK | FAILED)
        vm.until_raised(0)
        self.assertEqual(vm.reg(REG_ERROR), ERR_HOST)
        vm.set_reg(REG_CONTROL, CONTROL_RESET)
        vm.hostd.reply(RESET_REPLY, *self.expect(vm, RESET, "=Q"))
        vm.until_status(LINK)
        self.assertEqual(vm.reg(REG_ERROR), 0)

    def test_reboot_resets_the_session(self):
        vm = self.enabled()
        vm.command("system_reset")
        ident, = self.expect(vm, RESET, "=Q")
        vm.setup()
        self.assertEqual(vm.reg(REG_STATUS), LINK | RESETTING)
        self.assertEqual(vm.reg(REG_ADMIN_LO), 0)
        vm.hostd.reply(RESET_REPLY, ident)
        vm.until_status(LINK)
        vm.hostd.settle()
        self.enable(vm)

    def test_reboot_clears_a_failure_without_pvhcad(self):
        vm = self.machine()
        vm.setup()
        vm.set_reg(REG_CONTROL, CONTROL_ENABLE)
        vm.command("system_reset")
        vm.setup()
        self.assertEqual((vm.reg(REG_STATUS), vm.reg(REG_ERROR)), (0, 0))


class Doorbells(Case):
    def test_doorbell_writes_wake_pvhcad(self):
        vm = self.linked(device=",doorbells=64")
        events = vm.hostd.events
        for i in (0, 1, 63):
            vm.write(BAR[2] + i * DB_STRIDE, 0x1234 + i)
            self.assertTrue(rung(events[EVENT_DATA_DB, i]))
        vm.write(BAR[2] + DB_ADMIN, 0)
        self.assertTrue(rung(events[EVENT_ADMIN_DB, 0]))
        self.assertTrue(all(quiet(events[EVENT_DATA_DB, i]) for i in (0, 1, 2, 63)))

    def test_other_writes_do_not(self):
        vm = self.linked()
        for at, size in ((0, 1), (0, 2), (0, 8), (4, 4), (1, 4), (64 * 8, 4),
                         (DB_ADMIN, 8)):
            vm.write(BAR[2] + at, 1, size)
        for key, fd in vm.hostd.events.items():
            if key[0] != EVENT_VECTOR:
                self.assertTrue(quiet(fd), key)


class Interrupts(Case):
    def signal(self, vm, vector):
        os.write(vm.hostd.events[EVENT_VECTOR, vector], struct.pack("=Q", 1))

    def pending(self, vm, vector):
        return bool(vm.read(vm.pba + vector // 32 * 4) >> vector % 32 & 1)

    def test_pvhcad_raises_vectors(self):
        vm = self.linked(device=",vectors=66")
        for vector in (1, 2, 65):
            self.signal(vm, vector)
            vm.until_raised(vector)
        self.assertFalse(vm.raised(3))

    def test_masked_vector_waits_and_is_not_lost(self):
        vm = self.linked()
        vm.mask(1, True)
        self.signal(vm, 1)
        vm.until(lambda: self.pending(vm, 1), "pending bit")
        self.assertFalse(vm.raised(1))
        vm.mask(1, False)
        vm.until_raised(1)
        self.assertFalse(self.pending(vm, 1))

    def test_config_vector_waits_while_masked(self):
        vm = self.enabled()
        vm.mask(0, True)
        vm.hostd.reply(FATAL, 0, ERR_HOST)
        vm.until_status(LINK | FAILED)
        self.assertTrue(self.pending(vm, 0))
        self.assertFalse(vm.raised(0))
        vm.mask(0, False)
        vm.until_raised(0)

    def test_interrupts_without_msix_do_no_harm(self):
        vm = self.linked()
        vm.enable_msix(False)
        self.signal(vm, 1)
        vm.hostd.hang_up()
        vm.until_status(0)


class Memory(Case):
    def covered(self, vm):
        """Bytes of guest RAM that pvhcad has."""
        return sum(size for size, *_ in vm.hostd.memory.values())

    def test_regions_are_the_guests_ram(self):
        vm = self.linked()
        for gpa in (0x1000, 0x9F000, 0x100000, 0x200000, 0x3FFF000):
            base = next(b for b, (size, *_) in vm.hostd.memory.items()
                        if b <= gpa < b + size)
            size, offset, page, fd = vm.hostd.memory[base]
            self.assertEqual(page, 4096)
            with mmap.mmap(fd, size, offset=offset) as ram:
                vm.write(gpa, 0xFEED0000 + gpa)
                self.assertEqual(struct.unpack_from("<I", ram, gpa - base)[0],
                                 (0xFEED0000 + gpa) & 0xFFFFFFFF)
                struct.pack_into("<I", ram, gpa - base, 0x600D)
                self.assertEqual(vm.read(gpa), 0x600D)
        for gpa, (size, offset, *_) in vm.hostd.memory.items():
            self.assertEqual((gpa % 4096, size % 4096, offset % 4096), (0, 0, 0))
        self.assertIn(0x100000, vm.hostd.memory)
        self.assertEqual(vm.hostd.memory[0x100000][0], 63 << 20)

    def test_ram_above_4g(self):
        vm = self.linked(size="5G")
        self.assertEqual(vm.hostd.memory[1 << 32][:2], ((5 << 30) - (2 << 30), 2 << 30))

    def test_remapping_the_first_mib_leaves_the_rest_alone(self):
        vm = self.linked()
        before = dict(vm.hostd.memory)
        for pam in range(0x90, 0x97):
            vm.config_write_byte(pam, 0x33, slot=0)
        vm.hostd.settle()
        self.assertNotEqual(vm.hostd.memory, before)
        self.assertEqual(vm.hostd.memory[0x100000], before[0x100000])
        self.assertTrue(all(kind != MEM_DEL or struct.unpack("=4Q", payload)[0] < 0x100000
                            for kind, payload, _ in vm.hostd.kept))

    def test_memory_is_hot_plugged(self):
        vm = self.linked()
        before = self.covered(vm)
        vm.command("object-add", **{"qom-type": "memory-backend-memfd", "id": "more",
                                    "size": 128 << 20, "share": True})
        self.assertIn("return", vm.command("device_add", driver="pc-dimm", id="dimm",
                                           memdev="more"))
        vm.hostd.settle()
        self.assertEqual(self.covered(vm), before + (128 << 20))

    def test_private_memory_plugged_later_is_left_out(self):
        vm = self.linked()
        before = self.covered(vm)
        vm.command("object-add", **{"qom-type": "memory-backend-ram", "id": "more",
                                    "size": 128 << 20})
        vm.command("device_add", driver="pc-dimm", id="dimm", memdev="more")
        vm.hostd.settle()
        self.assertEqual(self.covered(vm), before)
        self.assertIn("memory backend 'more' is not shared", vm.output())

    def test_pvhcad_that_does_not_read_stops_nobody(self):
        vm = self.linked()
        try:
            # Each write changes the memory map, so that QEMU has something to say.
            for i in range(20000):
                vm.config_write_byte(0x90, 0x30 if i % 2 else 0x00, slot=0)
                if vm.reg(REG_STATUS) == 0:
                    break
        finally:
            self.assertEqual(vm.reg(REG_STATUS), 0)
        self.assertIn("pvhcad does not read", vm.output())
        vm.hostd.greet()
        vm.until_status(LINK)

    def test_slow_reader_gets_everything_in_order(self):
        vm = self.linked()
        for i in range(700):
            vm.config_write_byte(0x90, 0x30 if i % 2 == 0 else 0x00, slot=0)
        self.assertEqual(vm.reg(REG_STATUS), LINK)
        before = dict(vm.hostd.memory)
        vm.hostd.settle()
        self.assertEqual({k: v[:3] for k, v in vm.hostd.memory.items()},
                         {k: v[:3] for k, v in before.items()})
        self.enable(vm)


class Random(Case):
    def act(self, vm, rng):
        """Something that a guest may do."""
        bar, size = rng.choice(BAR), rng.choice((1, 2, 4, 8))
        where = rng.choice((rng.randrange(0x100), rng.randrange(0xFF8)))
        if rng.randrange(3) == 0:
            vm.set_reg(REG_CONTROL, rng.choice((CONTROL_RESET, CONTROL_ENABLE, 7)))
        elif rng.randrange(20) == 0:
            vm.enable_msix(rng.randrange(2))
        elif rng.randrange(3) == 0:
            vm.read(bar + where, size)
        elif bar != BAR[1]:
            vm.write(bar + where, rng.getrandbits(8 * size), size)
        else:
            vm.mask(rng.randrange(vm.vectors), rng.randrange(2))

    def answer(self, vm, rng):
        """Something that pvhcad may say, seldom nonsense."""
        kind = rng.choice((ENABLE_REPLY, RESET_REPLY, FATAL))
        if rng.randrange(30) == 0:
            vm.hostd.send(rng.choice((kind, 0x55)), os.urandom(rng.randrange(40)))
        elif kind == FATAL:
            vm.hostd.reply(kind, 0, rng.randrange(1, 12))
        else:
            vm.hostd.reply(kind, rng.randrange(40), rng.randrange(3))

    def test_random_guest_and_random_pvhcad_leave_qemu_usable(self):
        vm = self.linked()
        rng = random.Random(2017)
        for _ in range(4000):
            self.act(vm, rng)
            if rng.randrange(10) == 0:
                try:
                    self.answer(vm, rng)
                except (BrokenPipeError, ConnectionResetError):
                    vm.hostd.greet()
        vm.hostd.hang_up()
        vm.until(lambda: not vm.reg(REG_STATUS) & LINK, "no link")
        vm.hostd.greet()
        vm.setup()
        vm.until(lambda: vm.reg(REG_STATUS) & LINK, "link")
        vm.set_reg(REG_CONTROL, CONTROL_RESET)
        vm.hostd.reply(RESET_REPLY, *self.expect(vm, RESET, "=Q"))
        vm.until_status(LINK)
        vm.raised(0)
        self.enable(vm)


class Unplug(Case):
    CYCLES = 50

    def eject(self, vm, ident):
        """As a guest does that was asked to."""
        self.assertIn("return", vm.command("device_del", id=ident))
        vm.line("outl 0xae10 0")
        vm.line(f"outl 0xae08 {1 << SLOT:#x}")

    def test_device_that_is_plugged_and_unplugged_again_and_again_leaves_nothing(self):
        vm = self.enabled(machine="pc")
        before = None
        for i in range(self.CYCLES):
            self.eject(vm, "hca")
            self.expect_gone(vm)
            answer = vm.command("device_add", driver="pvhca", id="hca", chardev="hostd",
                                addr=f"{SLOT:x}")
            self.assertIn("return", answer)
            vm.hostd.greet()
            vm.setup()
            vm.until_status(LINK)
            vm.raised(0)
            self.enable(vm)
            descriptors = len(os.listdir(f"/proc/{vm.process.pid}/fd"))
            before = before or descriptors
            self.assertEqual(descriptors, before, f"after {i + 1} cycles")

    def test_unplugged_device_ends_its_session_and_can_be_plugged_again(self):
        vm = self.enabled(machine="pc")
        self.eject(vm, "hca")
        self.expect_gone(vm)
        answer = vm.command("device_add", driver="pvhca", id="hca2", chardev="hostd",
                            addr=f"{SLOT:x}")
        self.assertIn("return", answer)
        # The character device may have connected meanwhile, with nobody behind it.
        vm.hostd.greet()
        vm.setup()
        vm.until_status(LINK)
        self.enable(vm)


if __name__ == "__main__":
    signal.alarm(280)
    unittest.main()
