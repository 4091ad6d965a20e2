import numpy as np
import pytest
import torch

from medmodels import EncoderCard, Intensity, Preprocessing, image_statistics, key_digest, keyed_generator


def test_a_window_maps_its_ends_to_minus_one_and_one_and_clips():
    image = torch.tensor([[-1000.0, -200.0, 0.0, 200.0, 3000.0]])
    # (x + 200) / 400 * 2 - 1
    assert Intensity(kind="window", low=-200, high=200).apply(image).tolist() == [[-1.0, -1.0, 0.0, 1.0, 1.0]]


def test_a_crop_is_normalised_by_the_whole_images_statistics():
    whole = torch.arange(1000, dtype=torch.int16).reshape(1, 10, 100)
    statistics = image_statistics(whole)
    for kind in ("zscore", "percentile"):
        intensity = Intensity(kind=kind)
        assert torch.equal(intensity.apply(whole[:, 2:5], statistics), intensity.apply(whole)[:, 2:5])
    # 0..999: mean 499.5, population variance (1000**2 - 1) / 12, percentile q at 999 * q / 100
    assert statistics["mean"] == 499.5
    assert statistics["std"] == pytest.approx(np.sqrt((1000**2 - 1) / 12))
    assert statistics["p0_5"] == pytest.approx(4.995)
    assert statistics["p99_5"] == pytest.approx(994.005)
    assert (statistics["min"], statistics["max"]) == (0.0, 999.0)


def test_a_flat_image_stays_finite():
    for kind in ("zscore", "percentile"):
        assert torch.isfinite(Intensity(kind=kind).apply(torch.full((1, 4, 4), 7.0))).all()


def test_preprocessing_and_card_survive_json():
    preprocessing = Preprocessing(
        spatial_dims=2, patch_size=(64, 48), spacing_mm=(0.5, 0.5), intensity=Intensity(kind="percentile"), whole_image=True
    )
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing
    card = EncoderCard(arch="vit_tiny", kwargs={"spatial_dims": 2}, spacing_mm=(1.0, 2.0), citations=("one",))
    assert EncoderCard.from_dict(card.to_dict()) == card


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Intensity(kind="histogram"), "must be window, zscore or percentile"),
        (lambda: Intensity(kind="window", low=1.0, high=1.0), "a window needs low < high"),
        (lambda: Preprocessing(spatial_dims=4, patch_size=(1,) * 4), "spatial_dims must be 2 or 3"),
        (lambda: Preprocessing(spatial_dims=3, patch_size=(8, 8)), "patch_size needs 3 positive numbers"),
        (lambda: Preprocessing(spatial_dims=2, patch_size=(8, 8), spacing_mm=(1.0, 0.0)), "spacing_mm needs 2 positive numbers"),
    ],
)
def test_values_that_make_no_sense_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_digest_is_the_recipes_and_generators_leave_the_global_one_alone():
    # blake2b-64 of b"1:2:0:mask:patient:7", shifted to 63 bits, computed with Python's hashlib outside the package
    import hashlib

    expected = int.from_bytes(hashlib.blake2b(b"1:2:0:mask:patient:7", digest_size=8).digest(), "big") >> 1
    assert key_digest((1, 2, "patient:7", 0), "mask") == expected
    before = torch.get_rng_state()
    first = torch.rand(3, generator=keyed_generator((1, 2, "a", 0), "mask"))
    assert torch.equal(first, torch.rand(3, generator=keyed_generator((1, 2, "a", 0), "mask")))
    assert not torch.equal(first, torch.rand(3, generator=keyed_generator((1, 2, "a", 1), "mask")))
    assert torch.equal(before, torch.get_rng_state())
