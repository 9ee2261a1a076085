"""What faults do that can happen to any server."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from aiohttp import web

from tqmisp.simulators.faults.inject import Effect, Strike

PIECES = 8
"""A slow answer comes in so many."""
_LOOK = 0.02
"""Seconds between two looks at whether the client of a stalled request is still there."""
_NO_LINGER = struct.pack("ii", 1, 0)
_PAGE = b"<!doctype html>\n<html><head><title>Please wait</title></head><body>Please wait.</body></html>\n"


async def latency(strike: Strike) -> web.StreamResponse:
    """Answer late."""
    await asyncio.sleep(strike.fault.seconds("for"))
    return await strike.handler(strike.request)


async def slow(strike: Strike) -> web.StreamResponse:
    """Answer in pieces."""
    answer, body = await _worked(strike)
    out = await _begin(strike, answer, body)
    size = max(1, -(-len(body) // PIECES))
    for start in range(0, len(body), size):
        await asyncio.sleep(strike.fault.seconds("pause"))
        await out.write(body[start : start + size])
    await out.write_eof()
    return out


async def stall(strike: Strike) -> web.StreamResponse:
    """Do nothing, and let the client wait."""
    await strike.request.read()
    return await _keep_waiting(strike)


async def stall_after(strike: Strike) -> web.StreamResponse:
    """Do everything, and let the client wait."""
    await strike.handler(strike.request)
    return await _keep_waiting(strike)


async def reset(strike: Strike) -> web.StreamResponse:
    """Reset the connection."""
    return _hang_up(strike.request)


async def reset_after(strike: Strike) -> web.StreamResponse:
    """Do everything, and reset the connection."""
    await strike.handler(strike.request)
    return _hang_up(strike.request)


async def half_answer(strike: Strike) -> web.StreamResponse:
    """Do everything, and end in the middle of the answer."""
    answer, body = await _worked(strike)
    if not body:
        return _hang_up(strike.request)
    out = await _begin(strike, answer, body)
    await out.write(body[: len(body) // 2])
    if strike.request.transport is not None:
        strike.request.transport.close()
    return out


async def html(strike: Strike) -> web.StreamResponse:
    """Answer as a server before this one might, or a captive network."""
    await strike.request.read()
    return web.Response(body=_PAGE, content_type="text/html")


COMMON: dict[str, Effect] = {
    "latency": latency,
    "slow": slow,
    "stall": stall,
    "reset": reset,
    "reset-after": reset_after,
    "half-answer": half_answer,
    "html": html,
}


def refusing(page: Callable[[web.Request], web.Response]) -> Effect:
    """An effect that does nothing, and answers with a page, and with the waits that the fault names."""

    async def refuse(strike: Strike) -> web.StreamResponse:
        await strike.request.read()  # as web servers do before they pass a request on
        answer = page(strike.request)
        for parameter, header in (("retry-after", "Retry-After"), ("reset", "X-Rate-Limit-Reset")):
            if strike.fault.value(parameter) is not None:
                answer.headers[header] = str(strike.fault.value(parameter))
        return answer

    return refuse


def giving_up(page: Callable[[web.Request], web.Response]) -> Effect:
    """An effect that answers with a page at once, and does the work behind it."""

    async def give_up(strike: Strike) -> web.StreamResponse:
        await strike.request.read()

        async def work() -> None:
            await asyncio.sleep(strike.fault.seconds("work"))
            await strike.handler(strike.request)

        strike.behind(work())
        return page(strike.request)

    return give_up


async def _worked(strike: Strike) -> tuple[web.Response, bytes]:
    answer = await strike.handler(strike.request)
    assert isinstance(answer, web.Response)  # noqa: S101  the simulators give no other
    body = answer.body
    return answer, bytes(body) if isinstance(body, (bytes, bytearray)) else b""


async def _begin(strike: Strike, answer: web.Response, body: bytes) -> web.StreamResponse:
    """Send the head of an answer."""
    out = web.StreamResponse(status=answer.status, headers=answer.headers)
    out.content_length = len(body)
    await out.prepare(strike.request)
    return out


async def _keep_waiting(strike: Strike) -> web.StreamResponse:
    for _ in range(int(strike.fault.seconds("for") / _LOOK)):
        if strike.request.transport is None or strike.request.transport.is_closing():
            break
        await asyncio.sleep(_LOOK)
    return _hang_up(strike.request)


def _hang_up(request: web.Request) -> web.StreamResponse:
    """Reset the connection; what is returned reaches nobody."""
    transport = request.transport
    if transport is not None:
        end = transport.get_extra_info("socket")
        if end is not None:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        transport.abort()
    return web.Response()
