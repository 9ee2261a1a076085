"""What goes along with a value: tags, comment and dates. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

from tqmisp.misp.explain import Step
from tqmisp.misp.policy import MappingPolicy
from tqmisp.misp.tags import TAG_CHARACTERS, tag_rules, tlp_of
from tqmisp.misp.text import cut, plain
from tqmisp.model import Indicator

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
        self._remarks = [name for name in ("adversaries", "malware", "tags") if getattr(policy, name) == "comment"]

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of an indicator on which tags, TLP and remark depend."""
        policy = self._policy
        names = ["sources", "tags", "adversaries", "malware"]
        if any(own.tags for own in policy.types.values()):
            names.append("type")
        if policy.score != "off":
            names.append("score")
        if policy.attribute_tags:
            names.append("attributes")
        return tuple(names)

    @property
    def tag_fields(self) -> tuple[str, ...]:
        """The fields on which its tags depend, beside its TLP: of few values, where those of comments have many."""
        policy = self._policy
        read_for_tags = {"sources": policy.sources == "tag", "tags": policy.tags == "tag"}
        if policy.score == "comment":
            read_for_tags["score"] = False
        return tuple(name for name in self.fields if read_for_tags.get(name, True))

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
        return "; ".join(self._shared(indicator))

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

    def _shared(self, indicator: Indicator) -> Iterator[str]:
        for field in self._remarks:
            if text := _listed(getattr(indicator, field)):
                yield f"{field.capitalize()}: {text}"
        if self._policy.sources == "comment" and (text := _listed(tuple([each.name for each in indicator.sources]))):
            yield f"Source: {text}"
        if self._policy.score == "comment":
            yield f"ThreatQ score: {indicator.score:g}"


@lru_cache(maxsize=4096)
def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(dict.fromkeys(filter(None, map(plain, names))))


def seen(start: str | None, end: str | None) -> tuple[str | None, str | None]:
    """first_seen and last_seen as MISP wants them: ISO 8601 with zone (recordings 147, 148, 186).

    None for what is no moment since 1970, and for a last that is before the first.
    """
    first, last = _moment(start), _moment(end)
    return first, None if first and last and last < first else last


def _moment(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    if moment.year < 1970:
        return None
    if len(text) == 19 and text[4] == text[7] == "-" and text[10] == " ":  # the usual form, without the detour
        return f"{text[:10]}T{text[11:]}.000000+00:00"
    return f"{moment.isoformat(timespec='microseconds')}+00:00"
