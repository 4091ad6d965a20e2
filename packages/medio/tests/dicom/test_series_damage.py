"""Damaged mosaics, multi-frame files, PET and tomograms: volumes or a medio error, never anything else."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import medio

WriteSeries = Callable[..., list[Path]]
_REAL = [
    "mr_siemens_skyra_epi_3/epi_pe_ap-00001.dcm",
    "mr_siemens_vida_xa10_enhanced/6_1.dcm",
    "mr_uih_umr770_dti/00000002.dcm",
    "mr_philips_enhanced/IM_0027_fMAP.dcm",
    "ct_ge_hispeed_variable_spacing_tilt/01.dcm",
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", _REAL)
def test_a_damaged_file_gives_volumes_or_a_medio_error(shared_data: Path, tmp_path: Path, name: str) -> None:
    whole = (shared_data / "dicom_multivendor" / name).read_bytes()
    header = max(whole.find(b"\xe0\x7f\x10\x00"), 2000)
    rng = np.random.default_rng(11)
    path = tmp_path / "damaged.dcm"
    outcomes = {"volumes": 0, "error": 0}
    for _ in range(40 if len(whole) < 300_000 else 10):
        data = bytearray(whole)
        for place in rng.integers(132, header, rng.integers(1, 20)):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        for read in (medio.inspect_series, lambda p: medio.read_series(p, tilt="resample", gaps="resample", on_error="report")):
            try:
                read(path)
                outcomes["volumes"] += 1
            except medio.MedioError as error:
                outcomes["error"] += 1
                assert str(tmp_path) in str(error)  # noqa: PT017  # both outcomes are right
    assert min(outcomes.values()) > 0
