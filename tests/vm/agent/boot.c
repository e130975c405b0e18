// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Bringing up a guest that has no disk: its root is the host's own file system, read-only over 9p, under a tmpfs.
 *
 * The kernel's command line says what differs from guest to guest, as vmtest.KEY=VALUE; a key with a dot is passed
 * to nobody else by the kernel.
 *   vmtest.host=NAME     host name
 *   vmtest.net=ADDRESS   IPv4 address of eth0, with a /24
 *   vmtest.share=TAG:DIR one writable 9p share and where it goes
 *   vmtest.init=PROGRAM  the root's own first process, which then starts what it would start on a machine
 */
#include "agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/module.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MODULE_ORDER "/modules/order"

/* The console is the only witness here; the harness shows its tail when a guest does not come up. */
static void boot_fail(const char *what)
{
	dprintf(STDERR_FILENO, "vmtest: %s: %s\n", what, strerror(errno));
	sync();
	reboot(RB_POWER_OFF);
	exit(1);
}

static void boot_mount(const char *source, const char *target, const char *type,
		       unsigned long flags, const char *options)
{
	mkdir(target, 0755);
	if (mount(source, target, type, flags, options))
		boot_fail(target);
}

/* For what a kernel may have been built without. */
static void boot_mount_optional(const char *source, const char *target, const char *type)
{
	mkdir(target, 0755);
	(void)!mount(source, target, type, 0, NULL);
}

int boot_load_module(const char *path, const char *params)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const char *suffix = strrchr(path, '.');
	int flags = 0, ret = 0;

	if (fd < 0)
		return -errno;
	/* Kernels whose modules are compressed unpack them themselves. */
	if (suffix && strcmp(suffix, ".ko"))
		flags = MODULE_INIT_COMPRESSED_FILE;
	if (syscall(SYS_finit_module, fd, params, flags) && errno != EEXIST)
		ret = -errno;
	close(fd);
	return ret;
}

static void boot_load_modules(void)
{
	FILE *order = fopen(MODULE_ORDER, "re");
	char path[512];

	if (!order)
		boot_fail(MODULE_ORDER);
	while (fgets(path, sizeof(path), order)) {
		int ret;

		path[strcspn(path, "\n")] = '\0';
		ret = boot_load_module(path, "");
		if (ret) {
			errno = -ret;
			boot_fail(path);
		}
	}
	fclose(order);
}

/* Returns @buffer, or NULL when the command line does not have @key. */
static char *boot_option(const char *key, char *buffer, size_t size)
{
	char line[4096], *save = NULL, *word;
	ssize_t length;
	int fd;

	fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	length = read(fd, line, sizeof(line) - 1);
	close(fd);
	if (length < 0)
		return NULL;
	line[length] = '\0';

	for (word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		size_t n = strlen(key);

		if (!strncmp(word, key, n) && word[n] == '=') {
			snprintf(buffer, size, "%s", word + n + 1);
			return buffer;
		}
	}
	return NULL;
}

static void boot_interface_up(int sock, struct ifreq *request)
{
	if (ioctl(sock, SIOCGIFFLAGS, request))
		return;
	request->ifr_flags |= IFF_UP;
	(void)!ioctl(sock, SIOCSIFFLAGS, request);
}

static void boot_address(int sock, struct ifreq *request, unsigned long what, const char *address)
{
	struct sockaddr_in in = { .sin_family = AF_INET };

	inet_pton(AF_INET, address, &in.sin_addr);
	memcpy(&request->ifr_addr, &in, sizeof(in));
	if (ioctl(sock, what, request))
		perror("vmtest: address of eth0");
}

static void boot_network(void)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request;
	char address[64];

	if (sock < 0)
		return;
	memset(&request, 0, sizeof(request));
	strcpy(request.ifr_name, "lo");
	boot_interface_up(sock, &request);

	if (boot_option("vmtest.net", address, sizeof(address))) {
		memset(&request, 0, sizeof(request));
		strcpy(request.ifr_name, "eth0");
		boot_address(sock, &request, SIOCSIFADDR, address);
		boot_address(sock, &request, SIOCSIFNETMASK, "255.255.255.0");
		boot_interface_up(sock, &request);
	}
	close(sock);
}

static void boot_share(void)
{
	char share[512], *directory;

	if (!boot_option("vmtest.share", share, sizeof(share)))
		return;
	directory = strchr(share, ':');
	if (!directory)
		return;
	*directory++ = '\0';
	boot_mount(share, directory, "9p", 0, "trans=virtio,version=9p2000.L,msize=512000");
}

static void boot_root(void)
{
	static const char *const moved[] = { "dev", "proc", "sys" };
	char from[16], to[16];
	size_t i;

	boot_mount("rootfs", "/ro", "9p", MS_RDONLY,
		   "trans=virtio,version=9p2000.L,msize=512000,cache=loose");
	boot_mount("tmpfs", "/rw", "tmpfs", 0, NULL);
	mkdir("/rw/upper", 0755);
	mkdir("/rw/work", 0755);
	boot_mount("overlay", "/new", "overlay", 0,
		   "lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work");
	for (i = 0; i < sizeof(moved) / sizeof(moved[0]); i++) {
		snprintf(from, sizeof(from), "/%s", moved[i]);
		snprintf(to, sizeof(to), "/new/%s", moved[i]);
		if (mount(from, to, NULL, MS_MOVE, NULL))
			boot_fail(to);
	}
	if (chdir("/new") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		boot_fail("root");
}

/* Becomes the root's own init, if it is to have one; the agent goes on as its child. */
void boot_init(void)
{
	char program[128];
	pid_t child;

	if (!boot_option("vmtest.init", program, sizeof(program)))
		return;
	child = fork();
	if (child < 0)
		boot_fail("fork");
	if (child > 0) {
		execl(program, program, NULL);
		boot_fail(program);
	}
}

void boot_guest(void)
{
	const struct rlimit no_core = { 0, 0 };
	char name[64];

	boot_mount("proc", "/proc", "proc", 0, NULL);
	boot_mount("sysfs", "/sys", "sysfs", 0, NULL);
	boot_mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	boot_load_modules();
	boot_root();
	boot_mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777");
	boot_mount("tmpfs", "/run", "tmpfs", 0, "mode=0755");
	boot_mount("devpts", "/dev/pts", "devpts", 0, "ptmxmode=0666");
	boot_mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777");
	boot_mount_optional("debugfs", "/sys/kernel/debug", "debugfs");
	boot_share();
	boot_network();
	if (boot_option("vmtest.host", name, sizeof(name)))
		(void)!sethostname(name, strlen(name));

	setrlimit(RLIMIT_CORE, &no_core);
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("LC_ALL", "C.UTF-8", 1);
}
