# SPDX-License-Identifier: GPL-2.0-or-later
"""Driver and provider of the last release, built from its commit (file last-release) for this machine.

Beside them two providers of releases that never were: the last one's, but for the major version of one ABI.
"""

import io
import re
import shutil
import subprocess
import tarfile
import unittest
from pathlib import Path

from debian_root import BUILD, SOURCE

FOLDER = BUILD / "tests/last-release"
VERSION, COMMIT = re.search(r"^([0-9.]+) ([0-9a-f]{40})$", Path(__file__).with_name("last-release").read_text(),
                            re.MULTILINE).groups()
RING, UVERBS = "kernel/include/uapi/rdma/pvhca-ring.h", "kernel/include/uapi/rdma/pvhca-abi.h"


def provider(name="as-it-was"):
    return next((FOLDER / COMMIT / name / "build/providers").glob("libpvhca-rdmav*.so"))


def module():
    """pvhca.ko for this machine's newest kernel that has headers."""
    return next((FOLDER / COMMIT / "as-it-was/build/kernel").glob("*/pvhca.ko"))


def unpack(name):
    tree = FOLDER / COMMIT / name / "source"
    packed = subprocess.run(["git", "-C", SOURCE, "archive", COMMIT], capture_output=True)
    if packed.returncode:
        raise unittest.SkipTest(f"this clone has no commit {COMMIT[:12]} of version {VERSION}")
    shutil.rmtree(tree, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(tree)
    return tree


def build(name, targets, header=None, pattern=None):
    """Build it under that name, with the number behind the pattern in a header another one: 7."""
    done = FOLDER / COMMIT / name / "done"
    if done.exists():
        return
    tree = unpack(name)
    if header:
        text, count = re.subn(rf"^(#define {pattern}\s+)\d+$", r"\g<1>7", (tree / header).read_text(), flags=re.MULTILINE)
        assert count == 1, pattern
        (tree / header).write_text(text)
    folder = tree.with_name("build")
    for command in (["cmake", "-S", tree, "-B", folder, "-G", "Ninja", "--log-level=NOTICE", "-DPVHCA_BUILD_QEMU=OFF",
                     "-DPVHCA_SANITIZE=OFF", f"-DPVHCA_RDMA_CORE_SOURCE={BUILD / 'rdma-core-src'}"],
                    ["cmake", "--build", folder, "--target", *targets]):
        ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if ran.returncode:
            raise RuntimeError(f"{name}: {command}\n{ran.stdout[-3000:]}")
    done.touch()


def build_all():
    build("as-it-was", ["pvhca-provider", "pvhca-ko"])
    build("other-ring", ["pvhca-provider"], RING, "PVHCA_RING_ABI_MAJOR")
    build("other-uverbs", ["pvhca-provider"], UVERBS, "PVHCA_UVERBS_ABI_VERSION")
