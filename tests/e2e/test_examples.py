# SPDX-License-Identifier: MIT
"""contrib/examples/run, as somebody meets it who has never seen it: what it says when something is in its way, and that nothing is left of it."""

import os
import pathlib
import shutil
import socket
import subprocess
import time

import pytest
from support.redis import Port
from support.server import PATIENCE, SLUICE, SOURCE

RUN = SOURCE / "contrib" / "examples" / "run"
NAMES = ("chat", "table", "cards", "scores", "django", "flask", "express")

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([RUN, *words], env={**os.environ, **environment}, capture_output=True, text=True, timeout=3 * PATIENCE)


def test_without_a_name_it_lists_them() -> None:
    said = run()
    assert said.returncode == 2 and all(name in said.stderr for name in NAMES) and "PORT=9080" in said.stderr
    assert run("--help").stdout == said.stderr


def test_a_name_that_is_none_is_named() -> None:
    said = run("chatt")
    assert said.returncode == 2 and "there is no example 'chatt'" in said.stderr


@pytest.mark.parametrize(("port", "words"), [("abc", "PORT is a number"), ("0", "PORT is from 1 to 65533"), ("65534", "PORT is from 1 to 65533"), ("1234567", "PORT is a number")])
def test_a_port_that_cannot_be(port: str, words: str, tmp_path: pathlib.Path) -> None:
    said = run("scores", str(SLUICE), PORT=port, TMPDIR=str(tmp_path))
    if "missing: apt-get install" in said.stderr:
        pytest.skip("needs redis-server")
    assert said.returncode == 1 and words in said.stderr
    assert list(tmp_path.iterdir()) == [], "nothing is left"


def test_a_program_that_is_not_there() -> None:
    said = run("chat", "/nowhere/sluice")
    assert said.returncode == 1 and "there is no program /nowhere/sluice" in said.stderr


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_port_that_is_taken_is_said_before_anything_is_started(taken: int, tmp_path: pathlib.Path) -> None:
    ports = Port(3)
    try:
        with socket.create_server(("127.0.0.1", ports.number + taken)):
            said = run("scores", str(SLUICE), PORT=str(ports.number), TMPDIR=str(tmp_path))
    finally:
        ports.release()
    if "missing: apt-get install" in said.stderr:
        pytest.skip("needs redis-server")
    assert said.returncode == 1 and f"something listens on port {ports.number + taken} already" in said.stderr
    assert f"PORT={ports.number + 1000} contrib/examples/run scores" in said.stderr and "level=info" not in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_packages_that_are_missing_are_named(tmp_path: pathlib.Path) -> None:
    for name in ("sh", "dirname", "mktemp", "tr", "rm", "curl"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    for name, packages in (("scores", "redis-server redis-tools"), ("express", "nodejs"), ("table", "python3"), ("flask", "python3-flask")):
        said = run(name, str(SLUICE), PATH=str(tmp_path), PYTHON="/nowhere/python3", MODULES="/nowhere")
        assert said.returncode == 1 and "missing: apt-get install " in said.stderr and packages in said.stderr


@pytest.mark.parametrize("name", ["chat", "table", "cards"])
def test_it_says_where_to_look_and_leaves_nothing(name: str, tmp_path: pathlib.Path) -> None:
    ports = Port(1)
    try:
        said, log = tmp_path / "said", tmp_path / "log"
        (tmp_path / "work").mkdir()
        with said.open("w") as out, log.open("w") as fault:
            child = subprocess.Popen([RUN, name, str(SLUICE)], env={**os.environ, "PORT": str(ports.number), "TMPDIR": str(tmp_path / "work")}, stdout=out, stderr=fault)
            deadline = time.monotonic() + 3 * PATIENCE
            while "Ctrl-C ends all of it." not in said.read_text():
                assert child.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.02)
            assert f"http://127.0.0.1:{ports.number}/examples/{name}/" in said.read_text()
            child.terminate()
            assert child.wait(PATIENCE) == 0
        assert list((tmp_path / "work").iterdir()) == []
        with socket.socket() as probe, pytest.raises(OSError):
            probe.connect(("127.0.0.1", ports.number))
    finally:
        ports.release()
