"""Which faults are to happen, where and how often: as values, and as a text such as ``misp:events/edit=500-after@3x``.

::

    plan  = item *(";" item)                 a new line is as good as ";", and "#" begins a remark
    item  = "seed=" number / fault
    fault = where "=" kind [":" parameter *("," parameter)] ["@" when *("," when)]
    where = "*" / server ":" route           route is a pattern such as events/edit, attributes/* or *
    when  = number "%" / number "x" / "every=" number / "after=" number
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from tqmisp.errors import ConfigError
from tqmisp.simulators.faults.kinds import KINDS, Value, number

T = TypeVar("T")
SERVERS = ("misp", "threatq")
_RATE = re.compile(r"(\d+(?:\.\d+)?)%")
_TIMES = re.compile(r"(\d{1,9})x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong, where, and how often.

    Attributes:
        where: ``*``, or server and route, such as ``misp:events/edit`` or ``threatq:*``.
        kind: a name of :data:`tqmisp.simulators.faults.KINDS`.
        parameters: of the kind; those left out have its defaults.
        rate: the share of requests that it hits, 0 to 1, drawn by the seed of the plan.
        times: how often it happens at most.
        every: it happens to each so-manieth request only.
        after: so many requests are left alone at the start.

    Raises:
        ConfigError: there is no such fault; the text names what is wrong.
    """

    where: str
    kind: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    rate: float = 1.0
    times: int | None = None
    every: int = 1
    after: int = 0

    def __post_init__(self) -> None:
        kind = KINDS.get(self.kind)
        if kind is None:
            raise ConfigError(f"There is no kind of fault {self.kind!r}. There are: {', '.join(KINDS)}")
        if self.where != "*" and (self.server not in SERVERS or not self.route):
            raise ConfigError(f"{self.where!r} is no place for a fault: expected *, misp:ROUTE or threatq:ROUTE")
        if kind.server is not None and self.server != kind.server:
            raise ConfigError(f"{self.kind!r} can only happen to {kind.server}, not at {self.where!r}")
        if unknown := sorted(set(self.parameters) - set(kind.readers)):
            raise ConfigError(f"{self.kind!r} has no parameter {unknown[0]!r}. It has: {_words(kind.readers)}")
        if not 0 < self.rate <= 1 or self.every < 1:
            raise ConfigError(f"A fault that never happens at {self.where!r}")

    @property
    def server(self) -> str | None:
        """The server that it happens to; None for both."""
        return None if self.where == "*" else self.where.partition(":")[0]

    @property
    def route(self) -> str:
        """The pattern of the routes that it happens on."""
        return "*" if self.where == "*" else self.where.partition(":")[2]

    def value(self, name: str) -> Value | None:
        """A parameter, or its default; None where it has none."""
        return self.parameters.get(name, KINDS[self.kind].defaults.get(name))

    def seconds(self, name: str) -> float:
        """A parameter that is a time."""
        return float(self.value(name) or 0)

    def hits(self, server: str, route: str) -> bool:
        """Whether it can happen there."""
        return self.server in {None, server} and fnmatchcase(route, self.route)


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Faults in the order in which they are tried; the first one that strikes has the request to itself."""

    faults: tuple[Fault, ...] = ()
    seed: int = 0

    @classmethod
    def parse(cls, spec: str) -> FaultPlan:
        """Read a plan.

        Args:
            spec: the text, or ``@`` and the path of a file that holds it.

        Raises:
            ConfigError: it cannot be read; the text names the part that is wrong.
        """
        if spec.startswith("@"):
            try:
                spec = Path(spec[1:]).read_text()
            except (OSError, ValueError) as error:
                raise ConfigError(f"The faults cannot be read: {error}") from error
        lines = [line.partition("#")[0] for line in spec.splitlines()]
        items = [item for line in lines for part in line.split(";") if (item := part.strip())]
        seed = 0
        faults = []
        for item in items:
            left, sign, right = (part.strip() for part in item.partition("="))
            if not sign:
                raise ConfigError(f"Fault {item!r}: expected WHERE=KIND, such as misp:events/edit=500-after@3x")
            try:
                if left == "seed":
                    seed = number(right)
                else:
                    faults.append(_fault(left, right))
            except (ValueError, ConfigError) as error:
                raise ConfigError(f"Fault {item!r}: {error}") from error
        return cls(tuple(faults), seed)


def _fault(where: str, what: str) -> Fault:
    what, _, when = what.partition("@")
    name, _, given = (part.strip() for part in what.partition(":"))
    readers = KINDS[name].readers if name in KINDS else {}
    parameters: dict[str, Value] = {}
    for part in filter(None, given.split(",")):
        key, sign, text = (piece.strip() for piece in part.partition("="))
        if not sign and readers:
            key, text = next(iter(readers)), key
        if key not in readers:
            raise ConfigError(f"{name!r} has no parameter {key!r}. It has: {_words(readers)}")
        parameters[key] = _read(readers[key], key, text)
    rate, times, every, after = 1.0, None, 1, 0
    for part in filter(None, (piece.strip() for piece in when.split(","))):
        key, _, text = part.partition("=")
        if found := _RATE.fullmatch(part):
            rate = float(found[1]) / 100
        elif found := _TIMES.fullmatch(part):
            times = int(found[1])
        elif key == "every":
            every = _read(number, key, text)
        elif key == "after":
            after = _read(number, key, text)
        else:
            raise ConfigError(f"{part!r} is no measure: expected 10%, 3x, every=5 or after=2")
    return Fault(where=where, kind=name, parameters=parameters, rate=rate, times=times, every=every, after=after)


def _read(reader: Callable[[str], T], key: str, text: str) -> T:
    try:
        return reader(text)
    except ValueError as error:
        raise ConfigError(f"{key}={text}: {error}") from error


def _words(names: Mapping[str, object]) -> str:
    return ", ".join(names) or "none"
