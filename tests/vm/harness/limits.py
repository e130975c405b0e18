# SPDX-License-Identifier: GPL-2.0-or-later
"""How slow this machine is, for all time limits: tests/common/timescale.py; and until when tests may begin."""

import os
import sys
import time

from . import errors, paths

sys.path.insert(0, str(paths.SOURCE / "tests" / "common"))

from timescale import VARIABLE, scale, scaled  # noqa: E402

__all__ = ["VARIABLE", "check_that_there_is_time", "scale", "scaled"]

# Seconds since 1970: who has to be done at a certain time, as .ci/run, sets it.
LAST_START = "PVHCA_LAST_START"


def check_that_there_is_time():
    """Tests in guests that would begin too late are skipped: a verdict on all others is better than none at all.

    What has begun in time may itself start runs, later.
    """
    if time.time() > float(os.environ.pop(LAST_START, "inf")):
        raise errors.Skip(f"this machine is too slow for all tests in the time given ({LAST_START}); scripts/check runs them all")
