# SPDX-License-Identifier: MIT
"""A guest book in Django. After an entry is saved it is published, and every open page shows it. Usage: site.py PORT SLUICE"""
import json
import logging
import secrets
import sys
import urllib.request
from pathlib import Path

from django.conf import settings
from django.core.management import execute_from_command_line

PORT, SLUICE = sys.argv[1], sys.argv[2]
settings.configure(
    SECRET_KEY=secrets.token_hex(32), ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"], DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "file:book?mode=memory&cache=shared"}})

import django  # noqa: E402

django.setup()
from django.db import connection, models, transaction  # noqa: E402
from django.http import HttpResponse, HttpResponseRedirect  # noqa: E402
from django.middleware.csrf import get_token  # noqa: E402
from django.urls import path  # noqa: E402
from django.utils.html import escape, format_html  # noqa: E402

PAGE = (Path(__file__).parent.parent / "page.html").read_text()


class Entry(models.Model):
    text = models.CharField(max_length=200)

    class Meta:
        app_label = "guestbook"


def ask(method, where, body=None):
    headers = {"Content-Type": "application/json"} if body else {}
    return urllib.request.urlopen(urllib.request.Request(SLUICE + where, body, headers, method=method), timeout=5)


def publish(entry):
    """The entry is saved whether this succeeds or not: who has the page open then sees it when he loads it again."""
    try:
        ask("POST", "/channels/guestbook", json.dumps({"id": entry.id, "text": entry.text}).encode()).close()
    except OSError as fault:
        logging.warning("the entry was not published: %s", fault)


def cursor():
    """Taken before the entries are read, so that none falls between the two."""
    try:
        with ask("GET", "/channels/guestbook?wait=0") as answer:
            return answer.headers["ETag"].strip('"')
    except OSError:
        return "now"


def guest_book(request):
    if request.method == "POST":
        entry = Entry.objects.create(text=request.POST["text"][:200])
        transaction.on_commit(lambda: publish(entry))
        return HttpResponseRedirect("/")
    since = cursor()
    form = format_html('<input type="hidden" name="csrfmiddlewaretoken" value="{}">', get_token(request))
    entries = "".join(f'<li id="entry-{entry.id}">{escape(entry.text)}' for entry in Entry.objects.order_by("id"))
    return HttpResponse(PAGE.replace("@FORM@", form).replace("@SLUICE@", SLUICE).replace("@CURSOR@", since).replace("@ENTRIES@", entries))


urlpatterns = [path("", guest_book)]
with connection.schema_editor() as editor:
    editor.create_model(Entry)
execute_from_command_line([sys.argv[0], "runserver", "--noreload", f"127.0.0.1:{PORT}"])
