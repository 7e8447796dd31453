"""`hallo models` lists, shows, fetches, checks and converts weights."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import COMMIT, HubServer
from small_bundles import make_bundle
from typer.testing import CliRunner, Result

from hallo_cli.bundles.trees import OFFICIAL
from hallo_cli.cli.app import main, register
from hallo_cli.errors import WeightsError

app = register("models")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "small").path


@pytest.fixture(autouse=True)
def models_folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALLO_MODELS", str(made.parent))
    monkeypatch.setenv("HALLO_CACHE", str(made.parent.parent / "cache"))
    return made.parent


def hallo(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments], catch_exceptions=False)


def test_list_names_every_bundle_and_says_what_is_wrong_with_one(models_folder: Path) -> None:
    (models_folder / "broken").mkdir()
    (models_folder / "broken" / "bundle.toml").write_text("format = 9")
    listed = json.loads(hallo("list", "--json").stdout)
    rows = {row["name"]: row for row in listed["bundles"]}
    assert rows["small"]["is_usable"]
    assert rows["small"]["image_size"] == 64
    assert "format 9" in rows["broken"]["problem"]
    result = hallo("list")
    assert "small  test  " in result.stdout
    assert "broken  unusable" in result.stdout
    assert "hallo models pull" in result.stderr


def test_show_tells_what_a_bundle_is_made_of(made: Path) -> None:
    shown = json.loads(hallo("show", "small", "--json").stdout)
    assert shown["schema"] == 1
    assert shown["networks"]["clip_frames"] == 4
    assert shown["sampling"]["steps"] == 2
    assert not shown["needs_identity"]
    assert len(shown["files"]["networks"]["sha256"]) == 64
    assert f"path: {made}" in hallo("show", str(made)).stdout


def test_unknown_bundle_is_an_error_of_its_own() -> None:
    with pytest.raises(WeightsError, match="no bundle called 'nothing'"):
        hallo("show", "nothing")


def test_unusable_weights_end_the_command_with_status_five(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["hallo", "models", "show", "nothing"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hallo: no bundle called 'nothing'")


def test_verify_passes_a_whole_bundle_and_converts_it(tmp_path: Path) -> None:
    checks = json.loads(hallo("verify", "small", "--json").stdout)
    assert checks["is_whole"]
    assert set(checks["checks"]) == {"networks", "vae", "speech", "fit"}
    converted = hallo("convert", "small", str(tmp_path / "half"), "--dtype", "float16", "--json")
    half = json.loads(converted.stdout)
    assert half["name"] == "half"
    original = json.loads(hallo("show", "small", "--json").stdout)
    assert half["n_bytes"] < 0.7 * original["n_bytes"]


def test_verify_names_every_damaged_file_and_ends_with_the_weights_status(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "damaged")
    for role in ("vae", "speech"):
        path = bundle.file(role)
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    result = hallo("verify", str(bundle.path))
    assert result.exit_code == WeightsError.exit_status
    assert "networks: good" in result.stdout
    assert "vae.safetensors: SHA-256" in result.stdout
    assert "speech.safetensors: SHA-256" in result.stdout


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer({path: path.encode() * 5 for path in OFFICIAL.paths.values()}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


def test_pull_states_the_terms_before_it_asks_for_anything(server: HubServer, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="revision 'v9'"):
        hallo("pull", "--revision", "v9", "--to", str(tmp_path / "tree"))
    result = hallo("pull", "--to", str(tmp_path / "tree"), "--json")
    terms, _, rest = result.stderr.partition(server.endpoint)
    assert "NOT FOR COMMERCIAL USE: InsightFace" in terms
    assert rest
    pulled = json.loads(result.stdout)
    assert pulled["version"] == COMMIT[:12]
    assert pulled["n_bytes"] == sum(map(len, server.files.values()))


def test_offline_pull_asks_nobody(server: HubServer, tmp_path: Path) -> None:
    hallo("pull", "--to", str(tmp_path / "tree"))
    server.requests.clear()
    assert hallo("pull", "--to", str(tmp_path / "tree"), "--offline").exit_code == 0
    assert server.requests == []
