"""What an indicator becomes in MISP, or why it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property, lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from typing import NamedTuple, TypeVar

import orjson
from xxhash import xxh3_64_digest

from tqmisp.misp import identity, marks
from tqmisp.misp.attribute import Attribute
from tqmisp.misp.context import ContextMaker, last_seen, moment, seen
from tqmisp.misp.explain import Explanation, Step
from tqmisp.misp.policy import Action, MappingPolicy
from tqmisp.misp.reject import Unstorable
from tqmisp.misp.rescue import Reader
from tqmisp.misp.retire import TOO_STRICT
from tqmisp.misp.screens import Filtered, screens
from tqmisp.misp.types import FALLBACK, MispType
from tqmisp.model import Indicator
from tqmisp.pipeline.protocols import Mapped, Refusal
from tqmisp.tlp import STRICTNESS

CACHED_CONTEXTS = 2_000
"""Combinations of tags, sources and the like that are kept; the indicators of one feed share a few."""
SAMPLE_CHARACTERS = 1_000
"""How much of a refused value is passed on."""

_Kept = TypeVar("_Kept")


class _Remark(NamedTuple):
    """What sources and the like say of many indicators: their TLP, and their comment but for what is each one's own."""

    tlp: str | None
    text: str
    json: bytes
    mark: bytes


class _Tags(NamedTuple):
    """The tags that many indicators have, as they are sent."""

    names: tuple[str, ...]
    json: bytes
    mark: bytes


class IndicatorMapper:
    """Turns indicators into attributes; implements :class:`tqmisp.pipeline.protocols.Mapper`.

    Args:
        space: the namespace of :func:`tqmisp.misp.identity.namespace`.
        policy: which context goes along.
        threatq_url: for links back.
        may_make_tags: whether MISP makes tags that it does not know; without it, only ``known_tags`` are sent.
        known_tags: names of the tags that MISP has.

    Raises:
        ConfigError: the policy cannot be used.
    """

    def __init__(
        self,
        space: bytes,
        policy: MappingPolicy,
        *,
        threatq_url: str,
        may_make_tags: bool = True,
        known_tags: frozenset[str] = frozenset(),
    ) -> None:
        policy.check()
        self._given = [space.hex(), threatq_url, may_make_tags, sorted(known_tags)]
        self._space = space
        self._policy = policy
        self._filings = policy.filings()
        self._reader = Reader(self._filings, frozenset(policy.rescue_off))
        self._context = ContextMaker(policy, threatq_url, may_make_tags=may_make_tags, known_tags=known_tags)
        self._screens = screens(policy)
        self._remark_key = attrgetter(*self._context.remark_fields)
        self._tag_key = attrgetter(*self._context.tag_fields)
        self._kept_remarks: dict[object, _Remark] = {}
        self._kept_tags: dict[object, _Tags] = {}
        self._heads: dict[tuple[MispType, bool], tuple[bytes, bytes]] = {}
        strictest = STRICTNESS.index(policy.max_tlp) if policy.max_tlp else 0
        self._too_strict = frozenset(STRICTNESS[:strictest])
        self._own_comment = bool(policy.attribute_comments or policy.link)

    @cached_property
    def version(self) -> bytes:
        """Changes with everything that decides what an indicator becomes, so that what was mapped need not be again."""
        parts = [
            asdict(self._policy),
            *self._given,
            *map(_installed, ("tqmisp", "pymispgalaxies", "pymispwarninglists")),
        ]
        return sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).digest()

    @property
    def tags_left_out(self) -> frozenset[str]:
        """Names of tags that were not sent, since MISP does not know them and would not make them."""
        return frozenset(self._context.left_out)

    def map(self, items: Sequence[Indicator]) -> Mapped[Attribute]:
        """Turn indicators into attributes, and those that cannot or must not become any into refusals."""
        attributes: list[Attribute] = []
        refusals: list[Refusal] = []
        for indicator in items:
            try:
                attributes.append(self._attribute(indicator))
            except (Unstorable, Filtered) as error:
                refusals.append(_refusal(indicator, error))
        return Mapped(attributes, refusals)

    def explain(self, indicator: Indicator) -> Explanation:
        """Say what one indicator becomes, and which rule made it so."""
        filed = self._filings.get(indicator.type)
        rule = "custom_type" if filed is None else "type"
        if indicator.type in self._policy.types:
            rule = f'types."{indicator.type}"'
        steps = [Step(rule, indicator.type, ", ".join(map(str, filed or FALLBACK)))]
        try:
            attribute = self._attribute(indicator, steps)
        except (Unstorable, Filtered) as error:
            steps.append(Step(error.code, indicator.value[:SAMPLE_CHARACTERS], ""))
            return Explanation(tuple(steps), _refusal(indicator, error))
        return Explanation(tuple(steps), attribute)

    def _attribute(self, indicator: Indicator, trace: list[Step] | None = None) -> Attribute:
        """The attribute of one indicator.

        Raises:
            Unstorable: MISP would refuse it.
            Filtered: MISP must not get it.
        """
        reading = self._reader.read(indicator.type, indicator.value, trace)
        filed, value, rules = reading.filed, reading.value, reading.rules
        tlp, remark, comment_json, comment_mark = self._remark(indicator)
        tags, tags_json, tags_mark = self._tags(indicator, tlp, trace)
        if tlp in self._too_strict:
            raise Filtered(TOO_STRICT, f"It is {tlp}.")
        to_ids = filed.to_ids and self._detects(indicator, trace)
        if self._screens:
            found = self._found(filed.type, value, trace)
            rules = (*rules, *(f"screen_{code}" for code in found))
            to_ids = to_ids and "to_ids" not in found.values()
            if "tag" in found.values():
                _, tags_json, tags_mark = _tags(tuple(dict.fromkeys((*tags, self._policy.screen_tag))))
        if indicator.type not in self._filings:
            rules = (*rules, "custom_type")
        if indicator.description or self._own_comment:
            comment_json = orjson.dumps(self._context.comment(indicator, remark))
            comment_mark = marks.comment_mark(comment_json)
        raw, fold = identity.identify(self._space, filed.type, filed.category, value)
        head_json, head_mark = self._head(filed, to_ids=to_ids)
        dates_json, dates_mark = self._dates(indicator, trace)
        payload = b"".join(
            (
                b'{"uuid":"',
                identity.as_text(raw).encode(),
                head_json,
                orjson.dumps(value),
                b',"comment":',
                comment_json,
                dates_json,
                tags_json,
                b"}",
            )
        )
        if trace is not None and comment_json != b'""':
            trace.append(Step("comment", "", orjson.loads(comment_json)))
        return Attribute(
            indicator.id,
            raw,
            filed.type,
            filed.category,
            value,
            to_ids,
            payload,
            xxh3_64_digest(payload),
            fold,
            marks.packed(head_mark, comment_mark, dates_mark, tags_mark),
            rules,
            0 if rules else indicator.stamp,
        )

    def _remark(self, indicator: Indicator) -> _Remark:
        key = self._remark_key(indicator)
        remark = self._kept_remarks.get(key)
        if remark is None:
            text = self._context.remark(indicator)
            comment = orjson.dumps(self._context.comment(indicator, text, described=False))
            remark = _Remark(self._context.tlp(indicator), text, comment, marks.comment_mark(comment))
            _keep(self._kept_remarks, key, remark)
        return remark

    def _tags(self, indicator: Indicator, tlp: str | None, trace: list[Step] | None) -> _Tags:
        if trace is not None:
            return _tags(self._context.tags(indicator, trace))
        key = tlp, self._tag_key(indicator)
        tags = self._kept_tags.get(key)
        if tags is None:
            tags = _tags(self._context.tags(indicator))
            _keep(self._kept_tags, key, tags)
        return tags

    def _detects(self, indicator: Indicator, trace: list[Step] | None) -> bool:
        """Whether score and status let an indicator be used for detection; a row without status is not held back."""
        policy = self._policy
        rule = ""
        if indicator.score < policy.to_ids_score:
            rule = "to_ids_score"
        elif indicator.status and indicator.status not in policy.to_ids_statuses:
            rule = "to_ids_statuses"
        if rule and trace is not None:
            trace.append(Step(rule, f"{indicator.score:g}, {indicator.status}", "to_ids off"))
        return not rule

    def _found(self, misp_type: str, value: str, trace: list[Step] | None) -> dict[str, Action]:
        """What each screen that finds a value wants to be done.

        Raises:
            Filtered: to drop it.
        """
        found: dict[str, Action] = {}
        for code, action, finds in self._screens:
            if not finds(misp_type, value):
                continue
            if action == "drop":
                raise Filtered(code)
            found[code] = action
            if trace is not None:
                trace.append(Step(code, value, self._policy.screen_tag if action == "tag" else "to_ids off"))
        return found

    def _head(self, filed: MispType, *, to_ids: bool) -> tuple[bytes, bytes]:
        """The parts of payload and marks that all values filed the same way share."""
        head = self._heads.get((filed, to_ids))
        if head is None:
            fields = {"type": filed.type, "category": filed.category, "to_ids": to_ids}
            text = b'",' + orjson.dumps(fields)[1:-1] + b',"value":'
            head = self._heads[filed, to_ids] = text, marks.head_mark(filed.category, to_ids=to_ids)
        return head

    def _dates(self, indicator: Indicator, trace: list[Step] | None) -> tuple[bytes, bytes]:
        start, end = indicator.published_at or indicator.created_at, indicator.expires_at
        if trace is not None and self._policy.dates:
            first, last = seen(start, end)
            trace += [Step("first_seen", start or "", first)] if first else []
            trace += [Step("last_seen", end or "", last)] if last else []
        return _dates(start, end) if self._policy.dates else _NO_DATES


_NO_DATE = marks.date_mark(None)
_NO_DATES = b"", _NO_DATE + _NO_DATE


def _dates(start: str | None, end: str | None) -> tuple[bytes, bytes]:
    """The part of the payload that holds the dates, and its marks."""
    first, text, mark = _first_seen(start)
    last = last_seen(end, first) if end else None
    if last is None:
        return text, mark + _NO_DATE
    return text + f',"last_seen":"{last}"'.encode(), mark + marks.date_mark(last)


@lru_cache(maxsize=4096)
def _first_seen(start: str | None) -> tuple[str | None, bytes, bytes]:
    """What came in together shares it, where each indicator has an end of its own."""
    first = moment(start)
    return first, f',"first_seen":"{first}"'.encode() if first else b"", marks.date_mark(first)


def _tags(names: tuple[str, ...]) -> _Tags:
    text = b',"Tag":' + orjson.dumps([{"name": name} for name in names]) if names else b""
    return _Tags(names, text, marks.tags_mark(names))


def _keep(kept: dict[object, _Kept], key: object, made: _Kept) -> None:
    if len(kept) >= CACHED_CONTEXTS:
        kept.clear()
    kept[key] = made


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _refusal(indicator: Indicator, error: Unstorable | Filtered) -> Refusal:
    kind = "rejected" if isinstance(error, Unstorable) else "filtered"
    return Refusal(indicator.id, kind, error.code, str(error), indicator.type, indicator.value[:SAMPLE_CHARACTERS])
