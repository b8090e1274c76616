// Makes the n-th call of a kind fail in the programs that load it (LD_PRELOAD): changes of files, or allocations.
//
// A block of memory that a driver shares with its forked processes says what to count and which calls fail, and holds
// the count: it goes on from one process to the next, however the first one ended.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

// The kinds that are counted; tests/search/faults/block.py has the same numbers and the same layout.
enum kind { NOTHING, REDIS, FILES, MEMORY };
// The error that means: write half of it.
enum { SHORT = -1 };

struct block {
    _Atomic long kind;
    // Calls with first <= n < last fail, counted from 0.
    _Atomic long first, last;
    _Atomic long error;
    // The bytes of the smallest allocation that counts.
    _Atomic long least;
    _Atomic long count, struck;
    // The folder whose files count.
    char folder[256];
};

static struct block *block;

void failing_calls_use(struct block *shared) { block = shared; }

// Counts a call; returns whether it fails.
static bool fails(enum kind kind)
{
    if (block == NULL || block->kind != kind)
        return false;
    long n = atomic_fetch_add(&block->count, 1);
    if (n < block->first || n >= block->last)
        return false;
    atomic_fetch_add(&block->struck, 1);
    return true;
}

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL)
        abort();
    return found;
}

// --- Files ---

static bool is_ours(int descriptor)
{
    if (block == NULL || block->kind != FILES)
        return false;
    char link[32], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return false;
    path[length] = 0;
    return strncmp(path, block->folder, strlen(block->folder)) == 0;
}

static bool path_fails(const char *path)
{
    if (block == NULL || block->kind != FILES)
        return false;
    if (strncmp(path, block->folder, strlen(block->folder)) != 0 || !fails(FILES))
        return false;
    errno = block->error == SHORT ? EIO : (int)block->error;
    return true;
}

static bool descriptor_fails(int descriptor)
{
    if (!is_ours(descriptor) || !fails(FILES))
        return false;
    errno = block->error == SHORT ? EIO : (int)block->error;
    return true;
}

ssize_t write(int descriptor, const void *data, size_t size)
{
    if (is_ours(descriptor) && fails(FILES)) {
        if (block->error != SHORT) {
            errno = (int)block->error;
            return -1;
        }
        size = (size + 1) / 2;
    }
    return REAL(write)(descriptor, data, size);
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t place)
{
    if (descriptor_fails(descriptor))
        return -1;
    return REAL(pwrite64)(descriptor, data, size, place);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    if (descriptor_fails(descriptor))
        return -1;
    return REAL(writev)(descriptor, parts, count);
}

int fsync(int descriptor)
{
    if (descriptor_fails(descriptor))
        return -1;
    return REAL(fsync)(descriptor);
}

int fdatasync(int descriptor)
{
    if (descriptor_fails(descriptor))
        return -1;
    return REAL(fdatasync)(descriptor);
}

int ftruncate64(int descriptor, off64_t size)
{
    if (descriptor_fails(descriptor))
        return -1;
    return REAL(ftruncate64)(descriptor, size);
}

int rename(const char *from, const char *to)
{
    if (path_fails(to))
        return -1;
    return REAL(rename)(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    if (path_fails(to))
        return -1;
    return REAL(renameat)(from_folder, from, to_folder, to);
}

int mkdir(const char *path, mode_t mode)
{
    if (path_fails(path))
        return -1;
    return REAL(mkdir)(path, mode);
}

int unlink(const char *path)
{
    if (path_fails(path))
        return -1;
    return REAL(unlink)(path);
}

// Opening counts where it may create a file.
#define MODE_OF(flags)                                                                                                 \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                             \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

int open(const char *path, int flags, ...)
{
    MODE_OF(flags)
    if ((flags & O_CREAT) && path_fails(path))
        return -1;
    return REAL(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE_OF(flags)
    if ((flags & O_CREAT) && path_fails(path))
        return -1;
    return REAL(open64)(path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...)
{
    MODE_OF(flags)
    if ((flags & O_CREAT) && path_fails(path))
        return -1;
    return REAL(openat64)(folder, path, flags, mode);
}

// --- Memory ---

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static bool memory_fails(size_t size)
{
    if (block == NULL || block->kind != MEMORY || (long)size < block->least || !fails(MEMORY))
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size) { return memory_fails(size) ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size) { return memory_fails(count * size) ? NULL : __libc_calloc(count, size); }

void *realloc(void *old, size_t size) { return memory_fails(size) ? NULL : __libc_realloc(old, size); }

void *aligned_alloc(size_t alignment, size_t size)
{
    return memory_fails(size) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **found, size_t alignment, size_t size)
{
    if (memory_fails(size))
        return ENOMEM;
    *found = __libc_memalign(alignment, size);
    return *found == NULL ? ENOMEM : 0;
}
