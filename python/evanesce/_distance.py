"""A TCP proxy between a caller and its agents: it delays, holds up, cuts, says things twice, and lets somebody listen.

Not every kernel has netem, so distance and its faults are made in user space: one event loop, no copying beyond the
buffers. Bytes leave it half a round trip after they came, in order, at any rate.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

Tap = Callable[[str, int, bool, bytes], None]
"""Told of every piece that arrives: the agent's name, the connection's number, whether the caller sent it, bytes."""


@dataclass
class _Way:
    """One agent's."""

    host: str
    port: int
    delay: float
    passes: asyncio.Event
    cut: bool = False
    doubled: bool = False
    mirrored: bool = False
    writers: set[asyncio.StreamWriter] = field(default_factory=set)


class Proxy:
    """Proxies for several agents, on a thread of its own; a context manager. `addresses` are where to connect."""

    def __init__(self, targets: Mapping[str, str], round_trip_ms: float = 0.0, tap: Tap | None = None) -> None:
        self._targets = dict(targets)
        self._one_way = round_trip_ms / 2000
        self._tap = tap
        self._ways: dict[str, _Way] = {}
        self._connections = 0
        self.addresses: dict[str, str] = {}
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the proxy did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def hold(self, names: Iterable[str]) -> None:
        """Nothing passes to or from these until `restore`; what was held up passes then."""
        self._tell(names, lambda way: way.passes.clear())

    def cut(self, names: Iterable[str]) -> None:
        """Connections with these break, and new ones do at once, until `restore`."""
        self._tell(names, _cut)

    def slow(self, names: Iterable[str], round_trip_ms: float) -> None:
        """As far away as this, until `restore`."""

        def change(way: _Way) -> None:
            way.delay = round_trip_ms / 2000

        self._tell(names, change)

    def double(self, names: Iterable[str]) -> None:
        """What the caller says arrives twice, one after the other, until `restore`."""

        def change(way: _Way) -> None:
            way.doubled = True

        self._tell(names, change)

    def mirror(self, names: Iterable[str]) -> None:
        """What the caller says is said a second time, over another connection whose answers nobody reads, until
        `restore`."""

        def change(way: _Way) -> None:
            way.mirrored = True

        self._tell(names, change)

    def restore(self, names: Iterable[str]) -> None:
        """As it was in the beginning."""

        def change(way: _Way) -> None:
            way.delay = self._one_way
            way.cut = way.doubled = way.mirrored = False
            way.passes.set()

        self._tell(names, change)

    def _tell(self, names: Iterable[str], change: Callable[[_Way], None]) -> None:
        for name in names:
            self._loop.call_soon_threadsafe(change, self._ways[name])

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
            way = _Way(host, int(port), self._one_way, asyncio.Event())
            way.passes.set()
            self._ways[name] = way
            server = await asyncio.start_server(partial(self._serve, name, way), "127.0.0.1", 0)
            self.addresses[name] = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, name: str, way: _Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        number = self._connections
        way.writers.add(writer)
        try:
            if way.cut:
                return
            try:
                onward_reader, onward_writer = await asyncio.open_connection(way.host, way.port)
            except OSError:
                return
            way.writers.add(onward_writer)
            try:
                await asyncio.gather(
                    self._pump(name, number, True, way, reader, onward_writer),
                    self._pump(name, number, False, way, onward_reader, writer),
                )
            finally:
                way.writers.discard(onward_writer)
                onward_writer.close()
        except asyncio.CancelledError:
            # At the end of all. Left to be raised, the stream protocol's own callback would complain of it.
            return
        finally:
            way.writers.discard(writer)
            writer.close()

    async def _pump(
        self,
        name: str,
        number: int,
        from_caller: bool,
        way: _Way,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
    ) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        deliver = asyncio.create_task(self._deliver(queue, way, sink))
        echo: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                if self._tap is not None:
                    self._tap(name, number, from_caller, data)
                for _ in range(2 if from_caller and way.doubled else 1):
                    queue.put_nowait((self._loop.time() + way.delay, data))
                if from_caller and way.mirrored:
                    echo = await _echoed(way, echo, data)
        queue.put_nowait((self._loop.time() + way.delay, b""))
        if echo is not None:
            echo.close()
        await deliver

    async def _deliver(self, queue: asyncio.Queue[tuple[float, bytes]], way: _Way, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = await queue.get()
                wait = due - self._loop.time()
                if wait > 0:
                    await asyncio.sleep(wait)
                if not way.passes.is_set():
                    await way.passes.wait()
                if not data:
                    break
                sink.write(data)
                await sink.drain()
            sink.close()


def _cut(way: _Way) -> None:
    way.cut = True
    for writer in list(way.writers):
        writer.transport.abort()


async def _echoed(way: _Way, echo: asyncio.StreamWriter | None, data: bytes) -> asyncio.StreamWriter | None:
    """Says it on a way of its own, on a new one where the last was closed."""
    with contextlib.suppress(OSError):
        if echo is None or echo.is_closing():
            _, echo = await asyncio.open_connection(way.host, way.port)
        echo.write(data)
        await echo.drain()
        return echo
    return None
