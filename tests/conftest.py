"""Every test begins with default signals. Whoever runs the tests in the background, from a script or under nohup, hands
down that some are ignored, and programs that are started here would go on ignoring them."""

import signal


def _listen_to_signals() -> None:
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_listen_to_signals()
