"""Handlers of tags, users, servers, organisations and sharing groups."""

from __future__ import annotations

from typing import Any

from tqmisp.simulators.misp import tags
from tqmisp.simulators.misp.accounts import PERMISSIONS, Role
from tqmisp.simulators.misp.answers import group_members, organisation_json, tag_json
from tqmisp.simulators.misp.attributes import is_uuid
from tqmisp.simulators.misp.call import Answer, Call, answer, saved
from tqmisp.simulators.misp.filters import wanted
from tqmisp.simulators.misp.model import Attribute, Event, Tag
from tqmisp.simulators.misp.php import empty, text, whole
from tqmisp.simulators.misp.refusals import Refused, SaveFailed, ServerFault
from tqmisp.simulators.misp.visibility import may_use, sees, sees_attribute

_INSTANCE = "5f0c7d0e-1111-4222-8333-444455556666"
_SETUP = "2024-01-01 00:00:00"
_SETUP_TIME = "1704067200"
_PERMISSION_LEVELS = ("read only", "manage own", "manage organisation", "publish")


def version(call: Call) -> Answer:
    """``GET /servers/getVersion`` (recordings 1 and 2)."""
    user = call.user
    return answer(
        {
            "version": call.options.version,
            "pymisp_recommended_version": call.options.version,
            **{
                name: user.may(name)
                for name in ("perm_sync", "perm_sighting", "perm_galaxy_editor", "perm_analyst_data")
            },
            "uuid": _INSTANCE if user.may("perm_sync") else "-",
            "request_encoding": ["gzip"],
            "filter_sightings": True,
        }
    )


def diagnostics(call: Call) -> Answer:
    """``GET /servers/serverSettings[/diagnostics]``: of MISP's long report the version and PHP's settings."""

    def setting(recommended: int, value: int, unit: str, explanation: str) -> dict[str, Any]:
        return {"explanation": explanation, "recommended": recommended, "unit": unit, "value": value}

    report = {
        "version": {"current": f"v{call.options.version}", "newest": None, "upToDate": "error"},
        "phpSettings": {
            "max_execution_time": setting(
                300,
                300,
                "seconds",
                "The maximum duration that a script can run (does not affect the background workers). A too low number "
                "will break long running scripts like comprehensive API exports",
            ),
            "memory_limit": setting(
                2048,
                512,
                "MB",
                "The maximum memory that PHP can consume. It is recommended to raise this number since certain exports "
                "can generate a fair bit of memory usage",
            ),
            "upload_max_filesize": setting(
                50,
                50,
                "MB",
                "The maximum size that an uploaded file can be. It is recommended to raise this number to allow for "
                "the upload of larger samples",
            ),
            "post_max_size": setting(
                50,
                50,
                "MB",
                "The maximum size of a POSTed message, this has to be at least the same size as the "
                "upload_max_filesize setting",
            ),
        },
    }
    return answer(report, headers={"Content-Disposition": 'attachment; filename="MISP.report.json"'})


def view_user(call: Call) -> Answer:
    """``GET /users/view/me`` (recording 4)."""
    if call.args not in (["me"], [str(call.user.id)]):
        raise Refused(404, "Invalid user")
    user, organisation = call.user, call.user.organisation
    return answer(
        {
            "User": {
                "id": str(user.id),
                "password": "*****",
                "org_id": str(organisation.id),
                "email": user.email,
                "autoalert": False,
                "invited_by": "1",
                "gpgkey": "",
                "certif_public": "",
                "nids_sid": "2224930",
                "termsaccepted": True,
                "newsread": "0",
                "role_id": str(user.role.id),
                "change_pw": False,
                "contactalert": False,
                "disabled": user.disabled,
                "expiration": None,
                "current_login": "0",
                "last_login": "0",
                "force_logout": False,
                "date_created": _SETUP_TIME,
                "date_modified": _SETUP_TIME,
                "sub": None,
                "external_auth_required": False,
                "external_auth_key": "",
                "last_api_access": str(call.store.time()),
                "notification_daily": False,
                "notification_weekly": False,
                "notification_monthly": False,
                "totp": "*****",
                "hotp_counter": None,
                "last_pw_change": _SETUP_TIME,
                "totp_is_set": "0",
            },
            "Role": _role_json(user.role),
            "UserSetting": [],
            "Organisation": {
                **organisation_json(organisation),
                "date_created": organisation.created,
                "date_modified": organisation.created,
                "description": organisation.description,
                "type": organisation.type,
                "nationality": "",
                "sector": "",
                "created_by": str(organisation.created_by),
                "contacts": None,
                "local": organisation.local,
                "restricted_to_domain": None,
                "landingpage": None,
            },
        }
    )


def _role_json(role: Role) -> dict[str, Any]:
    rights = {name: name in role.permissions for name in PERMISSIONS}
    level = next(
        number
        for number, name in ((3, "perm_publish"), (2, "perm_modify_org"), (1, "perm_add"), (0, ""))
        if not name or name in role.permissions
    )
    return {
        "id": str(role.id),
        "name": role.name,
        "created": _SETUP,
        "modified": _SETUP,
        **rights,
        "default_role": role.name == "User",
        "memory_limit": role.memory_limit,
        "max_execution_time": role.max_execution_time,
        "restricted_to_site_admin": False,
        "enforce_rate_limit": role.rate_limit is not None,
        "rate_limit_count": str(role.rate_limit or 0),
        "permission": str(level),
        "permission_description": _PERMISSION_LEVELS[level],
    }


def organisations(call: Call) -> Answer:
    """``GET /organisations/index``: the local ones (recording 303)."""
    users = list({user.id: user.organisation.id for user in call.options.users}.values())  # one may have many keys
    shown = [
        {
            "Organisation": {
                **organisation_json(organisation),
                "date_created": organisation.created,
                "date_modified": organisation.created,
                "description": organisation.description,
                "type": organisation.type,
                "nationality": "",
                "sector": "",
                "contacts": None,
                "local": True,
                "restricted_to_domain": None,
                "landingpage": None,
                "user_count": str(users.count(organisation.id)),
            }
        }
        for organisation in call.store.organisations.values()
        if organisation.local
    ]
    return answer(shown)


def sharing_groups(call: Call) -> Answer:
    """``GET /sharing_groups/index``: those that the user's organisation may use (recording 412)."""
    store = call.store
    shown = [
        {
            "SharingGroup": {
                "id": str(group.id),
                "uuid": group.uuid,
                "name": group.name,
                "description": group.description,
                "releasability": group.releasability,
                "local": False,
                "active": group.active,
                "roaming": group.roaming,
                "org_count": str(len(group.org_ids)),
            },
            "Organisation": organisation_json(store.organisations[group.org_id]),
            "SharingGroupOrg": group_members(store, group),
            "SharingGroupServer": [],
            "editable": call.user.org_id == group.org_id or call.user.org_id in group.org_ids,
            "deletable": call.user.org_id == group.org_id,
        }
        for group in store.sharing_groups.values()
        if may_use(store, call.user, group.id)
    ]
    return answer({"response": shown})


def add_sharing_group(_: Call) -> Answer:
    """``POST /sharing_groups/add``: refused to a sync user (recording 411); make groups in the store."""
    raise SaveFailed("add SharingGroup", "/sharing_groups/add", "Could not save sharing group.")


def attach_tag(call: Call) -> Answer:
    """``POST /tags/attachTagToObject {"uuid", "tag"}`` (recordings 283 to 286)."""
    target, kind = _target(call)
    sent = _tag_sent(call)
    known = _find_tag(call, sent)
    tag = known or (tags.make(call.store, sent) if call.user.may("perm_tag_editor") and not sent.isdecimal() else None)
    if tag is None:
        raise _tag_failed("Tag not found and insufficient privileges to create it.")
    links = list(target.tags or ())
    if not tags.attach(call.store, "event" if kind == "Event" else "attribute", links, tag, {}):
        return _tag_saved(
            f"{kind} already has the requested tag attached, no changes had to be made for tag {tag.name}."
        )
    target.tags = links
    _touch(call, target)
    return _tag_saved(f"Global tag {tag.name}({tag.id}) successfully attached to {kind}({target.id}).")


def remove_tag(call: Call) -> Answer:
    """``POST /tags/removeTagFromObject {"uuid", "tag"}`` (recording 287)."""
    target, kind = _target(call)
    tag = _find_tag(call, _tag_sent(call))
    if tag is None:
        raise Refused(405, "Invalid Tag.")
    links = list(target.tags or ())
    link = tags.linked(links, tag)
    if link is None:
        raise Refused(404, f"Could not remove tag as it is not attached to the target {kind}")
    links.remove(link)
    target.tags = links
    _touch(call, target)
    message = f"Global tag {tag.name} ({tag.id}) successfully removed from {kind}({target.id})."
    return saved(message, "/tags/removeTagFromObject")


def _tag_saved(message: str) -> Answer:
    return saved(message, "/tags/attachTagToObject")


def _tag_failed(message: str) -> SaveFailed:
    return SaveFailed("attachTagToObject Tag", "/tags/attachTagToObject", message)


def _tag_sent(call: Call) -> str:
    sent = call.args[1] if len(call.args) > 1 else call.fields("Tag").get("tag")
    if empty(sent):
        raise Refused(405, "Invalid tag")
    return text(sent).strip()


def _find_tag(call: Call, sent: str) -> Tag | None:
    return call.store.tags.get(whole(sent)) if sent.isdecimal() else call.store.tag_named(sent)


def _target(call: Call) -> tuple[Event | Attribute, str]:
    """What is to be tagged.

    Raises:
        Refused: it is not there, or another organisation's.
        ServerFault: what was sent is not a UUID.
    """
    uuid = call.args[0] if call.args else call.fields("Tag").get("uuid")
    if empty(uuid):
        raise Refused(405, "Invalid object uuid")
    if not is_uuid(uuid):
        raise ServerFault
    target: Event | Attribute | None = call.store.event(text(uuid)) or call.store.attribute(text(uuid))
    event = target.event if isinstance(target, Attribute) else target
    if target is None or event is None or not sees(call.store, call.user, event):
        raise Refused(404, "Invalid Target.")
    if isinstance(target, Attribute) and not sees_attribute(call.store, call.user, target):
        raise Refused(404, "Invalid Target.")
    if not call.user.site_admin and event.orgc_id != call.user.org_id:
        raise Refused(
            403,
            "Cannot alter the tags of this data, only the organisation that has created the data (orgc) can modify "
            "global tags.",
        )
    return target, type(target).__name__


def _touch(call: Call, target: Event | Attribute) -> None:
    now = call.store.time()
    event = target.event if isinstance(target, Attribute) else target
    if isinstance(target, Attribute):
        target.timestamp = now
        call.store.touch_attribute(target)
    event.unpublish(now)
    call.store.put_event(event)


def search_tags(call: Call) -> Answer:
    """``POST /tags/search {"tag"}`` or ``GET /tags/search/<name>``; a colon in the path hides it (recording 288)."""
    data = call.data
    sent = data.get("tag", data) if isinstance(data, dict) and data else data or (call.args[0] if call.args else "")
    want = wanted([text(one) for one in (sent if isinstance(sent, list) else [sent])])
    found = sorted((tag for tag in call.store.tags.values() if want.takes(tag.name)), key=lambda tag: tag.id)
    return answer([{"Tag": tag_json(tag), **(tag.taxonomy or {})} for tag in found])


def list_tags(call: Call) -> Answer:
    """``GET /tags/index``, by name, with the number of events and attributes that carry each (recording 291)."""
    counts = {number: [0, 0] for number in call.store.tags}
    for event in call.store.events():
        for link in event.tags:
            counts[link.tag.id][0] += 1
        for attribute in event.attributes:
            for link in attribute.tags or ():
                counts[link.tag.id][1] += 1
    shown = []
    for tag in sorted(call.store.tags.values(), key=lambda tag: tag.name.lower()):
        events, attributes = counts[tag.id]
        shown.append(
            {**tag_json(tag), "favourite": False, **_listed(tag), "count": events, "attribute_count": attributes}
        )
    return answer({"Tag": shown})


def _listed(tag: Tag) -> dict[str, Any]:
    """The taxonomy of a tag as the list of tags shows it."""
    taxonomy, predicate = ((tag.taxonomy or {}).get(name) for name in ("Taxonomy", "TaxonomyPredicate"))
    if not isinstance(taxonomy, dict) or not isinstance(predicate, dict):
        return {}
    return {"Taxonomy": {**taxonomy, "expanded": predicate["expanded"]}}


def add_tag(call: Call) -> Answer:
    """``POST /tags/add {"name", "colour"}``; a known name gives the known tag (recording 294)."""
    fields = call.fields("Tag")
    name = text(fields.get("name"))
    tag = call.store.tag_named(name) or tags.make(call.store, name, text(fields.get("colour")) or None)
    if tag is None:
        raise Refused(405, "Could not add the Tag. [name]: This field is required.")
    return answer({"Tag": tag_json(tag)})
