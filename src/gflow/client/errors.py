"""What can go wrong between a command and the daemon. Every message is one line for a person."""


class ClientError(Exception):
    """Base of all; a command prints it and exits 1."""


class BadSetting(ClientError):
    """The endpoint settings cannot be used: --url, GFLOW_URL, a configuration file."""


class Unreachable(ClientError):
    """Nothing was sent: there is no daemon at the endpoint, or not one to be trusted."""


class Unresponsive(Unreachable):
    """Nothing was sent: somebody listens at the endpoint, and takes no connection."""


class ConnectionLost(ClientError):
    """The request was sent, or a part of it; what became of it is not known."""


class NoAnswer(ConnectionLost):
    """The daemon has its socket and says nothing within the time it has."""


class Misanswered(ConnectionLost):
    """Something answered, but not as gflowd does; asked again it would say the same."""


MISREAD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What reading a record raises that has not the fields or the values it is to have."""


class Declined(ClientError):
    """The daemon answered no. `status` is the HTTP status, `code` the API's stable word."""

    def __init__(self, message: str, status: int, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
