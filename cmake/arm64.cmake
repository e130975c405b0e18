# SPDX-License-Identifier: GPL-2.0-or-later
#
# Toolchain file: builds for arm64 with Debian's cross compiler.
#
#   scripts/foreign-root arm64 SUITE SYSROOT PACKAGE...      libraries of arm64, unpacked
#   cmake -S . -B BUILD --toolchain cmake/arm64.cmake -DCMAKE_SYSROOT=SYSROOT
#         -DPVHCA_KERNEL_VERSIONS=none -DPVHCA_BUILD_QEMU=OFF
#
# tests/arm64/build does all of it. SUITE should be the release of this machine: the compiler links against a C library
# of its own. With -DPVHCA_EMULATOR=qemu-aarch64 the programs, hence tests, run on this machine.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES CMAKE_SYSROOT)

if(CMAKE_SYSROOT)
	set(CMAKE_FIND_ROOT_PATH ${CMAKE_SYSROOT})
	set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
	set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
	set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
	set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
	set(ENV{PKG_CONFIG_LIBDIR} ${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig)
	set(ENV{PKG_CONFIG_SYSROOT_DIR} ${CMAKE_SYSROOT})
endif()
if(PVHCA_EMULATOR)
	set(CMAKE_CROSSCOMPILING_EMULATOR ${PVHCA_EMULATOR} -L ${CMAKE_SYSROOT})
endif()
