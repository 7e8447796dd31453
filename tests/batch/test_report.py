"""The report page and table; in a real browser where one is installed."""

import base64
import csv
import hashlib
import html
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from hallo_cli.batch.ledger import Record
from hallo_cli.batch.report import ReportOptions, shown_number, table_beside, write_page, write_table
from hallo_cli.batch.states import Counts
from hallo_cli.errors import OutputError
from hallo_cli.media.joining import Sound, assemble
from hallo_cli.media.video import SegmentWriter
from hallo_cli.media.video_format import VideoFormat

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
COUNTS = Counts(6, done=3, failed=2)
NASTY = '<script>document.title = "owned"</script>"&'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One real video with sound, and a page over five rows."""
    folder = tmp_path_factory.mktemp("report")
    form = VideoFormat(96, 128, 25, "libx264", 18)
    ramp = np.linspace(0, 255, 96, dtype=np.uint8)
    with SegmentWriter(folder / "s.mp4", form) as writer:
        writer.write(np.stack([np.tile(np.roll(ramp, 3 * n)[None, :, None], (128, 1, 3)) for n in range(50)]))
        writer.commit()
    wavfile.write(folder / "s.wav", 16_000, np.zeros(32_000, np.int16))
    assemble([folder / "s.mp4"], folder / "ok.mp4", video=form, sound=Sound(folder / "s.wav", codec="aac"))
    write_page(folder / "page.html", records(), ReportOptions("Week <12>", folder, COUNTS))
    write_table(folder / "page.csv", records())
    return folder


def records() -> list[Record]:
    figures = {"sync_correlation": 0.61, "seam_jump": 1.2, "identity": 0.9, "drift_colour": 0.01}
    return [
        Record("fine", 2, "done", "ok.mp4", sha256="aa", seconds=2.0, compute_s=31.5, quality=figures),
        Record("gone", 3, "done", "missing.mp4", seconds=9.0, compute_s=10.0, attempts=1, quality=figures),
        Record("short", 11, "done", "no.mp4", quality=figures, limits={"seam_jump": (3.0, 8.0)}),
        Record("odd", 10, "warn", "ok.mp4", objections=("jump at joins 4 is at or above 3",), seconds=2.0),
        Record(NASTY, 4, "error", "x.mp4", error="EncoderError", message=f"=ffmpeg {NASTY}", attempts=3),
        Record("x" * 150, 5, "quarantined", "y.mp4", message="/a/very/long/path" * 12),
    ]


def test_page_is_self_contained_and_escapes_what_users_wrote(folder: Path) -> None:
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert NASTY not in page
    assert "Week &lt;12&gt;" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count("<tr data-status") == 6
    assert page.count("data:video/mp4;base64,") == 2
    assert "video not readable" in page
    assert "warns from 3, fails from 8" in page
    assert page.count("not judged") == 3
    assert "3 of 6 rows done, 2 failed, 1 pending. " in page


def test_page_runs_no_script_and_takes_no_style_but_its_own(folder: Path) -> None:
    page = (folder / "page.html").read_text(encoding="utf-8")
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])  # type: ignore[index]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert "unsafe" not in policy
    assert (rules["default-src"], rules["base-uri"], rules["form-action"]) == ("'none'",) * 3
    for kind in ("style", "script"):
        (inline,) = re.findall(f"<{kind}>(.*?)</{kind}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert " style=" not in page
    assert not re.search(r"<[^>]* on[a-z]+=", page)


def test_control_characters_of_a_ledger_reach_neither_page_nor_table(tmp_path: Path) -> None:
    text = "a\x1b[2J\x9b\u202e\u2028\nb\udce9"
    rows = [Record(text, 1, "error", text, worker=text, error=text, message=text, objections=(text,))]
    rows.append(Record("o", 2, "fail", objections=(text,), quality={text: 1.0}))
    write_page(tmp_path / "page.html", rows, ReportOptions(text, tmp_path, COUNTS))
    write_table(tmp_path / "page.csv", rows)
    for file in ("page.html", "page.csv"):
        said = (tmp_path / file).read_text(encoding="utf-8")
        assert not set(said) & set("\x1b\x9b\u202e\u2028")
        assert "a\\x1b[2J\\x9b\\u202e\\u2028\\nb\\xe9" in said


@pytest.mark.parametrize(
    "trick",
    [
        *("=1+1", "+1", "-1", "@SUM(1)", "\n=1", "\r\n=1", "\t=1", " =1", "\u3000=1", "\u200d=1", "\ufeff=1"),
        *("\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(1)", "\u22121", "'=1", '"=1'),
        *("a;=1", 'a";"=1', "a; \u3000\uff1d1", "a;-1;+2"),
    ],
)
def test_no_cell_is_a_formula_in_any_spreadsheet(tmp_path: Path, trick: str) -> None:
    write_table(tmp_path / "t.csv", [Record(trick, 1, "error", message=trick, objections=(trick, trick))])
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    for cell in (row["id"], row["message"], row["objections"]):
        for part in re.split(r"[;\n\t]", cell):
            bare = part.strip(' \t\r\n\u3000\u200d\ufeff"')
            assert not bare or bare[0] not in "=+-@\uff1d\uff0b\uff0d\uff20\u2212"


def test_numbers_are_short_but_never_powers_of_ten() -> None:
    assert [shown_number(value) for value in (0.20384, 12.345, 12345.6)] == ["0.204", "12.3", "12,346"]


def test_numbers_are_sorted_by_their_exact_values_and_left_out_where_unknown(folder: Path) -> None:
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert '<td data-label="compute s" data-value="31.5">31.5</td>' in page
    assert '<td data-label="sync correlation" data-value="0.61">0.61</td>' in page
    assert page.count('<td data-label="sync correlation"></td>') == 3


@pytest.mark.parametrize("output", ["../a b.mp4", "https://x.example/a.mp4", "javascript:alert(1)", '"><b>'])
def test_address_of_a_video_is_a_relative_path_whatever_the_ledger_says(tmp_path: Path, output: str) -> None:
    write_page(tmp_path / "p.html", [Record("a", 1, "done", output)], ReportOptions("t", tmp_path, COUNTS))
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    (address,) = re.findall(r'data-video="([^"]*)"', page)
    assert re.fullmatch(r"\./[A-Za-z0-9%./_-]+", address)
    assert "<b>" not in page.split("<tbody>")[1]


def test_previews_are_small_and_bounded_in_number(folder: Path) -> None:
    assert (folder / "page.html").stat().st_size < 200_000
    write_page(folder / "few.html", records(), ReportOptions("few", folder, COUNTS, max_previews=1))
    assert (folder / "few.html").read_text(encoding="utf-8").count("data:video/mp4") == 1


def test_table_holds_every_row_and_no_formula(folder: Path) -> None:
    with (folder / "page.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["done", "done", "done", "warn", "error", "quarantined"]
    assert rows[0]["sync_correlation"] == "0.61"
    assert rows[3]["objections"].startswith("jump at joins")
    assert rows[4]["message"].startswith("'=ffmpeg")


# Runs in the page and tells the frame around it what it found.
PROBE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const out = ["overflow " + (document.documentElement.scrollWidth - innerWidth)];
  const names = () => [...document.querySelectorAll("tbody tr:not([hidden]) td[data-label=id]")]
    .map(cell => cell.textContent.slice(0, 4)).join(",");
  const heads = [...document.querySelectorAll("th button")];
  const seconds = heads.find(head => head.textContent === "seconds");
  seconds.click();
  seconds.click();
  out.push("falling " + names());
  document.querySelector("button[data-status=warn]").click();
  out.push("warn " + names());
  document.querySelector("button[data-status='']").click();
  const find = document.getElementById("find");
  find.value = "FFMPEG";
  find.dispatchEvent(new Event("input"));
  out.push("found " + names(), "title " + document.title);
  find.value = "";
  find.dispatchEvent(new Event("input"));
  const fine = document.querySelector("tr[data-id=fine]"), press = key =>
    document.getElementById("player").dispatchEvent(new KeyboardEvent("keydown", {key}));
  fine.querySelector("video").click();
  press("a");
  press("n");
  press("r");
  document.querySelector("button[data-marked=approved]").click();
  out.push("approved " + names(), "open " + document.getElementById("player").open);
  document.getElementById("close").click();
  URL.createObjectURL = blob => {
    blob.text().then(text => {
      out.push("saved " + JSON.parse(text).decisions.map(one => one.id + one.mark + one.sha256).join(","));
    });
    return "data:,";
  };
  document.getElementById("save").click();
  fine.querySelector("video").click();
  const video = document.querySelector("dialog video");
  video.addEventListener("loadedmetadata", () => {
    out.push("video " + video.videoWidth + " " + Math.round(video.duration));
    parent.postMessage(out.join("\\n"), "*");
  });
}, 100));
</script>
"""
FRAME = """<body style="margin:0">
<iframe src="{page}" style="width:{width}px;height:1400px;border:0"></iframe>
<pre></pre><script>onmessage = event => document.querySelector("pre").textContent = event.data</script>"""


def browse(*arguments: str) -> str:
    assert BROWSER is not None
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
    command = [BROWSER, *options, "--virtual-time-budget=20000", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits_sorts_filters_and_plays_in_a_browser(folder: Path, width: int) -> None:
    page = (folder / "page.html").read_text(encoding="utf-8")
    page = re.sub(r"script-src 'sha256-[^']*'", "script-src 'unsafe-inline'", page)  # for the probe's
    (folder / "probe.html").write_text(page.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(page="probe.html", width=width), encoding="utf-8")
    said = browse("--window-size=1400,1500", "--dump-dom", frame.as_uri())
    assert "overflow 0\n" in said
    assert "falling gone," in said
    assert "warn odd\n" in said
    assert "found &lt;scr\n" in said
    assert "title Week" in said
    assert "approved fine\n" in said
    assert "open true\n" in said
    assert "saved fineapprovedaa,oddrejected" in said
    assert re.search(r"video 96 2", said)  # the whole video, no preview


@pytest.mark.parametrize("name", ["week.csv", "week.html"])
def test_report_never_replaces_a_file_of_the_users(tmp_path: Path, name: str) -> None:
    manifest = tmp_path / "week.csv"
    manifest.write_text("id,portrait,audio\n", encoding="utf-8")
    with pytest.raises(OutputError, match=r"must end in \.html|is no report"):
        table_beside(tmp_path / name)
    assert manifest.read_text(encoding="utf-8") == "id,portrait,audio\n"


def test_report_replaces_the_one_before(tmp_path: Path) -> None:
    write_table(tmp_path / "page.csv", [])
    assert table_beside(tmp_path / "page.html") == tmp_path / "page.csv"
