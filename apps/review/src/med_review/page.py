"""The review page: one file that works from a disk without a network."""

import base64
import hashlib
import html
import json
import tempfile
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from med_review.cases import Case

FORMAT = "med-review/1"
VERDICTS = (("accept", "Accept", "usable as it is"), ("minor", "Minor edit", "small correction"), ("major", "Major edit", "redo"))


def write_page(cases: Iterable[Case], path: Path, *, title: str) -> Path:
    """Write the page; the file appears whole or not at all.

    Args:
        cases: at least one; taken one at a time.
        path: the HTML file; its folder is made.
        title: heading.

    Returns:
        The path written.
    """
    style, script = (files("med_review").joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    articles, digests = [], []
    for case in cases:
        articles.append(_article(case))
        digests.append(f"{case.case_id}:{case.digest}")
    page_id = hashlib.blake2b("\n".join(digests).encode(), digest_size=8).hexdigest()
    # "<" escaped: no text of the user can end the element.
    about = json.dumps({"format": FORMAT, "page": page_id, "title": title}).replace("<", "\\u003c")
    allowed = f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {allowed}">
<title>{_text(title)}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{_text(title)}</h1><span id="done" role="status"></span>
<label>Reader <input type="text" id="reader" autocomplete="off"></label>
<button class="main" id="export">Export JSON</button><div class="bar" aria-hidden="true"><div></div></div></header>
<noscript><main><p>This page needs scripts, which it carries itself: allow them for this file.</p></main></noscript>
<main>{"".join(articles)}</main>
<footer><button id="back">← Previous</button><button id="on">Next →</button><button id="hide">Hide or show contours</button>
<span class="keys"><kbd>←</kbd> <kbd>→</kbd> case, <kbd>1</kbd> accept, <kbd>2</kbd> minor, <kbd>3</kbd> major, <kbd>C</kbd> comment (<kbd>Esc</kbd> leaves), <kbd>H</kbd> contours.
Nothing is stored or sent: export before you close the page.</span></footer>
<script type="application/json" id="about">{about}</script>
<script>{script}</script>
</body>
</html>
"""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
        draft.write(text)
    Path(draft.name).chmod(0o644)
    return Path(draft.name).replace(path)


def _article(case: Case) -> str:
    name = _text(case.case_id)
    pictures = "".join(
        f'<figure><img class="drawn" src="data:image/png;base64,{s.contours}" alt="{name}, {_text(s.caption)}, with contours">'
        f'<img class="plain" src="data:image/png;base64,{s.plain}" alt="{name}, {_text(s.caption)}"><figcaption>{_text(s.caption)}</figcaption></figure>'
        for s in case.slices
    )
    choices = "".join(
        f'<label class="{value}"><input type="radio" name="verdict-{name}" value="{value}">{label} <span class="note">{note}</span></label>'
        for value, label, note in VERDICTS
    )
    found = (
        "".join(f'<span><i style="background:{colour}"></i>{_text(text)}</span>' for colour, text in case.found) or "nothing was segmented"
    )
    return (
        f'<article data-id="{name}" hidden><div class="top"><h2>{name}</h2><span class="note found">{found}</span></div>'
        f'<div class="slices">{pictures}</div><fieldset class="verdicts"><legend>Verdict</legend>{choices}</fieldset>'
        f'<label>Comment<textarea rows="2"></textarea></label></article>\n'
    )


def _text(value: str) -> str:
    return html.escape(value, quote=True)
