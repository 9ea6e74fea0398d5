"""`debut-model-server`: the embedded stand-in for `tensorflow_model_server`.

Same flags, same texts, same exit codes, with one difference on purpose: SIGTERM and SIGINT finish
the requests in flight and end with 0.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence

from serving import flags

_FAILED = 255  # what the stock server's `return -1` becomes


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server until a signal ends it; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    program = os.path.basename(sys.argv[0])
    try:
        parsed = flags.parse(arguments)
    except flags.FlagError as error:
        print(f"{error}\n{flags.usage(program)}", end="")
        return _FAILED
    if parsed.unknown[:1] == ("--help",):
        print(flags.usage(program), end="")
        return _FAILED
    if parsed.switch("version"):
        return _print_version()
    if parsed.unknown:
        print(f"unknown argument: {parsed.unknown[0]}\n{flags.usage(program)}", end="", flush=True)
    if parsed.lacking:
        names = ", ".join(f"--{name}" for name in parsed.lacking)
        print(
            f"Failed to start server. Error: UNIMPLEMENTED: {names} asks for a feature that the"
            " embedded server does not have; leave it out, or start tensorflow_model_server"
            " 2.16 instead."
        )
        return _FAILED
    return _serve(parsed)


def _print_version() -> int:
    import tensorflow

    print(f"TensorFlow ModelServer: debut\nTensorFlow Library: {tensorflow.__version__}")
    return 0


def _serve(parsed: flags.Parsed) -> int:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s] %(message)s",
    )
    # What libraries say of their own future is nothing to whoever runs a server.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    # Before the slow imports: a signal during them must end with 0 too.
    stopping = _set_by_signals()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    # Python's gRPC got these in 1.80 (pull request 42150 of grpc/grpc); its older poller answers a
    # lone client a tenth of a millisecond sooner, and its tail is half as long.
    os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener,-event_engine_client")
    # TensorFlow's own objects stay: to look for garbage among them takes a tenth of a start while
    # they are made, and later a pause of a tenth of a second in the middle of requests. One in
    # three hundred is garbage, and is kept too.
    gc.disable()
    from serving.server import ModelServer
    from serving.status import StatusError

    gc.freeze()
    gc.enable()
    try:
        server = ModelServer(parsed, stopping)
        server.start()
    except StatusError as error:
        print(f"Failed to start server. Error: {error}", flush=True)
        return _FAILED
    stopping.wait()
    server.drain()
    return 0


def _set_by_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set, by way of a thread.

    A handler runs within the main thread, maybe in the midst of its `Event.wait`, whose lock
    `Event.set` takes too: the server would never end.
    """
    stopping = threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # only a signal with a handler is written

    def wait() -> None:
        os.read(reading, 1)
        stopping.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return stopping


if __name__ == "__main__":
    sys.exit(main())
