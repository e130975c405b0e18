// SPDX-License-Identifier: GPL-2.0-or-later
/* How the address sanitizer works in programs that are built with it. */

/*
 * What it knows about a piece of memory it clears by writing, however long that is. It would map the place anew
 * for more than 64 KiB, and end the program where that fails. Tests use up all mappings that a process may have,
 * and see to it that pvhcad goes on.
 */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "clear_shadow_mmap_threshold=1099511627776";
}
