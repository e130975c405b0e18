# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernel consumers of the guest's device: NVMe over RDMA from one guest to another.

It takes all that kernel verbs have: the connection manager, queue pairs of the kernel's, PVHCA_LKEY_DMA, fast
registration, remote invalidation. Without PVHCA_KERNEL_REG_MR a fabric cannot have it, and says so.
"""

import functools

from harness import skip, vmtest
from test_recipes import SLOT, unplug

NQN = "nqn.2026-01.example:pvhca"
PORT = 4420
SIZE = 64       # MiB
NAMESPACE = "/dev/nvme0n1"
CONFIG = "/sys/kernel/config/nvmet"

nvmetest = functools.partial(vmtest, guests=2, rigs=("loopback",), append=f"brd.rd_nr=1 brd.rd_size={SIZE << 10}",
                             timeout=400, reboot_after=True)


def need_kernel_verbs(*hosts):
    for host in hosts:
        if "no kernel consumers" in host.dmesg():
            skip("this fabric has no fast registration for kernel consumers")


def export(target):
    """A RAM disk."""
    target.check("/sbin/modprobe -a nvmet_rdma brd")
    target.check(f"""set -e
        [ -e /dev/ram0 ] || mknod /dev/ram0 b 1 0
        mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
        mkdir {CONFIG}/subsystems/{NQN}
        echo 1 >{CONFIG}/subsystems/{NQN}/attr_allow_any_host
        mkdir {CONFIG}/subsystems/{NQN}/namespaces/1
        echo -n /dev/ram0 >{CONFIG}/subsystems/{NQN}/namespaces/1/device_path
        echo 1 >{CONFIG}/subsystems/{NQN}/namespaces/1/enable
        mkdir {CONFIG}/ports/1
        echo ipv4 >{CONFIG}/ports/1/addr_adrfam
        echo rdma >{CONFIG}/ports/1/addr_trtype
        echo {target.rdma_ip} >{CONFIG}/ports/1/addr_traddr
        echo {PORT} >{CONFIG}/ports/1/addr_trsvcid""")
    listen(target)


def listen(target):
    """Anew, if the device that it listened on has gone."""
    port = f"{CONFIG}/ports/1/subsystems/{NQN}"
    target.check(f"rm -f {port} && ln -s {CONFIG}/subsystems/{NQN} {port}")


def connect(host, target):
    host.check("/sbin/modprobe nvme_rdma")
    # A target whose device has come back takes some seconds to listen again.
    host.check(f"for i in $(seq 20); do echo -n transport=rdma,traddr={target.rdma_ip},trsvcid={PORT},nqn={NQN},"
               "queue_size=32,nr_io_queues=2 >/dev/nvme-fabrics && exit 0; sleep 1; done; exit 1", timeout=120)
    host.check(f"for i in $(seq 100); do [ -b {NAMESPACE} ] && exit 0; sleep 0.1; done; exit 1")


def connected(rig):
    """The guest that has the disk, and the one whose disk it is."""
    host, target = rig.guests
    need_kernel_verbs(host, target)
    export(target)
    connect(host, target)
    return host, target


def disconnect(host):
    host.check("echo 1 >/sys/class/nvme/nvme0/delete_controller", timeout=60)


def give_up(host, timeout):
    """The controllers: one that had begun to connect anew before its device went does so for ten minutes (nvme-rdma)."""
    host.run("for c in /sys/class/nvme/nvme*; do [ -e $c ] && echo 1 >$c/delete_controller; done", timeout=timeout)


def write_and_compare(host):
    """Not at the disk's begin: random bytes may look like a partition table there, of which the kernel then complains."""
    host.check(f"""set -e
        head -c 8M /dev/urandom >/root/data
        dd if=/root/data of={NAMESPACE} bs=64k seek=16 oflag=direct
        dd if=/root/data of={NAMESPACE} bs=4k seek=4096 count=200 oflag=direct
        dd if=/root/data of={NAMESPACE} bs=512 seek=65536 count=50 oflag=direct
        dd if={NAMESPACE} of=/root/back bs=128k skip=8 count=64 iflag=direct
        cmp /root/data /root/back
        dd if={NAMESPACE} of=/root/back bs=4k skip=4096 count=200 iflag=direct
        cmp -n 819200 /root/data /root/back
        dd if={NAMESPACE} of=/root/back bs=512 skip=65536 count=50 iflag=direct
        cmp -n 25600 /root/data /root/back""", timeout=300)


@nvmetest
def disk_of_another_guest_is_written_and_read(rig):
    host, target = connected(rig)
    write_and_compare(host)
    disconnect(host)
    connect(host, target)
    disconnect(host)


def nvme_goes_away(host, end, timeout=240):
    """The device is taken, by end(), from under a file system on the disk, which is written to."""
    host.check(f"/sbin/modprobe ext4 && /sbin/mkfs.ext4 -q {NAMESPACE} && mkdir -p /run/disk && "
               f"mount -t ext4 {NAMESPACE} /run/disk", timeout=60)
    # The file system and the layers below it say what they have lost.
    host.log.allow(r"nvme|EXT4-fs|JBD2|Buffer I/O|I/O error|Aborting journal")
    writing = host.spawn("i=0; while dd if=/dev/zero of=/run/disk/$((i % 8)) bs=64k count=16 conv=fsync; do "
                         "i=$((i + 1)); echo written; done; echo ended")
    writing.expect("written", timeout=60)
    end()
    # What waits for the disk is not lost.
    give_up(host, timeout)
    result = writing.wait(timeout)
    assert "ended" in result.out, result
    host.run("umount -l /run/disk", timeout=60)


@nvmetest
def a_mounted_disk_may_lose_its_device(rig):
    """pvhcad ends, both guests' device with it; later the host's device alone is pulled out."""
    host, target = connected(rig)
    nvme_goes_away(host, rig.daemon.kill)
    for guest in rig.guests:
        guest.wait_device_gone()
    rig.daemon.start()
    for guest in rig.guests:
        guest.wait_device()
    listen(target)
    connect(host, target)
    write_and_compare(host)
    disconnect(host)


@nvmetest(**SLOT)
def a_mounted_disk_may_lose_its_device_by_unplugging(rig):
    host, _ = connected(rig)
    nvme_goes_away(host, lambda: unplug(rig, host))
    assert not host.check("ls /sys/class/infiniband")


@nvmetest
def device_is_taken_from_kernel_consumers(rig):
    """pvhcad ends under an NVMe connection: the kernel's consumers let go, and begin anew with the next."""
    host, target = connected(rig)
    reading = host.spawn(f"while dd if={NAMESPACE} of=/dev/null bs=64k count=64 iflag=direct; do :; done")
    rig.daemon.kill()
    for guest in rig.guests:
        guest.wait_device_gone()
    give_up(host, 120)
    assert reading.wait(120).rc == 0
    rig.daemon.start()
    for guest in rig.guests:
        guest.wait_device()
        guest.bring_up_device()
    listen(target)      # nvmet's listener went with the device, as it does with any
    connect(host, target)
    write_and_compare(host)
    disconnect(host)
