"""Takes become shards once, of what they show; shards of other networks or takes do not get among them."""

import io
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from training.toy import NETWORK

from hallo_cli.domain import CONTROLS, Float
from hallo_cli.errors import InputError, OutputError
from hallo_cli.models.anchored import FLOW_GAIN
from hallo_cli.models.autoencoder import AnchoredAutoencoder
from hallo_cli.training.encode_folder import encode_folder
from hallo_cli.training.encoded_shards import read_origin, write_encoded
from hallo_cli.training.take_encoder import TakeEncoder
from hallo_cli.training.takes import Take, TakeInfo, packed_flow, write_takes

N_FRAMES = 3
FIRST = 1  # control


def hear(waveform: Float, n_frames: int) -> Float:
    """Invents controls for every frame, as the embedded encoder does."""
    return np.ones((n_frames, 1, FIRST + len(CONTROLS)), np.float32)


@pytest.fixture(scope="module")
def encoder() -> TakeEncoder:
    torch.manual_seed(0)
    return TakeEncoder(NETWORK, AnchoredAutoencoder(NETWORK).eval(), "one", hear, FIRST)


def take(key: str, **changes: object) -> Take:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 120, 150)).save(buffer, "JPEG")
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * 640 * N_FRAMES))
    info = TakeInfo(N_FRAMES, 25.0, 64, "test", (10, 10, 54, 60), (24, 40, 40, 48))
    landmarks = np.random.default_rng(0).uniform(12, 52, (478, 2)).astype(np.float32)
    made = Take(key, info, (buffer.getvalue(),) * N_FRAMES, sound.getvalue(), landmarks)
    return replace(made, **changes)  # type: ignore[arg-type]


def write(folder: Path, *takes: Take) -> Path:
    folder.mkdir(exist_ok=True)
    write_takes(folder / "take-000000.tar", takes)
    return folder


def kept(takes: Path, output: Path, encoder: TakeEncoder) -> list[bool]:
    return [shard.was_there for shard in encode_folder(takes, output, lambda: encoder)]


def test_controls_rest_where_a_take_does_not_say(encoder: TakeEncoder) -> None:
    tensors, _ = encoder.shard([take("a")])
    assert (tensors["audio"][:, 0, FIRST:] == 0).all()
    assert (tensors["audio"][:, 0, 0] == 1).all()


def test_controls_are_what_the_take_says_in_their_units(encoder: TakeEncoder) -> None:
    turn = np.zeros((N_FRAMES, 3), np.float32)
    turn[:, 1] = (0, 0.05, 0.1)
    truth = {"blink": np.array([0, 1, 0.5], np.float32), "turn": turn}
    tensors, _ = encoder.shard([take("a", truth=truth)])
    controls = dict(zip(CONTROLS, tensors["audio"][:, 0, FIRST:].T.tolist(), strict=True))
    assert controls["blink"] == [0, 0, 0, 1, 0.5, 0.5, 0.5]
    assert controls["pitch"] == pytest.approx([0, 0, 0, 1, 2, 2, 2], abs=1e-3)
    assert controls["yaw"] == [0] * 7


def test_exact_motion_goes_into_the_latents(encoder: TakeEncoder) -> None:
    flow = np.zeros((N_FRAMES, 32, 32, 2), np.float32)
    flow[1, ..., 0] = 6.4  # pixels of 64
    truth = {
        "flow": packed_flow(flow),
        "seen": np.ones((N_FRAMES, 32, 32), bool),
        "materials": np.zeros((N_FRAMES, 32, 32), np.int8),
    }
    latents = encoder.shard([take("a", truth=truth)])[0]["latents"].float()
    assert (latents[1, 0] - latents[0, 0]).mean() == pytest.approx(0.1 * FLOW_GAIN, rel=0.3)
    assert abs((latents[1, 1] - latents[0, 1]).mean()) < 1


def test_larger_frames_are_made_as_small_as_the_networks_see(encoder: TakeEncoder) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (128, 128), (90, 120, 150)).save(buffer, "JPEG")
    made = take("a")
    large = replace(made, frames=(buffer.getvalue(),) * N_FRAMES, info=replace(made.info, size=128))
    assert encoder.shard([large])[0]["latents"].shape == (N_FRAMES, 4, 8, 8)


def test_shards_are_kept_where_nothing_changed(tmp_path: Path, encoder: TakeEncoder) -> None:
    takes = write(tmp_path / "takes", take("a"))
    assert kept(takes, tmp_path / "out", encoder) == [False]
    assert kept(takes, tmp_path / "out", encoder) == [True]
    assert load_file(tmp_path / "out" / "take-000000.safetensors")["starts"].tolist() == [0, N_FRAMES]


def test_shards_of_another_autoencoder_are_refused(tmp_path: Path, encoder: TakeEncoder) -> None:
    takes = write(tmp_path / "takes", take("a"))
    kept(takes, tmp_path / "out", encoder)
    with pytest.raises(InputError, match="encoded with another autoencoder: choose another folder"):
        kept(takes, tmp_path / "out", replace(encoder, vae_digest="other"))


def test_shards_of_another_speech_encoder_are_refused(tmp_path: Path, encoder: TakeEncoder) -> None:
    takes = write(tmp_path / "takes", take("a"))
    kept(takes, tmp_path / "out", replace(encoder, speech_digest="one"))
    with pytest.raises(InputError, match="encoded with another speech encoder"):
        kept(takes, tmp_path / "out", replace(encoder, speech_digest="other"))


def test_takes_that_were_prepared_again_are_refused(tmp_path: Path, encoder: TakeEncoder) -> None:
    kept(write(tmp_path / "takes", take("a")), tmp_path / "out", encoder)
    takes = write(tmp_path / "takes", take("b"))
    with pytest.raises(InputError, match="encoded with another shard of takes"):
        kept(takes, tmp_path / "out", encoder)


def test_older_shards_that_do_not_say_what_they_are_of_are_kept(tmp_path: Path, encoder: TakeEncoder) -> None:
    takes = write(tmp_path / "takes", take("a"))
    (tmp_path / "out").mkdir()
    file = tmp_path / "out" / "take-000000.safetensors"
    write_encoded(file, *encoder.shard([take("a")]))
    assert read_origin(file) == {}
    assert kept(takes, tmp_path / "out", encoder) == [True]


def test_a_run_stopped_between_validation_and_training_part_goes_on(
    tmp_path: Path, encoder: TakeEncoder
) -> None:
    held_out = replace(take("b").info, split="validation")
    takes = write(tmp_path / "takes", take("a"), take("b", info=held_out))
    kept(takes, tmp_path / "out", encoder)
    (tmp_path / "out" / "take-000000.safetensors").unlink()
    assert kept(takes, tmp_path / "out", encoder) == [False]
    assert load_file(tmp_path / "out" / "take-000000.safetensors")["starts"].tolist() == [0, N_FRAMES]


def test_a_shard_for_validation_alone_is_kept(tmp_path: Path, encoder: TakeEncoder) -> None:
    held_out = replace(take("b").info, split="validation")
    takes = write(tmp_path / "takes", take("b", info=held_out))
    kept(takes, tmp_path / "out", encoder)
    assert kept(takes, tmp_path / "out", encoder) == [True]


def test_a_folder_that_cannot_be_made_is_an_error_with_the_remedy(
    tmp_path: Path, encoder: TakeEncoder
) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="Choose an output or work folder that you may write to"):
        kept(write(tmp_path / "takes", take("a")), tmp_path / "out", encoder)


def test_a_shard_that_cannot_be_written_is_an_error(tmp_path: Path, encoder: TakeEncoder) -> None:
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(OutputError, match=r"x\.safetensors cannot be written"):
        write_encoded(tmp_path / "x.safetensors", *encoder.shard([take("a")]))
