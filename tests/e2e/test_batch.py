# SPDX-License-Identifier: MIT
"""Publishing many messages in one request: an array or lines of JSON."""

import json

import pytest
from support.client import EventStream, Response, get, path_of, request
from support.server import Server

LINES = "application/x-ndjson"
ARRAY = "application/json"
# Each would be another text if it were read and written again.
EXACT = ["0.1", "0.10", "1E+2", "-0", "12345678901234567890123456789", "1e999", '"caf\\u00e9\\/"', '{"a" : [1,\t2 ] ,"a":3}',
         "[ ]", "null", "3.0", '"\\u0000"', "[1,\r2]"]


def send_batch(server: Server, items: list[str], as_lines: bool) -> Response:
    """Messages as they stand in the body, with white space around each."""
    if as_lines:
        return request(server, "POST", "/channels", " \r\n".join(f"\t{item}" for item in items), Content_Type=LINES)
    return request(server, "POST", "/channels", " [" + " ,\n".join(items) + " ]\n", Content_Type=ARRAY)


def results_of(server: Server, *items: str) -> list[dict[str, str]]:
    response = send_batch(server, list(items), as_lines=False)
    assert response.status == 200, response
    return response.json


def test_batch_as_array_answers_each_in_order(server: Server, channel: str) -> None:
    batch = [
        {"channel": channel, "data": "text"},
        {"channel": channel + "/b", "data": {"a": 1.5, "b": [None]}, "event": "e", "ttl": 60},
        {"channel": "no good", "data": "x"},
        {"channel": channel, "data": "AP8=", "type": "binary"},
        {"channel": channel, "data": "s", "type": "json"},
        {"channel": channel},
        {"data": "x"},
        "not an object",
        {"channel": channel, "data": "x", "ttl": 0},
        {"channel": channel, "data": "=", "type": "binary"},
    ]
    response = request(server, "POST", "/channels", json.dumps(batch), Content_Type="application/json")
    assert response.status == 200
    results = response.json
    assert [result.get("error") for result in results] == [
        None, None, "bad-channel", None, None, "bad-batch", "bad-batch", "bad-batch", "bad-batch", "bad-batch"]
    assert all(result["message"] for result in results if "error" in result)
    messages = get(server, path_of(channel, since="earliest"), Accept="application/json").json["messages"]
    assert [(message["type"], message["data"]) for message in messages] == [
        ("text", "text"), ("binary", "AP8="), ("json", "s")]
    other = get(server, path_of(channel + "/b", since="earliest"), Accept="application/json").json["messages"][0]
    assert (other["event"], other["data"], other["type"]) == ("e", {"a": 1.5, "b": [None]}, "json")


def test_batch_as_lines(server: Server, channel: str) -> None:
    lines = "".join(json.dumps({"channel": channel, "data": str(i), "idempotency_key": str(i % 3)}) + "\n\n" for i in range(4))
    response = request(server, "POST", "/channels", lines, Content_Type="application/x-ndjson")
    assert [result["id"].split("-")[1] for result in response.json] == ["1", "2", "3", "1"]
    assert response.json[3]["duplicate"] is True


def test_a_batch_that_is_not_json_publishes_nothing(server: Server, channel: str) -> None:
    good = json.dumps({"channel": channel, "data": "x"})
    lines = request(server, "POST", "/channels", good + "\n{oops\n", Content_Type="application/x-ndjson")
    assert (lines.status, lines.error) == (400, "bad-json")
    assert "line 2" in lines.json["message"] and "column" in lines.json["message"]
    array = request(server, "POST", "/channels", f"[{good},\n nope]", Content_Type="application/json")
    assert array.error == "bad-json" and "line 2, column" in array.json["message"]
    assert request(server, "POST", "/channels", "{}", Content_Type="application/json").error == "bad-batch"
    assert get(server, f"/api/channels/{channel}").status == 404


def test_empty_batch_answers_an_empty_array(server: Server) -> None:
    assert request(server, "POST", "/channels", "[]", Content_Type="application/json").json == []



@pytest.mark.parametrize("as_lines", [False, True])
def test_json_arrives_byte_for_byte(server: Server, channel: str, as_lines: bool) -> None:
    items = [f'{{"channel":"{channel}" , "type":"json","data": {data} }}' for data in EXACT]
    assert all("id" in result for result in send_batch(server, items, as_lines).json)
    cursor = "earliest"
    for data in EXACT:
        answer = get(server, path_of(channel, since=cursor))
        assert (answer.body, answer.header("Content-Type")) == (data.encode(), "application/json")
        cursor = answer.cursor
    with EventStream(server, path_of(channel, since="earliest")) as stream:
        assert [stream.next_event().data for _ in EXACT] == [data.replace("\r", "\n") for data in EXACT]


def test_lines_may_end_as_the_body_does(server: Server, channel: str) -> None:
    """Nothing stands behind the body: a last line of spaces is looked at to its end and no further."""
    line = json.dumps({"channel": channel, "data": "x"})
    fills_its_buffer = "\n" + " " * (1023 - len(line))
    for end in ("", "\n", "\n  ", "\n\t\r", " ", fills_its_buffer):
        assert len(request(server, "POST", "/channels", line + end, Content_Type=LINES).json) == 1
    assert request(server, "POST", "/channels", "   ", Content_Type=LINES).json == []
    assert request(server, "POST", "/channels", "", Content_Type=LINES).json == []


def test_strings_with_escapes_are_what_they_mean(server: Server, channel: str) -> None:
    item = '{"ch\\u0061nnel":%s,"data":"a\\n\\ud83d\\ude00","event":"\\u00e9","type":"t\\u0065xt"}' % json.dumps(channel)
    assert "id" in results_of(server, item)[0]
    message = get(server, path_of(channel, last=1), Accept="application/json").json["messages"][0]
    assert (message["data"], message["event"], message["type"]) == ("a\n\U0001f600", "\u00e9", "text")


@pytest.mark.parametrize(("members", "word"), [
    ('"data":"x","type":5', '"type" must be a string'),
    ('"data":1,"type":null', '"type" must be a string'),
    ('"data":"x","type":"jpeg"', '"type" must be text, json or binary'),
    ('"data":1,"type":"text"', '"data" of this type must be a string'),
    ('"data":"x","event":5', '"event" must be a string'),
    ('"data":"x","event":""', "event must be 1 to 255 bytes"),
    ('"data":"x","idempotency_key":""', "Idempotency-Key must be 1 to 255 bytes"),
    ('"data":"x","ttl":1.0', '"ttl" must be a whole number'),
    ('"data":"x","ttl":-1', '"ttl" must be a whole number'),
    ('"data":"x","ttl":"60"', '"ttl" must be a whole number'),
    ('"data":"x","ttl":99999999999999999999', '"ttl" must be a whole number'),
    ('"data":"x","evnet":"e"', 'no member "evnet"; it has channel, data, event'),
    ('"data":"x","' + "\u00e9" * 99 + '":1', 'no member "' + "\u00e9" * 31 + ";"),
    ('"data":"x","data":"y"', '"data" is given twice'),
    ('"data":1,"data":2', '"data" is given twice'),
    ('"data":"x","channel":"y"', '"channel" is given twice'),
])
def test_a_wrong_member_is_refused_for_its_message_alone(server: Server, channel: str, members: str, word: str) -> None:
    good = f'{{"channel":"{channel}","data":"good"}}'
    results = results_of(server, f'{{"channel":"{channel}",{members}}}', good)
    assert word in results[0]["message"] and results[0]["channel"] == channel, results
    assert results[0]["error"] in ("bad-batch", "bad-option")
    assert results[1]["id"].endswith("-1")


def test_a_batch_of_too_many_is_refused_whole(server: Server) -> None:
    for body, kind in (("[" + "1," * 100_000 + "1]", ARRAY), ("1\n" * 100_001, LINES)):
        refused = request(server, "POST", "/channels", body, Content_Type=kind)
        assert (refused.status, refused.error) == (400, "bad-batch") and "100000" in refused.json["message"]
    assert len(request(server, "POST", "/channels", "1\n" * 100_000, Content_Type=LINES).json) == 100_000
