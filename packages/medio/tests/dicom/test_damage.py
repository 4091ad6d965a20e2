"""Damaged files: a medio error or an image, never anything else."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

import medio

_SEEDS = ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm", "JPEG2000.dcm", "liver_1frame.dcm"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", _SEEDS)
def test_a_damaged_file_gives_an_image_or_a_medio_error(tmp_path: Path, name: str) -> None:
    whole = Path(str(get_testdata_file(name, download=False))).read_bytes()
    rng = np.random.default_rng(7)
    path = tmp_path / "damaged.dcm"
    outcomes = {"image": 0, "error": 0}
    for trial in range(60):
        data = bytearray(whole)
        if trial % 3 == 0:
            data = data[: rng.integers(len(data))]
        else:
            # headers are the first kB: half of the damage goes there
            reach = len(data) if trial % 3 == 1 else min(len(data), 2000)
            for place in rng.integers(0, reach, rng.integers(1, 12)):
                data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            medio.read(path, spacing=None)
            outcomes["image"] += 1
        except medio.MedioError as error:
            outcomes["error"] += 1
            assert str(error).startswith(str(path))  # noqa: PT017  # both outcomes are right
        assert medio.scan(tmp_path).num_rows == 1
    assert outcomes["error"] >= 15  # each truncation (a third) at the least, bar a cut of trailing padding


def test_an_rle_segment_table_that_points_outside_is_corrupt(tmp_path: Path) -> None:
    data = bytearray(Path(str(get_testdata_file("MR_small_RLE.dcm", download=False))).read_bytes())
    # The frame begins with 2 segments (one a byte), the first at 64: send the second beyond the end.
    start = data.index(bytes([2, 0, 0, 0, 64, 0, 0, 0]))
    data[start + 8 : start + 12] = (1 << 30).to_bytes(4, "little")
    path = tmp_path / "a.dcm"
    path.write_bytes(data)
    with pytest.raises(medio.CorruptFileError, match=r"frame 1 of 1 does not decode .*RLE segments"):
        medio.read(path)
