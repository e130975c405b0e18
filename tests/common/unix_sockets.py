# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel tells of unix sockets."""

ACCEPTS = 0x10000   # __SO_ACCEPTCON of /proc/net/unix: listen() was called


def listens(path):
    """A socket's file is there from bind() on, and takes connections only from listen() on."""
    with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as table:
        lines = (line.split(maxsplit=7) for line in list(table)[1:])
        return any(len(words) == 8 and words[7].rstrip("\n") == str(path) and int(words[3], 16) & ACCEPTS
                   for words in lines)
