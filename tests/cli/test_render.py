"""The command line of renders, with a tiny bundle of random weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from far_store import Store, storing  # noqa: F401
from own_process_cli import hallo
from PIL import Image
from scipy.io import wavfile
from small_bundles import make_bundle
from typer.testing import CliRunner

from hallo_cli.cli.app import register
from hallo_cli.errors import InputError, OutputError, PortraitError, SettingsError, SpeechError, WeightsError
from hallo_cli.media.probe import frame_hashes, probe

app = register("render", "check")
FACE = Path(__file__).parent.parent.parent / "hallo_cli/assets/examples/portrait_astronaut.png"
N_FRAMES = 6


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, a recording of 6 frames and the video rendered from it, with its events."""
    folder = tmp_path_factory.mktemp("render")
    make_bundle(folder / "bundle")
    samples = np.random.default_rng(0).normal(0, 2000, 16_000 * N_FRAMES // 25).astype(np.int16)
    wavfile.write(folder / "speech.wav", 16_000, samples)
    (folder / "events.jsonl").write_text(run(folder, "out.mp4", "--json"))
    return folder


def run(folder: Path, output: str, *options: str) -> str:
    """What `hallo render` prints on standard output."""
    inputs = [str(FACE), str(folder / "speech.wav"), "-o", str(folder / output)]
    return invoke("render", *inputs, "--bundle", str(folder / "bundle"), "--threads", "1", *options)


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_video_has_every_frame_and_the_sound(rendered: Path) -> None:
    info = probe(rendered / "out.mp4")
    assert info.video is not None
    assert info.audio is not None
    assert (info.video.n_frames, info.video.width, info.video.height) == (N_FRAMES, 512, 512)


def test_video_is_sent_to_the_address_of_a_store(
    rendered: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(rendered)
    inputs = [str(FACE), "speech.wav", "-o", "s3://bucket/week/far.mp4"]
    result = CliRunner().invoke(app, ["render", *inputs, "--bundle", "bundle", "--threads", "1"])
    assert (result.exit_code, result.stdout) == (0, "far.mp4\n")
    assert result.stderr.splitlines()[-1] == "sent to s3://bucket/week/far.mp4"
    assert store.names == {"far.mp4", "far.json"}


def test_json_events_end_with_finished(rendered: Path) -> None:
    events = [json.loads(line) for line in (rendered / "events.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "finished"
    assert events[-1]["n_frames"] == N_FRAMES


def test_settings_are_recorded_as_they_were_used(rendered: Path) -> None:
    settings = json.loads((rendered / "out.json").read_text())["settings"]
    assert (settings["steps"], settings["guidance"], settings["size"]) == (2, 1.0, 512)
    assert settings["dtype"] != "auto"


def test_record_repeats_the_render(rendered: Path) -> None:
    again = rendered / "again.mp4"
    invoke("render", "--from", str(rendered / "out.json"), "-o", str(again), "--threads", "1")
    assert list(frame_hashes(again)) == list(frame_hashes(rendered / "out.mp4"))


def test_finished_render_is_not_repeated(rendered: Path) -> None:
    events = [json.loads(line)["event"] for line in run(rendered, "out.mp4", "--json").splitlines()]
    assert "clip_rendered" not in events


@pytest.mark.parametrize(
    ("output", "option", "error"),
    [
        ("a.avi", (), SettingsError),
        ("out.mp4", ("--seed", "9"), SettingsError),
        ("no/a.mp4", (), OutputError),
    ],
)
def test_dry_run_finds_what_would_stop_the_render(
    rendered: Path, output: str, option: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        run(rendered, output, "--dry-run", *option)


def test_folder_that_does_not_exist_is_told_from_a_file(rendered: Path) -> None:
    with pytest.raises(OutputError, match="does not exist; make it"):
        run(rendered, "no/a.mp4", "--dry-run")
    with pytest.raises(OutputError, match="is not a folder; choose another output"):
        run(rendered, "speech.wav/a.mp4", "--dry-run")


def test_record_names_a_bundles_folder_for_good(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(rendered)
    inputs = [str(FACE), "speech.wav", "-o", "relative.mp4", "--bundle", "bundle", "--threads", "1"]
    invoke("render", *inputs)
    record = json.loads((rendered / "relative.json").read_text())
    assert record["settings"]["bundle"] == str(rendered / "bundle")
    assert record["weights"]["device"] == "cpu"
    monkeypatch.chdir("/")
    invoke("render", "--from", str(rendered / "relative.json"), "-o", str(rendered / "again.mp4"))


def test_dry_run_says_what_would_be_and_writes_nothing(rendered: Path) -> None:
    found = json.loads(run(rendered, "never.mp4", "--dry-run", "--json"))
    assert found["forecast"]["n_frames"] == N_FRAMES
    assert found["portrait"]["n_faces"] == 1
    assert not (rendered / "never.mp4").exists()


def test_check_finds_face_and_speech(rendered: Path) -> None:
    said = invoke("check", str(FACE), str(rendered / "speech.wav"), "--bundle", str(rendered / "bundle"))
    assert "512 x 512, one face" in said
    assert "0.24 s of pcm_s16le" in said


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--size", "100"], SettingsError),
        (["--steps", "0"], SettingsError),
        (["--preset", "nonsense"], SettingsError),
        (["--device", "warp"], SettingsError),
        (["--bundle", "/nowhere"], WeightsError),
        (["--start", "100"], SpeechError),
        (["--face-index", "3"], PortraitError),
    ],
)
def test_wrong_option_ends_in_its_error(rendered: Path, options: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        run(rendered, "never.mp4", *options)
    assert not (rendered / "never.mp4").exists()


def test_changed_input_is_not_repeated_from_the_record(rendered: Path, tmp_path: Path) -> None:
    record = json.loads((rendered / "out.json").read_text())
    record["portrait"]["sha256"] = "0" * 64
    (tmp_path / "changed.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="has changed"):
        invoke("render", "--from", str(tmp_path / "changed.json"), "-o", str(tmp_path / "again.mp4"))


def test_failure_is_an_event_too(rendered: Path) -> None:
    result = CliRunner().invoke(app, ["render", "gone.png", str(rendered / "speech.wav"), "--json"])
    failed = json.loads(result.stdout.splitlines()[-1])
    assert (failed["event"], failed["exit_status"]) in {("failed", 4), ("failed", 5)}


def test_missing_portrait_ends_with_status_4_and_one_line(rendered: Path) -> None:
    bundle = ["--bundle", str(rendered / "bundle")]
    command = [sys.executable, "-m", "hallo_cli", "render", "gone.png", str(rendered / "speech.wav"), *bundle]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=rendered)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("analysing")]
    assert result.returncode == 4
    assert len(lines) == 1
    assert "gone.png" in lines[0]


def test_failure_that_is_a_bug_is_an_event_too(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*arguments: object, **named: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("hallo_cli.jobs.runner.run_job", break_down)
    inputs = [
        "render",
        str(FACE),
        str(rendered / "speech.wav"),
        "--bundle",
        str(rendered / "bundle"),
        "--json",
    ]
    result = CliRunner().invoke(app, inputs)
    assert isinstance(result.exception, ZeroDivisionError)
    last = json.loads(result.stdout.splitlines()[-1])
    assert (last["event"], last["kind"], last["exit_status"]) == ("failed", "Bug", 3)
    assert "by zero" in last["message"]


@pytest.mark.parametrize("name", ["-o.png", "--help", "a b\n.png", "pipe", "folder"])
def test_bad_portraits_end_the_program_with_status_4_and_one_line(tmp_path: Path, name: str) -> None:
    if name == "pipe":
        os.mkfifo(tmp_path / name)
    elif name == "folder":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(b"")
    wavfile.write(tmp_path / "a.wav", 16_000, np.zeros(16_000, np.int16))
    result = hallo(tmp_path, "render", "-q", "--", name, "a.wav")
    assert result.returncode == 4
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("*.mp4"))


def test_corrected_recording_is_rendered_with_the_record(rendered: Path, tmp_path: Path) -> None:
    samples = np.random.default_rng(1).normal(0, 2000, 16_000 * N_FRAMES // 25).astype(np.int16)
    wavfile.write(tmp_path / "corrected.wav", 16_000, samples)
    again = tmp_path / "corrected.mp4"
    audio = str(tmp_path / "corrected.wav")
    run(rendered, "kept.mp4", "--keep-work")
    options = ("--from", str(rendered / "kept.json"), "--audio", audio, "-o", str(again), "--threads", "1")
    invoke("render", *options)
    made = json.loads(again.with_suffix(".json").read_text())
    kept = json.loads((rendered / "kept.json").read_text())
    assert made["corrects"] == {"fingerprint": kept["fingerprint"], "n_taken": 0}  # it is too short
    assert made["settings"] == kept["settings"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--audio", "b.wav"], "add its record with --from"),
        (["a.jpg", "--from", "out.json", "--audio", "b.wav"], "Leave PORTRAIT and AUDIO out"),
        (["--from", "out.json", "--audio", "b.wav", "--crf", "30"], "keeps the record's settings"),
    ],
)
def test_correction_says_what_does_not_go_with_it(
    rendered: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    wavfile.write(rendered / "b.wav", 16_000, np.zeros(16_000, np.int16))
    monkeypatch.chdir(rendered)
    with pytest.raises(SettingsError, match=said):
        CliRunner().invoke(app, ["render", *arguments], catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--face", "1=a.wav", "--face", "1=b.wav"], "--face 1 is given twice"),
        (["--face", "0=a.wav"], "is not a face and its recording"),
        (["--face", "a.wav"], "is not a face and its recording"),
        (["b.wav", "--face", "1=a.wav"], "not both"),
    ],
)
def test_faces_say_what_is_wrong_with_them(arguments: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        CliRunner().invoke(app, ["render", str(FACE), *arguments], catch_exceptions=False)


def test_two_faces_of_one_picture_speak(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    with Image.open(FACE) as portrait:
        face = portrait.convert("RGB").resize((384, 384))
    group = Image.new("RGB", (768, 384))
    for left in (0, 384):
        group.paste(face, (left, 0))
    group.save(tmp_path / "group.png")
    audio, output = rendered / "speech.wav", tmp_path / "out.mp4"
    faces = [option for face in (1, 2) for option in ("--face", f"{face}={audio}")]
    where = ["-o", str(output), "--bundle", str(rendered / "bundle"), "--threads", "1"]
    invoke("render", str(tmp_path / "group.png"), *faces, *where)
    info = probe(output)
    assert info.video is not None
    assert info.audio is not None
    assert (info.video.n_frames, info.video.width, info.video.height) == (N_FRAMES, 768, 384)
    with pytest.raises(PortraitError, match="--face 3"):
        invoke("render", str(tmp_path / "group.png"), "--face", f"3={audio}", *where, "--overwrite")
