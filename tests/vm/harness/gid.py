# SPDX-License-Identifier: GPL-2.0-or-later
"""GIDs, as sysfs shows them."""

import ipaddress

MAPPED = bytes(10) + b"\xff\xff"


def gid_of(address):
    """The GID of an IP address. ipaddress itself writes that of an IPv4 address in two ways: Python 3.13 and newer end it
    in the dotted form."""
    packed = ipaddress.ip_address(address).packed
    return (MAPPED + packed if len(packed) == 4 else packed).hex(":", 2)
