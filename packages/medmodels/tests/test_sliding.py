import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medmodels import ModelError, sliding_window


@settings(max_examples=40, deadline=None)
@given(
    dims=st.integers(2, 3),
    sizes=st.tuples(*[st.integers(1, 23)] * 3),
    patch=st.tuples(*[st.integers(1, 11)] * 3),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.8]),
    batch_size=st.integers(1, 5),
)
def test_the_identity_network_gives_the_image_back(dims, sizes, patch, overlap, batch_size):
    image = torch.randn(2, *sizes[:dims], generator=torch.Generator().manual_seed(0))
    seen = []

    def identity(windows):
        seen.append(len(windows))
        return windows

    blended = sliding_window(identity, image, patch_size=patch[:dims], overlap=overlap, batch_size=batch_size)
    # float32: up to a hundred windows are summed with weights and divided by the sum of the weights
    assert (blended - image).abs().max() < 1e-4
    assert all(n == batch_size for n in seen[:-1])
    assert 1 <= seen[-1] <= batch_size


@pytest.mark.parametrize(("size", "patch"), [((20, 17, 24), (8, 8, 12)), ((40, 24, 31), (16, 24, 16))])
def test_the_blend_equals_monais(size, patch):
    inferers = pytest.importorskip("monai.inferers")
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 3, 3, padding=1)
    image = torch.randn(1, *size)
    ours = sliding_window(network, image, patch_size=patch, overlap=0.5, batch_size=4)
    with torch.no_grad():
        theirs = inferers.sliding_window_inference(image[None], patch, 4, network, overlap=0.5, mode="gaussian", sigma_scale=0.125)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_two_windows_that_disagree_are_blended_by_their_gaussians():
    # Windows of 4 over 6 pixels at overlap 0.5 begin at 0 and 2; the first says 0, the second 1. Pixels 2 and 3 lie at offsets 0.5 and 1.5 right
    # of the first centre (1.5), and 1.5 and 0.5 left of the second (3.5); sigma = 4 / 8 = 0.5: weights exp(-0.5) and exp(-4.5).
    calls = iter([0.0, 1.0])
    blended = sliding_window(lambda w: torch.full_like(w, next(calls)), torch.zeros(1, 1, 6), patch_size=(1, 4))
    near, far = torch.exp(torch.tensor(-0.5)), torch.exp(torch.tensor(-4.5))
    expected = torch.tensor([0.0, 0.0, far / (near + far), near / (near + far), 1.0, 1.0])
    torch.testing.assert_close(blended[0, 0], expected)


def test_a_small_image_is_padded_on_both_sides_with_its_minimum_or_the_given_value():
    image = torch.arange(6.0).reshape(1, 2, 3) + 5
    windows = []
    sliding_window(lambda w: windows.append(w) or w, image, patch_size=(4, 4))
    # 2 rows: one above and one below; 3 columns: one on the right.
    expected = torch.full((4, 4), 5.0)
    expected[1:3, :3] = image[0]
    assert torch.equal(windows[0][0, 0], expected)
    sliding_window(lambda w: windows.append(w) or w, image, patch_size=(4, 4), pad_value=-1.0)
    assert windows[1][0, 0, 0, 0] == -1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": (4, 4, 4)}, "does not fit an image"),
        ({"patch_size": (4, 4), "overlap": 1.0}, "overlap must be at least 0 and below 1"),
        ({"patch_size": (4, 4), "batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ModelError, match=message):
        sliding_window(lambda w: w, torch.zeros(1, 8, 8), **arguments)


def test_a_prediction_of_another_size_is_named():
    with pytest.raises(ModelError, match=r"predict must return \(1, K, 4, 4\), got \(1, 1, 2, 4\)"):
        sliding_window(lambda w: w[..., :2, :], torch.zeros(1, 8, 8), patch_size=(4, 4))
