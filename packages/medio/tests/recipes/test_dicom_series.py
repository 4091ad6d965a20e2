from pathlib import Path

import numpy as np
import pytest

from medio.archive.scan import scan
from medio.errors import MissingFileError
from medio.read import read
from medio.recipes.dicom_series import SeriesItem, SeriesRecipe, find_series
from medio.shards.build import build_shards
from medio.shards.dataset import ShardDataset


def test_a_real_series_is_stored_in_its_own_type_and_place(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "dicom_multivendor" / "mr_siemens_vida_xa10_enhanced"
    one = tmp_path / "one"
    one.mkdir()
    for path in sorted(source.glob("*.dcm"))[:1]:
        (one / path.name).write_bytes(path.read_bytes())
    (one / "broken.dcm").write_bytes(b"nothing")
    found = find_series(scan(one))
    assert [Path(q.item).name for q in found.set_aside] == ["broken.dcm"]
    build_shards([SeriesItem(s, "train") for s in found.series], SeriesRecipe(axes="SPL"), tmp_path / "shards")
    sample = ShardDataset(tmp_path / "shards", split="train")[0]
    image = read(found.series[0].paths)
    assert sample["key"][2] == found.series[0].series_instance_uid
    assert sample["image"].dtype == image.array.dtype
    assert sample["image"].size == image.array.size
    # turning the axes permutes and flips: the same voxel volume, and the centre stays where it is
    assert image.affine is not None
    centre = [*((np.array(image.spatial_shape) - 1) / 2), 1]
    turned = [*((np.array(sample["image"].shape[1:]) - 1) / 2), 1]
    np.testing.assert_allclose(sample["affine"] @ turned, image.affine @ centre, atol=1e-6)


def test_no_series_of_the_wanted_modality_says_what_there_is(shared_data: Path) -> None:
    table = scan(shared_data / "dicom_multivendor" / "mr_uih_umr770_dti")
    with pytest.raises(MissingFileError, match="no series is of modality PT; the 1 series found are of MR"):
        find_series(table, modalities=["PT"])
