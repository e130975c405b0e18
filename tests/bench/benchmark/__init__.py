# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of scripts/bench, on top of the harness of tests/vm.

samples.py   what was measured, one line a sample, as it comes
guests.py    rounds on the verbs rig: native, pvhca, rxe in the guest
loopback.py  rounds between two guests of pvhcad's loopback fabric
control.py   the control path, verb by verb
counts.py    exits, interrupts, doorbells, processor time
ring.py      rounds without virtual machines
events.py    events and interrupts, and guests that do little, likewise
goals.py     samples to figures, each beside its goal
report.py    the table, the JSON, docs/performance/results.md
plots.py     gnuplot
history.py   docs/performance/history.json, and the page that is made from it
"""
