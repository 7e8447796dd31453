from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from training.toy import NETWORK, write_network
from typer.testing import CliRunner

from hallo_cli.cli.app import register
from hallo_cli.errors import InputError, Interrupted
from hallo_cli.models.autoencoder import TinyAutoencoder
from hallo_cli.training.takes import Take, TakeInfo, TakeWriter
from hallo_cli.workshop.train_autoencoder import (
    AutoencoderReport,
    AutoencoderTraining,
    Pictures,
    normalise_latents,
    random_batch,
    read_pictures,
    round_trip_psnr,
    train_autoencoder,
)

SIZE = 64
TRAINING = AutoencoderTraining(steps=60, batch_size=4, crop=32, learning_rate=1e-2, ema_decay=0.5, threads=1)


def picture(seed: int) -> np.ndarray:
    """Smooth and colourful."""
    small = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


@pytest.fixture
def vae() -> TinyAutoencoder:
    torch.manual_seed(0)
    return TinyAutoencoder(NETWORK)


@pytest.fixture
def pictures() -> Pictures:
    return Pictures([picture(i) for i in range(4)], [(20.0, 40.0, 44.0, 52.0)] * 4, [picture(9)])


def test_training_lowers_the_error_and_normalises_the_latents(
    vae: TinyAutoencoder, pictures: Pictures
) -> None:
    vae.requires_grad_(False)  # as weights are that were read from a file
    before = round_trip_psnr(vae, pictures.frames[0])
    reports: list[AutoencoderReport] = []
    trained = train_autoencoder(vae, pictures, TRAINING, on_report=lambda report, _: reports.append(report))
    assert reports[-1].step == 60
    assert round_trip_psnr(trained, pictures.frames[0]) > before + 1
    pixels = torch.from_numpy(np.stack(pictures.frames)).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        latents = trained.encode_mean(pixels)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)


def test_polishing_the_decoder_leaves_the_latents_alone(vae: TinyAutoencoder, pictures: Pictures) -> None:
    normalise_latents(vae, pictures.frames)
    pixels = torch.zeros(1, 3, SIZE, SIZE)
    with torch.no_grad():
        before = vae.encode_mean(pixels)
    polish = AutoencoderTraining(steps=2, batch_size=2, crop=32, threads=1, decoder_only=True)
    trained = train_autoencoder(vae, pictures, polish, on_report=lambda *_: None)
    with torch.no_grad():
        # the memory format changed, and with it the order of summation
        torch.testing.assert_close(trained.encode_mean(pixels), before, rtol=0, atol=1e-4)


def test_lips_count_more_than_the_rest(pictures: Pictures) -> None:
    training = AutoencoderTraining(batch_size=16, crop=32, photograph_share=0)
    pixels, weights = random_batch(pictures, training, np.random.default_rng(0))
    assert pixels.abs().max() <= 1
    assert set(weights.unique().tolist()) == {1.0, training.lip_weight}


def test_held_out_takes_are_not_trained_on(tmp_path: Path) -> None:
    Image.fromarray(picture(0)).save(tmp_path / "texture.png")
    jpeg = tmp_path / "frame.jpg"
    Image.fromarray(picture(1)).save(jpeg)
    box = (10.0, 10.0, 50.0, 50.0)
    with TakeWriter(tmp_path, "take") as writer:
        for key, split in (("a", "train"), ("b", "validation")):
            info = TakeInfo(1, 25.0, SIZE, "test", box, box, split=split)  # type: ignore[arg-type]
            writer.add(Take(key, info, (jpeg.read_bytes(),), b"", np.zeros((478, 2))))
    jpeg.unlink()
    found = read_pictures(tmp_path, tmp_path, frames_per_take=3, limit=10, seed=0)
    assert (len(found.frames), len(found.photographs)) == (1, 1)


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    with TakeWriter(tmp_path, "take") as writer:
        info = TakeInfo(1, 25.0, SIZE, "test", (0, 0, 1, 1), (0, 0, 1, 1), split="validation")
        writer.add(Take("a", info, (b"",), b"", np.zeros((478, 2))))
    with pytest.raises(InputError, match="no photograph"):
        read_pictures(tmp_path, tmp_path, frames_per_take=1, limit=1, seed=0)


def write_frame(folder: Path) -> None:
    frame = folder / "frame.png"
    Image.fromarray(picture(1)).resize((128, 128)).save(frame)
    box = (30.0, 30.0, 90.0, 90.0)
    with TakeWriter(folder, "take") as writer:
        info = TakeInfo(1, 25.0, 128, "test", box, box)
        writer.add(Take("a", info, (frame.read_bytes(),), b"", np.zeros((478, 2))))


def test_a_photograph_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    write_frame(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"broken\.jpg is no picture that can be read"):
        read_pictures(tmp_path, tmp_path, frames_per_take=1, limit=1, seed=0)


def test_takes_that_are_all_held_out_are_refused(tmp_path: Path) -> None:
    Image.fromarray(picture(0)).save(tmp_path / "texture.png")
    with TakeWriter(tmp_path, "take") as writer:
        info = TakeInfo(1, 25.0, SIZE, "test", (0, 0, 1, 1), (0, 0, 1, 1), split="validation")
        writer.add(Take("a", info, (b"",), b"", np.zeros((478, 2))))
    with pytest.raises(InputError, match="no take for training"):
        read_pictures(tmp_path, tmp_path, frames_per_take=1, limit=1, seed=0)


def command(folder: Path) -> list[str]:
    network = write_network(folder)
    files = [str(folder), str(folder), str(folder / "vae.safetensors")]
    return ["train", "autoencoder", *files, "--network", str(network), "--steps", "1", "--threads", "1"]


def test_finished_training_leaves_one_file_of_its_name(tmp_path: Path) -> None:
    write_frame(tmp_path)
    result = CliRunner().invoke(register(), command(tmp_path))
    assert result.exit_code == 0, result.output
    assert [file.name for file in tmp_path.glob("*.safetensors*")] == ["vae.safetensors"]


def test_training_that_was_stopped_leaves_no_file_of_the_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(vae: TinyAutoencoder, *_: object, on_report: object, **__: object) -> None:
        on_report(AutoencoderReport(1, 2, 20.0, 1.0, 0.1), vae)  # type: ignore[operator]
        raise Interrupted("stopped")

    monkeypatch.setattr("hallo_cli.workshop.train_autoencoder.train_autoencoder", stopped)
    write_frame(tmp_path)
    assert CliRunner().invoke(register(), command(tmp_path)).exit_code != 0
    assert [file.name for file in tmp_path.glob("*.safetensors*")] == ["vae-unfinished.safetensors"]
