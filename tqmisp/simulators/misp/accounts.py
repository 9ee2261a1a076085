"""Organisations, roles and users of a simulated MISP.

The roles are those of a fresh MISP 2.5.1; the organisations and the addresses of users are those of the recorded rig.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PERMISSIONS = (
    "perm_add",
    "perm_modify",
    "perm_modify_org",
    "perm_publish",
    "perm_delegate",
    "perm_sync",
    "perm_admin",
    "perm_audit",
    "perm_auth",
    "perm_site_admin",
    "perm_regexp_access",
    "perm_tagger",
    "perm_template",
    "perm_sharing_group",
    "perm_tag_editor",
    "perm_sighting",
    "perm_object_template",
    "perm_publish_zmq",
    "perm_publish_kafka",
    "perm_decaying",
    "perm_galaxy_editor",
    "perm_warninglist",
    "perm_view_feed_correlations",
    "perm_analyst_data",
    "perm_skip_otp",
)

_WRITES = ("perm_auth", "perm_tagger", "perm_sighting", "perm_decaying", "perm_analyst_data", "perm_audit", "perm_add")
_OWN = (*_WRITES, "perm_modify")
_ORGANISATION = (*_OWN, "perm_modify_org")
_PUBLISHES = (*_ORGANISATION, "perm_publish", "perm_delegate", "perm_publish_zmq", "perm_publish_kafka")


@dataclass(frozen=True, slots=True)
class Role:
    """What a user may do."""

    id: int
    name: str
    permissions: frozenset[str]
    rate_limit: int | None = None
    """Searches that a user of this role may make in 15 minutes; None where the role enforces no limit."""
    memory_limit: str | None = None
    max_execution_time: str | None = None


ROLES = {
    role.name: role
    for role in (
        Role(1, "admin", frozenset(PERMISSIONS) - {"perm_skip_otp"}),
        Role(
            2,
            "Org Admin",
            frozenset((*_PUBLISHES, "perm_admin", "perm_template", "perm_sharing_group", "perm_tag_editor"))
            | {"perm_galaxy_editor"},
        ),
        Role(3, "User", frozenset(_ORGANISATION)),
        Role(4, "Publisher", frozenset(_PUBLISHES)),
        Role(
            5,
            "Sync user",
            frozenset((*_PUBLISHES, "perm_sync", "perm_sharing_group", "perm_tag_editor", "perm_galaxy_editor")),
        ),
        Role(6, "Read Only", frozenset({"perm_auth", "perm_audit"})),
    )
}
"""The roles of a fresh MISP, by name."""


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation that the server knows."""

    id: int
    name: str
    uuid: str
    local: bool = True
    type: str = ""
    description: str | None = None
    created: str = "2024-01-01 00:00:00"
    created_by: int = 1


HOST = Organisation(
    1,
    "ORGNAME",
    "aae438f3-802e-4ceb-b619-d5b281195225",
    type="ADMIN",
    description="Automatically generated admin organisation",
)
OURS = Organisation(2, "ThreatQ Export", "7c1e7d3a-9d1e-4a53-8a3e-0f1d2c3b4a59")


@dataclass(frozen=True, slots=True)
class User:
    """A user with one auth key.

    Attributes:
        key: 40 letters and digits.
        read_only: the key may only read, whatever the role says (recordings 309 and 310).
        expiration: ISO date with zone; the key is refused from then on (recordings 312 and 313).
        allowed_ips: the key works from these addresses only; empty: from all (recording 311).
    """

    id: int
    email: str
    role: Role
    organisation: Organisation
    key: str = field(repr=False)
    read_only: bool = False
    expiration: str | None = None
    allowed_ips: tuple[str, ...] = ()
    disabled: bool = False

    def may(self, permission: str) -> bool:
        """Whether role and key allow it."""
        if self.read_only and permission not in {"perm_auth", "perm_audit"}:
            return False
        return permission in self.role.permissions

    @property
    def site_admin(self) -> bool:
        """Whether nothing is hidden from this user."""
        return self.may("perm_site_admin")

    @property
    def org_id(self) -> int:
        """The id of the user's organisation."""
        return self.organisation.id


def key_of(role: str) -> str:
    """The key of the default user with a role: the role's name, filled up to 40 letters and digits."""
    return role.replace(" ", "").ljust(40, "0")


def default_users() -> tuple[User, ...]:
    """One user for each role of a fresh MISP; all but the site admin belong to our organisation."""
    return (
        User(1, "admin@admin.test", ROLES["admin"], HOST, key_of("admin")),
        User(2, "sync@threatq.test", ROLES["Sync user"], OURS, key_of("Sync user")),
        User(3, "user@threatq.test", ROLES["User"], OURS, key_of("User")),
        User(4, "publisher@threatq.test", ROLES["Publisher"], OURS, key_of("Publisher")),
        User(5, "orgadmin@threatq.test", ROLES["Org Admin"], OURS, key_of("Org Admin")),
        User(6, "readonly@threatq.test", ROLES["Read Only"], OURS, key_of("Read Only")),
    )
