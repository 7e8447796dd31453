"""What a batch holds follows from its number alone, and from the stage's rules."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training.toy import NETWORK, write_takes

from hallo_cli.errors import InputError
from hallo_cli.training.config import DataSettings, Stage
from hallo_cli.training.dataset import BatchSource, split_takes
from hallo_cli.training.encoded_shards import EncodedTake, read_encoded

N_FRAMES = 12


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> list[EncodedTake]:
    """Six takes whose latents and first audio channel say which frame of the take they are."""
    folder = write_takes(tmp_path_factory.mktemp("takes") / "encoded", n_frames=N_FRAMES)
    found = read_encoded(folder, NETWORK)
    for take in found:
        rows = torch.arange(N_FRAMES)
        take.shard["latents"][take.start + rows] = rows.half()[:, None, None, None]
        first = take.start + 2 * take.context * take.index
        take.shard["audio"][first + torch.arange(N_FRAMES + 4)] = torch.arange(-2, N_FRAMES + 2).half()[
            :, None, None
        ]
    return found


def source_of(takes: list[EncodedTake], stage: Stage, **data: int | bool) -> BatchSource:
    settings = replace(DataSettings(Path("unused"), takes=3, frames=4), **data)
    return BatchSource(takes, settings, network=NETWORK, stage=stage, seed=3)


def test_batch_depends_on_its_number_alone(takes: list[EncodedTake]) -> None:
    one, other = source_of(takes, "stage2"), source_of(takes, "stage2")
    other.batch(0)
    for name in ("latents", "audio", "reference"):
        assert torch.equal(getattr(one.batch(5), name), getattr(other.batch(5), name))
    assert not torch.equal(one.batch(5).latents, one.batch(6).latents)


@pytest.mark.parametrize("end_margin", [0, 3])
def test_clip_follows_its_motion_frames_and_ends_before_the_margin(
    takes: list[EncodedTake], end_margin: int
) -> None:
    source = source_of(takes, "stage2", end_margin=end_margin)
    starts = set()
    for number in range(40):
        batch = source.batch(number)
        assert batch.motion is not None
        frames = torch.cat([batch.motion, batch.latents], dim=1)[:, :, 0, 0, 0]
        assert torch.equal(frames, frames[:, :1] + torch.arange(6))
        starts |= set(batch.latents[:, 0, 0, 0, 0].int().tolist())
    assert starts == set(range(2, N_FRAMES - 4 - end_margin + 1))


def test_sound_is_that_around_each_frame(takes: list[EncodedTake]) -> None:
    batch = source_of(takes, "stage1").batch(1)
    heard = batch.audio[:, :, :, 0, 0]  # takes, frames, window
    assert torch.equal(heard, batch.latents[:, :, :1, 0, 0] + torch.arange(-2, 3))


def test_single_frames_of_a_take_differ(takes: list[EncodedTake]) -> None:
    source = source_of(takes, "stage1", balance_visemes=True)
    rows = torch.cat([source.batch(number).latents[:, :, 0, 0, 0] for number in range(20)])
    assert all(len(set(row.tolist())) == 4 for row in rows)


def test_takes_that_are_too_short_are_refused_with_the_remedy(takes: list[EncodedTake]) -> None:
    with pytest.raises(InputError, match=r"no take has the 14 frames of stage2: lower data\.frames"):
        source_of(takes, "stage2", frames=9, end_margin=3)


def test_every_take_is_seen_once_an_epoch(takes: list[EncodedTake]) -> None:
    source = source_of(takes, "stage1")
    seen = torch.cat([source.batch(number).reference for number in range(2)])
    assert len({tuple(reference.flatten().tolist()) for reference in seen}) == len(takes)


def test_blinking_takes_are_shown_more_often(takes: list[EncodedTake]) -> None:
    shut = torch.zeros(len(takes) * N_FRAMES)
    shut[takes[2].start + 5] = 1
    blinking = [replace(take, shard={**take.shard, "truth.blink": shut}) for take in takes]
    source = source_of(blinking, "stage1", blink_repeats=4)
    seen = torch.cat([source.batch(number).reference for number in range(3)])
    shown = [int((seen == take.of_take("reference").float()).flatten(1).all(1).sum()) for take in takes]
    assert shown == [1, 1, 4, 1, 1, 1]


def test_any_shard_without_identities_is_refused_by_name(takes: list[EncodedTake]) -> None:
    identified = [
        replace(take, shard={**take.shard, "identity": torch.zeros(6, 512)}, file="a") for take in takes
    ]
    mixed = [*identified[:5], replace(takes[5], file="b.safetensors")]
    settings = DataSettings(Path("unused"), takes=3, frames=4)
    with pytest.raises(InputError, match=r"b\.safetensors lacks identity"):
        BatchSource(mixed, settings, network=replace(NETWORK, identity_tokens=2), stage="stage1", seed=3)


def test_takes_know_the_file_they_are_in(takes: list[EncodedTake]) -> None:
    assert {take.file for take in takes} == {"train-000000.safetensors"}


@pytest.mark.parametrize("held_out", [1, 2, 5])
def test_held_out_takes_are_not_trained_on(tmp_path: Path, held_out: int) -> None:
    takes = read_encoded(write_takes(tmp_path / "encoded"), NETWORK)
    training, validation = split_takes(takes, held_out)
    assert len(training) + len(validation) == len(takes)
    assert not {take.index for take in training} & {take.index for take in validation}
