# SPDX-License-Identifier: MIT
"""A guest book in Flask. After an entry is saved it is published, and every open page shows it. Usage: site.py PORT SLUICE"""
import json
import sqlite3
import sys
import urllib.request
from html import escape
from pathlib import Path

from flask import Flask, redirect, request

PORT, SLUICE = int(sys.argv[1]), sys.argv[2]
PAGE = (Path(__file__).parent.parent / "page.html").read_text()
site = Flask(__name__)
store = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
store.execute("CREATE TABLE entry (text TEXT)")


def ask(method, path, body=None):
    headers = {"Content-Type": "application/json"} if body else {}
    return urllib.request.urlopen(urllib.request.Request(SLUICE + path, body, headers, method=method), timeout=5)


def publish(entry):
    """The entry is saved whether this succeeds or not: who has the page open then sees it when he loads it again."""
    try:
        ask("POST", "/channels/guestbook", json.dumps(entry).encode()).close()
    except OSError as fault:
        site.logger.warning("the entry was not published: %s", fault)


def cursor():
    """Taken before the entries are read, so that none falls between the two."""
    try:
        with ask("GET", "/channels/guestbook?wait=0") as answer:
            return answer.headers["ETag"].strip('"')
    except OSError:
        return "now"


@site.get("/")
def show():
    since = cursor()
    rows = store.execute("SELECT rowid, text FROM entry ORDER BY rowid")
    entries = "".join(f'<li id="entry-{key}">{escape(text)}' for key, text in rows)
    return PAGE.replace("@FORM@", "").replace("@SLUICE@", SLUICE).replace("@CURSOR@", since).replace("@ENTRIES@", entries)


@site.post("/")
def save():
    text = request.form["text"][:200]
    row = store.execute("INSERT INTO entry VALUES (?)", (text,))
    publish({"id": row.lastrowid, "text": text})
    return redirect("/", 303)


site.run("127.0.0.1", PORT)
