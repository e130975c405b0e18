# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that come in pairs, a server and a client that is given the server's address: perftest and pingpongs."""

import re

from .errors import CommandTimeout

# perftest compares two clocks for some milliseconds when it reports, and gives up, whatever it was to report, if an
# emulated processor was held up meanwhile.
NO_CLOCK = "Correlation coefficient r^2"
CALIBRATION_ATTEMPTS = 6

PINGPONG_PORT = PERFTEST_PORT = 18515


def _complete(command, host):
    """Adds the device and its GID, unless the command names a device itself."""
    if re.search(r"(^| )(-d|--ib-dev)[ =]", command) or not host.ibdev:
        return command
    program = command.split()[0].rpartition("/")[2]
    if program.startswith("ib_"):
        return f"{command} -d {host.ibdev} -x {host.gid_index}"
    if program.startswith("ibv_") and program.endswith("pingpong"):
        return f"{command} -d {host.ibdev} -g {host.gid_index}"
    return command


def _port(command):
    found = re.search(r" (?:-p|--port)[ =]?(\d+)", command)
    return int(found[1]) if found else PERFTEST_PORT


def pair(server_host, client_host, command, timeout=120, client_command=None, address=None):
    """Run command on server_host, and on client_host with the server's address appended, to the end of both.

    Device and GID index are added for perftest and ibv_*_pingpong. Returns both results, server's first; does not
    raise for bad exit codes. client_command: when the client's options differ. address: when the server is not to be
    reached over the plain network, as with -R.
    """
    for attempts_left in reversed(range(CALIBRATION_ATTEMPTS)):
        results = _once(server_host, client_host, command, timeout, client_command or command, address)
        if not attempts_left or not any(NO_CLOCK in result.out + result.err for result in results):
            return results
        print(f"# {command}: perftest could not tell the processor's speed; once more", flush=True)


def _once(server_host, client_host, command, timeout, client_command, address):
    server = server_host.spawn(_complete(command, server_host))
    try:
        server_host.wait_port(_port(command), 60)
        client = client_host.spawn(f"{_complete(client_command, client_host)} {address or server_host.net_ip}")
        return _both(server, client, timeout)
    except CommandTimeout as late:
        seen = server_host.processes() if server.running else "it has ended"
        raise CommandTimeout(f"{late}\nthe server on {server_host.name}: {seen}", late.result) from None
    finally:
        if server.running:
            server.kill(9)


def check_pair(*args, **kwargs):
    """As pair, but a bad exit code on either side fails the test, showing both."""
    server, client = pair(*args, **kwargs)
    assert server.rc == 0 and client.rc == 0, f"server:\n{server}\nclient:\n{client}"
    return server, client


def _both(server, client, timeout):
    client_result = client.wait(timeout)
    return server.wait(30), client_result
