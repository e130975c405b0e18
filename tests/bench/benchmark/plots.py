# SPDX-License-Identifier: GPL-2.0-or-later
"""Bandwidth and latency over message size, by gnuplot, each as SVG and PNG."""

import shutil
import subprocess

LABELS = {"native": "native rxe", "pvhca": "pvhca guest, native peer", "pvhca-pvhca": "pvhca, guest to guest",
          "rxe-vhost": "rxe in the guest, vhost", "memcpy": "memcpy", "tcp-vhost": "TCP, vhost",
          "line round trip": "cache-line round trip"}
TERMINALS = {"svg": "svg size 900,500 dynamic background '#ffffff'", "png": "pngcairo size 900,500"}
# Part and name of the file to its title; unit from the samples.
PLOTS = {
    "bandwidth": "{figure}: bandwidth on rxe",
    "latency": "{figure}: latency on rxe",
    "loopback": "Loopback fabric, guest to guest: {figure}",
    "ring": "Rings, without virtual machines: {figure}",
}


def _curves(samples, part, figure):
    """Side to [(size, median, least, most)]."""
    found = {}
    for (at, name, size, side), values in samples.values.items():
        if at == part and name == figure and size:
            found.setdefault(side, []).append((size, samples.median(at, name, size, side),
                                               min(values.values()), max(values.values())))
    return {side: sorted(points) for side, points in found.items()}


def _label(part, side):
    return "pvhca" if part == "ring" and side == "pvhca" else LABELS.get(side, side)


def _script(part, curves, title, unit, what, file, terminal):
    lines = [f"set terminal {terminal}", f"set output '{file}'", f"set title '{title}' noenhanced",
             "set logscale x 2", "set logscale y", "set xlabel 'message, bytes'", f"set ylabel '{what}, {unit}'",
             "set grid", "set key outside top center horizontal", "set format x '%.0b%B'", "set format y '%g'"]
    for at, points in enumerate(curves.values()):
        lines += [f"$side{at} << EOD", *(" ".join(f"{number:g}" for number in point) for point in points), "EOD"]
    lines.append("plot " + ", ".join(f"$side{at} using 1:2:3:4 with yerrorlines linewidth 2 title '{_label(part, side)}'"
                                     for at, side in enumerate(curves)))
    return "\n".join(lines) + "\n"


def draw(samples, directory):
    """Names of the SVG files made, each with a PNG beside it; none where there is no gnuplot."""
    made = []
    if not shutil.which("gnuplot"):
        print("# no gnuplot, no plots (scripts/setup installs it)", flush=True)
        return made
    for part, title in PLOTS.items():
        for figure in dict.fromkeys(figure for figure, _ in samples.figures(part)):
            if figure not in ("rate", "admin"):
                made += _draw(samples, directory, part, figure, title.format(figure=figure))
    return made


def _draw(samples, directory, part, figure, title):
    curves = _curves(samples, part, figure)
    if all(len(points) < 2 for points in curves.values()):
        return []       # one size is no curve
    unit = next(unit for cell, unit in samples.units.items() if cell[:2] == (part, figure))
    what = "latency" if part == "latency" or figure == "latency" else "bandwidth"
    name = f"{part}-{figure}" if figure != part else part
    for suffix, terminal in TERMINALS.items():
        script = _script(part, curves, title, unit, what, directory / f"{name}.{suffix}", terminal)
        subprocess.run(["gnuplot"], input=script, text=True, check=True, stdout=subprocess.DEVNULL)
    return [f"{name}.svg"]
