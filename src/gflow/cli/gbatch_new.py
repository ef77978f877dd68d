"""gbatch new: a script to start from, never over an existing file."""

from __future__ import annotations

import os

from gflow.cli.command import Argument, Command, Failure
from gflow.cli.kinds import not_empty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values

_TEMPLATE = """\
#!/bin/bash
# Options for gbatch; remove one # of a line to use it. All of 'gbatch --help' that are about a job may stand here,
# as --array 1-10%2, --param lr=0.1,0.01 (then $GFLOW_PARAM_LR is the value) or --depends-on @.
## GFLOW --gpus 1
## GFLOW --time 2:00:00
## GFLOW --memory 16G
## GFLOW --priority 10
## GFLOW --name {name}
## GFLOW --max-retries 2

echo "Job $GFLOW_JOB_ID on GPUs '$CUDA_VISIBLE_DEVICES'"
"""


def run(values: Values) -> int:
    name = values["name"].removesuffix(".sh")
    path = f"{name}.sh"
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755)
    except FileExistsError:
        raise Failure(f"{path} exists already; it is left as it is") from None
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}") from error
    import shlex

    with open(file, "w", encoding="utf-8") as script:
        script.write(_TEMPLATE.format(name=os.path.basename(name)))
    print(f"Wrote {path}; submit it with: gbatch {shlex.quote(path)}")
    return 0


COMMAND = Command(
    "new",
    "Write NAME.sh, a script to start from.",
    run,
    arguments=(Argument("name", "NAME", not_empty),),
    examples=(("gbatch new train", "writes train.sh"),),
)
