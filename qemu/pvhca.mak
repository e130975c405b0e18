# SPDX-License-Identifier: GPL-2.0-or-later
#
# The devices of the QEMU that pvhca is developed and tested with; used with
# --without-default-devices.  The same binary runs guests and, emulating AMD
# SVM under TCG, the KVM host of the nested lab.

# Machines
CONFIG_I440FX=y
CONFIG_Q35=y

# A console, a way out with a status, a place to plug devices while running
CONFIG_SERIAL_ISA=y
CONFIG_ISA_DEBUG=y
CONFIG_PCIE_PORT=y

# Root file systems, network and the guest agents of the tests
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_9P=y
CONFIG_VIRTIO_BLK=y
CONFIG_VIRTIO_NET=y
CONFIG_VIRTIO_RNG=y
CONFIG_VIRTIO_SERIAL=y

# The device itself
CONFIG_PVHCA=y
