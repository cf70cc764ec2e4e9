import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from PIL import Image

import braingan
from braingan.errors import OutputError
from braingan.experiment.result import EXTENDED, summarise
from braingan.reporting.figures import macro_figure
from braingan.reporting.html import Enclosed, write_report
from braingan.reporting.write import rewrite_reports

Maker = Any  # tests/reporting/conftest.py
NASTY = ("<b>bold</b>", '" onload="x', "$\\frac{", "{{ 7 * 7 }}")
ROOT = Path(__file__).parents[2]


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


@pytest.fixture(scope="module")
def whole(make_result: Maker, make_out: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of a folder that holds everything."""
    out = make_out(make_result(folds=2), tmp_path_factory.mktemp("out"))
    rewrite_reports(out, without_images=False)
    return Page((out / "report.html").read_text(encoding="utf-8"))


def written(result: Any, folder: Path, pictures: dict[str, Path] | None = None) -> str:
    write_report(result, folder / "report.html", Enclosed(pictures))
    return (folder / "report.html").read_text(encoding="utf-8")


def words(page: Page) -> str:
    return " ".join(page.text.split())


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
    assert len(page.of("svg")) == 6
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.of("svg"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    pointed_at = re.findall(r'(?:url\(|href=")#([^)"]+)', markup)
    assert set(pointed_at) <= set(ids)


def test_every_header_cell_says_what_it_heads(markup: str) -> None:
    assert all(cell.get("scope") in ("col", "row", "colgroup", "rowgroup") for cell in Page(markup).of("th"))


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
        for name in ("precision", "recall", "f1", "accuracy", "auroc", "average_precision", "brier"):
            assert f"<td>{scores[name]['mean']:.3f} ± {scores[name]['std']:.3f}</td>" in markup


def test_every_note_stands_in_it(make_result: Maker, markup: str) -> None:
    assert all(note in markup for note in make_result().notes)


def test_the_verdict_comes_first(make_result: Maker, markup: str) -> None:
    primary, said = make_result().primary, words(Page(markup))
    shown = [primary["verdict"], f"{100 * primary['difference']:+.1f} points", "Recommended ratio", primary["reason"]]
    places = [said.index(text) for text in (*shown, "All differences", "Scores on the test images")]
    assert places == sorted(places)
    assert "Research software, not a medical device." in said


def test_all_differences_are_listed_and_the_exploratory_ones_marked(make_result: Maker, markup: str) -> None:
    result, page = make_result(), Page(markup)
    rows = [attributes.get("class") for attributes in page.of("tr")]
    for family in ("primary", "declared", "exploratory"):
        assert rows.count(family) == sum(own["family"] == family for own in result.comparisons) > 0
    for own in result.comparisons:
        assert f"<td>{100 * own['low']:+.1f} to {100 * own['high']:+.1f}</td>" in markup


def test_what_the_images_did_without_the_augmentation_is_told(alike_result: Any, tmp_path: Path) -> None:
    markup = written(alike_result, tmp_path)
    assert "against real+classic: -1.2 points (-3.1 to 0.0), exploratory." in markup
    assert '<tr class="exploratory"><th scope="row">macro F1, against real+classic</th>' in markup
    assert "; macro F1, against real+classic: -1.2" in markup  # what the picture says to who cannot see it


def test_leaks_and_missing_cells_come_before_the_verdict(make_result: Maker, tmp_path: Path) -> None:
    partial = "PARTIAL: 3 of 9 classifiers are finished."
    result = make_result(leakage=["leak: 2 test images"], notes=[partial, "Few patients."])
    page = Page(written(result, tmp_path))
    said = words(page)
    assert said.index("LEAKAGE ALLOWED") < said.index(partial) < said.index("Do synthetic images help?")
    assert said.count(partial) == 1
    assert len([own for own in page.of("p") if own.get("role") == "alert"]) == 2
    assert "held out from the training" not in said
    assert "held out from the training of classifiers and generators" in words(Page(written(make_result(), tmp_path)))


def test_the_table_says_when_the_contrast_was_declared_and_of_none_nothing(make_result: Maker, tmp_path: Path) -> None:
    result = make_result()
    head = "On top, in bold, the primary contrast, "
    said = words(Page(written(result, tmp_path)))
    assert f"{head}declared before the runs:" in said
    assert "speaks of. Below it the declared family" in said
    extended = make_result(notes=[f"{EXTENDED} (seeds 3, now 5): ..."])
    assert f"{head}of a benchmark that was extended after its start:" in words(Page(written(extended, tmp_path)))
    declared = [own for own in result.comparisons if not own["primary"]]
    assert head not in words(Page(written(make_result(comparisons=declared, choice=None), tmp_path)))


def test_more_folds_are_advised_only_where_they_can_be_had(make_result: Maker, tmp_path: Path) -> None:
    result, advice = make_result(), "--folds 5 tests every patient once"
    assert advice in words(Page(written(result, tmp_path)))
    for own in (
        {"settings": result.settings | {"test": "tomorrow"}},
        {"settings": result.settings | {"generator": "run"}},
        {"settings": result.settings | {"folds": 5}},  # of which one is finished
        {"splits": result.splits | {"seed": None}},  # given
    ):
        page = words(Page(written(replace(result, **own), tmp_path)))
        assert "All seeds share one split: only its test patients count" in page
        assert advice not in page


def test_of_three_classes_no_patient_is_called_positive(make_result: Maker, make_out: Any, tmp_path: Path) -> None:
    for classes, told in ((("healthy", "tumor"), True), (("glioma", "meningioma", "pituitary"), False)):
        out = make_out(make_result(classes=classes), tmp_path / str(told))
        braingan.report(out)
        page = words(Page((out / "report.html").read_text()))
        assert "Mean probability: of a patient's images." in page
        assert ("Any slice: a patient is positive" in page) == told


def test_a_result_without_a_contrast_says_that_there_is_no_verdict(make_result: Maker, tmp_path: Path) -> None:
    bare = make_result(comparisons=[], choice=None, recommended_ratio=None)
    said = words(Page(written(bare, tmp_path)))
    assert "No verdict: it takes an arm with synthetic images" in said
    assert "combined − real: macro F1" in said  # noqa: RUF001


def test_a_single_seed_shows_no_spread(make_result: Maker, tmp_path: Path) -> None:
    page = Page(written(make_result(seeds=1), tmp_path))
    assert not re.search(r"\d ± \d", page.text)
    assert "One seed shows no spread" in page.text


def test_the_split_is_counted_by_part_and_class(markup: str) -> None:
    said = words(Page(markup))
    assert "healthy 12 (6)4 (2)8 (4)" in said
    assert "all 24 (6)8 (2)16 (4)" in said


def test_every_fold_is_counted(whole: Page) -> None:
    said = words(whole)
    assert "Fold 0 healthy 12 (6)4 (2)8 (4)" in said
    assert "Fold 1 healthy 8 (4)4 (2)12 (6)" in said


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
        write_report(make_result(), path, Enclosed({"real": tmp_path / "gone.png"}))
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_gets_nothing(make_result: Maker, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*report\.html"):
        write_report(make_result(), path, Enclosed())
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_confusion_curves_and_patients_are_of_both_sides_of_the_primary_contrast(whole: Page) -> None:
    said = words(whole)
    assert "Of best without (real), and with synthetic images (combined)." in said
    labels = [own["aria-label"] or "" for own in whole.of("svg")]
    assert any(label.startswith("Mean ROC curves of best without, with synthetic") for label in labels)
    assert any(label.startswith("Calibration of") for label in labels)
    assert "any slice" in said
    assert "No measures by mean probability: 10 of 10 patients have images of several classes" in said


def test_images_that_changed_sides_are_named(whole: Page) -> None:
    said = words(whole)
    fixed, broken = said.index("Fixed by synthetic images"), said.index("Broken by synthetic images")
    assert (
        fixed < said.index("healthy/test0_0.pngtest0healthy") < broken < said.index("healthy/test0_1.pngtest0healthy")
    )
    assert "There are no pictures of them here" in said


def test_without_images_no_patient_is_named_but_files_are(
    make_result: Maker, make_out: Callable[..., Path], tmp_path: Path
) -> None:
    out = make_out(make_result(), tmp_path)
    rewrite_reports(out, without_images=True)
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    assert not page.of("img")
    assert "test0healthy" not in words(page).replace("/test0_0.pnghealthy", "")
    assert "Patient" not in words(page).replace("Patients", "")
    assert "healthy/test0_0.pnghealthy" in words(page)
    assert "do not share this page" in words(page)


def test_without_predictions_it_says_what_is_missing(markup: str) -> None:
    assert "There is no predictions.csv of just these runs" in words(Page(markup))


def test_time_and_cost_count_the_generators(whole: Page) -> None:
    assert "combined22 min 0 s 9 s" in words(whole)  # two generators of a minute, six classifiers of 1.5 seconds
    assert "real–– 9 s" in words(whole)  # noqa: RUF001


def test_more_than_two_classes_are_shown(make_result: Maker, make_out: Callable[..., Path], tmp_path: Path) -> None:
    out = make_out(make_result(("glioma", "meningioma", "pituitary")), tmp_path)
    rewrite_reports(out, without_images=False)
    said = words(Page((out / "report.html").read_text(encoding="utf-8")))
    assert "No measures by any slice: there are 3 classes" in said
    assert "Mean ROC" in said


def test_results_of_version_0_1_are_shown(tmp_path: Path) -> None:
    for number, path in enumerate(sorted((ROOT / "benchmarks" / "results").glob("*.json"))):
        if '"summary"' not in path.read_text(encoding="utf-8"):
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        said = words(Page(written(braingan.BenchmarkResult.load(path), folder)))
        assert "Scores on the test images" in said


def test_a_result_with_all_that_may_come_is_shown(make_result: Maker, tmp_path: Path) -> None:
    result = make_result()
    curve = {"arm": "real", "points": [{"patients": 2.0, "macro_f1": 0.5}, {"patients": 4.0, "macro_f1": 0.6}],
             "per_doubling": 0.1, "worth": {"patients": 1.5, "low": None, "high": 9.0}}  # fmt: skip
    group = {"column": "site", "value": "<b>A</b>", "images": 9, "patients": 3, "reason": None}
    group |= {"macro_f1": {"real": 0.5}, "difference": 0.01, "low": -0.1, "high": 0.2}
    elsewhere = [own | {"family": "exploratory", "primary": False} for own in result.comparisons]
    external = {"images": 18, "patients": 6, "summary": result.summary, "comparisons": elsewhere}
    perfect = {"arm": "oracle-same-patients"}
    scores = [own | perfect | {"macro": own["macro"] | {"f1": 0.99}} for own in result.scores if own["arm"] == "real"]
    runs = [own | perfect for own in result.runs if own["arm"] == "real"]
    summary = result.summary | summarise(scores)
    full = replace(result, curve=curve, subgroups=[group], external=external, summary=summary,
                   scores=result.scores + scores, runs=result.runs + runs)  # fmt: skip
    said = words(Page(written(full, tmp_path)))
    gained = result.summary["combined"]["f1"]["mean"] - result.summary["real"]["f1"]["mean"]
    share = gained / (0.99 - result.summary["real"]["f1"]["mean"])
    assert "24 synthetic images change as much as about +1.5 training patients would" in said
    assert "(– to +9 at the ends of the contrast's interval" in said  # noqa: RUF001
    assert "site: <b>A</b>930.500 +1.0-10.0 to +20.0" in said
    assert "18 images of 6 patients from another folder" in said
    assert f"combined{100 * share:.0f} %" in said
    nothing = group | {"difference": None, "low": None, "high": None}
    for choice, reason in ((result.choice, "too few patients"), (None, "no primary contrast")):
        page = words(Page(written(replace(full, subgroups=[nothing], choice=choice), tmp_path)))
        assert f"site: <b>A</b>930.500 –{reason}" in page  # noqa: RUF001
