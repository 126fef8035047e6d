#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The server program of the table viewer: it reads uploads, checks and pages them. It only publishes and subscribes.

    tables/inbox               requests: {"op":"upload",…} and {"op":"page",…}
    tables/inbox/KEY           the parts of an upload, binary messages in their order
    tables/inbox/KEY/answer    what came of it
    tables/NAME                of each table: what it is now, published again with every upload
    tables/NAME/VERSION/N      page N of it, published when somebody asks
"""
from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "clients", "python"))
import sluice

SIZE_MAX = 10 << 20
COLUMNS_MAX = 200
NAME_MAX = 64
BAD_MAX = 100  # rows that are named; all are counted
PAGE_ROWS = 50
PAGE_BYTES = 200 << 10
PART_BYTES = 256 << 10
UPLOADS_MAX = 4
UPLOAD_PATIENCE_S = 60.0
TABLES_MAX = 100


class Refusal(Exception):
    """What is wrong with an upload or a request, for people."""


class Table:
    def __init__(self, name: str, columns: list[str], rows: list[list[str]], bad: list[dict[str, Any]], bad_count: int) -> None:
        self.name = name
        self.version = uuid.uuid4().hex[:12]
        self.columns = columns
        self.bad = bad
        self.bad_count = bad_count
        self.row_count = len(rows)
        self.pages = list(cut_pages(rows)) or [(1, [])]

    def describe(self, upload: str, title: str) -> dict[str, Any]:
        return {"table": self.name, "version": self.version, "title": title, "upload": upload, "columns": self.columns,
                "rows": self.row_count, "pages": len(self.pages), "bad": self.bad, "bad_count": self.bad_count}


def cut_pages(rows: list[list[str]]) -> Iterator[tuple[int, list[list[str]]]]:
    """Pages that fit into a message: the number of the first row of each, and its rows."""
    first = size = 0
    for i, row in enumerate(rows):
        row_size = sum(map(len, row))
        if i > first and (i - first == PAGE_ROWS or size + row_size > PAGE_BYTES):
            yield first + 1, rows[first:i]
            first, size = i, 0
        size += row_size
    if rows:
        yield first + 1, rows[first:]


def split_line(line: bytes) -> list[str]:
    if b"\0" in line:
        raise Refusal("has a NUL byte")
    try:
        return line.decode().split("\t")
    except UnicodeDecodeError as fault:
        raise Refusal(f"is not UTF-8 at byte {fault.start + 1}") from None


def parse(name: str, data: bytes) -> Table:
    """Tab-separated values: the first line names the columns, every other one is a row of as many. Raises Refusal when there is no
    table in it; a bad row is left out and named by its line."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    if not lines or not lines[0].strip():
        raise Refusal("line 1 is empty: it has to name the columns")
    if lines[0].count(b"\t") >= COLUMNS_MAX:
        raise Refusal(f"line 1 has {lines[0].count(9) + 1} columns; at most {COLUMNS_MAX} are taken")
    try:
        columns = split_line(lines[0].rstrip(b"\r"))
    except Refusal as fault:
        raise Refusal(f"line 1 {fault}") from None
    rows: list[list[str]] = []
    bad: list[dict[str, Any]] = []
    bad_count = 0
    for number, line in enumerate(lines[1:], 2):
        try:
            if line.count(b"\t") + 1 != len(columns):
                count = line.count(9) + 1
                raise Refusal(f"has {count} {'column' if count == 1 else 'columns'} instead of {len(columns)}")
            if len(line) > PAGE_BYTES:
                raise Refusal(f"is longer than {PAGE_BYTES >> 10} KB")
            rows.append(split_line(line.rstrip(b"\r")))
        except Refusal as fault:
            bad_count += 1
            if len(bad) < BAD_MAX:
                bad.append({"line": number, "fault": str(fault)})
    return Table(name, columns, rows, bad, bad_count)


def take_text(request: dict[str, Any], member: str, pattern: str, what: str) -> str:
    value = request.get(member)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise Refusal(f"{member} must be {what}")
    return value


def take_number(request: dict[str, Any], member: str, least: int, most: int) -> int:
    value = request.get(member)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Refusal(f"{member} must be a whole number from {least} to {most}")
    return value


class Tables:
    def __init__(self, client: sluice.Client, folder: Path | None) -> None:
        self.client = client
        self.folder = folder
        self.tables: dict[str, Table] = {}
        self.lock = threading.Lock()
        self.uploads = 0

    def serve(self, ready: Callable[[], None]) -> None:
        # The place to begin with is fixed before anybody is told that the program runs.
        subscription = self.client.subscribe("tables/inbox", since=self.client.publish("tables/inbox", {"op": "begin"}).id)
        for path in sorted(self.folder.glob("*.tsv")) if self.folder else []:
            with contextlib.suppress(Refusal):
                self.take_over(parse(path.stem, path.read_bytes()), "", path.name)
        ready()
        for told in subscription:
            if isinstance(told, sluice.Message) and isinstance(told.data, dict):
                self.handle(told.data)

    def handle(self, request: dict[str, Any]) -> None:
        key = request.get("key")
        try:
            if request.get("op") == "upload":
                key = take_text(request, "key", "[0-9a-z]{16,64}", "16 to 64 letters and digits")
                self.begin_upload(key, request)
            elif request.get("op") == "page":
                self.answer_page(request)
        except Refusal as fault:
            if isinstance(key, str) and re.fullmatch("[0-9a-z]{16,64}", key):
                self.client.publish(f"tables/inbox/{key}/answer", {"error": str(fault)})

    def begin_upload(self, key: str, request: dict[str, Any]) -> None:
        name = take_text(request, "table", f"[A-Za-z0-9_-]{{1,{NAME_MAX}}}", f"1 to {NAME_MAX} letters, digits, - and _")
        if name == "inbox":
            raise Refusal("a table cannot be named inbox")
        size = take_number(request, "size", 1, SIZE_MAX)
        parts = take_number(request, "parts", 1, -(-SIZE_MAX // PART_BYTES))
        title = str(request.get("title", ""))[:255]
        with self.lock:
            if self.uploads >= UPLOADS_MAX:
                raise Refusal("too many uploads at once: try again in a moment")
            if name not in self.tables and len(self.tables) >= TABLES_MAX:
                raise Refusal(f"there are {TABLES_MAX} tables already")
            self.uploads += 1
        threading.Thread(target=self.upload, args=(key, name, size, parts, title), daemon=True).start()

    def upload(self, key: str, name: str, size: int, parts: int, title: str) -> None:
        try:
            data = self.read_parts(key, size, parts)
            table = parse(name, data)
            if self.folder:
                (self.folder / f"{name}.tsv").write_bytes(data)
            self.take_over(table, key, title)
            self.client.publish(f"tables/inbox/{key}/answer", {"table": name, "version": table.version})
        except (Refusal, sluice.SluiceError, OSError) as fault:
            self.client.publish(f"tables/inbox/{key}/answer", {"error": str(fault)})
        finally:
            with self.lock:
                self.uploads -= 1

    def take_over(self, table: Table, upload: str, title: str) -> None:
        with self.lock:
            self.tables[table.name] = table
        self.publish_page(table, 1)
        self.client.publish(f"tables/{table.name}", table.describe(upload, title))

    def read_parts(self, key: str, size: int, parts: int) -> bytes:
        data = bytearray()
        # The page ends an upload that it gives up; one that has gone away is noticed by the parts that do not come.
        timer = threading.Timer(UPLOAD_PATIENCE_S, lambda: self.client.publish(f"tables/inbox/{key}", {"op": "late"}))
        timer.daemon = True
        timer.start()
        try:
            for told in self.client.subscribe(f"tables/inbox/{key}", since="earliest"):
                if isinstance(told, sluice.Reset):
                    raise Refusal("parts of the upload were lost: try again")
                if told.type != "binary":
                    is_late = told.data == {"op": "late"}
                    raise Refusal(f"only {len(data)} of {size} bytes came" if is_late else "the upload was given up")
                data += told.data
                parts -= 1
                if len(data) > size:
                    raise Refusal(f"more than the {size} bytes came that were announced")
                if parts == 0:
                    break
        finally:
            timer.cancel()
        if len(data) != size:
            raise Refusal(f"{len(data)} bytes came where {size} were announced")
        return bytes(data)

    def answer_page(self, request: dict[str, Any]) -> None:
        name = take_text(request, "table", f"[A-Za-z0-9_-]{{1,{NAME_MAX}}}", "the name of a table")
        with self.lock:
            table = self.tables.get(name)
        # Whoever asks for an older version is told of the newer one by the table's own channel.
        if table and request.get("version") == table.version:
            self.publish_page(table, take_number(request, "page", 1, len(table.pages)))

    def publish_page(self, table: Table, number: int) -> None:
        first, rows = table.pages[number - 1]
        self.client.publish(f"tables/{table.name}/{table.version}/{number}", {"page": number, "first": first, "rows": rows},
                            idempotency_key="page")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8080", help="where Sluice is")
    parser.add_argument("--token", default=os.environ.get("SLUICE_TOKEN"), help="may publish and subscribe to tables/** (or SLUICE_TOKEN)")
    parser.add_argument("--folder", type=Path, help="where the tables are kept; otherwise they end with the program")
    arguments = parser.parse_args()
    Tables(sluice.Client(arguments.server, arguments.token), arguments.folder).serve(lambda: print("ready", flush=True))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except (sluice.SluiceError, OSError) as fault:
        sys.exit(f"tables.py: {fault}")
