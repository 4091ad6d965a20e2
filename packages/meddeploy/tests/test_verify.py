import dataclasses

import pytest
import torch

from meddeploy import verify


def test_an_exported_network_says_what_the_trained_one_says(network):
    artifact, bundle = network
    report = verify(bundle, artifact)
    assert report.passed
    assert report.max_difference <= 1e-4
    assert report.cases == 6  # three inputs, in batches of one and of two
    assert report.mismatches == ()


def test_a_weight_changed_by_a_hundredth_does_not_pass(network):
    artifact, bundle = network
    weight = artifact.module.decoder.head.weight
    with torch.no_grad():
        weight += 0.01
        try:
            report = verify(bundle, artifact)
        finally:
            weight -= 0.01
    assert not report.passed
    assert report.max_difference > 1e-3
    assert verify(bundle, artifact).passed


def test_the_difference_is_that_of_the_logits(make, threshold):
    artifact = make.threshold()
    with torch.no_grad():
        artifact.module.convolution.bias[0] += 0.25
    # logit 0 is 0.25 instead of 0: |0 - 0.25| / max(1, 0.25) = 0.25 everywhere
    assert verify(threshold, artifact).max_difference == pytest.approx(0.25)


def test_an_answer_that_is_not_finite_does_not_pass(make, threshold):
    artifact = make.threshold()
    with torch.no_grad():
        artifact.module.convolution.bias[0] = torch.nan
    report = verify(threshold, artifact)
    assert report.max_difference == float("inf")
    assert not report.passed


def test_other_classes_preprocessing_or_calibration_do_not_pass(make, threshold):
    artifact = make.threshold()
    other = dataclasses.replace(artifact, classes=("background", "dark"), preprocessing=make.threshold(patch=(8, 8, 16)).preprocessing)
    report = verify(threshold, other)
    assert not report.passed
    assert [m.split(" differ")[0] for m in report.mismatches] == ["classes", "preprocessings"]
    assert report.max_difference == 0


def test_networks_that_take_other_images_are_not_compared(make, threshold):
    report = verify(threshold, make.threshold(dims=2))
    assert not report.passed
    assert report.cases == 0
    assert report.max_difference == float("inf")


def test_inputs_depend_on_the_seed_alone(network):
    artifact, bundle = network
    first, again, other = (verify(bundle, artifact, seed=s, cases=1).max_difference for s in (1, 1, 2))
    assert first == again != other


def test_the_trained_module_keeps_its_mode(make, threshold):
    artifact = make.threshold()
    artifact.module.train()
    verify(threshold, artifact)
    assert artifact.module.training


def test_no_cases_are_no_proof(make, threshold):
    with pytest.raises(ValueError, match="at least one case"):
        verify(threshold, make.threshold(), cases=0)
