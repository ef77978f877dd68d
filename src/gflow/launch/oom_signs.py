"""Whether a job failed because CUDA ran out of memory, told from the end of its log. Pure.

A program says so in the words of its framework, and much may follow: the rest of a traceback, tracebacks of what that
took along, the summary of a launcher. A program may also say so and go on, with a smaller batch, and fail for another
reason later. So this is the rule:

- Only the last `TAIL_LINES` lines within the last `TAIL_BYTES` bytes are looked at.
- The last line there with one of the `_SIGNS` counts, unless it is source code that a traceback quotes.
- It does not count if a traceback behind it ends in another error, unless the two are chained ("During handling of …",
  "… the direct cause of …") or the later one only reports that another process is gone (`_CONSEQUENCES`).

Host memory is another matter: MemoryError, std::bad_alloc, and what the kernel's OOM killer leaves behind are no signs.
"""

import re
from collections.abc import Sequence

TAIL_BYTES = 64 << 10
TAIL_LINES = 200

_SIGNS = re.compile(
    "|".join(
        (
            # PyTorch, and all that pass on the words of the CUDA runtime and driver
            r"(?i:\bcuda(?: (?:driver|runtime))?(?: (?:error|failure))?(?: \(?2\)?)? ?:? ?out of memory)",
            r"(?i:\bcudaMalloc\w* failed: out of memory)",
            r"\btorch\.(?:cuda\.)?OutOfMemoryError: ",
            r"\bc10::(?:cuda::)?OutOfMemoryError\b",
            r"\bcudaErrorMemoryAllocation\b",
            r"\bCUDA_ERROR_OUT_OF_MEMORY\b",
            r"\bRESOURCE_EXHAUSTED: Out of memory\b",  # JAX
            r"\bOOM when allocating tensor\b.{0,400}?\bGPU",  # TensorFlow; .* would try every place with every other
            r"\bOutOfMemoryError: Out of memory allocating\b",  # CuPy
        )
    )
)
_CONSEQUENCES = re.compile(
    r"\b(?:ChildFailedError|CalledProcessError|ProcessExitedException|ProcessRaisedException|DistBackendError"
    r"|DistNetworkError|BrokenPipeError|EOFError|KeyboardInterrupt|SystemExit|NCCL)\b"
    r"|Connection (?:reset|closed|refused)|DataLoader worker"
)
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
_TRACEBACK = "Traceback (most recent call last)"
_QUOTED_FROM = re.compile(r'\s*File ".*", line \d+')
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_OF_A_RANK = re.compile(r"^\[(?:rank)?\d+\]: ?")
_BOX = ("│", "╭", "╰", "┃")
"""What rich draws its tracebacks with."""


def gpu_memory_ran_out(tail: bytes) -> bool:
    """Whether a log that ends like this says, at its end, that CUDA ran out of memory."""
    lines = _lines(tail)
    told = [place for place, line in enumerate(lines) if _SIGNS.search(line) and not _quoted(lines, place)]
    return bool(told) and not _fails_otherwise(lines[told[-1] + 1 :])


def _lines(tail: bytes) -> list[str]:
    """The last lines as a person saw them: each redrawing of a progress bar is one."""
    text = _ESCAPES.sub("", tail[-TAIL_BYTES:].decode("utf-8", "replace"))
    lines = [_OF_A_RANK.sub("", line) for line in re.split(r"[\r\n]+", text)]
    return [line for line in lines if line.strip()][-TAIL_LINES:]


def _quoted(lines: Sequence[str], place: int) -> bool:
    """Whether this line is source code in a traceback."""
    return place > 0 and lines[place].startswith(" ") and _QUOTED_FROM.match(lines[place - 1]) is not None


def _fails_otherwise(rest: Sequence[str]) -> bool:
    """Whether a traceback in these lines, not chained to what was before them, ends in an error of its own."""
    chained = inside = False
    for line in rest:
        if any(words in line for words in _CHAINED):
            chained = True
        elif _TRACEBACK in line:
            chained, inside = False, not chained
        elif inside and not line.startswith((" ", "\t", *_BOX)):
            if _CONSEQUENCES.search(line) is None:
                return True
            inside = False
    return False
