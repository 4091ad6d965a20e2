import numpy as np
import pydicom
import pytest

from meddeploy import InputError, Predictor, segment_study
from medio import Segment, read, read_segmentation

CODE = ("49755003", "SCT", "Morphologically Abnormal Structure")


def test_a_dicom_series_becomes_a_dicom_seg_that_lies_on_it(threshold, make, ct_series, tmp_path):
    image = make.ball()
    folder = ct_series(image)
    out = segment_study(Predictor(threshold), folder, tmp_path / "out" / "ball.dcm", [Segment(number=1, label="ball", code=CODE)])
    source = read(folder)
    back = read_segmentation(out, like=source)
    np.testing.assert_array_equal(back.array, np.asarray(source.array) > 100)
    (segment,) = back.meta["segments"]
    assert segment.code == CODE
    ds = pydicom.dcmread(out)
    assert ds.Modality == "SEG"
    assert ds.StudyInstanceUID == source.meta["study_instance_uid"]
    # no human hand drew it: the file says which program did
    assert ds.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    assert threshold.sha256[:12] in str(ds.SegmentSequence[0])


def test_segments_that_are_not_the_bundles_classes_are_refused(threshold, make, ct_series, tmp_path):
    folder = ct_series(make.ball())
    with pytest.raises(InputError, match=r"has the classes 1 bright; the segments are numbered \[1, 2\]"):
        segment_study(
            Predictor(threshold),
            folder,
            tmp_path / "x.dcm",
            [Segment(number=1, label="a", code=CODE), Segment(number=2, label="b", code=CODE)],
        )
    assert not (tmp_path / "x.dcm").exists()


def test_a_film_bundle_writes_no_seg(film_threshold, tmp_path):
    predictor = Predictor(film_threshold)
    with pytest.raises(InputError, match="2D segmentation; a DICOM SEG of a study needs a 3D segmentation"):
        segment_study(predictor, tmp_path, tmp_path / "x.dcm", [Segment(number=1, label="a", code=CODE)])
