# SPDX-License-Identifier: MIT
"""For tests in which somebody has to be in time: a machine that stands still meanwhile is not the server's fault."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import ParamSpec

Arguments = ParamSpec("Arguments")

ATTEMPTS = 5
LOOK_S = 0.02


class Watch(threading.Thread):
    """`with Watch() as watch:`; the longest that the tests' process has stood still is in `longest_s`. Of the time that has gone by,
    `seconds` is what it could do something in."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.longest_s = self.lost_s = 0.0
        self.is_over = threading.Event()

    def run(self) -> None:
        is_over = False
        while not is_over:
            looked = time.monotonic()
            is_over = self.is_over.wait(LOOK_S)
            late_s = max(0.0, time.monotonic() - looked - LOOK_S)
            self.longest_s = max(self.longest_s, late_s)
            self.lost_s += late_s

    def __enter__(self) -> Watch:
        self.begun = time.monotonic()
        self.start()
        return self

    def __exit__(self, *failure: object) -> None:
        passed_s = time.monotonic() - self.begun
        self.is_over.set()
        self.join()
        self.seconds = passed_s - self.lost_s


def again_after_a_stall(of_s: float) -> Callable[[Callable[Arguments, None]], Callable[Arguments, None]]:
    """A test that fails while the machine has stood still for so long is done again, a few times. It has a server of its own."""
    def decorate(test: Callable[Arguments, None]) -> Callable[Arguments, None]:
        @functools.wraps(test)
        def attempt(*arguments: Arguments.args, **named: Arguments.kwargs) -> None:
            for number in range(ATTEMPTS):
                try:
                    with Watch() as watch:
                        return test(*arguments, **named)
                except (AssertionError, OSError):
                    if watch.longest_s < of_s or number == ATTEMPTS - 1:
                        raise
                    print(f"again: everything stood still for {watch.longest_s:.2f} s")
        return attempt
    return decorate
