# SPDX-License-Identifier: MIT
"""What README.md shows, with curl itself."""

import json
import subprocess

from support.client import get, subscribers
from support.server import Server, wait_until


def curl(*arguments: str) -> str:
    return subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, timeout=20, check=True).stdout


def test_publish_poll_and_batch(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}"
    published = json.loads(curl("-d", "follow the white rabbit", f"{url}/channels/updates"))
    assert curl(f"{url}/channels/updates?last=1") == "follow the white rabbit"
    batch = json.loads(curl("-H", "Accept: application/json", f"{url}/channels/updates?since=earliest"))
    assert (batch["messages"][0]["type"], batch["cursor"]) == ("text", published["id"])
    curl("-H", "Content-Type: application/json", "-d", '{"a":1}', f"{url}/channels/updates")
    assert json.loads(curl(f"{url}/channels/updates?last=1")) == {"a": 1}
    results = json.loads(curl("-d", '[{"channel":"a","data":"x"},{"channel":"b","data":"y"}]', f"{url}/channels"))
    assert [result["channel"] for result in results] == ["a", "b"]
    assert json.loads(curl("-X", "DELETE", f"{url}/api/channels/a"))["purged"] == 1
    assert "204" in curl("-sI", f"{url}/channels/quiet").splitlines()[0]


def test_event_stream(server: Server) -> None:
    url = f"http://127.0.0.1:{server.port}/channels/live"
    process = subprocess.Popen(["curl", "-sSN", "-H", "Accept: text/event-stream", url], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline().startswith("retry: ")
    wait_until(lambda: get(server, "/api/channels/live").status == 200 and subscribers(server, "live")["sse"] == 1)
    curl("-d", "knock knock", url)
    while (line := process.stdout.readline()) != "data: knock knock\n":
        assert line
    process.terminate()
    process.wait()
    process.stdout.close()


def test_one_url_for_a_large_upload(server: Server, tmp_path: object) -> None:
    """curl asks with Expect: 100-continue before it sends this much."""
    data = "x" * 1_000_000
    file = f"{tmp_path}/large"
    with open(file, "w") as large:
        large.write(data)
    url = f"http://127.0.0.1:{server.port}/channels/large"
    assert "id" in json.loads(curl("-H", "Content-Type: text/plain", "--data-binary", f"@{file}", url))
    assert curl(f"{url}?last=1") == data
    with open(file, "w") as large:
        large.write(data + data)
    assert json.loads(curl("-H", "Content-Type: text/plain", "--data-binary", f"@{file}", url))["error"] == "too-large"


def test_a_file_is_what_it_holds_and_a_form_is_refused(server: Server, tmp_path: object) -> None:
    file = f"{tmp_path}/file"
    url = f"http://127.0.0.1:{server.port}/channels/file"
    for data, kind in ((b"caf\xc3\xa9", "text"), (b"\x89PNG", "binary")):
        with open(file, "wb") as written:
            written.write(data)
        assert json.loads(curl("-T", file, url))["type"] == kind
        assert get(server, "/channels/file?last=1").body == data
    assert "--data-binary" in json.loads(curl("-F", f"file=@{file}", url))["message"]
