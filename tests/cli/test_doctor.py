import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hallo_cli.cli.app import register

app = register("doctor")


def examine() -> tuple[int, dict[str, dict[str, str]]]:
    """The exit status, and the first finding about each topic."""
    result = CliRunner().invoke(app, ["doctor", "--json"])
    return result.exit_code, {row["topic"]: row for row in reversed(json.loads(result.stdout)["findings"])}


def test_everything_that_renders_need_is_looked_at() -> None:
    _, findings = examine()
    assert {
        "python",
        "system",
        "packages",
        "cpu",
        "gpu",
        "ffmpeg",
        "encoders",
        "faces",
        "weights",
        "disk",
    } <= set(findings)
    assert findings["faces"]["state"] == "good"


def test_ffmpeg_that_is_no_program_is_found_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALLO_FFMPEG", "/no/such/ffmpeg")
    status, findings = examine()
    assert status == 1
    assert findings["ffmpeg"]["state"] == "bad"
    assert "HALLO_FFMPEG" in findings["ffmpeg"]["detail"]


def test_long_message_keeps_its_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALLO_FFMPEG", "/folder" * 40 + "/ffmpeg")
    _, findings = examine()
    assert findings["ffmpeg"]["detail"].endswith("Correct or unset it.")


def test_ffmpeg_without_encoders_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho 'ffmpeg version 0 ------'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("HALLO_FFMPEG", str(fake))
    status, findings = examine()
    assert status == 1
    assert "HALLO_FFMPEG" in findings["encoders"]["remedy"] + findings["encoders"]["detail"]
