"""
Corked transports: a write waits until the reactor, not the kernel, says that it is time.

A transport is in one of four states, of which three are flags:

============  ======================================  ==================================================
state         it comes from                           what a write does
============  ======================================  ==================================================
idle          everything has been sent                queues the transport with the reactor
reading       its own ``doRead`` runs                 marks it as queued; ``doRead`` sends when it ends
queued        something was written, or it is to      nothing more: the bytes join the others
              close
awaiting      the kernel took less than all           nothing more: the kernel will say when
============  ======================================  ==================================================

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
import sys
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import error, tcp, unix
from twisted.internet.main import CONNECTION_LOST

__all__ = ["Corked", "TCPClient", "TCPServer", "UNIXClient", "UNIXServer"]

#: Bytes from which a write is not copied to be joined with others: about what a system call is worth.
_LARGE: Final = 32 * 1024

#: What a socket says when it takes nothing at the moment.
_LATER: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS})

if TYPE_CHECKING:
    _Connection = tcp.Connection
else:
    _Connection = object


class Corked(_Connection):
    """Mixed into Twisted's stream transports, before them."""

    reactor: Any

    #: Bytes that may wait: above, each write asks ``startWriting``, which a subclass may have judge.
    max_buffered = sys.maxsize

    _reading = False
    _queued = False
    _awaiting = False

    def write(self, data: bytes) -> None:
        """
        Have some bytes sent: at the end of this ``doRead``, or of this turn.

        :param data: the bytes.
        :raises TypeError: they are none.
        """
        if self.TLS or type(data) is not bytes:
            super().write(data)
        elif data and self.connected and not self._writeDisconnected:
            self._tempDataBuffer.append(data)
            self._tempDataLen = waiting = self._tempDataLen + len(data)
            if self.producer is not None:
                self._maybePauseProducer()
            if self._reading and waiting <= self.max_buffered:
                self._queued = True
            elif not self._queued or waiting > self.max_buffered:
                self.startWriting()

    def send_now(self, data: bytes) -> None:
        """
        Have some bytes sent as by :meth:`write`, but at once if nothing waits in front of them.

        For who has collected what there is to say in a turn, and says it at the turn's end: between the
        bytes and the kernel there is one call then, not five.

        :param data: the bytes, at least one.
        """
        if (
            self._queued
            or self._awaiting
            or self._reading
            or self.TLS
            or self.disconnecting
            or self._writeDisconnecting
            or not self.connected
            or self._aborting
            or (self.producer is not None and not self.streamingProducer)
        ):
            self.write(data)
            return
        done: Any = self.writeSomeData(data)
        if done == len(data):
            return
        # What is left waits; an error is not for who wrote, and comes again when the turn is sent.
        self.write(data[done:] if type(done) is int and done > 0 else data)

    def startWriting(self) -> None:
        """See that what was written, or asked for, is done when it is time."""
        if self._queued or self._awaiting:
            return
        if not self.connected:
            # The kernel says so when a connection has been made.
            self.reactor.addWriter(self)
            return
        self._queued = True
        if not self._reading:
            self.reactor.cork(self)

    def stopWriting(self) -> None:
        """Forget what was asked for."""
        self._queued = self._awaiting = False
        self.reactor.removeWriter(self)

    def doRead(self) -> Any:
        """Deliver what has arrived, then send what the protocol answered."""
        # What waits for the kernel goes on doing so.
        self._reading = not self._awaiting
        try:
            why = super().doRead()
        except BaseException:
            self._end_of_read_failed()
            raise
        self._reading = False
        if self._queued:
            self.uncork()
        return why

    def _end_of_read_failed(self) -> None:
        # The reactor will close the connection; until it has, the bytes are where others would be.
        self._reading = False
        if self._queued:
            self.reactor.cork(self)

    def uncork(self) -> None:
        """Send what waits, if anything still does; for the reactor, and for ``doRead``."""
        if not self._queued:
            return
        self._queued = False
        if self._aborting:
            return
        chunks = self._tempDataBuffer
        if (
            0 < self._tempDataLen < _LARGE
            and self.producer is None
            and not (self.dataBuffer or self.disconnecting or self._writeDisconnecting)
        ):
            # Nearly always: what _send does with little, for one that has nothing else to do.
            data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            self._tempDataLen = 0
            why: Any = self.writeSomeData(data)
            if why == len(data):
                return
            if type(why) is int and why >= 0:
                self.dataBuffer = data
                self.offset = why
                self._await_kernel()
                return
        else:
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
            waiting -= done
            if done == len(data):
                self.dataBuffer = b""
                self.offset = 0
            else:
                self.offset += done
            if waiting and (done < len(data) or waiting <= limit):
                self._await_kernel()
                return None
        if self._awaiting:
            self._awaiting = False
            self.reactor.removeWriter(self)
        return self._sent_all()

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

    def _sent_all(self) -> Any:
        """Do what was to be done once all is sent, in the order of ``FileDescriptor.doWrite``."""
        producer: Any = self.producer
        if producer is not None and (not self.streamingProducer or self.producerPaused):
            self.producerPaused = False
            producer.resumeProducing()
        elif self.disconnecting:
            return self._postLoseConnection()
        elif self._writeDisconnecting and not self._writeDisconnected:
            self._writeDisconnected = True
            self._closeWriteConnection()
        return None


class _TCP(Corked):
    """What TCP's both ends do in fewer calls than Twisted's."""

    def writeSomeData(self, data: Any) -> Any:
        """
        Send as much as the kernel takes.

        :param data: the bytes.
        :return: how many it took; or why the connection is to be closed.
        """
        if len(data) > self.SEND_LIMIT:
            data = memoryview(data)[: self.SEND_LIMIT]
        try:
            return self.socket.send(data)
        except OSError as failure:
            return 0 if failure.errno in _LATER else CONNECTION_LOST

    def doRead(self) -> Any:
        """Deliver what has arrived, then send what the protocol answered."""
        try:
            data = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        self._reading = not self._awaiting
        try:
            why = self._dataReceived(data)
        except BaseException:
            self._end_of_read_failed()
            raise
        self._reading = False
        if self._queued:
            self.uncork()
        return why


class TCPServer(_TCP, tcp.Server):
    """A connection that a port has accepted, or that was adopted."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.setTcpNoDelay(True)


class TCPClient(_TCP, tcp.Client):
    """A connection that we made."""

    def _connectDone(self) -> None:
        self.setTcpNoDelay(True)
        super()._connectDone()


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
