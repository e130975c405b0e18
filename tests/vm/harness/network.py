# SPDX-License-Identifier: GPL-2.0-or-later
"""The plain network between guests: 10.88.0.0/24, for the out-of-band TCP that test programs use."""

import contextlib
import selectors
import socket
import threading

FRAME = 65536 + 64
BROADCAST_BIT = 0x01


class Hub:
    """An Ethernet switch in the harness. It needs no privilege and leaves nothing on the host.

    Each port is a datagram socket pair, so a frame is a message; the guest's end outlives its QEMU.
    """

    def __init__(self, ports):
        self._ours, self._theirs = [], []
        self._learned = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        for _ in range(ports):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            ours.setblocking(False)
            self._selector.register(ours, selectors.EVENT_READ, ours)
            self._ours.append(ours)
            self._theirs.append(theirs)
        self._thread = threading.Thread(target=self._forward, name="hub", daemon=True)
        self._thread.start()

    def options(self, port, mac):
        """QEMU options and the descriptors to pass for one guest's interface."""
        fd = self._theirs[port].fileno()
        return ["-netdev", f"socket,id=net,fd={fd}",
                "-device", f"virtio-net-pci,id=net0,netdev=net,mac={mac},romfile="], [fd]

    def _forward(self):
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                with contextlib.suppress(OSError):
                    self._frame(key.data, key.data.recv(FRAME))

    def _frame(self, source, frame):
        destination, sender = frame[:6], frame[6:12]
        self._learned[sender] = source
        known = None if frame[0] & BROADCAST_BIT else self._learned.get(destination)
        for port in [known] if known else self._ours:
            if port is not source:
                with contextlib.suppress(OSError):      # a full or closed port loses the frame, as a switch's does
                    port.send(frame)

    def close(self):
        self._wake.send(b"x")
        self._thread.join()
        self._selector.close()
        for sock in [*self._ours, *self._theirs, self._wake, self._woken]:
            sock.close()


class Bridge:
    """A kernel bridge with a tap for each guest, so that the host itself is on the network too. For L1 only."""

    NAME = "vmtest0"

    def __init__(self, host, ports, address, vhost):
        self._host, self._ports, self._vhost = host, ports, vhost
        commands = [f"ip link add {self.NAME} type bridge", f"ip addr add {address}/24 dev {self.NAME}",
                    f"ip link set {self.NAME} up"]
        for port in range(ports):
            commands += [f"ip tuntap add {self._tap(port)} mode tap",
                         f"ip link set {self._tap(port)} master {self.NAME} up"]
        host.check(" && ".join(commands))

    def _tap(self, port):
        return f"vmtest-tap{port}"

    def options(self, port, mac):
        return ["-netdev", f"tap,id=net,ifname={self._tap(port)},script=no,downscript=no,"
                f"vhost={'on' if self._vhost else 'off'}",
                "-device", f"virtio-net-pci,id=net0,netdev=net,mac={mac},romfile="], []

    def close(self):
        names = [self.NAME, *(self._tap(port) for port in range(self._ports))]
        self._host.run("; ".join(f"ip link del {name}" for name in names))
