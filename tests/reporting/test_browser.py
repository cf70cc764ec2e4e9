"""What a browser makes of the page."""

import re
import shutil
import subprocess
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import pytest

from braingan.reporting.write import rewrite_reports

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium is installed, so no browser has looked at the page")

Maker = Any  # tests/reporting/conftest.py
WATCHING = """<!doctype html><iframe width="{width}" height="800" style="border:0" srcdoc="{page}"></iframe><script>
onload = () => {{
  const inside = document.querySelector("iframe").contentDocument, root = inside.documentElement;
  const cut = [...inside.querySelectorAll("p, h1, h2, h3, li, figure, figcaption, .scroll, summary")].filter(
    (own) => own.getBoundingClientRect().right > root.clientWidth + 1);
  const asked = inside.defaultView.performance.getEntriesByType("resource").map((own) => own.name)
    .filter((name) => !name.startsWith("data:"));
  const needs = `width ${{root.clientWidth}} needs ${{root.scrollWidth}}`;
  document.title = `${{needs}} cut ${{cut.length}} asked ${{asked.length}}`;
}};
</script>"""


@pytest.fixture(scope="module")
def page(make_result: Maker, make_out: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ("a class with a rather long name", "tumor")
    out = make_out(make_result(names, folds=2), tmp_path_factory.mktemp("out"))
    rewrite_reports(out, without_images=False)
    return out / "report.html"


def browse(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    own = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
           "--hide-scrollbars", "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}"]  # fmt: skip
    return subprocess.run([str(CHROMIUM), *own, *flags], capture_output=True, text=True, timeout=180, check=False)


def seen(markup: str, folder: Path, width: int) -> tuple[str, list[str]]:
    """What a browser says of a page, and what it complains of."""
    watching = folder / "watching.html"
    watching.write_text(WATCHING.format(page=escape(markup), width=width), encoding="utf-8")
    ran = browse(folder, "--dump-dom", watching.as_uri())
    title = re.search(r"<title>(width.*?)</title>", ran.stdout)
    assert title, ran.stderr
    return title[1], [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_overflows_and_no_request_leaves_the_page(page: Path, tmp_path: Path, width: int) -> None:
    said, complaints = seen(page.read_text(encoding="utf-8"), tmp_path, width)
    assert said == f"width {width} needs {width} cut 0 asked 0"
    assert complaints == []


def test_the_browser_would_notice(page: Path, tmp_path: Path) -> None:
    wide = '<p style="width: 500px">wide</p><img src="https://example.invalid/x.png">'
    said, complaints = seen(page.read_text(encoding="utf-8").replace("<main>", f"<main>{wide}"), tmp_path, 360)
    assert re.match(r"width 360 needs 5\d\d cut 1 ", said)
    assert any("Content Security Policy" in line for line in complaints)  # asked for, and refused by the page itself


def test_it_prints(page: Path, tmp_path: Path) -> None:
    paper = tmp_path / "report.pdf"
    browse(tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={paper}", page.as_uri())
    content = paper.read_bytes()
    assert content.startswith(b"%PDF")
    pages = len(re.findall(rb"/Type\s*/Page\b(?!s)", content))
    assert 4 <= pages <= 14
