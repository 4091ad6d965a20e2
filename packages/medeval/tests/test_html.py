import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pytest

from medeval import evaluate, overlay

VOID = {"meta", "img", "link", "br", "hr", "input"}


class Outline(HTMLParser):
    """What a browser would see: open elements, text, pictures, anything fetched."""

    def __init__(self):
        super().__init__()
        self.open, self.images, self.text, self.fetched, self.scopes, self.tags = [], [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(found)
        if tag == "th":
            self.scopes.append(found.get("scope"))
        self.fetched += [v for k, v in attrs if k in ("src", "href", "action", "data") and v and not v.startswith("data:")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes the wrong element"

    def handle_data(self, data):
        self.text.append(data)


def parse(path):
    outline = Outline()
    outline.feed(path.read_text(encoding="utf-8"))
    assert outline.open == []
    return outline, re.sub(r"\s+", " ", "".join(outline.text))


@pytest.fixture(scope="module")
def segmentation():
    rng = np.random.default_rng(0)
    references = [(rng.random((8, 8)) < 0.4).astype(int) + (rng.random((8, 8)) < 0.2) for _ in range(12)]
    predictions = [np.where(rng.random(r.shape) < 0.1, 0, r) for r in references]
    predictions[3] = np.zeros((8, 8), dtype=int)
    return evaluate(
        "segmentation", predictions, references, classes=("background", "a$b", "<i>rib</i>"), spacing=[(1, 2)] * 12,
        patients=[f"p{i // 2}" for i in range(12)], groups={"site": ["north"] * 10 + ["south"] * 2}, samples=50,
    )  # fmt: skip


@pytest.fixture(scope="module")
def classification():
    rng = np.random.default_rng(0)
    labels = (rng.random((60, 2)) < 0.4).astype(float)
    labels[0, 0] = np.nan
    p = np.clip(labels * 0.3 + rng.random(labels.shape) * 0.7, 0, 1)
    return evaluate(
        "classification", np.nan_to_num(p, nan=0.5), labels, classes=("mass", "effusion"), patients=[f"p{i}" for i in range(60)],
        groups={"view": ["AP", "PA"] * 30}, samples=50,
    )  # fmt: skip


def test_the_page_is_whole_and_fetches_nothing(tmp_path, segmentation, classification):
    for name, evaluation in (("s", segmentation), ("c", classification)):
        path = evaluation.to_html(tmp_path / "deep" / f"{name}.html")
        outline, _ = parse(path)
        assert outline.fetched == []
        assert "script" not in outline.tags
        assert "://" not in path.read_text(encoding="utf-8")
        assert "default-src 'none'" in path.read_text(encoding="utf-8")
        assert [p.name for p in path.parent.glob(".*")] == []  # the draft was moved, not left


def test_every_picture_is_a_real_png_with_a_text_and_every_header_a_scope(tmp_path, classification):
    outline, _ = parse(classification.to_html(tmp_path / "c.html"))
    assert len(outline.images) == 4 + 2 * 3  # four figures by class; ROC, reliability and probabilities of two classes
    for image in outline.images:
        assert len(image["alt"]) > 10
        data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"), validate=True)
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        assert matplotlib.image.imread(__import__("io").BytesIO(data)).std() > 0.01
    assert set(outline.scopes) == {"col", "row"}


def test_figures_policy_slices_and_worst_cases_are_on_the_page(tmp_path, segmentation):
    outline, text = parse(segmentation.to_html(tmp_path / "s.html"))
    for name in ("dice", "nsd"):
        e = segmentation.estimates[name]
        assert f"{e.value:.3f}" in text
        assert f"{e.low:.3f} to {e.high:.3f}" in text
    assert "12 cases of 6 patients" in text
    assert "2 missed" in text
    assert "Too small to give figures for: south (2 cases)" in text
    worst = min(segmentation.cases, key=lambda row: row["dice"])
    assert worst["sample_id"] == "3"
    assert "3p10.0000.000" in text.split("Where to look first")[1].replace(" ", "")
    assert any("Dice by class" in image["alt"] for image in outline.images)


def test_hostile_text_stays_text(tmp_path, segmentation):
    attack = "<script>alert(1)</script>\"'&"
    path = segmentation.to_html(
        tmp_path / "s.html",
        title=attack,
        facts={attack: attack},
        tables={attack: [{attack: attack, "dice": segmentation.estimates["dice"], "floor": 0.5, "none": None}]},
        figures=[(attack, overlay(np.zeros((4, 4)), np.zeros((4, 4))))],
    )
    outline, text = parse(path)
    assert "script" not in outline.tags
    assert "i" not in outline.tags  # of the class named <i>rib</i>
    assert text.count("<script>alert(1)</script>") >= 6
    assert "<i>rib</i>" in text


def test_the_same_evaluation_gives_the_same_page(tmp_path, segmentation):
    one, two = segmentation.to_html(tmp_path / "1.html"), segmentation.to_html(tmp_path / "2.html")
    assert one.read_bytes() == two.read_bytes()


def test_no_global_plotting_state_is_touched(tmp_path):
    code = "import sys, numpy as np, medeval; m=[np.eye(4,dtype=int)]*2; medeval.evaluate('segmentation', m, m, classes=('b','x'), spacing=[(1,1)]*2, patients=['a','b'], samples=9).to_html('x.html'); sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([__import__("sys").executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


@pytest.mark.slow
def test_a_browser_opens_the_page_without_a_complaint_and_shows_more_than_white(tmp_path, classification):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    page, shot = classification.to_html(tmp_path / "c.html"), tmp_path / "shot.png"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--window-size=400,1200", f"--screenshot={shot}", page.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert "CONSOLE" not in done.stderr
    assert matplotlib.image.imread(shot).std() > 0.05
