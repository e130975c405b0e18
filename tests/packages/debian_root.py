# SPDX-License-Identifier: GPL-2.0-or-later
"""Root file systems of Debian's releases, and the project's packages built in them.

A root is made by scripts/debian-root, which says how it keeps mounts to itself. Here each has its own folder under
build/tests/roots, named by its use, and packages are built once for each release: build/tests/packages/SUITE.
"""

import hashlib
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("PVHCA_BUILD", SOURCE / "build"))
TOOL = SOURCE / "scripts/debian-root"
CACHE = Path(os.environ.get("PVHCA_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pvhca")
LOGS = BUILD / "tests/logs/packages"
UNABLE = 77
PACKAGES = ("pvhcad", "pvhca-vfio-user", "pvhca-dkms", "ibverbs-provider-pvhca", "pvhca-tests")


class Root:
    """A root of SUITE in build/tests/roots/NAME; a fresh one replaces what an earlier test left."""

    def __init__(self, suite, name, packages=(), fresh=True):
        self.suite = suite
        self.path = BUILD / "tests/roots" / name
        if fresh:
            shutil.rmtree(self.path, ignore_errors=True)
        self.add(*packages)

    def add(self, *packages):
        """Install packages of the release; a test that cannot have them is skipped."""
        made = subprocess.run([TOOL, "make", self.suite, self.path, *packages], capture_output=True, text=True)
        if made.returncode == UNABLE:
            raise unittest.SkipTest(made.stderr.strip())
        if made.returncode:
            raise AssertionError(made.stderr)

    def run(self, command, binds=(), network=True, check=True, env=None):
        """A shell command in the root, the pairs of binds mounted. Returns what it printed, stderr included."""
        arguments = [TOOL, "run", self.path]
        for here, there in binds:
            arguments += ["--bind", f"{here}:{there}"]
        if not network:
            arguments.append("--no-network")
        done = subprocess.run([*arguments, "sh", "-ec", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, text=True, errors="replace", env={**os.environ, **(env or {})})
        if check and done.returncode:
            raise AssertionError(f"in {self.path.name}: {command}\n{done.stdout[-6000:]}")
        return done.stdout if check else (done.returncode, done.stdout)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


def downloads(suite, name):
    """A folder for what apt downloads in the root of that name, with what others of the suite have downloaded: apt locks it, and
    does not wait for another apt."""
    folder = BUILD / "tests/debs" / name
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    for deb in (CACHE / f"debs-{suite}").glob("*.deb"):
        if not (folder / deb.name).exists():
            try:
                os.link(deb, folder / deb.name)
            except OSError:
                shutil.copy2(deb, folder)
    return folder


def copy_tree(where, version=None):
    """The project's files as git has them, in the folder where; under another version if one is given."""
    shutil.rmtree(where, ignore_errors=True)
    listed = subprocess.run(["git", "-C", SOURCE, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            check=True, capture_output=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (SOURCE / name).exists():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(SOURCE / name, where / name, follow_symlinks=False)
    if version:
        for name, pattern in (("CMakeLists.txt", r"(project\(pvhca VERSION )[0-9.]+"),
                              ("debian/changelog", r"(\Apvhca \()[0-9.]+")):
            path = where / name
            text, count = re.subn(pattern, rf"\g<1>{version}", path.read_text())
            assert count == 1, name
            path.write_text(text)


def build_dependencies():
    """Packages of the Build-Depends of debian/control: of alternatives the first, "virtual" sequences as packages."""
    control = (SOURCE / "debian/control").read_text()
    field = re.search(r"^Build-Depends:\n((?: .*\n)+)", control, re.MULTILINE)[1]
    return [re.match(r" ([a-z0-9+.-]+)", line)[1] for line in field.splitlines()]


def build(suite, version=None, check=False, name=None):
    """Have the packages built in a clean root of the release, without network. Returns the folder with the *.deb.

    They are built anew only if the tree's files are not what they were. What they were built from stays in the folder
    source in there.
    """
    folder = BUILD / "tests/packages" / (name or suite)
    copy_tree(folder / "source.new", version)
    digest = _digest(folder / "source.new") + (" check" if check else "")
    stamp = folder / "stamp"
    if stamp.exists() and stamp.read_text().startswith(digest):
        shutil.rmtree(folder / "source.new")
        return folder
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder / "source", ignore_errors=True)
    (folder / "source.new").rename(folder / "source")
    for old in folder.glob("*.*"):
        old.unlink()
    output = build_once(suite, folder / "source", folder, check)
    LOGS.mkdir(parents=True, exist_ok=True)
    (LOGS / f"build-{name or suite}.log").write_text(output)
    warnings = [line for line in output.splitlines() if re.search(r"warning:", line) and "dpkg-" not in line]
    if warnings:
        raise AssertionError("warnings in the build:\n" + "\n".join(warnings[:20]))
    stamp.write_text(digest)
    return folder


def build_once(suite, source, folder, check):
    """Build what is in the folder source; folder gets the packages. Returns what the build printed."""
    root = Root(suite, f"build-{suite}", fresh=False)
    root.add("build-essential", "devscripts", "lintian", "fakeroot")
    _build_dependencies_in(root, source)
    return _build_in(root, source, folder, check)


def build_for(architecture, suite, source, folder):
    """The same for another architecture, by the cross compiler. Only the root learns of that architecture."""
    root = Root(suite, f"build-{suite}-{architecture}", fresh=False)
    root.add("build-essential", "fakeroot", f"crossbuild-essential-{architecture}")
    root.run(f"dpkg --add-architecture {architecture}")
    profiles = ("-a", architecture, "-Pcross,nocheck")
    _build_dependencies_in(root, source, *profiles)
    return _build_in(root, source, folder, False, *profiles)


def _build_dependencies_in(root, source, *options):
    # As a user would have them installed: apt chooses among alternatives.
    done = root.path / "build-dep-done"
    control = (source / "debian/control").read_text()
    if not done.exists() or done.read_text() != control:
        root.run(f"apt-get -q update && apt-get -q -y --no-install-recommends {' '.join(options)} build-dep /source",
                 binds=[(source, "/source")])
        done.write_text(control)


def _build_in(root, source, folder, check, *options):
    tree = folder / "pvhca"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(source, tree, symlinks=True)
    settings = f"parallel={os.cpu_count()}" + ("" if check else " nocheck")
    output = root.run(f"cd /build/pvhca && dpkg-buildpackage -us -uc -b {' '.join(options)} 2>&1",
                      binds=[(folder, "/build")], network=False, env={"DEB_BUILD_OPTIONS": settings})
    shutil.rmtree(tree)
    return output


def tree_digest(where):
    """Of the project's files as they are now; where is a folder for a moment."""
    copy_tree(where)
    digest = _digest(where)
    shutil.rmtree(where)
    return digest


def _digest(tree):
    total = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        if path.is_file() and not path.is_symlink():
            total.update(str(path.relative_to(tree)).encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def debs(folder, *packages):
    """Paths of the packages' files, without those of debugging symbols."""
    found = []
    for package in packages or PACKAGES:
        found += list(folder.glob(f"{package}_*.deb"))
    return found
