#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A pvhcad that answers the control path, moves no data, and misbehaves on demand.

The driver's promises are about hosts that are slow, gone, or wrong; the real pvhcad is none of that at will. It speaks
the link ABI (qemu/include/pvhca-link.h) and the admin ABI (kernel/include/pvhca/pvhca-admin.h) for one QEMU at a time.
Beside its socket, at PATH.control, it takes one JSON list per connection, [method, argument...] of class Control, and
answers with JSON.
"""

import argparse
import array
import json
import mmap
import os
import select
import socket
import struct
import threading
import time
import traceback

import fake_gsi

GRANULE = 4096
LINK_MAGIC = 0x4b4e4c50
LINK_HEADER = struct.Struct("<4I")
HELLO, EVENT_FDS, MEM_ADD, MEM_DEL, ENABLE, RESET = range(1, 7)
HELLO_REPLY, ENABLE_REPLY, RESET_REPLY, FATAL = range(0x81, 0x85)
ADMIN_DB, DATA_DB, VECTOR = range(3)
VECTOR_ADMIN = 1
DB_STRIDE, GSI_DOORBELL = 8, 24

PHASE = 1 << 31
COMMAND_SIZE = 256
INLINE_EXTENTS, CHUNK_EXTENTS = 4, 255
EQ_HEADER = 64
AREA_HOSTD, AREA_SQ_PI = 1024, 2048
FEATURE_PAIR = 1

COMMANDS = ("NOP QUERY_DEVICE QUERY_PORT CREATE_CEQ DESTROY_CEQ ADD_GID DEL_GID ALLOC_CONTEXT DEALLOC_CONTEXT ALLOC_PD "
            "DEALLOC_PD REG_MR DEREG_MR CREATE_CQ DESTROY_CQ CREATE_QP MODIFY_QP QUERY_QP DESTROY_QP CREATE_AH DESTROY_AH "
            "CREATE_SRQ MODIFY_SRQ QUERY_SRQ DESTROY_SRQ ALLOC_MW DEALLOC_MW REREG_MR RESIZE_CQ ATTACH_MCAST "
            "DETACH_MCAST ALLOC_MR").split()
MAKING, ENDING = ("CREATE", "ALLOC", "REG"), ("DESTROY", "DEALLOC", "DEREG")
STATUS = {"OK": 0, "INVALID": 1, "NO_MEMORY": 2, "UNSUPPORTED": 4, "DENIED": 5, "BUSY": 6, "VERSION": 8, "IO": 9,
          "TIMED_OUT": 12, "UNREACHABLE": 13}


def log(*words):
    print(f"{time.monotonic():.3f}", *words, flush=True)


class Behaviour:
    """What a test asked for."""

    def __init__(self):
        self.unanswered = []        # what commands that were dropped wait for
        self.unanswered_region = b""   # the body of the last REG_MR that was dropped
        self.kernel_caps = 0        # PVHCA_KERNEL_*; clear() leaves it
        self.pair = None            # MAC of the interface to pair with; likewise
        self.sessions = 0           # that were enabled
        self.clear()

    def clear(self):
        self.drop = set()           # commands that are not answered
        self.silent = set()         # commands whose answers raise no interrupt
        self.event_before = {}      # command: [event, handle] that happens before it, without an interrupt either
        self.refuse = {}            # command: status
        self.mangle = {}            # command: (index, value) of a word of its answer
        self.delay = {}             # command: seconds
        self.port_state, self.port_mtu, self.netdev_mtu = 4, 5, 4200
        self.enable_error, self.enable_delay = 0, 0
        self.admin_major = 1
        self.features = 0           # that are in use, asked for or not
        self.reset_ends = True
        self.reset_delay = 0        # seconds
        self.version, self.message, self.host_device = "fake 0", "it was asked to refuse", "fake"
        self.hello_refused = False


class Memory:
    """The guest's RAM."""

    def __init__(self):
        self._regions = {}

    def add(self, gpa, size, fd, offset):
        self._regions[gpa] = (size, mmap.mmap(fd, size, offset=offset))
        os.close(fd)

    def remove(self, gpa):
        self._regions.pop(gpa)

    def _find(self, gpa, size):
        for start, (length, memory) in self._regions.items():
            if start <= gpa and gpa + size <= start + length:
                return memory, gpa - start
        raise ValueError(f"{gpa:#x}+{size:#x} is not guest RAM")

    def read(self, gpa, size):
        memory, at = self._find(gpa, size)
        return memory[at:at + size]

    def write(self, gpa, data):
        memory, at = self._find(gpa, len(data))
        memory[at:at + len(data)] = data

    def word(self, gpa):
        return struct.unpack("<I", self.read(gpa, 4))[0]

    def extents(self, listing):
        """Read a struct pvhca_mem_list, as strictly as pvhcad does."""
        count, reserved, length, chunk = struct.unpack_from("<IIQQ", listing)
        assert count and not reserved and (chunk != 0) == (count > INLINE_EXTENTS), (count, reserved, chunk)
        found = []
        if not chunk:
            found = [struct.unpack_from("<QQ", listing, 24 + 16 * i) for i in range(count)]
        while chunk:
            assert chunk % GRANULE == 0
            page = self.read(chunk, GRANULE)
            chunk, reserved = struct.unpack_from("<QQ", page)
            here = min(count - len(found), CHUNK_EXTENTS)
            assert not reserved and here
            found += [struct.unpack_from("<QQ", page, 16 + 16 * i) for i in range(here)]
        assert len(found) == count and sum(size for _, size in found) == length
        assert all(gpa % GRANULE == 0 and size % GRANULE == 0 and size for gpa, size in found)
        return found


    def sum_of_region(self, body):
        """The sum of the bytes of a struct pvhca_cmd_reg_mr."""
        length, offset = struct.unpack_from("<QQ", body, 16)
        content = b"".join(self.read(*extent) for extent in self.extents(body[32:]))
        assert offset + length <= len(content)
        return sum(content[offset:offset + length]) & 0xffffffff


class Ring:
    """What pvhcad writes with a phase bit: admin completions and events."""

    def __init__(self, memory, gpa, log_entries, size):
        self._memory, self._gpa, self._log, self._size = memory, gpa, log_entries, size
        self._next = 0

    def put(self, entry, flags=0):
        """The entry without its last word, which has the phase."""
        at = self._gpa + self._next % (1 << self._log) * self._size
        phase = 0 if self._next >> self._log & 1 else PHASE
        self._memory.write(at, entry.ljust(self._size - 4, b"\0"))
        self._memory.write(at + self._size - 4, struct.pack("<I", flags | phase))
        self._next += 1


class EventQueue(Ring):
    """With the header that says how far the driver has read: a full queue waits."""

    def __init__(self, memory, gpa, log_entries, size):
        super().__init__(memory, gpa + EQ_HEADER, log_entries, size)
        self._header = gpa

    def put(self, entry, flags=0):
        while (self._next - self._memory.word(self._header)) & 0xffffffff >= 1 << self._log:
            time.sleep(0.001)
        super().put(entry, flags)


class Admin:
    """One enabled session: the admin queue and what its commands made."""

    def __init__(self, memory, eventfds, behaviour, area_gpa):
        self.memory, self.eventfds, self.behaviour = memory, eventfds, behaviour
        self.area = area_gpa
        area = memory.read(area_gpa, GRANULE)
        (self.magic, self.major, self.minor, _, self.sq, cq, aeq, self.sq_log, cq_log,
         aeq_log) = struct.unpack_from("<IHHQQQQBBB", area)
        self.completions = Ring(memory, cq, cq_log, COMMAND_SIZE)
        self.events = EventQueue(memory, aeq, aeq_log, 16)
        self.ceqs, self.cq_ceq, self.qp_state = {}, {}, {}
        self.handles = self.slots = 0
        self.alive, self.members, self.late_members, self.limits = {}, set(), set(), {}
        self.read = 0
        self.commands = []
        self.driver = self.gsi = self.gsi_slot = self.driver_page = None
        self.driver_cqs = {}

    def raise_vector(self, vector):
        os.eventfd_write(self.eventfds[VECTOR, vector], 1)

    def serve(self):
        while self.read != self.memory.word(self.area + AREA_SQ_PI):
            at = self.sq + self.read % (1 << self.sq_log) * COMMAND_SIZE
            self.read = self.read + 1 & 0xffffffff
            self._command(self.memory.read(at, COMMAND_SIZE))

    def answer(self, cookie, status, response, silent=False):
        self.completions.put(response.ljust(COMMAND_SIZE - 12, b"\0") + struct.pack("<II", cookie, status))
        if not silent:
            self.raise_vector(VECTOR_ADMIN)

    def async_event(self, event, handle):
        self.events.put(struct.pack("<III", event, handle, 0))
        self.raise_vector(VECTOR_ADMIN)

    def completion_event(self, cq):
        vector, ring = self.ceqs[self.cq_ceq[cq]]
        ring.put(struct.pack("<I", cq))
        self.raise_vector(vector)

    def _command(self, raw):
        cookie, opcode, flags = struct.unpack_from("<IHH", raw)
        name = COMMANDS[opcode]
        assert not flags
        details, response = getattr(self, f"_{name.lower()}", self._other)(raw[8:])
        status = STATUS[self.behaviour.refuse.get(name, "OK")]
        log(name, details, f"status {status}")
        if not status:
            self._account(name, details)
        if name in self.behaviour.mangle:
            index, value = self.behaviour.mangle[name]
            response = response[:4 * index] + struct.pack("<I", value) + response[4 * index + 4:]
        self.commands.append([name, details])
        time.sleep(self.behaviour.delay.get(name, 0))
        if name in self.behaviour.event_before:
            self.events.put(struct.pack("<III", *self.behaviour.event_before.pop(name), 0))
        if name in self.behaviour.drop:
            self.behaviour.unanswered.append((cookie, status, response))
            if name == "REG_MR":
                self.behaviour.unanswered_region = raw[8:]
        else:
            self.answer(cookie, status, response, name in self.behaviour.silent)

    def _account(self, name, details):
        """What there is: of each handle, what it is of."""
        verb, _, kind = name.partition("_")
        if verb in MAKING:
            self.alive[details["made"]] = kind
        elif verb in ENDING:
            assert self.alive.pop(details["handle"]) == kind
            assert not any(qp == details["handle"] for qp, _ in self.members)

    def _other(self, body):
        return {"handle": struct.unpack_from("<I", body)[0]}, b""

    def _made(self, **details):
        self.handles += 1
        return {"made": self.handles, **details}, struct.pack("<II", self.handles, 0)

    def _query_device(self, _):
        numbers = (0x1af4, 0x10f0, 1, 1000, 4096, 16, 16, 256, 1000, 65535, 1000, 100, 16, 16, 16, 1,
                   1000, 100, 10, 1000, 1000, 100, 4096, 16, 1, 64, 128)
        response = struct.pack("<6Q", 1 << 40, 0xfffff000, 0, 0, 0, 0) + struct.pack("<27I", *numbers)
        mac = bytes.fromhex((self.behaviour.pair or "52:54:00:77:00:01").replace(":", ""))
        response += bytes(4) + mac + struct.pack("<H", self.behaviour.kernel_caps)
        return {}, response + b"fake-fw".ljust(32, b"\0") + self.behaviour.host_device.encode().ljust(32, b"\0")

    def _query_port(self, _):
        wanted = self.behaviour
        return {}, struct.pack("<6BH6I", wanted.port_state, 5, 5, wanted.port_mtu, 2, 1, 32, 1 << 31, 1, 128,
                               wanted.netdev_mtu, 0, 0)

    def _create_ceq(self, body):
        gpa, log_entries, vector = struct.unpack_from("<QII", body)
        details, response = self._made(log_entries=log_entries, vector=vector)
        self.ceqs[details["made"]] = vector, EventQueue(self.memory, gpa, log_entries, 8)
        return details, response

    def _add_gid(self, body):
        return {"gid": socket.inet_ntop(socket.AF_INET6, body[:16]), "index": struct.unpack_from("<I", body, 16)[0]}, b""

    def _alloc_context(self, body):
        page, major, minor, flags = struct.unpack_from("<QHHI", body)
        assert self.memory.word(page) == 1 and not any(body[16:48])
        details, _ = self._made(flags=flags)
        if flags & fake_gsi.CONTEXT_KERNEL:
            self.driver, self.driver_page = details["made"], page
        return details, struct.pack("<IHH", details["made"], 1, 0)

    def _alloc_pd(self, _):
        return self._made()

    def _reg_mr(self, body):
        _, access, iova, length = struct.unpack_from("<IIQQ", body)
        details, _ = self._made(access=access, iova=iova, length=length, extents=len(self.memory.extents(body[32:])),
                                sum=self.memory.sum_of_region(body))
        return details, struct.pack("<4I", details["made"], 0x100, 0x200, 0)

    def _create_cq(self, body):
        context, ceq, log_entries, flags = struct.unpack_from("<4I", body)
        details, _ = self._made(log_entries=log_entries, flags=flags, extents=self.memory.extents(body[16:]))
        self.cq_ceq[details["made"]] = ceq
        if context == self.driver:
            self.driver_cqs[details["made"]] = fake_gsi.CompletionQueue(
                self.memory, details["extents"], log_entries, lambda: self.completion_event(details["made"]))
        return details, struct.pack("<II", details["made"], 8)

    def _create_qp(self, body):
        cap = body[28:48]
        srq, kind, flags = struct.unpack_from("<3I", body, 16)
        details, _ = self._made(type=kind, srq=srq, flags=flags, max_recv_wr=struct.unpack_from("<I", cap, 4)[0],
                                extents=self.memory.extents(body[64:]))
        self.qp_state[details["made"]] = 0
        self.slots += 1
        if details["type"] == fake_gsi.GSI:
            context, _, send_cq, recv_cq = struct.unpack_from("<4I", body)
            assert context == self.driver
            self.gsi = fake_gsi.QueuePair(self.memory, details["extents"], body[48:60], self.driver_cqs[send_cq],
                                          self.driver_cqs[recv_cq], self.driver_page)
            self.gsi_slot = self.slots - 1
            return details, struct.pack("<4I", details["made"], fake_gsi.GSI, self.gsi_slot, GSI_DOORBELL) + cap
        return details, struct.pack("<4I", details["made"], 0x1000 + details["made"], self.slots - 1, 16) + cap

    def _resize_cq(self, body):
        cq, log_entries = struct.unpack_from("<II", body)
        extents = self.memory.extents(body[8:])
        assert self.alive[cq] == "CQ"
        # The header, and an entry at least, are the application's to zero.
        assert not any(self.memory.read(extents[0][0], 160))
        return {"handle": cq, "log_entries": log_entries, "extents": extents}, b""

    def _create_srq(self, body):
        _, _, max_wr, max_sge, limit, offset, log_entries, log_stride = struct.unpack_from("<6I2B", body)
        details, _ = self._made(max_wr=max_wr, max_sge=max_sge, limit=limit, offset=offset, log_entries=log_entries,
                                log_stride=log_stride, extents=self.memory.extents(body[32:]))
        self.slots += 1
        self.limits[details["made"]] = limit
        return details, struct.pack("<6I", details["made"], 0x2000, self.slots - 1, 16, 1 << log_entries, max_sge)

    def _modify_srq(self, body):
        srq, mask, limit = struct.unpack_from("<III", body)
        self.limits[srq] = limit
        return {"handle": srq, "mask": mask, "limit": limit}, b""

    def _query_srq(self, body):
        srq = struct.unpack_from("<I", body)[0]
        return {"handle": srq}, struct.pack("<4I", 16, 1, self.limits[srq], 0)

    def _create_ah(self, body):
        flow_label, sgid_index, hop_limit, traffic_class, sl, port, _, is_global = struct.unpack_from("<I7B", body, 24)
        assert port == is_global == 1
        return self._made(dgid=socket.inet_ntop(socket.AF_INET6, body[8:24]), flow_label=flow_label,
                          sgid_index=sgid_index, hop_limit=hop_limit, traffic_class=traffic_class, sl=sl)

    def _alloc_mw(self, body):
        details, _ = self._made(type=struct.unpack_from("<II", body)[1])
        return details, struct.pack("<II", details["made"], 0x300)

    def _rereg_mr(self, body):
        mr, flags, pd, access, iova, length, offset = struct.unpack_from("<4I3Q", body)
        details = {"handle": mr, "flags": flags, "pd": pd, "access": access, "iova": iova, "length": length}
        assert self.alive[mr] == "MR"
        if flags & 1:
            extents = self.memory.extents(body[40:])
            assert offset + length <= sum(size for _, size in extents)
        else:
            assert not any(body[16:])
        return details, struct.pack("<4I", mr, 0x101, 0x201, 0)

    def _attach_mcast(self, body):
        member = struct.unpack_from("<I", body, 16)[0], socket.inet_ntop(socket.AF_INET6, body[:16])
        if "ATTACH_MCAST" in self.behaviour.drop:
            self.late_members.add(member)   # which the driver hears of when the QP may be gone
        elif "ATTACH_MCAST" not in self.behaviour.refuse:
            self.members.add(member)
        return {"member": member}, b""

    def _detach_mcast(self, body):
        member = struct.unpack_from("<I", body, 16)[0], socket.inet_ntop(socket.AF_INET6, body[:16])
        (self.late_members if member in self.late_members else self.members).remove(member)
        return {"member": member}, b""

    def _modify_qp(self, body):
        qp, mask = struct.unpack_from("<II", body)
        if mask & 1:
            self.qp_state[qp] = body[8]
        return {"handle": qp, "mask": mask, "state": body[8], "dgid": body[48:64].hex()}, b""

    def _query_qp(self, body):
        qp = struct.unpack_from("<I", body)[0]
        return {"handle": qp}, bytes((self.qp_state[qp],)).ljust(128, b"\0")


class Session:
    """One connection of QEMU's."""

    def __init__(self, connection, behaviour):
        self.connection, self.behaviour = connection, behaviour
        self.memory, self.eventfds = Memory(), {}
        self.admin = None

    def send(self, kind, payload):
        self.connection.sendall(LINK_HEADER.pack(LINK_MAGIC, kind, len(payload), 0) + payload)

    def _receive(self, size):
        data, fds = b"", array.array("i")
        while len(data) < size:
            part, ancillary, _, _ = self.connection.recvmsg(size - len(data), socket.CMSG_LEN(8 * fds.itemsize))
            if not part:
                raise EOFError
            for _, _, words in ancillary:
                fds.frombytes(words)
            data += part
        return data, list(fds)

    def run(self):
        while True:
            doorbell = self.eventfds.get((ADMIN_DB, 0))
            ready = select.select([self.connection] + ([doorbell] if doorbell is not None else []), [], [])[0]
            if doorbell in ready:
                os.eventfd_read(doorbell)
                if self.admin:
                    self.admin.serve()
            if self.connection in ready:
                header, fds = self._receive(LINK_HEADER.size)
                _, kind, size, _ = LINK_HEADER.unpack(header)
                self._message(kind, self._receive(size)[0], fds)

    def _message(self, kind, payload, fds):
        if kind == HELLO:
            self._hello()
        elif kind == EVENT_FDS:
            what, first, _, _ = struct.unpack("<4I", payload)
            self.eventfds.update({(what, first + i): fd for i, fd in enumerate(fds)})
        elif kind == MEM_ADD:
            gpa, size, offset, _ = struct.unpack("<4Q", payload)
            self.memory.add(gpa, size, fds[0], offset)
        elif kind == MEM_DEL:
            self.memory.remove(struct.unpack("<4Q", payload)[0])
        elif kind == ENABLE:
            self._enable(*struct.unpack("<QQ", payload))
        elif kind == RESET:
            log("RESET")
            self.admin = None
            time.sleep(self.behaviour.reset_delay)
            if self.behaviour.reset_ends:
                self.send(RESET_REPLY, payload + struct.pack("<II", 0, 0))

    def _hello(self):
        refused = self.behaviour.hello_refused
        major, error, reason = (9, 71, b"of another age") if refused else (1, 0, b"")
        self.send(HELLO_REPLY, struct.pack("<HHIQ32s160s", major, 0, error, 0, self.behaviour.version.encode(),
                                              reason))
        if refused:
            raise EOFError

    def _enable(self, number, area):
        time.sleep(self.behaviour.enable_delay)
        error = self.behaviour.enable_error
        message = self.behaviour.message.encode() if error else b""
        features = 0 if error else self.behaviour.features | (FEATURE_PAIR if self.behaviour.pair else 0)
        self.memory.write(area + AREA_HOSTD, struct.pack("<IHHQ32s160s", error, self.behaviour.admin_major, 1, features,
                                                         self.behaviour.version.encode(), message))
        self.admin = None if error else Admin(self.memory, self.eventfds, self.behaviour, area)
        self.behaviour.sessions += not error
        log("ENABLE", error)
        self.send(ENABLE_REPLY, struct.pack("<QII", number, error, 0))

    def close(self):
        for fd in self.eventfds.values():
            os.close(fd)
        self.connection.close()


class Control:
    """What a test may ask for."""

    def __init__(self):
        self.behaviour = Behaviour()
        self.session = None

    def set(self, **values):
        for key, value in values.items():
            assert hasattr(self.behaviour, key)
            setattr(self.behaviour, key, set(value) if key in ("drop", "silent") else value)

    def behave(self):
        """From now on. Commands that were not answered stay so."""
        self.behaviour.clear()

    def answer_late(self):
        """Complete, in the session that there is, what an earlier one left unanswered."""
        late, self.behaviour.unanswered = self.behaviour.unanswered, []
        for answer in late:
            self.session.admin.answer(*answer)
        return len(late)

    def unanswered_sum(self):
        """The sum of the bytes of the last region whose command was dropped, by what is in memory now."""
        return self.session.memory.sum_of_region(self.behaviour.unanswered_region)

    def commands(self):
        """Of this session: [name, details]."""
        return self.session.admin.commands

    def alive(self):
        """Objects of this session, by kind, but the driver's own."""
        kinds = [kind for kind in self.session.admin.alive.values() if kind != "CEQ"]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}

    def async_event(self, event, handle):
        self.session.admin.async_event(event, handle)

    def completion_event(self, cq):
        self.session.admin.completion_event(cq)

    def sessions(self):
        return self.behaviour.sessions

    def mads(self, complete=True):
        """MADs that were sent since the last call: destination, hexadecimal. Unless complete, none ever completes."""
        return [(dgid, mad.hex()) for dgid, mad in self.session.admin.gsi.take(complete)]

    def put_mad(self, source, destination, mad):
        self.session.admin.gsi.put(source, destination, bytes.fromhex(mad))

    def gsi_receives(self):
        return self.session.admin.gsi.receives()

    def gsi_sleeps(self):
        """Be woken by the next send. Returns whether the doorbell had rung before."""
        doorbell = self.session.eventfds[DATA_DB, GSI_DOORBELL // DB_STRIDE]
        rang = bool(select.select([doorbell], [], [], 0)[0])
        if rang:
            os.eventfd_read(doorbell)
        self.session.admin.gsi.set_need_kick()
        return rang

    def gsi_pending(self):
        return self.session.admin.gsi.is_pending(self.session.admin.gsi_slot)

    def fail(self, error):
        self.session.send(FATAL, struct.pack("<QII", 0, error, 0))

    def hang_up(self):
        self.session.connection.shutdown(socket.SHUT_RDWR)

    def serve(self, listener):
        while True:
            connection, _ = listener.accept()
            with connection:
                try:
                    method, arguments = json.loads(connection.makefile().readline())
                    log("control:", method, arguments)
                    if isinstance(arguments, dict):
                        answer = getattr(self, method)(**arguments)
                    else:
                        answer = getattr(self, method)(*arguments)
                    connection.sendall(json.dumps({"answer": answer}).encode())
                except Exception as error:      # the test's, not ours
                    connection.sendall(json.dumps({"error": repr(error)}).encode())


def listen(path):
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(4)
    return listener


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", required=True)
    options, _ = parser.parse_known_args()
    control = Control()
    threading.Thread(target=control.serve, args=(listen(f"{options.socket}.control"),), daemon=True).start()
    listener = listen(options.socket)
    while True:
        connection, _ = listener.accept()
        session = control.session = Session(connection, control.behaviour)
        try:
            session.run()
        except (EOFError, OSError):
            log("connection ended")
        except Exception:
            traceback.print_exc()
            print("fake pvhcad: Assertion of the guest's correctness failed", flush=True)
        session.close()


if __name__ == "__main__":
    main()
