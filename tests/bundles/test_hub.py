"""The published weights are fetched from a small hub on this machine, faults included."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, HubServer

from hallo_cli.bundles import hub
from hallo_cli.bundles.bundle import find_bundle
from hallo_cli.bundles.trees import (
    HALLO2,
    JOYHALLO,
    LICENCES,
    OFFICIAL,
    TRAINING_FILES,
    TREES,
    Tree,
    licences,
)
from hallo_cli.errors import OutputError, WeightsError

OFFICIAL_FILES = OFFICIAL.paths
NET = OFFICIAL_FILES["networks"]


def contents() -> dict[str, bytes]:
    files = {path: (path * 3)[:40].encode() for path in OFFICIAL_FILES.values()}
    return {**files, NET: bytes(range(256)) * 40, "stable-diffusion-v1-5/unet/model.bin": b"never" * 100}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HALLO_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with HubServer(contents()) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


@pytest.fixture(autouse=True)
def small_and_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("time.sleep", lambda _: None)  # the hub's client waits a second before it retries


def pull(directory: Path, revision: str = "main", tree: Tree = OFFICIAL) -> dict[str, int]:
    arrived: dict[str, int] = {}

    def report(path: str, count: int) -> None:
        arrived[path] = arrived.get(path, 0) + count

    hub.pull(hub.plan_pull(tree, revision), directory, report)
    return arrived


def content_requests(server: HubServer, path: str) -> list[str | None]:
    return [asked for method, where, asked in server.requests if method == "GET" and where == f"/cdn/{path}"]


def test_pull_fetches_the_needed_files_and_nothing_else(server: HubServer, tmp_path: Path) -> None:
    arrived = pull(tmp_path / "models" / "official")
    bundle = find_bundle("official")
    assert bundle.manifest.version == COMMIT[:12]
    assert {role: bundle.verified(role).read_bytes() for role in OFFICIAL_FILES} == {
        role: server.files[path] for role, path in OFFICIAL_FILES.items()
    }
    assert bundle.manifest.files["networks"].sha256 == hashlib.sha256(server.files[NET]).hexdigest()
    assert arrived == {path: len(server.files[path]) for path in OFFICIAL_FILES.values()}
    assert not (tmp_path / "models/official/stable-diffusion-v1-5").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_plan_counts_the_bytes_before_any_file_is_asked_for(server: HubServer) -> None:
    plan = hub.plan_pull(OFFICIAL)
    assert plan.n_bytes == sum(len(server.files[path]) for path in OFFICIAL_FILES.values())
    assert plan.commit == COMMIT
    assert not [path for _, path, _ in server.requests if not path.startswith("/api/")]


def test_second_pull_fetches_nothing(server: HubServer, tmp_path: Path) -> None:
    pull(tmp_path / "tree")
    server.requests.clear()
    arrived = pull(tmp_path / "tree", COMMIT)
    assert [path for _, path, _ in server.requests if not path.startswith("/api/")] == []
    assert arrived[NET] == len(server.files[NET])


def test_broken_connection_is_resumed_within_one_pull(server: HubServer, tmp_path: Path) -> None:
    server.cut_after[NET] = 4000
    arrived = pull(tmp_path / "tree")
    assert content_requests(server, NET) == [None, "bytes=4000-", "bytes=8000-"]
    assert arrived[NET] == len(server.files[NET])
    assert (tmp_path / "tree" / NET).read_bytes() == server.files[NET]


def test_interrupted_pull_goes_on_where_it_stopped(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.cut_after[NET] = 5000
    monkeypatch.setattr("time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pull(tmp_path / "tree")
    assert not (tmp_path / "tree" / NET).exists()
    server.cut_after.clear()
    server.requests.clear()
    arrived = pull(tmp_path / "tree")
    assert content_requests(server, NET) == ["bytes=5000-"]
    assert arrived[NET] == len(server.files[NET])
    assert (tmp_path / "tree" / NET).read_bytes() == server.files[NET]


def interrupt(_: float) -> None:
    raise KeyboardInterrupt


def test_server_that_cannot_resume_sends_the_file_from_its_start(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.cut_after[NET] = 5000
    monkeypatch.setattr("time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pull(tmp_path / "tree")
    server.cut_after.clear()
    server.ignores_ranges = True
    arrived = pull(tmp_path / "tree")
    assert (tmp_path / "tree" / NET).read_bytes() == server.files[NET]
    assert arrived[NET] == len(server.files[NET])


def test_server_that_stays_away_leaves_what_has_arrived(server: HubServer, tmp_path: Path) -> None:
    server.cut_after[NET] = 0
    with pytest.raises(WeightsError, match=r"hallo/net.pth: the fetch .* run the same command again"):
        pull(tmp_path / "tree")
    assert find_part(tmp_path / "tree").stat().st_size == 0


def find_part(tree: Path) -> Path:
    (part,) = tree.rglob("*.part")
    return part


@pytest.mark.parametrize("path", [NET, OFFICIAL_FILES["speech_config"]])
def test_file_that_does_not_match_its_digest_is_removed(server: HubServer, tmp_path: Path, path: str) -> None:
    server.corrupt.add(path)
    with pytest.raises(WeightsError, match=f"{path}: .* does not match its listed digest"):
        pull(tmp_path / "tree")
    assert not (tmp_path / "tree" / path).exists()
    assert not list(tmp_path.rglob("*.part"))


def test_damaged_local_file_is_fetched_again(server: HubServer, tmp_path: Path) -> None:
    pull(tmp_path / "tree")
    (tmp_path / "tree" / NET).write_bytes(b"x" * len(server.files[NET]))
    pull(tmp_path / "tree")
    assert (tmp_path / "tree" / NET).read_bytes() == server.files[NET]


def test_unknown_revision_is_named(server: HubServer, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="revision 'v9'"):
        pull(tmp_path / "tree", "v9")


def test_repository_without_a_needed_file_is_refused_before_fetching(
    server: HubServer, tmp_path: Path
) -> None:
    del server.files[NET]
    with pytest.raises(WeightsError, match=r"lacks hallo/net\.pth"):
        pull(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_other_repository_without_a_needed_file_is_named_by_its_own_revision(server: HubServer) -> None:
    (path,) = (file.remote_path for role, file in JOYHALLO.files.items() if role == "speech")
    server.files |= {file.remote_path: b"x" for file in JOYHALLO.files.values()}
    del server.files[path]
    with pytest.raises(WeightsError, match=rf"at revision 'main' lacks {path}\. Try another HF_ENDPOINT"):
        hub.plan_pull(JOYHALLO, COMMIT)


def test_unreachable_hub_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"http://127.0.0.1:9 does not list .* --offline"):
        pull(tmp_path / "tree")


def test_full_disk_is_told_before_the_first_byte(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(WeightsError, match="GB free"):
        pull(tmp_path / "tree")
    assert content_requests(server, NET) == []


def test_disk_that_fills_meanwhile_is_told_as_such(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hallo_cli.bundles.hub.handle_to_change", lambda path: os.open("/dev/full", os.O_RDWR)
    )
    with pytest.raises(OutputError, match="No space left on device"):
        pull(tmp_path / "tree")


def test_offline_tree_is_completed_from_the_hubs_cache(
    server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull(tmp_path / "tree")
    (tmp_path / "tree/bundle.toml").unlink()
    (tmp_path / "tree" / NET).rename(tmp_path / "cached.pth")
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache",
        lambda _, path: str(tmp_path / "cached.pth") if path == NET else None,
    )
    server.requests.clear()
    bundle = hub.adopt(OFFICIAL, tmp_path / "tree")
    assert bundle.file("networks").read_bytes() == server.files[NET]
    assert server.requests == []


def test_offline_tree_that_lacks_files_names_them(server: HubServer, tmp_path: Path) -> None:
    pull(tmp_path / "tree")
    (tmp_path / "tree" / NET).unlink()
    with pytest.raises(WeightsError, match="offline, and 1 files are neither in it"):
        hub.adopt(OFFICIAL, tmp_path / "tree")


def test_every_file_that_is_fetched_has_its_terms_stated() -> None:
    for tree in TREES.values():
        for file in hub.tree_files(tree, with_training=True):
            assert len(licences([file.path])) == 1
    assert [terms.part for terms in LICENCES if not terms.is_commercial_use_allowed] == [
        "InsightFace detector and recogniser (scrfd_10g_bnkps, glintr100)"
    ]


def listing_with(server: HubServer, **changes: object) -> dict[str, object]:
    """The listing, with these values for the networks' file; None leaves the key out."""
    listing: dict[str, object] = server.listing()
    for entry in listing["siblings"]:  # type: ignore[attr-defined]
        if entry["rfilename"] == NET:
            entry.update(changes)
            for key in [key for key, value in changes.items() if value is None]:
                del entry[key]
    return listing


def senseless(server: HubServer) -> list[bytes]:
    """Answers that are no list of files, or one that cannot be."""
    sha256 = {"sha256": "0" * 64, "size": 10, "pointerSize": 130}
    whole = server.listing()
    changed: list[object] = [
        *([], {}, None, 1, "text", [[]], {"siblings": None}, {"siblings": 5}, {"siblings": [5]}),
        *({"id": "x", "siblings": value} for value in ({}, [{}], [{"rfilename": 5}], [None], "abc")),
        *({**whole, "sha": value} for value in (None, "", "main", "../../x", 5, ["a" * 40], "A" * 40)),
        *(listing_with(server, size=value) for value in (None, -1, 0, "10", 1.5, 1 << 62, True, [])),
        *(listing_with(server, lfs=value) for value in (5, "x", [5], {"sha256": 5}, {"size": 3})),
        *(
            listing_with(server, lfs={**sha256, "sha256": value})
            for value in ("", "0" * 63, "../x", None, [])
        ),
        listing_with(server, lfs=None, blobId=None),
        listing_with(server, lfs=None, blobId="../../etc"),
        {**whole, "lastModified": "never", "createdAt": [], "siblings": whole["siblings"] * 0},  # type: ignore[operator]
    ]
    return [json.dumps(value).encode() for value in changed] + [b"", b"{", b"\xff", b"[" * 100_000]


def test_listing_that_makes_no_sense_is_refused_with_one_line(server: HubServer) -> None:
    answers = senseless(server)
    assert len(answers) > 40
    for answer in answers:
        server.answer = answer
        try:
            told = str(hub.plan_pull(OFFICIAL))
        except WeightsError as error:
            told = str(error)
        assert re.search("invalid list of files|does not list|lacks", told), answer[:300]
        assert len(told.splitlines()) == 1


def test_server_that_sends_more_than_it_lists_is_stopped(server: HubServer, tmp_path: Path) -> None:
    server.endless.add(NET)
    with pytest.raises(WeightsError, match="sends more than the 10240 bytes that it lists"):
        pull(tmp_path / "models" / "official")
    assert not list(tmp_path.rglob("*.part"))


def test_link_under_a_part_s_name_is_not_followed(server: HubServer, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    part = tmp_path / "models/official" / f"{NET}.{hashlib.sha256(server.files[NET]).hexdigest()[:12]}.part"
    part.parent.mkdir(parents=True)
    part.symlink_to(treasure)
    with pytest.raises(OutputError, match="links are not followed"):
        pull(tmp_path / "models" / "official")
    assert treasure.read_text() == "gold"


@pytest.mark.parametrize("tree", [HALLO2, JOYHALLO], ids=lambda tree: tree.name)
def test_relatives_are_fetched_from_their_own_repositories(
    server: HubServer, tmp_path: Path, tree: Tree
) -> None:
    server.files |= {file.remote_path: file.path.encode() * 5 for file in tree.files.values()}
    arrived = pull(tmp_path / "models" / tree.name, tree=tree)
    assert arrived.keys() == set(tree.paths.values())
    bundle = find_bundle(tree.name)
    assert bundle.manifest.name == tree.name
    assert bundle.manifest.networks == tree.networks
    assert bundle.manifest.speech == tree.speech
    for role, file in tree.files.items():
        assert bundle.verified(role).read_bytes() == server.files[file.remote_path]
    repositories = {tree.repo, *(file.repo for file in tree.files.values())}
    for repository in repositories:
        assert f"/api/models/{repository}/revision/main" in [path for _, path, _ in server.requests]


def test_what_training_starts_from_is_fetched_on_demand(server: HubServer, tmp_path: Path) -> None:
    paths = [file.path for file in TRAINING_FILES.values()]
    server.files |= {path: path.encode() * 5 for path in paths}
    hub.pull(hub.plan_pull(OFFICIAL, with_training=True), tmp_path / "tree", lambda path, count: None)
    for path in paths:
        assert (tmp_path / "tree" / path).read_bytes() == server.files[path]
    assert find_bundle(tmp_path / "tree").manifest.files.keys() == OFFICIAL_FILES.keys()
