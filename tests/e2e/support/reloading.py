# SPDX-License-Identifier: MIT
"""Servers whose configuration file changes under them."""

from __future__ import annotations

import pathlib
import signal
import tempfile

from .redis import log_lines
from .server import Server, wait_until


class Reloading(Server):
    """A server with a configuration file that can be changed under it."""

    def __init__(self, text: str, *options: str) -> None:
        self.configuration = tempfile.NamedTemporaryFile("w", suffix=".ini")
        pathlib.Path(self.configuration.name).write_text(text)
        super().__init__("--shards", "1", "--config", self.configuration.name, *options)

    def change(self, text: str, event: str) -> dict[str, str]:
        """Awaits the line of the log that says what became of it."""
        before = len(log_lines(self, event))
        pathlib.Path(self.configuration.name).write_text(text)
        self.process.send_signal(signal.SIGHUP)
        return wait_until(lambda: log_lines(self, event)[before:], what=event)[0]

    def reload(self, text: str) -> dict[str, str]:
        return self.change(text, "reloaded")
