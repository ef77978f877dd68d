"""The way into `gflowd`: SIGHUP is kept back first, for what follows takes a while to load."""

from gflow.daemon.signals import keep_back_hang_ups


def main() -> None:
    """Entry point of the installed program."""
    keep_back_hang_ups()
    from gflow.cli.gflowd import main as run

    run()
