"""
Corked transports: a write waits until the reactor, not the kernel, says that it is time.

A transport is in one of these states, most of which are flags:

============  ======================================  ==================================================
state         it comes from                           what a write does
============  ======================================  ==================================================
idle          everything has been sent                queues the transport with the reactor
reading       its own ``doRead`` runs                 marks it as queued; ``doRead`` sends when it ends
... plainly   the same, and bytes are all there is:   keeps the bytes; ``doRead`` sends them when it ends
              no TLS, no pull producer, nothing that
              waits
... answered  something was written, once             puts both in line; there will be more
... in line   something was written, again            puts the bytes in line
queued        something was written, or it is to      nothing more: the bytes join the others
              close
awaiting      the kernel took less than all           nothing more: the kernel will say when
============  ======================================  ==================================================

How a transport reads is judged when something changes that, not at each read (``_judge``). Its attributes are
those of an ordinary instance and not slots: CPython 3.13 finds the former faster in a class whose bases have
a dict (a read and its answer, without the kernel: 350 and 550 ns). One answer to one read, which is what most
protocols give, is kept apart from the list of what waits: that saves a sixth of the time without the kernel.

Whatever Twisted's transports do through a writability event (send, resume a producer, close once all is
sent, close one half) goes through ``startWriting``, so that is where it is turned aside.

- An error of an early send is not known to who wrote: the reactor hears of it, as of any ``doWrite``.
- Nothing recurses: a producer that is resumed, and writes, queues its transport for the next turn.
- A turn sends some ``SEND_LIMIT`` bytes of a transport, and receives one buffer for it: none starves others.
- Small writes are joined, large ones are sent from where they are.

Nagle's algorithm is off (``TCP_NODELAY``): what is sent here has been collected already, and holding the rest
back until the peer's delayed acknowledgement comes would cost 40 ms. A protocol may turn it on again.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import error, tcp, unix
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST

__all__ = ["Corked", "TCPClient", "TCPServer", "UNIXClient", "UNIXServer", "send_to_all"]

#: Bytes from which a write is not copied to be joined with others: about what a system call is worth.
_LARGE: Final = 32 * 1024

#: Bytes that a read gets room for where the last one brought fewer. An object of that size Python has in
#: store; one of `bufferSize` is made by the C library, and cut to size, which takes 0.1 us more.
_FEW: Final = 448

#: What a socket says when it takes nothing at the moment.
_LATER: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})

#: What says that more follows; nothing where there is no such flag.
_MORE: Final[int] = getattr(socket, "MSG_MORE", 0)

# How bytes that are written while a connection is read are taken: as any others; or, if there is nothing else
# to be thought of, kept until the read ends: the first ones apart, then, once there are more, in line.
_AS_ASKED: Final = 1
_PLAINLY: Final = 2
_ANSWERED: Final = 3
_IN_LINE: Final = 4

if TYPE_CHECKING:
    from collections.abc import Iterable

    _Connection = tcp.Connection
else:
    _Connection = object


class Corked(_Connection):
    """
    Mixed into Twisted's stream transports, before them.

    :ivar received: the bytes that have come.
    :ivar sent: the bytes that the kernel has taken.
    """

    reactor: Any

    #: Bytes that may wait for the peer: with more, `overflown` is called, and the connection is aborted.
    max_buffered = sys.maxsize

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        # What each message needs stands together in memory, in this order: with a thousand connections
        # none of it is at hand, and a cache line less is 1 %.
        # How many bytes the next read has room for, after one that brought few; 0 for `bufferSize`. How
        # bytes that are written while its doRead runs are taken at present: 0 if none runs.
        self._few = self._reading = 0
        self.received = self.sent = 0
        # How they are taken in the next read, unless something changes; or that the kernel is awaited.
        self._mode = _AS_ASKED
        self._tempDataLen = 0
        # What was written first while it is read plainly; not in line yet.
        self._answer = b""
        self._queued = self._awaiting = False
        super().__init__(*arguments, **keywords)

    @staticmethod
    def overflown(transport: Any) -> None:
        """Hear of a connection for which too much waits, before it is aborted; for a subclass."""

    # How things are

    def _is_plain(self) -> bool:
        """Say whether bytes need nothing but to be sent."""
        return False

    def _judge(self) -> None:
        """See how what is written is to be taken: something has changed."""
        if self._awaiting or self._aborting or not self.connected:
            self._line_up()
            self._mode = self._reading = 0
            return
        self._mode = _PLAINLY if self._is_plain() else _AS_ASKED
        if self._reading >= _PLAINLY and self._mode != _PLAINLY:
            self._read_as_asked()

    def _line_up(self) -> None:
        """Put what was kept where other bytes wait, behind these."""
        if self._answer:
            self._tempDataBuffer.append(self._answer)
            self._tempDataLen += len(self._answer)
            self._answer = b""

    def _read_as_asked(self) -> None:
        """There is more to do from now on, when the read ends, than to send what was kept."""
        self._line_up()
        self._reading = _AS_ASKED
        if self._tempDataBuffer:
            self._queued = True

    # Writing

    def write(self, data: bytes) -> None:
        """
        Have some bytes sent: at the end of this ``doRead``, or of this turn.

        :param data: the bytes.
        :raises TypeError: they are none.
        """
        if self._reading == _IN_LINE and type(data) is bytes:
            self._tempDataBuffer.append(data)
            self._tempDataLen = waiting = self._tempDataLen + len(data)
            if waiting > self.bufferSize or waiting > self.max_buffered:
                self._maybePauseProducer()
                self.startWriting()
        elif self._reading == _PLAINLY and type(data) is bytes:
            self._answer = data
            self._reading = _ANSWERED
        elif self._reading == _ANSWERED:
            self._line_up()
            self._reading = _IN_LINE
            self.write(data)
        elif self.TLS or type(data) is not bytes:
            super().write(data)
        elif data and self.connected and not self._writeDisconnected:
            self._tempDataBuffer.append(data)
            self._tempDataLen = waiting = self._tempDataLen + len(data)
            if self.producer is not None:
                self._maybePauseProducer()
            if not self._queued or waiting > self.max_buffered:
                self.startWriting()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """
        Have some bytes sent, as by :meth:`write`.

        :param iovec: pieces of them.
        :raises TypeError: they are none.
        """
        self._line_up()
        super().writeSequence(iovec)

    def _overflow(self) -> None:
        self._tempDataBuffer = []
        self._tempDataLen = 0
        self.dataBuffer = b""
        self.offset = 0
        if not self._aborting:
            type(self).overflown(self)
            self.abortConnection()

    def send_now(self, data: bytes) -> None:
        """
        Have some bytes sent as by :meth:`write`, but at once if nothing waits in front of them.

        For who has collected what there is to say in a turn, and says it at the turn's end: between the
        bytes and the kernel there is one call then, not five.

        :param data: the bytes, at least one.
        """
        if self._mode == _PLAINLY and not (self._queued or self._reading or self._tempDataLen):
            try:
                done = self.socket.send(data)
            except OSError:
                # Not for who wrote: it comes again when the turn is sent.
                done = 0
            self.sent += done
            if done == len(data):
                return
            data = data[done:]
        self.write(data)

    def startWriting(self) -> None:
        """See that what was written, or asked for, is done when it is time."""
        self._line_up()
        if len(self.dataBuffer) - self.offset + self._tempDataLen > self.max_buffered:
            self._overflow()
            return
        if self._queued or self._awaiting:
            return
        if not self.connected:
            # The kernel says so when a connection has been made.
            self.reactor.addWriter(self)
            return
        self._queued = True
        if self._reading:
            # There is more to do when the read ends than to send.
            self._reading = _AS_ASKED
        else:
            self.reactor.cork(self)

    def stopWriting(self) -> None:
        """Forget what was asked for."""
        self._queued = self._awaiting = False
        self.reactor.removeWriter(self)

    def abortConnection(self) -> None:
        """See ``IAbortingTransport``: nothing more is sent."""
        super().abortConnection()
        self._judge()

    def connectionLost(self, reason: Any) -> None:
        """See ``IReadDescriptor``."""
        self._mode = self._reading = 0
        super().connectionLost(reason)

    def registerProducer(self, producer: Any, streaming: bool) -> None:  # noqa: FBT001 (Twisted's)
        """See ``IConsumer``."""
        super().registerProducer(producer, streaming)
        self._judge()

    def unregisterProducer(self) -> None:
        """See ``IConsumer``."""
        super().unregisterProducer()
        self._judge()

    def startTLS(self, *arguments: Any, **keywords: Any) -> None:
        """See ``ITLSTransport``."""
        # What was written before is sent before.
        self._mode = _AS_ASKED
        if self._reading:
            self._read_as_asked()
        super().startTLS(*arguments, **keywords)

    # Reading, and what it ends with

    def _dataReceived(self, data: bytes | None) -> Any:
        if not data:
            return CONNECTION_DONE
        self.received += len(data)
        self.protocol.dataReceived(data)
        return None

    def doRead(self) -> Any:
        """Deliver what has arrived, then send what the protocol answered."""
        if self._reading:
            self._read_as_asked()
            self.reactor.cork(self)
        # What waits for the kernel goes on doing so.
        self._reading = self._mode
        try:
            why = super().doRead()
        except BaseException:
            self._end_of_read_failed()
            raise
        self._reading = 0
        if self._queued:
            if why is None:
                self.uncork()
            else:
                # Whoever knows of no half-close is gone by then; sending might close it here, once too often.
                self.reactor.cork(self)
        return why

    def _end_of_read_failed(self) -> None:
        # The reactor will close the connection; until it has, the bytes are where others would be.
        if self._reading >= _PLAINLY:
            self._read_as_asked()
        self._reading = 0
        if self._queued:
            self.reactor.cork(self)

    def uncork(self) -> None:
        """Send what waits, if anything still does; for the reactor, and for ``doRead``."""
        if not self._queued:
            return
        self._queued = False
        if not self._aborting:
            why = self._send()
            if why is not None:
                self.reactor.close(self, why)

    @property
    def is_queued(self) -> bool:
        """Whether it waits for the end of the turn."""
        return self._queued

    def _await_kernel(self) -> None:
        if not self._awaiting:
            self._awaiting = True
            self._judge()
            self.reactor.addWriter(self)

    def doWrite(self) -> Any:
        """
        Send what waits: the kernel takes more.

        :return: why the connection is to be closed; None if it is not.
        """
        if self.disconnected:
            return None
        self._queued = False
        # Whoever it was that asked for this event.
        self._awaiting = True
        self._judge()
        return self._send()

    def _send(self) -> Any:
        waiting = self._tempDataLen + len(self.dataBuffer) - self.offset
        limit = waiting - self.SEND_LIMIT
        while waiting:
            if not self.dataBuffer:
                self._load()
            data: Any = self.dataBuffer
            if self.offset:
                data = memoryview(data)[self.offset :]
            done: Any = self.writeSomeData(data)
            if isinstance(done, Exception) or done < 0:
                return done
            self.sent += done
            waiting -= done
            if done == len(data):
                self.dataBuffer = b""
                self.offset = 0
            else:
                self.offset += done
            if waiting and (done < len(data) or waiting <= limit):
                self._await_kernel()
                return None
        asked = self._awaiting
        if asked:
            self._awaiting = False
            self._judge()
            self.reactor.removeWriter(self)
        return self._sent_all(asked=asked)

    def _load(self) -> None:
        """Take what one call sends out of what was written: all that is small, or one that is large."""
        chunks = self._tempDataBuffer
        count = len(chunks)
        if count > 1 and self._tempDataLen > _LARGE:
            small = (place for place, chunk in enumerate(chunks) if len(chunk) >= _LARGE)
            count = max(1, next(small, count))
        self.dataBuffer = chunks[0] if count == 1 else b"".join(chunks[:count])
        del chunks[:count]
        self._tempDataLen -= len(self.dataBuffer)

    def _sent_all(self, *, asked: bool) -> Any:
        """Do what was to be done once all is sent, in the order of ``FileDescriptor.doWrite``."""
        producer: Any = self.producer
        if producer is not None and (not self.streamingProducer or self.producerPaused):
            self.producerPaused = False
            producer.resumeProducing()
        elif self.disconnecting:
            return self._postLoseConnection()
        elif self._writeDisconnecting and not self._writeDisconnected:
            if not asked:
                # The kernel may have to say instead that the peer has closed, if nothing is read any more.
                self._await_kernel()
                return None
            self._writeDisconnected = True
            self._judge()
            self._closeWriteConnection()
        return None


class _TCP(Corked):
    """What TCP's both ends do in fewer calls than Twisted's."""

    # Whether a read has heard that the peer has reset the connection: nobody hears that twice.
    _was_reset = False

    def _is_plain(self) -> bool:
        # A producer that is asked for more when all is sent has to be asked.
        pull = self.producer is not None and not self.streamingProducer
        return not (self.TLS or pull or self._writeDisconnected or self.dataBuffer)

    def writeSomeData(self, data: Any) -> Any:
        """
        Send as much as the kernel takes.

        :param data: the bytes.
        :return: how many it took; or why the connection is to be closed.
        """
        if len(data) > self.SEND_LIMIT:
            data = memoryview(data)[: self.SEND_LIMIT]
        try:
            if self.disconnecting and self.producer is None:
                # The kernel waits for more, or for the end, which comes next: both travel in one packet,
                # and the peer is woken once. It saves 7 % of what a client of the chat costs that says
                # hello and leaves. Should the end not come, they go 0.2 s later (tcp(7), TCP_CORK).
                return self.socket.send(data, _MORE)
            return self.socket.send(data)
        except OSError as failure:
            return 0 if failure.errno in _LATER else CONNECTION_LOST

    def doRead(self) -> Any:  # noqa: C901 (a call costs 1 %)
        """Deliver what has arrived, then send what the protocol answered."""
        room = self._few or self.bufferSize
        try:
            data = self.socket.recv(room)
        except OSError as failure:
            return None if isinstance(failure, BlockingIOError) else CONNECTION_LOST
        if not data:
            return CONNECTION_LOST if self._was_reset else CONNECTION_DONE
        if (len(data) < _FEW) is not (room == _FEW):
            data = self._fit(data)
        self.received += len(data)
        if self._reading:
            # Within its own doRead: a program that calls iterate() in dataReceived.
            self._read_as_asked()
            self.reactor.cork(self)
        self._reading = self._mode
        try:
            self.protocol.dataReceived(data)
        except BaseException:
            self._end_of_read_failed()
            raise
        reading = self._reading
        self._reading = 0
        if reading == _ANSWERED and not self._tempDataLen:
            # Nearly always: one answer, nothing in front of it, and no more than the kernel takes.
            data = self._answer
            self._answer = b""
            # As _send_plainly does; the call would cost 1 %.
            try:
                done = self.socket.send(data)
            except OSError as failure:
                self._refused(data, failure)
                return None
            self.sent += done
            if done != len(data):
                self._sent_part(data, done)
        elif reading >= _ANSWERED:
            self._line_up()
            self._tempDataLen = 0
            data = b"".join(self._tempDataBuffer)
            self._tempDataBuffer.clear()
            self._send_plainly(data)
        elif self._queued:
            self.uncork()
        return None

    def _fit(self, data: bytes) -> bytes:
        """Give the next read the room that this one needed; and read what there was no room for."""
        if not self._few:
            self._few = _FEW if self.bufferSize > _FEW else 0
            return data
        self._few = 0
        try:
            return data + self.socket.recv(max(0, self.bufferSize - len(data)))
        except BlockingIOError:
            pass
        except OSError:
            self._was_reset = True
        return data

    def uncork(self) -> None:
        """Send what waits, if anything still does; for the reactor, and for ``doRead``."""
        if (
            self._mode == _PLAINLY
            and self._queued
            and 0 < self._tempDataLen < _LARGE
            and not (self.dataBuffer or self.producerPaused)
            and not (self.disconnecting or self._writeDisconnecting)
        ):
            self._queued = False
            chunks = self._tempDataBuffer
            data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            self._tempDataLen = 0
            self._send_plainly(data)
        else:
            super().uncork()

    def _send_plainly(self, data: bytes) -> None:
        """Send bytes where nothing is to be done when they are gone; what the kernel does not take waits."""
        try:
            done = self.socket.send(data)
        except OSError as failure:
            self._refused(data, failure)
            return
        self.sent += done
        if done != len(data):
            self._sent_part(data, done)

    def _sent_part(self, data: bytes, done: int) -> None:
        self.dataBuffer = data
        self.offset = done
        if len(data) - done > self.max_buffered:
            self._overflow()
            return
        self._await_kernel()
        if self.producer is not None:
            self._maybePauseProducer()

    def _refused(self, data: bytes, failure: OSError) -> None:
        if failure.errno in _LATER:
            self._sent_part(data, 0)
        else:
            self.reactor.close(self, CONNECTION_LOST)


def send_to_all(transports: Iterable[Corked], data: bytes) -> None:
    """
    Have each of some connections sent the same bytes, as by `Corked.send_now`.

    In one loop, as what is done between two sends counts double: who waits for the first of them falls
    asleep again before the second, and to wake somebody is dearer than to send.

    :param transports: the connections.
    :param data: the bytes, at least one.
    """
    size = len(data)
    for transport in transports:
        if transport._mode == _PLAINLY and not (  # noqa: SLF001
            transport._queued or transport._reading or transport._tempDataLen  # noqa: SLF001
        ):
            try:
                done = transport.socket.send(data)
            except OSError:
                done = 0
            transport.sent += done
            if done != size:
                transport.write(data[done:])
        else:
            transport.write(data)


class TCPServer(_TCP, tcp.Server):
    """A connection that a port has accepted, or that was adopted."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._judge()
        self.setTcpNoDelay(True)


class TCPClient(_TCP, tcp.Client):
    """A connection that we made."""

    def _connectDone(self) -> None:
        self.setTcpNoDelay(True)
        super()._connectDone()
        self._judge()


class _UNIX(Corked):
    """File descriptors travel with bytes, so those that wait need all the bytes that wait."""

    _sendmsgQueue: list[int]

    def _send(self) -> Any:
        if self._sendmsgQueue:
            if not (self._tempDataLen or self.dataBuffer):
                return error.FileDescriptorOverrun()
            rest = memoryview(self.dataBuffer)[self.offset :]
            self.dataBuffer = b"".join([rest, *self._tempDataBuffer])
            self._tempDataBuffer.clear()
            self._tempDataLen = self.offset = 0
        return super()._send()


class UNIXServer(_UNIX, unix.Server):
    """The same on a UNIX socket."""


class UNIXClient(_UNIX, unix.Client):
    """The same on a UNIX socket."""
