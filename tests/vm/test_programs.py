# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of others, unmodified, between guests: UCX, libfabric, fio, Open MPI, MPICH, and sockets over RDMA.

Most of them fall back to TCP without a word, so each test also counts the bytes that RDMA carried. What the native
engine of the verbs rig cannot do is shown there, too: a guest may then be able to do more than its host.
"""

from harness import vmtest
from harness.paths import SOURCE, build
from programs import totals
from test_cm import both_end_well, load_cm, wait_listening

PORT = 18660
REMOTE = SOURCE / "tests" / "programs" / "remote.py"
RSOCKET = "/usr/lib/x86_64-linux-gnu/rsocket/librspreload.so"


def over_rdma(rig, least, function, *args, **kwargs):
    """Run it; at least so many bytes must have been carried by RDMA."""
    before = totals(rig)["payload_bytes_sent"]
    function(*args, **kwargs)
    moved = totals(rig)["payload_bytes_sent"] - before
    assert moved >= least, f"only {moved} bytes of at least {least} went by RDMA"


def serve_and_ask(server, client, served, asked, ready, env=None, timeout=120):
    """Both programs must end well. ready waits until the server can be asked."""
    load_cm(server, client)
    running = server.spawn(f"exec {served}", env=env)
    ready(running)
    result = client.run(f"exec {asked}", env=env, timeout=timeout)
    return both_end_well((running.wait(timeout), result))


def fails_natively(rig, served, asked, ready, env, seconds, complaint):
    """Server and client on the native host: the client does not end well within so many seconds, and complains."""
    native = rig.native
    load_cm(native)
    running = native.spawn(f"exec {served}", env=env)
    ready(running)
    result = native.run(f"exec timeout -s KILL {seconds} {asked}", env=env, timeout=seconds + 60)
    running.kill(9)
    running.wait()
    assert result.rc and complaint in result.out + result.err, result
    print(f"# natively: {complaint or 'no end'}")


# ------------------------------------ UCX ------------------------------------

def ucx_environment(guest, transports):
    return {"UCX_TLS": transports, "UCX_NET_DEVICES": f"{guest.ibdev}:1", "UCX_IB_GID_INDEX": guest.gid_index,
            "UCX_WARN_UNUSED_ENV_VARS": "n", "UCX_UD_TIMEOUT": "60s"}


def ucx(rig, transport, test, size, count):
    server, client = rig.guests
    command = f"ucx_perftest -p {PORT} -t {test} -s {size} -n {count} -w 10"
    over_rdma(rig, size * count, serve_and_ask, server, client, command, f"{command} {server.net_ip}",
              lambda running: server.wait_port(PORT), ucx_environment(server, f"{transport},self"))


@vmtest(guests=2, timeout=400)
def ucx_talks_by_datagrams(rig):
    ucx(rig, "ud_v", "tag_bw", 65536, 50)
    ucx(rig, "ud_v", "tag_lat", 8, 50)


@vmtest(guests=2, soak=("verbs",), timeout=400)
def ucx_talks_by_connections(rig):
    ucx(rig, "rc_v", "tag_bw", 65536, 50)
    ucx(rig, "rc_v", "ucp_put_bw", 4096, 50)
    ucx(rig, "rc_v", "ucp_get", 4096, 20)
    ucx(rig, "rc_v", "ucp_fadd", 8, 20)


@vmtest(guests=2, rigs=("verbs",), timeout=400, soak=True)
def ucx_fails_with_the_native_engine(rig):
    """rxe does not tell which header a datagram has. pvhcad does, see above."""
    env = {**ucx_environment(rig.native, "ud_v,self"), "UCX_UD_TIMEOUT": "5s"}
    command = f"ucx_perftest -p {PORT} -t tag_lat -s 8 -n 10 -w 1"
    fails_natively(rig, command, f"{command} {rig.native.net_ip}", lambda running: rig.native.wait_port(PORT), env, 60,
                   "timeout")


# --------------------------------- libfabric ---------------------------------

@vmtest(guests=2, soak=("verbs",), timeout=400)
def libfabric_talks(rig):
    server, client = rig.guests
    # By itself it takes a CQ for 256 peers, of 262144 entries. rxe has 32767, and so have its guests.
    env = {} if rig.native is None else {"FI_UNIVERSE_SIZE": "16"}
    for size in (64, 65536):
        command = f"fi_pingpong -p 'verbs;ofi_rxm' -e rdm -I 20 -S {size} -c"
        over_rdma(rig, 2 * 20 * size, serve_and_ask, server, client, f"{command} -B {PORT}",
                  f"{command} -P {PORT} {server.net_ip}", lambda running: server.wait_port(PORT), env)


# ------------------------------------ fio ------------------------------------

def fio(rig, verb, server_depth=16):
    server, client = rig.guests
    common = f"fio --name=job --ioengine=rdma --port={PORT} --bs=64k --size=4m"
    over_rdma(rig, 4 << 20, serve_and_ask, server, client, f"{common} --rw=read --iodepth={server_depth}",
              f"{common} --hostname={server.rdma_ip} --verb={verb} --rw=write --iodepth=8",
              lambda running: wait_listening(server, "fio"))


@vmtest(guests=2, timeout=400)
def fio_writes_and_reads(rig):
    fio(rig, "write")
    fio(rig, "read")


@vmtest(guests=2, timeout=400, soak=("verbs",))
def fio_sends(rig):
    # fio connects with an RNR retry count of 0, and its sender does not wait for its receiver: a
    # receive for each of the 64 messages, or a slow receiver loses a race that no adapter can win.
    fio(rig, "send", server_depth=128)


# ------------------------------------ MPI ------------------------------------

def mpi_program(name):
    return build() / "tests" / "programs" / f"pvhca-test-mpi-{name}"


def run_mpi(rig, hosts, command, env):
    """An MPI job with a rank on each of the hosts; launched by a remote shell of our own."""
    servers = [host.spawn(f"exec {REMOTE} serve") for host in set(hosts)]
    load_cm(*set(hosts))
    for host in set(hosts):
        host.wait_port(18650)
    result = hosts[0].run(command, timeout=300, env=env)
    for server in servers:
        server.kill()
    assert result.rc == 0 and "exchange: ok" in result.out, result


def open_mpi(rig, hosts):
    names = ",".join(host.net_ip for host in hosts)
    options = "--allow-run-as-root --oversubscribe --mca pml ucx --mca osc ucx --mca btl ^openib,tcp"
    env = ucx_environment(hosts[0], "rc_v,ud_v,self")
    export = " ".join(f"-x {name}" for name in env)
    over_rdma(rig, 16 << 20, run_mpi, rig, hosts,
              f"mpirun.openmpi {options} {export} --mca plm_rsh_agent {REMOTE} --mca oob_tcp_if_include eth0 "
              f"-np {len(hosts)} --host {names} {mpi_program('openmpi')}", env)


@vmtest(guests=2, soak=("verbs",), timeout=900)
def open_mpi_runs_in_two_guests(rig):
    open_mpi(rig, rig.guests)


@vmtest(guests=2, soak=("verbs",), timeout=900)
def open_mpi_runs_in_one_guest(rig):
    guest = rig.guests[0]
    env = ucx_environment(guest, "rc_v,ud_v,self")
    over_rdma(rig, 16 << 20, run_mpi, rig, [guest],
              "mpirun.openmpi --allow-run-as-root --oversubscribe --mca pml ucx --mca osc ucx --mca btl ^openib,tcp "
              f"-np 2 {mpi_program('openmpi')}", env)


@vmtest(guests=2, soak=("verbs",), timeout=900)
def mpich_runs_in_two_guests(rig):
    hosts = ",".join(guest.net_ip for guest in rig.guests)
    env = ucx_environment(rig.guests[0], "rc_v,ud_v,self")
    over_rdma(rig, 16 << 20, run_mpi, rig, rig.guests,
              f"mpiexec.mpich -launcher rsh -launcher-exec {REMOTE} -iface eth0 -hosts {hosts} -ppn 1 -n 2 "
              f"{mpi_program('mpich')}", env)


# ---------------------------------- rsockets ---------------------------------

@vmtest(guests=2, timeout=200)
def an_echo_with_poll_runs_over_rsockets(rig):
    server, client = rig.guests
    command = f"{build() / 'tests' / 'programs' / 'pvhca-test-echo'} {server.rdma_ip} {PORT}"
    over_rdma(rig, 2 * 20 * 5000, serve_and_ask, server, client, f"{command} serve", command,
              lambda running: running.expect("listening"), {"LD_PRELOAD": RSOCKET})


@vmtest(guests=1, rigs=("verbs",), timeout=400, soak=True)
def iperf3_fails_over_rsockets_natively(rig):
    """Two faults of librdmacm (44 to 56 at least), on every device, so guests are not asked for it.

    Its select() for programs looks for the program's descriptor by that of the rsocket, and for an accepted one finds
    that first: the server is told of a descriptor that it does not have. And rpoll() hangs when its time has been over
    twice (tests/verbs/streams.c).
    """
    address = rig.native.rdma_ip
    fails_natively(rig, f"iperf3 -s -1 --forceflush -B {address} -p {PORT}", f"iperf3 -c {address} -p {PORT} -n 8M",
                   lambda running: running.expect("Server listening"), {"LD_PRELOAD": RSOCKET}, 30, "")
