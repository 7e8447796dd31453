"""Spans of several threads, and how much of them ran side by side."""

import threading

import pytest

from hallo_cli.inference.spans import Span, recording, shared_s, span, to_chrome, total_s

SPANS = [
    Span("denoising step", "ahead", 0.0, 2.0),
    Span("denoising step", "ahead", 2.0, 3.0),
    Span("decoding", "main", 1.0, 2.5),
    Span("decoding", "main", 4.0, 5.0),
    Span("encoding", "main", 2.5, 2.75),
    Span("something else", "main", 0.0, 9.0),
]


def test_time_side_by_side_is_added_up() -> None:
    assert shared_s(SPANS, {"denoising step"}, {"decoding", "encoding"}) == pytest.approx(1.75)
    assert shared_s(SPANS, {"denoising step"}, {"unknown"}) == 0
    assert total_s(SPANS, {"decoding"}) == pytest.approx(2.5)


def test_spans_of_all_threads_are_recorded_only_while_asked_for() -> None:
    def work() -> None:
        with span("aside"):
            pass

    with recording() as spans:
        thread = threading.Thread(target=work, name="helper")
        with span("here"):
            thread.start()
            thread.join()
    with span("too late"):
        pass
    assert [(s.name, s.thread) for s in spans] == [("aside", "helper"), ("here", "MainThread")]
    assert all(s.start_s <= s.stop_s for s in spans)


def test_chrome_reads_microseconds_by_thread() -> None:
    events = to_chrome(SPANS)["traceEvents"]
    names = {e["args"]["name"]: e["tid"] for e in events if e["ph"] == "M"}
    third = [e for e in events if e["ph"] == "X"][2]
    assert third == {
        "ph": "X",
        "name": "decoding",
        "pid": 1,
        "tid": names["main"],
        "ts": pytest.approx(1e6),
        "dur": pytest.approx(1.5e6),
    }
