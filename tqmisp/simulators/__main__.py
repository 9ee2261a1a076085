"""``python -m tqmisp.simulators``: serve both simulators until a signal comes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import anyio

from tqmisp.errors import TqmispError
from tqmisp.pipeline.groups import first_error
from tqmisp.pipeline.stop import SIGNALS
from tqmisp.simulators.sandbox import GENERATED, Endpoints, SandboxOptions, serve


async def _serve(options: SandboxOptions, end_with_stdin: bool) -> None:  # noqa: FBT001  passed on by anyio.run
    async with anyio.create_task_group() as tasks:

        async def until_signal() -> None:
            with anyio.open_signal_receiver(*SIGNALS) as signals:
                async for _ in signals:
                    tasks.cancel_scope.cancel()

        async def until_nobody_waits() -> None:
            descriptor = sys.stdin.fileno()
            while True:
                await anyio.wait_readable(descriptor)
                if not os.read(descriptor, 4096):
                    tasks.cancel_scope.cancel()
                    return

        tasks.start_soon(until_signal)
        if end_with_stdin:
            tasks.start_soon(until_nobody_waits)
        await serve(options, _say)


def _say(endpoints: Endpoints) -> None:
    sys.stdout.buffer.write(endpoints.as_json() + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m tqmisp.simulators", description=__doc__)
    parser.add_argument("--indicators", type=int, default=GENERATED, help="generate so many indicators")
    parser.add_argument("--seed", type=int, default=0, help="generate others of them")
    parser.add_argument("--corpus", type=Path, help="serve the indicators of this file")
    parser.add_argument("--state", type=Path, help="keep what was sent, and the ports, in this folder")
    parser.add_argument("--ready-file", type=Path, help="write here where the servers are")
    parser.add_argument("--threatq-port", type=int, default=0)
    parser.add_argument("--misp-port", type=int, default=0)
    parser.add_argument("--faults", help="let these faults happen, such as misp:events/edit=500-after@3x")
    parser.add_argument("--end-with-stdin", action="store_true", help="end also when standard input, a pipe, does")
    given = vars(parser.parse_args())
    end_with_stdin = given.pop("end_with_stdin")
    try:
        anyio.run(_serve, SandboxOptions(**given), end_with_stdin)
    except BaseExceptionGroup as group:
        error = first_error(group)
        if not isinstance(error, TqmispError):
            raise
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
