"""A thorax and scenes of it, healthy or with findings, for the tests of findings."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest

from medio.keyed import keyed_generator
from medphantom.anatomy import Anatomy, draw_anatomy
from medphantom.findings.drawing import paint_findings, reshape
from medphantom.findings.finding import Finding
from medphantom.scene import Scene, render
from medphantom.shapes import Grid
from medphantom.texture import Lattice
from medphantom.thorax import paint_thorax

Look = Callable[..., SimpleNamespace]


def make_anatomy(number: int) -> Anatomy:
    return draw_anatomy(keyed_generator((number, 0, "findings", 0), "anatomy"), sex="FM"[number % 2], enlarged_heart=False)


@pytest.fixture(scope="session")
def anatomy() -> Anatomy:
    return make_anatomy(3)


@pytest.fixture(scope="session")
def look(anatomy: Anatomy) -> Look:
    """Paint findings into a thorax with texture but without vessels; give HU, labels, scene and truths."""

    def picture(
        findings: Sequence[Finding] = (),
        *,
        spacing: float = 3.5,
        shape: tuple[int, int, int] | None = None,
        of: Anatomy = anatomy,
    ) -> SimpleNamespace:
        shape = shape or (round(280 / spacing), round(336 / spacing), round(392 / spacing))
        grid = Grid.centred(shape, (spacing,) * 3)
        lattice = Lattice.draw(keyed_generator((1, 0, "findings", 0), "texture"))
        scene = Scene(reshape(of, findings), grid, texture=lattice)
        paint_thorax(scene)
        truths = paint_findings(scene, findings)
        return SimpleNamespace(scene=scene, hu=render(scene), labels=scene.labels("full"), truths=truths, grid=grid)

    return picture


@pytest.fixture(scope="session")
def healthy(look: Look) -> SimpleNamespace:
    return look()
