# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands at random on few objects, many at a time, beside a model that carries them out one by one.

Whatever goes side by side, each answer must be the one that the command has when all are carried out in the order in
which they were posted. Only the handles of new objects are free; they are used once the driver knows them.
"""
import os
import random
import unittest

from case import DaemonCase
from pvhca import *

COMMANDS = int(os.environ.get("PVHCA_MODEL_COMMANDS", 3000))
SEED = int(os.environ.get("PVHCA_MODEL_SEED", 1))
DEPTH = 48
FEW = 4         # objects of a kind that the driver likes to have
RESET_STATE, INIT, RTR, ERR = 0, 1, 2, 6
GIDS = 3


class Object:
    def __init__(self, kind, parents=()):
        self.kind, self.parents = kind, parents
        self.alive, self.users, self.handle = True, 0, None
        self.state = RESET_STATE
        for parent in parents:
            parent.users += 1

    def end(self):
        if not self.alive:
            return ST_INVALID
        if self.users:
            return ST_BUSY
        self.alive = False
        for parent in self.parents:
            parent.users -= 1
        return ST_OK


class Model:
    """What there is after all commands posted so far; each method posts one, and says what must come of it."""

    def __init__(self, guest, rng):
        self.guest, self.rng = guest, rng
        self.objects = {kind: [] for kind in ("context", "pd", "mr", "cq", "qp", "ah")}
        self.gids = [False] * GIDS
        self.ceq = guest.ceq()
        self.page, self.ring, self.cq_ring, self.data = (guest.alloc(2 * GRANULE) for _ in range(4))
        self.waiting = {}       # cookie: (what, status, check of the response)
        self.counts = {}

    # ---------------------------------------------------------- the guest's

    def post(self, what, opcode, payload, status, check=None):
        self.waiting[self.guest.post(opcode, payload)] = what, status, check
        self.counts[what, status] = self.counts.get((what, status), 0) + 1

    def make(self, kind, opcode, payload, parents, valid=True):
        if not valid or not all(parent.alive for parent in parents):
            return self.post("make " + kind, opcode, payload, ST_INVALID)
        made = Object(kind, parents)
        self.objects[kind].append(made)

        def learn(response):
            made.handle, = struct.unpack_from("<I", response)
        return self.post("make " + kind, opcode, payload, ST_OK, learn)

    def take_answers(self):
        answer = self.guest.complete()
        while answer:
            cookie, status, response = answer
            what, expected, check = self.waiting.pop(cookie)
            assert status == expected, "%s: status %d instead of %d" % (what, status, expected)
            if check and not status:
                check(response)
            answer = self.guest.poll()

    def known(self, kind):
        """One whose handle the driver knows; it may be gone."""
        known = [o for o in self.objects[kind] if o.handle is not None]
        # Few of those that are gone are enough.
        for gone in [o for o in known if not o.alive][:-2]:
            self.objects[kind].remove(gone)
            known.remove(gone)
        return self.rng.choice(known) if known else None

    def wants(self, kind):
        return sum(o.alive for o in self.objects[kind]) < FEW

    # ---------------------------------------------------------- commands

    def nop(self):
        self.post("nop", NOP, b"", ST_OK)

    def context(self):
        if self.wants("context"):
            self.make("context", ALLOC_CONTEXT, context_payload(self.page), ())

    def pd(self):
        context = self.known("context")
        if context and self.wants("pd"):
            self.make("pd", ALLOC_PD, struct.pack("<II", context.handle, 0), (context,))

    def mr(self):
        pd = self.known("pd")
        if pd and self.wants("mr"):
            self.make("mr", REG_MR, mr_payload(pd.handle, [(self.data, GRANULE)], GRANULE), (pd,))

    def cq(self):
        context = self.known("context")
        if context and self.wants("cq"):
            self.make("cq", CREATE_CQ, cq_payload(context.handle, self.ceq, 5, [(self.cq_ring, 2 * GRANULE)]),
                      (context,))

    def qp(self):
        pd, cq, other = self.known("pd"), self.known("cq"), self.known("cq")
        if not (pd and cq and self.wants("qp")):
            return
        context = pd.parents[0]
        if context.handle is None:
            return
        payload = qp_payload(context.handle, pd.handle, cq.handle, other.handle, [(self.ring, 2 * GRANULE)])
        self.make("qp", CREATE_QP, payload, (context, pd, cq, other),
                  cq.parents[0] is context and other.parents[0] is context)

    def ah(self):
        pd, index = self.known("pd"), self.rng.randrange(GIDS)
        if pd and self.wants("ah"):
            self.make("ah", CREATE_AH, ah_payload(pd.handle, v4(10, 0, 0, 9), sgid_index=index), (pd,),
                      self.gids[index])

    def end(self):
        kind, opcode = self.rng.choice((("context", DEALLOC_CONTEXT), ("pd", DEALLOC_PD), ("mr", DEREG_MR),
                                        ("cq", DESTROY_CQ), ("qp", DESTROY_QP), ("ah", DESTROY_AH)))
        victim = self.known(kind)
        if victim:
            self.post("end " + kind, opcode, struct.pack("<II", victim.handle, 0), victim.end())

    def modify(self):
        qp = self.known("qp")
        if not qp:
            return
        state = self.rng.choice((RESET_STATE, INIT, INIT, ERR))
        attr = struct.pack("<BBBBIIIIIHHBBBBBBBBBBBBI20s32s32s", state, 0, 0, 0, 0, 0, 0, 0, 0xF, 0, 0, 0, 0, 0, 0, 0, 1,
                           0, 0, 0, 0, 0, 0, 0, bytes(20), bytes(32), bytes(32))
        possible = qp.alive and (state != INIT or qp.state in (RESET_STATE, INIT))
        if possible:
            qp.state = state
        self.post("modify", MODIFY_QP, struct.pack("<II", qp.handle, 0x39 if state == INIT else 1) + attr,
                  ST_OK if possible else ST_INVALID)

    def query(self):
        qp = self.known("qp")
        if not qp:
            return
        state = qp.state

        def check(response):
            assert response[0] == state, "state %d instead of %d" % (response[0], state)
        self.post("query", QUERY_QP, struct.pack("<II", qp.handle, 1), ST_OK if qp.alive else ST_INVALID, check)

    def gid(self):
        index = self.rng.randrange(GIDS)
        there = self.gids[index]
        if self.rng.random() < 0.5:
            self.gids[index] = True
            self.post("add gid", ADD_GID, gid_payload(v4(10, 0, 0, index), index), ST_INVALID if there else ST_OK)
        else:
            self.gids[index] = False
            self.post("del gid", DEL_GID, struct.pack("<II", index, 1), ST_OK if there else ST_INVALID)

    def step(self):
        self.rng.choice((self.nop, self.context, self.pd, self.pd, self.mr, self.mr, self.cq, self.cq, self.qp, self.qp,
                         self.qp, self.ah, self.ah, self.end, self.end, self.end, self.end, self.end, self.modify,
                         self.modify, self.modify, self.query, self.query, self.gid))()


class CommandsAreAsIfOneByOne:
    def run_model(self, guest, seed):
        model = Model(guest, random.Random(seed))
        while sum(model.counts.values()) < COMMANDS:
            for _ in range(model.rng.randrange(DEPTH + 1 - len(model.waiting))):
                model.step()
            guest.publish()
            if model.waiting:
                model.take_answers()
        while model.waiting:
            model.take_answers()
        return model

    def test_at_random(self):
        for seed in range(SEED, SEED + 4):
            with self.subTest(seed=seed):
                guest = Guest(self.daemon, log_sq=6, log_cq=6)
                try:
                    counts = self.run_model(guest, seed).counts
                finally:
                    guest.close()
                    self.wait_idle()
                # It was tried what the model is for.
                for what in ("end pd", "end context", "end cq"):
                    self.assertTrue(counts.get((what, ST_OK)) and counts.get((what, ST_BUSY)), counts)
                for what in ("make qp", "make ah", "modify", "query", "end qp"):
                    self.assertTrue(counts.get((what, ST_OK)) and counts.get((what, ST_INVALID)), counts)


class NullFabric(CommandsAreAsIfOneByOne, DaemonCase):
    """Each call of the engine takes a while, so that many are under way."""
    options = ("--fabric", "null", "--null-delay", "200")


class LoopbackFabric(CommandsAreAsIfOneByOne, DaemonCase):
    options = ("--fabric", "loopback")


if __name__ == "__main__":
    unittest.main()
