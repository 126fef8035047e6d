# SPDX-License-Identifier: MIT
"""What the process gives up, and what happens to one that does what it never should."""

import os
import pathlib
import pwd
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator

import pytest
from support.client import get, path_of, publish
from support.faults import FaultyServer
from support.redis import RedisServer, await_ready, log_lines
from support.server import SLUICE, Server, wait_until
from support.supervisor import is_sanitized

NOBODY = pwd.getpwnam("nobody")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
unsanitized = pytest.mark.skipif(is_sanitized(), reason="a sanitizer makes system calls of its own")


def facts_of_threads(server: Server, name: str) -> list[list[str]]:
    """What /proc says of each thread under that name."""
    tasks = pathlib.Path(f"/proc/{server.process.pid}/task")
    texts = [(task / "status").read_text() for task in tasks.iterdir()]
    return [line.split()[1:] for text in texts for line in text.splitlines() if line.startswith(f"{name}:")]


@pytest.fixture
def open_folder() -> Iterator[pathlib.Path]:
    """One that everybody may look into: every pytest that starts closes the folder above those of its tests."""
    with tempfile.TemporaryDirectory(prefix="sluice-test-") as name:
        pathlib.Path(name).chmod(0o755)
        yield pathlib.Path(name)


def given_to_nobody(server: Server) -> Server:
    os.chown(server.folder.name, NOBODY.pw_uid, NOBODY.pw_gid)
    return server


def refusal(*options: str, before: Callable[[], None] | None = None) -> str:
    run = subprocess.run([SLUICE, "serve", "--http", "127.0.0.1:0", *options], capture_output=True, text=True, timeout=20,
                         preexec_fn=before, env={})
    assert run.returncode in (1, 2), run
    return run.stderr


def test_no_thread_can_get_new_privileges() -> None:
    with RedisServer() as redis, Server("--broker", redis.url()) as server:
        await_ready(server)
        facts = facts_of_threads(server, "NoNewPrivs")
        assert len(facts) >= 3 and all(fact == ["1"] for fact in facts)


@as_root
def test_every_thread_becomes_the_user_for_good() -> None:
    with RedisServer() as redis, given_to_nobody(Server("--user", "nobody", "--broker", redis.url())) as server:
        await_ready(server)
        ids = [str(NOBODY.pw_uid)] * 4, [str(NOBODY.pw_gid)] * 4
        assert all(fact == ids[0] for fact in facts_of_threads(server, "Uid"))
        assert all(fact == ids[1] for fact in facts_of_threads(server, "Gid"))
        assert all(set(fact) == {str(NOBODY.pw_gid)} for fact in facts_of_threads(server, "Groups"))
        for kind in ("CapEff", "CapPrm", "CapAmb", "CapInh"):
            assert all(int(fact[0], 16) == 0 for fact in facts_of_threads(server, kind)), kind
        assert get(server, "/healthz").status == 200


@as_root
def test_a_group_may_be_named_and_numbers_do() -> None:
    with given_to_nobody(Server("--user", f"{NOBODY.pw_uid}:daemon")) as server:
        gid = facts_of_threads(server, "Gid")[0][0]
        assert gid != str(NOBODY.pw_gid) and facts_of_threads(server, "Uid")[0][0] == str(NOBODY.pw_uid)


@as_root
def test_sockets_are_bound_before_the_drop(tmp_path: pathlib.Path) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "socket"
    with given_to_nobody(Server("--user", "nobody", "--tcp", f"unix:{path}")):
        assert path.is_socket() and path.stat().st_uid == 0


@as_root
def test_a_file_that_the_user_cannot_read_is_told_and_fails_the_reload(open_folder: pathlib.Path) -> None:
    file = open_folder / "sluice.conf"
    file.write_text("log-level = info\n")
    file.chmod(0o600)
    with given_to_nobody(Server("--user", "nobody", "--config", str(file))) as server:
        warning = log_lines(server, "unreadable-file")[0]
        assert warning["option"] == "config" and warning["file"] == str(file)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log_lines(server, "reload-failed"))
        file.chmod(0o644)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log_lines(server, "reloaded"))


@pytest.mark.parametrize(("user", "why"), [
    ("nosuchuser", "there is no user 'nosuchuser'"),
    ("nobody:nosuchgroup", "there is no group 'nosuchgroup'"),
    ("root", "that is root"),
    ("nobody:", "NAME or NAME:GROUP"),
    (":daemon", "NAME or NAME:GROUP"),
    ("99999999999", "at most 32 bits"),
])
def test_a_user_that_cannot_be_is_refused(user: str, why: str) -> None:
    assert why in refusal("--user", user)


def test_only_root_can_become_another_user() -> None:
    def be_nobody() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY.pw_gid, NOBODY.pw_gid, NOBODY.pw_gid)
            os.setresuid(NOBODY.pw_uid, NOBODY.pw_uid, NOBODY.pw_uid)

    if not os.access(SLUICE, os.X_OK) or (os.geteuid() == 0 and not is_reachable_by_all(pathlib.Path(SLUICE))):
        pytest.skip("nobody may not execute the server here")
    assert "only root can become another user" in refusal("--user", "daemon", before=be_nobody)


def is_reachable_by_all(path: pathlib.Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in [path, *path.resolve().parents])


def is_traceable(server: Server) -> bool:
    """The files of a process that may not be dumped belong to root."""
    return pathlib.Path(f"/proc/{server.process.pid}/environ").stat().st_uid == NOBODY.pw_uid


@as_root
def test_a_process_with_a_user_leaves_no_core_and_is_not_traced() -> None:
    with given_to_nobody(Server("--user", "nobody")) as server:
        limits = pathlib.Path(f"/proc/{server.process.pid}/limits").read_text()
        core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]
        assert not is_traceable(server)


@unsanitized
def test_a_confined_server_serves(channel: str) -> None:
    with RedisServer() as redis, Server("--seccomp", "yes", "--broker", f"redis://localhost:{redis.port}/0") as server:
        await_ready(server)
        assert all(fact == ["2"] for fact in facts_of_threads(server, "Seccomp"))
        name = publish(server, channel, "text")
        assert get(server, path_of(channel, since="earliest")).body == b"text"
        redis.restart()
        wait_until(lambda: len(log_lines(server, "broker-connected")) == 2)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log_lines(server, "reloaded"))
        assert name and get(server, "/").status == 200


@unsanitized
def test_a_confined_server_follows_no_link(tmp_path: pathlib.Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file.txt").write_text("inside")
    (tmp_path / "link.txt").symlink_to("folder/file.txt")
    (tmp_path / "other").symlink_to("folder")
    with Server("--seccomp", "yes", "--static-dir", str(tmp_path)) as server:
        assert get(server, "/folder/file.txt").body == b"inside"
        for target in ("/link.txt", "/other/file.txt", "/folder/../folder/file.txt", "/folder", "/folder/file.txt/", "/nothing"):
            assert get(server, target).status == 404, target


@unsanitized
def test_a_call_that_no_server_makes_ends_it() -> None:
    with FaultyServer("--seccomp", "yes", expect_exit=-signal.SIGSYS) as server:
        server.fail_all("epoll_wait_execve")
        server.process.wait(20)
        assert "system call" in server.log() and "not allowed by the option seccomp" in server.log()


@unsanitized
def test_the_same_call_is_nothing_special_without_the_filter() -> None:
    with FaultyServer(expect_exit=0) as server:
        server.fail_all("epoll_wait_execve")
        assert server.process.wait(20) == 0, "it has become /bin/true"
