"""What goes along with a value: tags, comment and dates. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from tqmisp.misp.explain import Step
from tqmisp.misp.policy import MappingPolicy
from tqmisp.misp.tags import TAG_CHARACTERS, tag_rules, tlp_of
from tqmisp.misp.text import cut, plain
from tqmisp.model import Indicator, Source

LEFT_OUT = 1_000
"""Names of tags that a caller is told of at most."""


class ContextMaker:
    """Makes tags and comments under a policy.

    Args:
        policy: which context goes along.
        threatq_url: for links back.
        may_make_tags: whether MISP makes tags that it does not know; without it, only ``known_tags`` are sent.
        known_tags: names of the tags that MISP has, in any letter case.
    """

    def __init__(
        self, policy: MappingPolicy, threatq_url: str, *, may_make_tags: bool, known_tags: frozenset[str]
    ) -> None:
        self.left_out: set[str] = set()
        """Names of tags that could not be sent, up to :data:`LEFT_OUT` of them."""
        self._policy = policy
        self._url = threatq_url.rstrip("/")
        self._rules = tag_rules(policy)
        self._known = None if may_make_tags else frozenset(name.casefold() for name in known_tags)
        self._remarks = [text_of for name, text_of in _REMARKS if getattr(policy, name) == "comment"]

    @property
    def remark_fields(self) -> tuple[str, ...]:
        """The fields of an indicator on which TLP and remark depend: of many values, where those of tags have few."""
        policy = self._policy
        optional = {name: getattr(policy, name) == "comment" for name in ("adversaries", "malware", "score")}
        return "sources", "tags", *(name for name, read in optional.items() if read)

    @property
    def tag_fields(self) -> tuple[str, ...]:
        """The fields on which its tags depend, beside its TLP."""
        policy = self._policy
        optional = {
            "sources": policy.sources == "tag",
            "tags": policy.tags == "tag",
            "type": any(own.tags for own in policy.types.values()),
            "score": policy.score in {"tag", "threat-level"},
            "attributes": bool(policy.attribute_tags),
        }
        return "adversaries", "malware", *(name for name, read in optional.items() if read)

    def tags(self, indicator: Indicator, trace: list[Step] | None = None) -> tuple[str, ...]:
        """Make the tags."""
        steps = [] if trace is None else trace
        unique: dict[str, str] = {}
        for step in (step for rule in self._rules for step in rule(indicator)):
            name = step.after
            if not name or len(name) > TAG_CHARACTERS or name.casefold() in unique:
                continue
            if self._may_send(name):
                unique[name.casefold()] = name
                steps.append(step)
            else:
                steps.append(Step("tag_left_out", name, ""))
        return tuple(unique.values())

    def tlp(self, indicator: Indicator) -> str | None:
        """The TLP."""
        return tlp_of(indicator, self._policy)

    def remark(self, indicator: Indicator) -> str:
        """The part of the comment that can be kept for the next indicator of the same kind."""
        return "; ".join([text for text_of in self._remarks if (text := text_of(indicator))])

    def comment(self, indicator: Indicator, shared: str, *, described: bool = True) -> str:
        """The whole comment of one indicator, around what it shares with others; perhaps without its description."""
        policy = self._policy
        parts: list[str] = []
        if policy.attribute_comments:
            wanted = policy.attribute_comments
            parts += [f"{plain(name)}: {plain(value)}" for name, value in indicator.attributes if name in wanted]
        if shared:
            parts.append(shared)
        if policy.link:
            parts.append(f"{self._url}/indicators/{indicator.id}/details")
        rest = "; ".join(parts)
        if described and policy.description and indicator.description:
            room = policy.comment_bytes - len(rest.encode()) - 2
            text = cut(plain(indicator.description), room)
            rest = f"{text}; {rest}" if text and rest else text or rest
        return cut(rest, policy.comment_bytes)

    def _may_send(self, name: str) -> bool:
        if self._known is None or name.casefold() in self._known:
            return True
        if len(self.left_out) < LEFT_OUT:
            self.left_out.add(name)
        return False


@lru_cache(maxsize=4096)
def _listed(label: str, names: tuple[str, ...]) -> str:
    listed = ", ".join(dict.fromkeys(filter(None, map(plain, names))))
    return f"{label}: {listed}" if listed else ""


@lru_cache(maxsize=4096)
def _sources(sources: tuple[Source, ...]) -> str:
    return _listed("Source", tuple([each.name for each in sources]))


_REMARKS: tuple[tuple[str, Callable[[Indicator], str]], ...] = (
    ("adversaries", lambda indicator: _listed("Adversaries", indicator.adversaries)),
    ("malware", lambda indicator: _listed("Malware", indicator.malware)),
    ("tags", lambda indicator: _listed("Tags", indicator.tags)),
    ("sources", lambda indicator: _sources(indicator.sources)),
    ("score", lambda indicator: f"ThreatQ score: {indicator.score:g}"),
)
"""The parts of the comment that are kept: the setting of each, and its text."""


def seen(start: str | None, end: str | None) -> tuple[str | None, str | None]:
    """first_seen and last_seen as MISP wants them: ISO 8601 with zone (recordings 147, 148, 186).

    None for what is no moment since 1970, and for a last that is before the first.
    """
    first = moment(start)
    return first, last_seen(end, first)


def last_seen(end: str | None, first: str | None) -> str | None:
    """last_seen for what was first seen at a moment."""
    last = moment(end)
    return None if first and last and last < first else last


def moment(text: str | None) -> str | None:
    """A moment as MISP wants it; None for what is none since 1970."""
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
        if read.tzinfo is not None:
            read = read.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    if read.year < 1970:
        return None
    if len(text) == 19 and text[7] == "-" and text[10] == " " and text[13] == text[16] == ":":  # the usual form
        return text.replace(" ", "T") + ".000000+00:00"
    return f"{read.isoformat(timespec='microseconds')}+00:00"
