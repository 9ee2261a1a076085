"""Writing a configuration: the settings that were chosen, each with what it is for."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tqmisp.config.describe import ORDER, purposes
from tqmisp.config.load import section_kinds
from tqmisp.config.settings import Settings
from tqmisp.errors import ConfigError

_WIDTH = 100


def document(values: Mapping[str, Any], heading: str) -> str:
    """A TOML file with these settings.

    Args:
        values: by dotted key; what is None is left out.
        heading: the first lines, as a comment.
    """
    kinds = section_kinds(Settings)
    lines = [*_comment(heading), ""]
    for section in ORDER:
        chosen = {
            dotted.partition(".")[2]: value
            for dotted, value in values.items()
            if dotted.startswith(f"{section}.") and value is not None
        }
        if chosen:
            lines.append(f"[{section}]")
            for key, value in chosen.items():
                lines += [*_comment(purposes(kinds[section]).get(key, "")), f"{key} = {_toml(value)}"]
            lines.append("")
    return "\n".join(lines)


def _comment(text: str) -> Iterator[str]:
    for paragraph in text.splitlines():
        yield from (f"# {line}" for line in textwrap.wrap(paragraph, _WIDTH))


def _toml(value: Any) -> str:  # noqa: ANN401  whatever TOML can say
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    # a text of JSON is one of TOML, but for the delete character
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def save(path: Path, text: str, *, replace: bool = False) -> None:
    """Write a file for its owner only.

    Args:
        path: of the file; its folder is made.
        text: what to write.
        replace: whether a file that is there may be replaced.

    Raises:
        ConfigError: it is there already, or cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}") if replace else path
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
        if replace:
            draft.replace(path)
    except FileExistsError:
        raise ConfigError(f"{path} exists already; --force replaces it.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from error
