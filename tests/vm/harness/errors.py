# SPDX-License-Identifier: GPL-2.0-or-later
"""What can go wrong, as far as a test may want to tell it apart."""


class HarnessError(Exception):
    """The rig, not the code under test, failed to do what was asked."""


class GuestDied(HarnessError):
    """The guest stopped, restarted by itself, or no longer answers."""


class GuestHung(GuestDied):
    """The guest does not answer, though it is there."""


class TimedOut(AssertionError):
    """Something did not happen in its time, which alone says little: the machine may be slow."""


class CommandFailed(AssertionError):
    """A command that was to succeed did not."""


class CommandTimeout(TimedOut):
    """A command did not end in its time; it has been killed. `result` holds what it wrote until then."""

    def __init__(self, message, result):
        super().__init__(message)
        self.result = result


class TestTimeout(TimedOut):
    """A test as a whole did not end in its time."""


class Skip(Exception):
    """The test cannot run here; its text says why."""


class Interrupted(BaseException):
    """SIGINT or SIGTERM: clean up and leave."""
