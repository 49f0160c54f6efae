"""
The clients of the soak: what they do to a server, and what they make of its answers.

A load is a number of slots. Each opens a connection, behaves in one of the ways below, and begins anew.
Every byte that comes back is compared with the one that was sent, whatever becomes of the connection.

=============  ===========================================================  ==========================
behaviour      what the client does                                         what it demands
=============  ===========================================================  ==========================
converse       sends, reads, thinks, and closes; half of them over TLS      all comes back; never cut
half_close     sends, closes its side, reads to the end                     all comes back, then EOF
stall          sends without reading until the server holds it back, then   all comes back, unless
               reads on                                                     max-buffered cut it
stall_forever  the same, and never reads                                    it is cut
silent         says nothing; some in the middle of a handshake or a name    it is cut
reset          sends, and resets while bytes are on their way               nothing
fleeting       closes, or resets, as soon as it has connected               nothing
tls_abort      goes away in mid-session without a word, over TLS            what came was right
tls_broken     half a ClientHello, or no TLS at all; closes or resets       nothing
greedy         comes too often, from one host                               all comes back, or refused
stranger       comes from a network that is denied now and then             all comes back, or refused
rude           at the front door: names no service, or half a one           an answer that begins with -
=============  ===========================================================  ==========================

Clients bind addresses of their own in 127.0.0.0/8: many hosts, and no lack of ports though those of
closed connections stay taken for a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["DENIED", "PATIENCE", "Load", "Target"]

#: The network of strangers, as a reload denies it.
DENIED: Final = "127.66.0.0/16"

#: Seconds that anything may take, far above the servers' own time limits: the clients, two thousand in one
#: process, are what is slow here.
PATIENCE: Final = 120.0

#: Bytes that a client which reads has on the way: below every max-buffered of the soak.
_WINDOW: Final = 32 * 1024

#: Bytes after which a client that does not read gives up: far above what the kernel holds of them.
_FLOOD: Final = 32 * 2**20

_SIZE: Final = 2**20
_BYTES: Final = random.Random(862).randbytes(_SIZE) * 2

#: Since Linux 4.2; Python names it from 3.12 on.
_BIND_ADDRESS_NO_PORT: Final = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)


class _MismatchError(Exception):
    """What came back is not what was sent."""


class _RefusedError(Exception):
    """The server let the connection go before it said anything."""


@dataclass
class Target:
    """
    A server.

    :ivar name: what it is called in the report.
    :ivar port: where it listens.
    :ivar tls_port: where it listens for TLS.
    :ivar greeting: what asks it for an echo; one line, answered by one.
    :ivar stops: how often it has begun, or ended, to be away; odd while it is.
    """

    name: str
    port: int
    tls_port: int
    greeting: bytes = b""
    stops: int = 0


class _Talk:
    """
    One connection: bytes of the pattern on their way there and back.

    :param streams: what asyncio made of it.
    :param start: where in the pattern it begins.
    """

    def __init__(
        self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], start: int
    ) -> None:
        self.reader, self.writer = streams
        self._start = start
        self.sent = 0
        self.received = 0

    async def send(self, size: int) -> None:
        """Send so many bytes; returns when asyncio is willing to take more."""
        first = (self._start + self.sent) % _SIZE
        self.writer.write(_BYTES[first : first + size])
        self.sent += size
        await self.writer.drain()

    async def read(self) -> bool:
        """Read and check what is there; False at the end."""
        data = await self.reader.read(65536)
        first = (self._start + self.received) % _SIZE
        if data != _BYTES[first : first + len(data)] or self.received + len(data) > self.sent:
            raise _MismatchError(f"byte {self.received} and what follows is not what was sent")
        self.received += len(data)
        return bool(data)

    async def read_all(self) -> None:
        """Read until all is back."""
        while self.received < self.sent:
            if not await self.read():
                raise EOFError(f"{self.sent - self.received} of {self.sent} bytes never came back")

    async def close(self) -> None:
        """Close in the ordinary way."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """Close so that the peer sees a reset."""
        self.set_option(socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def set_option(self, name: int, value: int | bytes) -> None:
        """Set an option of the socket; nothing happens if the connection is lost."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, name, value)


class Load:
    """
    Clients of some servers.

    :param targets: the servers, each of which gets the same share.
    :param slots: how many connections there are at a time, to all of them together.
    :param patience: seconds within which the server must have cut a client that is silent.
    """

    def __init__(self, targets: list[Target], slots: int, patience: float) -> None:
        self._targets = targets
        self._slots = slots
        self._patience = patience
        self._random = random.Random(1078)
        self._ending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._contexts = [_context(version) for version in ("TLSv1_2", "TLSv1_3")]
        self._hello = _hello(self._contexts[-1])
        #: What became of connections, by behaviour and outcome.
        self.outcomes: Counter[tuple[str, str]] = Counter()
        #: Connections that were made, those over TLS among them, and the bytes that came back right.
        self.made = self.made_tls = self.echoed = 0
        #: What went otherwise than it must, and how often; and how often that was wrong bytes.
        self.failures: Counter[str] = Counter()
        self.mismatches = 0
        self._behaviours: dict[Callable[[Target], Awaitable[str]], int] = {
            self._converse: 40,
            self._half_close: 12,
            self._stall: 5,
            self._stall_forever: 3,
            self._silent: 4,
            self._reset: 8,
            self._fleeting: 8,
            self._tls_abort: 4,
            self._tls_broken: 5,
            self._greedy: 4,
            self._stranger: 3,
            self._rude: 4,
        }

    # The life of the load

    def begin(self) -> None:
        """Fill all slots; nothing happens if they are."""
        if not self._tasks:
            self._ending.clear()
            # Each keeps to its server: while one is away the other has no more to do than before.
            turns = itertools.islice(itertools.cycle(self._targets), self._slots)
            self._tasks = [asyncio.create_task(self._slot(target)) for target in turns]

    async def end(self) -> None:
        """Have each client finish what it is at without a pause, and wait for the last."""
        self._ending.set()
        tasks, self._tasks = self._tasks, []
        await asyncio.gather(*tasks)

    async def _slot(self, target: Target) -> None:
        await self._rest(self._random.uniform(0, 3))
        while not self._ending.is_set():
            (behave,) = self._random.choices(
                list(self._behaviours), list(self._behaviours.values())
            )
            await self._one(behave, target)

    async def _one(self, behave: Callable[[Target], Awaitable[str]], target: Target) -> None:
        name = getattr(behave, "__name__", "?").lstrip("_")
        stops = target.stops
        try:
            async with asyncio.timeout(PATIENCE):
                outcome = await behave(target)
        except _MismatchError as failure:
            self.mismatches += 1
            self._fail(name, target, failure)
            outcome = "failed"
        except (OSError, EOFError, _RefusedError) as failure:
            if target.stops == stops and not stops % 2:
                self._fail(name, target, failure)
                outcome = "failed"
            else:
                outcome = "cut by the stop"
                if isinstance(failure, ConnectionRefusedError):
                    outcome = "turned away by the stop"
                    await self._rest(self._random.uniform(0.2, 1))
        self.outcomes[name, outcome] += 1

    def _fail(self, name: str, target: Target, failure: Exception) -> None:
        self.failures[f"{name} at {target.name}: {type(failure).__name__}: {failure}"] += 1

    async def _rest(self, seconds: float) -> None:
        """Sleep, unless all is to end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    # Connections

    async def _dial(
        self, target: Target, *, tls: bool, source: str = "", window: int = 0
    ) -> socket.socket:
        """Connect from an address of one's own."""
        pick = self._random.randrange
        own = source or f"127.{pick(100, 108)}.{pick(256)}.{pick(1, 255)}"
        client = socket.socket()
        try:
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            if window:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WINDOW)
            client.bind((own, 0))
            place = ("127.0.0.1", target.tls_port if tls else target.port)
            await asyncio.get_running_loop().sock_connect(client, place)
        except BaseException:
            client.close()
            raise
        self.made += 1
        self.made_tls += tls
        return client

    @contextlib.asynccontextmanager
    async def _talk(
        self, target: Target, *, tls: bool = False, greet: bool = True, **dialling: Any
    ) -> Any:
        """A connection that has been let in, and to the echo itself; gone when the block ends."""
        client = await self._dial(target, tls=tls, **dialling)
        try:
            context = self._random.choice(self._contexts) if tls else None
            name = "localhost" if tls else None
            streams = await asyncio.open_connection(
                sock=client, ssl=context, server_hostname=name, limit=_WINDOW
            )
        except BaseException:
            client.close()
            raise
        talk = _Talk(streams, self._random.randrange(_SIZE))
        try:
            if greet and target.greeting:
                await self._greet(talk, target.greeting)
            yield talk
        finally:
            self.echoed += talk.received
            talk.writer.transport.abort()

    async def _greet(self, talk: _Talk, greeting: bytes) -> None:
        talk.writer.write(greeting)
        try:
            answer = await talk.reader.readuntil(b"\n")
        except (ConnectionError, asyncio.IncompleteReadError) as gone:
            raise _RefusedError(f"no answer to {greeting!r}") from gone
        if not answer.startswith(b"+"):
            raise _RefusedError(f"{greeting!r} was answered by {answer!r}")

    async def _exchange(self, talk: _Talk, times: int) -> None:
        """Some messages there and back."""
        for _ in range(times):
            await talk.send(int(2 ** self._random.uniform(0, 15)))
            await talk.read_all()
            await self._rest(self._random.uniform(0, 2))

    def _perhaps(self) -> bool:
        return self._random.random() < 0.5

    # Behaviours: each returns what became of it

    async def _converse(self, target: Target) -> str:
        async with self._talk(target, tls=self._perhaps()) as talk:
            await self._exchange(talk, self._random.randint(1, 6))
            await talk.close()
        return "done"

    async def _half_close(self, target: Target) -> str:
        async with self._talk(target) as talk:
            for _ in range(self._random.randint(1, 4)):
                await talk.send(self._random.randint(1, _WINDOW // 2))
                await self._rest(self._random.uniform(0, 1))
            talk.writer.write_eof()
            await talk.read_all()
            if await talk.read():
                raise _MismatchError("more came back than was sent")
        return "done"

    async def _fill(self, talk: _Talk) -> None:
        """Send until nobody takes more."""
        with contextlib.suppress(TimeoutError):
            while talk.sent < _FLOOD:
                async with asyncio.timeout(1):
                    await talk.send(65536)
                # Where nobody is held back nobody waits: let others have their turn, and losses be seen.
                await asyncio.sleep(0)

    async def _stall(self, target: Target) -> str:
        try:
            async with self._talk(target, tls=self._perhaps(), window=8192) as talk:
                await self._fill(talk)
                await self._rest(self._random.uniform(0, 4))
                talk.set_option(socket.SO_RCVBUF, _SIZE)
                await talk.read_all()
                await talk.close()
        except (ConnectionError, ssl.SSLError, EOFError):
            # Over TLS an abort is an end without a goodbye.
            return "cut by the server" if target.stops % 2 == 0 else "cut by the stop"
        return "done"

    async def _stall_forever(self, target: Target) -> str:
        try:
            async with self._talk(target, tls=self._perhaps(), window=8192) as talk:
                await self._fill(talk)
                while not self._ending.is_set():
                    await self._cut(talk.send(65536))
        except (ConnectionError, ssl.SSLError, EOFError):
            return "cut by the server"
        return "gone at the end"

    async def _cut(self, waiting: Awaitable[Any]) -> None:
        """Wait to be cut off, unless all is to end; raises what the wait raises."""
        task = asyncio.ensure_future(waiting)
        ending = asyncio.ensure_future(self._ending.wait())
        try:
            done, _ = await asyncio.wait(
                {task, ending}, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise TimeoutError("the server did not cut it off")
            if task in done:
                task.result()
        finally:
            task.cancel()
            ending.cancel()

    async def _silent(self, target: Target) -> str:
        words = self._random.choice([b"", b"", target.greeting[:5], self._hello[:40]])
        tls = self._perhaps()
        async with self._raw(target, tls=tls) as talk:
            if words:
                talk.writer.write(words)
            with contextlib.suppress(ConnectionError):
                await self._cut(talk.reader.read(1) if not words else _to_end(talk.reader))
        return "gone at the end" if self._ending.is_set() else "cut by the server"

    def _raw(self, target: Target, *, tls: bool) -> Any:
        """A connection over which the client speaks neither TLS nor to the door."""
        there = Target(target.name, target.tls_port if tls else target.port, target.tls_port)
        return self._talk(there)

    async def _reset(self, target: Target) -> str:
        async with self._talk(target) as talk:
            await talk.send(self._random.randint(1, _WINDOW))
            if self._perhaps():
                if not await talk.read():
                    raise EOFError("nothing came back")
                await self._rest(self._random.uniform(0, 2))
                await talk.send(self._random.randint(1, _WINDOW))
            talk.reset()
        return "done"

    async def _fleeting(self, target: Target) -> str:
        client = await self._dial(target, tls=self._perhaps())
        if self._perhaps():
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        return "done"

    async def _tls_abort(self, target: Target) -> str:
        async with self._talk(target, tls=True) as talk:
            await self._exchange(talk, 1)
            await talk.send(self._random.randint(1, _WINDOW))
            if self._perhaps():
                talk.reset()
        return "done"

    async def _tls_broken(self, target: Target) -> str:
        hello = self._hello
        words = self._random.choice([hello[: self._random.randrange(len(hello))], b"NICK a\r\n"])
        async with self._raw(target, tls=True) as talk:
            talk.writer.write(words)
            await self._rest(self._random.uniform(0, 1))
            if self._perhaps():
                talk.reset()
            else:
                await talk.close()
        return "done"

    async def _greedy(self, target: Target) -> str:
        return await self._unwelcome(target, "127.9.9.9")

    async def _stranger(self, target: Target) -> str:
        return await self._unwelcome(target, f"127.66.0.{self._random.randint(1, 254)}")

    async def _unwelcome(self, target: Target, source: str) -> str:
        """Come from an address that may be refused, at once and without a word."""
        tls = self._perhaps()
        said = False
        try:
            async with self._talk(target, tls=tls, source=source) as talk:
                await talk.send(100)
                await talk.read_all()
                said = True
                await self._exchange(talk, 3)
                await talk.close()
        except (OSError, EOFError, _RefusedError):
            if said:
                raise
            await self._rest(self._random.uniform(0, 2))
            return "refused"
        return "done"

    async def _rude(self, target: Target) -> str:
        if not target.greeting:
            return await self._fleeting(target)
        words = self._random.choice([b"gopher\r\n", b"HELP\r\n", b"x" * 300, target.greeting[:-4]])
        async with self._raw(target, tls=False) as talk:
            talk.writer.write(words)
            if words == target.greeting[:-4]:
                talk.writer.write_eof()
            answer = await _to_end(talk.reader)
            wanted = b"myproject-echo" if words == b"HELP\r\n" else b"-"
            if not answer.startswith(wanted):
                raise _MismatchError(f"{words!r} was answered by {answer!r}")
        return "done"


async def _to_end(reader: asyncio.StreamReader) -> bytes:
    """All that comes, over connections that a server closes in the ordinary way."""
    answer = b""
    while data := await reader.read(4096):
        answer += data
    return answer


def _context(version: str) -> ssl.SSLContext:
    """A client that speaks one version of TLS, and takes any certificate: that is not the question."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    return context


def _hello(context: ssl.SSLContext) -> bytes:
    """A ClientHello."""
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()
