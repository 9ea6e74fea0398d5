"""The errors a user can cause, each with the exit code that the command line ends with.

A message is one paragraph that names the place and the remedy; it is shown without a traceback.
"""


class DebutError(Exception):
    """Base of every error that is reported to the user as one paragraph."""

    exit_code = 1


class BadInput(DebutError):
    """The data folder, the encoder or the configuration can't be used as it is."""

    exit_code = 2


class Refused(DebutError):
    """A gate refused the model; the message names gate, metric, slice and values."""

    exit_code = 3


class Unreachable(DebutError):
    """No model server answered at the target."""

    exit_code = 4
