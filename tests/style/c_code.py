# SPDX-License-Identifier: GPL-2.0-or-later
"""What LLVM's tools say about the C sources. Version 14 only: the next one formats otherwise and finds other things."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

VERSION = "14"
C_CODE = (".c", ".h")
AT_ONCE = 20
DIAGNOSTIC = re.compile(r"^(?P<where>/[^:]+:\d+):\d+: (?:warning|error): (?P<what>.*)$", re.MULTILINE)


class NoTool(Exception):
    """The tool, in the version that is needed, is not installed."""


def tool(name):
    """Path of Debian's NAME-14, or of NAME if that is version 14."""
    found = None
    for candidate in (f"{name}-{VERSION}", name):
        path = shutil.which(candidate)
        if path:
            told = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
            found = re.search(r"version (\d+)", told)[1]
            if found == VERSION:
                return path
    if found:
        raise NoTool(f"{name} is version {found}, not {VERSION}")
    raise NoTool(f"{name} is not installed")


def _in_parallel(function, items):
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))


def format_breaches(root, files):
    """Lines of C files that clang-format would change, by the .clang-format of their folder."""
    program = tool("clang-format")
    names = [str(file) for file in files if file.suffix in C_CODE]

    def one(batch):
        run = subprocess.run([program, "--dry-run", "-Werror", *batch], cwd=root, capture_output=True, text=True, check=False)
        told = sorted({line.split(": error:")[0].rpartition(":")[0] for line in run.stderr.splitlines() if ": error:" in line})
        if run.returncode and not told:
            raise RuntimeError(run.stderr)
        return told

    batches = [names[at:at + AT_ONCE] for at in range(0, len(names), AT_ONCE)]
    return [f"{where}: not as clang-format has it" for found in _in_parallel(one, batches) for where in found]


def _commands(root, build):
    """One compile command for each of our sources. A sanitized twin has the same code; sources in build are others'."""
    database = build / "compile_commands.json"
    if not database.exists():
        raise NoTool(f"{database} is missing: the tree is not configured")
    found = {}
    for entry in json.loads(database.read_text("utf-8")):
        file = Path(entry["file"])
        if file.is_relative_to(root) and not file.is_relative_to(build) and file.exists():
            found.setdefault(file, entry)
    return found


def tidy_breaches(root, build):
    """What clang-tidy finds by .clang-tidy in all C of user space that this build compiles."""
    program = tool("clang-tidy")
    commands = _commands(root, build)
    if not commands:
        raise NoTool(f"{build} compiles none of the sources")
    with tempfile.TemporaryDirectory() as database:
        Path(database, "compile_commands.json").write_text(json.dumps(list(commands.values())), "utf-8")

        def one(file):
            run = subprocess.run([program, "-p", database, "--quiet", f"--header-filter={re.escape(str(root))}/.*", str(file)],
                                 capture_output=True, text=True, check=False)
            found = {f"{Path(os.path.normpath(match['where'])).relative_to(root)}: {match['what']}"
                     for match in DIAGNOSTIC.finditer(run.stdout) if match["where"].startswith(str(root))}
            if run.returncode and not found:
                raise RuntimeError(f"clang-tidy {file}: {run.stdout}{run.stderr}")
            return found

        return sorted(set().union(*_in_parallel(one, sorted(commands))))
