/* Gives redis-server the simulator's clock, when it is preloaded: microseconds since the epoch, in the file that
 * SIMULATOR_CLOCK names. The monotonic clock stays the machine's. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long long *clock_us;

__attribute__((constructor)) static void map_clock(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* the server ends with the simulator */
    int file = open(getenv("SIMULATOR_CLOCK"), O_RDONLY);
    void *place = mmap(NULL, sizeof(long long), PROT_READ, MAP_SHARED, file, 0);
    if (place == MAP_FAILED)
        abort();
    clock_us = place;
    close(file);
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    (void)zone;
    long long us = *clock_us;
    now->tv_sec = us / 1000000;
    now->tv_usec = us % 1000000;
    return 0;
}

int clock_gettime(clockid_t id, struct timespec *now)
{
    if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE)
        return (int)syscall(SYS_clock_gettime, id, now);
    long long us = *clock_us;
    now->tv_sec = us / 1000000;
    now->tv_nsec = us % 1000000 * 1000;
    return 0;
}

time_t time(time_t *place)
{
    time_t now = *clock_us / 1000000;
    if (place != NULL)
        *place = now;
    return now;
}
