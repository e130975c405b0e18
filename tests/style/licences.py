# SPDX-License-Identifier: GPL-2.0-or-later
"""That each source file names its licence, and that the text of each licence is in LICENSES/."""

import re

FOLDER = "LICENSES"
# Documents and data have the licence that README.md names; patches that of what they change.
WITHOUT = (".md", ".svg", ".png", ".tsv", ".patch", ".docs", ".seed")
WITHOUT_NAMES = (".gitignore", ".git-blame-ignore-revs", "MAINTAINERS")
# Debian's own formats for files in debian/; debian/copyright names the licences of packages.
DEBIAN_NAMES = ("changelog", "control", "copyright", "format")
TAG = re.compile(r"SPDX-License-Identifier: *([^*\n]*?) *(?:\*/|-->)?$", re.MULTILINE)
HEAD_LINES = 3


def expression(content):
    """The licence expression in the first lines of a file, or None."""
    head = "\n".join(content.splitlines()[:HEAD_LINES])
    found = TAG.search(head)
    return found[1] if found else None


def texts(expression_):
    """Names of the texts in LICENSES/: "GPL-2.0-or-later" has that of GPL-2.0."""
    words = re.findall(r"[A-Za-z0-9.+-]+", expression_)
    return {re.sub(r"(-or-later|-only|\+)$", "", word) for word in words if word not in ("OR", "AND", "WITH")}


def _needs_one(file):
    if file.parts[0] == "debian" and file.name in DEBIAN_NAMES:
        return False
    return file.suffix not in WITHOUT and file.name not in WITHOUT_NAMES and file.parts[0] != FOLDER


def breaches(root, files):
    found, used = [], set()
    there = {file.stem for file in files if file.parts[0] == FOLDER and file.suffix == ".txt"}
    for file in filter(_needs_one, files):
        named = expression((root / file).read_text("utf-8", "replace"))
        if not named:
            found.append(f"{file}: no SPDX-License-Identifier in its first {HEAD_LINES} lines")
            continue
        used |= texts(named)
        found += [f"{file}: {FOLDER}/{name}.txt is missing" for name in sorted(texts(named) - there)]
    return found + [f"{FOLDER}/{name}.txt: no file names it" for name in sorted(there - used)]
