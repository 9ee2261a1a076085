"""Everything that is known of one indicator: what ThreatQ has, what it becomes, where it is, and why."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from msgspec import structs

from tqmisp.errors import MispError, ThreatQError
from tqmisp.journal.history import Delivery, History, Refused
from tqmisp.misp import marks
from tqmisp.misp.attribute import Attribute
from tqmisp.misp.compare import changed
from tqmisp.misp.identity import as_text
from tqmisp.misp.mapping import IndicatorMapper
from tqmisp.misp.reading import EventState, MispReader, Whole
from tqmisp.model import Indicator
from tqmisp.pipeline.protocols import Refusal
from tqmisp.threatq.lookup import Found, Lookup


@dataclass(slots=True)
class Held:
    """An attribute as MISP holds it now."""

    link: str
    event_id: int | None
    to_ids: bool
    deleted: bool
    category: str
    value: str
    comment: str
    tags: list[str]
    changed_by_people: list[str]
    """Names of fields that are as we have never sent them."""


@dataclass(slots=True)
class Place:
    """An attribute that the indicator has become on one target."""

    target: str
    uuid: str
    state: str
    """``live``, ``merged``, ``retired``, ``quarantined``, ``planned`` or ``deleted``, as the journal has it."""
    event: str
    """The UUID of the event."""
    info: str
    """The title of the event."""
    owner: int
    """The indicator that lends the attribute its comment and tags; another one where they share it."""
    run: str | None
    """The run that has sent it last."""
    sent_at: str | None
    confirmed: bool
    leaves: str | None
    """The reason why it is about to be withdrawn."""
    misp: Held | None = None
    """None where MISP has none, or was not asked."""


@dataclass(slots=True)
class Subject:
    """One indicator."""

    id: int
    link: str
    indicator: dict[str, Any] | None = None
    """As ThreatQ has it now; None where it has none, or was not asked."""
    selected: bool | None = None
    """Whether the selection takes it; None where that is not known."""
    why_not: dict[str, str] | None = None
    """``code`` and ``reason``."""
    steps: list[dict[str, str]] = field(default_factory=list)
    """The rules of the mapping that have an effect, in their order: ``rule``, ``before`` and ``after``."""
    becomes: dict[str, Any] | None = None
    """The attribute as it would be sent, or None."""
    refused: dict[str, str] | None = None
    """``kind``, ``code`` and ``reason``, where the mapping makes no attribute of it."""
    places: list[Place] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    """What runs have refused, with the target and the run."""


@dataclass(slots=True)
class Dossier:
    """What is known of what was asked for."""

    asked: str
    indicators: list[Subject] = field(default_factory=list)
    not_asked: dict[str, str] = field(default_factory=dict)
    """Why ``threatq`` or ``misp`` could not be asked, so that what they know is missing."""

    def as_json(self) -> dict[str, Any]:
        """The dossier as plain data, in the form that ``explain --json`` prints."""
        found: dict[str, Any] = _spelled(asdict(self))
        return found


class Inquiry:
    """Collects dossiers.

    Args:
        history: what the journal knows.
        lookup: asks ThreatQ.
        reader: looks at MISP.
        mapper: says what indicators become.
        types: the names of all types that the mapping knows.
        threatq_url: for links.
        misp: name and address of the target that ``reader`` looks at.
    """

    def __init__(
        self,
        history: History,
        lookup: Lookup,
        reader: MispReader,
        mapper: IndicatorMapper,
        types: Iterable[str],
        *,
        threatq_url: str,
        misp: tuple[str, str],
    ) -> None:
        self._history = history
        self._lookup = lookup
        self._reader = reader
        self._mapper = mapper
        self._types = list(types)
        self._threatq_url = threatq_url
        self._target, self._misp_url = misp[0], misp[1].rstrip("/")

    async def ask(self, asked: str, *, not_asked: dict[str, str]) -> Dossier:
        """Collect what is known.

        Args:
            asked: a value, the id of an indicator, or the UUID of an attribute of ours.
            not_asked: what cannot be asked; nothing is asked of it.
        """
        dossier = Dossier(asked, not_asked=not_asked)
        found: dict[int, Found | Refusal] = {}
        keys = set(await self._remembered(asked))
        if "threatq" not in not_asked:
            try:
                await self._lookup.prepare()
                found = {each.indicator.id: each for each in await self._lookup.by_value(forms(asked))}
                for key in sorted(keys - found.keys()):
                    row = await self._lookup.by_id(key)
                    if row is not None:
                        found[key] = row
            except ThreatQError as error:
                not_asked["threatq"] = str(error)
        deliveries = await self._history.deliveries(keys | found.keys())
        refusals = await self._history.refusals(keys | found.keys())
        known = found.keys() | {each.key for each in deliveries} | {each.key for each in refusals}
        subjects = {key: self._subject(key, found.get(key)) for key in sorted(known)}
        for refusal in refusals:
            subjects[refusal.key].refusals.append(_refusal(refusal))
        for place, key in await self._places(deliveries, subjects, not_asked):
            subjects[key].places.append(place)
        dossier.indicators = list(subjects.values())
        return dossier

    async def _remembered(self, asked: str) -> list[int]:
        """The indicators that may be meant, as far as that can be told without ThreatQ."""
        if asked.isascii() and asked.isdigit() and int(asked) < 2**63:
            return [int(asked), *await self._of_value(asked)]
        try:
            raw = uuid.UUID(asked).bytes
        except ValueError:
            return await self._of_value(asked)
        return [*await self._history.of_attributes([raw]), *await self._of_value(asked)]

    async def _of_value(self, asked: str) -> list[int]:
        values = forms(asked)
        uuids = set()
        for kind in self._types:
            outcomes = [self._mapper.explain(Indicator(0, kind, value)).outcome for value in values]
            uuids |= {each.uuid for each in outcomes if isinstance(each, Attribute)}
        return [*await self._history.of_attributes(uuids), *await self._history.refused_as(values)]

    def _subject(self, key: int, found: Found | Refusal | None) -> Subject:
        subject = Subject(key, f"{self._threatq_url}/indicators/{key}/details")
        if isinstance(found, Refusal):  # a row that is no indicator
            subject.selected, subject.refused = False, _words(found)
        elif found is not None:
            sources = [source._asdict() for source in found.indicator.sources]
            subject.indicator = structs.asdict(found.indicator) | {"sources": sources}
            subject.selected = found.objection is None
            subject.why_not = found.objection and {"code": found.objection.code, "reason": found.objection.reason}
            explanation = self._mapper.explain(found.indicator)
            subject.steps = [step._asdict() for step in explanation.steps]
            outcome = explanation.outcome
            if isinstance(outcome, Refusal):
                subject.refused = _words(outcome)
            else:
                subject.becomes = orjson.loads(outcome.payload)
        return subject

    async def _places(
        self, deliveries: Sequence[Delivery], subjects: dict[int, Subject], not_asked: dict[str, str]
    ) -> list[tuple[Place, int]]:
        """What the journal and MISP know of attributes, each with the id of its indicator."""
        here = [each for each in deliveries if each.target == self._target]
        expected = {uuid.UUID(each.becomes["uuid"]).bytes: key for key, each in subjects.items() if each.becomes}
        held: dict[bytes, Whole] = {}
        states: dict[str, EventState] = {}
        if "misp" not in not_asked:
            try:
                held = await self._reader.whole([*{each.uuid for each in here} | expected.keys()])
                states = await self._reader.events(list({each.event_uuid for each in held.values()}))
            except MispError as error:
                not_asked["misp"] = str(error)
        places = []
        for each in deliveries:
            in_misp = held.get(each.uuid) if each.target == self._target else None
            place = Place(
                each.target,
                as_text(each.uuid),
                each.state.name.lower(),
                each.event.uuid,
                each.event.info,
                each.owner,
                each.run,
                None if each.promised_at is None else _moment(each.promised_at),
                each.confirmed,
                each.leaves,
                in_misp and self._held(in_misp, states, each.marks),
            )
            places.append((place, each.key))
        remembered = {each.uuid for each in here}
        for raw, key in expected.items():  # of which the journal knows nothing, but MISP does
            if raw in held and raw not in remembered:
                whole = held[raw]
                event = whole.event_uuid, whole.event_info
                place = Place(
                    self._target, as_text(raw), "unknown", *event, key, None, None, confirmed=False, leaves=None
                )
                place.misp = self._held(whole, states, b"")
                places.append((place, key))
        return places

    def _held(self, whole: Whole, states: dict[str, EventState], bases: bytes) -> Held:
        state = states.get(whole.event_uuid)
        sent = marks.unpacked(bases)
        return Held(
            f"{self._misp_url}/events/view/{whole.event_uuid}",
            state.id if state else None,
            whole.to_ids,
            whole.deleted,
            whole.category,
            whole.value,
            whole.comment,
            list(whole.tags),
            changed(whole.marks(), sent) if sent else [],
        )


def forms(asked: str) -> list[str]:
    """How ThreatQ may have a value: as it is given, without blanks and brackets, and without the scheme of a URL."""
    plain = asked.strip()
    for defanged, whole in (("[.]", "."), ("(.)", "."), ("[dot]", "."), ("[:]", ":"), ("[@]", "@"), ("hxxp", "http")):
        plain = plain.replace(defanged, whole)
    bare = plain.partition("://")[2]
    return [each for each in dict.fromkeys((asked, asked.strip(), plain, bare)) if each]


def _refusal(refused: Refused) -> dict[str, Any]:
    return {name: value for name, value in refused._asdict().items() if name != "key"}


def _words(refusal: Refusal) -> dict[str, str]:
    return {"kind": refusal.kind, "code": refusal.code, "reason": refusal.reason}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _spelled(data: Any) -> Any:  # noqa: ANN401  whatever JSON holds
    """The same with lone surrogates spelled out, which JSON cannot hold."""
    if isinstance(data, str):
        return data.encode(errors="backslashreplace").decode()
    if isinstance(data, dict):
        return {name: _spelled(value) for name, value in data.items()}
    return [_spelled(each) for each in data] if isinstance(data, list | tuple) else data
