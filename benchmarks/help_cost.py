"""
What does the project add to ``twistd --help``?

Two virtual environments would differ in more than this project, so one is used, and its dropin is
moved out of sight for every other run. Runs are paired and warm (dropin.cache is written first, for
each of the two states), and measured as the kernel counts the CPU time of a finished process.

    nox -s help_cost            # or: python benchmarks/help_cost.py [pairs]
"""

from __future__ import annotations

import os
import statistics
import sys
import sysconfig
from pathlib import Path

PAIRS = 40


def cpu_seconds(command: list[str]) -> float:
    """The user and system time of one run, as wait4 has them."""
    child = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure, and print the medians."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    dropin = Path(sysconfig.get_path("purelib"), "twisted", "plugins", "myproject.py")
    if not dropin.exists():
        raise SystemExit(
            f"{dropin} is missing: install the project here, not editable, then run this"
        )
    hidden = dropin.with_suffix(".hidden")
    command = [str(Path(sys.executable).with_name("twistd")), "--help"]
    with_it: list[float] = []
    without_it: list[float] = []
    for _ in range(pairs):
        for state, times in (("with", with_it), ("without", without_it)):
            if state == "without":
                dropin.rename(hidden)
            try:
                cpu_seconds(command)  # writes the cache for this state
                times.append(cpu_seconds(command))
            finally:
                if state == "without":
                    hidden.rename(dropin)
    differences = [a - b for a, b in zip(with_it, without_it, strict=True)]
    print(
        f"twistd --help, {pairs} pairs, Python {sys.version.split()[0]}, CPU milliseconds, medians"
    )
    print(f"  with the project     {1000 * statistics.median(with_it):7.1f}")
    print(f"  without it           {1000 * statistics.median(without_it):7.1f}")
    low, _, high = statistics.quantiles(differences, n=4)
    print(
        f"  difference           {1000 * statistics.median(differences):7.1f}"
        f"   (quartiles {1000 * low:.1f} to {1000 * high:.1f})"
    )


if __name__ == "__main__":
    main()
