"""`python -m benchmarks`; `make bench` runs those that together take less than an hour."""

from __future__ import annotations

import sys

from pipeline.commands.quiet import quiet

if __name__ == "__main__":
    with quiet(None, debug="--debug" in sys.argv):
        from benchmarks.cli import benchmarks

        benchmarks()
