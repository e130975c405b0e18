# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels of other releases of Debian: headers in a root of Debian 13, images unpacked beside it.

Headers and image of a kernel are of one version always, whatever the mirror has gone on to: the image is that of the
headers that the root has.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "packages"))

import debian_root  # noqa: E402
from debian_root import BUILD, Root  # noqa: E402

# Which kernel, and the package that brings its headers into the root: Debian 13's, and the newest that there is for it.
KERNELS = {
    "6.12": "linux-headers-amd64",
    "newest": "linux-headers-amd64/trixie-backports",
}


def root():
    made = Root("trixie", "kernels", fresh=False)
    made.add("build-essential", "sparse", "kmod", "xz-utils", "zstd", "ibverbs-utils")
    for package in KERNELS.values():	# one after the other: both are versions of one package
        made.add(package)
    return made


def version(kernel, made):
    """As in /lib/modules."""
    found = sorted((path.name.removeprefix("linux-headers-") for path in made.path.glob("usr/src/linux-headers-*-amd64")),
                   key=lambda name: [int(part) for part in name.split("+")[0].split(".")])
    return found[-1] if kernel == "newest" else next(name for name in found if name.startswith(f"{kernel}."))


def image_root(kernel):
    """A folder with boot/ and lib/modules/ of that kernel, and its version. Needs the network once."""
    made = root()
    name = version(kernel, made)
    folder = BUILD / "tests/kernels" / name
    if not (folder / "lib/modules" / name / "modules.dep.bin").exists():
        folder.mkdir(parents=True, exist_ok=True)
        # The image's package, and those of the same kernel that it depends on: where its modules are, from 7.2 on.
        made.run(f"""
            cd /tmp && apt-get -q update
            apt-get -q download $(apt-cache depends --recurse --important --no-pre-depends linux-image-{name} |
                grep -x 'linux-[a-z]*-{name}' | sort -u)
            for package in linux-*.deb; do
                dpkg -x $package /kernel
            done
            cd /kernel && [ -e lib ] || ln -s usr/lib lib
            [ -e boot/vmlinuz-{name} ] || {{ mkdir -p boot && mv lib/modules/{name}/vmlinuz boot/vmlinuz-{name}; }}
            # The harness gives modules to the kernel as they are.
            find lib/modules/ -name '*.ko.xz' -print0 | xargs -0 -r -n 64 -P 2 unxz
            find lib/modules/ -name '*.ko.zst' -print0 | xargs -0 -r -n 64 -P 2 unzstd -q --rm
            depmod -b /kernel {name}
            """, binds=[(folder, "/kernel")])
    return folder, name


def build_driver(kernel, *arguments):
    """pvhca.ko for that kernel in build/kernel/VERSION, built in the root with the compiler that it was built with.
    Returns the version and what make printed."""
    made = root()
    name = version(kernel, made)
    folder = BUILD / "kernel" / name
    folder.mkdir(parents=True, exist_ok=True)
    output = made.run(f"""
        cp -r /source/*.[ch] /source/Kbuild /source/include /work/
        rm -f /work/*.o /work/pvhca.ko
        make -s -j2 -C /usr/src/linux-headers-{name} M=/work W=1 PVHCA_VERSION={project_version()} {" ".join(arguments)} modules
        """, binds=[(debian_root.SOURCE / "kernel", "/source"), (folder, "/work")])
    return name, output


def project_version():
    lists = subprocess.run(["sed", "-nE", r"s/^project\(pvhca VERSION ([0-9.]+).*/\1/p", debian_root.SOURCE / "CMakeLists.txt"],
                           check=True, capture_output=True, text=True)
    return lists.stdout.strip()
