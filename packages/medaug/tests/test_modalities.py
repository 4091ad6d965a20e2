"""All transforms of modalities: a sample's bits are its own, types stay, and real images stay themselves."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medaug import elementwise
from medaug.ct.dose import DoseNoise
from medaug.ct.hardening import BeamHardening
from medaug.ct.kernel import KernelChange
from medaug.ct.metal import MetalStreaks
from medaug.ct.window import WindowJitter
from medaug.draws import Draws
from medaug.mr.bias import BiasField
from medaug.mr.contrast import TissueContrast
from medaug.mr.ghosting import Ghosting
from medaug.mr.gibbs import Gibbs
from medaug.mr.motion import Motion
from medaug.mr.spike import Spike
from medaug.ultrasound.gain import DepthGain
from medaug.ultrasound.haze import Haze
from medaug.ultrasound.shadow import Shadow
from medaug.ultrasound.speckle import Speckle
from medaug.xray.collimation import Collimation
from medaug.xray.exposure import Exposure
from medaug.xray.grid import GridLines
from medaug.xray.inversion import Inversion
from medaug.xray.markers import Markers
from medaug.xray.occluders import Occluders
from medaug.xray.scatter import Scatter

CT = [WindowJitter(), KernelChange(), DoseNoise(), BeamHardening(), MetalStreaks()]
MR = [BiasField(), Ghosting(), Motion(), Spike(), Gibbs(), TissueContrast(), TissueContrast(monotone=False)]
FILM = [Exposure(), Scatter(), GridLines(), Collimation(), Inversion(), Markers(), Occluders()]
ULTRASOUND = [Speckle(), Speckle(dynamic_range_db=None), DepthGain(), DepthGain(dynamic_range_db=None), Shadow(), Haze()]
BOTH = [*CT, *MR, Inversion(), *ULTRASOUND]
DATA = Path(__file__).resolve().parents[3].parent / "shared/data"

cases = pytest.mark.parametrize(
    ("op", "shape"), [*((op, (37, 43)) for op in [*BOTH, *FILM]), *((op, (11, 37, 43)) for op in BOTH)], ids=lambda value: str(value)[:40]
)


def samples(shape: tuple[int, ...], count: int = 3) -> tuple[torch.Tensor, Draws, np.ndarray]:
    image = torch.rand((count, 1, *shape), generator=torch.Generator().manual_seed(0)) * 1500 - 700
    keys = [(7, 2, f"sample {i}", 1) for i in range(count)]
    return image, Draws(keys), np.random.default_rng(0).uniform(0.8, 2.5, (count, len(shape)))


@cases
def test_a_sample_of_a_modality_is_the_same_alone_in_any_batch_and_on_any_threads(op, shape):
    image, draws, spacing = samples(shape)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        together = op.change(image.clone(), draws, spacing)
        torch.set_num_threads(1)
        for rows in ([0], [2], [1, 0]):
            index = np.array(rows)
            alone = op.change(image[rows].clone(), draws.rows(index), spacing[index])
            assert torch.equal(alone, together[rows])
    finally:
        torch.set_num_threads(threads)
    assert together.isfinite().all()
    assert (together != image).flatten(1).any(1).all()


def assert_alike(out: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal to rounding but where a hard edge (of a letter, of black) falls on the other side of it."""
    slack = 1e-4 * (expected.amax() - expected.amin()).item()
    assert ((out - expected).abs() > slack).float().mean().item() < 1e-3


@cases
def test_torchs_way_gives_what_the_compiled_way_gives(op, shape, monkeypatch):
    image, draws, spacing = samples(shape)
    expected = op.change(image.clone(), draws, spacing)
    monkeypatch.setattr(elementwise, "_COMPILED", ())
    assert_alike(op.change(image.clone(), draws, spacing), expected)


@pytest.mark.gpu
@cases
def test_cuda_changes_a_modality_as_the_cpu_does(op, shape):
    image, draws, spacing = samples(shape)
    there = op.change(image.cuda(), draws, spacing)
    assert there.is_cuda
    assert_alike(there.cpu(), op.change(image.clone(), draws, spacing))


@cases
def test_half_precision_is_computed_in_single(op, shape):
    image, draws, spacing = samples(shape, 1)
    half = image.bfloat16()
    out = op.change(half.clone(), draws, spacing)
    assert out.dtype == torch.bfloat16
    assert torch.equal(out, op.change(half.float(), draws, spacing).bfloat16())


def load(name: str) -> tuple[torch.Tensor, np.ndarray]:
    """A real volume as (1, 1, D, H, W) and its spacing (1, 3)."""
    path = DATA / "ct_totalseg" / name
    if not path.exists():
        pytest.skip(f"{path.name} is not here; the real data of the project are needed")
    nibabel = pytest.importorskip("nibabel")
    volume = nibabel.load(path)
    array = np.ascontiguousarray(np.asarray(volume.dataobj, np.float32).transpose(2, 1, 0))
    return torch.from_numpy(array)[None, None], np.array([volume.header.get_zooms()[::-1]], float)


@pytest.mark.parametrize("op", [KernelChange(sigma_mm=2.0), DoseNoise(), BeamHardening(), MetalStreaks()], ids=lambda op: type(op).__name__)
def test_a_real_ct_stays_a_ct(op):
    image, spacing = load("example_ct_sm.nii.gz")
    out = op.change(image.clone(), Draws([(0, 0, "ct", 0)]), spacing)
    change = (out - image)[image > -500]
    # tissue is changed by HU to tens of HU, and keeps its mean
    assert 0.3 < change.abs().mean().item() < 80
    assert abs(change.mean().item()) < 40
    assert np.corrcoef(out.flatten(), image.flatten())[0, 1] > 0.95


@pytest.mark.parametrize("op", [BiasField(), Ghosting(), Motion(), Spike(), Gibbs(), TissueContrast()], ids=lambda op: type(op).__name__)
def test_a_real_mr_keeps_its_anatomy(op):
    image, spacing = load("example_mr_sm.nii.gz")
    out = op.change(image.clone(), Draws([(0, 0, "mr", 0)]), spacing)
    assert np.corrcoef(out.flatten(), image.flatten())[0, 1] > 0.8
    if isinstance(op, Ghosting | Gibbs | Motion | Spike):
        # the centre of k-space is kept: so is the mean
        assert out.mean().item() == pytest.approx(image.mean().item(), rel=0.02)


@pytest.mark.parametrize("op", FILM, ids=lambda op: type(op).__name__)
def test_a_real_film_stays_within_its_range(op):
    folder = DATA / "cxr_nih/images_512"
    if not folder.exists():
        pytest.skip("cxr_nih/images_512 is not here; the real data of the project are needed")
    pillow = pytest.importorskip("PIL.Image")
    film = np.asarray(pillow.open(min(folder.iterdir())).convert("L"), np.float32)
    image = torch.from_numpy(film.copy())[None, None]
    # a chest film is 430 mm wide
    out = op.change(image.clone(), Draws([(0, 0, "film", 0)]), np.full((1, 2), 430 / film.shape[1]))
    slack = 0.04 * np.ptp(film) if isinstance(op, GridLines) else 1e-2
    assert out.min() >= film.min() - slack
    assert out.max() <= film.max() + slack
    assert abs(np.corrcoef(out.flatten(), film.flatten())[0, 1]) > 0.6
