// Loaded in front of the C library (LD_PRELOAD): the call that FAULT_CALL names fails once, the time that FAULT_AT says, or
// with FAULT_KILL the process is killed instead. The file FAULT_HIT appears if it came to that.
//
// Small mappings are left alone: the standard library of Rust makes them for its handler of stack overflows, and aborts
// without them.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LARGE 65536

static atomic_long calls;

static int fails(const char *name) {
    const char *wanted = getenv("FAULT_CALL");
    if (!wanted || strcmp(wanted, name)) return 0;
    if (atomic_fetch_add(&calls, 1) + 1 != atol(getenv("FAULT_AT"))) return 0;
    syscall(SYS_openat, AT_FDCWD, getenv("FAULT_HIT"), O_WRONLY | O_CREAT, 0600);
    if (getenv("FAULT_KILL")) kill(getpid(), SIGKILL);
    return 1;
}

#define FAULT(name, condition, error, result, type, parameters, arguments) \
    type name parameters { \
        static type(*real) parameters; \
        if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
        if ((condition) && fails(#name)) { \
            errno = error; \
            return (type)result; \
        } \
        return real arguments; \
    }

FAULT(mmap, n >= LARGE, ENOMEM, MAP_FAILED, void *, (void *a, size_t n, int p, int f, int d, off_t o), (a, n, p, f, d, o))
FAULT(mprotect, n >= LARGE, ENOMEM, -1, int, (void *a, size_t n, int p), (a, n, p))
FAULT(pread64, 1, EIO, -1, ssize_t, (int d, void *b, size_t n, off_t o), (d, b, n, o))
FAULT(write, 1, ENOSPC, -1, ssize_t, (int d, const void *b, size_t n), (d, b, n))
FAULT(rename, 1, EIO, -1, int, (const char *a, const char *b), (a, b))
FAULT(fsync, 1, EIO, -1, int, (int d), (d))
FAULT(ftruncate64, 1, ENOSPC, -1, int, (int d, off_t n), (d, n))
FAULT(pthread_create, 1, 0, EAGAIN, int,
      (pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *x), (t, a, f, x))
