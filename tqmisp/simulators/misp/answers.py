"""The JSON that MISP shows: numbers as strings, flags as booleans, one shape for each route.

MISP indents most answers and writes searches compactly; here all are compact.
"""

from __future__ import annotations

from typing import Any

import orjson

from tqmisp.simulators.misp.accounts import Organisation, User
from tqmisp.simulators.misp.model import Attribute, Event, SharingGroup, Tag, TagLink
from tqmisp.simulators.misp.store import MispStore
from tqmisp.simulators.misp.visibility import sees, sees_attribute
from tqmisp.simulators.misp.warnings import warnings_of

Json = dict[str, Any]


def organisation_json(organisation: Organisation) -> Json:
    """An organisation inside something else."""
    return {"id": str(organisation.id), "name": organisation.name, "uuid": organisation.uuid}


def group_json(store: MispStore, group: SharingGroup) -> Json:
    """A sharing group inside an event or attribute (recording 413)."""
    owner = store.organisations[group.org_id]
    return {
        "id": str(group.id),
        "name": group.name,
        "releasability": group.releasability,
        "description": group.description,
        "uuid": group.uuid,
        "organisation_uuid": owner.uuid,
        "org_id": str(owner.id),
        "sync_user_id": "1",
        "active": group.active,
        "created": group.created,
        "modified": group.created,
        "local": False,
        "roaming": group.roaming,
        "Organisation": organisation_json(owner),
        "SharingGroupOrg": group_members(store, group),
        "SharingGroupServer": [],
    }


def group_members(store: MispStore, group: SharingGroup) -> list[Json]:
    """The organisations in a sharing group."""
    return [
        {
            "id": str(number),
            "sharing_group_id": str(group.id),
            "org_id": str(org_id),
            "extend": True,
            "Organisation": organisation_json(store.organisations[org_id]),
        }
        for number, org_id in enumerate(group.org_ids, start=1)
    ]


def tag_json(tag: Tag) -> Json:
    """A tag on its own (recording 292)."""
    return {
        "id": str(tag.id),
        "name": tag.name,
        "colour": tag.colour,
        "exportable": tag.exportable,
        "org_id": "0",
        "user_id": "0",
        "hide_tag": tag.hide_tag,
        "numerical_value": None,
        "is_galaxy": False,
        "is_custom_galaxy": False,
        "local_only": tag.local_only,
    }


def linked_tag_json(link: TagLink) -> Json:
    """A tag on an event, or on an attribute of a whole event (recordings 21 and 278)."""
    answer = tag_json(link.tag)
    del answer["org_id"]
    return {**answer, "local": link.local, "relationship_type": link.relationship_type or None}


def short_tag_json(tag: Tag) -> Json:
    """A tag in the answer of ``attributes/add`` (recording 282)."""
    return {"id": str(tag.id), "name": tag.name, "colour": tag.colour, "numerical_value": None}


def saved_attribute_json(attribute: Attribute) -> Json:
    """An attribute in the answer of ``attributes/add`` (recording 101)."""
    return {**_attribute(attribute), "value1": attribute.value1, "value2": attribute.value2}


def attribute_json(attribute: Attribute) -> Json:
    """An attribute in the answers of ``attributes/edit`` and ``attributes/view`` (recordings 221 and 225)."""
    answer = _attribute(attribute)
    if attribute.tags:
        answer["Tag"] = [_searched_tag(link) for link in attribute.tags]
    return answer


def _attribute(attribute: Attribute) -> Json:
    value2 = attribute.value2
    return {
        "id": str(attribute.id),
        "event_id": str(attribute.event.id),
        "object_id": "0",
        "object_relation": None,
        "category": attribute.category,
        "type": attribute.type,
        "to_ids": attribute.to_ids,
        "uuid": attribute.uuid,
        "timestamp": str(attribute.timestamp),
        "distribution": str(attribute.distribution),
        "sharing_group_id": str(attribute.sharing_group_id),
        "comment": attribute.comment,
        "deleted": attribute.deleted,
        "disable_correlation": attribute.disable_correlation,
        "first_seen": attribute.first_seen,
        "last_seen": attribute.last_seen,
        "value": f"{attribute.value1}|{value2}" if value2 else attribute.value1,
    }


def searched_attributes(store: MispStore, found: list[Attribute], *, warnings: bool, event_uuid: bool) -> list[Json]:
    """Attributes in the answer of ``attributes/restSearch`` (recording 251)."""
    events: dict[int, orjson.Fragment] = {}
    rows = []
    for attribute in found:
        row = _attribute(attribute)
        event = attribute.event
        shown = events.get(event.id)
        if shown is None:
            shown = events[event.id] = orjson.Fragment(orjson.dumps(_event_of_attribute(event)))
        row["Event"] = shown
        if attribute.tags:
            row["Tag"] = [_searched_tag(link) for link in attribute.tags]
        if event_uuid:
            row["event_uuid"] = event.uuid
        if warnings and (hits := warnings_of(store, attribute)):
            row["warnings"] = hits
        rows.append(row)
    return rows


def _event_of_attribute(event: Event) -> Json:
    return {
        "org_id": str(event.org_id),
        "distribution": str(event.distribution),
        "publish_timestamp": str(event.publish_timestamp),
        "id": str(event.id),
        "info": event.info,
        "orgc_id": str(event.orgc_id),
        "uuid": event.uuid,
    }


def _searched_tag(link: TagLink) -> Json:
    return {**short_tag_json(link.tag), "is_galaxy": False, "local": link.local}


def event_json(
    store: MispStore, user: User, event: Event, *, metadata: bool = False, page: bool = False, deleted: bool = False
) -> Json:
    """An event as ``events/add``, ``edit``, ``view`` and ``restSearch`` show it.

    Args:
        store: where its organisations and related events are.
        user: who looks; what the user may not see is left out.
        event: the event.
        metadata: without attributes.
        page: as ``events/view`` shows it: with hits of warninglists, and with relationships of related events.
        deleted: with soft-deleted attributes.
    """
    answer: Json = {
        "id": str(event.id),
        "orgc_id": str(event.orgc_id),
        "org_id": str(event.org_id),
        "date": event.date,
        "threat_level_id": str(event.threat_level_id),
        "info": event.info,
        "published": event.published,
        "uuid": event.uuid,
        "attribute_count": str(event.attribute_count),
        "analysis": str(event.analysis),
        "timestamp": str(event.timestamp),
        "distribution": str(event.distribution),
        "proposal_email_lock": False,
        "locked": event.locked,
        "publish_timestamp": str(event.publish_timestamp),
        "sharing_group_id": str(event.sharing_group_id),
        "disable_correlation": event.disable_correlation,
        "extends_uuid": event.extends_uuid,
        "protected": None,
    }
    if user.site_admin or (event.orgc_id == user.org_id and user.may("perm_audit")):
        answer["event_creator_email"] = store.emails.get(event.user_id, "")
    for name, org_id in (("Org", event.org_id), ("Orgc", event.orgc_id)):
        organisation = store.organisations[org_id]
        answer[name] = {**organisation_json(organisation), "local": organisation.local}
    if event.distribution == 4 and event.sharing_group_id in store.sharing_groups:
        answer["SharingGroup"] = group_json(store, store.sharing_groups[event.sharing_group_id])
    if not metadata:
        answer["Attribute"] = [
            _attribute_of_event(store, attribute, warnings=page)
            for attribute in event.attributes
            if (deleted or not attribute.deleted) and sees_attribute(store, user, attribute)
        ]
        answer |= {"ShadowAttribute": [], "Object": [], "EventReport": []}
    answer |= {"RelatedEvent": _related(store, user, event, page=page), "Galaxy": [], "CryptographicKey": []}
    if event.tags:
        answer["Tag"] = [linked_tag_json(link) for link in event.tags]
    return {"Event": answer}


def _attribute_of_event(store: MispStore, attribute: Attribute, *, warnings: bool) -> Json:
    answer = _attribute(attribute)
    answer["Galaxy"] = answer["ShadowAttribute"] = []
    if attribute.distribution == 4 and attribute.sharing_group_id in store.sharing_groups:
        answer["SharingGroup"] = group_json(store, store.sharing_groups[attribute.sharing_group_id])
    if attribute.tags:
        answer["Tag"] = [linked_tag_json(link) for link in attribute.tags]
    if warnings and (hits := warnings_of(store, attribute)):
        answer["warnings"] = hits
    return answer


def _related(store: MispStore, user: User, event: Event, *, page: bool) -> list[Json]:
    """Events with a value in common that the user sees (recordings 245 and 277)."""
    related = []
    for number in sorted(event.related):
        other = store.event(number)
        if other is None or not sees(store, user, other):
            continue
        entry: Json = {
            "Event": {
                "id": str(other.id),
                "date": other.date,
                "threat_level_id": str(other.threat_level_id),
                "info": other.info,
                "published": other.published,
                "uuid": other.uuid,
                "analysis": str(other.analysis),
                "timestamp": str(other.timestamp),
                "distribution": str(other.distribution),
                "org_id": str(other.org_id),
                "orgc_id": str(other.orgc_id),
                "Org": organisation_json(store.organisations[other.org_id]),
                "Orgc": organisation_json(store.organisations[other.orgc_id]),
            }
        }
        if page:
            entry["RelationshipInbound"] = []
        related.append(entry)
    return related


def listed_event(store: MispStore, event: Event) -> Json:
    """An event in the answer of ``events/index`` (recording 57)."""
    return {
        "id": str(event.id),
        "org_id": str(event.org_id),
        "date": event.date,
        "info": event.info,
        "uuid": event.uuid,
        "published": event.published,
        "analysis": str(event.analysis),
        "attribute_count": str(event.attribute_count),
        "orgc_id": str(event.orgc_id),
        "timestamp": str(event.timestamp),
        "distribution": str(event.distribution),
        "sharing_group_id": str(event.sharing_group_id),
        "proposal_email_lock": False,
        "locked": event.locked,
        "threat_level_id": str(event.threat_level_id),
        "publish_timestamp": str(event.publish_timestamp),
        "sighting_timestamp": "0",
        "disable_correlation": event.disable_correlation,
        "extends_uuid": event.extends_uuid,
        "protected": None,
        "Org": organisation_json(store.organisations[event.org_id]),
        "Orgc": organisation_json(store.organisations[event.orgc_id]),
        "EventTag": [
            {
                "id": str(link.id),
                "event_id": str(event.id),
                "tag_id": str(link.tag.id),
                "local": link.local,
                "relationship_type": link.relationship_type or "",
                "Tag": {
                    "id": str(link.tag.id),
                    "name": link.tag.name,
                    "colour": link.tag.colour,
                    "is_galaxy": False,
                },
            }
            for link in event.tags
        ],
    }
