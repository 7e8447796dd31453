"""The meter is judged on videos whose quality is known."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from evaluation.talking import FPS, ColourNetwork, open_mouth, openings, portrait_crop, shut_eyes, speech_like
from remembered import remembered
from skimage.metrics import structural_similarity

from hallo_cli.analysis.face import Face, FaceAnalyser
from hallo_cli.domain import Bytes, Float
from hallo_cli.evaluation import geometry
from hallo_cli.evaluation.figures import VideoFigures
from hallo_cli.evaluation.measure import VideoMeter, count_blinks
from hallo_cli.evaluation.truth import TruthMeter, gradient_deviation

N_FRAMES = 48
SLOW = FPS / 2  # where a video must last: half as many frames
N_SLOW = 36


class Remembering(FaceAnalyser):
    """Looks once at each picture, which shows one face at most: other videos have the same pictures."""

    def __init__(self) -> None:
        super().__init__(threads=1)
        self.faces: dict[bytes, Face | None] = {}

    def detect(self, rgb: Bytes, *, thorough: bool = False) -> list[Face]:
        key = rgb.tobytes()
        if key not in self.faces:
            self.faces[key] = next(iter(super().detect(rgb, thorough=thorough)), None)
        face = self.faces[key]
        return [face] if face else []

    def track(self, rgb: Bytes, previous: Face) -> Face | None:
        key = rgb.tobytes()
        if key not in self.faces:
            self.faces[key] = super().track(rgb, previous)
        return self.faces[key]


@dataclass
class Talking:
    portrait: Bytes
    frames: list[Bytes]
    waveform: Float
    analyser: FaceAnalyser

    def meter(self, frames: list[Bytes], analyser: FaceAnalyser | None = None) -> VideoMeter:
        meter = VideoMeter(analyser or self.analyser, reference=self.portrait)
        for frame in frames:
            meter.add(frame)
        return meter

    def figures(self, frames: list[Bytes]) -> VideoFigures:
        return self.meter(frames).figures(self.waveform, FPS)


@pytest.fixture(scope="module", autouse=True)
def portraits_are_cut_out_once() -> Iterator[None]:
    """The meters of most videos begin with the same portrait."""
    with remembered(geometry, "background", lambda picture, marks: (picture.tobytes(), marks.tobytes())):
        yield


@pytest.fixture(scope="module")
def talking() -> Talking:
    portrait = portrait_crop()
    analyser = Remembering()
    landmarks = analyser.detect(portrait)[0].landmarks
    series = openings(N_FRAMES)
    frames = [open_mouth(portrait, landmarks, float(opening)) for opening in series]
    return Talking(portrait, frames, speech_like(series), analyser)


@pytest.fixture(scope="module")
def perfect_meter(talking: Talking) -> VideoMeter:
    return talking.meter(talking.frames)


@pytest.fixture(scope="module")
def trembling() -> FaceAnalyser:
    """Looks at every frame anew, so that the landmarks of a still picture tremble as they do."""
    return FaceAnalyser(threads=1)


@pytest.fixture(scope="module")
def frozen_meter(talking: Talking, trembling: FaceAnalyser) -> VideoMeter:
    return talking.meter([talking.portrait] * N_SLOW, trembling)


@pytest.fixture(scope="module")
def perfect(talking: Talking, perfect_meter: VideoMeter) -> VideoFigures:
    return perfect_meter.figures(talking.waveform, FPS)


def test_perfect_video_correlates_without_lag(perfect: VideoFigures) -> None:
    assert perfect.sync_correlation > 0.8
    assert perfect.sync_lag == 0
    assert perfect.face_share == 1.0


def test_perfect_video_keeps_the_upper_face_and_the_background(perfect: VideoFigures) -> None:
    assert perfect.upper_face_ssim > 0.97
    assert perfect.background_ssim > 0.99
    assert perfect.background_change < 1.0


def test_video_late_by_five_frames_has_lag_five(talking: Talking, perfect_meter: VideoMeter) -> None:
    late = perfect_meter.figures(np.pad(talking.waveform, (0, 5 * 640))[5 * 640 :], FPS)
    assert late.sync_lag == 5
    assert late.sync_at_zero < 0.5


def test_wrong_recording_correlates_less(perfect_meter: VideoMeter, perfect: VideoFigures) -> None:
    wrong = perfect_meter.figures(speech_like(openings(N_FRAMES, seed=9)), FPS)
    assert wrong.sync_at_zero < perfect.sync_at_zero - 0.4


def identified(talking: Talking, reference: Bytes, frames: list[Bytes]) -> VideoFigures:
    meter = VideoMeter(talking.analyser, reference=reference, identity=ColourNetwork())
    for frame in frames:
        meter.add(frame)
    return meter.figures(None, FPS)


def test_identity_network_tells_another_person_from_the_same(talking: Talking) -> None:
    other = (talking.portrait * np.array([0.4, 1.0, 0.6])).astype(np.uint8)
    same = identified(talking, talking.portrait, [talking.portrait] * 6)
    different = identified(talking, talking.portrait, [other] * 6)
    assert same.identity_kind == "face embedding"
    assert same.identity == pytest.approx(1)
    assert different.identity < 0.95


def test_frames_that_the_identity_network_does_not_see_are_left_out_and_told_of(talking: Talking) -> None:
    dark = (talking.portrait * 0.2).astype(np.uint8)
    figures = identified(talking, talking.portrait, [talking.portrait] * 6 + [dark] * 6)
    assert figures.identity == pytest.approx(1)
    assert "the identity network finds no face in 1 of the 3 frames it was given" in figures.notes


def test_identity_is_that_of_the_landmarks_where_the_network_does_not_see_the_portrait(
    talking: Talking,
) -> None:
    dark = (talking.portrait * 0.2).astype(np.uint8)
    figures = identified(talking, dark, [talking.portrait])
    assert figures.identity_kind == "aligned upper face"
    assert figures.identity == figures.upper_face_ssim
    assert any("finds no face in the portrait" in note for note in figures.notes)


def test_shuffled_frames_lose_sync_and_flicker(talking: Talking, perfect: VideoFigures) -> None:
    order = np.random.default_rng(3).permutation(N_FRAMES)
    shuffled = talking.figures([talking.frames[i] for i in order])
    assert shuffled.sync_at_zero < perfect.sync_at_zero - 0.4


def test_frozen_picture_has_no_sync_and_is_counted_as_frozen(frozen_meter: VideoMeter) -> None:
    frozen = frozen_meter.figures(slow_speech(openings(N_SLOW)), SLOW)
    assert frozen.sync_correlation is None
    assert frozen.frozen_frames > N_SLOW // 2


def slow_speech(openings: Float) -> Float:
    """The recording to a video with few frames a second."""
    return speech_like(np.repeat(openings, 2))


def with_pause() -> Float:
    """Openings with a pause of more than one and a half seconds."""
    heard = openings(N_SLOW)
    heard[10:31] = 0
    return heard


def pausing(talking: Talking, *, mouth_rests: bool, analyser: FaceAnalyser | None = None) -> VideoFigures:
    """A recording that pauses, and a mouth that is shut in the pause or goes on as before."""
    heard = with_pause()
    spoken = np.resize(openings(5), N_SLOW)  # moves as much everywhere
    landmarks = talking.analyser.detect(talking.portrait)[0].landmarks
    shown = heard if mouth_rests else spoken
    frames = [open_mouth(talking.portrait, landmarks, float(opening)) for opening in shown]
    meter = talking.meter(frames, analyser)
    return meter.figures(slow_speech(heard), SLOW)


def test_mouth_that_rests_in_a_pause_hardly_moves_there(talking: Talking, trembling: FaceAnalyser) -> None:
    resting = pausing(talking, mouth_rests=True, analyser=trembling)
    assert resting.silence_motion < 0.05  # landmarks of a still picture tremble a little
    assert resting.silence_change == 0
    assert resting.silence_frames >= SLOW


def test_mouth_that_goes_on_in_a_pause_is_seen(talking: Talking) -> None:
    restless = pausing(talking, mouth_rests=False)
    assert restless.silence_motion == pytest.approx(1, abs=0.25)
    assert restless.silence_change == pytest.approx(1, abs=0.25)


def test_motion_in_silence_of_a_frozen_picture_is_not_its_trembling(frozen_meter: VideoMeter) -> None:
    frozen = frozen_meter.figures(slow_speech(with_pause()), SLOW)
    assert frozen.silence_motion is None
    assert frozen.silence_frames >= SLOW


def test_video_without_a_pause_says_why_silence_was_not_measured(perfect: VideoFigures) -> None:
    assert perfect.silence_motion is None
    assert perfect.silence_frames < FPS
    assert "less than a second of silence: motion in it was not measured" in perfect.notes


def test_jump_at_joins_is_shown_beside_its_chance(talking: Talking) -> None:
    joins = (12, 24, 36)
    flashing = [np.minimum(f + 40 * (i in joins), 255).astype(np.uint8) for i, f in enumerate(talking.frames)]
    figures = talking.meter(flashing).figures(None, FPS, joins=joins)
    shown = dict(figures.rows())
    assert shown["joins of clips"] == "3"
    assert float(shown["motion at joins / median inside"]) > 2
    assert float(shown["the same at other frames, share as high (0..1)"]) < 0.05


def test_black_frames_are_counted(talking: Talking) -> None:
    black = np.zeros_like(talking.portrait)
    assert talking.figures([*talking.frames[:3], black, black]).black_frames == 2


def test_colour_drift_is_seen(talking: Talking, perfect: VideoFigures) -> None:
    fade = np.repeat(np.linspace(1, 0.7, 10), 3)
    drifting = talking.figures([(talking.portrait * k).astype(np.uint8) for k in fade])
    assert perfect.drift_colour < 0.02
    assert drifting.drift_colour > 0.2


def test_truth_ranks_perfect_before_late(talking: Talking, perfect: VideoFigures) -> None:
    pairs = [(frame, talking.analyser.detect(frame)[0]) for frame in talking.frames[:35]]
    results = []
    for shown in (pairs, pairs[5:]):
        meter = TruthMeter()
        for pair, true_pair in zip(shown[:30], pairs, strict=False):
            meter.add(*pair, *true_pair)
        results.append(meter.added_to(perfect))
    assert results[0].psnr == 100.0
    assert results[0].gmsd == 0.0
    assert results[0].landmark_distance == 0.0
    assert results[1].psnr < 40
    assert results[1].gmsd > 0.01
    assert results[1].landmark_distance > 1
    assert results[1].truth_lag == -5


def test_blur_looks_worse_the_more_there_is_and_a_little_light_hardly(talking: Talking) -> None:
    true = talking.portrait
    brighter = np.clip(true.astype(int) + 4, 0, 255).astype(np.uint8)
    spoilt = [brighter, *(cv2.GaussianBlur(true, (0, 0), sigma) for sigma in (1.0, 2.0, 4.0))]
    distances = [gradient_deviation(true, np.asarray(picture, np.uint8)) for picture in spoilt]
    assert distances == sorted(distances)
    assert distances[0] < 0.005
    assert distances[-1] > 0.1


def test_blinks_are_counted_and_a_long_look_down_is_not() -> None:
    eyes = np.full(100, 0.3, np.float32)
    eyes[:2] = eyes[20:24] = eyes[40] = eyes[60:80] = 0.1
    eyes[30] = np.nan
    eyes[90] = 0.2  # half shut only
    assert count_blinks(eyes, FPS) == 3
    assert count_blinks(np.full(5, np.nan, np.float32), FPS) is None


def test_shut_eyes_are_seen_as_a_blink(talking: Talking, perfect: VideoFigures) -> None:
    landmarks = talking.analyser.detect(talking.portrait)[0].landmarks
    shut = shut_eyes(talking.portrait, landmarks)
    frames = [shut if 20 <= i < 24 else frame for i, frame in enumerate(talking.frames[:30])]
    assert perfect.blinks == 0
    assert talking.figures(frames).blinks == 1


def test_portrait_of_another_size_is_laid_over_the_frame_exactly(talking: Talking) -> None:
    large = np.pad(talking.portrait, ((40, 20), (10, 30), (0, 0)), mode="edge")
    large = np.asarray(cv2.resize(large, None, fx=2.6, fy=2.6, interpolation=cv2.INTER_CUBIC), np.uint8)
    found, target = (talking.analyser.detect(image)[0].landmarks for image in (large, talking.portrait))
    laid = geometry.lay_over(large, found, talking.portrait, target)
    assert structural_similarity(laid, talking.portrait, channel_axis=2) > 0.97
