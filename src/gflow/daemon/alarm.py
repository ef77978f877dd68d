"""Waiting for a moment of the wall clock or of CLOCK_BOOTTIME.

trio's own timers run on CLOCK_MONOTONIC, which stands still while the machine sleeps and knows nothing of steps of the
wall clock. A timerfd on the right clock fires when it should after a suspend, and tells of a step at once
(timerfd_create(2), TFD_TIMER_CANCEL_ON_SET).
"""

import ctypes
import os
import time

import trio

_TFD_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1
_TFD_TIMER_CANCEL_ON_SET = 2
_FAR_SECS = 1e15
"""Moments beyond this do not fit; none comes, so nobody is woken too early."""


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


_libc = ctypes.CDLL(None, use_errno=True)


class Alarm:
    """One timerfd. `clock` is time.CLOCK_REALTIME or time.CLOCK_BOOTTIME."""

    def __init__(self, clock: int) -> None:
        self._clock = clock
        self._fd = self._checked(_libc.timerfd_create(clock, _TFD_NONBLOCK_CLOEXEC))

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)

    async def wait_until(self, when: float) -> None:
        """Return at `when` (seconds of this alarm's clock), or at once if the wall clock is set meanwhile.

        The caller looks at the clock again in either case.
        """
        flags = _TFD_TIMER_ABSTIME
        if self._clock == time.CLOCK_REALTIME:
            flags |= _TFD_TIMER_CANCEL_ON_SET
        nanos = max(1, int(min(when, _FAR_SECS) * 1e9))  # 0 would disarm it
        setting = _Itimerspec(_Timespec(0, 0), _Timespec(*divmod(nanos, 1_000_000_000)))
        self._checked(_libc.timerfd_settime(self._fd, flags, ctypes.byref(setting), None))
        await trio.lowlevel.wait_readable(self._fd)
        try:
            os.read(self._fd, 8)
        except OSError:
            return  # ECANCELED: the clock was set; EAGAIN: it was not yet time after all

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            errno = ctypes.get_errno()
            raise OSError(errno, os.strerror(errno))
        return result
