# SPDX-License-Identifier: GPL-2.0-or-later
"""What users of other adapters reported as broken (tests/verbs/recipes.c), and what shakes a guest meanwhile."""

from harness import skip, vmtest
from programs import PORT, command

ENDS = "who_waits_for_an_event_learns_of_the_devices_end"
# In a slot of its own, from which it can be pulled.
SLOT = {"qemu_args": ("-device", "pcie-root-port,id=slot0,chassis=1,addr=0x10"), "device_options": "bus=slot0"}


def recipes(host, options="", timeout=300):
    host.check(command(host, "recipes", options), timeout=timeout)


# pvhcad tells the type of a datagram where the engine does not, hence -s.

@vmtest(guests=1, timeout=500)
def recipes_hold(rig):
    recipes(rig.guests[0], "-s")


@vmtest(guests=1, rigs=("verbs",), timeout=500)
def recipes_hold_with_the_native_engine(rig):
    # rxe makes an address with a GID index that its table does not have.
    recipes(rig.native, "-x holes_of_the_gid_table_are_holes")


@vmtest(guests=1, timeout=1800, soak=True)
def a_thousand_errors_and_resets_leave_no_trace(rig):
    recipes(rig.guests[0], "-n 500 errors_and_resets_leave_no_trace", timeout=1500)


@vmtest(guests=1, timeout=900)
def the_largest_message_arrives(rig):
    """2^31 bytes; rxe has 2^23, and does not see that one is longer."""
    out = rig.guests[0].check(command(rig.guests[0], "largest", "-b" if rig.name == "loopback" else ""), timeout=600)
    assert rig.native or "of 2147483648 bytes ok" in out, out


@vmtest(guests=1, timeout=400)
def an_ipv6_datagram_is_answered_by_its_completion(rig):
    guest = rig.guests[0]
    if rig.native:
        rig.native.check("ip -6 addr replace fd77::a/64 dev veth0 nodad")
    guest.check(f"ip -6 addr replace fd77::a/64 dev {guest.netdev} nodad")
    recipes(guest, f"-s -g {guest.wait_gid('fd77::a')} datagram_is_answered_by_its_completion")
    guest.check(f"ip -6 addr del fd77::a/64 dev {guest.netdev}")
    if rig.native:
        rig.native.check("ip -6 addr del fd77::a/64 dev veth0")


# ------------------------------- beside a stream -------------------------------

def streaming(rig, options=""):
    """A stream within the guest that goes on until it is ended; it says 'ready' when it flows."""
    guest = rig.guests[0]
    server = guest.spawn(f"{command(guest, 'stream', options)} -p {PORT}")
    guest.wait_port(PORT)
    client = guest.spawn(f"{command(guest, 'stream', f'{options} --seconds 1000')} -p {PORT} 127.0.0.1")
    client.expect("ready", timeout=60)
    return server, client


def still_flows(client, server):
    assert client.running and server.running, (client.result(), server.result())
    for end in (client, server):
        end.kill()
        end.wait()


@vmtest(guests=1, timeout=500, soak=("verbs",))
def addresses_come_and_go_beside_a_stream(rig):
    guest = rig.guests[0]
    server, client = streaming(rig)
    names = [f"10.77.0.{100 + i}" for i in range(4)]
    for host, netdev in ((rig.native, "veth0"), (guest, guest.netdev)):
        # A guest's address is one of the host's first, and last.
        if host and host is not guest:
            host.check("; ".join(f"ip addr add {name}/32 dev {netdev}" for name in names))
    for _ in range(2):
        guest.check("; ".join(f"ip addr add {name}/24 dev {guest.netdev}" for name in names))
        guest.wait_gid(names[-1])
        # Holes in the middle of the table.
        guest.check("; ".join(f"ip addr del {name}/24 dev {guest.netdev}" for name in names[::2]))
        recipes(guest, "-n 1 holes_of_the_gid_table_are_holes")
        changing = guest.spawn(f"for i in $(seq 5); do for n in {' '.join(names[::2])}; do "
                               f"ip addr add $n/24 dev {guest.netdev}; ip addr del $n/24 dev {guest.netdev}; done; done")
        recipes(guest, "-n 1 holes_of_the_gid_table_are_holes")
        assert changing.wait(120).rc == 0, changing.result()
        guest.check("; ".join(f"ip addr del {name}/24 dev {guest.netdev}" for name in names[1::2]))
    still_flows(client, server)
    if rig.native:
        rig.native.check("; ".join(f"ip addr del {name}/32 dev veth0" for name in names))


@vmtest(guests=1, cpus=2, timeout=500, soak=("verbs",))
def events_arrive_while_interrupts_move_between_processors(rig):
    """Under KVM on the verbs rig: an interrupt on its way when its vector changes is not lost."""
    guest = rig.guests[0]
    irqs = guest.check("grep pvhca /proc/interrupts | cut -d: -f1").split()
    assert irqs, guest.check("cat /proc/interrupts")
    mover = guest.spawn(f"while :; do for mask in 1 2; do for irq in {' '.join(irqs)}; do "
                        "echo $mask >/proc/irq/$irq/smp_affinity || exit 1; echo moved; done; done; done")
    mover.expect("moved")
    # It waits for each event in vain if one is lost, and is ended by its alarm.
    guest.check(command(guest, "queues", "-n 100 events_are_never_missed"), timeout=300)
    assert mover.running, mover.result()
    mover.kill()
    mover.wait()


# ------------------------------ the device's end -------------------------------

def waiting(guest):
    running = guest.spawn(command(guest, "recipes", ENDS))
    running.expect("ready", timeout=60)
    return running


def check_told(running):
    result = running.wait(120)
    assert result.rc == 0 and "ibv_get_cq_event: EIO" in result.out and f"{ENDS} ok" in result.out, result


def unplug(rig, guest):
    if rig.name == "stock":
        skip("QEMU's vfio-user client cannot be unplugged everywhere")
    guest.qmp("device_del", id="pvhca")
    guest.wait_event("DEVICE_DELETED", device="pvhca")


@vmtest(guests=1)
def a_blocked_wait_for_an_event_ends_with_pvhcad(rig):
    guest = rig.guests[0]
    running = waiting(guest)
    rig.daemon.kill()
    check_told(running)
    guest.wait_device_gone()
    rig.daemon.start()
    guest.wait_device()


@vmtest(guests=1, rigs=("loopback",), reboot_after=True, **SLOT)
def a_blocked_wait_for_an_event_ends_with_its_device(rig):
    guest = rig.guests[0]
    running = waiting(guest)
    unplug(rig, guest)
    check_told(running)
    assert not guest.check("ls /sys/class/infiniband")
