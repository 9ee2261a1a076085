"""One value: from what was written to what the code takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr, TypeAdapter, ValidationError

from tqmisp.config import keyring
from tqmisp.config.layers import Layer
from tqmisp.config.rules import RULES

_SHOWN = 60
"""Characters of a wrong value that an error quotes."""

_ADDRESSES = ("url", "proxy", "state.path")
"""How the keys of addresses end; one without a scheme may hold a password all the same, as curl takes it."""

PATHS = {"state.path", "output.log_file", "metrics.textfile"} | {
    f"{server}.{key}" for server in ("threatq", "misp") for key in ("ca_file", "client_cert_file", "client_key_file")
}
"""Relative ones are relative to the file that names them."""

_IN_HEADERS = {"misp.key", "threatq.client_secret"}
"""Secrets that a header carries, as they are or by HTTP Basic."""

_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    SecretStr: "text, or env:NAME, file:PATH or keyring:SERVICE/NAME for where to find it",
}


class Mistake(Exception):
    """A value cannot be used; the text goes behind the name of its place, as in ``<place> is 7; expected text``.

    Attributes:
        within: where in the value, if it is a table.
    """

    def __init__(self, text: str, within: str = "") -> None:
        super().__init__(text)
        self.within = within


@dataclass(frozen=True, slots=True)
class Written:
    """A value as it was written, and where."""

    value: Any
    layer: Layer
    dotted: str

    def place(self, within: str = "") -> str:
        """The beginning of a sentence about it, or about a part of it."""
        return self.layer.where(self.dotted, within)

    def read(self, kind: Any, env: Mapping[str, str]) -> Any:  # noqa: ANN401  the type is only known at run time
        """Check it and turn it into a value of the type ``kind``.

        Raises:
            Mistake: it is of the wrong type, out of range, or refers to a secret that cannot be found.
        """
        rule = RULES.get(self.dotted)
        if SecretStr in _alternatives(kind):
            return self._secret(env)
        try:
            value = self._typed(kind)
        except ValidationError as error:  # "from None": its text would show the value
            within = error.errors(include_url=False, include_input=False)[0]
            if isinstance(self.value, dict) and within["loc"]:
                path = ".".join(str(step) for step in within["loc"])
                raise Mistake(f"has a mistake at {path}: {within['msg'].lower()}", path) from None
            raise Mistake(self._sentence(rule.expected if rule else words(kind))) from None
        if rule and value is not None and not rule.holds(value):
            raise Mistake(self._sentence(rule.expected))
        if self.dotted in PATHS and "://" not in value:
            return str(self.layer.folder / Path(value).expanduser())
        return value

    def _typed(self, kind: Any) -> Any:  # noqa: ANN401
        """A value in a file has a type of its own, which must fit; a variable is text, read as what is needed."""
        if self.layer.kind == "file":
            return _adapter(kind).validate_json(json.dumps(self.value), strict=True)
        if self.layer.kind == "environment" and get_origin(kind) in {tuple, Mapping}:
            if get_origin(kind) is Mapping or self.value.startswith("["):
                return _adapter(kind).validate_json(self.value)
            return _adapter(kind).validate_python([part.strip() for part in self.value.split(",")])
        return _adapter(kind).validate_python(self.value)

    def _sentence(self, expected: str) -> str:
        shown = repr(self.value) if isinstance(self.value, str) else json.dumps(self.value)
        if "@" in shown and ("://" in shown or self.dotted.endswith(_ADDRESSES)):
            shown = "an address with a user or password"
        if len(shown) > _SHOWN:
            shown = shown[: _SHOWN - 1] + "…"
        return f"is {shown}; expected {expected}"

    def _secret(self, env: Mapping[str, str]) -> SecretStr:
        """The secret itself, or from where it refers to; a line break at its end belongs to where it was kept."""
        expected = words(SecretStr)
        if isinstance(self.value, SecretStr):
            value = self.value.get_secret_value()
        elif isinstance(self.value, str):
            value = self._looked_up(self.value, env)
        else:
            raise Mistake(f"is not text; expected {expected}")
        value = value.rstrip("\r\n")
        if not value:
            raise Mistake(f"is empty; expected {expected}")
        if self.dotted in _IN_HEADERS and not value.isprintable():
            raise Mistake(f"holds a line break or another character that no header can carry; expected {expected}")
        return SecretStr(value)

    def _looked_up(self, value: str, env: Mapping[str, str]) -> str:
        """What a reference leads to; anything else is as it was."""
        if value.startswith("env:"):
            name = value.removeprefix("env:")
            value = env.get(name, "")
            if not value:
                raise Mistake(f"refers to the environment variable {name}, which is not set")
        elif value.startswith("file:"):
            path = self.layer.folder / Path(value.removeprefix("file:")).expanduser()
            try:
                value = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                raise Mistake(f"refers to {path}, which is not UTF-8 text") from None
            except OSError as error:
                raise Mistake(f"refers to {path}, which cannot be read: {error.strerror}") from error
            if not value.strip("\r\n"):
                raise Mistake(f"refers to {path}, which is empty")
        elif value.startswith("keyring:"):
            try:
                value = keyring.read(value.removeprefix("keyring:"))
            except LookupError as error:
                raise Mistake(f"refers to {value}, which {error.args[0]}") from None
        return value

    @property
    def is_plain_secret(self) -> bool:
        """Whether this, taken as a secret, is the secret itself and not a reference to it."""
        return isinstance(self.value, str) and not is_reference(self.value)


def is_reference(secret: str) -> bool:
    """Whether this says where a secret is found, and is not the secret itself."""
    return secret.startswith(("env:", "file:", "keyring:"))


def words(kind: Any) -> str:  # noqa: ANN401
    """Say what a type takes."""
    kinds = _alternatives(kind)
    if len(kinds) == 1 and get_origin(kinds[0]) is Literal:
        return "one of " + ", ".join(get_args(kinds[0]))
    if get_origin(kinds[0]) is tuple:
        return f"a list of {'texts' if get_args(kinds[0])[0] is str else 'values'}"
    return " or ".join(_WORDS.get(each, "a table") for each in kinds)


def _alternatives(kind: Any) -> list[Any]:  # noqa: ANN401
    """``str | None`` is ``[str]``."""
    if get_origin(kind) in {Union, UnionType}:
        return [each for each in get_args(kind) if each is not NoneType]
    return [kind]


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401
    return TypeAdapter(kind)
