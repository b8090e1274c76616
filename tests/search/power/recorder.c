// Records what the programs that load it (LD_PRELOAD) do to the files below SHAPBOX_TRIAL_ROOT, into the file
// SHAPBOX_TRIAL_LOG.
//
// A record is appended by one write, after its deed and before the program goes on: it is there before another program
// can learn of the deed, by a socket or a file. A sync has two records, since only the writes before its beginning are
// on the disk at its end. Paths become inodes, so that a file keeps its identity under a new name.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

// The kinds of records; tests/search/power/log.py reads them.
enum kind {
    CREATE = 'C',
    MKDIR = 'D',
    LINK = 'L',
    UNLINK = 'U',
    RENAME = 'R',
    WRITE = 'W',
    TRUNCATE = 'T',
    SYNC = 'S',
    SYNCED = 'E'
};

struct head {
    uint32_t kind, thread;
    uint64_t first, second; // inodes, or an inode and a place in its file
    uint32_t name_bytes, other_bytes;
    uint64_t data_bytes;
};

// A name in a folder; inode 0 if the folder is not below SHAPBOX_TRIAL_ROOT.
struct place {
    uint64_t folder;
    char name[NAME_MAX + 1];
};

enum { MOST_FILES = 4096 };

static const char *root, *log_path;
static size_t root_bytes;
static int64_t flushed[MOST_FILES]; // of each descriptor that stdio writes: the bytes recorded so far, plus 1

#define REAL(name) ((__typeof__(name) *)real(&real_##name, #name))

static void *real(void **known, const char *name)
{
    if (*known == NULL) {
        *known = dlsym(RTLD_NEXT, name);
    }
    return *known;
}

__attribute__((constructor)) static void begin(void)
{
    root = getenv("SHAPBOX_TRIAL_ROOT");
    log_path = getenv("SHAPBOX_TRIAL_LOG");
    root_bytes = root == NULL ? 0 : strlen(root);
}

static void record(enum kind kind, uint64_t first, uint64_t second, const char *name, const char *other,
                   const void *data, size_t data_bytes)
{
    struct head head = {(uint32_t)kind,         (uint32_t)syscall(SYS_gettid), first,     second,
                        (uint32_t)strlen(name), (uint32_t)strlen(other),       data_bytes};
    const struct iovec parts[] = {{&head, sizeof(head)},
                                  {(void *)name, head.name_bytes},
                                  {(void *)other, head.other_bytes},
                                  {(void *)data, data_bytes}};
    const long file = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CLOEXEC);
    const size_t whole = sizeof(head) + head.name_bytes + head.other_bytes + data_bytes;
    if (file < 0 || syscall(SYS_writev, file, parts, 4) != (long)whole) {
        abort(); // a gap in the log would look like a fault of the appliance
    }
    syscall(SYS_close, file);
}

static bool is_inside(const char *path)
{
    return root_bytes > 0 && strncmp(path, root, root_bytes) == 0 &&
           (path[root_bytes] == '/' || path[root_bytes] == '\0');
}

static bool path_of(int file, char *path)
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
    const ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = '\0';
    return length > 0;
}

// Returns the inode of an open file or folder below the root, or 0.
static uint64_t inode_of(int file, bool folders)
{
    struct stat facts;
    char path[PATH_MAX];
    const bool fits = fstat(file, &facts) == 0 && (S_ISREG(facts.st_mode) || (folders && S_ISDIR(facts.st_mode)));
    return fits && path_of(file, path) && is_inside(path) ? facts.st_ino : 0;
}

static struct place place_of(int base, const char *path)
{
    struct place found = {0, ""};
    char whole[PATH_MAX] = "", folder[PATH_MAX];
    if (root_bytes == 0) {
        return found;
    }
    if (path[0] != '/') {
        const bool known = base == AT_FDCWD ? getcwd(whole, sizeof(whole)) != NULL : path_of(base, whole);
        if (!known) {
            return found;
        }
    }
    const size_t used = strlen(whole);
    if (used + strlen(path) + 2 > sizeof(whole)) {
        return found;
    }
    snprintf(whole + used, sizeof(whole) - used, "%s%s", path[0] == '/' ? "" : "/", path);
    char *slash = strrchr(whole, '/');
    while (slash != whole && slash[1] == '\0') { // a path may end with a slash
        *slash = '\0';
        slash = strrchr(whole, '/');
    }
    snprintf(found.name, sizeof(found.name), "%s", slash + 1);
    *slash = '\0';
    struct stat facts;
    if (realpath(whole, folder) != NULL && is_inside(folder) && stat(folder, &facts) == 0) {
        found.folder = facts.st_ino;
    }
    return found;
}

static void record_region(int file, uint64_t inode, int64_t offset, size_t bytes)
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
    const long copy = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
    char *data = malloc(bytes);
    if (copy < 0 || data == NULL || syscall(SYS_pread64, copy, data, bytes, offset) != (long)bytes) {
        abort();
    }
    record(WRITE, inode, (uint64_t)offset, "", "", data, bytes);
    free(data);
    syscall(SYS_close, copy);
}

// Records the bytes that stdio has written to a file since the last time.
static void catch_up(int file)
{
    struct stat facts;
    if (file < 0 || file >= MOST_FILES || flushed[file] == 0 || fstat(file, &facts) != 0) {
        return;
    }
    const int64_t before = flushed[file] - 1;
    if (facts.st_size > before) {
        record_region(file, facts.st_ino, before, (size_t)(facts.st_size - before));
        flushed[file] = facts.st_size + 1;
    }
}

// ---- opening

static bool is_there(int base, const char *path)
{
    const int kept = errno;
    const bool there = faccessat(base, path, F_OK, 0) == 0;
    errno = kept;
    return there;
}

static void note_open(int file, int flags, bool existed)
{
    const int kept = errno;
    uint64_t inode;
    char path[PATH_MAX];
    if (file >= 0 && (flags & (O_CREAT | O_TRUNC)) != 0 && (flags & O_TMPFILE) != O_TMPFILE &&
        (inode = inode_of(file, false)) != 0 && path_of(file, path)) {
        const struct place place = place_of(AT_FDCWD, path);
        if (!existed) {
            record(CREATE, place.folder, inode, place.name, "", NULL, 0);
        } else if ((flags & O_TRUNC) != 0) {
            record(TRUNCATE, inode, 0, "", "", NULL, 0);
        }
    }
    errno = kept;
}

static int open_any(int base, const char *path, int flags, mode_t mode)
{
    static void *real_openat;
    const bool existed = (flags & O_CREAT) == 0 || is_there(base, path);
    const int file = REAL(openat)(base, path, flags, mode);
    note_open(file, flags, existed);
    return file;
}

#define MODE(flags, last)                                                                                              \
    mode_t mode = 0;                                                                                                   \
    if (((flags) & (O_CREAT | O_TMPFILE)) != 0) {                                                                      \
        va_list more;                                                                                                  \
        va_start(more, last);                                                                                          \
        mode = va_arg(more, mode_t);                                                                                   \
        va_end(more);                                                                                                  \
    }

int open(const char *path, int flags, ...)
{
    MODE(flags, flags)
    return open_any(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE(flags, flags)
    return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int base, const char *path, int flags, ...)
{
    MODE(flags, flags)
    return open_any(base, path, flags, mode);
}

int openat64(int base, const char *path, int flags, ...)
{
    MODE(flags, flags)
    return open_any(base, path, flags, mode);
}

int creat(const char *path, mode_t mode) { return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int creat64(const char *path, mode_t mode) { return creat(path, mode); }

static FILE *note_fopen(FILE *stream, const char *mode, bool existed)
{
    const int file = stream == NULL ? -1 : fileno(stream);
    if (file >= 0 && file < MOST_FILES) {
        flushed[file] = 0;
        if (strpbrk(mode, "wa+") != NULL && inode_of(file, false) != 0) {
            struct stat facts;
            note_open(file, O_CREAT | (mode[0] == 'w' ? O_TRUNC : 0), existed);
            flushed[file] = fstat(file, &facts) == 0 ? facts.st_size + 1 : 0;
        }
    }
    return stream;
}

FILE *fopen(const char *path, const char *mode)
{
    static void *real_fopen;
    const bool existed = is_there(AT_FDCWD, path);
    return note_fopen(REAL(fopen)(path, mode), mode, existed);
}

FILE *fopen64(const char *path, const char *mode)
{
    static void *real_fopen64;
    const bool existed = is_there(AT_FDCWD, path);
    return note_fopen(REAL(fopen64)(path, mode), mode, existed);
}

int fflush(FILE *stream)
{
    static void *real_fflush;
    const int failed = REAL(fflush)(stream);
    const int kept = errno;
    if (stream != NULL) {
        catch_up(fileno(stream));
    }
    errno = kept;
    return failed;
}

int fclose(FILE *stream)
{
    static void *real_fclose;
    const int file = fileno(stream);
    if (file >= 0 && file < MOST_FILES && flushed[file] != 0) {
        fflush(stream);
        flushed[file] = 0;
    }
    return REAL(fclose)(stream);
}

// ---- data

static void note_written(int file, ssize_t written, int64_t offset, const struct iovec *parts, int count)
{
    const int kept = errno;
    uint64_t inode;
    if (written > 0 && (inode = inode_of(file, false)) != 0) {
        const int64_t place = offset >= 0 ? offset : lseek(file, 0, SEEK_CUR) - written;
        if (count == 1) {
            record(WRITE, inode, (uint64_t)place, "", "", parts[0].iov_base, (size_t)written);
        } else {
            record_region(file, inode, place, (size_t)written);
        }
    }
    errno = kept;
}

ssize_t write(int file, const void *data, size_t bytes)
{
    static void *real_write;
    const ssize_t written = REAL(write)(file, data, bytes);
    note_written(file, written, -1, &(struct iovec){(void *)data, bytes}, 1);
    return written;
}

ssize_t pwrite(int file, const void *data, size_t bytes, off_t offset)
{
    static void *real_pwrite;
    const ssize_t written = REAL(pwrite)(file, data, bytes, offset);
    note_written(file, written, offset, &(struct iovec){(void *)data, bytes}, 1);
    return written;
}

ssize_t pwrite64(int file, const void *data, size_t bytes, off64_t offset) { return pwrite(file, data, bytes, offset); }

ssize_t writev(int file, const struct iovec *parts, int count)
{
    static void *real_writev;
    const ssize_t written = REAL(writev)(file, parts, count);
    note_written(file, written, -1, parts, count);
    return written;
}

ssize_t sendfile(int to, int from, off_t *offset, size_t bytes)
{
    static void *real_sendfile;
    const ssize_t written = REAL(sendfile)(to, from, offset, bytes);
    note_written(to, written, -1, NULL, 0);
    return written;
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t bytes) { return sendfile(to, from, offset, bytes); }

ssize_t copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t bytes, unsigned flags)
{
    static void *real_copy_file_range;
    const ssize_t written = REAL(copy_file_range)(from, from_offset, to, to_offset, bytes, flags);
    note_written(to, written, to_offset == NULL ? -1 : *to_offset - written, NULL, 0);
    return written;
}

int ftruncate(int file, off_t size)
{
    static void *real_ftruncate;
    uint64_t inode;
    const int failed = REAL(ftruncate)(file, size);
    const int kept = errno;
    if (failed == 0 && (inode = inode_of(file, false)) != 0) {
        record(TRUNCATE, inode, (uint64_t)size, "", "", NULL, 0);
    }
    errno = kept;
    return failed;
}

int ftruncate64(int file, off64_t size) { return ftruncate(file, size); }

int truncate(const char *path, off_t size)
{
    static void *real_truncate;
    struct stat facts;
    const int failed = REAL(truncate)(path, size);
    const int kept = errno;
    if (failed == 0 && place_of(AT_FDCWD, path).folder != 0 && stat(path, &facts) == 0) {
        record(TRUNCATE, facts.st_ino, (uint64_t)size, "", "", NULL, 0);
    }
    errno = kept;
    return failed;
}

int truncate64(const char *path, off64_t size) { return truncate(path, size); }

// ---- syncs

static int sync_any(int file, int (*real_sync)(int))
{
    catch_up(file);
    const uint64_t inode = inode_of(file, true);
    if (inode != 0) {
        record(SYNC, inode, 0, "", "", NULL, 0);
    }
    const int failed = real_sync(file);
    const int kept = errno;
    if (failed == 0 && inode != 0) {
        record(SYNCED, inode, 0, "", "", NULL, 0);
    }
    errno = kept;
    return failed;
}

int fsync(int file)
{
    static void *real_fsync;
    return sync_any(file, REAL(fsync));
}

int fdatasync(int file)
{
    static void *real_fdatasync;
    return sync_any(file, REAL(fdatasync));
}

// ---- names

static void note_name(int failed, enum kind kind, struct place place, int base, const char *path)
{
    struct stat facts = {0};
    if (failed == 0 && place.folder != 0 && (kind == UNLINK || fstatat(base, path, &facts, AT_SYMLINK_NOFOLLOW) == 0)) {
        record(kind, place.folder, facts.st_ino, place.name, "", NULL, 0);
    }
}

int mkdirat(int base, const char *path, mode_t mode)
{
    static void *real_mkdirat;
    const int failed = REAL(mkdirat)(base, path, mode);
    const int kept = errno;
    note_name(failed, MKDIR, place_of(base, path), base, path);
    errno = kept;
    return failed;
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int unlinkat(int base, const char *path, int flags)
{
    static void *real_unlinkat;
    const struct place place = place_of(base, path);
    const int failed = REAL(unlinkat)(base, path, flags);
    const int kept = errno;
    note_name(failed, UNLINK, place, base, path);
    errno = kept;
    return failed;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int linkat(int from, const char *path, int to, const char *name, int flags)
{
    static void *real_linkat;
    const int failed = REAL(linkat)(from, path, to, name, flags);
    const int kept = errno;
    note_name(failed, LINK, place_of(to, name), to, name);
    errno = kept;
    return failed;
}

int link(const char *path, const char *name) { return linkat(AT_FDCWD, path, AT_FDCWD, name, 0); }

int renameat2(int from, const char *path, int to, const char *name, unsigned flags)
{
    static void *real_renameat2;
    const struct place before = place_of(from, path), after = place_of(to, name);
    const int failed = REAL(renameat2)(from, path, to, name, flags);
    const int kept = errno;
    if (failed == 0 && before.folder != 0 && after.folder != 0) {
        record(RENAME, before.folder, after.folder, before.name, after.name, NULL, 0);
    }
    errno = kept;
    return failed;
}

int renameat(int from, const char *path, int to, const char *name) { return renameat2(from, path, to, name, 0); }

int rename(const char *path, const char *name) { return renameat2(AT_FDCWD, path, AT_FDCWD, name, 0); }
