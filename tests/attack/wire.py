"""The agents' TLS and HTTP/2 a second time, from docs/agent-api.md alone: what somebody speaks who has stolen a key.

Neither side judges whom it speaks to: an attacker does not care, and who is asked for a certificate shows its own.
"""

from __future__ import annotations

import contextlib
import datetime
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import cbor2
import h2.config
import h2.connection
import h2.events
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from OpenSSL import SSL

SECONDS = 10.0
"""For a handshake, or an answer."""

Handler = Callable[[str, bytes], tuple[int, bytes]]
"""Path and body of a request; status and body of its answer."""


class TurnedAway(Exception):
    """The other side closed, or answered with a problem; `code` of that, or `closed`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


def _context(key: Ed25519PrivateKey) -> SSL.Context:
    name = x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, None)
    )
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.use_privatekey(key)
    context.use_certificate(certificate)
    context.set_alpn_protos([b"h2"])
    context.set_alpn_select_callback(lambda _, offered: b"h2" if b"h2" in offered else SSL.NO_OVERLAPPING_PROTOCOLS)
    return context


class _Stream:
    """HTTP/2 over TLS over a socket: events in, whatever is owed out."""

    def __init__(self, plain: socket.socket, context: SSL.Context, *, client: bool) -> None:
        plain.settimeout(SECONDS)
        self._plain, self._client = plain, client
        self._tls = SSL.Connection(context, plain)
        (self._tls.set_connect_state if client else self._tls.set_accept_state)()
        self._patiently(self._tls.do_handshake)
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding="utf-8"))
        self.http.initiate_connection()
        self.flush()

    def _patiently(self, call: Callable[..., Any], *arguments: Any) -> Any:
        # A socket with a time-out does not block, and OpenSSL says which way it waits.
        while True:
            try:
                return call(*arguments)
            except SSL.WantReadError:
                self._await()
            except SSL.WantWriteError:
                select.select([], [self._plain], [], SECONDS)
            except (SSL.Error, OSError, ValueError) as e:
                # The last where this side has closed meanwhile.
                raise TurnedAway("closed", str(e)) from e

    def _await(self) -> None:
        # A listener waits for as long as the other side likes.
        if not select.select([self._plain], [], [], SECONDS if self._client else None)[0]:
            raise TurnedAway("closed", "no answer in time")

    def flush(self) -> None:
        data = self.http.data_to_send()
        while data:
            data = data[self._patiently(self._tls.send, data) :]

    def events(self) -> Iterator[h2.events.Event]:
        """Of what arrives next. Raises `TurnedAway` at the end."""
        data = self._patiently(self._tls.recv, 1 << 16)
        for event in self.http.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            yield event
        self.flush()

    def send(self, stream: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Both at once: what is sent here is smaller than any window."""
        self.http.send_headers(stream, headers)
        size = self.http.max_outbound_frame_size
        pieces = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
        for place, piece in enumerate(pieces, 1):
            self.http.send_data(stream, piece, end_stream=place == len(pieces))
        self.flush()

    def close(self) -> None:
        self._plain.close()


class Way:
    """To an agent, as whoever has this key. A context manager."""

    def __init__(self, address: str, key: Ed25519PrivateKey) -> None:
        host, port = address.rsplit(":", 1)
        plain = socket.create_connection((host, int(port)), SECONDS)
        try:
            self._stream = _Stream(plain, _context(key), client=True)
        except BaseException:
            plain.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def post(self, path: str, body: Any) -> Any:
        """What it answers, decoded. Raises `TurnedAway`."""
        stream = self._stream.http.get_next_available_stream_id()
        headers = [(":method", "POST"), (":scheme", "https"), (":authority", "agent"), (":path", path)]
        self._stream.send(stream, [*headers, ("content-type", "application/cbor")], cbor2.dumps(body, canonical=True))
        answer, status = b"", ""
        while True:
            for event in self._stream.events():
                match event:
                    case h2.events.ResponseReceived(stream_id=of) if of == stream:
                        status = dict(event.headers)[":status"]
                    case h2.events.DataReceived(stream_id=of) if of == stream:
                        answer += event.data
                    case h2.events.StreamEnded(stream_id=of) if of == stream:
                        if status != "200":
                            raise TurnedAway(**cbor2.loads(answer))
                        return cbor2.loads(answer)
                    case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                        raise TurnedAway("closed", str(event))


class Listener:
    """Answers in an agent's place, with its key; a thread for each connection. A context manager."""

    def __init__(self, address: str, key: Ed25519PrivateKey, handler: Handler) -> None:
        host, port = address.rsplit(":", 1)
        self._context, self._handler = _context(key), handler
        self._socket = socket.create_server((host, int(port)))
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for plain in list(self._open):
            with contextlib.suppress(OSError):
                plain.shutdown(socket.SHUT_RDWR)
        self._thread.join(SECONDS)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._socket.accept()
                self._open.add(plain)
                threading.Thread(target=self._serve, args=[plain], daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(TurnedAway, OSError), plain:
            stream = _Stream(plain, self._context, client=False)
            asked: dict[int, tuple[str, bytearray]] = {}
            while True:
                for event in stream.events():
                    match event:
                        case h2.events.RequestReceived():
                            asked[event.stream_id] = (dict(event.headers)[":path"], bytearray())
                        case h2.events.DataReceived() if event.stream_id in asked:
                            asked[event.stream_id][1].extend(event.data)
                        case h2.events.StreamEnded() if event.stream_id in asked:
                            path, body = asked.pop(event.stream_id)
                            status, answer = self._handler(path, bytes(body))
                            stream.send(event.stream_id, [(":status", str(status))], answer)
                        case h2.events.ConnectionTerminated():
                            return
