# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tools of rdma-core and iproute2 show of the device."""

import re

from harness import vmtest
from programs import command


@vmtest
def ibv_devices_lists_the_device(rig):
    guest = rig.guests[0]
    assert re.search(rf"^\s+{guest.ibdev}\s+[0-9a-f]{{16}}$", guest.check("ibv_devices"), re.MULTILINE)


@vmtest
def ibv_devinfo_shows_an_active_roce_port_with_the_guests_gid(rig):
    guest = rig.guests[0]
    shown = guest.check(f"ibv_devinfo -v -d {guest.ibdev}")
    for pattern in (r"transport:\s+InfiniBand", r"state:\s+PORT_ACTIVE", r"link_layer:\s+Ethernet",
                    rf"GID\[\s*{guest.gid_index}\]:\s+::ffff:{re.escape(guest.rdma_ip)}, RoCE v2",
                    r"max_qp:\s+[1-9]", r"max_cq:\s+[1-9]", r"max_mr:\s+[1-9]", r"max_pd:\s+[1-9]",
                    r"max_sge:\s+[1-9]", r"max_mr_size:\s+0x[0-9a-f]*[1-9a-f]"):
        assert re.search(pattern, shown), f"{pattern!r} is not in:\n{shown}"
    assert not re.search(r"node_guid:\s+0000:0000:0000:0000", shown)


@vmtest(rigs=("verbs",))
def limits_and_mtu_are_not_above_the_hosts(rig):
    def limits(host):
        shown = host.check(f"ibv_devinfo -v -d {host.ibdev}")
        return {name: int(re.search(rf"{name}:\s+(\d+)", shown)[1]) for name in
                ("max_qp", "max_qp_wr", "max_sge", "max_sge_rd", "max_qp_rd_atom", "max_qp_init_rd_atom",
                 "active_mtu", "max_mtu")}

    ours, hosts = limits(rig.guests[0]), limits(rig.native)
    assert all(0 < ours[name] <= hosts[name] for name in ours), (ours, hosts)
    assert ours["active_mtu"] == hosts["active_mtu"]


@vmtest
def rdma_link_shows_the_port_and_its_network_interface(rig):
    guest = rig.guests[0]
    shown = guest.check("rdma link show")
    assert re.search(rf"link {guest.ibdev}/1 state ACTIVE physical_state LINK_UP netdev {guest.netdev}\b", shown), shown


@vmtest
def rdma_resource_counts_what_an_application_has_open(rig):
    guest = rig.guests[0]

    def resources():
        words = guest.check(f"rdma resource show {guest.ibdev}").split()
        return {kind: int(words[words.index(kind) + 1]) for kind in ("pd", "cq", "qp", "mr", "ctx")}

    before = resources()
    application = guest.spawn(command(guest, "lifecycle", "--idle --qps 8"))
    application.expect("ready")
    now = resources()
    application.kill()
    assert application.wait().rc == 0
    assert {kind: now[kind] - before[kind] for kind in now} == {"pd": 1, "cq": 1, "qp": 8, "mr": 1, "ctx": 1}
    assert resources() == before


@vmtest
def rdma_resource_shows_states_of_queue_pairs(rig):
    guest = rig.guests[0]
    application = guest.spawn(command(guest, "lifecycle", "--idle --qps 8"))
    application.expect("ready")
    shown = guest.check(f"rdma resource show qp link {guest.ibdev}")
    application.kill()
    assert application.wait().rc == 0
    assert len(re.findall(r"type RC state RTS", shown)) == 8, shown


@vmtest
def two_applications_use_the_device_at_the_same_time(rig):
    guest = rig.guests[0]
    applications = [guest.spawn(command(guest, "lifecycle", "--qps 4")) for _ in range(2)]
    for application in applications:
        application.expect("ready")
    for application in applications:
        application.kill()
        assert application.wait().rc == 0, application.result()
