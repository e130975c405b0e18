# SPDX-License-Identifier: GPL-2.0-or-later
"""A pvhcad whose allocations are counted, and fail where a test wants it (allocations.c)."""
import mmap
import os
import struct
import tempfile

from pvhca import Daemon

LIVE, CALLS, FAIL_FROM, FAIL_TO, FAILED = range(0, 40, 8)
FOR_EVER = (1 << 64) - 1


class CountedDaemon(Daemon):
    """On the verbs fabric with a device that does nothing (engine.c)."""

    def __init__(self, *options, **kwargs):
        self.file = tempfile.NamedTemporaryFile(prefix="pvhca-allocations-")
        os.ftruncate(self.file.fileno(), mmap.PAGESIZE)
        self.control = mmap.mmap(self.file.fileno(), mmap.PAGESIZE)
        libraries = [os.environ["PVHCA_ALLOCATIONS_LIBRARY"]]
        if "verbs" in options:
            libraries.append(os.environ["PVHCA_ENGINE_LIBRARY"])
        super().__init__(*options, env={"LD_PRELOAD": " ".join(libraries),
                                        "PVHCA_ALLOCATIONS": self.file.name}, **kwargs)

    def get(self, what):
        return struct.unpack_from("<Q", self.control, what)[0]

    def set(self, what, value):
        struct.pack_into("<Q", self.control, what, value)

    def live(self):
        """Bytes that are allocated in all of the process."""
        return self.get(LIVE)

    def fail(self, first, last=None):
        """Let the calls from the first (1) to the last fail, of those that follow."""
        self.set(FAIL_FROM, 0)
        self.set(FAIL_TO, 0)
        self.set(FAILED, 0)
        self.set(CALLS, 0)
        self.set(FAIL_TO, first if last is None else last)
        self.set(FAIL_FROM, first)

    def pause(self):
        """No more failures."""
        self.set(FAIL_TO, 0)
        self.set(FAIL_FROM, 0)

    def heal(self):
        """No more failures. How many there were."""
        self.pause()
        return self.get(FAILED)

    def clean_up(self):
        super().clean_up()
        self.control.close()
        self.file.close()
