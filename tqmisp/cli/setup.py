"""The steps of ``tqmisp init``: ask for one server after the other, and try each answer at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from rich.console import Console

from tqmisp.check import Finding, check, exit_code
from tqmisp.check.finding import Area
from tqmisp.cli import common, render
from tqmisp.cli.ask import ask, ask_hidden, ask_number, confirm
from tqmisp.config import Settings, ThreatQSettings, load, load_part
from tqmisp.config.values import is_reference
from tqmisp.errors import TqmispError
from tqmisp.observe import logs
from tqmisp.threatq import connectors
from tqmisp.threatq.client import ThreatQClient

HOW = "typed, it is not shown; or env:NAME, file:PATH, keyring:SERVICE/NAME"
DISTRIBUTIONS = "0 own organisation, 1 this community, 2 connected communities, 3 all, 4 a sharing group"
_FILES = {
    "ca_file": "File with its authority",
    "client_cert_file": "File with the certificate that it wants to see",
    "client_key_file": "File with the key of that, if it is another one",
}
_NOT_YET = {"misp.url": "https://misp.invalid", "misp.key": SecretStr("not known yet")}
"""So that the settings of ThreatQ can be read before those of MISP are there."""

Step = Callable[[], None]


class NotAccepted(TqmispError):
    """The servers do not take the answers; the findings say why."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("Nothing is written. Mend what is said above, or write it all the same with --no-check.")
        self.exit_code = exit_code(findings)


@dataclass
class Setup:
    """Answers as they come in, and what was found with them.

    Attributes:
        values: by dotted key. A secret is a reference, or a ``SecretStr`` where it was typed.
        asks: whether there is somebody to ask.
        tries: whether the servers are asked.
    """

    values: dict[str, Any]
    names: Mapping[str, str]
    asks: bool
    tries: bool
    findings: list[Finding] = field(default_factory=list)

    def run(self) -> Settings:
        """Go through all steps; gives the settings as they will be.

        Raises:
            ConfigError: an answer is missing or cannot be used.
            NotAccepted: a server does not take the answers.
        """
        if self.asks or "connector.name" in self.values:
            self._until_accepted(self._ask_threatq, partial(self._try, "threatq", _NOT_YET), "login")
            self._take_over_connector()
        self._until_accepted(self._ask_selection, partial(self._try, "threatq", _NOT_YET), "selection_count")
        self._until_accepted(self._ask_misp, partial(self._try, "misp"), "organisation")
        return self._settings()

    def _until_accepted(self, questions: Step, attempt: Callable[[], list[Finding]], good: str) -> None:
        """Ask and try, again and again if there is somebody to ask; of what is well, say the one that matters."""
        while True:
            if self.asks:
                questions()
            if not self.tries:
                return
            self.findings = findings = attempt()
            _show([each for each in findings if each.level != "ok" or each.name == good])
            if not exit_code(findings):
                return
            if not self.asks:
                raise NotAccepted(findings)
            if confirm("Keep these answers all the same?"):
                return

    # ---- questions

    def _ask_threatq(self) -> None:
        self._ask("threatq.url", "ThreatQ address")
        self._ask("threatq.client_id", "Client ID (the API password in an administrator's profile)")
        self._ask("threatq.email", "E-mail address (- for a private client)")
        if self.values.get("threatq.email") in {"-", None}:
            self.values |= {"threatq.email": None, "threatq.password": None}
            self._ask_secret("threatq.client_secret", "Client secret")
        else:
            self.values["threatq.client_secret"] = None
            self._ask_secret("threatq.password", "Password")
        self._ask_files("threatq")

    def _ask_selection(self) -> None:
        threshold = float(self.values.get("selection.score_threshold") or 0)
        self.values["selection.score_threshold"] = ask_number("Least score, 0 to 10", threshold, 10)

    def _ask_misp(self) -> None:
        self._ask("misp.url", "MISP address")
        self._ask_secret("misp.key", "Authentication key")
        self._ask_files("misp")
        given = int(self.values.get("events.distribution") or 0)
        self.values["events.distribution"] = int(ask_number(f"Who may see the events ({DISTRIBUTIONS})", given, 4))
        if self.values["events.distribution"] == 4:
            group = float(self.values.get("events.sharing_group_id") or 1)
            self.values["events.sharing_group_id"] = int(ask_number("Id of the sharing group", group, 2**31))

    def _ask(self, dotted: str, question: str) -> None:
        self.values[dotted] = ask(question, self.values.get(dotted))

    def _ask_secret(self, dotted: str, question: str) -> None:
        """An empty answer keeps what there is."""
        kept = self.values.get(dotted)
        shown = kept if isinstance(kept, str) else "as before"
        while True:
            answer = ask_hidden(f"{question} ({HOW}){f' [{shown}]' if kept else ''}")
            if answer or kept:
                break
        if answer:
            self.values[dotted] = answer if is_reference(answer) else SecretStr(answer)

    def _ask_files(self, section: str) -> None:
        """Only after certificates stood in the way: that of the server, ours, or a file that cannot be used."""
        for each in self.findings:
            fix = each.fix or ""
            if each.level != "failure" or f"[{section}]" not in fix:
                continue
            if each.name == "certificate":
                self._ask_file(section, "client_cert_file" if "client_cert_file" in fix else "ca_file")
            elif each.name in _FILES:
                self._ask_file(section, each.name)

    def _ask_file(self, section: str, key: str) -> None:
        dotted = f"{section}.{key}"
        answer = ask(f"{_FILES[key]}, PEM (- for none)", self.values.get(dotted) or "-")
        self.values[dotted] = None if answer == "-" else answer
        if key == "client_cert_file":
            self._ask_file(section, "client_key_file")

    # ---- trying

    def _try(self, area: Area, more: Mapping[str, Any] | None = None) -> list[Finding]:
        settings = self._settings(more)
        return common.run_async(partial(check, settings, areas=[area]))

    def _settings(self, more: Mapping[str, Any] | None = None) -> Settings:
        given = {name: value for name, value in self.values.items() if value is not None}
        settings = load(Path(os.devnull), overrides={**(more or {}), **given}, names=self.names)
        logs.register(settings.secrets())
        return settings

    # ---- ThreatQ's user interface

    def _take_over_connector(self) -> None:
        """What operators of the 2018 connector have set in ThreatQ's user interface fills what is open."""
        if not self.tries or "connector.name" not in self.values:
            return
        given = {name: value for name, value in self.values.items() if value is not None}
        settings = load_part(ThreatQSettings, Path(os.devnull), overrides=given, names=self.names)
        found = common.run_async(partial(_read_connector, settings))
        if found is None:
            return
        key = SecretStr(found.misp_key) if found.misp_key else None
        for dotted, value in (
            ("misp.url", found.misp_url),
            ("misp.key", key),
            ("selection.score_threshold", found.score_threshold),
        ):
            if value is not None and self.values.get(dotted) is None:
                self.values[dotted] = value


async def _read_connector(settings: ThreatQSettings) -> connectors.ConnectorSettings | None:
    async with ThreatQClient.connect(settings.threatq) as client:
        try:
            return await connectors.read(client, settings.connector.name)
        except (ValueError, TqmispError):
            return None


def _show(findings: list[Finding]) -> None:
    if findings:
        console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        console.print(render.finding_rows(findings))
