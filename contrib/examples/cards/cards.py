#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The rules of the card table. This program talks to Sluice only, by publishing and subscribing.

    cards/from/NAME      what a player says; only he may publish there, so that nobody speaks for another
    cards/player/NAME    what only he is told: his table, his cards, and what was refused
    cards/tables         the tables and who sits there
    cards/table/TABLE    what everybody at a table sees
    cards/state          what this program remembers, so that it goes on where it was when it is started again

Players say {"op":"join","table":T}, {"op":"deal"}, {"op":"put","card":C}, {"op":"take"} and {"op":"leave"}, each with a "ref".
A card is put on one of the same suit or rank; who cannot or does not want to takes one. Whoever has none left has won.
"""
from __future__ import annotations

import argparse
import os
import random
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "clients", "python"))
import sluice

TABLES = ("oak", "elm")
SEATS = 4
HAND = 5
CARDS = [rank + suit for suit in "♠♥♦♣" for rank in ("7", "8", "9", "10", "J", "Q", "K", "A")]


class Refusal(Exception):
    """Why a player may not do what he wants."""


def fits(card: str, top: str) -> bool:
    return card[-1] == top[-1] or card[:-1] == top[:-1]


@dataclass
class Table:
    name: str
    players: list[str] = field(default_factory=list)  # in the order of their turns
    hands: dict[str, list[str]] = field(default_factory=dict)
    deck: list[str] = field(default_factory=list)
    pile: list[str] = field(default_factory=list)
    turn: int = 0
    is_playing: bool = False
    winner: str = ""
    said: str = ""  # what has just happened

    def describe(self) -> dict[str, Any]:
        return {
            "table": self.name, "players": [{"name": name, "cards": len(self.hands.get(name, []))} for name in self.players],
            "top": self.pile[-1] if self.pile else "", "deck": len(self.deck), "is_playing": self.is_playing, "winner": self.winner,
            "turn": self.players[self.turn] if self.is_playing else "", "said": self.said,
        }

    def join(self, player: str) -> None:
        if self.is_playing:
            raise Refusal(f"the game at {self.name} has begun; wait for its end")
        if len(self.players) == SEATS:
            raise Refusal(f"all {SEATS} seats at {self.name} are taken")
        self.players.append(player)
        self.said = f"{player} has joined"

    def deal(self, player: str) -> None:
        if self.is_playing:
            raise Refusal("the game has begun already")
        if len(self.players) < 2:
            raise Refusal("a game needs two players")
        self.deck = random.sample(CARDS, len(CARDS))
        self.hands = {name: [self.deck.pop() for _ in range(HAND)] for name in self.players}
        self.pile = [self.deck.pop()]
        self.turn = (self.players.index(player) + 1) % len(self.players)
        self.is_playing, self.winner, self.said = True, "", f"{player} has dealt"

    def check_turn(self, player: str) -> None:
        if not self.is_playing:
            raise Refusal("nobody has dealt yet")
        if self.players[self.turn] != player:
            raise Refusal(f"it is {self.players[self.turn]}'s turn")

    def put(self, player: str, card: object) -> None:
        self.check_turn(player)
        if card not in CARDS:
            raise Refusal("there is no such card")
        if card not in self.hands[player]:
            raise Refusal(f"you do not hold {card}")
        if not fits(str(card), self.pile[-1]):
            raise Refusal(f"{card} has neither the suit nor the rank of {self.pile[-1]}")
        self.hands[player].remove(str(card))
        self.pile.append(str(card))
        self.said = f"{player} has put {card}"
        if self.hands[player]:
            self.turn = (self.turn + 1) % len(self.players)
        else:
            self.end(player)

    def take(self, player: str) -> None:
        self.check_turn(player)
        if not self.deck:
            self.deck, self.pile = random.sample(self.pile[:-1], len(self.pile) - 1), self.pile[-1:]
        self.said = f"{player} has taken a card" if self.deck else f"{player} has passed: no card is left"
        if self.deck:
            self.hands[player].append(self.deck.pop())
        self.turn = (self.turn + 1) % len(self.players)

    def leave(self, player: str) -> None:
        place = self.players.index(player)
        self.players.remove(player)
        self.deck[:0] = self.hands.pop(player, [])
        self.said = f"{player} has left"
        if self.is_playing and len(self.players) == 1:
            self.end(self.players[0])
        elif self.players:
            self.turn = (self.turn - (place < self.turn)) % len(self.players)

    def end(self, winner: str) -> None:
        self.is_playing, self.winner = False, winner
        self.said += f", and {winner} has won"


class Room:
    def __init__(self, client: sluice.Client, players: list[str]) -> None:
        self.client = client
        self.players = players
        self.tables = {name: Table(name) for name in TABLES}
        self.cursor = ""  # up to where what the players say has been played

    def table_of(self, player: str) -> Table | None:
        return next((table for table in self.tables.values() if player in table.players), None)

    def restore(self) -> None:
        for message in self.client.last("cards/state"):
            self.cursor = message.data["cursor"]
            for state in message.data["tables"]:
                self.tables[state["name"]] = Table(**state)

    def remember(self) -> None:
        self.client.publish("cards/state", {"cursor": self.cursor, "tables": [asdict(table) for table in self.tables.values()]})

    def tell_player(self, player: str, fault: str = "", ref: object = None) -> None:
        table = self.table_of(player)
        self.client.publish(f"cards/player/{player}", {
            "table": table.name if table else "", "cards": table.hands.get(player, []) if table else [], "fault": fault, "ref": ref})

    def tell_table(self, table: Table) -> None:
        self.client.publish(f"cards/table/{table.name}", table.describe())

    def tell_tables(self) -> None:
        self.client.publish("cards/tables", [{"table": table.name, "players": table.players, "seats": SEATS, "is_playing": table.is_playing}
                                             for table in self.tables.values()])

    def play(self, player: str, said: dict[str, Any]) -> Table:
        table = self.table_of(player)
        op = said.get("op")
        if op == "join":
            if table:
                raise Refusal(f"you sit at {table.name} already")
            table = self.tables.get(str(said.get("table")))
            if not table:
                raise Refusal(f"there is no such table; there are {' and '.join(TABLES)}")
            table.join(player)
            return table
        if op not in ("deal", "put", "take", "leave"):
            raise Refusal("say join, deal, put, take or leave")
        if not table:
            raise Refusal("join a table first")
        if op == "put":
            table.put(player, said.get("card"))
        else:
            getattr(table, op)(player)
        return table

    def handle(self, player: str, said: Any) -> None:
        ref = said.get("ref") if isinstance(said, dict) else None
        ref = ref if isinstance(ref, (str, int)) and len(str(ref)) <= 64 else None
        try:
            table = self.play(player, said if isinstance(said, dict) else {})
        except Refusal as fault:
            self.tell_player(player, str(fault), ref)
            return
        self.remember()
        for name in {player, *table.players}:
            self.tell_player(name, ref=ref if name == player else None)
        self.tell_table(table)
        self.tell_tables()

    def serve(self) -> None:
        self.restore()
        channels = [f"cards/from/{player}" for player in self.players]
        if not self.cursor:
            # The place to begin with is fixed before anybody is told that the program runs.
            self.cursor = ".".join(self.client.publish(channel, {"op": "begin"}).id for channel in channels)
        self.remember()
        for table in self.tables.values():
            self.tell_table(table)
        for player in self.players:
            self.tell_player(player)
        self.tell_tables()
        print("ready", flush=True)
        for told in self.client.subscribe(*channels, since=self.cursor):
            self.cursor = told.cursor
            if isinstance(told, sluice.Message):
                self.handle(told.channel.rsplit("/", 1)[1], told.data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8080", help="where Sluice is")
    parser.add_argument("--token", default=os.environ.get("SLUICE_TOKEN"), help="may publish and subscribe to cards/** (or SLUICE_TOKEN)")
    parser.add_argument("player", nargs="+", help="the names of the players, as in their tokens")
    arguments = parser.parse_args()
    Room(sluice.Client(arguments.server, arguments.token), arguments.player).serve()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except (sluice.SluiceError, OSError) as fault:
        sys.exit(f"cards.py: {fault}")
