"""When a stop takes effect."""

import time
from collections.abc import Callable, Generator
from functools import partial

import pytest
from job_doubles import TrivialEngine
from job_runs import N_FRAMES, hashes

from hallo_cli.domain import Clip, MotionFrames, Portrait, Speech, StepDone
from hallo_cli.errors import (
    Interrupted,
)
from hallo_cli.jobs import events, runner
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import StopRequest, run_job
from hallo_cli.settings.schema import RenderSettings


class SlowSteps(TrivialEngine):
    """Ten denoising steps before each clip."""

    def __init__(self, step_s: float) -> None:
        super().__init__()
        self.step_s = step_s

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Generator[StepDone | Clip]:
        for item in super().clips(portrait, settings, speech, motion):
            if isinstance(item, Clip):
                for step in range(1, 11):
                    time.sleep(self.step_s)
                    yield StepDone(item.index, step, 10)
                yield item


def last_step(job: Job, engine: SlowSteps) -> int:
    """The last step of a clip that a job takes when it is asked to stop at the third."""
    stop, steps = StopRequest(), []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.StepRendered):
            steps.append(event.step)
            if event.step == 3:
                stop.ask()

    with pytest.raises(Interrupted):
        run_job(job, engine, on_event=listen, stop=stop)
    return int(steps[-1])


@pytest.mark.parametrize(("stop_s", "n_steps"), [(0.0, 3), (60.0, 10)])
def test_a_clip_that_will_not_be_done_in_time_is_given_up_between_steps(
    job: Job, monkeypatch: pytest.MonkeyPatch, stop_s: float, n_steps: int
) -> None:
    monkeypatch.setattr(runner, "STOP_S", stop_s)
    assert last_step(job, SlowSteps(0.01)) == n_steps
    assert run_job(job, TrivialEngine()).n_frames == N_FRAMES


class Clock:
    """A clock that denoising steps move on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("step_s", "n_steps"), [(1.8, 10), (1.9, 3)]
)  # seven steps and decoding in 15 s, or not
def test_a_clip_may_take_fifteen_seconds_after_a_stop(
    job: Job, monkeypatch: pytest.MonkeyPatch, step_s: float, n_steps: int
) -> None:
    clock = Clock()
    monkeypatch.setattr(runner, "time", clock)
    monkeypatch.setitem(globals(), "time", clock)
    assert last_step(job, SlowSteps(step_s)) == n_steps


class StoppedIn(TrivialEngine):
    """Asks for a stop in one of its steps, and notes which it takes."""

    def __init__(self, step: str, stop: StopRequest) -> None:
        super().__init__()
        self.steps: list[str] = []
        for name in STEPS:
            setattr(self, name, partial(self._take, name, name == step and stop, getattr(self, name)))

    def _take(
        self, name: str, stop: StopRequest | None, call: Callable[..., object], *given: object
    ) -> object:
        self.steps.append(name)
        if stop:
            stop.ask()
        return call(*given)


STEPS = ("portrait", "compositor", "decode", "track", "load_networks", "clips")


@pytest.mark.parametrize("step", STEPS[:-1])
def test_stop_takes_effect_after_the_step_in_hand(job: Job, step: str, undisturbed: list[str]) -> None:
    stop = StopRequest()
    engine = StoppedIn(step, stop)
    with pytest.raises(Interrupted):
        run_job(job, engine, stop=stop)
    assert engine.steps[-1] == step
    assert hashes(run_job(job, TrivialEngine()).output) == undisturbed
