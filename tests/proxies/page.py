# SPDX-License-Identifier: MIT
"""The tables of docs/PROXIES.md: written from what was found, and read again by the tests."""

from __future__ import annotations

import pathlib
import re

from support.server import SOURCE
from ways import KINDS, TITLES

PAGE = SOURCE / "docs/PROXIES.md"


def mark(name: str, end: str) -> str:
    return f"<!-- {end} {name}: written by make proxies -->"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def write(name: str, text: str, page: pathlib.Path = PAGE) -> None:
    """Puts the text between the two marks of that name."""
    begin, end = mark(name, "begin"), mark(name, "end")
    old = page.read_text()
    assert begin in old and end in old, f"{page} has lost its marks for {name}"
    page.write_text(re.sub(rf"(?s){re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n\n{text}\n{end}", old))


def milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))} ms"


def cells(title: str, page: pathlib.Path = PAGE) -> dict[str, str]:
    """What the page says of each way through a route."""
    text = page.read_text().split(mark("ways", "begin"))[1].split(mark("ways", "end"))[0]
    for line in text.splitlines():
        words = [word.strip() for word in line.strip("|").split("|")]
        if words[0] == title:
            return dict(zip(KINDS, words[1:], strict=True))
    raise AssertionError(f"{page} says nothing of {title}: run make proxies")


HEAD = ["", *(TITLES[kind] for kind in KINDS)]
