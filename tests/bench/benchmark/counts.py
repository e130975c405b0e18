# SPDX-License-Identifier: GPL-2.0-or-later
"""What a message costs apart from its time: a short stream and a long one, counted around; their difference is the
messages' own, without the making of objects."""

import os
from pathlib import Path

from harness import check_pair, test_program
from programs import totals

PORT = 18600
SHORT = 10      # the short stream is that part of the long one
KVM = Path("/sys/kernel/debug/kvm")


def daemon_seconds(daemon):
    """Processor time of pvhcad, to the nanosecond."""
    return sum(int(file.read_text().split()[0])
               for file in Path(f"/proc/{daemon.pid}/task").glob("*/schedstat")) / 1e9


def busy_seconds():
    """All that this machine's processors did, the guests' work included."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(int, Path("/proc/stat").read_text().split()[1:11])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _kvm(guests, name):
    return sum(int(file.read_text()) for guest in guests for file in KVM.glob(f"{guest.pid}-*/{name}"))


def _snapshot(rig, guests):
    counted = totals(rig)
    return {
        "exits": _kvm(guests, "exits"),
        "MMIO exits": _kvm(guests, "mmio_exits"),
        "interrupts": _kvm(guests, "irq_injections"),
        "doorbells": counted["doorbells"],
        "interrupts of pvhcad": counted["interrupts"],
        "pvhcad's time": daemon_seconds(rig.daemon) * 1e6,
        "host's time": busy_seconds() * 1e6,
    }


def command(end, more):
    """A stream's, on either end."""
    return f"exec {test_program('pvhca-test-stream')} -d {end.ibdev} -g {end.gid_index} -p {PORT} {more}"


def _stream(rig, guests, pair, messages, more):
    server, client = pair
    commands = [command(end, f"--count {messages} {more}") for end in pair]
    before = _snapshot(rig, guests)
    check_pair(server.host, client.host, commands[0], client_command=commands[1], timeout=150)
    after = _snapshot(rig, guests)
    return {name: after[name] - before[name] for name in before}


def _kinds(side):
    """Name of what is counted to (factor, unit), as far as it means something for that side."""
    kinds = {"host's time": (1, "us/message")}
    if side != "native":
        kinds |= {name: (1000, "/1000 messages") for name in ("exits", "MMIO exits", "interrupts")}
    if side.startswith("pvhca"):
        kinds |= {"interrupts of pvhcad": (1000, "/1000 messages"), "doorbells": (1, "/message"),
                  "pvhcad's time": (1, "us/message")}
    return kinds


def per_message(rig, pair, many, more):
    """What is counted, by name, for one of so many messages; more: of the stream's options.

    Below zero where the noise is more than what the messages cost: too few of them."""
    few = max(1, many // SHORT)
    # Those at the ends of this stream: others' timers and interrupts are not its.
    guests = {id(end.host): end.host for end in pair if end.host is not rig.native}.values()
    short, long = (_stream(rig, guests, pair, messages, more) for messages in (few, many))
    return {name: (long[name] - short[name]) / (many - few) for name in long}


def measure(rig, samples, number, side, pair, options):
    counted = per_message(rig, pair, options.count, f"--size {options.count_size}")
    for name, (factor, unit) in _kinds(side).items():
        samples.add("counts", name, options.count_size, side, number, counted[name] * factor, unit)
