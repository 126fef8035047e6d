# SPDX-License-Identifier: MIT
"""A Cluster of three masters: channels are spread by their first segment, slots move, masters go and come back."""

import os
import random
import time
from collections.abc import Iterator

import pytest
from support.client import EventStream, LineStream, get, path_of, publish, request
from support.cluster import Cluster
from support.follow import END, Follower, Ledger, check_complete, finish, follow, join_all, run_all
from support.redis import KEEP_ALL, Port, RedisServer, await_ready, meta_key, metric, nodes, stream_key
from support.server import Server, wait_until


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as running:
        yield running


@pytest.fixture
def pair(cluster: Cluster) -> Iterator[list[Server]]:
    cluster.await_whole()
    with nodes(2, cluster.url(), options=KEEP_ALL) as running:
        yield running


@pytest.fixture
def channels(cluster: Cluster, channel: str) -> list[str]:
    """One on each master, new for each test."""
    return [f"{name}/{channel}" for name in cluster.channels()]


def fcall(cluster: Cluster, channel: str, data: str) -> str:
    first, _, rest = channel.partition("/")
    owner = cluster.owner_of(cluster.slot_of(channel))
    return owner.publish(f"{{{first}}}/{rest}" if rest else channel, data)


def publish_all(ledger: Ledger, server: Server, channel: str, who: str, count: int) -> None:
    for i in range(count):
        ledger.publish(server, channel, f"{who} {i}")


def end_well(ledger: Ledger, cluster: Cluster, server: Server, followers: list[Follower]) -> None:
    finish(ledger, server, followers)
    check_complete(ledger, followers)
    for follower in followers:
        for channel, track in follower.tracks.items():
            assert track.resets == [], f"{follower}: {track.resets}"
            kept = cluster.owner_of(cluster.slot_of(channel)).entries(channel)
            assert track.data == [data.decode() for _, data in kept]


def test_channels_on_every_master_cross_nodes(cluster: Cluster, pair: list[Server], channels: list[str]) -> None:
    target = path_of(channels[0]) + "?" + "&".join(f"channel={name}" for name in channels[1:])
    with LineStream(pair[1], target) as lines:
        lines.next_line()
        names = [publish(pair[0], channel, channel) for channel in channels]
        assert sorted(lines.next_line()["id"] for _ in channels) == sorted(names)
    for master, channel in zip(cluster.masters, channels):
        owner = cluster.owner_of(cluster.slot_of(channel))
        assert owner.client.exists(stream_key(channel)) and owner.client.exists(meta_key(channel))
    assert len({cluster.owner_of(cluster.slot_of(channel)).port for channel in channels}) == 3
    for server in pair:
        listed = [entry["channel"] for entry in get(server, "/api/channels?limit=1000").json["channels"]]
        assert set(channels) <= set(listed) and listed == sorted(listed)


def test_fcall_with_the_first_segment_in_braces(cluster: Cluster, pair: list[Server], channels: list[str]) -> None:
    with EventStream(pair[0], path_of(channels[1])) as events:
        events.next_block()
        name = fcall(cluster, channels[1], "by FCALL")
        assert events.next_event().id == name
    assert publish(pair[1], channels[1], "by HTTP") == name.replace("-1", "-2")
    single = channels[2].split("/")[0] + "single"
    assert fcall(cluster, single, "x").endswith("-1")
    assert get(pair[0], path_of(single, last=1)).body == b"x"


def test_a_batch_and_a_purge_over_all_masters(cluster: Cluster, pair: list[Server], channels: list[str]) -> None:
    ledger = Ledger()
    followers = follow(pair, *channels)
    for channel in channels:
        ledger.publish_batch(pair[0], channel, [f"{channel} {i}" for i in range(200)])
    for channel in channels:
        for follower in followers:
            if channel in follower.tracks:
                wait_until(lambda: len(follower.tracks[channel].messages) == 200)
        assert request(pair[1], "DELETE", f"/api/channels/{channel}").json["purged"] == 200
    for channel in channels:
        wait_until(lambda: get(pair[0], path_of(channel, since="earliest", wait=0)).status == 204)
    finish(ledger, pair[0], followers)
    for follower in followers:
        for track in follower.tracks.values():
            # A poll that was not held meanwhile comes back with a cursor of the old log.
            assert track.reasons == ["purged"] or (follower.kind == "poll" and track.reasons == ["epoch"]), follower
            assert track.data[200:] == [END]


@pytest.mark.parametrize("given", [1, 3])
def test_one_address_finds_all_and_dead_ones_are_passed_over(cluster: Cluster, channels: list[str], given: int) -> None:
    gone = Port()
    url = cluster.url(gone.number, *[master.port for master in cluster.masters[:given]])
    with nodes(1, url) as (server,):
        for channel in channels:
            publish(server, channel)
    gone.release()


def test_a_slot_moves_under_load(cluster: Cluster, pair: list[Server], channels: list[str]) -> None:
    ledger = Ledger()
    followers = follow(pair, *channels[:2])
    moved = channels[0]
    slot = cluster.slot_of(moved)
    publishers = run_all([lambda s=server, w=f"{who} {name}", c=name: publish_all(ledger, s, c, w, 400)
                          for who, server in enumerate(pair) for name in channels[:2]])
    for times in (1, 2, 3):
        wait_until(lambda: len(ledger.of(moved)) > times * 150)
        source = cluster.owner_of(slot)
        target = cluster.masters[(cluster.masters.index(source) + 1) % 3]
        assert cluster.move_slot(slot, target) >= 2
        cluster.await_whole()
    join_all(publishers)
    end_well(ledger, cluster, pair[0], followers)
    for server in pair:
        await_ready(server)


def test_a_moved_slot_is_looked_for_at_the_old_master_once(cluster: Cluster, pair: list[Server], channels: list[str]) -> None:
    publish(pair[0], channels[0])
    slot = cluster.slot_of(channels[0])
    source = cluster.owner_of(slot)
    cluster.move_slot(slot, cluster.masters[(cluster.masters.index(source) + 1) % 3])
    before = source.refusals_of("fcall")
    for _ in range(50):
        publish(pair[0], channels[0])
    assert source.refusals_of("fcall") - before <= 1


def test_a_slot_that_is_on_its_way_for_long(cluster: Cluster, pair: list[Server], channels: list[str]) -> None:
    """Between the two masters: keys that have gone are answered with ASK, new ones live there already."""
    ledger = Ledger()
    moved = channels[0]
    followers = follow(pair, moved)
    ledger.publish(pair[0], moved, "before")
    slot = cluster.slot_of(moved)
    target = cluster.masters[(cluster.masters.index(cluster.owner_of(slot)) + 1) % 3]
    source = cluster.begin_move(slot, target)
    try:
        publish(pair[0], moved, "still at home")
        # Redis lets nobody touch several keys of such a slot unless all are there: what needs a new one may have to wait.
        new = run_all([lambda n=name: ledger.publish(pair[1], n, "needs a new key") for name in (moved, moved + "/new")])
        cluster.move_keys(slot, source, target)
        for i in range(20):
            publish(pair[i % 2], moved, f"on the way {i}")
    finally:
        cluster.move_keys(slot, source, target)
        cluster.end_move(slot, source, target)
    join_all(new)
    assert get(pair[0], path_of(moved + "/new", last=1)).body == b"needs a new key"
    ledger.publish(pair[1], moved, "there")
    end_well(ledger, cluster, pair[0], followers)


def test_a_master_that_goes_and_comes_back(cluster: Cluster, pair: list[Server], channels: list[str]) -> None:
    ledger = Ledger()
    owners: list[RedisServer] = [cluster.owner_of(cluster.slot_of(channel)) for channel in channels]
    followers = follow(pair, *channels)
    for channel in channels:
        ledger.publish_batch(pair[0], channel, [f"before {i}" for i in range(20)])
    owners[0].kill()
    wait_until(lambda: request(pair[0], "POST", path_of(channels[0]), "lost?").status == 503)
    assert get(pair[0], "/healthz").status == 200
    for channel in channels[1:]:
        for server in pair:
            ledger.publish(server, channel, f"during by {server.port}")
    owners[0].start()
    cluster.await_whole()
    for server in pair:
        await_ready(server)
    for channel in channels:
        ledger.publish(pair[1], channel, "after")
    finish(ledger, pair[0], followers)
    check_complete(ledger, followers)
    for follower in followers:
        for channel, track in follower.tracks.items():
            assert track.resets == [], f"{follower}: {channel} {track.resets}"


@pytest.mark.parametrize("kind", ["normal", "pubsub"])
def test_client_kill_on_all_masters(cluster: Cluster, pair: list[Server], channels: list[str], kind: str) -> None:
    ledger = Ledger()
    followers = follow(pair, *channels)
    publishers = run_all([lambda s=pair[i % 2], c=name, w=str(i): publish_all(ledger, s, c, w, 200)
                          for i, name in enumerate(channels)])
    for times in (1, 2, 3):
        wait_until(lambda: len(ledger) > times * 120)
        for master in cluster.masters:
            master.kill_clients(kind)
    join_all(publishers)
    end_well(ledger, cluster, pair[1], followers)


def test_plain_publish_is_bridged_from_any_master(cluster: Cluster) -> None:
    with nodes(2, cluster.url(), options=("--redis-subscribe", "updates,scores.*")) as servers:
        for name in ("updates", "scores.1"):
            with LineStream(servers[0], path_of(name)) as here, LineStream(servers[1], path_of(name)) as there:
                here.next_line(), there.next_line()
                for i, master in enumerate(cluster.masters):
                    master.client.publish(name, str(i))
                    for stream in (here, there):
                        assert stream.next_line()["data"] == str(i)
                publish(servers[0], name, "by HTTP")
                for stream in (here, there):
                    assert stream.next_line()["data"] == "by HTTP"
        assert metric(servers[0], "broker_ready") == 1


@pytest.mark.parametrize("seconds", [6, pytest.param(90, marks=pytest.mark.long)])
def test_random_moves_and_faults(cluster: Cluster, pair: list[Server], channels: list[str], seconds: float) -> None:
    seed = int(os.environ.get("SLUICE_SEED") or random.randrange(1 << 30))
    print(f"seed {seed}")
    chance, until = random.Random(seed), time.monotonic() + seconds
    ledger = Ledger()
    followers = follow(pair, *channels)

    def storm(number: int) -> None:
        mine, count = random.Random(seed + number), 0
        while time.monotonic() < until:
            count += 1
            ledger.publish(pair[number % 2], mine.choice(channels), f"{number} {count}", patience=60)

    def move() -> None:
        slot = cluster.slot_of(chance.choice(channels))
        source = cluster.owner_of(slot)
        cluster.move_slot(slot, chance.choice([master for master in cluster.masters if master is not source]))
        cluster.await_whole()

    def kill_clients() -> None:
        chance.choice(cluster.masters).kill_clients(chance.choice(["normal", "pubsub"]))

    def sleep() -> None:
        chance.choice(cluster.masters).client.execute_command("DEBUG", "SLEEP", chance.random())

    publishers = run_all([lambda n=number: storm(n) for number in range(4)])
    while time.monotonic() < until:
        chance.choice([move, move, kill_clients, sleep])()
    join_all(publishers)
    for server in pair:
        await_ready(server)
    finish(ledger, pair[0], followers)
    check_complete(ledger, followers)
    for follower in followers:
        for channel, track in follower.tracks.items():
            assert track.resets == [], f"{follower}: {track.resets}"
            kept = [data for _, data in cluster.owner_of(cluster.slot_of(channel)).entries(channel)]
            assert len(kept) == len(set(kept)), f"{channel}: appended twice"
