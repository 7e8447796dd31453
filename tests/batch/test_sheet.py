import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from batch_command import hallo
from PIL import Image
from scipy.io import wavfile
from small_bundles import make_bundle

from hallo_cli.batch import sheet
from hallo_cli.batch.batch_events import RowPlanned
from hallo_cli.batch.sheet import write_sheet
from hallo_cli.errors import OutputError, PortraitError
from hallo_cli.jobs.preflight import PortraitFacts
from hallo_cli.jobs.still import Still

FACE = Path(sheet.__file__).parent.parent / "assets/examples/portrait_astronaut.png"


def planned(name: str, message: str = "", state: str = "ready") -> RowPlanned:
    return RowPlanned(
        2, name, state, "/in/anna.jpg", "/in/a.wav", "/out/a.mp4", 12.5, 512, 512, 90.0, message
    )


def drawn(row: RowPlanned) -> Still:
    red = np.full((600, 1000, 3), (200, 30, 30), np.uint8)
    return Still(red, (900, 600), "512 x 512", "poor", ("the face is <dark>",))


def test_page_shows_every_row_with_its_picture(tmp_path: Path) -> None:
    rows = [planned("one"), planned("two", state="skipped")]
    assert write_sheet(tmp_path / "sheet.html", rows, drawn, title="week12") == 2
    page = (tmp_path / "sheet.html").read_text()
    assert page.count("data:image/jpeg") == 2
    assert "anna.jpg says a.wav" in page
    assert "12.5 s, 512 x 512, about 90 s to render" in page
    assert "done before" in page


def test_outlook_can_be_read_and_searched_beside_the_picture(tmp_path: Path) -> None:
    write_sheet(tmp_path / "s.html", [planned("one")], drawn, title="x")
    page = (tmp_path / "s.html").read_text()
    assert '<div class="poor"><p>outlook: poor</p><ul><li>the face is &lt;dark&gt;</li></ul>' in page


def test_page_begins_with_the_totals_and_tells_prices(tmp_path: Path) -> None:
    row = dataclasses.replace(planned("one"), price=0.5)
    write_sheet(tmp_path / "s.html", [row], drawn, title="week12", lines=["1 row: 1 to render"])
    page = (tmp_path / "s.html").read_text()
    assert "<h1>week12</h1><p>1 row: 1 to render</p>" in page
    assert "about 90 s to render, for 0.50</p>" in page


@pytest.mark.parametrize(
    ("audio", "said"),
    [
        ("1=/in a/a.wav 2=https://host/x/b.wav", "says 1=a.wav 2=b.wav<"),
        ("Good and/or bad.", "says Good and/or bad.<"),
        ("https://host/x/b.wav", "says b.wav<"),
    ],
)
def test_what_is_heard_is_told_as_people_read_it(tmp_path: Path, audio: str, said: str) -> None:
    row = dataclasses.replace(planned("one"), audio=audio)
    write_sheet(tmp_path / "s.html", [row], lambda row: None, title="x")
    assert said in (tmp_path / "s.html").read_text()


def test_row_that_cannot_be_rendered_says_why(tmp_path: Path) -> None:
    rows = [planned("bad", "no face was found", "invalid")]
    write_sheet(tmp_path / "sheet.html", rows, lambda row: None, title="week12")
    assert "no face was found" in (tmp_path / "sheet.html").read_text()


def test_picture_that_cannot_be_drawn_costs_no_other_row(tmp_path: Path) -> None:
    def draw(row: RowPlanned) -> Still:
        if row.id == "one":
            raise PortraitError("it has vanished")
        return drawn(row)

    assert write_sheet(tmp_path / "s.html", [planned("one"), planned("two")], draw, title="x") == 1
    assert "it has vanished" in (tmp_path / "s.html").read_text()


def test_nothing_of_a_row_is_markup(tmp_path: Path) -> None:
    rows = [planned("<script>alert(1)</script>\x1b[31m", "<b>bold</b>")]
    write_sheet(tmp_path / "s.html", rows, lambda row: None, title="<i>week</i>")
    page = (tmp_path / "s.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "\x1b" not in page


def test_only_so_many_rows_have_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "MAX_PICTURES", 3)
    rows = [planned(str(number)) for number in range(10)]
    assert write_sheet(tmp_path / "s.html", rows, drawn, title="x") == 3
    assert (tmp_path / "s.html").read_text().count("<article") == 10


def test_page_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_sheet(tmp_path / "gone" / "s.html", [], drawn, title="x")


def test_several_faces_have_the_worst_outlook_and_all_reasons() -> None:
    def facts(outlook: str, *reasons: str) -> PortraitFacts:
        return PortraitFacts(9, 9, 2, (0, 0, 9, 9), 9.0, 0.0, 99.0, 0.0, 99.0, outlook, reasons, ())

    still = drawn(planned("one")).of_faces({1: facts("poor", "it is dark"), 3: facts("good")})
    assert (still.outlook, still.reasons) == ("poor", ("face 1: it is dark",))


def test_what_will_be_transparent_is_white_on_the_sheet(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    Image.open(FACE).convert("RGBA").save(tmp_path / "a.png")
    wavfile.write(
        tmp_path / "a.wav", 16_000, np.random.default_rng(0).normal(0, 2e3, 16_000).astype(np.int16)
    )
    (tmp_path / "w.csv").write_text("portrait,audio,output\na.png,a.wav,a.webm\n")
    options = ("--canvas", "64x128", "--framing", "full", "--fit", "pad", "--bundle", tmp_path / "bundle")
    result = hallo(tmp_path / "w.csv", "--dry-run", *options, "--sheet", tmp_path / "s.html")
    assert result.exit_code == 0
    coded = (tmp_path / "s.html").read_text().partition("base64,")[2].partition('"')[0]
    picture = Image.open(io.BytesIO(base64.b64decode(coded)))
    assert min(picture.getpixel((picture.width - 5, 5))) > 240  # type: ignore[arg-type,type-var]
