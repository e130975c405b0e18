# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots guests, and a nested KVM host, and runs tests in them. README.md beside this folder says how to use it."""

from .errors import CommandFailed, CommandTimeout, GuestDied, HarnessError, Skip, TimedOut
from .paths import test_program
from .perf import check_pair, pair
from .testcase import vmtest

__all__ = [
    "CommandFailed", "CommandTimeout", "GuestDied", "HarnessError", "Skip", "TimedOut",
    "check_pair", "pair", "skip", "test_program", "vmtest",
]


def skip(reason):
    """End the running test as skipped."""
    raise Skip(reason)
