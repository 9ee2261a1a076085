"""What follows for each indicator from what is known of it. In memory; what is to be written waits for the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec import Struct

from tqmisp.journal.held import Held
from tqmisp.journal.holders import Place
from tqmisp.journal.leaving import REPLACED
from tqmisp.journal.mappable import Mappable
from tqmisp.journal.positions import Positions, Read
from tqmisp.journal.rows import Found, Known, Merged, Owner
from tqmisp.journal.schema import STALE, WITHDRAWN, State
from tqmisp.journal.series import Series
from tqmisp.journal.tally import Tally
from tqmisp.model import Change, EventRef, Planned
from tqmisp.pipeline.protocols import Mapped, Page, Refusal


class Decisions:
    """Those of one run on one target.

    Args:
        series: gives new attributes their events.
        now: the clock, in seconds since 1970.

    Attributes:
        tally: what became of the indicators so far.
        held: what is decided and not written yet.
        positions: how far the parts of the source are accounted for.
        refused_before: kind and code of refusals, by indicator.
    """

    def __init__(self, series: Series, now: Callable[[], float]) -> None:
        self.tally = Tally()
        self.held = Held()
        self.positions = Positions()
        self.refused_before: dict[int, tuple[str, str]] = {}
        self._series = series
        self._now = now
        self._unconfirmed: dict[bytes, _Busy] = {}  # decided about and not yet confirmed, by UUID
        self._looks: list[Look] = []  # pages that are looked up and not decided about yet
        self._sharing: dict[bytes, list[int]] = {}  # who has merged with what is not confirmed yet, by UUID
        self._former: dict[bytes, int] = {}  # whose attribute another indicator is about to take over
        self._deferred: list[_Late] = []  # to take over, as soon as the present owner is confirmed
        self._orphans: set[Place] = set()  # merged with an attribute that there is no more

    @property
    def has_put_off(self) -> bool:
        """Whether indicators are to take over attributes that were on their way; the next page decides about them."""
        return bool(self._deferred)

    def look(self, page: Page[object], mapped: Mapped[Mappable]) -> Look:
        """Begin to look up a page; whatever happens until it is decided about is noted in what this returns."""
        late = [each for each in self._deferred if each.attribute.uuid not in self._unconfirmed]
        self._deferred = [each for each in self._deferred if each.attribute.uuid in self._unconfirmed]
        wanted = [(each.key, each.uuid) for each in (*mapped.items, *(each.attribute for each in late))]
        gone = {refusal.key: refusal for refusal in (*page.refusals, *mapped.refusals) if refusal.key >= 0}
        look = Look(page, mapped, late, wanted, gone)
        self._looks.append(look)
        return look

    def decide(self, look: Look) -> Mapping[EventRef, Sequence[Planned]]:
        """Sort the attributes of a page into those that need no delivery and those that do, by event."""
        tally, page = self.tally, look.page
        tally.read += len(page.items) + len(page.refusals) + len(page.recognised)
        tally.unchanged += len(page.recognised)
        self.note([*page.refusals, *look.mapped.refusals])
        batch = _Batch(int(self._now()), self.positions.read(page.position), {})
        for attribute in look.mapped.items:
            for rule in attribute.rescued:
                tally.rescued[rule] += 1
            self._decide(attribute, look, batch)
        for attribute, read in look.late:
            tally.merged -= 1  # it was counted when it was deferred
            self._decide(attribute, look, batch._replace(read=read))
            if read is not None:
                read.outstanding -= 1
        self._part(look)
        self.held.pages += 1
        self._looks.remove(look)
        return batch.groups

    def _decide(self, attribute: Mappable, look: Look, batch: _Batch) -> None:
        """What an indicator needs, from what is known of it and of whoever has the same attribute."""
        key, uuid = place = attribute.key, attribute.uuid
        busy = self._unconfirmed.get(uuid) or look.confirmed.get(uuid)
        row = look.found.known.get(place)
        if busy is not None and busy.key == key:
            self.tally.unchanged += 1  # the same row again, from two parts of the source that overlap
        elif busy is not None:  # also where this one has owned it: the other is about to take it over
            if key < busy.key:
                self._deferred.append(_Late(attribute, batch.read))
                if batch.read is not None:
                    batch.read.outstanding += 1  # until it has taken the attribute over, its page is not done with
            else:
                self._sharing.setdefault(uuid, []).append(key)
            self._merge(attribute, busy.event, row, look)
        elif row is not None and row.state != State.MERGED:
            self._again(attribute, row, batch)
        elif (other := look.found.owners.get(uuid)) is not None:
            self._share(attribute, other, batch, row, look)
        else:
            if row is not None:  # whoever it shared the attribute with was never delivered, and has gone
                self._orphans.add(place)
            self._plan(attribute, self._series.place(attribute.fold), batch.now, Change.CREATE, batch)

    def _again(self, attribute: Mappable, row: Known, batch: _Batch) -> None:
        """Decide about an indicator that has become the same attribute before."""
        same = row.fingerprint == attribute.fingerprint and row.stamp != STALE
        ref = self._series.refs[row.event_id]
        # newer than what MISP has by a second at least, or MISP takes it for a repetition
        newer = max(batch.now, row.timestamp + 1)
        before = self.refused_before.get(attribute.key)
        if row.state == State.DELETED:
            self.tally.refuse("filtered", "deleted_in_misp")
        elif row.state == State.PLANNED:
            change = Change.REPAIR if row.stamp == STALE else Change.RETRY
            self._plan(attribute, ref, row.timestamp if same else max(batch.now, row.timestamp), change, batch)
        elif row.state in WITHDRAWN:
            self._plan(attribute, ref, newer, Change.REVIVE, batch, row.marks)
        elif same and (before is not None or row.state == State.QUARANTINED):
            self.tally.refuse(*(before or ("quarantined", "refused_by_misp")))
        elif same:
            self.tally.unchanged += 1
            if attribute.stamp not in {0, row.stamp}:
                self.held.stamps[attribute.key, attribute.uuid] = attribute.stamp
        elif row.state == State.QUARANTINED:
            self._plan(attribute, ref, newer, Change.RETRY, batch)
        else:
            self._plan(attribute, ref, newer, Change.UPDATE, batch, row.marks)

    def _share(self, attribute: Mappable, owner: Owner, batch: _Batch, own: Known | None, look: Look) -> None:
        """Decide about an indicator whose attribute another one has: of all that share it, the lowest id owns it."""
        row = owner.row
        if row.state == State.DELETED:
            self.tally.refuse("filtered", "deleted_in_misp")
        elif row.state == State.QUARANTINED:
            self.tally.refuse(*self.refused_before.get(owner.key, ("quarantined", "refused_by_misp")))
        elif row.state == State.LIVE and owner.key < attribute.key:
            self._merge(attribute, row.event_id, own, look)
        else:
            if own is not None or (attribute.key, attribute.uuid) in look.merged:
                self._orphans.add((attribute.key, attribute.uuid))
            self._former[attribute.uuid] = owner.key
            change = Change.TAKEOVER if row.state == State.LIVE else Change.RETRY
            change = Change.REVIVE if row.state in WITHDRAWN else change
            self.tally.merged += change == Change.TAKEOVER
            base = b"" if change == Change.RETRY else row.marks
            timestamp = max(batch.now, row.timestamp + 1)
            self._plan(attribute, self._series.refs[row.event_id], timestamp, change, batch, base)

    def _plan(  # noqa: PLR0917
        self, attribute: Mappable, ref: EventRef, timestamp: int, change: Change, batch: _Batch, base: bytes = b""
    ) -> None:
        key, uuid, mark, fold = attribute.key, attribute.uuid, attribute.fingerprint, attribute.fold
        body = b'%b,"timestamp":"%d"}' % (attribute.payload[:-1], timestamp)
        stamp = attribute.stamp
        batch.plan(ref, Planned(key, uuid, mark, fold, timestamp, change, body, attribute.marks, base, False, stamp))
        self._unconfirmed[uuid] = _Busy(key, ref.number, batch.read)

    def _merge(self, attribute: Mappable, event_id: int, own: Known | None, look: Look) -> None:
        self.tally.merged += 1
        place = attribute.key, attribute.uuid
        if self.refused_before.pop(attribute.key, None) is not None:
            self.held.forgiven.append(attribute.key)
        if own is not None:
            if own.stamp == STALE:
                self.held.stamps[place] = 0  # somebody has the attribute after all
        elif place not in look.merged:
            self.held.merged[place] = Merged(*place, attribute.fingerprint, attribute.fold, event_id)

    def _part(self, look: Look) -> None:
        """Note the attributes of a page's indicators that have no reason to be in MISP any more."""
        if not look.found.known and not look.listed:
            return
        held, stay = self.held, set(look.wanted)
        held.back |= look.listed & stay
        for place, row in look.found.known.items():
            if place in stay:
                continue
            refusal = look.gone.get(place[0])
            if row.state == State.LIVE:
                held.leaving[place] = (
                    ("filtered", REPLACED, "", "")
                    if refusal is None
                    else (refusal.kind, refusal.code, refusal.label, refusal.status)
                )
            elif row.state in {State.MERGED, State.QUARANTINED, State.PLANNED}:
                held.drops.add(place)
                if row.state != State.MERGED or row.stamp == STALE:  # the owner, or who was to become it
                    held.heirless.add(row.uuid)

    def note(self, refused: Iterable[Refusal]) -> None:
        """Count refusals, and keep those that are not the operator's own choice, and possibly most of what is read."""
        for refusal in refused:
            self.tally.refuse(refusal.kind, refusal.code)
            if refusal.kind != "filtered":
                self.held.refused.append(refusal)

    def refuse(self, item: Planned, refusal: Refusal) -> None:
        """Note that MISP does not take an attribute, from whoever shares it."""
        sharing = self._sharing.get(item.uuid, ())
        self.tally.merged -= len(sharing) + (item.change == Change.TAKEOVER)  # as which they were counted when read
        for key in (item.key, *sharing):
            self.note([refusal._replace(key=key)])
            self.refused_before[key] = (refusal.kind, refusal.code)

    def take_held(self) -> Held:
        """What is to be written now; taken before the thread of the database gets it, which works at the same time."""
        held, self.held = self.held, Held()
        for look in self._looks:
            look.merged.update(held.merged)
        return held

    def take_former(self, items: Sequence[Planned]) -> dict[bytes, int]:
        """The present owners of attributes that are about to be taken over; they are forgotten here."""
        return {item.uuid: self._former.pop(item.uuid) for item in items if item.uuid in self._former}

    def take_orphans(self, items: Sequence[Planned]) -> set[Place]:
        """Those that shared attributes which there are no more; they are forgotten here."""
        orphans = self._orphans.intersection((item.key, item.uuid) for item in items) if self._orphans else set()
        self._orphans -= orphans
        return orphans

    def confirmed(self, items: Sequence[Planned]) -> None:
        """Note that it is known, and written, what became of these."""
        for item in items:
            self._sharing.pop(item.uuid, None)
            busy = self._unconfirmed.pop(item.uuid, None)
            if busy is None:
                continue
            for look in self._looks:
                look.confirmed[item.uuid] = busy
            if busy.read is not None:
                busy.read.outstanding -= 1


@dataclass(slots=True, eq=False)
class Look:
    """What is known of a page, and what has become known since it was looked up.

    Whatever was on its way then counts as on its way until the page is decided about: what was read of it is too old.
    """

    page: Page[object]
    mapped: Mapped[Mappable]
    late: list[_Late]
    """Indicators of earlier pages that are decided about along with this one."""
    wanted: list[Place]
    """All that are decided about."""
    gone: dict[int, Refusal]
    """Indicators of the page that have become none."""
    listed: set[Place] = field(default_factory=set)
    """Those that are about to be withdrawn."""
    found: Found = field(default_factory=lambda: Found({}, {}))
    confirmed: dict[bytes, _Busy] = field(default_factory=dict)
    """By UUID."""
    merged: set[Place] = field(default_factory=set)
    """Indicators that got rows, since they share attributes of others."""


class _Busy(Struct, frozen=True, gc=False):
    """An attribute that was decided about and is not confirmed yet."""

    key: int
    event: int
    read: Read | None
    """The page that it came with."""


class _Late(NamedTuple):
    """An indicator that is to take over an attribute which was on its way."""

    attribute: Mappable
    read: Read | None
    """The page that it came with."""


class _Batch(NamedTuple):
    """What becomes of the page at hand."""

    now: int
    read: Read | None
    groups: dict[EventRef, list[Planned]]

    def plan(self, ref: EventRef, item: Planned) -> None:
        """Note something to deliver."""
        self.groups.setdefault(ref, []).append(item)
        if self.read is not None:
            self.read.outstanding += 1
