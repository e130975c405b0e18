# SPDX-License-Identifier: GPL-2.0-or-later
"""Samples to figures: one line of the table each, beside what it is held against and its goal, if it has one."""

import dataclasses
import statistics

from .commands import EMPTY, ONE_AT_A_TIME
from .events import ANSWERING
from .homes import OURS, STOCK
from .ring import OTHER, YARDSTICKS

KIB, MIB = 1 << 10, 1 << 20
# Of the table's own making, where a goal's words leave the number open.
FLAT = 0.95             # "flat", "no more than": within the noise of the rounds
SAME = 0.01             # counts that repeat differ by less
NO_CPU = 0.1            # "no CPU": ms a second; a timer may tick


@dataclasses.dataclass
class Figure:
    part: str
    name: str
    unit: str
    value: float
    spread: tuple           # least and most of the rounds
    beside: str = ""        # what it is compared with
    other: float | None = None
    compared: float | None = None   # the ratio of both, or what the goal is about
    compared_spread: tuple | None = None
    goal: str = ""
    met: bool | None = None


def _compared(samples, mine, theirs, combine):
    """Of the medians, and the least and most over the rounds that have both."""
    a, b = samples.get(*mine), samples.get(*theirs)
    whole = combine(statistics.median(a.values()), statistics.median(b.values()))
    each = [combine(a[number], b[number]) for number in a if number in b] or [whole]
    return whole, (min(each), max(each))


def _ratio(a, b):
    return a / b if b else float("inf")


def _figure(samples, part, figure, size, side, beside=None, goal="", met=None, combine=_ratio, label=None):
    """None unless both sides were measured. met: what is compared to True or False."""
    cell, base = (part, figure, size, side), (part, figure, size, beside)
    values = samples.get(*cell)
    if not values or (beside and not samples.get(*base)):
        return None
    name = f"{label or figure}{f' {size} B' if size else ''}, {side}"
    found = Figure(part, name, samples.units[cell], statistics.median(values.values()),
                   (min(values.values()), max(values.values())), goal=goal)
    if beside:
        found.beside, found.other = beside, samples.median(*base)
        found.compared, found.compared_spread = _compared(samples, cell, base, combine)
    else:
        found.compared = found.value
    if met:
        found.met = met(found.compared)
    if not beside:
        found.compared = None
    return found


def _bandwidth(samples):
    for program, size in samples.figures("bandwidth"):
        goal = 0.98 if size >= 64 * KIB else 0.95 if size >= 4 * KIB else None
        yield _figure(samples, "bandwidth", program, size, "pvhca", "native",
                      *((f">= {goal}", lambda ratio, goal=goal: ratio >= goal) if goal else ()))
        yield _figure(samples, "bandwidth", program, size, "pvhca-pvhca", "native")
        yield _figure(samples, "bandwidth", program, size, "rxe-vhost", "native")
        yield _figure(samples, "bandwidth", program, size, "pvhca", "rxe-vhost", "> 1", lambda ratio: ratio > 1)


def _latency(samples):
    for program, size in samples.figures("latency"):
        yield _figure(samples, "latency", program, size, "pvhca", "native",
                      *(("<= 1.3", lambda ratio: ratio <= 1.3) if size <= 8 else ()))
        yield _figure(samples, "latency", program, size, "pvhca", "native-shared")
        yield _figure(samples, "latency", program, size, "pvhca-pvhca", "native")
        yield _figure(samples, "latency", program, size, "rxe-vhost", "native")
        yield _figure(samples, "latency", program, size, "pvhca", "rxe-vhost", "< 1", lambda ratio: ratio < 1)


def _loopback(samples):
    for figure, size in samples.figures("loopback"):
        yield _figure(samples, "loopback", figure, size, "pvhca-pvhca", "memcpy")
        yield _figure(samples, "loopback", figure, size, "pvhca-pvhca", "tcp-vhost")


def round_trip(samples):
    """us that an admin command that carries nothing takes in a guest: what the cheapest verb takes beyond native."""
    guest, native = (samples.median("control", "query_port", 0, side) for side in ("pvhca", "native"))
    return max(0, guest - native) if guest is not None and native is not None else None


def _difference(a, b):
    return a - b


def _control(samples):
    trip = round_trip(samples)
    if trip is None:
        return

    def limit(beyond):
        return lambda microseconds: microseconds <= beyond

    for verb, _ in samples.figures("control"):
        commands = samples.median("control", verb, 0, "commands")

        def figure(*goal, combine=_difference, label=None, verb=verb, commands=commands):
            found = _figure(samples, "control", verb, 0, "pvhca", "native", *goal, combine=combine, label=label)
            if found and commands is not None:
                found.name += f" ({commands:g} command{'' if commands == 1 else 's'})"
            return found

        region = verb.removeprefix("reg_mr_").removeprefix("again_")
        if verb == "query_port":
            yield figure(label="query_port")
        elif region.startswith("1GiB"):
            most = 30 if verb.endswith("huge") else 150
            yield figure(f"<= native + {most} ms", limit(most * 1e3))
        elif region.startswith("64MiB"):
            yield figure("<= 2 native", lambda ratio: ratio <= 2, combine=_ratio)
        else:
            if region == "4KiB":
                yield figure("<= native + 50 us", limit(50))
            yield figure(f"<= native + {2 * trip:.0f} us", limit(2 * trip))


def _counts(samples):
    for name, size in samples.figures("counts"):
        if name == "pvhcad, guests idle":
            yield _figure(samples, "counts", name, size, "pvhca", None, f"none (< {NO_CPU})", lambda used: used < NO_CPU)
            continue
        for side in ("native", "pvhca", "pvhca-pvhca", "rxe-vhost"):
            goal = ("< 0.001", lambda rung: rung < 0.001) if name == "doorbells" else ()
            beside = "native" if name == "host's time" and side != "native" else None
            yield _figure(samples, "counts", name, size, side, beside, *goal)


def _stock(samples):
    """Counts may be none on either side: then only their difference means something."""
    for figure, size in samples.figures("stock"):
        counted = samples.units["stock", figure, size, OURS].endswith("messages") \
            if samples.get("stock", figure, size, OURS) else False
        yield _figure(samples, "stock", figure, size, STOCK, OURS, combine=_difference if counted else _ratio)


def _ring(samples):
    for figure, size in samples.figures("ring"):
        goal = ()
        if figure not in YARDSTICKS:
            yield _figure(samples, "ring", figure, size, "pvhca")
            continue
        if figure == "bandwidth" and size == MIB:
            goal = (">= 0.9", lambda ratio: ratio >= 0.9)
        elif figure == "latency" and size == 8:
            goal = ("<= 3", lambda ratio: ratio <= 3)
        found = _figure(samples, "ring", figure, size, "pvhca", YARDSTICKS[figure], *goal)
        if found and figure == "rate":
            found.goal, found.met = ">= 5 M/s or >= 0.8", found.value >= 5 or found.compared >= 0.8
        if found and figure == "bandwidth":
            found.unit += f", {found.value * 1e3 / size:.3g} M/s"
        yield found


def _workers(samples):
    for figure, size in samples.figures("workers"):
        yield _figure(samples, "workers", figure, size, "two workers", "one worker", ">= 1.8", lambda ratio: ratio >= 1.8)


def _growth(samples):
    for figure, size in samples.figures("growth"):
        if figure not in ("rate", "latency"):
            yield _figure(samples, "growth", figure, size, "pvhca", None, f"none (< {NO_CPU})", lambda used: used < NO_CPU)
            continue
        for side in ("1000 QPs", "64 sessions"):
            goal = (f"flat (>= {FLAT})", lambda ratio: ratio >= FLAT) if figure == "rate" else \
                (f"flat (<= {1 / FLAT:.2f})", lambda ratio: ratio <= 1 / FLAT)
            yield _figure(samples, "growth", figure, size, side, "2 QPs", *goal)


def _instructions(samples):
    for figure, size in samples.figures("instructions"):
        yield _figure(samples, "instructions", figure, size, "pvhca")


def _commands(samples):
    """What lies beyond the commands' own way, and what commands gain that are under way together."""
    for figure, size in samples.figures("commands"):
        if figure.startswith("pairs"):
            yield _figure(samples, "commands", figure, size, "pvhca", ONE_AT_A_TIME, ">= 3", lambda ratio: ratio >= 3)
            continue
        most = 60e3 if figure.startswith("context") else 40e3
        yield _figure(samples, "commands", figure, size, "pvhca", EMPTY, f"<= {most / 1e3:g} us beyond",
                      lambda beyond, most=most: beyond <= most, combine=_difference)


def _events(samples):
    for figure, size in samples.figures("events"):
        yield _figure(samples, "events", figure, size, "pvhca")


def _idle(samples):
    """A difference: most of it is none."""
    for figure, size in samples.figures("idle"):
        yield _figure(samples, "idle", figure, size, "pvhca", ANSWERING, combine=_difference)


def _against(samples):
    """This build beside another one that ran in turn with it."""
    for part in ("instructions", "ring", "events"):
        for figure, size in samples.figures(part):
            yield _figure(samples, part, figure, size, "pvhca", OTHER)


def has_moved(figure):
    """Is every round's ratio to the other build on the same side of 1?"""
    if figure.beside != OTHER:
        return False
    least, most = figure.compared_spread
    return least > 1 + SAME or most < 1 - SAME


def figures(samples):
    return [found for part in (_bandwidth, _latency, _loopback, _control, _counts, _stock, _instructions, _ring, _workers,
                               _commands, _events, _idle, _growth, _against)
            for found in part(samples) if found]
