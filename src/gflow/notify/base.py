"""What a target of notifications is: the line between the delivery pool and those who speak HTTP, SMTP and the like.

The pool decides when to try, how often and in which order; a target tries once and says how that went.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one target.

    - id: the same at every attempt, also after a restart: "<event number>-<target key>-<letters of this outbox>".
    - number: id of the event, as in /events. event: its name.
    - payload: what `payloads.payload` made at the transition, JSON-like.
    - attempt: 1 for the first.
    """

    id: str
    number: int
    event: str
    payload: Mapping[str, Any]
    attempt: int


class DeliveryFailed(Exception):
    """An attempt failed. `final`: trying again cannot help. `retry_after_secs`: the target asked for that pause.

    `target_is_fine`: the target itself answered properly, and only this delivery is refused.
    """

    def __init__(
        self,
        why: str,
        *,
        final: bool = False,
        retry_after_secs: float | None = None,
        target_is_fine: bool = False,
    ) -> None:
        super().__init__(why)
        self.final = final
        self.retry_after_secs = retry_after_secs
        self.target_is_fine = target_is_fine


class Target(Protocol):
    """Something that is told of events.

    - key: stable over restarts and re-orderings of the configuration: a digest of kind and address.
    - name: for people and the log; holds no secret.
    - kind: "webhook", "email" or "command".
    - max_retries: attempts after the first.
    """

    key: str
    name: str
    kind: str
    max_retries: int

    def wants(self, payload: Mapping[str, Any]) -> bool:
        """Whether this event is of interest."""

    async def deliver(self, delivery: Delivery) -> str | None:
        """One attempt, which honours the target's own time-out. Raises DeliveryFailed.

        What it returns is for who has asked for a test, and is not to take more for granted than there is.
        """

    def may_write_to(self, address: str, /) -> bool:
        """Whether a job may have this address written to."""

    def withheld(self) -> Mapping[str, int]:
        """Mails that were not sent lately because a user's jobs had too many sent, by user."""

    async def aclose(self) -> None:
        """Give back what is open."""
