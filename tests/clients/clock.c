/* Clocks that a test moves, for a process that is started with this library in LD_PRELOAD.
 *
 * TEST_CLOCK names a file of seven 64-bit numbers: how often the rest was written, and two turns of what is added to the wall
 * clock, the monotonic clock and the time since boot, in nanoseconds. A writer fills the other turn, then counts up, so a
 * reading is of one turn, and nobody waits. The kernel waits by its own clocks: an absolute deadline of a thread is moved
 * back before the kernel has it. A wait that has begun is not cut short.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { WALL, MONOTONIC, BOOT, CLOCKS };
#define SECOND 1000000000LL

struct turns {
    _Atomic int64_t written;
    _Atomic int64_t added[2][CLOCKS];
};

static struct turns *turns;
static int (*clock_gettime_of_libc)(clockid_t, struct timespec *);
static long (*syscall_of_libc)(long, ...);

__attribute__((constructor)) static void begin(void) {
    clock_gettime_of_libc = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    syscall_of_libc = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    const char *name = getenv("TEST_CLOCK");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) abort();
    void *mapped = mmap(NULL, sizeof *turns, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED) abort();
    turns = mapped;
}

static int64_t added_to(int clock) {
    if (!turns) return 0;
    for (;;) {
        int64_t before = atomic_load(&turns->written);
        int64_t added = atomic_load(&turns->added[before & 1][clock]);
        if (atomic_load(&turns->written) == before) return added;
    }
}

static int which(clockid_t clock) {
    switch (clock) {
    case CLOCK_REALTIME: case CLOCK_REALTIME_COARSE: case CLOCK_TAI: return WALL;
    case CLOCK_MONOTONIC: case CLOCK_MONOTONIC_COARSE: case CLOCK_MONOTONIC_RAW: return MONOTONIC;
    case CLOCK_BOOTTIME: return BOOT;
    default: return CLOCKS;
    }
}

static void move(struct timespec *time, int64_t nanos) {
    int64_t whole = time->tv_nsec + nanos % SECOND;
    time->tv_sec += nanos / SECOND + (whole >= SECOND) - (whole < 0);
    time->tv_nsec = whole + (whole < 0 ? SECOND : whole >= SECOND ? -SECOND : 0);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!clock_gettime_of_libc) begin();
    int result = clock_gettime_of_libc(clock, now);
    if (result == 0 && which(clock) != CLOCKS) move(now, added_to(which(clock)));
    return result;
}

time_t time(time_t *kept) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (kept) *kept = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict kept, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    kept->tv_sec = now.tv_sec;
    kept->tv_usec = now.tv_nsec / 1000;
    return 0;
}

/* Timed waits of std and parking_lot: a futex with an absolute deadline. */
long syscall(long number, ...) {
    long given[6];
    va_list rest;
    va_start(rest, number);
    for (int at = 0; at < 6; at++) given[at] = va_arg(rest, long);
    va_end(rest);
    if (!syscall_of_libc) begin();
    struct timespec until;
    const struct timespec *deadline = (const struct timespec *)given[3];
    if (number == SYS_futex && (given[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && deadline) {
        until = *deadline;
        move(&until, -added_to(given[1] & FUTEX_CLOCK_REALTIME ? WALL : MONOTONIC));
        if (until.tv_sec < 0) until = (struct timespec){0, 0};
        given[3] = (long)&until;
    }
    return syscall_of_libc(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}
