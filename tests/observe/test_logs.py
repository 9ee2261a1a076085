from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tqmisp.errors import ConfigError
from tqmisp.log import LIBRARY, get_logger, processors
from tqmisp.observe import logs

SECRET = 'p"ss w\u00f6rd/1'


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """Each test begins and ends with logging as it is by default."""
    logs.register(())
    yield
    logs.register(())
    logs.configure()
    logging.captureWarnings(capture=False)


@pytest.fixture
def log() -> structlog.stdlib.BoundLogger:
    """A logger of ours."""
    return get_logger("tqmisp.test")


def test_a_line_for_people(log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]) -> None:
    """Time in UTC, level, text, names and values; nothing on stdout."""
    logs.configure(verbose=1)
    with structlog.contextvars.bound_contextvars(run="6f1c"):
        log.info("event made", id=7)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ info     event made id=7 run=6f1c\n", err)


def test_a_line_for_machines(log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, with the run that it belongs to, whatever the values hold."""
    logs.configure(verbose=1, form="json")
    with structlog.contextvars.bound_contextvars(run="6f1c"):
        log.warning("value\x1b[0m\nsecond line", value="half \ud800", count=3)
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    found = json.loads(line)
    assert found["event"] == "value\x1b[0m\nsecond line"
    assert (found["level"], found["run"], found["count"], found["logger"]) == ("warning", "6f1c", 3, "tqmisp.test")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", found["timestamp"])


def test_a_line_of_2018(log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]) -> None:
    """Date, logger, level and text, and the text ends the line."""
    logs.configure(form="classic", stream="stdout", ours=["tqMispExport.tq_driver"], verbose=2)
    with structlog.contextvars.bound_contextvars(run="6f1c"):
        get_logger("tqMispExport.tq_driver").debug("Processing [%d] indicators.", 9682)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d - tqMispExport\.tq_driver DEBUG: Processing \[9682\] indicators\.\n",
        capsys.readouterr().out,
    )
    assert log is not None


@pytest.mark.parametrize(
    ("verbose", "heard"),
    [(0, ["ours warning", "theirs warning"]), (1, ["ours info", "ours warning", "theirs warning"]), (3, None)],
)
def test_how_much_is_logged(
    verbose: int, heard: list[str] | None, log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Warnings by default; more of ours by -v; that of the libraries only at the third."""
    logs.configure(verbose=verbose, form="json")
    theirs = logging.getLogger("aiohttp.client")
    for level in ("debug", "info", "warning"):
        getattr(log, level)("ours " + level)
        getattr(theirs, level)("theirs " + level)
    found = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert found == heard or (heard is None and len(found) == 6)


def test_values_of_others_cannot_act(log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]) -> None:
    """A value cannot forge a line, colour the terminal or turn the direction of text."""
    logs.configure()
    log.warning("odd value", value="a\n2026-01-01T00:00:00Z error forged \x1b[31m\u202e")
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert r"value=a\x0a2026-01-01T00:00:00Z error forged \x1b[31m\u202e" in err


@pytest.mark.parametrize("form", ["text", "json", "classic"])
def test_secrets_are_masked_by_value(
    form: logs.Format, log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever they occur: in a text, a value, an address, a body, or what an error says."""
    logs.register([SECRET, "abc"])
    logs.configure(form=form)
    text = f"the login {SECRET} failed"
    log.warning(text, body=json.dumps({"x": SECRET}), parts=[{"y": SECRET}])
    log.warning("GET /?p=p%22ss%20w%C3%B6rd%2F1 and p%22ss+w%C3%B6rd%2F1")
    logging.getLogger("pymisp").error("headers: %s", {"Authorization": SECRET})
    log.error("it failed with abc", exc_info=ValueError(SECRET))
    err = capsys.readouterr().err
    assert not re.search(r"p(\"|\\+\"|%22)ss", err)
    assert err.count(logs.MASK) >= 7
    assert "with abc" in err  # too short to be told from ordinary text


@pytest.mark.parametrize(
    "name", ["password", "client_secret", "api_key", "misp_authkey", "key", "Authorization", "access_token", "cookie"]
)
def test_secrets_are_masked_by_name(
    name: str, log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value whose name says that it is secret is never written, at any depth."""
    logs.configure()
    log.warning("a request", **{name: "unheard"}, headers={name: "unheard"})
    err = capsys.readouterr().err
    assert "unheard" not in err
    assert err.count(logs.MASK) == 2


def test_names_that_only_sound_secret(log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]) -> None:
    """A count of keys, or the key of an item, is none."""
    logs.configure()
    log.warning("done", keys=3, monkey="x")
    assert "keys=3 monkey=x" in capsys.readouterr().err


def test_tokens_are_masked_without_being_known() -> None:
    """What stands behind Bearer or Basic is a secret that no configuration holds."""
    assert logs.redact("Authorization: Bearer eyJhbGciOi.x-y_z") == f"Authorization: Bearer {logs.MASK}"
    assert logs.redact("a basic idea") == "a basic idea"


def test_a_file_instead_of_the_terminal(
    tmp_path: Path, log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is made for its owner only, added to, and found again after somebody has rotated it."""
    path = tmp_path / "tqmisp.log"
    logs.configure(file=path)
    log.warning("one")
    path.rename(tmp_path / "tqmisp.log.1")
    log.warning("two")
    logs.configure(file=path)
    log.warning("three \ud800")
    assert [line.split("  ")[1] for line in path.read_text().splitlines()] == ["two", r"three \ud800"]
    assert (tmp_path / "tqmisp.log.1").stat().st_mode & 0o777 == 0o600
    assert capsys.readouterr().err == ""


def test_a_folder_that_goes_away_ends_no_work(
    tmp_path: Path, log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its loss is told once, and what there is to be done goes on."""
    folder = tmp_path / "logs"
    folder.mkdir()
    logs.configure(file=folder / "tqmisp.log")
    log.warning("one")
    shutil.rmtree(folder)
    log.warning("two")
    log.warning("three")
    assert capsys.readouterr().err == "error: the log cannot be written: No such file or directory\n"


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """Is told as what it is: a setting to mend."""
    with pytest.raises(ConfigError, match=r"log file .* cannot be written: No such file or directory"):
        logs.configure(file=tmp_path / "absent" / "log")


UNWRITABLE = """
import logging, pathlib, sys
from tqmisp.observe import logs
logs.configure(file=pathlib.Path(sys.argv[1]) if sys.argv[1:] else None, stream="stdout")
for _ in range(2):
    logging.getLogger("tqmisp.test").error("%d retries", "the secret")
"""


@pytest.mark.parametrize("file", [[], ["tqmisp.log"]])
def test_a_line_that_cannot_be_written(file: list[str], tmp_path: Path) -> None:
    """Why is told once; the line itself never, as nothing has taken the secrets out of it."""
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", UNWRITABLE, *file], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "error: the log cannot be written: TypeError\n")


def test_warnings_of_python_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """They take the same way, and no second one."""
    logs.configure()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", stacklevel=1)
    assert capsys.readouterr().err.count("UserWarning: old ways") == 1


def test_logging_again_replaces_the_first(
    log: structlog.stdlib.BoundLogger, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that runs two commands does not log twice, and other handlers stay."""
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    try:
        logs.configure()
        logs.configure()
        log.warning("once")
        assert other in logging.getLogger().handlers
    finally:
        logging.getLogger().removeHandler(other)
    assert capsys.readouterr().err.count("once") == 1


@pytest.fixture
def library() -> Iterator[None]:
    """As it is for those who import us and set up nothing."""
    before = processors[:]
    processors[:] = LIBRARY
    yield
    processors[:] = before


EMBEDDED = """
import logging, sys
from tqmisp.log import get_logger
from tqmisp.threatq import client, source
for log in (get_logger("tqmisp.any"), client.log, source.log):
    log.warning("something", value=7)
    log.error("worse")
import structlog
assert not structlog.is_configured()
structlog.get_logger().warning("theirs")
"""


def test_a_library_is_quiet() -> None:
    """A program that imports us and configures nothing sees nothing of ours, and its own structlog as it was."""
    done = subprocess.run([sys.executable, "-c", EMBEDDED], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stderr == ""
    assert "theirs" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.usefixtures("library")
def test_a_library_logs_as_its_program_wants(
    log: structlog.stdlib.BoundLogger, caplog: pytest.LogCaptureFixture
) -> None:
    """By the handlers and levels of the standard library, a line an entry, whatever others wrote into it."""
    caplog.set_level(logging.INFO, "tqmisp.test")
    log.debug("not heard")
    log.info("chunk of %d\n", 7, event_uuid="\x1b[31mred", count=3)
    log.error("broken", exc_info=ValueError("why"))
    assert caplog.messages == ["chunk of 7\\n event_uuid='\\x1b[31mred' count=3", "broken"]
    assert caplog.records[0].name == "tqmisp.test"
    assert caplog.records[1].exc_info is not None
