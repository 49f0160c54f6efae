"""What the chat tells Prometheus, beside what the core tells of every service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from myproject_chat.banmasks import DLINE, KLINE

if TYPE_CHECKING:
    from myproject_chat.server import Server

__all__ = ["chat_metrics"]


def chat_metrics(server: Server) -> Iterator[Metric]:
    """
    Say how many there are, and how much was said.

    :param server: the server.
    """
    yield GaugeMetricFamily(
        "myproject_chat_users", "Users who have registered.", len(server.network.users)
    )
    yield GaugeMetricFamily(
        "myproject_chat_channels", "Channels that exist.", len(server.network.channels)
    )
    yield CounterMetricFamily(
        "myproject_chat_messages_total",
        "What users said and did that others are told of, each once: PRIVMSG, JOIN, NICK and the like.",
        server.messages,
    )
    bans = GaugeMetricFamily("myproject_chat_bans", "Bans of the server.", labels=["kind"])
    hits = CounterMetricFamily(
        "myproject_chat_banned_total",
        "Connections and users whom a ban has kept out or ended.",
        labels=["kind"],
    )
    for kind in (DLINE, KLINE):
        bans.add_metric([kind], len(server.bans.of_kind(kind)))
        hits.add_metric([kind], server.bans.hits[kind])
    yield bans
    yield hits
