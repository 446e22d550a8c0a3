"""The entry: arguments in, exit code out (0 good, 1 an expectation failed, 2 bad input, 130 Ctrl-C)."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING

import wfsim
from wfsim.cli._interrupt import Interrupt

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141

_RUN = """\
Plays each scenario with all its seeds in virtual time. Prints the timeline of the run that tells most, a
table of the runs, and the verdict of every expectation; for a failure, the command that replays it."""
_EPILOG = "exit code: 0 all expectations met, 1 an expectation failed, 2 bad input"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a letter that the terminal lacks must not end the run
    options = _parser().parse_args(argv)
    try:
        with Interrupt() as interrupt:
            code = _command(options, interrupt)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED
    return code


def _command(options: argparse.Namespace, interrupt: Interrupt) -> int:
    if options.command == "check":
        from wfsim.cli._check import check

        return check(options.paths)
    from wfsim.cli._run import RunOptions, run

    return run(
        RunOptions(
            paths=tuple(options.paths),
            seed=options.seed,
            json=options.json,
            quiet=options.quiet,
            verbose=options.verbose,
            history=options.history,
        ),
        interrupt.heed,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wfsim",
        description="Break your workflow before production does: play designs in virtual time under faults.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"wfsim {wfsim.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run", help="play scenario files and judge them", description=_RUN, epilog=_EPILOG
    )
    _paths(run)
    run.add_argument(
        "--seed", type=int, metavar="N", help="play this seed alone, instead of the scenario's seeds"
    )
    run.add_argument("--history", metavar="OUT.jsonl", help="save the history of the told run, as JSON Lines")
    how = run.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print one JSON object, for machines")
    how.add_argument(
        "-q", "--quiet", action="store_true", help="print one line a file, and how to replay failures"
    )
    how.add_argument("-v", "--verbose", action="store_true", help="print every timeline and table, whole")
    check = commands.add_parser(
        "check",
        help="read scenario files and say what is wrong with them",
        description="Reads files; runs nothing.",
    )
    _paths(check)
    return parser


def _paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a scenario file, or a directory: every .yaml and .yml file in it",
    )
