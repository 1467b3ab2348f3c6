"""The pages of the report in headless Chromium: no complaint, no request, and nothing beyond a phone's width."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from made_up_nights import DAY, GENERATED_AT, made_up_night, together

from reporting.periods import Period
from reporting.report import render_page
from tests.chromium import CHROMIUM, Tab, chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine: apt-get install chromium"),
]
PHONE, WIDE = 390, 1280
LONG = "Customer service for orders, deliveries, returns and complaints of wholesale partners"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    queues: Any = ("Billing", LONG, LONG.replace(" ", "_"), None)
    short: Any = {"calls": 32, "queues": queues, "minutes": (0.5, 1.0)}
    days = [made_up_night(day=DAY - timedelta(days=number), seed=number, **short) for number in range(9)]
    history = together(*days[1:])["satisfaction_daily"]
    periods = {"day": (Period.day(DAY), days[0]), "week": (Period.week(DAY), together(*days[:5]))}
    written = {}
    for kind, (period, tables) in periods.items():
        for edition in ("review", "summary"):
            options: dict[str, Any] = {"edition": edition, "history": history if kind == "day" else None}
            page = render_page(tables, period=period, generated_at=GENERATED_AT, **options)
            written[f"{kind}, {edition}"] = folder / f"{kind}-{edition}.html"
            written[f"{kind}, {edition}"].write_text(page)
    return written


@pytest.mark.parametrize("name", ["day, review", "day, summary", "week, review", "week, summary"])
def test_a_page_is_quiet_and_fits(tab: Tab, pages: dict[str, Path], name: str) -> None:
    address = pages[name].as_uri()
    for width, scheme in ((PHONE, "light"), (WIDE, "dark")):
        tab.open(address, width=width, scheme=scheme)
        tab.ask("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert tab.ask("innerWidth") == width
        assert tab.ask("document.documentElement.scrollWidth") == width, "the page scrolls sideways"
        assert tab.complaints == tab.warnings == []
        assert tab.requests == [address]
    assert tab.ask("getComputedStyle(document.body).backgroundColor") == "rgb(18, 21, 24)"
    assert tab.ask("document.querySelectorAll('svg.chart').length") == 4
    # What a chart draws takes the theme's color: light on dark.
    assert tab.ask("getComputedStyle(document.querySelector('svg.chart text')).fill") == "rgb(164, 173, 182)"


def test_the_browser_would_tell(tab: Tab, pages: dict[str, Path]) -> None:
    """A page that asks for something, complains and is too wide is seen to do so, and the policy to stop it."""
    page = pages["day, summary"].with_name("noisy.html")
    quiet = pages["day, summary"].read_text()
    noise = "<img src='http://127.0.0.1:9/x.png'><script>console.error('no')</script><p style='width:900px'>wide</p>"
    open_policy = quiet.replace("default-src 'none'", "default-src * 'unsafe-inline'")
    assert open_policy != quiet
    page.write_text(open_policy.replace("</main>", f"{noise}</main>"))
    tab.open(page.as_uri(), width=PHONE)
    assert "http://127.0.0.1:9/x.png" in tab.requests
    assert len(tab.complaints) >= 2
    assert tab.ask("document.documentElement.scrollWidth") > PHONE
    page.write_text(quiet.replace("</main>", f"{noise}</main>"))
    tab.open(page.as_uri(), width=PHONE)
    assert any("Content Security Policy" in complaint for complaint in tab.complaints)
