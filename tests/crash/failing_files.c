/* Fails file operations below a folder, for LD_PRELOAD; armed by arm(). */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READS = 1, WRITES = 2, OPENS = 4 };

static char root[PATH_MAX];
static atomic_long countdown, seen;
static long most = 0;
static int number, kinds;

/* Fail the `at`th operation of these kinds below `folder`, and `times` in all (0: for good). */
void arm(const char *folder, long at, long times, int failure, int of_kinds) {
    snprintf(root, sizeof root, "%s", folder);
    number = failure;
    kinds = of_kinds;
    most = times;
    seen = 0;
    countdown = at;
}

/* How many operations were counted; as many as `at` at least when one has failed. */
long counted(void) { return seen; }

static int fails_path(const char *path, int kind) {
    if (!root[0] || !(kind & kinds) || strncmp(path, root, strlen(root)) != 0) return 0;
    atomic_fetch_add(&seen, 1);
    long left = atomic_fetch_sub(&countdown, 1);
    if (left > 1 || (most && left <= 1 - most)) return 0;
    errno = number;
    return 1;
}

static int fails_fd(int fd, int kind) {
    if (!root[0] || !(kind & kinds)) return 0;
    char name[64], path[PATH_MAX];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    int kept = errno;
    ssize_t size = readlink(name, path, sizeof path - 1);
    errno = kept;
    if (size < 0) return 0;
    path[size] = 0;
    return fails_path(path, kind);
}

static int fails_at(int fd, const char *path, int kind) {
    if (!path) return 0;
    return path[0] == '/' || fd == AT_FDCWD ? fails_path(path, kind) : fails_fd(fd, kind);
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);

static int kind_of(int flags) { return OPENS | (flags & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC) ? WRITES : READS); }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        REAL(int, name, const char *, int, ...) \
        return fails_at(AT_FDCWD, path, kind_of(flags)) ? -1 : real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int fd, const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        REAL(int, name, int, const char *, int, ...) \
        return fails_at(fd, path, kind_of(flags)) ? -1 : real(fd, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define BY(type, name, failed, result, parameters, arguments) \
    type name parameters { \
        static type (*real) parameters; \
        if (!real) real = (type (*) parameters)dlsym(RTLD_NEXT, #name); \
        return failed ? result : real arguments; \
    }
BY(ssize_t, write, fails_fd(fd, WRITES), -1, (int fd, const void *from, size_t size), (fd, from, size))
BY(ssize_t, pwrite, fails_fd(fd, WRITES), -1, (int fd, const void *from, size_t size, off_t at), (fd, from, size, at))
BY(ssize_t, pwrite64, fails_fd(fd, WRITES), -1, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at))
BY(ssize_t, read, fails_fd(fd, READS), -1, (int fd, void *to, size_t size), (fd, to, size))
BY(ssize_t, pread, fails_fd(fd, READS), -1, (int fd, void *to, size_t size, off_t at), (fd, to, size, at))
BY(ssize_t, pread64, fails_fd(fd, READS), -1, (int fd, void *to, size_t size, off64_t at), (fd, to, size, at))
BY(int, fsync, fails_fd(fd, WRITES), -1, (int fd), (fd))
BY(int, fdatasync, fails_fd(fd, WRITES), -1, (int fd), (fd))
BY(int, ftruncate, fails_fd(fd, WRITES), -1, (int fd, off_t size), (fd, size))
BY(int, ftruncate64, fails_fd(fd, WRITES), -1, (int fd, off64_t size), (fd, size))
BY(int, posix_fallocate, fails_fd(fd, WRITES), number, (int fd, off_t at, off_t size), (fd, at, size))
BY(int, posix_fallocate64, fails_fd(fd, WRITES), number, (int fd, off64_t at, off64_t size), (fd, at, size))
BY(int, rename, fails_at(AT_FDCWD, to, WRITES), -1, (const char *from, const char *to), (from, to))
BY(int, renameat, fails_at(in, to, WRITES), -1, (int of, const char *from, int in, const char *to), (of, from, in, to))
BY(int, link, fails_at(AT_FDCWD, to, WRITES), -1, (const char *from, const char *to), (from, to))
BY(int, unlink, fails_at(AT_FDCWD, path, WRITES), -1, (const char *path), (path))
BY(int, unlinkat, fails_at(fd, path, WRITES), -1, (int fd, const char *path, int flags), (fd, path, flags))
BY(int, mkdir, fails_at(AT_FDCWD, path, WRITES), -1, (const char *path, mode_t mode), (path, mode))
BY(int, mkdirat, fails_at(fd, path, WRITES), -1, (int fd, const char *path, mode_t mode), (fd, path, mode))
BY(int, rmdir, fails_at(AT_FDCWD, path, WRITES), -1, (const char *path), (path))
BY(int, stat, fails_at(AT_FDCWD, path, READS), -1, (const char *path, struct stat *to), (path, to))
BY(int, lstat, fails_at(AT_FDCWD, path, READS), -1, (const char *path, struct stat *to), (path, to))
BY(int, stat64, fails_at(AT_FDCWD, path, READS), -1, (const char *path, struct stat64 *to), (path, to))
BY(int, lstat64, fails_at(AT_FDCWD, path, READS), -1, (const char *path, struct stat64 *to), (path, to))
BY(int, fstat, fails_fd(fd, READS), -1, (int fd, struct stat *to), (fd, to))
BY(int, fstat64, fails_fd(fd, READS), -1, (int fd, struct stat64 *to), (fd, to))
BY(int, fstatat, fails_at(fd, path, READS), -1, (int fd, const char *path, struct stat *to, int flags), (fd, path, to, flags))
BY(int, fstatat64, fails_at(fd, path, READS), -1, (int fd, const char *path, struct stat64 *to, int flags), (fd, path, to, flags))
BY(DIR *, opendir, fails_at(AT_FDCWD, path, READS | OPENS), NULL, (const char *path), (path))
BY(DIR *, fdopendir, fails_fd(fd, READS | OPENS), NULL, (int fd), (fd))
