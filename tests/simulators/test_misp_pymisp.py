"""MISP's own client works with the simulated MISP."""

from __future__ import annotations

import asyncio

from aiohttp.test_utils import TestServer
from pymisp import MISPAttribute, MISPEvent, PyMISP

from tqmisp.simulators.misp import DEFAULT_KEY, MispStore, create_app


def use(url: str) -> tuple[MISPEvent, list[str], str]:
    """Do with PyMISP what people do."""
    misp = PyMISP(url, DEFAULT_KEY, ssl=False)
    event = MISPEvent()
    event.info = "from PyMISP"
    event.add_tag("tlp:green")
    event.add_attribute("domain", "Evil.example", comment="one")
    event.add_attribute("ip-dst", "192.0.2.7")
    added = misp.add_event(event, pythonify=True)
    assert isinstance(added, MISPEvent)
    found = misp.search("attributes", eventid=added.uuid, pythonify=True)
    assert isinstance(found, list)
    values = [attribute.value for attribute in found if isinstance(attribute, MISPAttribute)]
    misp.publish(added)
    read = misp.get_event(added.uuid, pythonify=True)
    assert isinstance(read, MISPEvent)
    version = misp.misp_instance_version
    assert isinstance(version, dict)
    return read, values, str(version["version"])


async def test_pymisp_adds_searches_and_reads() -> None:
    """PyMISP connects, adds an event with a tag, finds its attributes, publishes it and gets it back."""
    async with TestServer(create_app(MispStore())) as server:
        event, values, version = await asyncio.to_thread(use, str(server.make_url("/")))
    assert version == "2.5.1"
    assert values == ["evil.example", "192.0.2.7"]
    assert event.info == "from PyMISP"
    assert event.published
    assert [tag.name for tag in event.tags] == ["tlp:green"]
    assert [attribute.comment for attribute in event.attributes] == ["one", ""]
