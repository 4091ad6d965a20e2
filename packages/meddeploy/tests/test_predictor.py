import dataclasses
import sys
from itertools import permutations, product

import numpy as np
import pytest
import torch

from meddeploy import BackendError, InputError, Predictor, export, prepare
from medio import Image, axis_letters, read, reorient
from medmodels import sliding_window


def centroid(mask, affine):
    index = np.argwhere(mask).mean(0)
    return (affine @ [*index, 1])[:3]


@pytest.fixture
def turning(threshold, make):
    """The threshold network behind axes RAI: permuted and flipped against the images below."""
    return Predictor(dataclasses.replace(threshold, preprocessing=make.threshold(axes="RAI").preprocessing), threads=1)


@pytest.fixture
def resampling(threshold, make):
    """The threshold network at 2 mm and another orientation."""
    preprocessing = make.threshold(axes="RAI", spacing_mm=(2.0, 2.0, 2.0)).preprocessing
    return Predictor(dataclasses.replace(threshold, preprocessing=preprocessing), threads=1)


def test_the_mask_lies_on_the_image_that_came_in_voxel_for_voxel(turning, make):
    image = make.ball()
    prediction = turning.predict(image)
    # the network's rule is known: bright where the value is above 100
    np.testing.assert_array_equal(prediction.mask, image.array > 100)
    assert prediction.mask.dtype == np.uint8
    assert prediction.affine is image.affine
    assert prediction.spacing == image.spacing
    assert prediction.model_sha256 == turning.bundle.sha256


def test_a_turned_image_gets_the_turned_mask(turning, make):
    image = make.ball()
    straight = Image(turning.predict(image).mask, image.affine, image.spacing)
    letters = ["".join(chosen) for order in permutations(("SI", "PA", "LR")) for chosen in product(*order)]
    for axes in letters[::5]:  # 10 of the 48
        turned = reorient(image, axes)
        prediction = turning.predict(turned)
        np.testing.assert_array_equal(prediction.mask, reorient(straight, axes).array)
        assert axis_letters(prediction.affine) == axes


def test_a_real_scan_is_answered_voxel_for_voxel_whatever_its_axes(turning, shared_data):
    image = read(sorted((shared_data / "mr_hippocampus" / "images").glob("*.nii.gz"))[0])
    scaled = dataclasses.replace(image, array=image.array * (100 / np.median(image.array)))  # half of it is bright
    prediction = turning.predict(scaled)
    # values within float32's reach of the threshold may fall either way
    clear = np.abs(scaled.array - 100) > 1e-3
    np.testing.assert_array_equal(prediction.mask[clear], scaled.array[clear] > 100)
    assert 0.3 < prediction.mask.mean() < 0.7
    assert axis_letters(image.affine) != "RAI"


def test_after_resampling_the_mask_keeps_size_place_and_volume(resampling, make):
    image = make.ball()
    prediction = resampling.predict(image)
    truth = image.array > 100
    assert prediction.mask.shape == image.array.shape
    overlap = 2 * (truth & (prediction.mask > 0)).sum() / (truth.sum() + (prediction.mask > 0).sum())
    assert overlap > 0.95
    # half a millimetre: a third of the smallest voxel; a half-voxel slip of the 2 mm grid would be 1 mm
    assert np.linalg.norm(centroid(prediction.mask > 0, image.affine) - centroid(truth, image.affine)) < 0.5
    # the ball of radius 9 mm: 4/3 pi 9^3 = 3054 mm3; linear interpolation between 3 mm slices shaves up to 3^2 / (8 * 9) * 2 = 0.25 mm off it
    assert 3.054 * (8.75 / 9) ** 3 < prediction.volumes_ml["bright"] < 3.054 * 1.02


def test_the_border_of_the_image_is_answered_too(resampling, make):
    # 11 slices of 3 mm are 33 mm: 16 of 2 mm leave half a millimetre at either end, whose voxels take the border's answer
    full = Image(np.full((11, 13, 15), 200, np.int16), make.lps((11, 13, 15), (3.0, 1.5, 1.5)), (3.0, 1.5, 1.5))
    assert resampling.predict(full).mask.all()


def test_volumes_are_voxel_counts_times_the_cell_also_in_a_sheared_stack(threshold, make):
    image = make.ball()
    affine = image.affine.copy()
    affine[1, 0] = 4.0  # each 3 mm step shifts 4 mm: the edge is 5 mm, the cell still 3 x 1.5 x 1.5
    sheared = Image(image.array, affine, (5.0, 1.5, 1.5))
    prediction = Predictor(threshold).predict(sheared)
    assert prediction.volumes_ml["bright"] == pytest.approx((image.array > 100).sum() * 3 * 1.5 * 1.5 / 1000)


def test_an_image_smaller_than_the_window_is_answered_at_its_own_size(threshold, make):
    image = make.ball(shape=(5, 6, 30), radius=6.0)
    np.testing.assert_array_equal(Predictor(threshold).predict(image).mask, image.array > 100)


def test_a_film_is_answered_on_its_own_pixels(film_threshold, make):
    predictor = Predictor(dataclasses.replace(film_threshold, preprocessing=make.threshold(dims=2, spacing_mm=(0.5, 0.5)).preprocessing))
    rows, columns = np.mgrid[:40, :60]
    film = Image(np.clip(100 + 20 * (10 - np.hypot((rows - 18) * 0.8, (columns - 33) * 0.4)), 0, 200).astype(np.uint8), None, (0.8, 0.4))
    prediction = predictor.predict(film)
    truth = film.array > 100
    assert prediction.affine is None
    assert 2 * (truth & (prediction.mask == 1)).sum() / (truth.sum() + prediction.mask.sum()) > 0.97
    assert np.abs(np.argwhere(truth).mean(0) - np.argwhere(prediction.mask).mean(0)).max() < 0.2
    assert prediction.areas_mm2["bright"] == pytest.approx(prediction.mask.sum() * 0.8 * 0.4)
    assert prediction.volumes_ml == {}


def test_a_real_network_answers_as_torch_does_on_the_prepared_image(network, make):
    artifact, bundle = network
    image = make.ball(shape=(18, 20, 24))
    with torch.inference_mode():
        x = artifact.preprocessing.intensity.apply(torch.from_numpy(image.array)[None])
        expected = sliding_window(lambda w: artifact.module.eval()(w).softmax(1), x, patch_size=(16, 16, 16), overlap=0.5)
    sure = expected.topk(2, dim=0).values.diff(dim=0).abs()[0] > 1e-4
    got = Predictor(bundle, threads=1).predict(image).mask
    assert sure.float().mean() > 0.9
    np.testing.assert_array_equal(got[sure.numpy()], expected.argmax(0).numpy()[sure.numpy()])


def test_flips_are_averaged(make, tmp_path):
    class Leaning(torch.nn.Module):
        """Logit 1 is 0.1 and a ramp from -1 to 1 along the last axis."""

        def forward(self, image):
            ramp = torch.linspace(-1, 1, 8)
            return torch.cat([torch.zeros_like(image), torch.zeros_like(image) + ramp + 0.1], dim=1)

    artifact = dataclasses.replace(make.threshold(dims=2), module=Leaning(), config={"inference": {"overlap": 0.25, "tta_flips": [1]}})
    bundle = export(artifact, tmp_path / "b")
    assert (bundle.overlap, bundle.tta_flips) == (0.25, (1,))
    film = Image(np.arange(64, dtype=np.uint8).reshape(8, 8), None, (1.0, 1.0))
    # without: the ramp crosses -0.1 between its fourth value, -1/7, and its fifth, 1/7
    plain = Predictor(dataclasses.replace(bundle, tta_flips=())).predict(film).mask
    np.testing.assert_array_equal(plain, np.tile([0, 0, 0, 0, 1, 1, 1, 1], (8, 1)))
    # with: (sigmoid(0.1 + r) + sigmoid(0.1 - r)) / 2 > 1/2 for every r, so all is 1
    assert Predictor(bundle).predict(film).mask.all()


def test_calibration_is_applied(make, tmp_path):
    calibration = {"scale": (0.5, 2.0), "bias": (-1.0, 0.3)}
    artifact = make.classifier(calibration)
    predictor = Predictor(export(artifact, tmp_path / "b"))
    film = Image(np.random.default_rng(0).normal(size=(16, 24)).astype(np.float32), None, (1.0, 1.0))
    with torch.inference_mode():
        x = artifact.preprocessing.intensity.apply(torch.from_numpy(film.array)[None])
        logits = artifact.module.eval()(x[None])[0].double().numpy()
    prediction = predictor.predict(film)
    expected = 1 / (1 + np.exp(-(logits * [0.5, 2.0] + [-1.0, 0.3])))
    assert prediction.calibrated
    assert [prediction.probabilities[n] for n in ("effusion", "nodule")] == pytest.approx(expected.tolist(), abs=1e-5)
    assert prediction.mask is None
    assert prediction.to_dict()["probabilities"].keys() == {"effusion", "nodule"}


def test_a_whole_image_is_resized_and_colour_becomes_grey(make):
    pre = make.classifier().preprocessing
    grey = np.random.default_rng(0).integers(0, 255, (64, 48), dtype=np.uint8)
    film = Image(grey, None, (0.3, 0.6))
    ready = prepare(film, pre)
    assert ready.spatial_shape == (16, 24)
    assert ready.spacing == pytest.approx((64 * 0.3 / 16, 48 * 0.6 / 24))  # the extent stays
    colour = Image(np.stack([grey, grey, grey]), None, (0.3, 0.6))
    np.testing.assert_array_equal(prepare(colour, pre).array, ready.array)


def test_images_that_cannot_be_served_are_refused_by_name(threshold, make):
    predictor = Predictor(threshold)
    film = Image(np.zeros((8, 8)), None, (1.0, 1.0), meta={"path": "a/film.png"})
    with pytest.raises(InputError, match=r"a/film\.png: is 2D .*takes 3D"):
        predictor.predict(film)
    volume = np.zeros((8, 8, 8), np.float32)
    volume[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        predictor.predict(Image(volume, make.lps((8, 8, 8), (1, 1, 1)), (1.0, 1.0, 1.0)))
    with pytest.raises(InputError, match="has 2 channels"):
        predictor.predict(Image(np.zeros((2, 8, 8, 8)), make.lps((8, 8, 8), (1, 1, 1)), (1.0, 1.0, 1.0)))


def test_a_backend_that_is_not_there_is_refused_with_the_mend(threshold, monkeypatch):
    with pytest.raises(BackendError, match="must be one of onnxruntime, got 'tensorrt'"):
        Predictor(threshold, backend="tensorrt")
    with pytest.raises(BackendError, match=r"has no NoSuchProvider, only .*CPUExecutionProvider"):
        Predictor(threshold, providers=("NoSuchProvider",))
    with pytest.raises(BackendError, match="threads"):
        Predictor(threshold, threads=0)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BackendError, match=r"install meddeploy\[cpu\]"):
        Predictor(threshold)


def test_a_provider_that_silently_fell_back_is_refused(threshold, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    # this onnxruntime has no CUDA, so it runs on the CPU with no more than a warning
    with (
        pytest.warns(UserWarning, match="CUDA"),
        pytest.raises(BackendError, match="asked for CUDAExecutionProvider, onnxruntime took CPU"),
    ):
        Predictor(threshold, providers=("CUDAExecutionProvider", "CPUExecutionProvider"))
