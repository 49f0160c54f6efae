"""
How much CPU time does a message cost, here and on other servers?

    python benchmarks/speed.py [--only LOAD,...] [--rounds N] [--seconds S] [--write]

Servers run on the first core that there is, loads on the second; each of a load's servers has a turn in
each round, the first of them another each time. What a server costs is the CPU time that the kernel
counts for its processes (all threads); what is compared is the median of the rounds' ratios. Every byte
and every delivery is checked: a server that loses, alters or doubles one, or hangs, is left out with a line.

Besides the loads there are "start" (from exec until it listens, against stock twistd with a bare
Echo factory) and "memory" (of ten thousand idle clients, and the CPU time that they cost).

Results are kept in docs/reference/speed.json, where a load that is measured again replaces the one that
was; ``--write`` makes the page and the chart of them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import resource
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speed_loads import LOADS, Refused, build, idle, run
from speed_peers import FAMILIES, MOST, Running, cpu_of, start, versions
from speed_report import chart, judge, merge, ratio, spread, table

_REFERENCE = Path(__file__).parent.parent / "docs" / "reference"

#: What is measured that is no load.
_OTHERS = ("start", "memory")

#: Rounds of "start": it is cheap, and noisy.
_STARTS = 15

#: Seconds for which idle clients are watched.
_IDLE = 10.0

_PAGE = """# Speed

How much CPU time a message costs, beside other servers. Made by `nox -s bench` (in a checkout:
`python benchmarks/speed.py --write`), which says with `--help` how to measure a part. To repeat all of it:
two cores, a C compiler with OpenSSL's headers, and, to compare with, `apt-get install inspircd ngircd`,
`pip install uvloop miniircd`, and Ergo's program named in `MYPROJECT_ERGO`. What is missing is left out,
with a line; so is miniircd where there are a thousand clients: it selects. C is a server of a few lines over
epoll, for echo and for the chat's loads: what the kernel alone takes.

The server has one core and the load another. Costs are what the kernel counts for the server's processes, all
threads, in nanoseconds; medians of the interleaved rounds, and in brackets the range. Ratios are of the same
round. Every byte and every delivery is checked. Servers of others run without throttles; our chat has
the settings of a public server (history kept, hosts cloaked), but that throttles and fakelag exempt the
load's address. **Compare within one load only**: what a virtual machine's cores can do changes from one hour
to the next. Lines are echoed by a few lines of Python, the same on stock's reactor and on ours.
"""


def bearable(name: str, clients: int) -> None:
    """
    See whether a server can have so many clients.

    :raises Refused: if it cannot.
    """
    if clients > MOST.get(name, clients):
        raise Refused(f"it can have no more than about {MOST[name]} clients")


#: The heading of the section that is written by hand.
BY_HAND = "## What is not met, and why"


def begin(
    load: str, chosen: Sequence[str], folder: Path, core: int, running: list[Running]
) -> None:
    """Start those servers that can bear a load; into a list, as they have to end if the next raises."""
    for name, command in FAMILIES[LOADS[load].family].items():
        if not chosen or name in chosen:
            try:
                bearable(name, LOADS[load].clients)
                running.append(start(name, command, folder / f"{load}-{name}", folder, core))
            except Refused as reason:
                print(f"{load}: {name} is left out: {reason}", flush=True)


def measure(
    load: str, options: argparse.Namespace, folder: Path, cores: Sequence[int]
) -> dict[str, dict[str, list[float]]]:
    """
    All rounds of a load: by server, microseconds of CPU time for each message, and messages a second.

    Those servers that fail are left out, with a line.
    """
    one = LOADS[load]
    running: list[Running] = []
    try:
        begin(load, options.servers, folder, cores[0], running)
        cost: dict[str, list[float]] = {server.name: [] for server in running}
        rate: dict[str, list[float]] = {server.name: [] for server in running}
        for number in range(options.rounds):
            first = number % max(1, len(running))
            for server in running[first:] + running[:first]:
                try:
                    found = run(
                        one,
                        folder,
                        server.site.port,
                        server.pids(),
                        warm=options.warm,
                        seconds=max(options.seconds, one.least),
                    )
                except Refused as reason:
                    print(f"{load}: {server.name} fails: {reason}", flush=True)
                    running.remove(server)
                    server.stop()
                    del cost[server.name], rate[server.name]
                else:
                    server.settle()
                    cost[server.name].append(found.cost)
                    rate[server.name].append(found.rate)
    finally:
        for server in running:
            server.stop()
    for name, values in cost.items():
        print(f"{load:18} {name:22} {spread(values)} us CPU", flush=True)
    return {"cost": cost, "rate": rate}


def starts(folder: Path, core: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds until each server listens, of wall time and of CPU time; the first round warms up."""
    wall: dict[str, list[float]] = {name: [] for name in FAMILIES["start"]}
    cpu: dict[str, list[float]] = {name: [] for name in FAMILIES["start"]}
    for number in range(-1, _STARTS):
        for name, command in FAMILIES["start"].items():
            server = start(name, command, folder / f"start-{name}", folder, core)
            server.stop()
            if number >= 0:
                wall[name].append(1000 * server.until_listening[0])
                cpu[name].append(1000 * server.until_listening[1])
    for name, values in wall.items():
        against = ratio(values, wall["twistd"]), ratio(cpu[name], cpu["twistd"])
        print(
            f"start: {name:12} {spread(values)} ms; of stock's: wall {against[0]}, CPU {against[1]}"
        )
    return {"wall": wall, "cpu": cpu}


def memory(clients: int, folder: Path, core: int, chosen: Sequence[str]) -> dict[str, list[float]]:
    """By server, KiB of memory that an idle client costs, and the server's CPU in percent meanwhile."""
    found: dict[str, list[float]] = {}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < clients + 200:
        if hard != resource.RLIM_INFINITY and hard < clients + 200:
            print(f"memory: {clients} clients need ulimit -n {clients + 200}; it is {hard}")
            return found
        resource.setrlimit(resource.RLIMIT_NOFILE, (clients + 200, hard))
    for name, command in FAMILIES["chat"].items():
        if chosen and name not in chosen:
            continue
        try:
            bearable(name, clients)
            server = start(name, command, folder / f"memory-{name}", folder, core)
        except Refused as reason:
            print(f"memory: {name} is left out: {reason}")
            continue
        try:
            # What the first clients need is imported before anything is counted.
            few = idle(folder, server.site.port, server.process.pid, 20)
            few.communicate()
            time.sleep(1)
            before = server.private()
            crowd = idle(folder, server.site.port, server.process.pid, clients)
            try:
                time.sleep(3)
                after, cpu = server.private(), cpu_of(server.process.pid)
                time.sleep(_IDLE)
                busy = 100 * (cpu_of(server.process.pid) - cpu) / _IDLE
            finally:
                crowd.communicate()
            found[name] = [(after - before) / clients, busy]
            print(
                f"memory: {name:22} {found[name][0]:.2f} KiB a client; idle {busy:.3f} % CPU",
                flush=True,
            )
        except Refused as reason:
            print(f"memory: {name} fails: {reason}")
        finally:
            server.stop()
    return found


def page(kept: dict[str, Any], by_hand: str = "") -> str:
    """
    The page of all that is kept.

    :param kept: it.
    :param by_hand: the section that a person wrote, without its heading.
    """
    text = _PAGE
    about = kept["about"]
    text += f"\n{about['machine']}; {about['date']}. " + "; ".join(
        f"{name} {version}" for name, version in about["versions"].items()
    )
    head = ("load", "server", "against", "at most", "CPU ratio", "met")
    text += f". {about['note']}".rstrip() if about.get("note") else "."
    text += "\n\n## Against the targets\n\n" + table(head, judge(kept["cost"]))
    if by_hand:
        text += f"\n{BY_HAND}\n\n{by_hand}\n"
    rows = [
        (
            LOADS[load].text,
            name,
            str(spread(values)),
            f"{statistics.median(kept['rate'][load][name]):,.0f}",
        )
        for load, servers in kept["cost"].items()
        for name, values in servers.items()
        if values
    ]
    text += "\n## All figures\n\n![CPU time per message](speed.svg)\n\n"
    text += "CPU in microseconds for each message, delivery or cycle.\n\n"
    text += table(("load", "server", "CPU", "in a second"), rows)
    if "start" in kept:
        wall, cpu = kept["start"]["wall"], kept["start"]["cpu"]
        started = [
            (name, str(spread(wall[name])), str(ratio(wall[name], wall["twistd"])),
             str(ratio(cpu[name], cpu["twistd"])))
            for name in wall
        ]  # fmt: skip
        text += "\n## From exec to listening\n\nAgainst stock twistd with a bare Echo factory.\n\n"
        text += table(("server", "ms", "wall ratio", "CPU ratio"), started)
    if "memory" in kept:
        held = [(name, f"{kib:.1f}", f"{cpu:.2f} %") for name, (kib, cpu) in kept["memory"].items()]
        text += f"\n## {kept['clients']:,} idle clients\n\n"
        text += table(("server", "KiB each", "CPU meanwhile"), held)
    return text


def by_hand(text: str) -> str:
    """
    What a person wrote of the targets that are not met, out of the page: it is kept when that is made again.

    :param text: the page.
    """
    _, _, after = text.partition(f"\n{BY_HAND}\n")
    return after.partition("\n## ")[0].strip()


def options_of(words: Sequence[str]) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description="How much CPU time a message costs.")
    names = [*LOADS, *_OTHERS]
    parser.add_argument(
        "--only", help=f"what is measured, separated by commas; of {', '.join(names)}", default=""
    )
    parser.add_argument("--servers", help="only these, separated by commas", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn")
    parser.add_argument("--warm", type=float, default=0.3, help="seconds before a turn")
    parser.add_argument("--clients", type=int, default=10_000, help="idle ones, for memory")
    parser.add_argument("--results", type=Path, default=_REFERENCE / "speed.json")
    parser.add_argument("--note", default="", help="what the page says of the circumstances")
    parser.add_argument("--write", action="store_true", help="make the page and the chart")
    options = parser.parse_args(words)
    options.only = [word for word in options.only.split(",") if word] or names
    options.servers = [word for word in options.servers.split(",") if word]
    unknown = set(options.only) - set(names)
    if unknown or options.rounds < 1:
        parser.error(
            f"--only: there is no {', '.join(unknown)}" if unknown else "--rounds: at least 1"
        )
    return options


def measure_all(
    options: argparse.Namespace, folder: Path, cores: Sequence[int], kept: dict[str, Any]
) -> None:
    """Measure what is asked for, and put it with what is kept."""
    build(folder)
    for load in options.only:
        if load in LOADS:
            for kind, by_server in measure(load, options, folder, cores).items():
                kept[kind] = merge(kept[kind], {load: by_server})
            # Each load once it is measured: whoever stops the run loses the one that runs alone.
            options.results.write_text(json.dumps(kept) + "\n")
    if "start" in options.only:
        kept["start"] = starts(folder, cores[0])
    if "memory" in options.only:
        kept["memory"] = memory(options.clients, folder, cores[0], options.servers)
        kept["clients"] = options.clients


def main(words: Sequence[str]) -> None:
    """Measure, keep, and write."""
    options = options_of(words)
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("this needs two cores: one for the server, one for the load")
    os.sched_setaffinity(0, cores[1:2])
    # Whoever ends this ends what it started as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: stopped"))
    kept: dict[str, Any] = {"cost": {}, "rate": {}}
    if options.results.exists():
        kept = json.loads(options.results.read_text())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # some servers change their user
        try:
            measure_all(options, folder, cores, kept)
        except Refused as reason:
            raise SystemExit(f"bench: {reason}") from None
    for row in judge({load: kept["cost"][load] for load in options.only if load in kept["cost"]}):
        print("{:18} {:22} against {:9} at most {:5} is {}: {}".format(*row))
    release = ".".join(platform.release().split(".")[:2])
    kept["about"] = {
        "note": options.note,
        "machine": f"Linux {release} on {platform.machine()}, {len(cores)} cores",
        "date": f"{dt.datetime.now(dt.UTC):%B %Y}",
        "versions": versions(),
    }
    options.results.write_text(json.dumps(kept, indent=1) + "\n")
    if options.write:
        write(kept)


def made(kept: dict[str, Any], before: str) -> tuple[str, str]:
    """
    The page and the chart of what is kept, loads in the order in which they are listed.

    :param kept: it.
    :param before: the page as it was, of which stays what is written by hand.
    """
    cost = {load: kept["cost"][load] for load in LOADS if load in kept["cost"]}
    drawn = chart(cost, "CPU time of the server per message, microseconds (median)")
    return page({**kept, "cost": cost}, by_hand(before)), drawn


def write(kept: dict[str, Any]) -> None:
    """Make the page and the chart of what is kept."""
    target = _REFERENCE / "speed.md"
    text, drawn = made(kept, target.read_text() if target.exists() else "")
    target.write_text(text)
    (_REFERENCE / "speed.svg").write_text(drawn)


if __name__ == "__main__":
    main(sys.argv[1:])
