"""A small transaction-pooling PostgreSQL proxy: what PgBouncer does to sessions, in threads.

Each client keeps its own connection to the proxy; a server session is lent to it from its first
message until the server says ReadyForQuery outside a transaction, then it goes back to the pool,
where the last one returned is the first one lent. So session state (SET, advisory locks,
prepared statements, temporary tables) leaks from one client to the next and is lost to its owner.
https://www.pgbouncer.org/features.html
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg import conninfo, pq

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
PARAMETERS = (
    "server_version",
    "server_encoding",
    "client_encoding",
    "application_name",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
    "is_superuser",
    "session_authorization",
)


@dataclass
class ServerSession:
    """One real session; libpq logged it in, and only its socket is used from then on."""

    pgconn: pq.abc.PGconn
    socket: socket.socket


@dataclass
class Pooler:
    """A running proxy.

    Attributes:
        host: where it listens.
        port: where it listens.
        lent: the backend pids in the order in which they were lent to clients.
    """

    parameters: dict[str, Any]
    host: str = "127.0.0.1"
    port: int = 0
    lent: list[int] = field(default_factory=list)
    _idle: list[ServerSession] = field(default_factory=list)
    _all: list[ServerSession] = field(default_factory=list)
    _clients: list[socket.socket] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def django_settings(self, database: dict[str, Any]) -> dict[str, Any]:
        """Return a DATABASES entry that goes through the proxy."""
        return {**database, "HOST": self.host, "PORT": str(self.port)}

    def serve(self, listener: socket.socket) -> None:
        """Accept clients until the listening socket is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            # Else each answer waits 40 ms for the client's delayed acknowledgement.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._clients.append(client)
            threading.Thread(target=self._client, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Drop every client and every server session."""
        with self._lock:
            for client in self._clients:
                _shut(client)
            for session in self._all:
                _shut(session.socket)
                session.pgconn.finish()
            self._all.clear()
            self._idle.clear()

    # Server sessions

    def _borrow(self) -> ServerSession:
        with self._lock:
            session = self._idle.pop() if self._idle else None
        if session is None:
            text = conninfo.make_conninfo(
                "", **{**self.parameters, "sslmode": "disable", "gssencmode": "disable"}
            )
            pgconn = pq.PGconn.connect(text.encode())
            if pgconn.status != pq.ConnStatus.OK:
                raise ConnectionError(pgconn.error_message.decode())
            wire = socket.socket(fileno=os.dup(pgconn.socket))
            wire.setblocking(True)
            session = ServerSession(pgconn, wire)
            with self._lock:
                self._all.append(session)
        self.lent.append(session.pgconn.backend_pid)
        return session

    def _give_back(self, session: ServerSession) -> None:
        with self._lock:
            self._idle.append(session)

    def _drop(self, session: ServerSession) -> None:
        with self._lock:
            if session in self._all:
                self._all.remove(session)
                _shut(session.socket)
                session.pgconn.finish()

    # Clients

    def _client(self, client: socket.socket) -> None:
        try:
            with client:
                if self._greet(client):
                    self._relay(client)
        except (ConnectionError, OSError, ValueError):
            # The proxy ends and closes its sessions: select() then finds a descriptor of -1.
            return

    def _greet(self, client: socket.socket) -> bool:
        while True:
            (length,) = struct.unpack("!I", _exactly(client, 4))
            body = _exactly(client, length - 4)
            (code,) = struct.unpack("!I", body[:4])
            if code in (SSL_REQUEST, GSS_REQUEST):
                client.sendall(b"N")
            elif code == CANCEL_REQUEST:
                return False
            else:
                break
        session = self._borrow()
        reply = _message(b"R", struct.pack("!I", 0))
        for name in PARAMETERS:
            value = session.pgconn.parameter_status(name.encode())
            if value is not None:
                reply += _message(b"S", name.encode() + b"\0" + value + b"\0")
        reply += _message(b"K", struct.pack("!II", os.getpid() & 0x7FFFFFFF, client.fileno()))
        self._give_back(session)
        client.sendall(reply + _message(b"Z", b"I"))
        return True

    def _relay(self, client: socket.socket) -> None:
        session: ServerSession | None = None
        owed = 0  # ReadyForQuery messages that the server still has to send
        try:
            while True:
                sources = [client] if session is None else [client, session.socket]
                for source in select.select(sources, [], [])[0]:
                    kind, message = _read_message(source)
                    if source is client:
                        if kind == b"X":
                            return
                        if session is None:
                            session = self._borrow()
                        owed += kind in (b"Q", b"S", b"F")
                        session.socket.sendall(message)
                        continue
                    owed -= kind == b"Z"
                    done = kind == b"Z" and message[-1:] == b"I" and owed == 0
                    if done and session is not None:
                        # Before the client learns of it: its next query must not come first.
                        self._give_back(session)
                        session = None
                    client.sendall(message)
                    if done:
                        break
        finally:
            # The client left in the middle of a transaction: the session is of no more use.
            if session is not None:
                self._drop(session)


@contextmanager
def transaction_pooler(**parameters: Any) -> Iterator[Pooler]:
    """Run a proxy in front of a server until the block ends.

    Args:
        parameters: how to log in to the real server: host, port, user, password, dbname.
    """
    known = {"host", "port", "user", "password", "dbname"}
    pooler = Pooler({name: value for name, value in parameters.items() if name in known})
    listener = socket.create_server((pooler.host, 0))
    pooler.port = listener.getsockname()[1]
    thread = threading.Thread(target=pooler.serve, args=(listener,), daemon=True)
    thread.start()
    try:
        yield pooler
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        pooler.close()


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _read_message(source: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(source, 5)
    (length,) = struct.unpack("!I", head[1:])
    return head[:1], head + _exactly(source, length - 4)


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = source.recv(count - len(data))
        if not part:
            raise ConnectionError("the other side is gone")
        data += part
    return data


def _shut(wire: socket.socket) -> None:
    try:
        wire.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    finally:
        wire.close()
