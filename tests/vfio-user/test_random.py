# SPDX-License-Identifier: GPL-2.0-or-later
"""Random messages of a monitor that has gone mad, in every state; the server serves the next one as if nothing was."""

import os
import random
import struct

from monitor import *

ROUNDS = 20
MESSAGES = 400
SIZES_OF = {DMA_MAP: 32, DMA_UNMAP: 24, GET_INFO: 16, GET_REGION_INFO: 32, GET_IRQ_INFO: 16, SET_IRQS: 20,
            REGION_READ: 16, REGION_WRITE: 24, DEVICE_RESET: 0}


class Random(Case):
    def number(self, rng):
        return rng.choice((0, 1, 2, 3, 4, 16, 20, 24, 32, PBA, 4096, 0x10000, rng.getrandbits(8), rng.getrandbits(32),
                           0xFFFFFFFF))

    def payload(self, rng, command):
        size = SIZES_OF.get(command, 20)
        words = [self.number(rng) for _ in range((size + 3) // 4)]
        if words and rng.randrange(3):
            words[0] = size             # argsz
        if command == SET_IRQS and rng.randrange(2):
            words[1:5] = [rng.choice((NONE, BOOL, EVENTFD)) | rng.choice((MASK, UNMASK, TRIGGER)), MSIX_INDEX,
                          rng.randrange(4), rng.randrange(4)]
        if command in (REGION_READ, REGION_WRITE) and rng.randrange(4):
            words[:4] = [rng.choice((0, 8, 12, 16, rng.randrange(256))), 0, rng.choice((REGS, MSIX, DOORBELL, CONFIG)),
                         rng.choice((4, 8))]
        data = struct.pack(f"={len(words)}I", *words)
        if rng.randrange(10) == 0:
            data += os.urandom(rng.randrange(64))
        return data[:rng.randrange(len(data) + 1)] if rng.randrange(10) == 0 else data

    def speak(self, client, rng, fds):
        """Send something; False if that must end the connection."""
        command = rng.choice(list(SIZES_OF)) if rng.randrange(20) else rng.getrandbits(16)
        with_fds = [rng.choice(fds) for _ in range(rng.choice((0, 0, 1, 1, 2, 3, 16)))]
        if rng.randrange(200) == 0:
            client.send_bytes(os.urandom(64), with_fds)
            return False
        flags = NO_REPLY if rng.randrange(3) == 0 else 0
        client.send(command, self.payload(rng, command), with_fds, flags=flags)
        if not flags:
            client.receive()
        return True

    def pvhcad(self, server, rng):
        """What pvhcad does meanwhile."""
        act = rng.randrange(4)
        if act == 0:
            server.hostd.hang_up()
        elif act == 1 and server.hostd.sock:
            try:
                server.hostd.sock.sendall(os.urandom(rng.randrange(300)))
            except OSError:
                pass

    def test_mad_monitors_leave_no_trace(self):
        server, rng = self.server(), random.Random(2017)
        with Client(server):
            server.hostd.greet()
            before = server.descriptors()
        fds = [memory(1 << 20), eventfd(), *os.pipe(), os.open("/dev/null", os.O_RDWR)]
        for _ in range(ROUNDS):
            with Client(server) as client:
                try:
                    server.hostd.listener.settimeout(1)
                    server.hostd.greet()
                    for _ in range(MESSAGES):
                        if not self.speak(client, rng, fds):
                            break
                        if rng.randrange(100) == 0:
                            self.pvhcad(server, rng)
                except (Gone, OSError):
                    pass
        for fd in fds:
            os.close(fd)
        server.hostd.hang_up()
        server.stop_hostd()
        server.start_hostd()
        with Client(server) as client:
            server.hostd.greet()
            self.until_status(client, 1)
            self.still_works(client)
            self.descriptors_stay(server, before)


if __name__ == "__main__":
    unittest.main()
