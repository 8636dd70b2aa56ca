"""Send many requests to a server and say how long each took. A process of its own, so that it slows nobody's clock.

    python benchmarks/server_load.py < task.json

A task has `url`, `headers`, and either `requests` ([method, path, body or null]…), `connections` and `count` or
`seconds`; or `streams` ([path, how often]…) and `until`: the text of the event that is waited for.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from urllib.parse import urlsplit


async def main(task: dict[str, Any]) -> dict[str, Any]:
    """Do a task."""
    return await (listen(task) if "streams" in task else ask(task))


async def ask(task: dict[str, Any]) -> dict[str, Any]:
    """The same requests over and over, each connection one at a time."""
    prepared = [_prepare(task, *each) for each in task["requests"]]
    taken: list[float] = []
    failed: dict[str, int] = {}
    size = 0
    turn = iter(range(task.get("count") or sys.maxsize))
    start = time.perf_counter()
    until = start + task["seconds"] if task.get("seconds") else float("inf")

    async def work() -> None:
        nonlocal size
        reader, writer = await _connect(task)
        for index in turn:
            began = time.perf_counter()
            if began > until:
                break
            writer.write(prepared[index % len(prepared)])
            status, body = await _answer(reader)
            taken.append(time.perf_counter() - began)
            size = len(body)
            if status >= 300:
                failed[f"{status} {body[:300].decode()}"] = (
                    failed.get(f"{status} {body[:300].decode()}", 0) + 1
                )
        writer.close()

    await asyncio.gather(*(work() for _ in range(task["connections"])))
    return {"seconds": time.perf_counter() - start, "taken": taken, "failed": failed, "size": size}


async def listen(task: dict[str, Any]) -> dict[str, Any]:
    """Open event streams, say so on stdout, and note when each has the event that was waited for."""
    wanted = task["until"].encode()
    opened, ended = 0, []
    events = 0
    everyone = sum(often for _, often in task["streams"])
    all_open = asyncio.Event()

    async def hear(path: str) -> None:
        nonlocal opened, events
        reader, writer = await _connect(task)
        writer.write(_prepare(task, "GET", path, None))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0], head
        await reader.readline()
        opened += 1
        if opened == everyone:
            all_open.set()
        kept = b""
        while True:
            part = await reader.read(1 << 16)
            if not part:
                break
            events += part.count(b"event: ")
            kept = kept[-len(wanted) :] + part
            if wanted in kept:
                ended.append(time.time())
                break
        writer.close()

    tasks = [asyncio.create_task(hear(path)) for path, often in task["streams"] for _ in range(often)]
    await asyncio.wait_for(all_open.wait(), 120)
    print("open", flush=True)
    await asyncio.wait_for(asyncio.gather(*tasks), 300)
    return {"ended": ended, "events": events}


async def _connect(task: dict[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    where = urlsplit(task["url"])
    return await asyncio.open_connection(where.hostname, where.port, limit=1 << 24)


def _prepare(task: dict[str, Any], method: str, path: str, body: str | None) -> bytes:
    content = (body or "").encode()
    headers = {"Host": urlsplit(task["url"]).netloc, **task["headers"]}
    if body is not None:
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + content


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    at = lower.find(b"content-length:")
    assert at >= 0, head
    length = int(lower[at + 15 : lower.index(b"\r\n", at)])
    return int(head[9:12]), await reader.readexactly(length)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.load(sys.stdin)))))
