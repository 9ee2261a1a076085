"""Taking over the folder of an earlier ``tq-misp-export``.

Our own first run writes ``tq-misp-export.toml``. The format of the file that the connector of 2018 kept is not public:
from files of JSON or INI form those entries are taken whose names say what they are.
"""

from __future__ import annotations

import configparser
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr

from tqmisp.config.layers import read_file
from tqmisp.config.values import PATHS, is_reference
from tqmisp.errors import ConfigError

OURS = "tq-misp-export.toml"
_SECRETS = ("threatq.password", "threatq.client_secret", "misp.key")
_LARGEST = 1 << 20
"""Bytes; what is larger is no configuration."""
_NAMES = {
    "threatq.url": {"host", "threatqhost", "tqhost", "threatqurl", "tqurl"},
    "threatq.client_id": {"clientid", "oauthclientid", "tqclientid", "privateclientid"},
    "threatq.client_secret": {"clientsecret", "oauthclientsecret", "secret", "privateclientsecret"},
    "threatq.email": {"email", "emailaddress", "username", "user", "tqemail"},
    "threatq.password": {"password", "tqpassword"},
    "connector.name": {"connectorname", "connector", "name"},
    "misp.url": {"mispurl", "misphost"},
    "misp.key": {"mispkey", "mispapikey", "mispauthorizationkey", "mispauthkey"},
    "selection.score_threshold": {"scorethreshold", "threshold"},
}


class Inherited(NamedTuple):
    """What was found."""

    values: dict[str, Any]
    """By dotted key; a secret that stood there itself is a ``SecretStr``."""
    file: Path
    """Where it was found."""


def inherit(folder: Path) -> Inherited:
    """Read what an earlier connector was told.

    Raises:
        ConfigError: there is no such folder, or nothing in it that can be understood.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; expected the one that tq-misp-export was given by -c.")
    if (folder / OURS).is_file():
        return Inherited(_ours(folder), folder / OURS)
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.stat().st_size <= _LARGEST:
            values = _recognised(dict(_entries(file)))
            if "threatq.url" in values:
                return Inherited(values, file)
    raise ConfigError(
        f"{folder} holds no configuration that can be understood: neither {OURS}, nor a file of JSON or INI form "
        "with a host. Leave --from out and answer the questions; they are those of the first run of tq-misp-export."
    )


def _ours(folder: Path) -> dict[str, Any]:
    """All of our own file; what it says of places is meant from there."""
    values: dict[str, Any] = {}
    for section, keys in read_file(folder / OURS).values.items():
        values |= {f"{section}.{key}": value for key, value in keys.items()}
    for dotted in PATHS:
        if isinstance(values.get(dotted), str) and "://" not in values[dotted]:
            values[dotted] = str(folder.absolute() / Path(values[dotted]).expanduser())
    for dotted in _SECRETS:
        value = values.get(dotted)
        if isinstance(value, str) and value.startswith("file:"):
            values[dotted] = f"file:{folder.absolute() / Path(value.removeprefix('file:')).expanduser()}"
        elif isinstance(value, str) and not is_reference(value):
            values[dotted] = SecretStr(value)
    return values


def _entries(file: Path) -> Iterator[tuple[str, str]]:
    """Names and values in a file of JSON or INI form, at any depth; none where it is neither."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    try:
        yield from _leaves(json.loads(text))
    except (ValueError, RecursionError):
        parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
        try:
            parser.read_string(text if text.lstrip().startswith("[") else f"[all]\n{text}")
        except configparser.Error:
            return
        for section in parser.values():
            yield from ((name, value) for name, value in section.items() if value)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401  it is JSON
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, key)
    elif isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
        yield name, str(value)


def _recognised(entries: Mapping[str, str]) -> dict[str, Any]:
    plain = {"".join(c for c in name.lower() if c.isalnum()): value.strip() for name, value in entries.items()}
    found: dict[str, Any] = {}
    for dotted, names in _NAMES.items():
        value = next((plain[name] for name in plain if name in names), None)
        if value:
            found[dotted] = SecretStr(value) if dotted in _SECRETS else value
    try:
        found |= {dotted: float(found[dotted]) for dotted in ("selection.score_threshold",) if dotted in found}
    except ValueError:
        del found["selection.score_threshold"]
    if "threatq.client_secret" in found:  # the private connection, which later runs used
        found.pop("threatq.email", None)
        found.pop("threatq.password", None)
    return found
