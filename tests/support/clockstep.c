/* A wall clock that a test can step, for one process: preloaded, it adds the offset (whole seconds, a native int64) in the
 * file $CLOCKSTEP_FILE to every reading, and takes it from every absolute timer on that clock.
 *
 * The kernel fires TFD_TIMER_CANCEL_ON_SET timers when the real clock is set. Here such a timer fires every
 * 50 ms instead, which its user must take for the same: it has to look at the clock again. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CAP_NANOS 50000000L
#define MOST_FDS 65536

static volatile int64_t *offset;
static char on_wall_clock[MOST_FDS];

__attribute__((constructor)) static void open_offset(void)
{
    int fd = open(getenv("CLOCKSTEP_FILE"), O_RDONLY);
    offset = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (offset == MAP_FAILED)
        abort();
}

static int real_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "clock_gettime");
    return real(clock, now);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = real_gettime(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *offset;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec read;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &read);
    now->tv_sec = read.tv_sec;
    now->tv_usec = read.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result)
{
    struct timespec read;
    clock_gettime(CLOCK_REALTIME, &read);
    if (result)
        *result = read.tv_sec;
    return read.tv_sec;
}

int timerfd_create(int clock, int flags)
{
    int (*real)(int, int) = dlsym(RTLD_NEXT, "timerfd_create");
    int fd = real(clock, flags);
    if (fd >= 0 && fd < MOST_FDS)
        on_wall_clock[fd] = clock == CLOCK_REALTIME;
    return fd;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *wanted, struct itimerspec *old)
{
    int (*real)(int, int, const struct itimerspec *, struct itimerspec *) = dlsym(RTLD_NEXT, "timerfd_settime");
    struct itimerspec set = *wanted;
    struct timespec cap;
    if (fd < 0 || fd >= MOST_FDS || !on_wall_clock[fd] || !(flags & TFD_TIMER_ABSTIME))
        return real(fd, flags, wanted, old);
    set.it_value.tv_sec -= *offset;
    if (flags & TFD_TIMER_CANCEL_ON_SET) {
        real_gettime(CLOCK_REALTIME, &cap);
        cap.tv_nsec += CAP_NANOS;
        cap.tv_sec += cap.tv_nsec / 1000000000L;
        cap.tv_nsec %= 1000000000L;
        if (set.it_value.tv_sec > cap.tv_sec ||
            (set.it_value.tv_sec == cap.tv_sec && set.it_value.tv_nsec > cap.tv_nsec))
            set.it_value = cap;
    }
    if (set.it_value.tv_sec < 0 || (set.it_value.tv_sec == 0 && set.it_value.tv_nsec == 0)) {
        set.it_value.tv_sec = 0;
        set.it_value.tv_nsec = 1;
    }
    return real(fd, flags & ~TFD_TIMER_CANCEL_ON_SET, &set, old);
}
