# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes out: one table, its JSON, and the section of docs/performance/results.md that is written from that."""

import dataclasses
import json
import os
import platform
import re
import subprocess
import time

from . import goals

BEGIN, END = "<!-- results: written by scripts/bench -->", "<!-- end of results -->"
COLUMNS = ("figure", "median", "rounds", "beside", "its median", "ratio or excess", "rounds", "goal", "")
LESS_IS_BETTER = ("ns", "us", "instructions", "/1000 messages")
MEANINGS = {
    "bandwidth": "Bandwidth on rxe, RC",
    "latency": "Latency on rxe, RC (typical)",
    "loopback": "Loopback fabric, guest to guest",
    "control": "Control path, a call",
    "counts": "What a message costs",
    "stock": "A distribution's QEMU with pvhca-vfio-user, beside our QEMU",
    "instructions": "Instructions of a message, by callgrind",
    "ring": "Rings, without virtual machines",
    "workers": "Workers with a processor each, without virtual machines",
    "commands": "Commands of a driver, without virtual machines",
    "events": "Owners that sleep until an event, without virtual machines",
    "idle": "What a guest that does little costs its host, without virtual machines",
    "growth": "What is idle",
}


def _run(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def machine(root):
    """What the figures depend on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": model[1] if model else platform.machine(),
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "load before": round(os.getloadavg()[0], 2),
        "version": _run("git", "-C", str(root), "describe", "--always", "--dirty"),
    }


def number(value):
    if value is None:
        return ""
    magnitude = abs(value)
    if magnitude >= 1000 or value == 0:
        return f"{value:.0f}"
    return f"{value:.{1 if magnitude >= 100 else 2 if magnitude >= 1 else 4}f}"


def spread(pair):
    return f"{number(pair[0])}..{number(pair[1])}" if pair and pair[0] != pair[1] else ""


def verdict(met):
    return {True: "met", False: "NOT met", None: ""}[met]


def cells(figure):
    return (figure.name, f"{number(figure.value)} {figure.unit}", spread(figure.spread), figure.beside,
            number(figure.other), number(figure.compared), spread(figure.compared_spread), figure.goal,
            verdict(figure.met))


def by_part(figures):
    parts = {}
    for figure in figures:
        parts.setdefault(figure.part, []).append(figure)
    return parts


def moved(figures):
    """A line for each figure that differs from the other build's beyond the rounds' spread."""
    lines = []
    for figure in filter(goals.has_moved, figures):
        less = figure.compared < 1
        better = less == (figure.unit in LESS_IS_BETTER)
        lines.append(f"moved: {figure.name}: {number(figure.compared)} of the other build "
                     f"({number(figure.compared_spread[0])}..{number(figure.compared_spread[1])}), "
                     f"{'better' if better else 'worse'}")
    return lines


def missing(failures):
    """A line for each measurement that failed, with the first line of why."""
    return [f"not measured: {failure['part']} {failure['figure']}, {failure['side']}, round {failure['round'] + 1}: "
            f"{failure['failed'].partition(chr(10))[0]}" for failure in failures]


def table(figures, failures):
    """Text in columns, one table over all parts."""
    rows = [COLUMNS, *map(cells, figures)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]

    def line(row):
        return "  ".join(word.ljust(width) if at in (0, 3, 7) else word.rjust(width)
                         for at, (word, width) in enumerate(zip(row, widths))).rstrip()

    lines = [line(COLUMNS)]
    for part, found in by_part(figures).items():
        lines += ["", f"{MEANINGS[part]}", *(line(cells(figure)) for figure in found)]
    held = [figure for figure in figures if figure.met is not None]
    if held:
        lines += ["", f"{sum(figure.met for figure in held)} of {len(held)} goals met"]
    return "\n".join([*lines, *moved(figures), *missing(failures)])


def document(meta, samples, figures):
    return {"meta": meta, "failures": samples.failures, "samples": samples.entries(),
            "empty admin command, us": goals.round_trip(samples),
            "figures": [dataclasses.asdict(figure) for figure in figures]}


def markdown(result):
    """The results section of docs/performance/results.md."""
    meta = result["meta"]
    figures = [goals.Figure(**figure) for figure in result["figures"]]
    held = [figure for figure in figures if figure.met is not None]
    lines = [BEGIN, "",
             f"{meta['date']}, version {meta['version']}: {meta['processors']} x {meta['processor']}, "
             f"Linux {meta['kernel']}, {meta['rounds']} rounds, load {meta['load before']} before it began. "
             f"Command: `{meta['command']}`.", "",
             f"{sum(figure.met for figure in held)} of {len(held)} goals met.", ""]
    lines += [f"- {line}" for line in (*moved(figures), *missing(result["failures"]))]
    for part, found in by_part(figures).items():
        lines += ["", f"### {MEANINGS[part]}", "", "| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
        lines += ["| " + " | ".join(cells(figure)) + " |" for figure in found]
    for plot in result.get("plots", []):
        lines += ["", f"![{plot}]({plot})"]
    return "\n".join([*lines, "", END])


def replace_between(path, begin, end, section):
    """What stands from begin to end in a file, both included."""
    head, begun, rest = path.read_text("utf-8").partition(begin)
    _, ended, foot = rest.partition(end)
    if not begun or not ended:
        raise ValueError(f"{path} has no section between {begin} and {end}")
    path.write_text(head + section + foot, "utf-8")


def rewrite(path, result):
    replace_between(path, BEGIN, END, markdown(result))


def save(path, result):
    path.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
