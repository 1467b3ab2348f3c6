"""The dashboard in a real browser: filter, see topics and drift, open a call, judge, upload, speak; all stays here."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import made_center
import numpy as np
import pytest
import soundfile

from jobs.labels import Labels
from jobs.storage import LocalStorage
from reporting.dashboard.__main__ import free_port
from reporting.dashboard.tables import Filter, Tables
from reporting.figures import topics_in_words
from tests.benchmarks.dashboard import LAST, NEW_CODEC, TOPICS
from tests.chromium import CHROMIUM, Tab, chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine: apt-get install chromium"),
]
ROOT = Path(__file__).resolve().parents[2]
CALLS, DAYS = 720, 9
FIRST = LAST - timedelta(days=DAYS - 1)


@pytest.fixture(scope="module")
def center(tmp_path_factory: pytest.TempPathFactory, voice: Callable[..., Any]) -> Path:
    return made_center.make(tmp_path_factory.mktemp("center"), voice, calls=CALLS, days=DAYS)


@pytest.fixture(scope="module")
def address(center: Path) -> Iterator[str]:
    """A dashboard's process, as make dashboard starts it."""
    port = free_port()
    command = [sys.executable, "-m", "reporting.dashboard", "--port", str(port)]
    command += ["--warehouse", str(center / "warehouse"), "--recordings", str(center / "recordings")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            with suppress(OSError), urllib.request.urlopen(f"{found}/_stcore/health") as answer:  # noqa: S310
                if answer.status == 200:
                    break
            assert process.poll() is None
            time.sleep(0.5)
        yield found
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory, voice: Callable[..., Any]) -> Path:
    """Two segments of a voice."""
    file = tmp_path_factory.mktemp("spoken") / "spoken.wav"
    soundfile.write(file, np.concatenate([voice(2.0), np.zeros(8000, np.float32), voice(2.5, pitch_hz=220)]), 8000)
    return file


@pytest.fixture
def page(address: str, spoken: Path, tmp_path: Path) -> Iterator[Tab]:
    """The dashboard's first page; at the end nothing was complained of, and nothing asked for elsewhere."""
    with chromium(tmp_path / "profile", microphone=spoken) as tab:
        tab.open(address)
        tab.sees("Satisfaction index")
        yield tab
        assert tab.complaints == []
        local = (address, address.replace("http", "ws"), "data:", "blob:")
        assert [each for each in tab.requests if not each.startswith(local)] == []
        assert len(tab.requests) > 20


def go(page: Tab, title: str) -> None:
    links = "[...document.querySelectorAll('[data-testid=stSidebarNavLink]')]"
    page.click(f"{links}.find(each => each.innerText.includes('{title}'))")
    page.wait(f"document.querySelector('[aria-current=page]')?.innerText.includes('{title}')")


def test_a_queue_is_chosen_and_a_call_opened_and_heard(page: Tab, center: Path) -> None:
    of_queue = Tables(LocalStorage(center / "warehouse")).period(Filter(FIRST, LAST, ("Billing",))).total
    page.sees("is not yet measured on your calls: 0 of its segments are judged")
    everything = f"'{CALLS}'"
    scored = "[...document.querySelectorAll('[data-testid=stMetricValue]')].at(-1)?.innerText.trim()"
    page.wait(f"{scored} == {everything}")
    page.click("document.querySelector('[data-testid=stMultiSelect] input')")
    page.write("Billing")
    page.press("Enter")
    page.wait(f"{scored} && {scored} != {everything}")
    assert int(page.ask(scored)) == of_queue["calls"]

    go(page, "Calls")
    page.wait("document.querySelector('audio')")
    opened = page.ask("document.querySelector('h3').innerText")
    assert "Billing" in opened
    page.click("document.querySelector('[data-testid=stSelectbox] [role=combobox], [data-testid=stSelectbox] input')")
    page.click("document.querySelectorAll('[role=option]')[1]")
    page.wait(f"document.querySelector('h3') && document.querySelector('h3').innerText != {opened!r}")
    assert "Billing" in page.ask("document.querySelector('h3').innerText")


def test_topics_and_drift_are_what_was_planted(page: Tab, center: Path) -> None:
    tables = Tables(LocalStorage(center / "warehouse"))
    go(page, "Topics")
    page.sees("A subject need not be why a customer is angry")
    asked = "select count(*), avg(p_angry) from topic_emotions join calls using (call_date, contact_id) where topic = ?"
    calls, anger = tables.rows(asked, ["refund"]).iloc[0]
    assert abs(anger - TOPICS["refund"]) < 0.05
    picture = "document.querySelector('[data-testid=stImage] img')"
    page.wait(f"{picture}?.alt.includes('refund, {calls:.0f} calls: angry {anger:.0%}')")
    assert page.ask(f"{picture}.naturalWidth > 0"), "it cannot be drawn"
    page.click("document.querySelector('[data-testid=stMultiSelect] input')")
    page.write("Billing")
    page.press("Enter")
    of_queue, anger = tables.rows(f"{asked} and queue = 'Billing'", ["refund"]).iloc[0]
    assert of_queue < calls
    page.wait(f"{picture}?.alt.includes('refund, {of_queue:.0f} calls: angry {anger:.0%}')")

    go(page, "Drift")
    # By hand: of the last day's 80 calls half have a codec that none of 640 before had; 0.5 is added to each count.
    psi = sum((0.5 - q) * math.log(0.5 / q) for q in (0.5 / 641, 640.5 / 641))
    page.sees(f"Codecs (PSI {psi:.2f}: {NEW_CODEC}, two channel 50%, usually 0%")
    page.sees("From 13 November on the model was made, before it made-before")
    page.wait(
        "document.querySelector('[role=graphics-document][aria-label*=\"Population stability index by measure\"]')"
    )

    go(page, "Win back")
    page.sees(f"{len(tables.win_back(Filter(FIRST, LAST, ('Billing',))))} customers, the lowest index first.")

    go(page, "Calls")
    first = tables.calls(Filter(FIRST, LAST, ("Billing",))).iloc[0]
    told = topics_in_words(tables.call_topics(first["call_date"], first["contact_id"]))
    assert "(0:20 to 2:20)" in told
    page.wait(f"document.querySelector('[role=graphics-document][aria-label=\"What the call is about: {told}.\"]')")


def test_a_segment_is_judged_with_one_key_before_the_models_view_is_shown(page: Tab, center: Path) -> None:
    go(page, "Judge")
    page.click("document.querySelector('[data-testid=stTextInput] input')")
    page.write("heron")
    page.press("Enter")
    page.wait("document.querySelector('audio')")
    page.sees("cannot tell")  # the last button: every key is heard from here on
    assert "the model said" not in page.ask("document.body.innerText")
    page.ask("document.activeElement.blur()")
    page.press("s")
    page.sees("You said sad; the model said")
    (row,) = Labels(LocalStorage(center / "warehouse")).read().to_pylist()
    assert (row["emotion"], row["mood"], row["annotator"], row["role"]) == ("sad", "negative", "heron", "customer")
    page.sees("not yet measured on your calls")


def test_a_recording_is_uploaded_and_its_segments_shown_and_a_bad_file_ends_in_a_sentence(
    page: Tab, spoken: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF this is no sound")
    go(page, "Try")
    page.give_file("[data-testid=stFileUploader] input[type=file]", spoken)
    page.sees("What it cannot tell.")
    assert "2 segments in 0:0" in page.ask("document.querySelector('h3').innerText")
    # Its sound has come: another file would take it away while the page still asks for it.
    page.wait("[...document.querySelectorAll('audio')].every(each => each.readyState > 0)")
    page.give_file("[data-testid=stFileUploader] input[type=file]", tmp_path / "bad.wav")
    page.sees("This cannot be scored")
    assert "Traceback" not in page.ask("document.body.innerText")


def test_what_is_spoken_into_the_microphone_is_classified(page: Tab) -> None:
    go(page, "Try")
    button = "document.querySelector('[data-testid=stAudioInputActionButton]')"
    clock = "document.querySelector('[data-testid=stAudioInputWaveformTimeCode]')?.innerText"
    page.click(button)
    page.wait(f"{clock} >= '00:04'")
    page.click(button)
    page.sees("What it cannot tell.")
    heading = page.ask("document.querySelector('h3').innerText")
    assert re.fullmatch(r"[1-4] segments? in 0:0[4-9], [1-4] classified", heading), heading
