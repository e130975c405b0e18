#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A remote shell for MPI's launchers, between guests that have no sshd.

    remote.py serve             run what clients ask for, until killed
    remote.py [-l USER] [-x] HOST COMMAND...
                                 run it there: output comes back, and the exit status

One connection a command: the command line up to a NUL, then its standard input; back come its
output and, after the last NUL, its exit status.
"""

import socket
import subprocess
import sys
import threading

PORT = 18650


def answer(connection):
    with connection, connection.makefile("rb") as stream:
        command = bytearray()
        while (byte := stream.read(1)) not in (b"\0", b""):
            command += byte
        done = subprocess.Popen(["/bin/sh", "-c", command.decode()], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while chunk := done.stdout.read1(4096):
            connection.sendall(chunk.replace(b"\0", b""))
        connection.sendall(b"\0%d" % (done.wait() & 0xff))


def serve():
    with socket.create_server(("", PORT)) as listener:
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()


def ask(host, command):
    with socket.create_connection((host, PORT)) as connection:
        connection.sendall(command.encode() + b"\0")
        data = bytearray()
        while chunk := connection.recv(4096):
            data += chunk
            text, mark, _ = data.partition(b"\0")
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
            data = data[len(text):] if mark else bytearray()
        status = data.lstrip(b"\0").decode()
    return int(status) if status else 255


def main():
    words = sys.argv[1:]
    if words == ["serve"]:
        serve()
    while words and words[0].startswith("-"):
        words = words[2 if words[0] == "-l" else 1:]
    sys.exit(ask(words[0], " ".join(words[1:])))


if __name__ == "__main__":
    main()
