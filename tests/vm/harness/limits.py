# SPDX-License-Identifier: GPL-2.0-or-later
"""How slow this machine is, for all time limits: tests/common/timescale.py."""

import sys

from . import paths

sys.path.insert(0, str(paths.SOURCE / "tests" / "common"))

from timescale import VARIABLE, scale, scaled  # noqa: E402

__all__ = ["VARIABLE", "scale", "scaled"]
