# SPDX-License-Identifier: GPL-2.0-or-later
"""Blanks at the ends of lines, ends of files, what a merge has left, and what documents point to."""

import re
from pathlib import Path

# Not written by hand: plots, patches, tables of results, inputs of fuzzers; and licences, which are kept as they came.
GENERATED = (".svg", ".png", ".patch", ".tsv", ".seed")
LINK = re.compile(r"\]\(([^)\s]+)\)")
# In a document `hostd/main.c` or `qemu/` names a file or folder of the tree.
NAMED = re.compile(r"`([\w.*-]+/[\w./*-]*|[\w-]+\.[ch])`")
PLACEHOLDER = re.compile(r"[A-Z]{3,}")
# What git writes around two versions of a text, which someone has to choose from.
CONFLICT = re.compile(r"(<{7}|>{7}) ")
# Files that scripts/export-series puts into QEMU's tree, whose checkpatch takes a longer line for an error.
QEMU_SERIES = re.compile(r"qemu/((core|hw|include)/.*\.[ch]|tests/(rig|test_device)\.py)$")
QEMU_COLUMNS = 90
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


def _lines(file, content):
    lines = list(enumerate(content.split("\n"), 1))
    found = [f"{file}:{number}: blanks at the end" for number, line in lines if line != line.rstrip(" \t\r")]
    found += [f"{file}:{number}: a conflict of a merge" for number, line in lines if CONFLICT.match(line)]
    if QEMU_SERIES.match(str(file)):
        found += [f"{file}:{number}: more than {QEMU_COLUMNS} columns" for number, line in lines if len(line) > QEMU_COLUMNS]
    if content and (not content.endswith("\n") or content.endswith("\n\n")):
        found.append(f"{file}: does not end with one end of line")
    return found


def anchor(heading):
    """As forges make it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _link(root, file, target):
    path, _, fragment = target.partition("#")
    there = (root / file.parent / path) if path else root / file
    if not there.exists():
        return f"{file}: the link to {target} leads nowhere"
    if fragment and there.suffix == ".md":
        if fragment not in map(anchor, HEADING.findall(there.read_text("utf-8"))):
            return f"{file}: there is no heading for {target}"
    return None


def _names(root, files, file, content):
    """Files and folders that the text names, from the top of the tree or from the document's own folder."""
    tops = {other.parts[0] for other in files if len(other.parts) > 1}
    names = {other.name for other in files}
    for name in sorted(set(NAMED.findall(content))):
        if PLACEHOLDER.search(name) and not (root / name).exists():
            continue
        if "/" not in name:
            if name not in names:
                yield f"{file}: there is no file {name}"
        elif Path(name).parts[0] in tops and not any(root.glob(name.rstrip("/"))) \
                and not any((root / file.parent).glob(name.rstrip("/"))):
            yield f"{file}: there is no {name}"


def breaches(root, files):
    found = []
    for file in files:
        if file.suffix in GENERATED or file.parts[0] == "LICENSES":
            continue
        content = (root / file).read_text("utf-8", "replace")
        found += _lines(file, content)
        if file.suffix == ".md":
            links = [target for target in LINK.findall(content) if not re.match(r"[a-z]+:", target)]
            found += filter(None, (_link(root, file, target) for target in links))
            found += _names(root, files, file, content)
    return found
