# SPDX-License-Identifier: GPL-2.0-or-later
"""L1: an emulated machine that is itself a KVM host with a software RDMA engine.

QEMU's TCG emulates AMD's SVM, so that KVM runs inside; Debian's kernel brings rdma_rxe. The harness boots L1 from
this machine's own root file system and starts itself in there; its logs come out by a second, writable share.
"""

import sys

from . import initramfs, kernelimage, limits, paths
from .errors import GuestDied, HarnessError, Interrupted
from .guest import Guest
from .qemu import Machine

MEMORY = "10G"
NATURE = 3.0            # see rigs.Rig
ATTEMPTS = 3
LOOK_SECONDS = 60   # between two looks at whether L1 is still there
SILENT_LOOKS = 2    # in a row: it has frozen


def start_l1(logs, memory=MEMORY, idle_poll=False, name="l1", share=None):
    """Boot L1; the caller closes it. share: the folder of this machine that it can write to (default: logs)."""
    share = share or logs
    emulator = paths.qemu()
    initramfs.image(), kernelimage.file()   # made here, where the cache can be written, for the guests inside too

    def machine(_):
        append = f"vmtest.share=logs:{share}" + (" idle=poll" if idle_poll else "")
        return Machine(name, logs, emulator, memory, 2, "tcg,thread=multi", "EPYC,+svm,+npt,-xsaves", append,
                       ["-virtfs", f"local,path={share},mount_tag=logs,security_model=none"])

    l1 = Guest(name, logs, machine, NATURE * limits.scale())
    l1.start()
    try:
        l1.wait_booted()
    except BaseException:
        l1.close()
        raise
    return l1


def run_inside(arguments, logs, environment, attempts=ATTEMPTS, program=paths.VM_TESTS / "run", **options):
    """Run this harness inside L1 with the given arguments; its output comes out as it is written. Returns its rc.

    An L1 that its emulator let down (an assertion of QEMU's, a kernel that crashed or answers no more) is replaced by
    a new one, which goes on behind the last test that the old one finished. What kills L1 every time is a failure.

    program: what is run in there, with --inside --logs and the arguments; it, too, goes on where it ended.
    """
    for attempts_left in reversed(range(attempts)):
        l1 = start_l1(logs, **options)
        try:
            print("# L1 is up", flush=True)
            return _verdict(l1, _run(l1, program, arguments, logs, environment))
        except HarnessError as error:
            print(f"{'#' if attempts_left else 'Bail out!'} {error}", flush=True)
            for line in l1.console_tail().splitlines():
                print(f"#   {line}", flush=True)
            if attempts_left:
                print("# L1 is lost; a new one goes on", flush=True)
        except Interrupted:
            print("# interrupted: L1 and all in it end here", flush=True)
            raise
        finally:
            l1.close()
    return 1


def _run(l1, program, arguments, logs, environment):
    """Returns the exit code of the harness inside. HarnessError: there is no L1 any more."""
    def show(stream, data):
        target = sys.stdout if stream == "out" else sys.stderr
        target.buffer.write(data)
        target.flush()

    command = ["/usr/bin/python3", program, "--inside", "--logs", logs, *arguments]
    running = l1.spawn(command, env=environment, cwd=str(paths.SOURCE), on_output=show)
    silent = 0
    while running.running and silent < SILENT_LOOKS:
        if not running.ended_within(LOOK_SECONDS):
            silent = 0 if l1.responds() else silent + 1
    if running.running:
        raise GuestDied(f"l1 does not answer any more; {l1.machine_state()}")
    return running.wait().rc


def complaints(l1):
    """What L1's kernel has complained of since the last look."""
    return l1.log.check() if l1.responds() else []


def _verdict(l1, rc):
    """The tests' own, unless L1's kernel has something to say that they did not see."""
    found = complaints(l1) if rc == 0 else []
    for complaint in found:
        print(f"# l1's kernel log: {complaint}", flush=True)
    return 1 if found else rc
