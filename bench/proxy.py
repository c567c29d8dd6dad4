"""A TCP proxy that delays: bytes leave it half a round trip after they came, in order, at any rate.

Not every kernel has netem, so distance is made in user space: one event loop, no copying beyond the buffers.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Mapping


class DelayingProxy:
    """Proxies for several agents, on a thread of its own; a context manager. `addresses` are where to connect."""

    def __init__(self, targets: Mapping[str, str], round_trip_ms: float) -> None:
        self._targets = dict(targets)
        self._one_way = round_trip_ms / 2000
        self.addresses: dict[str, str] = {}
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="delaying-proxy", daemon=True)

    def __enter__(self) -> DelayingProxy:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the proxy did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._ready.set()
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        # Awaited, so that what they were cancelled in is nobody's unread exception.
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def _listen(self) -> None:
        for name, target in self._targets.items():
            host, port = target.rsplit(":", 1)
            server = await asyncio.start_server(
                lambda r, w, host=host, port=port: self._serve(r, w, host, int(port)), "127.0.0.1", 0
            )
            self.addresses[name] = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
        try:
            onward_reader, onward_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pump(reader, onward_writer), self._pump(onward_reader, writer))

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        deliver = asyncio.create_task(self._deliver(queue, sink))
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                queue.put_nowait((self._loop.time() + self._one_way, data))
        queue.put_nowait((self._loop.time() + self._one_way, b""))
        await deliver

    async def _deliver(self, queue: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = await queue.get()
                wait = due - self._loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                if not data:
                    break
                sink.write(data)
                await sink.drain()
            sink.close()
