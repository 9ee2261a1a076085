"""``tqmisp init``: write a configuration, and try it while it is being made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import typer
from pydantic import SecretStr
from rich.console import Group, RenderableType

from tqmisp.check import Finding, check, exit_code
from tqmisp.check.finding import Area
from tqmisp.cli import common, options, render
from tqmisp.cli.setup import Setup
from tqmisp.config import keyring, load
from tqmisp.config.inherit import inherit
from tqmisp.config.layers import SHORT
from tqmisp.config.values import PATHS, is_reference
from tqmisp.config.write import document, save
from tqmisp.errors import ConfigError
from tqmisp.observe.terminal import safe

FILE = Path("tqmisp.toml")
FOLDER = "secrets"
"""Beside the configuration, for secrets that were typed."""
_ANSWERS = {
    "threatq_url": "threatq.url",
    "client_id": "threatq.client_id",
    "email": "threatq.email",
    "password": "threatq.password",
    "client_secret": "threatq.client_secret",
    "misp_url": "misp.url",
    "misp_key": "misp.key",
}
_HERE: tuple[Area, ...] = ("local",)
_SECRETS = ("password", "client_secret", "misp_key")


def init(
    *,
    threatq_url: options.ThreatQUrl = None,
    client_id: options.ClientId = None,
    email: options.Email = None,
    password: options.Password = None,
    client_secret: options.ClientSecret = None,
    misp_url: options.MispUrl = None,
    misp_key: options.MispKey = None,
    secrets: options.Secrets = "file",
    from_: options.From = None,
    yes: options.Yes = False,
    force: options.Force = False,
    tries: options.Try = True,
    score_threshold: options.ScoreThreshold = None,
    status: options.Status = None,
    type: options.Type = None,  # noqa: A002  the word of the field
    exclude_type: options.ExcludeType = None,
    tag: options.Tag = None,
    source: options.Source = None,
    collection: options.Collection = None,
    publish: options.Publish = None,
    distribution: options.Distribution = None,
    sharing_group_id: options.SharingGroupId = None,
    event_tag: options.EventTag = None,
    config: options.Output = None,
    state: options.State = None,
    json: options.Json = None,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
    log_format: options.LogFormat = None,
    progress: options.Progress = None,
) -> None:
    r"""Write a configuration: ask for each answer, and try it on the servers.

    Options answer questions beforehand. The file is readable by you alone.
    Secrets that are typed are kept in files beside it, which it refers to.

    \b
    Examples:
      tqmisp init
      tqmisp init --from /opt/tq-integrations/misp/config
      tqmisp init --yes --threatq-url https://threatq.example \
        --client-id ID --email misp@example.org --password env:THREATQ_PASSWORD \
        --misp-url https://misp.example --misp-key file:/run/secrets/misp-key

    \b
    Exit codes:
      0  written
      2  an answer is missing or cannot be used on this machine
      3  ThreatQ does not take the answers; nothing is written
      4  MISP does not take the answers; nothing is written
    """
    given = dict(locals())
    for name in _SECRETS:
        if given[name] is not None and not is_reference(given[name]):
            option = "--" + name.replace("_", "-")
            raise typer.BadParameter(
                f"{option} is a reference such as env:NAME, file:PATH or keyring:SERVICE/NAME: every user of this "
                "machine can read a command line. Leave it out, and you are asked."
            )
    target = config or FILE
    if target.exists() and not force:
        raise ConfigError(f"{target} exists already; --force replaces it.")
    output = {"json": json, "verbose": verbose, "log_file": log_file, "log_format": log_format}
    local = common.local_settings(Path(os.devnull), output)
    values: dict[str, Any] = {}
    if from_ is not None:
        inherited = inherit(from_)
        values |= inherited.values
        common.say(f"Taken over from {inherited.file}: {', '.join(sorted(inherited.values))}.")
    answers = {dotted: given[name] for name, dotted in _ANSWERS.items()}
    answers |= {dotted: given[name] for name, dotted in SHORT.items() if name in given}
    values |= {
        dotted: value
        for dotted, value in answers.items()
        if value not in (None, []) and not dotted.startswith("output.")
    }
    names = {dotted: "--" + name.replace("_", "-") for name, dotted in _ANSWERS.items()}
    Setup(values, names, asks=not yes, tries=tries).run()
    kept = _keep(values, target, secrets, force=force)
    written = {dotted: _seen_from(target, dotted, value) for dotted, value in (values | kept).items()}
    save(target, document(written, _heading()), replace=force)
    findings = _look_at(target)
    if local.output.json:
        common.print_json({"config": str(target), "secrets": kept, "findings": [asdict(each) for each in findings]})
    else:
        common.print_result(_result(target, kept, findings))
    raise typer.Exit(exit_code(findings))


def _keep(values: Mapping[str, Any], target: Path, place: str, *, force: bool) -> dict[str, str]:
    """Put the secrets that were typed where they shall be kept; gives what the configuration says instead."""
    kept = {}
    for dotted, value in values.items():
        if not isinstance(value, SecretStr):
            continue
        name, secret = dotted.replace(".", "-").replace("_", "-"), value.get_secret_value()
        if place == "plain":
            kept[dotted] = secret
        elif place == "keyring":
            try:
                kept[dotted] = keyring.keep(name, secret)
            except LookupError as error:
                raise ConfigError(f"The keyring {error.args[0]}. --secrets file keeps secrets in files.") from None
        else:
            save(target.parent / FOLDER / name, secret + "\n", replace=force)
            kept[dotted] = f"file:{FOLDER}/{name}"
    return kept


def _seen_from(target: Path, dotted: str, value: Any) -> Any:  # noqa: ANN401  whatever was answered
    """An answer whose path is meant from here, as it is meant from the folder of the configuration."""
    if isinstance(value, str) and target.parent.resolve() != Path.cwd():
        reference, path = "", value
        if value.startswith("file:") and not value.startswith(f"file:{FOLDER}/"):
            reference, path = "file:", value.removeprefix("file:")
        elif dotted not in PATHS or "://" in value:
            return value
        return reference + str(Path.cwd() / Path(path).expanduser())
    return value


def _look_at(target: Path) -> list[Finding]:
    """Read what was written, and see whether it can be worked with on this machine."""
    settings = load(target)
    findings = common.run_async(partial(check, settings, areas=_HERE))
    return [finding for finding in findings if finding.level != "ok"]


def _heading() -> str:
    day = datetime.now(UTC).date().isoformat()
    return f"Written by tqmisp init on {day}.\nEverything else that can stand here: docs/configuration.md."


def _result(target: Path, kept: Mapping[str, str], findings: Sequence[Finding]) -> RenderableType:
    parts: list[RenderableType] = [safe(f"Wrote {target}, which you alone can read.", "green")]
    for dotted, reference in kept.items():
        where = f"in {reference}" if is_reference(reference) else "in it, as it is"
        parts.append(safe(f"{dotted} is kept {where}."))
    if findings:
        parts += ["", render.finding_rows(findings)]
    option = "" if target == FILE else f" --config {target}"
    parts.append(safe(f"Next: tqmisp run{option}"))
    return Group(*parts)
