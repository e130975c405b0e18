# SPDX-License-Identifier: GPL-2.0-or-later
"""The files that the project consists of, in a checkout and in an unpacked archive."""

import os
import subprocess
from pathlib import Path

# In an archive nothing tells what a build has left; these are the names that .gitignore has.
NOT_OURS = ("__pycache__", ".git")
# Of another project, and kept as it has them (debian/vendor-rdma-core).
VENDORED = "debian/rdma-core/"


def _git(root, *command):
    """What git prints, or None if there is no git or root is not the top of a checkout."""
    try:
        run = subprocess.run(["git", "-C", root, *command], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return run.stdout


def _of_checkout(root):
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top.strip()).resolve() != root.resolve():
        return None
    # New files count too, so that a mistake is found before it is committed.
    return _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")


def _of_archive(root):
    for folder, folders, names in os.walk(root):
        top = Path(folder) == root
        folders[:] = [name for name in folders if name not in NOT_OURS and not (top and name.startswith("build"))]
        for name in names:
            if not name.endswith(".pyc"):
                yield os.path.relpath(os.path.join(folder, name), root)


def files(root):
    """Paths relative to root, sorted. Links, and files that were deleted but not yet committed, are left out."""
    found = _of_checkout(root)
    names = _of_archive(root) if found is None else found
    return sorted({Path(name) for name in names
                   if name and not name.startswith(VENDORED) and (root / name).is_file() and not (root / name).is_symlink()})
