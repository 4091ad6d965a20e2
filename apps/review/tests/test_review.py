import base64
import hashlib
import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import medio
from med_review.cases import find_cases, read_cases
from med_review.cli import app
from med_review.page import write_page
from med_review.verdicts import accept, agree, load
from medrun.cli import UserError, run_typer

CLASSES = ("background", "liver", "<b>lesion</b>")


def command(*argv) -> int:
    with pytest.raises(SystemExit) as done:
        run_typer(app, name="med-review", errors=("medio.errors.MedioError", "medeval.errors.EvalError"), argv=[str(a) for a in argv])
    return done.value.code or 0


def cases_of(folders):
    return list(read_cases(find_cases(folders / "images", folders / "predictions"), CLASSES))


def verdicts(path, reader, given, page="p", comment=""):
    rows = [{"id": f"c{i}", "verdict": v, "comment": comment} for i, v in enumerate(given)]
    path.write_text(json.dumps({"format": "med-review/1", "page": page, "title": "t", "reader": reader, "cases": rows}))
    return path


def test_the_slices_are_those_with_most_of_the_prediction_and_sizes_are_in_ml(folders):
    a, _, c = cases_of(folders)
    # 24 and 6 voxels of 3 mm3; axial slice 4 of 6 holds 24 of 30, coronal rows 3 and 4 (0-based 2, 3) 9 each, the first wins
    assert [s.caption for s in a.slices] == ["axial, slice 4 of 6", "coronal, slice 3 of 10", "sagittal, slice 4 of 12"]
    assert [text for _, text in a.found] == ["liver 0.1 ml", "<b>lesion</b> 0.0 ml"]
    assert (c.found, c.slices[0].caption) == ((), "axial, slice 4 of 6")
    assert a.slices[0].contours != a.slices[0].plain
    assert c.slices[0].contours == c.slices[0].plain


def test_the_page_holds_every_case_escaped_and_runs_only_its_own_script(folders, tmp_path):
    text = write_page(cases_of(folders), tmp_path / "x" / "page.html", title="</script><b>t").read_text()
    assert re.findall(r'<article data-id="(\w)"', text) == ["a", "b", "c"]
    assert text.count("data:image/png;base64,") == 3 * 3 * 2
    assert "</script><b>" not in text
    assert "<b>" not in text
    assert "nothing was segmented" in text
    assert "://" not in text
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert json.loads(re.search(r'id="about">(.*?)</script>', text).group(1))["title"] == "</script><b>t"


def test_the_page_knows_itself_by_what_it_shows(folders, tmp_path):
    def page_id(name):
        return re.search(r'"page": "(\w+)"', write_page(cases_of(folders), tmp_path / name, title="t").read_text()).group(1)

    first = page_id("1.html")
    assert page_id("2.html") == first
    path = folders / "predictions" / "c.nii.gz"
    image = medio.read(path)
    array = image.array.copy()
    array[0, 0, 0] = 1
    medio.write(medio.Image(array, image.affine, image.spacing), path)
    assert page_id("3.html") != first


def test_films_are_shown_as_one_slice_with_sizes_in_pixels(tmp_path):
    rng = np.random.default_rng(0)
    for name, top in (("images", 255), ("predictions", 1)):
        (tmp_path / name).mkdir()
        medio.write(medio.Image(rng.integers(0, top + 1, (20, 30)).astype(np.uint8), None, (1.0, 1.0)), tmp_path / name / "film.png")
    (case,) = cases_of(tmp_path)
    assert [s.caption for s in case.slices] == ["film"]
    count = int(medio.read(tmp_path / "predictions" / "film.png", spacing=(1, 1)).array.sum())
    assert [text for _, text in case.found] == [f"liver {count} pixels"]


def test_predictions_without_image_or_on_another_grid_end_in_one_line(folders, capsys):
    image = medio.read(folders / "images" / "b.nii.gz")
    moved = image.affine.copy()
    moved[0, 3] += 4
    medio.write(medio.Image(image.array, moved, image.spacing), folders / "images" / "b.nii.gz")
    arguments = ["page", "--images", folders / "images", "--predictions", folders / "predictions", "--out", folders / "page.html"]
    assert command(*arguments) == 2
    assert "b: image and prediction lie 4.00 mm apart" in capsys.readouterr().err
    (folders / "images" / "b.nii.gz").unlink()
    assert command(*arguments) == 2
    line = capsys.readouterr().err.strip()
    assert "1 predictions have no image" in line
    assert "b.nii.gz" in line
    assert "\n" not in line
    assert not (folders / "page.html").exists()


def test_the_command_writes_the_page_and_sums_up_two_readers(folders, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert command("page", "--images", folders / "images", "--predictions", folders / "predictions", "--out", out) == 0
    assert out.is_file()
    one = verdicts(tmp_path / "1.json", "Ada", ["accept"] * 8 + ["minor", "major"], comment="ok")
    two = verdicts(tmp_path / "2.json", "", ["accept"] * 6 + ["minor"] * 2 + ["major", None])
    assert command("summarize", one, two, "--out", tmp_path / "s" / "summary.json") == 0
    printed = capsys.readouterr().out
    # Wilson interval of 8 of 10: 0.490 to 0.943
    assert "0.800 (0.490 to 0.943)" in printed
    assert "6 of 9" in printed
    found = json.loads((tmp_path / "s" / "summary.json").read_text())
    assert found["readers"]["Ada"]["accepted"]["n"] == 10
    assert found["readers"]["2"]["counts"] == {"accept": 6, "minor": 2, "major": 1, "unjudged": 1}
    assert found["readers"]["Ada"]["comments"]["c0"] == "ok"


def test_kappa_counts_only_what_both_judged(tmp_path):
    # both judged 4: accept/accept, accept/major, major/accept, major/major: observed 0.5, chance 0.5, kappa 0
    one = verdicts(tmp_path / "1.json", "one", ["accept", "accept", "major", "major", "accept", None])
    two = verdicts(tmp_path / "2.json", "two", ["accept", "major", "accept", "major", None, "accept"])
    (pair,) = agree(load([one, two]))
    assert (pair.kappa.value, pair.common, pair.same, pair.kappa.n) == (0, 4, 2, 4)
    nothing = load([verdicts(tmp_path / "3.json", "three", [None, None])])[0]
    assert accept(nothing).accepted is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no export of a review page"),
        ("[]", "no export of a review page"),
        ('{"format": "other/1"}', "of format 'other/1'"),
        (
            '{"format": "med-review/1", "page": "p", "reader": "r", "cases": [{"id": "a", "verdict": "good", "comment": ""}]}',
            "case a has the verdict 'good'",
        ),
        ('{"format": "med-review/1", "page": "p", "reader": "r", "cases": []}', "holds no cases"),
    ],
)
def test_files_that_are_no_verdicts_are_named(tmp_path, content, message):
    path = tmp_path / "odd.json"
    path.write_text(content)
    with pytest.raises(UserError, match=f"odd.json: .*{re.escape(message)}"):
        load([path])


def test_verdicts_on_different_pages_or_twice_by_one_reader_are_not_mixed(tmp_path):
    one = verdicts(tmp_path / "1.json", "Ada", ["accept"])
    with pytest.raises(UserError, match=r"2\.json: holds verdicts on another page"):
        load([one, verdicts(tmp_path / "2.json", "Bob", ["accept"], page="q")])
    with pytest.raises(UserError, match=r"3\.json: is a second reading by 'Ada'"):
        load([one, verdicts(tmp_path / "3.json", "Ada", ["major"])])
    with pytest.raises(UserError, match="no such file"):
        load([tmp_path / "none.json"])


@pytest.mark.slow
def test_keys_judge_the_cases_in_a_browser_and_the_export_can_be_read(folders, tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    page = write_page(cases_of(folders), tmp_path / "page.html", title="t")
    # The page's policy forbids other scripts: the copy driven here has none, and one that presses keys as a reader would.
    driven = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    driver = """<script>
    const press = (key, on = document.body) => on.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    press("1"); press("ArrowRight"); press("3"); press("c");
    const note = document.activeElement; note.value = "too large"; press("2", note); press("ArrowRight", note); press("Escape", note);
    press("ArrowRight"); press("ArrowRight"); press("h");
    document.getElementById("reader").value = " Ada ";
    document.body.outerHTML = `<body><pre>${JSON.stringify({ ...verdicts(), bare: document.body.className, at })}</pre></body>`;
    </script></body>"""
    copy = tmp_path / "driven.html"
    copy.write_text(driven.replace("</body>", driver))
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
    ]
    done = subprocess.run([*command, copy.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    exported = html.unescape(re.search(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL).group(1))
    assert json.loads(exported)["bare"] == "bare"
    assert json.loads(exported)["at"] == 2
    (tmp_path / "v.json").write_text(exported)
    (reading,) = load([tmp_path / "v.json"])
    assert reading.reader == "Ada"
    assert reading.verdicts == {"a": "accept", "b": "major"}
    assert reading.comments == {"b": "too large"}
    untouched = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in untouched.stderr  # the policy lets the page's own script run
    assert "case 1 of 3, 0 judged" in untouched.stdout
