"""Warninglists: known good addresses."""

from __future__ import annotations

import ipaddress
from typing import Any

from tqmisp.simulators.misp.model import Attribute
from tqmisp.simulators.misp.store import MispStore

_ADDRESSES = {"ip-src", "ip-dst", "ip-src|port", "ip-dst|port", "domain|ip"}


def warnings_of(store: MispStore, attribute: Attribute) -> list[dict[str, Any]]:
    """The entries of warninglists that an attribute trips over, as MISP shows them (recordings 267 and 277)."""
    if not store.warninglists or attribute.type not in _ADDRESSES:
        return []
    value = attribute.value2 if attribute.type == "domain|ip" else attribute.value1
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return []
    return [
        {
            "match": block,
            "value": value,
            "warninglist_id": str(warninglist.id),
            "warninglist_name": warninglist.name,
            "warninglist_category": warninglist.category,
        }
        for warninglist in store.warninglists
        for block in warninglist.blocks
        if address in ipaddress.ip_network(block)
    ]
