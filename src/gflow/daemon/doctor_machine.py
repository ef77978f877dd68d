"""What to do about the machine itself: GPUs that no driver shows, a clock that nobody keeps right."""

import shutil
import subprocess
from pathlib import Path

from gflow.daemon.finding import NOTE, Finding
from gflow.gpu.nvml import NO_DRIVER, NO_LIBRARY

DEVICES = Path("/sys/bus/pci/devices")
_NVIDIA, _DISPLAY = "0x10de", "0x03"
"""The vendor, and how classes of what draws or computes begin; a card has a sound device as well."""

_REMEDIES = {
    NO_LIBRARY: "install the NVIDIA driver; a container has to be let at the GPUs (docker run --gpus all)",
    NO_DRIVER: "load it, as root: modprobe nvidia; if that fails, install it for the kernel that runs (uname -r)",
}
_CALL_SECS = 5.0


def about_no_gpus(trouble: str) -> str:
    """What to do if the driver says `trouble`: nothing where there is no card for it."""
    if trouble not in _REMEDIES or not (cards := _cards()):
        return "jobs without GPUs run all the same"
    return f"this machine has an NVIDIA GPU (PCI {cards[0]}): {_REMEDIES[trouble]}"


def _cards() -> list[str]:
    """Where on the PCI bus there are GPUs of NVIDIA, with and without a driver."""
    return sorted(
        place.name
        for place in DEVICES.glob("*")
        if _said(place / "vendor") == _NVIDIA and _said(place / "class").startswith(_DISPLAY)
    )


def _said(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def about_the_clock() -> Finding | None:
    """What systemd knows of a clock that is not kept right; None if it is, or nobody can say."""
    timedatectl = shutil.which("timedatectl")
    if timedatectl is None:
        return None
    words = [timedatectl, "show", "--property=CanNTP", "--property=NTP", "--property=NTPSynchronized"]
    asked = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_CALL_SECS)
    facts = dict(line.partition("=")[::2] for line in asked.stdout.splitlines())
    if asked.returncode != 0 or facts.get("NTPSynchronized") != "no":
        return None
    what = "the clock is not kept right by the network, and begin times and reservations go by it"
    return Finding(NOTE, what, _clock_remedy(facts))


def _clock_remedy(facts: dict[str, str]) -> str:
    if facts.get("NTP") == "yes":
        return "no time server has answered yet: timedatectl timesync-status, or chronyc sources, says more"
    if facts.get("CanNTP") == "no":
        return "install what keeps it, as systemd-timesyncd or chrony; in a container that is for its host to do"
    return "run: sudo timedatectl set-ntp true"
