"""The columns of `gqueue -f`. The daemon fills them; this is the list a person is told."""

ALIASES = {"NODELIST": "NODELIST(REASON)", "STATE": "ST", "ID": "JOBID"}
COLUMNS = (
    "JOBID",
    "NAME",
    "ST",
    "TIME",
    "TIMELIMIT",
    "REMAINING",
    "PROGRESS",
    "NODES",
    "NODELIST(REASON)",
    "MEMORY",
    "CPUS",
    "USER",
    "PROJECT",
    "PRIORITY",
    "SUBMIT",
    "START",
    "END",
    "EXIT",
    "REASON",
    "DEPENDS",
    "REDOOF",
    "GROUP",
    "GROUPID",
    "TASK",
)
DEFAULT = ("JOBID", "NAME", "ST", "TIME", "NODES", "NODELIST(REASON)")


def parse(text: str) -> tuple[str, ...]:
    """The columns of a comma list, in any case. Raises ValueError naming the ones there are."""
    words = [item.strip().upper() for item in text.split(",")]
    columns = tuple(ALIASES.get(word, word) for word in words)
    for word, column in zip(words, columns, strict=True):
        if column not in COLUMNS:
            raise ValueError(f"unknown column '{word}'; there are {', '.join(COLUMNS)}")
    return columns
