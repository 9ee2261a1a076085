"""Who sees and may change what.

Read in MISP 2.5.1: ``Event::createEventConditions``, ``MispAttribute::buildConditions``, ``ACLComponent``.
"""

from __future__ import annotations

from tqmisp.simulators.misp.accounts import User
from tqmisp.simulators.misp.model import Attribute, Event
from tqmisp.simulators.misp.php import whole
from tqmisp.simulators.misp.store import MispStore


def may_use(store: MispStore, user: User, group_id: object) -> bool:
    """Whether the user is in a sharing group, or may use any."""
    group = store.sharing_groups.get(whole(group_id))
    if group is None:
        return False
    return user.site_admin or user.org_id in group.org_ids or user.org_id == group.org_id


def sees(store: MispStore, user: User, event: Event) -> bool:
    """Whether an event is there for the user."""
    if event.org_id == user.org_id or 0 < event.distribution < 4 or user.site_admin:
        return True
    return event.distribution == 4 and may_use(store, user, event.sharing_group_id)


def sees_attribute(store: MispStore, user: User, attribute: Attribute) -> bool:
    """Whether an attribute of an event that the user sees is there, too."""
    if attribute.distribution in {1, 2, 3, 5} or attribute.event.org_id == user.org_id or user.site_admin:
        return True
    return attribute.distribution == 4 and may_use(store, user, attribute.sharing_group_id)


def may_modify(user: User, event: Event) -> bool:
    """Whether the user may change an event."""
    return (
        user.site_admin
        or (user.may("perm_modify_org") and event.orgc_id == user.org_id)
        or (user.may("perm_modify") and event.user_id == user.id)
    )


def may_publish(user: User, event: Event) -> bool:
    """Whether the user may publish an event."""
    return user.site_admin or (user.may("perm_publish") and event.orgc_id == user.org_id)
