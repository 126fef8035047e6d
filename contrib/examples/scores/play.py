#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Plays matches and publishes each goal, in turns with plain redis-cli PUBLISH and with HTTP, as two old systems might."""
from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
import urllib.request

MATCHES = {"Tidebrook - Weirham": ["Amis", "Bold", "Crane"], "Lockport - Millrace": ["Dale", "Ebb", "Ford"]}


def publish_by_redis(port: int, score: dict[str, object]) -> None:
    subprocess.run(["redis-cli", "-p", str(port), "PUBLISH", "scores", json.dumps(score)], check=True, stdout=subprocess.DEVNULL)


def publish_by_http(server: str, score: dict[str, object]) -> None:
    request = urllib.request.Request(f"{server}/channels/scores", json.dumps(score).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="http://127.0.0.1:8080", help="where Sluice is")
    parser.add_argument("--redis-port", type=int, default=6379)
    parser.add_argument("--goals", type=int, default=0, help="ends after so many; 0 is never")
    parser.add_argument("--pause", type=float, default=3.0, help="seconds between them")
    arguments = parser.parse_args()
    scores = {match: [0, 0] for match in MATCHES}
    goals = 0
    while not arguments.goals or goals < arguments.goals:
        match, side = random.choice(list(MATCHES)), random.randrange(2)
        scores[match][side] += 1
        home, away = scores[match]
        score = {"match": match, "home": home, "away": away, "scorer": random.choice(MATCHES[match])}
        try:
            if goals % 2 == 0:
                publish_by_redis(arguments.redis_port, score)
            else:
                publish_by_http(arguments.server, score)
        except (OSError, subprocess.CalledProcessError) as fault:
            print(f"not published, the next one says the same score and more: {fault}", file=sys.stderr)
        goals += 1
        time.sleep(arguments.pause)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
