# SPDX-License-Identifier: MIT
"""How a figure is made, and how a row of the table: medians of rounds that alternate, and two servers beside each other."""

from __future__ import annotations

import __main__
import argparse
import dataclasses
import statistics
from collections.abc import Callable
from typing import Any

from servers import Nchan, Process, Sluice, measure, nchan_module

ROUNDS = 3


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__main__.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="SCENARIO", action="append", help="this one, or several; otherwise all of --list")
    parser.add_argument("--rounds", type=int, default=0, help=f"how many rounds each median is of ({ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, one round, nothing kept")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    return parser.parse_args()


ARGUMENTS = arguments()
QUICK = ARGUMENTS.quick
Figures = dict[str, float]


def scale(number: int) -> int:
    return max(1, number // 10) if QUICK else number


def rounds_of(*variants: Callable[[], Figures]) -> list[list[Figures]]:
    """The figures of each variant, a round after the other."""
    rounds = [[variant() for variant in variants] for _ in range(ARGUMENTS.rounds or (1 if QUICK else ROUNDS))]
    return [list(figures) for figures in zip(*rounds)]


def medians(results: list[Figures]) -> Figures:
    return {name: statistics.median(result[name] for result in results) for name in results[0]}


def alternate(*variants: Callable[[], Figures]) -> list[Figures]:
    return [medians(results) for results in rounds_of(*variants)]


Row = tuple[str, str, str, str, bool | None]


def row(name: str, measured: str, limit: str, target: str, is_met: bool | None) -> Row:
    return name, measured, limit, target, is_met


@dataclasses.dataclass
class Rival:
    """Who does the same work as Sluice. `make` is None where it is not installed; `target` is how many times as much of it, or as
    little, Sluice is to do; `options` are those of the load program that differ."""

    make: Callable[[], Process] | None
    target: float | None = None
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


def nchan(target: float | None = None, **options: Any) -> dict[str, Rival]:
    return {"Nchan": Rival(Nchan if nchan_module() else None, target, options)}


@dataclasses.dataclass
class Work:
    """Something that Sluice and others do. What is compared is CPU time: of one, or how many a second of it."""

    name: str
    unit: str
    is_rate: bool
    mode: str
    options: dict[str, Any]
    rivals: dict[str, Rival]


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def shown(work: Work, found: list[Figures]) -> str:
    cpu = f"{spread([one['cpu_us'] for one in found], 2)} µs CPU a {work.unit}"
    return f"{statistics.median(one['per_second'] for one in found):,.0f}/s seen, {cpu}" if work.is_rate else cpu


def ratios_of(figure: str, ours: list[Figures], theirs: list[Figures]) -> list[float]:
    """That of the medians, then that of each round."""
    pairs = [(medians(ours)[figure], medians(theirs)[figure]), *((one[figure], other[figure]) for one, other in zip(ours, theirs))]
    return [one / other for one, other in pairs]


def judge(work: Work, name: str, target: float, found: dict[str, list[Figures]]) -> tuple[str, bool | None]:
    """What is asked beside a rival and what came of it, and whether that is met."""
    asked = f"at {'least' if work.is_rate else 'most'} {target:g} times {name}"
    if name not in found:
        return asked, None
    ratios = ratios_of("cpu_per_second" if work.is_rate else "cpu_us", found["Sluice"], found[name])
    result = f"{asked}: **{ratios[0]:.2f}** ({min(ratios[1:]):.2f} to {max(ratios[1:]):.2f})"
    if work.is_rate:
        result += f"; seen: {ratios_of('per_second', found['Sluice'], found[name])[0]:.2f}"
    return result, ratios[0] >= target if work.is_rate else ratios[0] <= target


def compare(work: Work) -> list[Row]:
    servers: dict[str, tuple[Callable[[], Process], dict[str, Any]]] = {"Sluice": (Sluice, {})}
    for name, rival in work.rivals.items():
        if rival.make:
            servers[name] = rival.make, rival.options
        else:
            print(f"{name} is not installed: its column is skipped", flush=True)
    variants = [lambda make=make, more=more: measure(make, work.mode, **{**work.options, **more}) for make, more in servers.values()]
    found = dict(zip(servers, rounds_of(*variants)))
    beside = "; ".join(f"{name}: {shown(work, figures)}" for name, figures in found.items() if name != "Sluice")
    judged = [judge(work, name, rival.target, found) for name, rival in work.rivals.items() if rival.target is not None]
    verdicts = [is_met for _, is_met in judged if is_met is not None]
    return [row(work.name, shown(work, found["Sluice"]), beside, "; ".join(text for text, _ in judged), all(verdicts) if verdicts else None)]


VERDICTS = {True: "met", False: "MISSED", None: ""}


def table(rows: list[Row]) -> str:
    lines = ["| what | measured | bare send() loop, idle, or whom it names | target and result | |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {measured} | {limit} | {target} | {VERDICTS[is_met]} |"
              for name, measured, limit, target, is_met in rows]
    return "\n".join(lines) + "\n"
