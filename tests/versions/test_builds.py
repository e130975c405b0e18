# SPDX-License-Identifier: GPL-2.0-or-later
"""Driver and provider are built with other versions than this machine's, without a warning; the series for upstream
apply to their projects and are built there."""

import functools
import json
import re
import shlex
import shutil
import subprocess
import unittest
from pathlib import Path

import kernels
from debian_root import BUILD, LOGS, SOURCE

WARNING = re.compile(r"(warning|error):|WARNING: modpost")
SERIES = BUILD / "tests/series"
# What a guest runs with the libibverbs of that tree: test_rdma_core.py.
QEMU_FILES = ("MAINTAINERS", "meson.build", "hw/meson.build", "hw/Kconfig", "docs/specs/index.rst",
              "tests/functional/meson.build")
PINGPONGS = ("ibv_rc_pingpong", "ibv_ud_pingpong", "ibv_srq_pingpong")


def warnings(output):
    return [line for line in output.splitlines() if WARNING.search(line)]


def fetch(name):
    tree = BUILD / {"qemu-10.0": "qemu-src"}.get(name, f"{name}-src")	# as the build names it
    done = subprocess.run([SOURCE / "scripts/fetch-source", name, tree], capture_output=True, text=True)
    if done.returncode:
        raise unittest.SkipTest(done.stderr.strip())
    return tree


@functools.cache
def patches_of(project, name):
    """The series alone: the folder of its patches, and the source of the project."""
    base = fetch(name)
    patches = SERIES / f"{project}-only"
    subprocess.run([SOURCE / "scripts/export-series", project, patches, "--base", base], check=True, capture_output=True)
    return patches, base


def export(project, name, only=None):
    """The series, applied by git am to a copy of its base, or of only some files of that. Returns the folder of the copy."""
    base = fetch(name)
    shutil.rmtree(SERIES / project, ignore_errors=True)
    patches = SERIES / project / "patches"
    subprocess.run([SOURCE / "scripts/export-series", project, patches, "--base", base], check=True, capture_output=True)
    tree = SERIES / project / "tree"
    if only:
        for path in only:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            # Without what qemu/integrate put there.
            lines = (base / path).read_text().splitlines(keepends=True)
            (tree / path).write_text("".join(line for line in lines if "pvhca" not in line))
    else:
        shutil.copytree(base, tree, symlinks=True)

    def git(*command):
        subprocess.run(["git", "-C", tree, "-c", "user.name=test", "-c", "user.email=test@example.org", *command],
                       check=True, capture_output=True)
    git("init", "-q")
    git("add", "-A", "-f", ".")
    git("commit", "-q", "-m", "base")
    git("am", "-q", *sorted(patches.glob("*.patch")))
    return tree


class Driver(unittest.TestCase):
    def check(self, kernel):
        _, output = kernels.build_driver(kernel)
        self.assertEqual(warnings(output), [], output)

    def test_linux_6_12(self):
        self.check("6.12")

    def test_newest_linux(self):
        self.check("newest")


class Series(unittest.TestCase):
    def test_no_compatibility_code_is_left(self):
        for project, name in (("rdma-core", "rdma-core-65"), ("linux", "linux-7.3"), ("qemu", "qemu-10.0")):
            patches, _ = patches_of(project, name)
            text = "".join(path.read_text() for path in patches.glob("*.patch"))
            for word in ("compat.h", "_compat", "LINUX_VERSION_CODE", "IBVERBS_PABI_VERSION", "PVHCA_QEMU_AT_LEAST", "__has_include",
                         "PVHCA_UPSTREAM", "_0_1"):
                self.assertNotIn(word, text, project)

    def test_uapi_has_nothing_that_only_the_kernel_may_use(self):
        patches, _ = patches_of("linux", "linux-7.3")
        text = "".join(path.read_text() for path in patches.glob("*.patch"))
        changes = re.findall(r"^diff --git a/(\S+) .*\n((?:(?!diff --git).*\n)*)", text, re.MULTILINE)
        uapi = "".join(change for name, change in changes if name.startswith("include/uapi/rdma/pvhca"))
        for word in ("REG_MR", "F_AV", "LKEY_DMA", "VLAN", "version["):
            self.assertNotIn(word, uapi)
        self.assertIn("PVHCA_LKEY_DMA", text)

    def test_rdma_core_65_builds_it_with_werror(self):
        tree = export("rdma-core", "rdma-core-65")
        build = tree / "build"
        configured = subprocess.run(
            ["cmake", "-S", tree, "-B", build, "-G", "Ninja", "-DNO_PYVERBS=1", "-DENABLE_WERROR=1", "-DCMAKE_C_FLAGS=-Werror"],
            capture_output=True, text=True)
        self.assertEqual(configured.returncode, 0, configured.stdout[-3000:] + configured.stderr[-3000:])
        built = subprocess.run(["ninja", "-j2", "-C", build, "pvhca-rdmav65", *PINGPONGS],
                               capture_output=True, text=True)
        self.assertEqual(built.returncode, 0, built.stdout[-3000:])
        self.assertTrue((build / "lib/libpvhca-rdmav65.so").exists())
        # Its man page is one of those that are installed.
        self.assertTrue((tree / "providers/pvhca/man").is_dir())

    def test_linux_builds_the_driver_in_its_folder(self):
        tree = export("linux", "linux-7.3")
        root = kernels.root()
        name = kernels.version("newest", root)
        common = "/usr/src/linux-headers-" + name.removesuffix("-amd64") + "-common"
        output = root.run(f"""
            # The headers of the kernel, with what the series adds to them.
            mkdir /tmp/uapi
            cp -r {common}/include/uapi/rdma/. /tree/include/uapi/rdma/. /tmp/uapi/
            mount --bind /tmp/uapi {common}/include/uapi/rdma
            make -s -j2 -C /usr/src/linux-headers-{name} M=/tree/drivers/infiniband/hw/pvhca W=1 KCFLAGS=-Werror \\
                CONFIG_INFINIBAND_PVHCA=m modules
            """, binds=[(tree, "/tree")])
        self.assertEqual(warnings(output), [], output)
        self.assertTrue((tree / "drivers/infiniband/hw/pvhca/pvhca.ko").exists())

    def test_qemu_builds_the_device_in_its_folder(self):
        """By the commands that its files were compiled with here, except that a warning is an error."""
        database = BUILD / "qemu/compile_commands.json"
        if not database.exists():
            self.skipTest("QEMU with the device is not built")
        tree = export("qemu", "qemu-10.0", only=QEMU_FILES)
        sources = sorted((tree / "hw/pvhca").glob("*.c"))
        commands = {Path(entry["file"]).name: entry for entry in json.loads(database.read_text())
                    if Path(entry["file"]).parent.name == "pvhca"}
        self.assertEqual(sorted(commands), [source.name for source in sources])
        for source in sources:
            entry = commands[source.name]
            command = shlex.split(entry["command"])
            for option in ("-o", "-MF", "-MQ"):
                command[command.index(option) + 1] = str(tree / f"{source.stem}.o")
            command[command.index("-c") + 1] = str(source)
            built = subprocess.run([*command, "-Werror", "-I", tree / "include"], cwd=entry["directory"],
                                   capture_output=True, text=True)
            self.assertEqual(built.returncode, 0, built.stderr[-3000:])

    def test_checkpatch_of_qemu_finds_no_error(self):
        patches, base = patches_of("qemu", "qemu-10.0")
        done = subprocess.run(["perl", base / "scripts/checkpatch.pl", "--no-tree", "--terse",
                               *sorted(patches.glob("*.patch"))], capture_output=True, text=True, cwd=patches)
        self.assertIn(" lines checked", done.stdout)
        self.assertEqual([line for line in done.stdout.splitlines() if ": ERROR:" in line], [])

    def test_checkpatch_finds_no_error(self):
        patches, base = patches_of("linux", "linux-7.3")
        done = subprocess.run(["perl", base / "scripts/checkpatch.pl", "--no-tree", "--strict", "--terse",
                               "--max-line-length=100", *sorted(patches.glob("*.patch"))], capture_output=True, text=True,
                              cwd=patches)	# where it leaves a file
        LOGS.mkdir(parents=True, exist_ok=True)
        (LOGS / "checkpatch.log").write_text(done.stdout)
        self.assertEqual([line for line in done.stdout.splitlines() if ": ERROR:" in line], [])


if __name__ == "__main__":
    unittest.main()
