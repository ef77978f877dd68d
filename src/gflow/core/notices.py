"""What mail a job may ask for: addresses, and names of events. Raises ValueError with one line.

Imported by one-shot commands, so it needs nothing but built-ins.
"""

JOB_EVENTS = (
    "job_submitted",
    "job_updated",
    "job_started",
    "job_completed",
    "job_failed",
    "job_cancelled",
    "job_timeout",
    "job_held",
    "job_released",
    "gpu_memory_exceeded",
    "gpu_idle",
    "group_completed",
    "group_held",
)
"""Events that are about a job or its group, as people name them."""

ENDINGS = ("job_completed", "job_failed", "job_timeout", "job_cancelled")
"""What a job's mail is about unless something else is asked for."""

ALL = "*"

MAX_ADDRESSES = 20
_MAX_ADDRESS = 254
_SPECIAL = frozenset('()<>[]:;@\\,"')
"""RFC 5322, section 3.2.3: what an unquoted address has none of."""


def check_address(address: str) -> str:
    """`address`, if mail can be sent to it: plain ASCII, one `@`, nothing that means more than itself in a header."""
    local, _, domain = address.rpartition("@")
    plain = address.isascii() and address.isprintable() and " " not in address and len(address) <= _MAX_ADDRESS
    plain = plain and "=?" not in address  # encoded words, which RFC 2047, section 5, forbids in addresses
    if not (plain and local and domain.strip(".-") == domain != "") or _SPECIAL & {*local, *domain}:
        raise ValueError(f"invalid e-mail address {address!r}: write NAME@HOST")
    return address


def check_event(name: str) -> str:
    """`name`, if a job can ask for mail about it."""
    if name != ALL and name not in JOB_EVENTS:
        raise ValueError(f"unknown event {name!r}: use {', '.join(JOB_EVENTS)} or {ALL}")
    return name
