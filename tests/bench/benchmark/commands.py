# SPDX-License-Identifier: GPL-2.0-or-later
"""Without virtual machines: what pvhcad takes for the commands of a guest's driver, by what is behind it."""

from .samples import in_turn

LOOPBACK, NULL_ENGINE, SLOW = "loopback", "verbs", "null"
SLOW_US = 5000
SLOW_SHARE = 5          # of the usual work it gets one part: each command takes its time
ONE_AT_A_TIME = "one at a time"
EMPTY = "two empty commands"


def engines(null_engine):
    """Name to pvhcad's options and environment. The second is a device whose calls return at once, so that the rest is
    pvhcad's own; each call of the third takes as long as that of a slow adapter."""
    return {LOOPBACK: (("--fabric", "loopback"), {}),
            NULL_ENGINE: (("--fabric", "verbs", "--ibdev", "null0"), {"LD_PRELOAD": str(null_engine)}),
            SLOW: (("--fabric", "null", "--null-delay", SLOW_US), {})}


def commands_round(rings, samples, number):
    """A context, and a queue pair, made and destroyed; and many queue pairs, as by 16 threads beside one."""
    for name in in_turn(rings, number):
        slow = name == SLOW
        percent = max(1, rings[name].options.percent // (SLOW_SHARE if slow else 1))
        for found in rings[name].run("--figures", "queue-pairs" if slow else "control", "--percent", percent):
            figure = f"{found['figure']}, {name}"
            samples.add("commands", figure, 0, "pvhca", number, found["value"], found["unit"])
            samples.add("commands", figure, 0, ONE_AT_A_TIME if slow else EMPTY, number, found["yardstick_value"],
                        found["unit"])
