"""``python -m tqmisp.simulators``: serve both simulators until standard input ends or a signal comes."""

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


async def _serve_while_wanted(options: SandboxOptions) -> None:
    async with anyio.create_task_group() as tasks:

        async def until_signal() -> None:
            with anyio.open_signal_receiver(*SIGNALS) as signals:
                async for _ in signals:
                    tasks.cancel_scope.cancel()

        async def until_nobody_waits() -> None:
            """Standard input ends when the process that started us is gone, however it went."""
            try:
                while True:
                    await anyio.wait_readable(sys.stdin)
                    if not os.read(sys.stdin.fileno(), 4096):
                        break
            except PermissionError:
                return  # a file or /dev/null: nobody is at the other end
            tasks.cancel_scope.cancel()

        tasks.start_soon(until_signal)
        if not sys.stdin.isatty():
            tasks.start_soon(until_nobody_waits)
        await serve(options, _say)


def _say(endpoints: Endpoints) -> None:
    sys.stdout.buffer.write(endpoints.as_json() + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m tqmisp.simulators", description=__doc__)
    parser.add_argument("--indicators", type=int, default=GENERATED)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--state", type=Path)
    given = parser.parse_args()
    options = SandboxOptions(indicators=given.indicators, seed=given.seed, corpus=given.corpus, state=given.state)
    try:
        anyio.run(_serve_while_wanted, options)
    except BaseExceptionGroup as group:
        error = first_error(group)
        if not isinstance(error, TqmispError):
            raise
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
