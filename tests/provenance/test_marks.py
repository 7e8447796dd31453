import dataclasses
from pathlib import Path

import numpy as np
import pytest
from certificates import make_certificate

from hallo_cli.errors import InputError, SettingsError
from hallo_cli.media.joining import assemble
from hallo_cli.media.probe import frame_hashes
from hallo_cli.media.video import SegmentWriter
from hallo_cli.media.video_format import VideoFormat
from hallo_cli.provenance.certificates import Identity, own_identity, read_identity
from hallo_cli.provenance.marks import Claim, read_mark, require_usable, sign_video

CLAIM = Claim(fingerprint="f" * 64, portrait="a" * 64, audio="b" * 64, weights="c" * 64)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return read_identity(make_certificate(tmp_path_factory.mktemp("certificate") / "mine.pem"))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    form = VideoFormat(64, 48, 25.0)
    frames = np.random.default_rng(0).integers(0, 255, (5, 48, 64, 3), np.uint8)
    with SegmentWriter(tmp_path / "segment.mp4", form) as writer:
        writer.write(frames)
        segment = writer.commit()
    return assemble([segment], tmp_path / "out.mp4", video=form).file


def test_signed_video_says_who_what_and_that_it_is_whole(video: Path, identity: Identity) -> None:
    sign_video(video, CLAIM, identity)
    mark = read_mark(video, identity.anchor)
    assert mark is not None
    assert (mark.is_whole, mark.is_trusted, mark.is_ai) == (True, True, True)
    assert (mark.signer, mark.claim, mark.problems) == ("Example Films", CLAIM, ())
    assert mark.signed_with.startswith("Hallo CLI ")


@pytest.mark.parametrize("kind", ["p384", "ed25519", "rsa"])
def test_certificates_of_other_kinds_sign(video: Path, tmp_path: Path, kind: str) -> None:
    identity = read_identity(make_certificate(tmp_path / "other.pem", kind=kind))
    require_usable(identity)
    sign_video(video, CLAIM, identity)
    mark = read_mark(video)
    assert mark is not None
    assert mark.is_whole


def test_own_certificate_signs(video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    require_usable(own_identity())
    sign_video(video, CLAIM, own_identity())
    mark = read_mark(video, own_identity().anchor)
    assert mark is not None
    assert mark.is_trusted


def test_frames_stay_when_a_video_is_signed(video: Path, identity: Identity) -> None:
    before = list(frame_hashes(video))
    sign_video(video, CLAIM, identity)
    assert list(frame_hashes(video)) == before


def test_every_changed_byte_of_the_pictures_is_found(video: Path, identity: Identity) -> None:
    sign_video(video, CLAIM, identity)
    whole = video.read_bytes()
    start = whole.rindex(b"mdat") + 4
    for place in range(start, len(whole), (len(whole) - start) // 20):
        video.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        mark = read_mark(video)
        assert mark is not None
        assert not mark.is_whole
        assert "assertion.bmffHash.mismatch" in mark.problems


def test_signer_that_nobody_knows_is_not_trusted(video: Path, identity: Identity) -> None:
    sign_video(video, CLAIM, identity)
    mark = read_mark(video)
    assert mark is not None
    assert (mark.is_whole, mark.is_trusted) == (True, False)


def test_unmarked_video_has_no_mark(video: Path) -> None:
    assert read_mark(video) is None


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_mark(tmp_path / "gone.mp4")


def test_certificate_for_something_else_is_refused(tmp_path: Path) -> None:
    web = read_identity(make_certificate(tmp_path / "web.pem", is_for_signing=False))
    with pytest.raises(SettingsError, match="cannot sign videos"):
        require_usable(web)


def test_failed_signing_leaves_the_video(video: Path, identity: Identity) -> None:
    before = video.read_bytes()
    with pytest.raises(Exception, match="cannot be signed"):
        sign_video(video, CLAIM, dataclasses.replace(identity, algorithm="ED25519"))
    assert video.read_bytes() == before
    assert sorted(path.name for path in video.parent.iterdir()) == ["out.mp4", "segment.mp4"]
