"""What `inspect_series` finds without reading a pixel."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import medio
from medio import MissingFileError

WriteSeries = Callable[..., list[Path]]
PIXELS = np.zeros((4, 5), np.int16)


def test_a_regular_series_has_nothing_to_report(write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "mr", [(PIXELS, (1, 2, 3 * z), {}) for z in range(4)])
    report = medio.inspect_series(str(tmp_path / "mr"))
    (volume,) = report.volumes
    assert report.is_regular
    assert (volume.name, volume.shape, volume.spacing, volume.findings) == ("volume", (4, 4, 5), (3, 0.8, 0.7), ())
    assert np.allclose(volume.affine, medio.read(tmp_path / "mr").affine)
    assert str(report) == f"{tmp_path / 'mr'}: 4 files, 1 volume\n  volume: 4 x 4 x 5, 3 x 0.8 x 0.7 mm"


def test_gaps_say_where_they_are_and_how_many_slices_lack(write_series: WriteSeries, tmp_path: Path) -> None:
    depth = [0, 2, 4, 10, 12, 13.2]
    write_series(tmp_path / "mr", [(PIXELS, (0, 0, z), {}) for z in depth])
    (volume,) = medio.inspect_series(tmp_path / "mr").volumes
    assert [(gap.before, gap.after, gap.missing) for gap in volume.gaps] == [("002.dcm", "003.dcm", 2), ("004.dcm", "005.dcm", 0)]
    assert [gap.distance_mm for gap in volume.gaps] == pytest.approx([6, 1.2])
    assert volume.usual_mm == 2
    assert volume.affine is None
    assert "6.00 mm between 002.dcm and 003.dcm: a slice is missing or the spacing varies" in volume.findings[0]


def test_only_missing_slices_are_called_so_and_counted(write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "mr", [(PIXELS, (0, 0, z), {}) for z in (0, 2, 4, 10, 12, 14)])
    (volume,) = medio.inspect_series(tmp_path / "mr").volumes
    assert volume.findings[0].endswith("6.00 mm between 002.dcm and 003.dcm: 2 slices are missing)")


def test_the_tilt_is_the_angle_of_the_stack(write_series: WriteSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "ct", [(PIXELS, (0, 2 * z * np.tan(np.radians(12)), 2 * z), {}) for z in range(5)])
    (volume,) = medio.inspect_series(tmp_path / "ct").volumes
    assert volume.tilt_degrees == pytest.approx(12, abs=1e-4)
    assert volume.findings == ("sheared by 12.0 degrees (gantry tilt)",)


def test_a_real_tilted_ct_is_measured_as_its_header_says(shared_data: Path) -> None:
    report = medio.inspect_series(shared_data / "dicom_multivendor" / "ct_ge_hispeed_variable_spacing_tilt")
    (volume,) = report.volumes
    assert volume.tilt_degrees == pytest.approx(18.5, abs=0.05)  # GantryDetectorTilt
    assert volume.usual_mm == pytest.approx(4, abs=0.01)
    # seven slices at 7 mm and one at 1.08 mm are not the usual
    assert {round(gap.distance_mm, 1) for gap in volume.gaps} == {1.1, 7.0}


def test_an_absent_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="gone: no such file or folder"):
        medio.inspect_series(tmp_path / "gone")
