#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR Linux-OpenIB
"""All interleavings of two posters and pvhcad: is a wake-up ever lost?

A program that runs finds reorderings by luck; this walks through all of them.
Memory is weaker than x86's: within a thread loads are satisfied in any order
and a store may stay behind later loads, unless a full barrier stands between
(every store is seen by all others at once, as on ARMv8). A conditional store
waits for the load that it depends on. A swap is one step where what follows it in
the program is ordered behind its store, too; arm64 makes it of a load and a store
that may stay behind later loads, which "order behind a swap" gives up.

Checked is the protocol of pvhca-ring.h as providers/pvhca/ring.h carries it out,
for two slots of one word, one of them posted to twice. That each of its steps is
needed is checked too: without it the model finds a lost wake-up.
"""
import sys
from typing import NamedTuple

POSTS = (2, 1)  # by poster


class Poster(NamedTuple):
    """One poster: what it has loaded (None: not yet) and done in this post."""
    posts: int
    stored: bool = False        # the producer index is visible
    fenced: bool = False        # the barrier after it is passed
    pending: object = None
    pending_done: bool = False  # seen set, or set and past the barrier
    summary: object = None
    summary_done: bool = False
    kick: object = None


class State(NamedTuple):
    posters: tuple
    pi: tuple = (0, 0)
    pending: tuple = (0, 0)
    summary: int = 0
    need_kick: int = 0
    doorbell: int = 0           # the eventfd
    host: str = "swap"
    seen: tuple = (0, 0)        # producer indices as pvhcad read them last
    taken: tuple = ()           # slots it still has to serve
    kick_stored: bool = True    # its store of need_kick is visible
    clearing: bool = False      # it has read pending by its swap, whose store is not visible


def put(values, i, value):
    return values[:i] + (value,) + values[i + 1:]


def poster_steps(s, i, without):
    """Next states by a step of poster i."""
    p = s.posters[i]
    if not p.posts:
        return

    def step(poster, **shared):
        return s._replace(posters=put(s.posters, i, poster), **shared)

    first, second = ("pending", "summary")
    if "order of bits" in without:
        first, second = second, first
    done = {"pending": p.pending_done, "summary": p.summary_done}
    seen = {"pending": p.pending, "summary": p.summary}
    shared = {"pending": s.pending[i], "summary": s.summary}

    def write(name):
        return {"pending": put(s.pending, i, 1)} if name == "pending" else {"summary": 1}

    if not p.stored:
        yield step(p._replace(stored=True), pi=put(s.pi, i, s.pi[i] + 1))
    if not p.fenced and (p.stored or "poster's barrier" in without):
        yield step(p._replace(fenced=True))
    if not p.fenced:
        return

    # Loads, in any order. One that was satisfied before the barrier of a
    # conditional store which then turns out to be executed is done again.
    for name, later in ((first, {second: None, "kick": None}), (second, {"kick": None})):
        if seen[name] is None:
            if shared[name]:
                yield step(p._replace(**{name: 1, f"{name}_done": True}))
            else:
                yield step(p._replace(**{name: 0}, **later))
    if p.kick is None:
        yield step(p._replace(kick=s.need_kick))

    # Conditional stores, in program order, each a full barrier.
    # (While pvhcad's swap lacks its store, one to that word would only make it start anew.)
    if s.clearing and seen["pending"] == 0 and not done["pending"]:
        return
    if seen[first] == 0 and not done[first] and p.stored:
        yield step(p._replace(**{f"{first}_done": True, second: None, f"{second}_done": False,
                                 "kick": None}), **write(first))
    if "summary" in without and second == "summary" and seen[second] == 0 and not done[second]:
        yield step(p._replace(summary_done=True))
    elif done[first] and seen[second] == 0 and not done[second] and p.stored:
        yield step(p._replace(**{f"{second}_done": True, "kick": None}), **write(second))

    if done[first] and done[second] and p.kick is not None and p.stored:
        nxt = Poster(posts=p.posts - 1)
        if p.kick:
            yield step(nxt, need_kick=0, doorbell=s.doorbell | s.need_kick)
        else:
            yield step(nxt)


def host_steps(s, without):
    """Next states by a step of pvhcad."""
    if not s.kick_stored:
        yield s._replace(kick_stored=True, need_kick=1)
    if s.clearing:
        yield s._replace(clearing=False, pending=(0, 0))
    if s.host == "swap":
        # The queue that was served last is looked at itself. The bits are left alone, even when it comes to sleeping.
        yield s._replace(seen=put(s.seen, 0, s.pi[0]))
        yield s._replace(host="prepare")
        if "order of swaps" in without:
            host = {"host": "swap pending first" if s.summary else "prepare"}
            yield s._replace(kick_stored=True, need_kick=s.need_kick | (not s.kick_stored), **host)
        else:
            yield s._replace(summary=0, host="swap pending" if s.summary else "prepare",
                             kick_stored=True, need_kick=s.need_kick | (not s.kick_stored))
    elif s.host == "swap pending first":
        yield s._replace(taken=tuple(i for i in (0, 1) if s.pending[i]), pending=(0, 0),
                         host="swap summary last")
    elif s.host == "swap summary last":
        yield s._replace(summary=0, host="serve")
    elif s.host == "swap pending":
        taken = tuple(i for i in (0, 1) if s.pending[i])
        if "order behind a swap" in without:
            yield s._replace(taken=taken, clearing=True, host="serve")
        else:
            yield s._replace(taken=taken, pending=(0, 0), host="serve")
    elif s.host == "serve":
        if not s.taken:
            if not s.clearing:
                yield s._replace(host="swap")
        else:
            i = s.taken[0]
            yield s._replace(seen=put(s.seen, i, s.pi[i]), taken=s.taken[1:])
    elif s.host == "prepare":
        yield s._replace(kick_stored=False, host="look")
    elif s.host == "look":
        if s.kick_stored or "host's barrier" in without:
            yield s._replace(host="swap" if s.summary and "look" not in without else "sleep")
    elif s.host == "sleep" and s.doorbell:
        yield s._replace(doorbell=0, host="swap")


def lost_wakeup(without=()):
    """Looks for a state in which pvhcad sleeps for ever beside posted work."""
    start = State(posters=tuple(Poster(posts) for posts in POSTS))
    found, todo = {start}, [start]
    while todo:
        state = todo.pop()
        steps = [*poster_steps(state, 0, without), *poster_steps(state, 1, without),
                 *host_steps(state, without)]
        if not steps and state.seen != POSTS:
            return state, len(found)
        for step in steps:
            if step not in found:
                found.add(step)
                todo.append(step)
    return None, len(found)


def main():
    lost, states = lost_wakeup()
    print(f"as it is: {states} states, {'LOST: ' + str(lost) if lost else 'no wake-up is lost'}")
    failed = lost is not None
    for step in ("poster's barrier", "host's barrier", "order of bits", "order of swaps",
                 "summary", "order behind a swap", "look"):
        lost, states = lost_wakeup((step,))
        print(f"without {step}: {'a wake-up is lost' if lost else 'NOTHING IS LOST'}, {states} states")
        failed |= lost is None
    return failed


if __name__ == "__main__":
    sys.exit(main())
