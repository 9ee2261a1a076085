"""The simulated MISP and the folder that outlives it."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from aiohttp import ClientConnectionError, ClientSession

from tests.simulators.misp import EVENT, OTHER_EVENT, Asker, domain, serving, uuid_of
from tqmisp.simulators.misp import DEFAULT_KEY, MispStore, key_of

HEADERS = {"Authorization": DEFAULT_KEY, "Accept": "application/json", "Content-Type": "application/json"}


async def do_everything(misp: Asker) -> None:
    """Change the state in each way that there is."""
    tagged = domain("a.example", uuid_of(1), Tag=[{"name": "tq:new", "colour": "#123456"}], comment="é\x00\u202e")
    unusual = domain("b.example", uuid_of(2), first_seen="2024-01-01", distribution=0, disable_correlation=True)
    pair = {"type": "filename|md5", "value": f"x.exe|{'b' * 32}", "uuid": uuid_of(3)}
    event = {"uuid": EVENT, "info": "one", "Tag": [{"name": "tlp:red"}], "Attribute": [tagged, unusual, pair]}
    await misp.post("/events/add", {"Event": event})
    partner = {"name": "Partner", "uuid": "44444444-aaaa-4bbb-8ccc-000000000001"}
    await misp.post("/events/add", {"Event": {"uuid": OTHER_EVENT, "info": "two", "Orgc": partner}})
    await misp.post("/events/add", {"Event": {"info": "shared", "Attribute": [domain("a.example", uuid_of(4))]}})
    await misp.post(
        f"/events/edit/{EVENT}", {"Event": {"info": "edited", "Attribute": [domain("c.example", uuid_of(5))]}}
    )
    await misp.post(f"/attributes/add/{EVENT}", [domain("d.example", uuid_of(6)), domain("d.example")])
    await misp.post(f"/attributes/edit/{uuid_of(5)}", {"value": "changed.example"})
    await misp.post(f"/attributes/delete/{uuid_of(2)}")
    await misp.post(f"/attributes/delete/{uuid_of(6)}/1")
    await misp.post("/tags/attachTagToObject", {"uuid": uuid_of(3), "tag": "tq:newer"})
    await misp.post("/events/publish/3")
    doomed = "11111111-aaaa-4bbb-8ccc-000000000003"
    await misp.post("/events/add", {"Event": {"uuid": doomed, "info": "x", "Attribute": [domain("e.example")]}})
    await misp.send("DELETE", f"/events/delete/{doomed}")
    await misp.send("POST", "/events/add", {"Event": {"info": "half", "Attribute": [domain("f.example"), POISON]}})


POISON = domain("poison.example", comment="😀")


async def everything(misp: Asker) -> list[Any]:
    """All that can be read."""
    seen = [await misp.send("GET", f"/events/view/{number}", Authorization=key_of("admin")) for number in range(1, 7)]
    found = await misp.post("/attributes/restSearch", {"deleted": [0, 1]})
    tags = await misp.send("GET", "/tags/index")
    again = await misp.send(
        "POST", "/events/add", {"Event": {"uuid": "11111111-aaaa-4bbb-8ccc-000000000003", "info": "x"}}
    )
    return [*((reply.status, reply.body) for reply in seen), found, tags.body, (again.status, again.body["message"])]


async def test_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """Whatever was answered before is answered in the same way by a new process on the same folder."""
    store = MispStore(tmp_path)
    async with serving(store) as misp:
        await do_everything(misp)
        before = await everything(misp)
    store.close()
    assert before[-1] == (403, "Event blocked by event blocklist.")
    store = MispStore(tmp_path)
    async with serving(store) as misp:
        assert await everything(misp) == before
        added = await misp.post(f"/attributes/add/{EVENT}", domain("next.example", Tag=[{"name": "tlp:red"}]))
        known = [row["id"] for row in before[6]["response"]["Attribute"]]
        assert int(added["Attribute"]["id"]) > max(map(int, known))  # ids go on
    store.close()


async def test_forgets_a_line_that_was_not_written_to_its_end(tmp_path: Path) -> None:
    """A write that was cut off loses that request only, and the log can be gone on with."""
    store = MispStore(tmp_path)
    async with serving(store) as misp:
        await misp.event(rows=[domain("a.example")])
        await misp.event(OTHER_EVENT, [domain("b.example")])
    store.close()
    log = tmp_path / "changes.jsonl"
    os.truncate(log, log.stat().st_size - 10)
    for _ in range(2):
        store = MispStore(tmp_path)
        async with serving(store) as misp:
            assert [event.uuid for event in store.events()][:1] == [EVENT]
            await misp.post(f"/attributes/add/{EVENT}", domain(f"{store.stored_count()}.example"))
        store.close()
    store = MispStore(tmp_path)
    assert [attribute.value for attribute in store.attributes(EVENT)] == ["a.example", "1.example", "2.example"]
    store.close()


async def test_a_full_disk_costs_the_request_that_filled_it_and_no_other(tmp_path: Path) -> None:
    """Nothing of a half-written line stays in the way of those that come after it."""
    store, log = MispStore(tmp_path), tmp_path / "changes.jsonl"
    async with serving(store) as misp:
        await misp.event(rows=[domain("a.example")])
        _, hard = limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 100, hard))
        try:
            refused = await misp.send("POST", f"/attributes/add/{EVENT}", domain("b.example", comment="long" * 100))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert refused.status == 500
        before = log.read_bytes()
        assert before.endswith(b"\n")
        await misp.post(f"/attributes/add/{EVENT}", domain("c.example"))
        assert log.read_bytes().startswith(before)
    store.close()
    store = MispStore(tmp_path)
    assert {"a.example", "c.example"} <= {attribute.value for attribute in store.attributes(EVENT)}
    store.close()


SERVER = """
import asyncio, sys
from pathlib import Path
from aiohttp import web
from tqmisp.simulators.misp import MispStore, create_app

async def main():
    runner = web.AppRunner(create_app(MispStore(Path(sys.argv[1]))))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_server_has_lost_nothing_that_was_answered(tmp_path: Path) -> None:
    """SIGKILL at any moment: each answered edit is there, and none is there by half."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    answered = 0
    async with ClientSession(f"http://127.0.0.1:{port}", headers=HEADERS) as session:

        async def write(number: int) -> None:
            nonlocal answered
            rows = [domain(f"{row}.part{number}.example") for row in range(50)]
            body = {"Event": {"uuid": EVENT, "Attribute": rows}}
            async with session.post(f"/events/edit/{EVENT}/metadata:1", json=body) as response:
                assert response.status == 200
                answered += 1
                if answered == 5:
                    process.send_signal(signal.SIGKILL)

        async with session.post("/events/add", json={"Event": {"uuid": EVENT, "info": "x"}}) as response:
            assert response.status == 200
        results = await asyncio.gather(*(write(number) for number in range(40)), return_exceptions=True)
    await process.wait()
    lost = [result for result in results if result is not None]
    assert all(isinstance(result, ClientConnectionError) for result in lost)
    store = MispStore(tmp_path)
    stored = len(store.attributes(EVENT))
    store.close()
    assert answered >= 5
    assert stored % 50 == 0
    assert answered * 50 <= stored <= 40 * 50
