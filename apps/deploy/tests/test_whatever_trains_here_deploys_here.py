import numpy as np
import pytest

from meddeploy import Bundle, Predictor, prepare, verify
from medfinetune import load_artifact, load_task
from medio import Image


def test_the_deployed_segmenter_gives_the_probabilities_of_the_trained_one(segmentation, scan):
    task, predictor = load_task(segmentation.artifact), Predictor(Bundle.load(segmentation.bundle), threads=1)
    ready = prepare(scan, task.preprocessing)
    trained = task.predict(ready, probabilities=True)
    deployed = predictor.probabilities(ready)
    np.testing.assert_allclose(deployed, trained.probabilities, atol=1e-4)
    assert 0.05 < trained.mask.mean() < 0.6  # it has learned something, so that equality means something


def test_the_deployed_mask_is_the_trained_one_where_no_resampling_lies_between(segmentation, scan):
    task, predictor = load_task(segmentation.artifact), Predictor(Bundle.load(segmentation.bundle), threads=1)
    ready = prepare(scan, task.preprocessing)
    trained, deployed = task.predict(ready, probabilities=True), predictor.predict(ready)
    sure = np.abs(trained.probabilities[0] - trained.probabilities[1]) > 2e-4
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(deployed.mask[sure], trained.mask[sure])
    assert deployed.volumes_ml["ball"] == pytest.approx(trained.volumes_ml["ball"], rel=0.01)
    np.testing.assert_array_equal(deployed.affine, ready.affine)


def test_the_deployed_classifier_gives_the_calibrated_probabilities_of_the_trained_one(classification):
    task, predictor = load_task(classification.artifact), Predictor(Bundle.load(classification.bundle), threads=1)
    film = Image(np.random.default_rng(1).integers(0, 4096, (70, 61), dtype=np.uint16), None, (0.2, 0.3))
    trained, deployed = task.predict(prepare(film, task.preprocessing)), predictor.predict(film)
    assert trained.calibrated
    assert deployed.calibrated
    assert deployed.probabilities == pytest.approx(trained.probabilities, abs=1e-4)


def test_parity_holds_for_both(segmentation, classification):
    for made in (segmentation, classification):
        report = verify(Bundle.load(made.bundle), load_artifact(made.artifact))
        assert report.passed, report
