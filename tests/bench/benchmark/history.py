# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast each release was: a file of ratios, and the page with plots that is made from it.

Machines differ by more than releases do. So a release's figures are kept as ratios to those of an earlier one that ran
in turn with it (--against), and the page multiplies these up to the first release.
"""

import json
import math
import shutil
import subprocess

from . import report
from .ring import OTHER

FILE, PAGE = "history.json", "history.md"
LICENCE = {"licence": "SPDX-License-Identifier: GPL-2.0-or-later"}
BEGIN, END = "<!-- history: written by scripts/bench --history -->", "<!-- end of history -->"
# Name of a plot's file to its title and the figures that are in it.
PLOTS = {
    "history-rates": ("Messages per second", lambda figure: figure["unit"] == "M/s"),
    "history-times": ("Latency, bandwidth, commands", lambda figure: figure["unit"] not in ("M/s", "instructions")),
    "history-instructions": ("Instructions of a message, fewer are better", lambda figure: figure["unit"] == "instructions"),
}


def figures_of(result):
    """What stands beside another build in the results of a run."""
    return [{"part": figure["part"], "name": figure["name"].removesuffix(", pvhca"), "unit": figure["unit"].partition(",")[0],
             "value": round(figure["value"], 4), "other": round(figure["other"], 4),
             "ratio": round(figure["compared"], 4), "rounds": [round(ratio, 4) for ratio in figure["compared_spread"]]}
            for figure in result["figures"] if figure["beside"] == OTHER]


def entry_of(result):
    meta = result["meta"]
    return {"release": meta["release"], "commit": meta["version"], "against": meta["other release"], "date": meta["date"],
            "processor": f"{meta['processors']} x {meta['processor']}", "rounds": meta["rounds"],
            "figures": figures_of(result)}


def load(path):
    return json.loads(path.read_text("utf-8"))["runs"] if path.exists() else []


def with_entry(history, entry):
    """The same release, measured again: what was measured now replaces what it had, figure by figure."""
    for at, old in enumerate(history):
        if old["release"] == entry["release"] and old["against"] == entry["against"]:
            new = {(figure["part"], figure["name"]) for figure in entry["figures"]}
            kept = [figure for figure in old["figures"] if (figure["part"], figure["name"]) not in new]
            return [*history[:at], entry | {"figures": [*entry["figures"], *kept]}, *history[at + 1:]]
    return [*history, entry]


def times_as_good(figure):
    """Over 1: better than the release beside it."""
    return 1 / figure["ratio"] if figure["unit"] in report.LESS_IS_BETTER else figure["ratio"]


def releases(history):
    """In their order; first the one that all others descend from."""
    return list(dict.fromkeys(name for entry in history for name in (entry["against"], entry["release"])))


def curves(history, wanted):
    """Figure to {release: times as good as in the first release that has it}."""
    found = {}
    for entry in history:
        for figure in filter(wanted, entry["figures"]):
            curve = found.setdefault((figure["part"], figure["name"]), {entry["against"]: 1.0})
            # Measured for the first time beside a later release: its curve begins there.
            curve.setdefault(entry["against"], 1.0)
            curve[entry["release"]] = curve[entry["against"]] * times_as_good(figure)
    return {name: curve for (_, name), curve in found.items()}


def _script(title, names, found, file):
    lines = ["set terminal svg size 900,500 dynamic background '#ffffff'", f"set output '{file}'", f"set title '{title}'",
             "set logscale y 2", "set ylabel 'times as good as the first release'", "set grid ytics",
             "set key outside right noenhanced", f"set xrange [-0.2:{len(names) - 0.8:g}]",
             "set xtics (" + ", ".join(f"'{name}' {at}" for at, name in enumerate(names)) + ")"]
    for at, curve in enumerate(found.values()):
        lines += [f"$figure{at} << EOD", *(f"{names.index(name)} {value:g}" for name, value in curve.items()), "EOD"]
    lines.append("plot " + ", ".join(f"$figure{at} using 1:2 with linespoints linewidth 2 title '{name}'"
                                     for at, name in enumerate(found)))
    return "\n".join(lines) + "\n"


def draw(history, directory):
    """Names of the plots made; none without gnuplot."""
    made = []
    if not shutil.which("gnuplot"):
        print("# no gnuplot, no plots (scripts/setup installs it)", flush=True)
        return made
    for name, (title, wanted) in PLOTS.items():
        found = curves(history, wanted)
        if found:
            subprocess.run(["gnuplot"], input=_script(title, releases(history), found, directory / f"{name}.svg"), text=True,
                           check=True, stdout=subprocess.DEVNULL)
            made.append(f"{name}.svg")
    return made


def _row(cells):
    return "| " + " | ".join(cells) + " |"


def tables(history):
    """A table for each run."""
    for entry in history:
        yield from ("", f"### {entry['release']} beside {entry['against']}", "",
                    f"{entry['date']}, {entry['commit']}: {entry['processor']}, {entry['rounds']} rounds, in turn.", "",
                    _row(("figure", "unit", entry["against"], entry["release"], "ratio", "of the rounds")), "|---" * 6 + "|")
        for figure in entry["figures"]:
            least, most = figure["rounds"]
            yield _row((figure["name"], figure["unit"], report.number(figure["other"]), report.number(figure["value"]),
                        report.number(figure["ratio"]), f"{report.number(least)} to {report.number(most)}"))


def section(history, plots):
    shown = [line for plot in plots for line in ("", f"![{PLOTS[plot.removesuffix('.svg')][0]}]({plot})")]
    return "\n".join([BEGIN, *shown, *tables(history), "", END])


def record(directory, result):
    """Take the results of a run into the history, and write its page anew."""
    entry = entry_of(result)
    if not entry["figures"]:
        raise ValueError("nothing was measured beside another build")
    if not all(math.isfinite(figure["ratio"]) and figure["ratio"] > 0 for figure in entry["figures"]):
        raise ValueError("a figure is 0, so it has no ratio")
    history = with_entry(load(directory / FILE), entry)
    text = json.dumps(LICENCE | {"runs": history}, indent=1) + "\n"
    (directory / FILE).write_text(text, "utf-8")
    page = directory / PAGE
    report.replace_between(page, BEGIN, END, section(history, draw(history, directory)))
