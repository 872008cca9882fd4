/* Counts the calls that change names of files, and kills the process at one of them.
 *
 * It is loaded with LD_PRELOAD and does nothing unless these variables are set:
 *   SHIM_PID    the process that is attacked; its children are left alone
 *   SHIM_UNDER  only calls on paths below this folder count
 *   SHIM_LOG    each counted call is appended to this file, as are all calls of fsync
 *   SHIM_KILL   the number of the counted call at which the process kills itself
 *   SHIM_WHEN   "before" or "after" that call
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, name))
static volatile int count = 0;

static int active(void) {
    const char *pid = getenv("SHIM_PID");
    return pid && atoi(pid) == getpid();
}

static void full(int folder, const char *path, char *into, size_t size) {
    if (path[0] == '/') { snprintf(into, size, "%s", path); return; }
    char link[64], base[2048];
    if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t n = readlink(link, base, sizeof base - 1);
    if (n < 0) n = 0;
    base[n] = 0;
    snprintf(into, size, "%s/%s", base, path);
}

static void note(const char *line) {
    const char *log = getenv("SHIM_LOG");
    if (!log) return;
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return;
    if (write(fd, line, strlen(line)) < 0) { /* the log is a help, never a reason to fail */ }
    close(fd);
}

static void die(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

/* Returns the number of the call, or 0 if it does not count. */
static int begin(const char *name, int folder, const char *path) {
    if (!active() || !path) return 0;
    char where[4096], line[4300];
    full(folder, path, where, sizeof where);
    const char *under = getenv("SHIM_UNDER");
    if (under && strncmp(where, under, strlen(under)) != 0) return 0;
    int number = __sync_add_and_fetch(&count, 1);
    snprintf(line, sizeof line, "%d\t%s\t%s\n", number, name, where);
    note(line);
    const char *at = getenv("SHIM_KILL"), *when = getenv("SHIM_WHEN");
    if (at && atoi(at) == number && when && !strcmp(when, "before")) die();
    return number;
}

static void end(int number) {
    const char *at = getenv("SHIM_KILL"), *when = getenv("SHIM_WHEN");
    if (number && at && atoi(at) == number && when && !strcmp(when, "after")) die();
}

static void synced(int fd) {
    if (!active()) return;
    struct stat about;
    struct timespec now;
    char line[128];
    if (fstat(fd, &about)) return;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(line, sizeof line, "0\tfsync\t%lu %ld%09ld\n", (unsigned long)about.st_ino,
             (long)now.tv_sec, now.tv_nsec);
    note(line);
}

/* A name that does not exist cannot be removed, so that such a call changes nothing. */
static int exists(int folder, const char *path) {
    struct stat about;
    return path && !fstatat(folder, path, &about, AT_SYMLINK_NOFOLLOW);
}

#define CALL(name, folder, path, expression) \
    int number = begin(name, folder, path); int result = (expression); end(number); return result;

int rename(const char *a, const char *b) {
    CALL("rename", AT_FDCWD, b, REAL(int (*)(const char *, const char *), "rename")(a, b))
}
int renameat(int c, const char *a, int d, const char *b) {
    CALL("rename", d, b, REAL(int (*)(int, const char *, int, const char *), "renameat")(c, a, d, b))
}
int renameat2(int c, const char *a, int d, const char *b, unsigned f) {
    CALL("rename", d, b, (int)REAL(long (*)(long, ...), "syscall")(SYS_renameat2, c, a, d, b, f))
}
int link(const char *a, const char *b) {
    CALL("link", AT_FDCWD, b, REAL(int (*)(const char *, const char *), "link")(a, b))
}
int linkat(int c, const char *a, int d, const char *b, int f) {
    CALL("link", d, b, REAL(int (*)(int, const char *, int, const char *, int), "linkat")(c, a, d, b, f))
}
int symlink(const char *a, const char *b) {
    CALL("link", AT_FDCWD, b, REAL(int (*)(const char *, const char *), "symlink")(a, b))
}
int unlink(const char *a) {
    CALL("unlink", AT_FDCWD, exists(AT_FDCWD, a) ? a : NULL, REAL(int (*)(const char *), "unlink")(a))
}
int unlinkat(int c, const char *a, int f) {
    CALL("unlink", c, exists(c, a) ? a : NULL, REAL(int (*)(int, const char *, int), "unlinkat")(c, a, f))
}
int rmdir(const char *a) {
    CALL("unlink", AT_FDCWD, exists(AT_FDCWD, a) ? a : NULL, REAL(int (*)(const char *), "rmdir")(a))
}
int fsync(int fd) {
    int result = REAL(int (*)(int), "fsync")(fd);
    synced(fd);
    return result;
}
int fdatasync(int fd) {
    int result = REAL(int (*)(int), "fdatasync")(fd);
    synced(fd);
    return result;
}
long syscall(long what, ...) {
    long v[6];
    va_list given;
    va_start(given, what);
    for (int n = 0; n < 6; n++) v[n] = va_arg(given, long);
    va_end(given);
    long (*real)(long, ...) = REAL(long (*)(long, ...), "syscall");
    int number = what == SYS_renameat2 ? begin("rename", (int)v[2], (const char *)v[3]) : 0;
    long result = real(what, v[0], v[1], v[2], v[3], v[4], v[5]);
    end(number);
    return result;
}
