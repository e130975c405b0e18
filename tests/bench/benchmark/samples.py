# SPDX-License-Identifier: GPL-2.0-or-later
"""What was measured: a file of JSON lines that grows as it is measured, so that a lost host loses one round at most."""

import json
import statistics


class Samples:
    """A sample is part, figure, size (bytes, 0: none), side, round, value, unit.

    A round that is begun again replaces what it had.
    """

    def __init__(self, path):
        self._path = path
        self.values, self.units, self.failures, self._done = {}, {}, [], set()
        if path.exists():
            for line in path.read_text().splitlines():
                self._take(json.loads(line))

    def _take(self, entry):
        if "done" in entry:
            self._done.add(tuple(entry["done"]))
        elif "failed" in entry:
            self.failures.append(entry)
        else:
            cell = (entry["part"], entry["figure"], entry["size"], entry["side"])
            self.values.setdefault(cell, {})[entry["round"]] = entry["value"]
            self.units[cell] = entry["unit"]

    def _write(self, entry):
        self._take(entry)
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def add(self, part, figure, size, side, number, value, unit):
        self._write({"part": part, "figure": figure, "size": size, "side": side, "round": number,
                     "value": value, "unit": unit})

    def failed(self, part, figure, size, side, number, why):
        print(f"# {part} {figure} {size or ''} {side}: {why.splitlines()[0]}", flush=True)
        self._write({"part": part, "figure": figure, "size": size, "side": side, "round": number,
                     "failed": why})

    def mark_done(self, stage, number):
        self._write({"done": [stage, number]})

    def is_done(self, stage, number):
        return (stage, number) in self._done

    # Reading

    def get(self, part, figure, size, side):
        """Values by round; empty when there are none."""
        return self.values.get((part, figure, size, side), {})

    def median(self, *cell):
        values = self.get(*cell)
        return statistics.median(values.values()) if values else None

    def figures(self, part):
        """(figure, size) of a part, in the order of measuring."""
        return list(dict.fromkeys((figure, size) for at, figure, size, _ in self.values if at == part))

    def entries(self):
        return [{"part": part, "figure": figure, "size": size, "side": side, "unit": self.units[part, figure, size, side],
                 "rounds": list(values.values())} for (part, figure, size, side), values in self.values.items()]


def in_turn(sides, number):
    """Another one begins in each round, so that a drift of the machine favours none."""
    sides = list(sides)
    at = number % len(sides) if sides else 0
    return sides[at:] + sides[:at]
