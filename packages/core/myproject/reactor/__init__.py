"""
The reactor: Twisted's own, with transports that send what a turn has written in one go.

Twisted's transports send nothing when they are written to: they ask for a writability event, and send when
it comes. That costs two system calls and a turn of the loop for each answer. These transports are *corked*
instead (:mod:`myproject.reactor.transports`):

- what a protocol writes while its own bytes are delivered is sent when it returns, in one call;
- what is written from elsewhere, a timer or another connection's protocol, is sent at the end of the turn;
- writability is asked for only when the kernel took less than everything.

They are subclasses of Twisted's, for TCP and UNIX sockets, clients and servers; TLS stands on them as it
does on Twisted's. :mod:`myproject.reactor.turns` is mixed into a reactor to have it make them, and keeps
the list of those that wait for the end of the turn. With it there is a corked form of each reactor that
Linux has; ``corked``, on epoll(7), has a leaner loop as well (:mod:`myproject.reactor.epollreactor`).

=================  ===========================================  =========================================
``--reactor=``     module, whose ``install`` installs it        beneath
=================  ===========================================  =========================================
``corked``         :mod:`myproject.reactor.epollreactor`        ``twisted.internet.epollreactor``
``corked-poll``    :mod:`myproject.reactor.pollreactor`         ``twisted.internet.pollreactor``
``corked-select``  :mod:`myproject.reactor.selectreactor`       ``twisted.internet.selectreactor``
``corked-asyncio`` :mod:`myproject.reactor.asyncioreactor`      ``twisted.internet.asyncioreactor``
=================  ===========================================  =========================================

Nothing here is imported to list plugins, and importing this package imports none of them.
"""
