import base64
import io
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy.ndimage import gaussian_filter

import braingan
from braingan.data.records import ImageRecord, open_record
from braingan.errors import OutputError
from braingan.inspection.advice import Facts
from braingan.inspection.inspecting import inspect_folders
from braingan.inspection.result import Inspection
from braingan.reporting import thumbnails
from braingan.reporting.inspection_page import write_inspection

SIDE = 64
NASTY = "<b>.png"
SECRET = "Jane Doe 1954"


class Page(HTMLParser):
    """Tags with their attributes, the text, and the cards: their class, head, captions and pictures."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.inside, self.style = "", False, False
        self.cards: list[tuple[str, str, int]] = []  # class, text, figures
        self.feed(markup)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.style = tag == "style"
        self.tags.append((tag, attributes))
        if tag == "ul":
            self.inside = attributes.get("class") == "cards"
        if tag == "li" and self.inside:
            self.cards.append((attributes.get("class") or "", "", 0))
        if tag == "figure":
            kind, text, figures = self.cards[-1]
            self.cards[-1] = kind, text, figures + 1

    def handle_endtag(self, tag: str) -> None:
        self.inside, self.style = self.inside and tag != "ul", False
        if tag in ("td", "th"):
            self.text += " | "

    def handle_data(self, data: str) -> None:
        self.text += "" if self.style else data
        if self.inside and self.cards:
            kind, text, figures = self.cards[-1]
            self.cards[-1] = kind, f"{text} {data.strip()}".strip(), figures

    def of(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in names]

    def pictures(self) -> dict[str, Image.Image]:
        """Text for those who cannot see it -> picture."""
        return {str(image["alt"]): opened(str(image["src"])) for image in self.of("img")}


def opened(address: str) -> Image.Image:
    kind, _, content = address.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def head(seed: int) -> np.ndarray:
    """A head that nobody has, unlike all others: (64, 64) uint8."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    texture = gaussian_filter(random.normal(0, 1, (SIDE, SIDE)), 2.5)
    inside = np.hypot(x / random.uniform(0.8, 1), y) < 0.42
    return np.clip(inside * (110 + texture / texture.std() * 45), 0, 255).astype(np.uint8)


def write(folder: Path, **heads: Sequence[int]) -> Path:
    """Class folders of heads, named after their seeds; a head that comes twice gets a second file."""
    for name, seeds in heads.items():
        for number, seed in enumerate(seeds):
            path = folder / name / (f"{seed}.png" if seed not in seeds[:number] else f"{seed}-{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(head(seed)).save(path)
    return folder


def read(out: Path) -> Page:
    return Page((out / "inspection.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Training and test images with everything that can be wrong."""
    base = tmp_path_factory.mktemp("data")
    train = write(base / "train", ill=range(12), well=[*range(20, 32), 5])  # 5.png stands in both classes
    shutil.copy(train / "ill" / "0.png", train / "ill" / NASTY)
    Image.fromarray(head(1)[:, ::-1]).save(train / "ill" / "mirrored.png")
    Image.fromarray(head(2)).save(train / "ill" / "again.jpg", quality=90, comment=SECRET.encode())
    (train / "well" / "broken.png").write_bytes(b"nothing")
    test = write(base / "test", ill=[3, 40, 41, 6], well=[20, 42, 43, 7, 5])  # 7 is ill in training, 5 is both
    return train, test


@pytest.fixture(scope="module")
def inspected(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Inspection, Path]:
    out = tmp_path_factory.mktemp("out") / "inspection"
    return braingan.inspect(*folders, out=out), out


@pytest.fixture(scope="module")
def found(folders: tuple[Path, Path]) -> tuple[Inspection, Facts]:
    return inspect_folders(*folders)


@pytest.fixture(scope="module")
def markup(inspected: tuple[Inspection, Path]) -> str:
    return (inspected[1] / "inspection.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(markup: str) -> Page:
    return Page(markup)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More of everything than is shown: 42 twins in two classes, a group of eight, a test part, bad files."""
    base = tmp_path_factory.mktemp("large")
    for part, times in (("train", 2), ("test", 1)):
        write(base / part, ill=[*range(30)] * times, well=[*range(100, 112)] * times)
    write(base / "train", odd=[200] * 7)
    write(base / "train", well=[200])
    for number in range(53):
        (base / "train" / "ill" / f"empty{number}.png").touch()
    return base


def test_the_page_needs_nothing_from_outside(markup: str, page: Page) -> None:
    addresses = [
        value or "" for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")
    ]
    assert addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in addresses)
    assert not page.of("script", "link", "iframe", "object", "base")
    assert not re.search(r"@import|https?:|url\(", markup)
    assert [meta["content"] for meta in page.of("meta") if "http-equiv" in meta] == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    ]


def test_what_was_found_stands_in_it(inspected: tuple[Inspection, Path], page: Page) -> None:
    inspection, _ = inspected
    assert len(inspection.serious) > 3
    assert f"{len(inspection.serious)} serious findings" in page.text
    text = page.text.replace("`", "")
    assert all(line.replace("`", "") in text for line in inspection.advice)
    assert text.index("To know") > text.index(inspection.serious[-1].replace("`", ""))
    assert text.count(inspection.serious[0].replace("`", "")) == 1


def test_contradictory_groups_come_first_and_are_marked(page: Page) -> None:
    groups = [card for card in page.cards if "images, " in card[1]]
    pairs = [card for card in page.cards if card not in groups]
    wrong = ["test well well/5.png train ill ill/5.png", "test well well/7.png train ill ill/7.png"]
    for cards, expected in ((groups, ["ill ill/5.png identical well well/5.png"]), (pairs, wrong)):
        for (kind, text, _), files in zip(cards, expected, strict=False):
            assert kind == "contradictory"
            assert "different labels" in text
            assert files in text
        assert all(kind == "" and "different labels" not in text for kind, text, _ in cards[len(expected) :])
    assert "1 group carries different labels" in page.text
    assert "2 of them have another label in training" in page.text


def test_each_picture_says_what_it_is(page: Page) -> None:
    groups = [text for _, text, _ in page.cards if "images, train" in text]
    assert f"2 images, train ill ill/0.png identical ill ill/{NASTY} identical" in groups
    assert "2 images, train ill ill/1.png altered ill ill/mirrored.png altered" in groups
    assert "2 images, train ill ill/2.png re-encoded ill ill/again.jpg re-encoded" in groups
    pairs = [text for _, text, _ in page.cards if "images, " not in text]
    assert "identical test ill ill/3.png train ill ill/3.png" in pairs


def test_each_picture_is_of_the_file_that_is_named_below(folders: tuple[Path, Path], page: Page) -> None:
    pictures = page.pictures()
    assert len(pictures) > 10
    for words, picture in pictures.items():
        file = words.rpartition(", class ")[0]
        paths = [folder / file for folder in folders if (folder / file).exists()]
        assert picture.mode == "L"
        shown = np.asarray(picture, float)
        wanted = [np.asarray(Image.open(path), float) for path in paths]
        assert min(np.abs(shown - pixels).mean() for pixels in wanted) < 8, words


def test_words_of_others_do_not_become_markup(page: Page, tmp_path: Path) -> None:
    assert f"ill/{NASTY}" in page.text
    name = '<i>" onload="x'
    write(tmp_path / "<u>", **{name: [1, 1, 2], "{{ 7 * 7 }}": [4]})
    (tmp_path / "<u>" / name / "<s>.png").touch()
    braingan.inspect(tmp_path / "<u>", out=tmp_path / "out")
    other = read(tmp_path / "out")
    assert all(words in other.text for words in ("<u>: 4 images", name, "<s>.png", "{{ 7 * 7 }}"))
    assert not other.of("i", "u", "s")
    assert not [attributes for _, attributes in other.tags if "onload" in attributes]


def test_numbers_of_the_parts_are_those_of_the_record(inspected: tuple[Inspection, Path], page: Page) -> None:
    inspection, _ = inspected
    assert "ill | 15 | 4 |" in page.text
    assert "well | 13 | 5 |" in page.text
    assert "all | 28 | 9 |" in page.text
    assert inspection.cross_folder
    lookup = inspection.cross_folder["lookup"]
    assert f"all | 9 | {lookup['accuracy']:.3f} | {lookup['macro_f1']:.3f} |" in page.text
    assert f"without a twin | 4 | {lookup['accuracy_without']:.3f} |" in page.text
    assert "5 of 9 test images show the same picture" in page.text
    assert "well/broken.png | is not a PNG, JPEG, TIFF or BMP image" in page.text
    assert f"{inspection.minimum_detectable_effect:.2f} is the smallest difference" in page.text


def test_shortcuts_are_marked_and_appearance_never_is(tmp_path: Path) -> None:
    data = write(tmp_path / "data", wide=range(14), high=range(50, 64))
    for file in (data / "wide").iterdir():
        Image.open(file).resize((96, 64)).save(file)
    inspection = braingan.inspect(data, out=tmp_path / "out")
    text = read(tmp_path / "out").text
    assert inspection.shortcut["wide"]["flagged"]
    told, appearance = text.split("Intensity and sharpness (a tumour may change these; never counted as serious)")
    assert told.count("1.00, serious") == 2
    assert "Told by width, aspect and" in told
    assert ", serious" not in appearance


def test_without_images_there_is_no_picture_and_it_says_so(tmp_path: Path) -> None:
    data = write(tmp_path / "data", ill=[0, 0], well=[1])
    braingan.inspect(data, out=tmp_path / "out", without_images=True)
    markup = (tmp_path / "out" / "inspection.html").read_text(encoding="utf-8")
    assert "data:image" not in markup
    assert not Page(markup).of("img")
    assert "Pictures and ids of patients were left out" in markup
    assert Page(markup).cards == [("", "2 images ill ill/0-1.png identical ill ill/0.png identical", 2)]


def test_with_images_it_says_whose_they_are(page: Page) -> None:
    assert "This page holds pictures of patients: handle it like the data." in page.text
    assert "Research software, not a medical device." in page.text


def test_no_comment_of_a_file_comes_along(folders: tuple[Path, Path], tmp_path: Path) -> None:
    source = folders[0] / "ill" / "again.jpg"
    assert SECRET.encode() in source.read_bytes()
    told = PngInfo()
    told.add_text("Comment", SECRET)
    write(tmp_path / "data", ill=[0])
    Image.fromarray(head(2)).save(tmp_path / "data" / "ill" / "b.png", pnginfo=told)
    shutil.copy(source, tmp_path / "data" / "ill" / "a.jpg")
    braingan.inspect(tmp_path / "data", out=tmp_path / "out")
    images = read(tmp_path / "out").of("img")
    assert len(images) == 2
    for image in images:
        content = base64.b64decode(str(image["src"]).partition(",")[2])
        assert SECRET.encode() not in content


def test_images_of_16_bits_and_in_colour_can_be_seen(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data, colour=[0])
    Image.fromarray(np.stack([head(0), head(0), head(0) // 2], axis=2)).save(data / "colour" / "1.png")
    (data / "deep").mkdir()
    for number in (1, 2):
        Image.fromarray(head(9).astype(np.uint16) * 4).save(data / "deep" / f"{number}.tif")
    braingan.inspect(data, out=tmp_path / "out")
    pictures = read(tmp_path / "out").pictures()
    assert pictures["colour/1.png, class colour"].mode == "RGB"
    deep = np.asarray(pictures["deep/1.tif, class deep"], float)
    assert deep.min() < 10
    assert deep.max() > 245
    assert np.corrcoef(deep.ravel(), head(9).ravel())[0, 1] > 0.95


def test_what_is_left_out_is_counted(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened_files: list[Path] = []
    monkeypatch.setattr(thumbnails, "open_record", recording(open_record, opened_files))
    braingan.inspect(large, out=tmp_path / "out")
    page = read(tmp_path / "out")
    groups = [card for card in page.cards if re.match(r"\d+ images, train", card[1])]
    pairs = [card for card in page.cards if card not in groups]
    assert len(groups) == len(pairs) == 40
    assert "40 of 43 groups are shown here, from all classes; 3 more" in page.text
    assert "40 of 42 test images are shown here, from all classes; 2 more" in page.text
    assert sum("train/well/" in text for _, text, _ in groups) == 13  # the smaller class is cut by nothing
    assert sum("test/well/" in text for _, text, _ in pairs) == 12
    kind, text, figures = groups[0]
    assert (kind, figures) == ("contradictory", 6)
    assert text.startswith("8 images, train different labels 2 of them not shown")
    assert "train/well/200.png" in text  # the other label is among the six
    assert "53 files took no part in all this; 50 are shown, 3 more" in page.text
    assert page.text.count("is empty") == 51  # with the first, which the advice names
    assert len(opened_files) == len(set(opened_files)) <= 40 * 2 + 39 * 2 + 6


def recording(function: Callable[..., Image.Image], seen: list[Path]) -> Callable[..., Image.Image]:
    def recorded(record: ImageRecord) -> Image.Image:
        seen.append(record.path)
        return function(record)

    return recorded


def test_a_picture_that_is_gone_is_a_grey_box(tmp_path: Path) -> None:
    data = write(tmp_path / "data", ill=[0, 0, 1], well=[2])
    found = inspect_folders(data, None)
    (data / "ill" / "0-1.png").unlink()
    write_inspection(*found, tmp_path / "out", without_images=False)
    page = read(tmp_path / "out")
    assert [image["alt"] for image in page.of("img")] == ["ill/0.png, class ill"]
    assert page.cards[0][1].startswith("2 images cannot be opened any more ill ill/0-1.png identical")


def test_a_volume_that_is_gone_is_a_grey_box(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    data = tmp_path / "data"
    data.mkdir()
    volume = np.stack([head(number) for number in range(12)], axis=2).astype(np.float32)
    for name in ("one", "two"):
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), data / f"{name}.nii.gz")
    found = inspect_folders(data, None)
    write_inspection(*found, tmp_path / "whole", without_images=False)
    (data / "two.nii.gz").unlink()
    write_inspection(*found, tmp_path / "half", without_images=False)
    pictures = read(tmp_path / "whole").pictures().values()
    assert pictures
    assert all(np.asarray(picture).std() > 30 for picture in pictures)
    half = read(tmp_path / "half")
    assert len(half.of("img")) == half.text.count("cannot be opened any more") == len(pictures) / 2


def test_patients_in_both_parts_are_named(tmp_path: Path) -> None:
    for part, seeds, patients in (("train", range(8), range(8)), ("test", range(20, 24), range(7, 11))):
        folder = write(tmp_path / part, ill=seeds[::2], well=seeds[1::2])
        names = [f"{'well' if seed % 2 else 'ill'}/{seed}.png" for seed in seeds]
        rows = [f"{name},P{patient}" for name, patient in zip(names, patients, strict=True)]
        (folder / "metadata.csv").write_text("\n".join(["file_name,patient", *rows]))
    braingan.inspect(tmp_path / "train", tmp_path / "test", out=tmp_path / "out")
    text = read(tmp_path / "out").text
    assert "1 patient in both parts: P7." in text
    braingan.inspect(tmp_path / "train", tmp_path / "test", out=tmp_path / "shared", without_images=True)
    shared = read(tmp_path / "shared").text
    assert "1 patient in both parts." in shared
    assert "P7" not in shared
    assert "Pictures and ids of patients were left out of this page" in shared
    assert "all | 8 (8) | 4 (4) |" in text


def test_that_nothing_serious_was_found_is_said(tmp_path: Path) -> None:
    data = write(tmp_path / "data", ill=range(4), well=range(10, 14))
    rows = [f"{'well' if seed > 9 else 'ill'}/{seed}.png,P{seed}" for seed in (*range(4), *range(10, 14))]
    (data / "metadata.csv").write_text("\n".join(["file_name,patient", *rows]))
    inspection = braingan.inspect(data, out=tmp_path / "out")
    page = read(tmp_path / "out")
    assert inspection.serious == []
    assert "Nothing serious was found" in page.text
    assert [section["class"] for section in page.of("section") if "class" in section] == ["verdict", "known"]
    assert "too few images to tell" in page.text
    assert not page.cards


def test_the_same_images_give_the_same_bytes(found: tuple[Inspection, Facts], markup: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_inspection(*found, tmp_path / name, without_images=False)
    one, two = ((tmp_path / name / "inspection.html").read_bytes() for name in ("one", "two"))
    assert one == two
    assert timeless(one.decode()) == timeless(markup)


def timeless(markup: str) -> str:
    return re.sub(r"Made in [^)]*? by", "Made in no time by", markup)


def test_the_record_beside_it_is_the_same(inspected: tuple[Inspection, Path]) -> None:
    inspection, out = inspected
    assert Inspection.load(out / "inspection.json") == inspection
    assert sorted(path.name for path in out.iterdir()) == ["inspection.html", "inspection.json"]


def test_the_record_is_written_last(found: tuple[Inspection, Facts], tmp_path: Path) -> None:
    (tmp_path / "inspection.html").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*inspection\.html"):
        write_inspection(*found, tmp_path, without_images=True)
    assert [path.name for path in tmp_path.iterdir()] == ["inspection.html"]


def test_what_cannot_be_said_is_not_said(found: tuple[Inspection, Facts], tmp_path: Path) -> None:
    unknown = replace(found[0], minimum_detectable_effect=None)
    write_inspection(unknown, found[1], tmp_path, without_images=True)
    assert "That cannot be said" in read(tmp_path).text


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WATCHING = """<!doctype html><iframe width="360" height="800" style="border:0" srcdoc="{page}"></iframe><script>
onload = () => {{
  const root = document.querySelector("iframe").contentDocument.documentElement;
  document.title = `width ${{root.clientWidth}} needs ${{root.scrollWidth}}`;
}};
</script>"""


@pytest.mark.skipif(not CHROMIUM, reason="no chromium is installed, so no browser has looked at the page")
def test_a_browser_shows_it_on_a_telephone(markup: str, tmp_path: Path) -> None:
    watching = tmp_path / "watching.html"
    watching.write_text(WATCHING.format(page=escape(markup)), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
             "--hide-scrollbars", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"]  # fmt: skip
    ran = subprocess.run(
        [str(CHROMIUM), *flags, "--dump-dom", watching.as_uri()], capture_output=True, text=True, timeout=120
    )
    title = re.search(r"<title>(.*?)</title>", ran.stdout)
    assert title, ran.stderr
    assert title[1] == "width 360 needs 360"
    assert not [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
