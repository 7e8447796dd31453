"""`hallo verify`: checks who signed a video, and compares the video with its signature and its record."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hallo_cli import api
from hallo_cli.cli.console import answer
from hallo_cli.cli.options import AS_JSON, argument, option
from hallo_cli.cli.progress import showing
from hallo_cli.settings.resolve import Sources

if TYPE_CHECKING:
    from hallo_cli.jobs.verification import Verdict
    from hallo_cli.provenance.consent_file import Consent

SCHEMA = 1


def command(
    video: Path = argument(..., "A finished video.", metavar="OUT.mp4"),
    trust: Path | None = option(None, "A PEM file of certificates that you trust.", metavar="FILE"),
    again: bool = option(
        False,
        "Render again from the record and compare the frames. The settings are those of hallo "
        "render: see --help-all.",
    ),
    as_json: bool = AS_JSON,
    *,
    given: Annotated[Sources, ()],
) -> None:
    """Check who signed a video and whether it is unchanged.

    Example:
        hallo verify out.mp4

    It compares the video with its signature and with its record, OUT.json beside it, and needs no network.
    Exit status: 0 if all is well, 1 if something is wrong, 4 if the file cannot be read.
    """
    with showing("none" if as_json or not again else "auto") as tell:
        verdict = api.verify(video, trust=trust, again=again, progress=tell, sources=given)
    if as_json:
        values = {"schema": SCHEMA, "good": verdict.is_good, **dataclasses.asdict(verdict)}
        answer(json.dumps(values, default=str))
    else:
        for line in _lines(verdict):
            answer(line)
    if not verdict.is_good:
        raise typer.Exit(1)


def _lines(verdict: Verdict) -> Iterator[str]:
    mark = verdict.mark
    if mark is None:
        yield "marked     no: the video does not say who or what made it"
    else:
        by = f"with {mark.signed_with}"
        yield f"marked     made by AI, {by}" if mark.is_ai else f"marked     {by}, but not as made by AI"
        yield f"signed     by {mark.signer!r}, {_standing(verdict)}"
        if mark.claim and mark.claim.consents:
            yield f"consent    {'; '.join(map(_consented, mark.claim.consents))}"
        changed = f"CHANGED since it was signed ({', '.join(mark.problems) or 'no valid signature'})"
        yield f"content    {'unchanged since it was signed' if mark.is_whole else changed}"
    yield f"record     {_recorded(verdict)}"
    if verdict.n_frames is not None:
        same = f"all {verdict.n_frames} frames are the same"
        other = f"{verdict.n_other} of {verdict.n_frames} frames differ"
        yield f"again      {other if verdict.n_other else same}"


def _consented(consent: Consent) -> str:
    by = f" by {consent.who!r}" if consent.who else ""
    until = f"until {consent.until}" if consent.until else "without end"
    return f"{consent.of}{by}, {until} (entry {consent.entry[:12]})"


def _standing(verdict: Verdict) -> str:
    assert verdict.mark is not None
    if verdict.is_own:
        return "this machine's certificate"
    if verdict.mark.is_trusted:
        return "a certificate that you trust"
    return "not trusted here (--trust FILE names certificates that you trust)"


def _recorded(verdict: Verdict) -> str:
    if verdict.record is None:
        return "none beside the video"
    if verdict.differences:
        return f"{verdict.record} does not agree: {', '.join(verdict.differences)}"
    return f"{verdict.record} describes this video"
