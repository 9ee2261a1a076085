from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import pytest

from tests.cli.conftest import Runs, started
from tqmisp.cli import main
from tqmisp.config.layers import SHORT
from tqmisp.errors import (
    ConfigError,
    LockHeld,
    MispRefused,
    MispUnavailable,
    ThreatQRefused,
    ThreatQUnavailable,
)
from tqmisp.observe.receipt import Receipt
from tqmisp.pipeline.stop import Stop

HELP = Path(__file__).parent / "help"


@pytest.mark.parametrize(
    "command", ["", "check", "explain", "init", "plan", "replay", "run", "sandbox", "status", "report", "verify"]
)
def test_help_texts(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The help is what a person has read and found good; change the file with the text."""
    assert main([*command.split(), "--help"]) == 0
    assert capsys.readouterr().out == (HELP / f"{command or 'tqmisp'}.txt").read_text()


def test_every_short_name_is_an_option_of_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A setting with a short name can be given on the command line under it."""
    main(["run", "--help"])
    shown = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in shown for name in SHORT)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """It is the one of the installed package."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tqmisp {version('tqmisp')}\n"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["run", "--nonsense"], "No such option: --nonsense"),
        (["run", "--score-threshold", "much"], "--score-threshold"),
        (["run", "--indicators", "5"], "--indicators, --corpus and --faults go with --sandbox."),
        (["run", "--sandbox", "--indicators", "0"], "--indicators"),
        (["run", "--sandbox", "--indicators", "5", "--corpus", "x"], "exclude one another"),
        (["run", "--sandbox", "--config", "x"], "leave --config out"),
        (["run", "--sandbox", "--state", "postgresql://db/x"], "With --sandbox, --state is a folder."),
        (["sandbox", "--indicators", "5", "--corpus", "x"], "exclude one another"),
    ],
)
def test_wrong_usage_ends_with_2(argv: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip on the command line is told on stderr, and nothing is done."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever types the name alone learns the commands."""
    assert main([]) in {0, 2}
    assert "sandbox" in "".join(capsys.readouterr())


def test_a_wrong_configuration_ends_with_2(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake is a line, then comes what to do; no secret and no traceback."""
    lines = config.read_text().count("\n")
    config.write_text(config.read_text() + "kye = 'x'\n[events]\nslice_size = 0\n")
    assert main(["run"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"error: tqmisp.toml, line {lines + 1}: misp.kye is not known; did you mean misp.key?\n"
        f"error: tqmisp.toml, line {lines + 3}: events.slice_size is 0; expected a whole number from 1 to 25,000.\n"
        "hint: docs/configuration.md shows every setting; --help lists the options.\n"
    )


def _raise(error: BaseException) -> Callable[[Stop], Receipt]:
    def outcome(_: Stop) -> NoReturn:
        raise error

    return outcome


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    ("error", "code", "hint"),
    [
        (ConfigError("The journal cannot be used."), 2, "hint: docs/configuration.md shows every setting"),
        (ThreatQUnavailable("ThreatQ cannot be reached."), 3, "hint: nothing is lost: run the same command again"),
        (ThreatQRefused("ThreatQ refused the login."), 3, "hint: mend this and run the same command again"),
        (MispUnavailable("MISP cannot be reached."), 4, "hint: nothing is lost: run the same command again"),
        (MispRefused("MISP does not know the key."), 4, "hint: mend this and run the same command again"),
        (LockHeld("Another run is at work."), 7, None),
        (ZeroDivisionError("division by zero"), 1, "hint: this is a fault in tqmisp; run again with -vv"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_and_their_exit_codes(
    error: Exception, code: int, hint: str | None, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each kind of error has its exit code, one line, and what to do next; stdout stays empty."""
    runs.outcome = _raise(error)
    assert main(["run", "--no-progress"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    first, *rest = err.splitlines()
    prefix = "unexpected ZeroDivisionError: " if code == 1 else ""
    assert first == f"error: {prefix}{error}"
    assert len(rest) == (hint is not None)
    assert not hint or rest[0].startswith(hint)


@pytest.mark.usefixtures("config")
def test_a_traceback_for_those_who_ask(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """It comes with -vv, and it shows no secret either."""
    runs.outcome = _raise(KeyError("misp-secret-key"))
    assert main(["run", "-vv", "--no-progress"]) == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last):" in err
    assert "outcome" in err
    assert "misp-secret-key" not in err


@pytest.mark.usefixtures("config")
def test_what_a_server_says_cannot_act(runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
    """An error text may quote a hostile answer."""
    runs.outcome = _raise(MispRefused("MISP said: \x1b[2J\u202e[bold]x[/] misp-secret-key"))
    assert main(["run", "--no-progress"]) == 4
    err = capsys.readouterr().err
    assert r"\x1b[2J\u202e[bold]x[/]" in err
    assert "misp-secret-key" not in err


@pytest.mark.usefixtures("config")
def test_python_m_is_the_same_command() -> None:
    """The module can be run, and tells its exit code to the shell."""
    with started("-m", "tqmisp", "run", "--slice-size", "0") as process:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
    assert "error: --slice-size is 0; expected" in err


def test_a_terminal_of_few_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it cannot show is spelled out."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    with started("-m", "tqmisp", "status", "--state", "absent-\u00e9") as process:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
    assert r"absent-\xe9" in out


def test_a_reader_that_leaves(tmp_path: Path) -> None:
    """``tqmisp ... | head`` ends quietly, though nobody reads the rest."""
    code = f"import sys; from tqmisp.cli import main; sys.exit(main(['status', '--state', {str(tmp_path)!r}]))"
    with started("-c", code) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


@pytest.mark.parametrize(
    ("argv", "code"),
    [(["--sandbox", "--indicators", "300"], 0), (["--slice-size", "0"], 2)],  # the first says where the sandbox is
)
def test_a_reader_of_errors_that_leaves(argv: list[str], code: int) -> None:
    """``tqmisp ... 2>&1 >result | head`` does its work, and ends with the code of it."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-m", "tqmisp", "run", *argv], stdout=subprocess.PIPE, stderr=writer, text=True, check=False
    )
    os.close(writer)
    assert done.returncode == code
    assert ("Balanced" in done.stdout) is (code == 0)


DRIVER = "import sys; from tqmisp.cli.driver import main; sys.exit(main(['-c', 'absent']))"


@pytest.mark.parametrize(
    ("closed", "argv", "code", "told"),
    [
        ("2>&-", ["-m", "tqmisp", "status", "--state", "absent"], 0, "No run has been recorded here."),
        ("2>&-", ["-m", "tqmisp", "run"], 2, ""),
        (">&-", ["-m", "tqmisp", "status", "--state", "absent"], 0, ""),
        ("<&-", ["-m", "tqmisp", "init"], 2, "There is nobody to ask"),
        (">&-", ["-c", DRIVER], 2, ""),
        ("2>&-", ["-c", DRIVER], 2, "The configuration folder absent does not exist"),
    ],
)
def test_a_stream_that_is_closed(closed: str, argv: list[str], code: int, told: str) -> None:
    """What would go there goes nowhere, and all else is as ever."""
    done = subprocess.run(  # noqa: S603  our own program
        ["/bin/sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, *argv],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert told in done.stdout + done.stderr
    assert told or not done.stdout + done.stderr


@pytest.mark.usefixtures("config", "runs")
def test_logs_go_where_the_options_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file instead of stderr, as objects."""
    (tmp_path / "tqmisp.toml").chmod(0o644)
    assert main(["run", "--no-progress", "--log-file", "run.log", "--log-format", "json"]) == 0
    assert capsys.readouterr().err == ""
    lines = [json.loads(line) for line in (tmp_path / "run.log").read_text().splitlines()]
    assert [line["level"] for line in lines] == ["warning", "warning"]
    assert all(re.search("can be read by every user", line["event"]) for line in lines)
