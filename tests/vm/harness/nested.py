# SPDX-License-Identifier: GPL-2.0-or-later
"""L1: an emulated machine that is itself a KVM host with a software RDMA engine.

QEMU's TCG emulates AMD's SVM, so that KVM runs inside; Debian's kernel brings rdma_rxe. The harness boots L1 from
this machine's own root file system and starts itself in there; its logs come out by a second, writable share.
"""

import sys

from . import initramfs, kernelimage, paths
from .errors import HarnessError, Interrupted
from .guest import Guest
from .qemu import Machine

MEMORY = "10G"
SLOWNESS = 2.0
FOREVER = 7 * 24 * 3600     # the runner has a limit of its own


def start_l1(logs, memory=MEMORY, idle_poll=False, name="l1"):
    """Boot L1; the caller closes it."""
    emulator = paths.qemu()
    initramfs.image(), kernelimage.file()   # made here, where the cache can be written, for the guests inside too

    def machine(_):
        append = f"vmtest.share=logs:{logs}" + (" idle=poll" if idle_poll else "")
        return Machine(name, logs, emulator, memory, 2, "tcg,thread=multi", "EPYC,+svm,+npt,-xsaves", append,
                       ["-virtfs", f"local,path={logs},mount_tag=logs,security_model=none"])

    l1 = Guest(name, logs, machine, SLOWNESS)
    l1.start()
    try:
        l1.wait_booted()
    except BaseException:
        l1.close()
        raise
    return l1


def run_inside(arguments, logs, environment, attempts_left=1, **options):
    """Run this harness inside L1 with the given arguments; its output comes out as it is written. Returns its rc."""
    def show(stream, data):
        target = sys.stdout if stream == "out" else sys.stderr
        target.buffer.write(data)
        target.flush()

    l1 = start_l1(logs, **options)
    try:
        print("# L1 is up", flush=True)
        command = ["/usr/bin/python3", paths.VM_TESTS / "run", "--inside", "--logs", logs, *arguments]
        running = l1.spawn(command, env=environment, cwd=str(paths.SOURCE), on_output=show)
        try:
            result = running.wait(FOREVER)
        except HarnessError as error:
            if l1.emulator_failed() and attempts_left:
                print("# the emulator's own assertion ended L1; all once more", flush=True)
                return run_inside(arguments, logs, environment, attempts_left - 1, **options)
            print(f"Bail out! {error}\n{l1.console_tail()}", flush=True)
            return 1
        return _verdict(l1, result.rc)
    except Interrupted:
        print("# interrupted: L1 and all in it end here", flush=True)
        raise
    finally:
        l1.close()


def _verdict(l1, rc):
    """The tests' own, unless L1's kernel has something to say that they did not see."""
    complaints = l1.log.check() if rc == 0 and l1.responds() else []
    for complaint in complaints:
        print(f"# l1's kernel log: {complaint}", flush=True)
    return 1 if complaints else rc
