# SPDX-License-Identifier: MIT
"""Requests of SockJS that hold many commands with long answers: what is kept is bounded, and nothing is lost."""

import json
import threading
import time
from collections.abc import Iterator

import pytest
from support.client import Connection, publish, request_bytes
from support.faults import FaultyServer
from support.server import Server
from support.sockjs import FrameStream, Session, messages_of, streaming
from support.websocket import WebSocket

COMMANDS = 100
ANSWER_BYTES = 1_000_000


def answers(session: Session, transport: str) -> Iterator[str]:
    while transport == "xhr":
        yield from session.take_messages()
    while True:
        with streaming(session, transport) as stream:
            while frame := stream.frame():
                if frame != "h":
                    yield from messages_of(frame)


def refs(texts: Iterator[str], count: int = COMMANDS) -> list[int]:
    """Of so many answers, each of them whole."""
    found = []
    for _ in range(count):
        answer = json.loads(next(texts))
        assert len(answer["messages"]) == 10 and all(len(each["data"]) == ANSWER_BYTES // 10 for each in answer["messages"])
        found.append(answer["ref"])
    return found


def keep_history(server: Server, channel: str, count: int = COMMANDS) -> str:
    """What asks for it many times at once."""
    for _ in range(10):
        publish(server, channel, "x" * (ANSWER_BYTES // 10))
    return json.dumps([json.dumps({"op": "history", "channel": channel, "ref": ref}) for ref in range(count)])


@pytest.mark.parametrize("transport", ["xhr", "xhr_streaming", "eventsource"])
def test_answers_to_the_commands_of_one_request_wait_until_they_are_fetched(channel: str, transport: str) -> None:
    with Server("--shards", "1") as server, Connection(server) as sender:
        session = Session(server, "/sockjs").open()
        wish = keep_history(server, channel)
        before = server.peak_bytes()
        sender.send(request_bytes("POST", f"{session.url}/xhr_send", wish))
        assert refs(answers(session, transport)) == list(range(COMMANDS))
        assert sender.read_response().status == 204
        assert server.peak_bytes() - before < 32 * ANSWER_BYTES


@pytest.mark.parametrize("count", [COMMANDS, 30], ids=["in pieces", "at once"])
def test_answers_to_the_commands_of_one_frame_wait_until_they_are_read(channel: str, count: int) -> None:
    with Server("--shards", "1") as server:
        session = Session(server, "/sockjs")
        wish = keep_history(server, channel, count)
        before = server.peak_bytes()
        with WebSocket(server, f"{session.url}/websocket", receive_buffer=4096) as client:
            client.put_text(wish)
            assert client.take() == "o"
            found = refs((text for _ in range(count) for text in messages_of(str(client.take()))), count)
            assert found == list(range(count))
        assert server.peak_bytes() - before < 32 * ANSWER_BYTES


def test_a_frame_of_many_commands_is_read_once(channel: str) -> None:
    """What has been taken of it is not looked at again each time that it waits."""
    count = 20_000
    with Server("--shards", "1") as server:
        publish(server, channel, "x")
        with WebSocket(server, f"{Session(server, '/sockjs').url}/websocket") as client:
            assert client.take() == "o"
            reader = threading.Thread(target=client.put_text, args=(
                json.dumps([json.dumps({"op": "history", "channel": channel, "ref": ref}) for ref in range(count)]),))
            reader.start()
            begun = time.monotonic()
            for ref in range(count):
                assert json.loads(messages_of(str(client.take()))[0])["ref"] == ref
            reader.join()
            assert time.monotonic() - begun < 30 and server.cpu_seconds() < 20


def hear(session: Session, stream: FrameStream | None, count: int) -> list[str]:
    """So many messages, or those before the session or its stream ends."""
    heard: list[str] = []
    while len(heard) < count:
        if stream:
            frame = stream.frame() or "c"
        else:
            response = session.post("xhr")
            frame = response.body.decode() if response.status == 200 else "c"
        if frame[0] == "c":
            break
        heard += messages_of(frame) if frame[0] == "a" else []
    return heard


@pytest.mark.parametrize("transport", ["xhr", "xhr_streaming"])
def test_an_answer_without_memory_ends_the_session_and_no_part_of_it_is_told(transport: str) -> None:
    messages = [f"{number} {'m' * 3000}" for number in range(5)]
    with FaultyServer("--sockjs", "/echo app=echo") as server:
        for call in range(1, 40):
            session = Session(server, "/echo").open()
            stream = streaming(session, transport) if transport != "xhr" else None
            server.fail("realloc", call)
            response = session.post("xhr_send", json.dumps(messages))
            heard = hear(session, stream, len(messages)) if response.status == 204 else []
            has_failed = server.mend("realloc")
            assert heard == messages[:len(heard)], call
            if stream:
                stream.close()
            if not has_failed:
                break
        assert not has_failed and heard == messages
