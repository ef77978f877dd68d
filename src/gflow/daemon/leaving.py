"""When a daemon leaves, and what comes after it: nothing, another daemon in this process, or another program."""

import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import trio

from gflow.daemon.handover import HandedOver
from gflow.daemon.signals import HEEDED, Terminal

log = logging.getLogger(__name__)


class Leaving:
    """`asked` is set once the daemon is to leave; `again`: for another daemon that takes up the state anew;
    `replacement`: what is for another program, if one is to take this one's place.

    `heard` are signals that came between the daemon before, if there was one, and this one.
    """

    def __init__(self, terminal: Terminal, heard: Iterable[int], reload: Callable[[], Awaitable[None]]) -> None:
        self.asked = trio.Event()
        self.again = False
        self.replacement: HandedOver | None = None
        self._terminal = terminal
        self._heard = heard
        self._reload = reload

    @property
    def for_good(self) -> bool:
        """Whether nothing goes on in this process."""
        return not self.again and self.replacement is None

    def for_another_daemon(self) -> None:
        """Leave, unless that is so already; another daemon goes on in this process."""
        self.again = not self.asked.is_set()
        self.asked.set()

    def for_another_program(self, handed: HandedOver) -> None:
        """Leave, and let the program that is installed now go on in this process."""
        self.replacement = handed
        self.asked.set()

    def say(self) -> None:
        """What becomes of the daemon, for the log."""
        if self.replacement is not None:
            log.info("another program takes this one's place; running jobs go on")
        else:
            log.info("%s; running jobs go on", "starting anew" if self.again else "stopping")

    async def heed(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        """Do as signals say, those that were heard before among them."""
        for number in self._heard:
            self._heed(number, nursery)
        async for number in signals:
            self._heed(number, nursery)

    def _heed(self, number: int, nursery: trio.Nursery) -> None:
        """Go by the configuration as it is now, or leave. Further signals must not kill us half-way out, which trio
        would do with those not taken."""
        if not self._terminal.asks_to_stop(number):
            nursery.start_soon(self._reload)
            return
        self.again = False
        self.replacement = None
        self.asked.set()
        for heeded in HEEDED:
            signal.signal(heeded, lambda *_: None)  # not SIG_IGN: programs started from here would inherit that
