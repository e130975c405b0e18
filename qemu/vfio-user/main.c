/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvhca-vfio-user: start, options, end.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pvhca-version.h"
#include "sandbox.h"
#include "server.h"

typedef struct PvhcaOptions {
    char *socket;
    char *link;
    char *name;
    char *uuid;
    char *mac;
    gboolean pair;
    char *user;
    char *mode;
    int vectors;
    int doorbells;
    gboolean version;
} PvhcaOptions;

/* Our own socket, to be removed at the end. */
typedef struct PvhcaListener {
    int fd;
    int dir;
    char *name; /* in dir */
} PvhcaListener;

/*
 * What monitor and guest can make us log: so many lines at once, and one each
 * so many microseconds after that.
 */
#define PVHCA_LOG_BURST 32
#define PVHCA_LOG_PACE  (2 * G_USEC_PER_SEC)

/* Lines that may be written now, and one less from now on. */
static unsigned pvhca_main_take_line(void)
{
    static gint64 due; /* when all would be there again */
    gint64 now = g_get_monotonic_time();
    gint64 from = MAX(due, now);
    gint64 lines =
        (now + PVHCA_LOG_BURST * PVHCA_LOG_PACE - from) / PVHCA_LOG_PACE;

    if (lines > 0) {
        due = from + PVHCA_LOG_PACE;
    }
    return MAX(lines, 0);
}

void pvhca_log(const char *fmt, ...)
{
    static unsigned left_out;
    unsigned lines = pvhca_main_take_line();
    g_autofree char *text = NULL;
    g_autofree char *line = NULL;
    va_list ap;

    if (!lines) {
        left_out++;
        return;
    }
    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    if (left_out) {
        line = g_strdup_printf("pvhca-vfio-user: %s (%u lines before this one "
                               "were left out)\n",
                               text, left_out);
    } else {
        line = g_strdup_printf(
            "pvhca-vfio-user: %s%s\n", text,
            lines > 1 ? "" : " (for now, more lines are left out)");
    }
    left_out = 0;
    /* Not by stdio, which would ask what kind of file this is. */
    (void)!write(STDERR_FILENO, line, strlen(line));
}

/* Options */

static bool pvhca_main_parse(PvhcaOptions *o, int *argc, char ***argv)
{
    const GOptionEntry entries[] = {
        { "socket", 0, 0, G_OPTION_ARG_FILENAME, &o->socket,
          "Where the virtual machine's monitor connects", "PATH" },
        { "link", 0, 0, G_OPTION_ARG_FILENAME, &o->link, "pvhcad's socket",
          "PATH" },
        { "name", 0, 0, G_OPTION_ARG_STRING, &o->name,
          "The virtual machine's name for pvhcad", "NAME" },
        { "uuid", 0, 0, G_OPTION_ARG_STRING, &o->uuid,
          "The virtual machine's UUID", "UUID" },
        { "mac", 0, 0, G_OPTION_ARG_STRING, &o->mac,
          "MAC address of the guest's port (default: pvhcad chooses)", "MAC" },
        { "pair", 0, 0, G_OPTION_ARG_NONE, &o->pair,
          "Pair it with the guest's network interface that has this MAC",
          NULL },
        { "vectors", 0, 0, G_OPTION_ARG_INT, &o->vectors,
          "MSI-X vectors, 3 to 66 (default: 2 + this machine's processors)",
          "N" },
        { "doorbells", 0, 0, G_OPTION_ARG_INT, &o->doorbells,
          "Data doorbells, 1 to 64 (default: 8)", "N" },
        { "socket-mode", 0, 0, G_OPTION_ARG_STRING, &o->mode,
          "Permissions of the socket (default: 0660)", "MODE" },
        { "user", 0, 0, G_OPTION_ARG_STRING, &o->user,
          "Become this user; needed if started by root", "NAME" },
        { "version", 0, 0, G_OPTION_ARG_NONE, &o->version, "Tell the version",
          NULL },
        { 0 },
    };
    GOptionContext *context =
        g_option_context_new("- the pvhca device for vfio-user");
    g_autoptr(GError) error = NULL;
    bool done;

    g_option_context_add_main_entries(context, entries, NULL);
    done = g_option_context_parse(context, argc, argv, &error);
    g_option_context_free(context);
    if (!done) {
        pvhca_log("%s", error->message);
    } else if (*argc > 1) {
        pvhca_log("unexpected argument '%s'", (*argv)[1]);
        done = false;
    } else if (!o->version && (!o->socket || !o->link)) {
        pvhca_log("--socket and --link are needed; --help tells the rest");
        done = false;
    }
    return done;
}

/* Bytes in hexadecimal, two digits each, with @separator where it stands. */
static bool pvhca_main_hex(const char *text, uint8_t *to, size_t size,
                           char separator)
{
    for (size_t i = 0; i < size; i++) {
        int high = g_ascii_xdigit_value(text[0]);
        int low = high < 0 ? -1 : g_ascii_xdigit_value(text[1]);

        if (low < 0) {
            return false;
        }
        to[i] = high << 4 | low;
        text += 2;
        if (*text == separator) {
            text++;
        }
    }
    return !*text;
}

static bool pvhca_main_identify(PvhcaIdentity *identity, const PvhcaOptions *o)
{
    const char *setting, *problem;

    identity->home = "pvhca-vfio-user";
    identity->num_vectors = o->vectors;
    identity->num_doorbells = o->doorbells;
    g_strlcpy(identity->version, PVHCA_VERSION " vfio-user",
              sizeof(identity->version));
    if (o->name &&
        g_strlcpy(identity->name, o->name, sizeof(identity->name)) >=
            sizeof(identity->name)) {
        pvhca_log("'name' must be shorter than %zu bytes",
                  sizeof(identity->name));
        return false;
    }
    if (o->uuid &&
        (!g_uuid_string_is_valid(o->uuid) ||
         !pvhca_main_hex(o->uuid, identity->uuid, sizeof(identity->uuid),
                         '-'))) {
        pvhca_log("'uuid' must be like 00112233-4455-6677-8899-aabbccddeeff");
        return false;
    }
    if (o->mac &&
        !(strlen(o->mac) == 17 &&
          pvhca_main_hex(o->mac, identity->mac, sizeof(identity->mac), ':'))) {
        pvhca_log("'mac' must be like 52:54:00:12:34:56");
        return false;
    }
    identity->pair = o->pair;
    problem = pvhca_device_check(identity, &setting);
    if (problem) {
        pvhca_log("'%s' %s", setting, problem);
        return false;
    }
    return true;
}

/* Who we become; -1: who we are.  No root, at any rate. */
static bool pvhca_main_find_user(const char *name, uid_t *uid, gid_t *gid)
{
    struct passwd *user;

    *uid = -1;
    *gid = -1;
    if (!name) {
        if (geteuid() == 0) {
            pvhca_log("this needs no rights of root: start it as another user, "
                      "or say which one with --user");
        }
        return geteuid() != 0;
    }
    user = getpwnam(name);
    if (!user || user->pw_uid == 0) {
        pvhca_log("--user %s: %s", name,
                  user ? "root is not what is meant" : "there is no such user");
        return false;
    }
    if (user->pw_uid != geteuid()) {
        *uid = user->pw_uid;
        *gid = user->pw_gid;
    }
    return true;
}

/* The socket */

static bool pvhca_main_address(const char *path, struct sockaddr_un *address)
{
    address->sun_family = AF_UNIX;
    if (g_strlcpy(address->sun_path, path, sizeof(address->sun_path)) >=
        sizeof(address->sun_path)) {
        pvhca_log("%s: too long for a socket's path", path);
        return false;
    }
    return true;
}

/* Remove a socket that nobody listens to; others stay, and bind() fails. */
static void pvhca_main_remove_stale(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat st;

    if (fd >= 0 && !lstat(address->sun_path, &st) && S_ISSOCK(st.st_mode) &&
        connect(fd, (const struct sockaddr *)address, sizeof(*address)) &&
        errno == ECONNREFUSED) {
        unlink(address->sun_path);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static bool pvhca_main_mode(const char *text, mode_t *mode)
{
    char *end;
    unsigned long value = text ? strtoul(text, &end, 8) : 0660;

    if (text && (!*text || *end || value > 0777)) {
        pvhca_log("'socket-mode' must be octal, like 0660");
        return false;
    }
    *mode = value;
    return true;
}

static bool pvhca_main_listen(PvhcaListener *l, const char *path, mode_t mode)
{
    struct sockaddr_un address = { 0 };
    g_autofree char *dir = g_path_get_dirname(path);
    mode_t mask;
    int ret;

    if (!pvhca_main_address(path, &address)) {
        return false;
    }
    pvhca_main_remove_stale(&address);
    l->name = g_path_get_basename(path);
    l->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mask = umask(0777 & ~mode);
    ret = bind(l->fd, (struct sockaddr *)&address, sizeof(address));
    umask(mask);
    if (l->dir < 0 || ret || listen(l->fd, 4)) {
        pvhca_log("cannot listen at %s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

/* Life */

static gboolean pvhca_main_signal(int fd, GIOCondition condition, void *opaque)
{
    (void)fd;
    (void)condition;
    g_main_loop_quit(opaque);
    return G_SOURCE_CONTINUE;
}

/* A descriptor that tells of the signals that end us. */
static int pvhca_main_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void pvhca_main_raise_limit(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool pvhca_main_enter_sandbox(const PvhcaOptions *o, int socket_dir,
                                     uid_t uid, gid_t gid)
{
#ifdef PVHCA_NO_SANDBOX
    g_autofree char *dir = g_path_get_dirname(o->link);

    /* Sanitizers need more than the filter allows. */
    (void)socket_dir;
    (void)uid;
    (void)gid;
    return !chdir(dir);
#else
    g_autofree char *dir = g_path_get_dirname(o->link);

    return pvhca_sandbox_enter(dir, uid, gid) &&
        pvhca_sandbox_filter(socket_dir);
#endif
}

/* Serve until a signal comes. */
static int pvhca_main_serve(PvhcaServer *s, const PvhcaOptions *o, uid_t uid,
                            gid_t gid)
{
    GMainLoop *loop = g_main_loop_new(NULL, false);
    int signals = pvhca_main_signals();
    PvhcaListener l = { -1, -1, NULL };
    GSource *source;
    mode_t mode;

    if (signals < 0 || !pvhca_server_init(s)) {
        pvhca_log("no descriptors: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    if (!pvhca_main_mode(o->mode, &mode) ||
        !pvhca_main_listen(&l, o->socket, mode) ||
        !pvhca_main_enter_sandbox(o, l.dir, uid, gid)) {
        return EXIT_FAILURE;
    }
    source = pvhca_source_add(signals, G_IO_IN, pvhca_main_signal, loop);
    pvhca_server_start(s, l.fd);
    pvhca_log("waiting for a monitor at %s", o->socket);
    g_main_loop_run(loop);

    pvhca_source_clear(&source);
    pvhca_server_cleanup(s);
    unlinkat(l.dir, l.name, 0);
    g_free(l.name);
    g_main_loop_unref(loop);
    return EXIT_SUCCESS;
}

static void pvhca_main_free(PvhcaOptions *o)
{
    char *texts[] = { o->socket, o->link, o->name, o->uuid,
                      o->mac,    o->user, o->mode };

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_free(texts[i]);
    }
}

static int pvhca_main_run(const PvhcaOptions *o)
{
    static PvhcaServer server;
    g_autofree char *name = g_path_get_basename(o->link);
    uid_t uid;
    gid_t gid;

    pvhca_device_init(&server.device, &pvhca_link_transport,
                      pvhca_irqs_raise_config, &server);
    if (!pvhca_main_identify(&server.device.identity, o) ||
        !pvhca_main_find_user(o->user, &uid, &gid)) {
        return EXIT_FAILURE;
    }
    server.link.name = name;
    pvhca_main_raise_limit();
    return pvhca_main_serve(&server, o, uid, gid);
}

int main(int argc, char **argv)
{
    PvhcaOptions o = {
        .vectors =
            MIN(PVHCA_VECTOR_COMP + g_get_num_processors(), PVHCA_VECTORS_MAX),
        .doorbells = PVHCA_DOORBELLS_DEFAULT,
    };
    int status = EXIT_FAILURE;

    if (!pvhca_main_parse(&o, &argc, &argv)) {
        /* It said why. */
    } else if (o.version) {
        puts("pvhca-vfio-user " PVHCA_VERSION);
        status = EXIT_SUCCESS;
    } else {
        status = pvhca_main_run(&o);
    }
    pvhca_main_free(&o);
    return status;
}
