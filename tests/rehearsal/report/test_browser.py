"""The page as a browser shows it: on any screen, light and dark, by keyboard, and to a screen reader."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_safemigrations.rehearsal.report import render_html
from django_safemigrations.rehearsal.results import Rehearsal
from tests.rehearsal.report import sample

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = (320, 360, 768, 1280)
SCHEMES = ("light", "dark")
SAMPLES: dict[str, Callable[[], Rehearsal]] = {
    "failed": sample.rehearsal,
    "passed": lambda: sample.rehearsal(failing=False),
    "hostile": sample.hostile,
}

# Unlike axe, this also measures text of pictures, against what is painted right behind it.
CONTRASTS = """
() => {
  const parse = (colour) => {
    const found = colour.match(/[\\d.]+/g).map(Number);
    return [found[0], found[1], found[2], found.length > 3 ? found[3] : 1];
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((m, n) => n - m);
    return (x + 0.05) / (y + 0.05);
  };
  const behind = (element) => {
    const chain = [];
    for (let e = element; e; e = e.parentElement) chain.push(parse(getComputedStyle(e).backgroundColor));
    return chain.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const inBar = (text) => {
    const bars = [...text.ownerSVGElement.querySelectorAll('rect[class^=b]')];
    const [x, y] = [text.getBBox().x + 1, text.getBBox().y + text.getBBox().height / 2];
    return bars.filter(b => {
      const box = b.getBBox();
      return x >= box.x && x <= box.x + box.width && y >= box.y && y <= box.y + box.height;
    }).pop();
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const words = walker.currentNode.textContent.trim();
    if (!words || !element.checkVisibility() || element.closest('title, desc, .away')) continue;
    const style = getComputedStyle(element);
    let ink = parse(style.color), paper = behind(element);
    if (element.ownerSVGElement) {
      ink = parse(style.fill);
      const bar = element.classList.contains('on') ? inBar(element) : null;
      const column = element.ownerSVGElement.querySelector('.columns rect');
      if (bar || column) paper = over(parse(getComputedStyle(bar || column).fill), paper);
      if (element.classList.contains('on') && !bar) found.push(['no bar behind ' + words, 0]);
    }
    found.push([words.slice(0, 40) + ' in ' + element.tagName + '.' + element.className, ratio(ink, paper)]);
  }
  for (const bar of document.querySelectorAll('svg rect[class^=b], svg path[class^=b]')) {
    const paper = parse(getComputedStyle(document.body).backgroundColor);
    found.push(['bar ' + bar.getAttribute('class'), 1.5 * ratio(parse(getComputedStyle(bar).fill), paper)]);
  }
  return found;
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages")
    for name, made in SAMPLES.items():
        (path / f"{name}.html").write_text(render_html(made()), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=ARGUMENTS, headless=True
        )
        yield context
        context.close()


class Seen:
    """A page with what the browser said about it."""

    def __init__(self, context: Any, path: Path) -> None:
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.page = context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("dialog", lambda dialog: self.messages.append(dialog.message))
        self.url = path.as_uri()
        self.page.goto(self.url)


@pytest.fixture(params=list(SAMPLES))
def seen(request: pytest.FixtureRequest, context: Any, folder: Path) -> Iterator[Seen]:
    seen = Seen(context, folder / f"{request.param}.html")
    yield seen
    seen.page.close()


@pytest.fixture
def page(context: Any, folder: Path) -> Iterator[Any]:
    seen = Seen(context, folder / "failed.html")
    yield seen.page
    seen.page.close()


def unfold(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")


def test_it_asks_for_nothing_and_complains_of_nothing(seen: Seen) -> None:
    unfold(seen.page)
    seen.page.wait_for_load_state("networkidle")
    assert seen.requests == [seen.url]
    assert seen.messages == []
    assert "assed" in seen.page.title()
    assert seen.page.evaluate("document.scripts.length") == 0


def test_its_policy_is_in_force(page: Any) -> None:
    """A script and a picture that somehow came in would not be run and not be fetched."""
    page.evaluate(
        """() => {
          const script = document.createElement('script');
          script.textContent = 'document.title = "owned"';
          const picture = document.createElement('img');
          picture.src = 'data:image/gif;base64,R0lGODlhAQABAAAAACw=';
          document.body.append(script, picture);
          const bold = document.createElement('b');
          bold.setAttribute('style', 'color: rgb(1, 2, 3)');
          document.body.append(bold);
        }"""
    )
    assert page.title() != "owned"
    assert page.evaluate("document.images[0].naturalWidth") == 0
    assert page.evaluate("getComputedStyle(document.body.lastChild).color") != "rgb(1, 2, 3)"


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(seen: Seen, width: int) -> None:
    unfold(seen.page)
    seen.page.set_viewport_size({"width": width, "height": 800})
    sticking_out = """width => [...document.body.querySelectorAll('*')]
        .filter(e => !e.parentElement.closest('.scroll, .timeline') && !e.closest('.skip, .away'))
        .filter(e => e.getBoundingClientRect().right > width + 0.5)
        .map(e => e.tagName + '.' + e.getAttribute('class'))"""
    assert seen.page.evaluate(sticking_out, width) == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width


def test_light_and_dark_look_different(page: Any) -> None:
    pictures = set()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        pictures.add(hashlib.sha256(page.screenshot()).hexdigest())
    assert len(pictures) == 2


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_text_stands_out_from_its_background(seen: Seen, scheme: str) -> None:
    """WCAG 2.2, 1.4.3 and 1.4.11: 4.5 for text, 3 for the bars."""
    unfold(seen.page)
    seen.page.emulate_media(color_scheme=scheme)
    contrasts = seen.page.evaluate(CONTRASTS)
    assert len(contrasts) > 150
    assert [(words, ratio) for words, ratio in contrasts if ratio < 4.5] == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
def test_axe_finds_nothing(seen: Seen, scheme: str, width: int) -> None:
    from axe_playwright_python.sync_playwright import Axe

    seen.page.emulate_media(color_scheme=scheme)
    seen.page.set_viewport_size({"width": width, "height": 800})
    results = Axe().run(seen.page)
    assert results.violations_count == 0, results.generate_report()


def focused(page: Any) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(
        """() => {
          const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
          return {
            place: [...document.querySelectorAll('*')].indexOf(e), name: e.tagName,
            outline: style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth),
            seen: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
          };
        }"""
    )
    return found


def test_tab_reaches_everything_in_order_and_shows_where_it_is(page: Any) -> None:
    unfold(page)
    wanted = page.evaluate(
        """() => [...document.querySelectorAll('a[href], summary, [tabindex="0"]')]
            .map(e => [...document.querySelectorAll('*')].indexOf(e))"""
    )
    reached = []
    for _ in range(len(wanted)):
        page.keyboard.press("Tab")
        at = focused(page)
        assert at["outline"] >= 2, at
        assert at["seen"], at
        reached.append(at["place"])
    assert reached == wanted == sorted(wanted)


def test_the_first_tab_offers_to_skip_to_the_report(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    assert focused(page)["seen"]
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_what_is_folded_opens_and_closes_by_keyboard(page: Any) -> None:
    folded = page.locator("#pass-1-step-4")
    assert not folded.locator("pre").first.is_visible()
    folded.locator("summary").first.focus()
    for key, visible in itertools.zip_longest(("Enter", "Space"), (True, False)):
        page.keyboard.press(key)
        assert folded.locator("pre").first.is_visible() is visible


def test_a_wide_table_scrolls_within_itself_by_keyboard(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    page.locator("#production .scroll").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('#production .scroll').scrollLeft > 0")
    assert page.evaluate("document.scrollingElement.scrollLeft") == 0


def test_every_bar_of_the_picture_is_visible_and_in_its_lane(page: Any) -> None:
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('#locks .pass[open] .timeline svg')].flatMap(svg =>
            [...svg.querySelectorAll('rect[class^=b], path[class^=b]')].map(bar => {
              const box = bar.getBBox();
              return [box.x, box.y, box.width, box.height, svg.clientWidth, svg.clientHeight];
            }))"""
    )
    assert len(boxes) > 15
    for x, y, width, height, whole_width, whole_height in boxes:
        assert width >= 3
        assert height >= 4
        assert x >= 0
        assert x + width <= whole_width + 1
        assert y >= 40
        assert y + height <= whole_height


def test_names_of_lanes_stay_beside_their_lanes_while_scrolling(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    page.evaluate("document.querySelector('.timeline').scrollLeft = 300")
    left, tops = page.evaluate(
        """() => {
          const timeline = document.querySelector('.timeline');
          const rules = [...timeline.querySelectorAll('.rules path')].map(p => p.getBoundingClientRect().top);
          const names = [...timeline.querySelectorAll('.lanes li:not(.head)')].map(li => li.getBoundingClientRect().top);
          return [timeline.querySelector('.lanes').getBoundingClientRect().left - timeline.getBoundingClientRect().left,
                  rules.map((top, i) => Math.abs(top - names[i]))];
        }"""
    )
    assert left <= 1
    assert max(tops) <= 1


def test_on_paper_everything_is_unfolded_and_the_contents_are_gone(page: Any) -> None:
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    heights = page.evaluate(
        """() => [...document.querySelectorAll('.step .inner')].map(e => e.getBoundingClientRect().height)"""
    )
    assert min(heights) > 0


def test_a_report_of_two_hundred_steps_is_no_burden(context: Any, tmp_path: Path) -> None:
    """Counted and not timed: machines that run tests are busy."""
    path = tmp_path / "enormous.html"
    path.write_text(render_html(sample.enormous()), encoding="utf-8")
    seen = Seen(context, path)
    assert seen.page.evaluate("document.querySelectorAll('*').length") < 80_000
    laid_out = "[...document.querySelectorAll('*')].filter(e => e.checkVisibility()).length"
    assert seen.page.evaluate(laid_out) < 15_000
    seen.page.close()
