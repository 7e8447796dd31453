from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.scripted import ClipColours, Colours, saved

from hallo_cli.domain import Bytes
from hallo_cli.errors import InputError, WeightsError
from hallo_cli.evaluation.distribution import (
    FeatureNetwork,
    GaussianFit,
    Kind,
    fitted,
    frechet_distance,
    load_network,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


def fit_of(rows: np.ndarray) -> GaussianFit:
    fit = GaussianFit()
    fit.add(rows[:100])
    fit.add(rows[100:])
    return fit


def test_frechet_distance_of_shifted_gaussians_is_the_squared_shift() -> None:
    rows = np.random.default_rng(0).standard_normal((400, 8))
    assert frechet_distance(fit_of(rows), fit_of(rows)) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(fit_of(rows), fit_of(rows + 2)) == pytest.approx(8 * 4, rel=1e-6)


def test_frechet_distance_of_scaled_gaussians() -> None:
    rows = np.random.default_rng(0).standard_normal((4000, 1))
    # One channel: (s1 - s2)^2 with standard deviations 1 and 3.
    deviation = rows.std(ddof=1)
    centred = rows - rows.mean()
    assert frechet_distance(fit_of(centred), fit_of(3 * centred)) == pytest.approx(
        (2 * deviation) ** 2, rel=1e-6
    )


class Nothing(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean((2, 3)) / 0


class Pair(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


class Refusal(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.size(0) > 0:
            raise ValueError("no frames, please")
        return x


class OneNumber(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean()


def loaded(kind: Kind, module: torch.nn.Module, file: Path) -> FeatureNetwork:
    return load_network(kind, saved(module, file))


def frames(n: int) -> list[Bytes]:
    return [np.full((8, 8, 3), value, np.uint8) for value in range(n)]


def test_distance_of_fewer_frames_than_channels_is_exact() -> None:
    rows = np.random.default_rng(0).standard_normal((3, 40))
    fits = []
    for shift in (0, 2):
        fits.append(GaussianFit())
        fits[-1].add(rows + shift)
    assert frechet_distance(fits[0], fits[0]) == pytest.approx(0, abs=1e-5)  # roots of rounding errors
    assert frechet_distance(*fits) == pytest.approx(40 * 4, abs=1e-5)


def test_features_of_frames_come_from_the_given_network(tmp_path: Path) -> None:
    rows = np.concatenate(list(loaded("efid", Colours(), tmp_path / "colours.pt").features(frames(20))))
    assert rows[:, 0].tolist() == list(range(20))


def test_clips_of_16_frames_are_features_of_fvd_and_the_rest_is_left_out(tmp_path: Path) -> None:
    rows = np.concatenate(list(loaded("fvd", ClipColours(), tmp_path / "i3d.pt").features(frames(40))))
    assert rows[:, 0].tolist() == [7.5, 23.5]


def test_one_clip_is_too_little_for_fvd_and_the_message_says_how_much_is_not(tmp_path: Path) -> None:
    network = loaded("fvd", ClipColours(), tmp_path / "i3d.pt")
    assert fitted(network, [frames(16), frames(16)], whose="the real videos").n == 2
    with pytest.raises(
        InputError, match=r"FVD needs at least 2 clips .* the real videos have 1: .* 32 frames"
    ):
        fitted(network, [frames(31)], whose="the real videos")


@pytest.mark.parametrize(
    ("kind", "module", "reason"),
    [
        ("fid", Colours(), r"expected .*inception-2015-12-05\.pt"),  # takes no return_features
        ("fvd", Colours(), r"expected .*i3d_torchscript\.pt"),
        ("efid", Refusal(), "no frames, please"),
        ("efid", Pair(), "it gave tuple"),
        ("efid", OneNumber(), r"it gave shape \[\] instead of \[16, channels\]"),
        ("efid", Nothing(), "not finite"),
    ],
)
def test_network_for_something_else_is_refused_with_its_name(
    kind: Kind, module: torch.nn.Module, reason: str, tmp_path: Path
) -> None:
    network = loaded(kind, module, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=f"(?i)other\\.pt: not a network for .*{reason}"):
        list(network.features(frames(16)))


def test_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "inception.pt"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(WeightsError, match=r"Expected inception-2015-12-05\.pt"):
        load_network("fid", file)
