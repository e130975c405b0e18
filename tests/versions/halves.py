# SPDX-License-Identifier: GPL-2.0-or-later
"""The two halves of pvhca in a guest, of whatever version."""


def give(guest, module=None, plugin=None):
    """The guest's driver and provider: this tree's where nothing else is said."""
    if guest.run("test -d /sys/module/pvhca").rc == 0:
        guest.unload_driver()
    guest.load_driver(module)
    guest.install_provider(plugin)
    guest.wait_device()
