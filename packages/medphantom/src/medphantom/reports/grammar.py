"""A grammar in one line of text: `[a|b]` is a choice, `{name}` a slot."""

from collections.abc import Mapping

import numpy as np


def express(template: str, slots: Mapping[str, str], rng: np.random.Generator) -> str:
    """Choose among the alternatives of a template, then fill its slots.

    Args:
        template: text with choices `[a|b|c]`, which may nest and may be empty, and slots `{name}`. Slots are filled last, so brackets in
            their values stay.
        slots: value of each name.
        rng: makes the choices, each alternative as often.

    Returns:
        The text.

    Raises:
        ValueError: for brackets that do not pair.
        KeyError: for a slot without a value.
    """
    text, end = _choose(template, 0, rng)
    if end != len(template):
        raise ValueError(f"template {template!r} closes a bracket at {end} that it never opened")
    return text.format_map(slots)


def _choose(template: str, at: int, rng: np.random.Generator) -> tuple[str, int]:
    """Expand from `at` to the end or to the bracket or bar that ends this alternative; the choices within are drawn in reading order."""
    text = ""
    while at < len(template) and template[at] not in "|]":
        if template[at] != "[":
            text += template[at]
            at += 1
            continue
        start = at
        options = []
        while template[at : at + 1] in ("[", "|"):
            option, at = _choose(template, at + 1, rng)
            options.append(option)
        if template[at : at + 1] != "]":
            raise ValueError(f"template {template!r} does not close the bracket at {start}")
        at += 1
        text += options[int(rng.integers(len(options)))]
    return text, at


def sentence(text: str) -> str:
    """Give a sentence its capital and its full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ":")) else ".")


def listed(items: list[str], last: str) -> str:
    """Join as people list: `a`, `a or b`, `a, b or c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}"
