"""The command ``tqmisp``."""

from __future__ import annotations

import inspect
import io
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

from tqmisp.cli import common
from tqmisp.cli.check import check
from tqmisp.cli.explain import explain
from tqmisp.cli.init import init
from tqmisp.cli.plan import plan
from tqmisp.cli.replay import replay
from tqmisp.cli.report import report
from tqmisp.cli.run import run
from tqmisp.cli.sandbox import sandbox
from tqmisp.cli.status import status
from tqmisp.cli.verify import verify
from tqmisp.observe import logs
from tqmisp.observe.streams import silence, stand_in

app = typer.Typer(
    name="tqmisp",
    add_completion=True,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help looks the same everywhere, and can be read by machines
    context_settings={"help_option_names": ["-h", "--help"]},
)


class GroupedHelp(TyperCommand):
    """A command whose options are listed under the headings that they belong to."""

    def format_options(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]  # noqa: ANN401  its class is not public
        """Write the options, heading by heading, in the order in which they were declared."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "rich_help_panel", None) or "Options", []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def _version(wanted: bool) -> None:  # noqa: FBT001  the form typer calls
    if wanted:
        sys.stdout.write(f"tqmisp {version('tqmisp')}\n")
        raise typer.Exit


def _help(command: Callable[..., None]) -> str:
    r"""The docstring, in which a line with ``\b`` keeps the paragraph below it as it is."""
    return (inspect.getdoc(command) or "").replace("\\b", "\b")


def _top(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    r"""Export threat indicators from ThreatQ into MISP, and account for each of them.

    \b
    Examples:
      tqmisp run --sandbox     try it without any server
      tqmisp init              write a configuration, and try it
      tqmisp check             see whether the servers will take an export
      tqmisp plan              see what a run would do
      tqmisp run               export as tqmisp.toml says
      tqmisp verify            see whether MISP still holds it
      tqmisp status            see what became of it
      tqmisp explain VALUE     see what became of one indicator, and why
      tqmisp report            the same as a web page
    """


for _command in (init, check, plan, run, verify, replay, explain, sandbox, status, report):
    app.command(cls=GroupedHelp, help=_help(_command))(_command)
app.callback(help=_help(_top))(_top)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        argv: the arguments without the name of the program; by default those of the process.
    """
    stand_in()
    logs.configure()
    logs.register(())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show must not end a run
    try:
        get_command(app).main(args=None if argv is None else list(argv), prog_name="tqmisp")
        sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        silence(sys.stdout)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001  the outermost place: nobody else would tell
        return common.report_error(error)
    return 0
