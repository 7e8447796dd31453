"""`hallo train` with toy networks: what it shows, and how it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training.toy import write_network, write_takes
from typer.testing import CliRunner, Result

from hallo_cli.cli.app import register
from hallo_cli.errors import InputError, JobError, SettingsError
from hallo_cli.store.locks import locked

app = register("train")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "stage1.toml"
    write_network(tmp_path)
    write_takes(tmp_path / "shards")
    file.write_text(
        '[run]\noutput = "run"\nsteps = 2\nlog_every = 1\ndevice = "cpu"\nthreads = 1\n'
        '[start]\nnetwork = "network.json"\n[data]\nshards = "shards"\ntakes = 2\nframes = 2\nheld_out = 2\n'
    )
    return file


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments)], catch_exceptions=False)


def test_a_run_is_told_in_lines_with_the_time_left(config: Path) -> None:
    result = run("stage1", "-c", config)
    assert result.exit_code == 0
    lines = result.stderr.splitlines()
    assert lines[0].startswith("step 1  loss ")
    assert all(line.endswith(" left") for line in lines if "frames/s" in line)
    assert lines[-1].startswith("2 steps, ")


def test_events_are_json_lines_on_standard_output(config: Path) -> None:
    events = [json.loads(line) for line in run("stage1", "-c", config, "--json").stdout.splitlines()]
    assert [event["event"] for event in events] == ["logged", "logged", "saved"]
    assert [event["share"] for event in events[:2]] == [0.5, 1.0]


def test_values_are_overridden_and_unknown_ones_refused(config: Path) -> None:
    assert run("stage1", "-c", config, "--set", "run.steps=1").stderr.splitlines()[-1].startswith("1 steps")
    with pytest.raises(SettingsError, match=r"did you mean 'steps'"):
        run("stage1", "-c", config, "--set", "run.stepss=1")


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="device 'foo'"):
        run("encode", tmp_path, tmp_path / "out", "--bundle", "embedded", "--device", "foo")


def test_two_preparations_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    with locked(tmp_path / "takes" / ".lock", what="a test"), pytest.raises(JobError, match="Wait for it"):
        run("prepare", tmp_path / "videos", tmp_path / "takes")


def test_what_is_missing_is_named(config: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        run("stage2", "-c", tmp_path / "nowhere.toml")
    with pytest.raises(InputError, match="not a training run"):
        run("export", tmp_path / "nowhere", tmp_path / "bundle", "--official")


@pytest.mark.parametrize("command", ["synth", "synth-speech"])
def test_two_synthetic_corpora_do_not_meet_in_one_folder(tmp_path: Path, command: str) -> None:
    with (
        locked(tmp_path / ".lock", what="a test"),
        pytest.raises(JobError, match=r"filling this folder is being run by process .+ Wait for it"),
    ):
        run(command, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [".lock"]


def test_the_lock_of_a_killed_run_does_not_hinder(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from hallo_cli.store.locks import locked\n"
    code += "with locked(Path(sys.argv[1]), what='a test'): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / ".lock"], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        holder.wait()
    with locked(tmp_path / ".lock", what="a test"):
        pass


def test_the_speech_encoder_is_trained_from_earlier_weights(tmp_path: Path) -> None:
    n_utterances, n_frames = 50, 4
    noise = np.random.default_rng(0).normal(size=n_utterances * n_frames * 640) * 3000
    np.savez(
        tmp_path / "speech-000000.npz",
        waveform=noise.astype(np.int16),
        visemes=np.zeros((n_utterances * n_frames, 6), np.float16),
        phones=np.zeros(n_utterances * n_frames, np.uint8),
        frame_offsets=np.arange(n_utterances + 1) * n_frames,
        phone_names=np.array(["aa", "pau"]),
    )
    assert run("speech", tmp_path, tmp_path / "a.safetensors", "--steps", 1).exit_code == 0
    second = run(
        "speech",
        tmp_path,
        tmp_path / "b.safetensors",
        "--steps",
        1,
        "--init",
        tmp_path / "a.safetensors",
        "--learning-rate",
        1e-6,
    )
    assert second.exit_code == 0
    assert "step 1/1" in second.stderr
    first, continued = (load_file(tmp_path / f"{name}.safetensors") for name in "ab")
    assert all(torch.allclose(first[key], continued[key], atol=1e-3) for key in first)
