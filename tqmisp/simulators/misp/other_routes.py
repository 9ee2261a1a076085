"""Handlers of servers, users, organisations and sharing groups."""

from __future__ import annotations

from typing import Any

from tqmisp.simulators.misp.accounts import PERMISSIONS, Role
from tqmisp.simulators.misp.answers import group_members, organisation_json
from tqmisp.simulators.misp.call import Answer, Call, answer
from tqmisp.simulators.misp.refusals import Refused, SaveFailed
from tqmisp.simulators.misp.visibility import may_use

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
    """``GET /servers/serverSettings[/diagnostics]``: of MISP's long report the version and some settings."""
    php = call.options.php

    def setting(recommended: int, value: int, unit: str, explanation: str) -> dict[str, Any]:
        return {"explanation": explanation, "recommended": recommended, "unit": unit, "value": value}

    report = {
        "version": {"current": f"v{call.options.version}", "newest": None, "upToDate": "error"},
        "phpSettings": {
            "max_execution_time": setting(
                300,
                php["max_execution_time"],
                "seconds",
                "The maximum duration that a script can run (does not affect the background workers). A too low number "
                "will break long running scripts like comprehensive API exports",
            ),
            "memory_limit": setting(
                2048,
                php["memory_limit"],
                "MB",
                "The maximum memory that PHP can consume. It is recommended to raise this number since certain exports "
                "can generate a fair bit of memory usage",
            ),
            "upload_max_filesize": setting(
                50,
                php["upload_max_filesize"],
                "MB",
                "The maximum size that an uploaded file can be. It is recommended to raise this number to allow for "
                "the upload of larger samples",
            ),
            "post_max_size": setting(
                50,
                php["post_max_size"],
                "MB",
                "The maximum size of a POSTed message, this has to be at least the same size as the "
                "upload_max_filesize setting",
            ),
        },
        "finalSettings": [
            {"level": 0, "value": value, "errorMessage": None, "tab": "MISP", "setting": name}
            for name, value in call.options.settings.items()
        ],
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


def taxonomies(call: Call) -> Answer:
    """``GET /taxonomies/index``: not recorded, but after MISP's source."""
    rows = [
        {
            "Taxonomy": {
                "id": str(number),
                "namespace": namespace,
                "description": "",
                "version": "1",
                "enabled": enabled,
                "exclusive": False,
                "required": False,
                "highlighted": False,
            },
            "total_count": 0,
            "current_count": 0,
        }
        for number, (namespace, enabled) in enumerate(call.options.taxonomies.items(), start=1)
    ]
    return answer(rows)


def add_sharing_group(_: Call) -> Answer:
    """``POST /sharing_groups/add``: refused to a sync user (recording 411); make groups in the store."""
    raise SaveFailed("add SharingGroup", "/sharing_groups/add", "Could not save sharing group.")
