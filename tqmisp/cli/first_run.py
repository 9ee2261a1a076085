"""The first run of ``tq-misp-export``: it asks how to reach ThreatQ, tries it, and keeps the answers."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tqmisp.cli import common
from tqmisp.config import ThreatQSettings, load_part
from tqmisp.config.values import PATHS
from tqmisp.errors import ConfigError, ThreatQError
from tqmisp.log import get_logger
from tqmisp.observe import logs
from tqmisp.threatq import connectors
from tqmisp.threatq.client import ThreatQClient
from tqmisp.threatq.options import ThreatQOptions

FILE = "tq-misp-export.toml"
CONNECTOR_NAME = "MISP Export"

HOST, NAME, CLIENT, EMAIL = "ThreatQ Host", "Connector Name", "Client ID", "E-Mail Address"
"""The questions, as the 2018 connector put them."""

log = get_logger("tqMispExport.tq_driver")

_TEMPLATE = """\
# Written by the first run of tq-misp-export; `tqmisp run --config {name}` reads it, too.
# docs/configuration.md shows everything that can stand here.

[threatq]
url = {url}
client_id = {client_id}
email = {email}
password = {password}
verify_tls = {verify_tls}
{reach}
[connector]
name = {connector}

# The settings of the connector in ThreatQ's user interface count more than these.
[misp]
# url = "https://misp.example"
# key = "the authentication key"

[selection]
# score_threshold = 0

[state]
path = "state"
"""


def configure(file: Path, *, register: bool = False) -> None:
    """Ask, log in once, and write the file for its owner only.

    Args:
        file: where to write.
        register: try to register the connector where ThreatQ knows none of that name.

    Raises:
        ConfigError: an answer is missing or cannot be used, or the file cannot be written.
        ThreatQError: ThreatQ cannot be reached, or refused the login; nothing is written.
    """
    answers: dict[str, Any] = {
        "threatq.url": _ask(HOST),
        "connector.name": _ask(NAME, CONNECTOR_NAME),
        "threatq.client_id": _ask(CLIENT),
        "threatq.email": _ask(EMAIL),
        "threatq.password": SecretStr(_ask_hidden("Password")),
    }
    names = {
        "threatq.url": HOST,
        "connector.name": NAME,
        "threatq.client_id": CLIENT,
        "threatq.email": EMAIL,
    }
    settings = load_part(ThreatQSettings, Path(os.devnull), overrides=answers, names=names)
    logs.register(settings.secrets())
    found = common.run_async(partial(_has_connector, settings, register=register))
    _write(file, settings)
    sys.stdout.write("Connector configured. Set information in UI.\n")
    sys.stdout.flush()
    log.info("Further configuration is required in the UI.")
    if not found:
        log.warning(
            "ThreatQ has no connector %r; set MISP's url and key in the section [misp] of %s.",
            settings.connector.name,
            file,
        )


async def _has_connector(settings: ThreatQSettings, *, register: bool) -> bool:
    async with ThreatQClient.connect(settings.threatq) as client:
        try:
            return await find_connector(client, settings.connector.name, register=register) is not None
        except ValueError:  # it has a Score Threshold that is no number, which the next run will tell
            return True


async def find_connector(client: ThreatQClient, name: str, *, register: bool) -> connectors.ConnectorSettings | None:
    """Read what the operator has set in ThreatQ's user interface; None where it has no such connector.

    Args:
        client: the ThreatQ.
        name: of the connector.
        register: try to register it where there is none; the log says what came of it.

    Raises:
        ThreatQError: the server cannot be read.
        ValueError: the score threshold is no number.
    """
    found = await connectors.read(client, name)
    if found is None and register:
        try:
            found = await connectors.register(client, name)
            log.info("ThreatQ has registered the connector %r; fill in its fields in the UI.", name)
        except ThreatQError as error:
            log.warning("ThreatQ did not register the connector %r: %s", name, error)
    return found


def _ask(question: str, default: str | None = None) -> str:
    """Ask on the terminal until there is an answer; without one, an empty answer that has no default is an error."""
    while True:
        sys.stdout.write(f"{question}: ")
        sys.stdout.flush()
        answer = _line().strip() or default
        if answer:
            return answer
        if not sys.stdin.isatty():
            raise ConfigError(f"{question} is empty; expected some text.")


def _ask_hidden(question: str) -> str:
    if not sys.stdin.isatty():
        return _ask(question)
    while True:
        try:
            answer = getpass.getpass(f"{question}: ")
        except EOFError:
            raise _nobody() from None
        if answer:
            return answer


def _line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise _nobody()
    return line


def _nobody() -> ConfigError:
    """The error for input that ends at a question; ends the line of that question."""
    sys.stdout.write("\n")
    return ConfigError(
        "There is no configuration yet, and nobody to ask: standard input ended. "
        "Run tq-misp-export once on a terminal, in the same folder or with the same -c."
    )


def _write(file: Path, settings: ThreatQSettings) -> None:
    options = settings.threatq
    password = options.password.get_secret_value() if options.password else ""
    text = _TEMPLATE.format(
        name=FILE,
        url=_quoted(options.url),
        client_id=_quoted(options.client_id),
        email=_quoted(options.email or ""),
        password=_quoted(password),
        verify_tls=str(options.verify_tls).lower(),
        reach="".join(_reach(options)),
        connector=_quoted(settings.connector.name),
    )
    draft = file.with_name(f".{file.name}.new")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
        draft.replace(file)
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}.") from error


def _reach(options: ThreatQOptions) -> Iterator[str]:
    """What the environment says about the way to ThreatQ; a later run may be without it, and in another folder."""
    for key in ("ca_file", "client_cert_file", "client_key_file", "proxy"):
        value = getattr(options, key)
        if value is not None:
            kept = str(Path(value).absolute()) if f"threatq.{key}" in PATHS else value
            yield f"{key} = {_quoted(kept)}\n"


def _quoted(text: str) -> str:
    """A string of TOML: as one of JSON, but for the delete character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
