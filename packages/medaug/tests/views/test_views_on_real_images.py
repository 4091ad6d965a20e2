"""Views and pastes of real films and a real CT."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from scipy import ndimage

from medaug.compose import Compose
from medaug.geometry.affine import Affine
from medaug.geometry.turns import Flip
from medaug.views.copy_paste import CopyPaste
from medaug.views.correspondence import correspond
from medaug.views.multi_crop import CropViews, MultiCrop

DATA = Path(__file__).resolve().parents[4].parent / "shared/data"
FILMS = DATA / "cxr_nih/images_512"
CT, ORGANS = DATA / "ct_totalseg/example_ct_sm.nii.gz", DATA / "ct_totalseg/example_seg.nii.gz"
LIVER, DUODENUM = 5, 10  # TotalSegmentator's labels

needs_films = pytest.mark.skipif(not FILMS.is_dir(), reason=f"{FILMS} is absent")
needs_ct = pytest.mark.skipif(not ORGANS.is_file(), reason=f"{ORGANS} is absent")


def read(path: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


@needs_films
def test_matched_voxels_of_two_views_of_a_film_are_alike_and_unmatched_ones_are_not():
    names = sorted(path.name for path in FILMS.glob("*.png"))[:6]
    films = np.stack([read(FILMS / name).astype(np.float32) for name in names])
    # one voxel of these films is blurred, so that what differs is the place and not two interpolations of noise
    films = ndimage.gaussian_filter(films.reshape(len(names), *films.shape[1:3], -1)[..., 0], (0, 2, 2))
    augment = Compose([Flip(axes=(1,)), Affine(rotation_deg=15.0)])
    views = MultiCrop(
        views=(
            CropViews(shape=(160, 160), count=1, scale=(0.4, 0.8), augment=augment),
            CropViews(shape=(96, 96), count=1, scale=(0.1, 0.3), augment=augment, overlap=0.8),
        )
    ).batch({"image": torch.from_numpy(films)[:, None], "spacing": torch.ones(len(names), 2), "key": [(0, 0, n, 0) for n in names]})
    found = correspond(views[1], views[0])
    for row in range(len(names)):
        inside = found.inside[row].numpy()
        assert inside.mean() > 0.3
        local = views[1]["image"][row, 0].flatten().numpy()[inside]
        place = found.place[row].numpy()[inside].T
        there = ndimage.map_coordinates(views[0]["image"][row, 0].numpy(), place, order=1, mode="nearest")
        mirrored = ndimage.map_coordinates(views[0]["image"][row, 0].numpy(), place[::-1], order=1, mode="nearest")
        assert np.corrcoef(local, there)[0, 1] > 0.99
        assert np.corrcoef(local, mirrored)[0, 1] < 0.95


@needs_ct
def test_an_organ_pasted_into_the_liver_of_a_real_ct_lies_in_the_liver_with_its_volume_and_values():
    image, organs = read(CT).astype(np.float32), read(ORGANS).astype(np.int64)
    batch = {
        "image": torch.from_numpy(image)[None, None].repeat(8, 1, 1, 1, 1),
        "mask": torch.from_numpy(organs)[None].repeat(8, 1, 1, 1),
        "spacing": torch.full((8, 3), 3.0),
        "boxes": [torch.zeros(0, 6)] * 8,
        "key": [(0, 0, f"copy-{i}", 0) for i in range(8)],
    }
    out = CopyPaste(labels=(DUODENUM,), allowed=(LIVER,), inside=1.0, feather_mm=6.0)(batch, list(range(8)))
    pieces, _ = ndimage.label(organs == DUODENUM, np.ones((3, 3, 3)))
    volumes = set(np.bincount(pieces.ravel())[1:].tolist())
    assert out["pasted"].any()
    for row in range(8):
        gained = ((out["mask"][row] == DUODENUM) & (batch["mask"][row] != DUODENUM)).numpy()
        if not out["pasted"][row]:
            assert not gained.any()
            continue
        assert int(gained.sum()) in volumes
        assert (organs[gained] == LIVER).all()
        values = out["image"][row, 0].numpy()[gained]
        own = image[organs == DUODENUM]
        assert set(values.tolist()) <= set(own.tolist())
        far = ndimage.distance_transform_edt(~gained, sampling=(3.0, 3.0, 3.0)) >= 6.0
        assert np.array_equal(out["image"][row, 0].numpy()[far], image[far])
        assert len(out["boxes"][row]) == 1
