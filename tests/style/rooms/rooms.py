#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Holds hostd/ to the rooms and their direction, as the table in docs/design.md has them.

Reads includes and names from the sources, and calls from the objects of a build, where there is one.
Prints each breach; exit status 1 if there is any.
"""
import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TABLE_HEAD = "| room | what it does | headers for others | uses |"
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*["<]([^">]+)[">]', re.M)
# Of what is not static: a definition begins in the first column, and its body follows.
DEFINITION = re.compile(r"^(?!static\b|typedef\b|extern\b)[A-Za-z_][\w \t*]*?\b(\w+)\([^;{}]*\)\s*\{", re.M)
ALL = "all"


@dataclass
class Room:
    """A row of the table. Its name is a folder of hostd/, all folders of one ("fabric/*"), or files by their stem."""

    name: str
    headers: set
    uses: set

    def holds(self, path):
        """Is this hostd/PATH of the room? The longest name that says so wins."""
        folder = path.parent.as_posix()
        if self.name.endswith("/*"):
            return path.parent.parent.as_posix() == self.name[:-2]
        return self.name in (folder, path.with_suffix("").as_posix())

    def exports(self, path):
        return ALL in self.headers or path.name in self.headers

    def is_group(self):
        return self.name.endswith("/*")


def read_table(text):
    """The rooms in their order."""
    lines = text.splitlines()
    if lines.count(TABLE_HEAD) != 1:
        raise SystemExit(f"docs/design.md has no table, or several, that begins with: {TABLE_HEAD}")
    rooms = []
    for line in lines[lines.index(TABLE_HEAD) + 2:]:
        if not line.startswith("|"):
            break
        name, _, headers, uses = ([re.findall(r"`([^`]+)`|\b(all)\b", cell), cell][i == 1]
                                  for i, cell in enumerate(line.strip("|").split("|")))
        rooms.append(Room(name[0][0], {a or b for a, b in headers}, {a for a, _ in uses}))
    return rooms


class House:
    def __init__(self, root):
        self.hostd = root.resolve() / "hostd"
        self.rooms = read_table((root / "docs/design.md").read_text())
        self.files = sorted(path.relative_to(self.hostd) for path in self.hostd.rglob("*.[ch]"))
        self.breaches = []

    def breach(self, text):
        self.breaches.append(text)

    def room_of(self, path):
        """A Room, and what tells apart those that one row stands for; or None."""
        # A file that has a row of its own, then its folder, then all folders.
        found = [room for room in self.rooms if room.holds(path)]
        found.sort(key=lambda room: (room.is_group(), -len(room.name)))
        return (found[0], path.parent if found[0].is_group() else None) if found else (None, None)

    # ------------------------------- the table -------------------------------

    def check_table(self):
        before = set()
        for room in self.rooms:
            for used in sorted(room.uses - before):
                self.breach(f"docs/design.md: {room.name} uses {used}, which does not stand above it")
            before.add(room.name)
            own = [path for path in self.files if self.room_of(path)[0] is room]
            if not own:
                self.breach(f"docs/design.md: room {room.name} has no files")
            for header in sorted(room.headers - {ALL} - {path.name for path in own}):
                self.breach(f"docs/design.md: room {room.name} has no header {header}")
        for path in self.files:
            if not self.room_of(path)[0]:
                self.breach(f"hostd/{path}: it is in no room of docs/design.md")

    # -------------------------------- includes -------------------------------

    def check_use(self, user, used, how):
        """May the file user use the file used at all?"""
        (room, which), (other, other_which) = self.room_of(user), self.room_of(used)
        if not room or not other or (room, which) == (other, other_which):
            return None
        if other.name not in room.uses:
            self.breach(f"hostd/{user}: {how}, but {room.name} may not use {other.name}")
        return other

    def find_header(self, path, name):
        """What of hostd/ an include means: beside the file, or from the top. None: nothing."""
        for folder in (self.hostd / path.parent, self.hostd):
            found = (folder / name).resolve()
            if found.is_file() and found.is_relative_to(self.hostd):
                return found.relative_to(self.hostd)
        return None

    def check_includes(self):
        for path in self.files:
            for name in INCLUDE.findall((self.hostd / path).read_text()):
                included = self.find_header(path, name)
                if not included:
                    continue  # of the system, or of another part of pvhca
                other = self.check_use(path, included, f'it includes "{name}"')
                if other and not other.exports(included):
                    self.breach(f'hostd/{path}: it includes "{name}", which is not for others')

    # --------------------------------- names ---------------------------------

    def prefixes(self, path):
        """Of a public function in this file: it is named for the file, a header beside it, or the room."""
        stems = {header.stem for header in self.files if header.parent == path.parent and header.suffix == ".h"}
        return {path.stem, path.parent.name} | stems - {"private"}

    def check_names(self):
        for path in self.files:
            if re.search(r"private|internal|priv\b", path.stem) and path.name != "private.h":
                self.breach(f"hostd/{path}: what is private is named private.h")
            # Programs are not libraries: nobody calls into them.
            if path.suffix != ".c" or path.parts[0] == "ctl" or path.name == "main.c":
                continue
            for name in DEFINITION.findall((self.hostd / path).read_text()):
                if not any(name.startswith(prefix + "_") for prefix in self.prefixes(path)):
                    self.breach(f"hostd/{path}: {name}() carries neither its file's name nor its room's")

    # --------------------------------- calls ---------------------------------

    def check_calls(self, build):
        """What is called, or referred to, without an include that would show it."""
        objects = {}
        for program in ("pvhcad_core", "pvhcad"):
            folder = build / f"hostd/CMakeFiles/{program}.dir"
            for path in folder.rglob("*.c.o"):
                source = Path(path.relative_to(folder).as_posix()[:-2])
                if source in self.files:
                    objects[source] = symbols(path)
        if not objects:
            raise SystemExit(f"no objects of hostd in {build}")
        home = {name: source for source, (defined, _) in objects.items() for name in defined}
        for source, (_, undefined) in sorted(objects.items()):
            for name in sorted(undefined & home.keys()):
                self.check_use(source, home[name], f"it uses {name} of {home[name]}")


def symbols(path):
    """Names that an object defines for others, and those that it wants of others."""
    said = subprocess.run(["nm", "--extern-only", path], check=True, capture_output=True, text=True).stdout
    defined, undefined = set(), set()
    for line in said.splitlines():
        kind, name = line.split()[-2:]
        (undefined if kind == "U" else defined).add(name)
    return defined, undefined


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[3])
    parser.add_argument("--build", type=Path, help="look at the calls of this build, too")
    options = parser.parse_args()
    house = House(options.root)
    house.check_table()
    house.check_includes()
    house.check_names()
    if options.build:
        house.check_calls(options.build)
    for text in house.breaches:
        print(text)
    print(f"{len(house.files)} files in {len(house.rooms)} rooms, {len(house.breaches)} breaches")
    return 1 if house.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
