"""Which handler answers which path, and what a role needs for it.

Permissions are those of MISP 2.5.1's ``ACLComponent``. A path that is not here is an action that MISP does not have, or
that only a site admin may use: both are refused to others in the same words (recordings 16 and 362).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tqmisp.simulators.misp import attribute_routes, event_routes, event_search, other_routes, search, tag_routes
from tqmisp.simulators.misp.call import Answer, Call

ANYONE = ""
SITE_ADMIN = "perm_site_admin"


@dataclass(frozen=True, slots=True)
class Route:
    """One action of a controller.

    Attributes:
        handler: gives the answer.
        permission: that the role needs; empty: none.
        writes: whether it changes something.
        limited: whether it counts against the rate limit of a role.
    """

    handler: Callable[[Call], Answer]
    permission: str = ANYONE
    writes: bool = False
    limited: bool = False


def _write(handler: Callable[[Call], Answer], permission: str) -> Route:
    return Route(handler, permission, writes=True)


ROUTES: dict[tuple[str, str], Route] = {
    ("events", "add"): _write(event_routes.add, "perm_add"),
    ("events", "edit"): _write(event_routes.edit, "perm_add"),
    ("events", "populate"): _write(event_routes.populate, "perm_add"),
    ("events", "publish"): _write(event_routes.publish, "perm_publish"),
    ("events", "unpublish"): _write(event_routes.unpublish, "perm_modify"),
    ("events", "delete"): _write(event_routes.delete, "perm_add"),
    ("events", "togglecorrelation"): _write(event_routes.toggle_correlation, "perm_add"),
    ("events", "checkuuid"): Route(event_routes.checkuuid, "perm_sync"),
    ("events", "view"): Route(event_routes.view),
    ("events", "index"): Route(event_search.index),
    ("events", "restsearch"): Route(event_search.events, limited=True),
    ("attributes", "add"): _write(attribute_routes.add, "perm_add"),
    ("attributes", "edit"): _write(attribute_routes.edit, "perm_add"),
    ("attributes", "editfield"): _write(attribute_routes.edit_field, "perm_add"),
    ("attributes", "delete"): _write(attribute_routes.delete, "perm_add"),
    ("attributes", "deleteselected"): _write(attribute_routes.delete_selected, "perm_add"),
    ("attributes", "restore"): _write(attribute_routes.restore, "perm_add"),
    ("attributes", "view"): Route(attribute_routes.view),
    ("attributes", "describetypes"): Route(attribute_routes.describe_types),
    ("attributes", "restsearch"): Route(search.attributes, limited=True),
    ("tags", "attachtagtoobject"): _write(tag_routes.attach_tag, "perm_tagger"),
    ("tags", "removetagfromobject"): _write(tag_routes.remove_tag, "perm_tagger"),
    ("tags", "add"): _write(tag_routes.add_tag, "perm_tag_editor"),
    ("tags", "search"): Route(tag_routes.search_tags),
    ("tags", "index"): Route(tag_routes.list_tags),
    ("servers", "getversion"): Route(other_routes.version, "perm_auth"),
    ("servers", "serversettings"): Route(other_routes.diagnostics, SITE_ADMIN),
    ("users", "view"): Route(other_routes.view_user),
    ("organisations", "index"): Route(other_routes.organisations),
    ("sharing_groups", "index"): Route(other_routes.sharing_groups),
    ("taxonomies", "index"): Route(other_routes.taxonomies),
    ("sharing_groups", "add"): _write(other_routes.add_sharing_group, "perm_sharing_group"),
}
"""By controller and action, in lower case."""

CONTROLLERS = frozenset(
    [
        "attributes",
        "auth_keys",
        "decaying_model",
        "event_blocklists",
        "event_reports",
        "events",
        "feeds",
        "galaxies",
        "jobs",
        "logs",
        "news",
        "noticelists",
        "object_templates",
        "objects",
        "organisations",
        "roles",
        "servers",
        "shadow_attributes",
        "sharing_groups",
        "sightings",
        "tags",
        "taxonomies",
        "templates",
        "user_settings",
        "users",
        "warninglists",
        "workflows",
    ]
)
"""Those that MISP has; anything else is "Not Found" (recording 15)."""
