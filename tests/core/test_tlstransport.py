"""The TLS layer: what is left of a connection that was lost."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

from incremental import Version
from twisted._version import __version__ as version
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest
from zope.interface import implementer

from tests.core.test_tls import TLSCase, Visitor

if TYPE_CHECKING:
    from collections.abc import Callable


@implementer(IPushProducer)
class Source:
    """Produces nothing, and knows for whom, as producers do."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...


class LettingGoTests(TLSCase):
    """Nothing, without the garbage collector's help."""

    def setUp(self) -> None:
        if Version("Twisted", 25, 0, 0) > version:
            raise SkipTest("Twisted before 25 has more of these cycles, which are not ours to mend")
        super().setUp()
        gc.disable()
        self.addCleanup(gc.enable)

    def left(self, end: Callable[[Visitor], None]) -> object:
        """What is left of a connection that ended so."""
        visitor = Visitor(self.serve())
        self.assertEqual(b"HELLO", visitor.ask(b"hello"))
        transport: Any = visitor.said.transport
        transport.registerProducer(Source(transport), True)
        end(visitor)
        # A socket that is lost drops its producer.
        visitor.wire.unregisterProducer()
        visitor.server.connectionLost(Failure(ConnectionDone()))
        remaining = weakref.ref(transport)
        # The visitor itself is in a cycle.
        del visitor.server, visitor.said, transport
        return remaining()

    def test_when_the_client_says_goodbye(self) -> None:
        def goodbye(visitor: Visitor) -> None:
            visitor.connection.shutdown()
            visitor.pump()

        self.assertIsNone(self.left(goodbye))

    def test_when_it_just_goes(self) -> None:
        self.assertIsNone(self.left(lambda _: None))

    def test_when_it_breaks_the_protocol(self) -> None:
        garbage = b"\x17\x03\x03\x00\x05wrong"
        self.assertIsNone(self.left(lambda visitor: visitor.server.dataReceived(garbage)))
