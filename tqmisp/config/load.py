"""From layers to settings: every value is checked where it was written, then the highest layer that has it wins."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import platformdirs
from pydantic import SecretStr

from tqmisp.config.describe import purposes
from tqmisp.config.layers import PREFIX, Layer, read_environment, read_file, read_overrides, variable
from tqmisp.config.near import did_you_mean
from tqmisp.config.rules import conflicts
from tqmisp.config.settings import LocalSettings, Settings
from tqmisp.config.values import Mistake, Written
from tqmisp.errors import ConfigError

S = TypeVar("S", bound=LocalSettings)

_OF_SERVICES = ("tcp://", "udp://", "sctp://")
"""How variables of Kubernetes begin: TQMISP_METRICS_PORT where a service is called tqmisp-metrics."""
_MOVED = {"pipeline.slice_items": "events.slice_size", "pipeline.producers": "threatq.producers"}
"""Keys of earlier versions, and what does their work now."""


def default_places() -> tuple[Path, ...]:
    """Where a configuration is looked for when none is named; the first that exists is taken."""
    return Path("tqmisp.toml"), platformdirs.user_config_path("tqmisp") / "tqmisp.toml"


def load(
    path: Path | None = None,
    *,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    names: Mapping[str, str] | None = None,
) -> Settings:
    """Read all settings.

    The command line counts more than the environment, the environment more than the file, and the file more than
    the defaults.

    Args:
        path: a TOML file; by default the first of :func:`default_places` that exists, if any.
        env: environment variables; by default those of the process.
        overrides: values by short name (``score_threshold``) or dotted key (``misp.url``); None means not given. A
            secret that is a ``SecretStr`` is taken as it is, never as a reference.
        names: what an error calls an override, by dotted key.

    Raises:
        ConfigError: something is unknown, missing, of the wrong kind or out of range. The text has a line for each
            finding, which names the place, the key, what was found and what was expected, but never a secret.
    """
    return load_part(Settings, path, env=env, overrides=overrides, names=names)


def load_part(
    kind: type[S],
    path: Path | None = None,
    *,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    names: Mapping[str, str] | None = None,
) -> S:
    """Read those sections that ``kind`` has; arguments and errors as for :func:`load`.

    The others may be incomplete, but not misspelt.
    """
    env = os.environ if env is None else env
    if path is None:
        path = next((place for place in default_places() if place.is_file()), None)
    layers = [read_file(path)] if path else []
    layers += [read_environment(env), read_overrides(overrides or {}, names or {})]
    reading = _Reading(layers, env)
    for layer in layers:
        reading.look_for_strangers(layer)
    reading.look_for_slips()
    sections = {name: reading.section(name, options) for name, options in section_kinds(kind).items()}
    settings: S | None = None
    if not reading.problems:
        settings = kind(**sections, warnings=tuple(reading.warnings), file=path)
        reading.look_for_conflicts(settings)
    if settings is None or reading.problems:
        if path is None:
            places = " nor ".join(str(place) for place in default_places())
            reading.problems.insert(0, f"There is no configuration file: neither {places} exists.")
        raise ConfigError("\n".join(reading.problems))
    return replace(settings, warnings=tuple(reading.warnings))


def section_kinds(kind: type[LocalSettings]) -> dict[str, type]:
    """The option objects of the sections, by the name of the section."""
    hints = get_type_hints(kind)
    return {each.name: hints[each.name] for each in fields(kind) if each.name not in {"warnings", "file"}}


class _Reading:
    """One pass over the layers. It goes on after a mistake, so that all of them can be mended at once."""

    def __init__(self, layers: list[Layer], env: Mapping[str, str]) -> None:
        self.layers = layers
        self.env = env
        self.known = {name: [each.name for each in fields(kind)] for name, kind in section_kinds(Settings).items()}
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def look_for_strangers(self, layer: Layer) -> None:
        """Find sections and keys that do not exist."""
        for section, values in layer.values.items():
            if section not in self.known:
                advice = _advice(layer, section, list(self.known), "")
                self.problems.append(f"{layer.where(section)} is no section; {advice}")
                continue
            for key in sorted(set(values) - set(self.known[section])):
                advice = _advice(layer, key, self.known[section], f"{section}.")
                self.problems.append(f"{layer.where(f'{section}.{key}')} is not known; {advice}")

    def look_for_slips(self) -> None:
        """Find variables that lack one underscore of two: they would change nothing, and nobody would be told.

        One that a secret refers to has a name of the user's own. Kubernetes makes others of the names of services.
        """
        longer = {f"{section}_{key}": f"{section}.{key}" for section, keys in self.known.items() for key in keys}
        values = [value for layer in self.layers for section in layer.values.values() for value in section.values()]
        for name in sorted(name for name, value in self.env.items() if name.startswith(PREFIX) and value):
            dotted = longer.get(name.removeprefix(PREFIX).lower())
            if dotted is None or f"env:{name}" in values or self.env[name].startswith(_OF_SERVICES):
                continue
            self.problems.append(f"{name} in the environment is no setting; did you mean {variable(dotted)}?")

    def section(self, name: str, kind: type) -> Any:  # noqa: ANN401  an option object
        """Build the option object of a section; None after a mistake."""
        before = len(self.problems)
        hints = get_type_hints(kind)
        values: dict[str, Any] = {}
        for each in fields(kind):
            mentions = list(self._mentions(name, each.name))
            if mentions:
                try:
                    values[each.name] = mentions[-1].read(hints[each.name], self.env)
                except Mistake as mistake:
                    self.problems.append(f"{mentions[-1].place(mistake.within)} {mistake}.")
            elif each.default is MISSING and each.default_factory is MISSING:
                purpose = purposes(kind).get(each.name, "")
                place = self.place(f"{name}.{each.name}")
                self.problems.append(f"{place} is missing{f'; expected: {purpose}' if purpose else '.'}")
            if _is_secret(hints[each.name]):
                self.warnings += [warning for mention in mentions if (warning := _exposure(mention))]
        return kind(**values) if len(self.problems) == before else None

    def look_for_conflicts(self, settings: LocalSettings) -> None:
        """Find values that do not go together, that the mapping does not know, or that give safety away."""
        self.problems += [f"{self.place(dotted)} {text}." for dotted, text in conflicts(settings)]
        if isinstance(settings, Settings):
            try:
                settings.mapping.check()
            except ConfigError as error:
                file = next((f"{layer.file}: " for layer in self.layers if layer.file), "")
                self.problems += [file + line for line in str(error).splitlines()]
        for section in ("threatq", "misp"):
            options = getattr(settings, section, None)
            if options is not None and not options.verify_tls:
                dotted = f"{section}.verify_tls"
                self.warnings.append(
                    f"{self.place(dotted)} is false: whoever is in between can read the key and the data."
                )

    def place(self, dotted: str) -> str:
        """Name where a setting is written, or else where it could be."""
        section, key = dotted.split(".")
        mentions = list(self._mentions(section, key))
        if mentions:
            return mentions[-1].place()
        file = next((f"{layer.file}: " for layer in self.layers if layer.file), "")
        return f"{file}{dotted} (or {variable(dotted)} in the environment)"

    def _mentions(self, section: str, key: str) -> Iterator[Written]:
        """Every mention of a setting, the one that counts last."""
        for layer in self.layers:
            if key in layer.values.get(section, {}):
                yield Written(layer.values[section][key], layer, f"{section}.{key}")


def _advice(layer: Layer, word: str, known: Sequence[str], prefix: str) -> str:
    near = did_you_mean(word, known)
    hint = _MOVED.get(prefix + word) or (prefix + near if near else None)
    if hint is None:
        return f"expected one of {', '.join(known)}."
    return f"did you mean {variable(hint) if layer.kind == 'environment' else hint}?"


def _exposure(written: Written) -> str | None:
    """A warning for a secret that every user of the machine can read."""
    file = written.layer.file
    if file is None or not written.is_plain_secret or not stat.S_IMODE(file.stat().st_mode) & stat.S_IROTH:
        return None
    return f"{written.place()} can be read by every user of this machine; run: chmod 600 {file}"


def _is_secret(kind: Any) -> bool:  # noqa: ANN401  the type is only known at run time
    return kind is SecretStr or SecretStr in get_args(kind)
