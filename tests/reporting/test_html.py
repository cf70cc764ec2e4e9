import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from PIL import Image

from braingan.errors import OutputError
from braingan.reporting.figures import macro_figure
from braingan.reporting.html import write_report

Maker = Any  # tests/report/conftest.py
NASTY = ("<b>bold</b>", '" onload="x', "$\\frac{", "{{ 7 * 7 }}")


class Page(HTMLParser):
    """Tags with their attributes, ids, and the text between."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pictures")
    paths = {name: folder / f"{name}.png" for name in ("real", "synthetic")}
    for shade, path in enumerate(paths.values()):
        Image.new("L", (16, 8), 90 * shade).save(path)
    return paths


@pytest.fixture(scope="module")
def markup(make_result: Maker, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(make_result(), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def illustrated(make_result: Maker, tmp_path_factory: pytest.TempPathFactory, pictures: dict[str, Path]) -> str:
    return written(make_result(), tmp_path_factory.mktemp("report"), pictures)


def written(result: Any, folder: Path, pictures: dict[str, Path] | None = None) -> str:
    write_report(result, folder / "report.html", pictures=pictures)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_from_outside(illustrated: str) -> None:
    page = Page(illustrated)
    addresses = [
        value or "" for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")
    ]
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in addresses)
    assert all(address.startswith("#") for address in re.findall(r"url\(['\"]?([^)]*)\)", illustrated))
    assert not page.of("script", "link", "iframe", "object", "base")
    assert not re.search(r"@import|https?:", illustrated)


def test_pictures_are_embedded_with_words_for_those_who_cannot_see_them(illustrated: str) -> None:
    images = Page(illustrated).of("img")
    assert [image["alt"] for image in images] == ["Example images: real", "Example images: synthetic"]


def test_without_pictures_none_are_in_it_and_it_says_so(markup: str) -> None:
    assert "data:image/png" not in markup
    assert "Pictures were left out" in markup


def test_every_figure_has_a_name_and_ids_of_its_own(markup: str) -> None:
    page = Page(markup)
    assert len(page.of("svg")) == 4
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.of("svg"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    pointed_at = re.findall(r'(?:url\(|href=")#([^)"]+)', markup)
    assert set(pointed_at) <= set(ids)


def test_every_header_cell_says_what_it_heads(markup: str) -> None:
    assert all(cell.get("scope") in ("col", "row", "colgroup") for cell in Page(markup).of("th"))


def test_words_of_others_do_not_become_markup(make_result: Maker, tmp_path: Path) -> None:
    bad = [{"file": "<script>alert(1)</script>.png", "reason": "<img src=x>"}]
    notes = ["<i>note</i>"]
    markup = written(make_result(NASTY, bad_files=bad, notes=notes), tmp_path)
    page = Page(markup)
    assert not page.of("script", "i", "img")
    assert "<b>bold" not in markup
    assert not [attributes for _, attributes in page.tags if "onload" in attributes]
    assert all(words in page.text for words in (*NASTY, bad[0]["file"], bad[0]["reason"], *notes))


def test_the_numbers_are_those_of_the_summary(make_result: Maker, markup: str) -> None:
    for scores in make_result().summary.values():
        for measure in scores.values():
            assert f"<td>{measure['mean']:.3f} ± {measure['std']:.3f}</td>" in markup


def test_every_note_stands_in_it(make_result: Maker, markup: str) -> None:
    assert all(note in markup for note in make_result().notes)


def test_it_gives_no_verdict(markup: str) -> None:
    assert "not a verdict" in markup
    assert "no significance test" in markup
    assert not re.search(r"\bp\s*[<=]|(?<!no )\bsignifican", markup)
    assert "Research software, not a medical device." in markup


def test_a_single_seed_shows_no_spread(make_result: Maker, tmp_path: Path) -> None:
    page = Page(written(make_result(seeds=1), tmp_path))
    assert not re.search(r"\d ± \d", page.text)
    assert "One seed shows no spread" in page.text


def test_the_split_is_counted_by_part_and_class(markup: str) -> None:
    words = " ".join(Page(markup).text.split())
    assert "healthy 12 (6)4 (2)8 (4)" in words
    assert "all 24 (6)8 (2)16 (4)" in words


def test_missing_losses_are_explained(make_result: Maker, tmp_path: Path) -> None:
    generators = [entry | {"losses": []} for entry in make_result().generators]
    assert "none were recorded" in written(make_result(generators=generators), tmp_path)
    given = make_result().settings | {"generator": "run1"}
    assert "the generator was given" in written(make_result(generators=generators, settings=given), tmp_path)


def test_many_bad_files_are_counted_rather_than_listed(make_result: Maker, tmp_path: Path) -> None:
    bad = [{"file": f"{number}.png", "reason": "truncated"} for number in range(60)]
    text = Page(written(make_result(bad_files=bad), tmp_path)).text
    assert "60 files could not be read" in text
    assert "and 10 more" in text


def test_the_same_result_gives_the_same_bytes(
    make_result: Maker, tmp_path: Path, pictures: dict[str, Path], illustrated: str
) -> None:
    assert written(make_result(), tmp_path, pictures) == illustrated


def test_matplotlib_is_left_as_it_was(make_result: Maker) -> None:
    before = dict(matplotlib.rcParams)
    macro_figure(make_result())
    assert dict(matplotlib.rcParams) == before


def test_a_missing_picture_is_named_and_the_old_report_stays(make_result: Maker, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(OutputError, match=r"cannot read the picture .*gone\.png: No such file"):
        write_report(make_result(), path, pictures={"real": tmp_path / "gone.png"})
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_gets_nothing(make_result: Maker, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*report\.html"):
        write_report(make_result(), path, pictures=None)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
