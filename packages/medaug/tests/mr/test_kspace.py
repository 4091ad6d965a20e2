"""Artefacts of k-space against TorchIO, numpy's FFT and closed forms."""

import numpy as np
import pytest
import scipy.ndimage as ndi
import torch
import torchio

from medaug import AugmentationError
from medaug.draws import Draws
from medaug.mr.ghosting import Ghosting, line_weights
from medaug.mr.gibbs import Gibbs
from medaug.mr.motion import Motion, _index_matrices, _posed, _posed_torch, moved_acquisition
from medaug.mr.spike import Spike
from medaug.waves import plane_waves

KEYS = [(0, 0, "a", 0), (0, 0, "b", 0), (0, 0, "c", 0)]


def volume(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("axis", "count", "centre"), [(0, 3, 0.1), (1, 4, 0.0), (2, 7, 0.3)])
def test_ghosts_are_torchios(axis, count, centre):
    image = volume(1, 1, 20, 27, 31)
    oracle = torchio.transforms.Ghosting(num_ghosts=count, axis=axis, intensity=0.6, restore=centre if centre else None)
    expected = oracle(torchio.ScalarImage(tensor=image[0])).data
    ours = Ghosting(count=(count, count), intensity=0.6, center=centre, axes=(axis,)).change(image.clone(), Draws(KEYS[:1]), None)
    torch.testing.assert_close(ours[0], expected, atol=3e-6, rtol=0)


def test_two_ghosts_of_a_point_lie_half_the_field_apart():
    # weakening every second of n lines by s: the kernel is (1 - s/2) at 0 and ±s/2 at n/2, but for the central line, which spreads s/n evenly
    image = torch.zeros(1, 1, 64, 8)
    image[0, 0, 10, 3] = 1.0
    ghosted = Ghosting(count=(2, 2), intensity=0.5, center=0.0, axes=(0,)).change(image, Draws(KEYS[:1]), None)[0, 0, :, 3]
    assert ghosted[10].item() == pytest.approx(0.75 + 0.5 / 64, abs=1e-6)
    assert abs(ghosted[42].item()) == pytest.approx(0.25 - 0.5 / 64, abs=1e-6)
    rest = np.delete(ghosted.numpy(), [10, 42])
    assert np.abs(rest).max() < 0.5 / 64 + 1e-6


def test_the_central_line_is_never_weakened():
    weights = line_weights(30, np.array([2, 3, 5]), np.array([1.0, 1.0, 1.0]), np.array([0.0, 0.1, 0.5]))
    assert (weights[:, 0] == 1).all()
    assert (weights == 0).any(axis=1).all()


@pytest.mark.parametrize("shape", [(33, 40), (16, 21, 18)])
def test_gibbs_keeps_the_box_of_k_space_and_nothing_else(shape):
    image = volume(2, 1, *shape)
    cut = Gibbs(kept=0.5).change(image.clone(), Draws(KEYS[:2]), None)
    spectrum = np.fft.fftn(image.double().numpy(), axes=range(2, 2 + len(shape)))
    for axis, n in enumerate(shape):
        keep = np.abs(np.fft.fftfreq(n, 1 / n)) <= 0.5 * (n // 2)
        spectrum *= keep.reshape([-1 if i == axis + 2 else 1 for i in range(2 + len(shape))])
    expected = np.fft.ifftn(spectrum, axes=range(2, 2 + len(shape))).real
    np.testing.assert_allclose(cut.numpy(), expected, atol=3e-6)


def test_a_cut_edge_overshoots_by_nine_percent():
    # Wilbraham and Gibbs: Si(pi)/pi - 1/2 = 0.0895 of the step
    image = torch.zeros(1, 1, 512, 4)
    image[:, :, 128:384] = 1.0
    # 8 samples a lobe, so that one lies near its top
    rung = Gibbs(kept=0.125, axes=(0,)).change(image, Draws(KEYS[:1]), None)
    assert rung.max().item() - 1 == pytest.approx(0.0895, abs=0.002)


@pytest.mark.parametrize("shape", [(24, 30, 21), (17, 22, 1)])
def test_a_spike_is_torchios(shape):
    image = volume(1, 1, *shape)
    positions = np.array([[0.3, 0.71, 0.0], [0.9, 0.2, 0.6]])
    oracle = torchio.transforms.Spike(spikes_positions=positions, intensity=0.4)
    # TorchIO measures the second spike against a spectrum that holds the first; below the mean's own term this changes nothing
    expected = oracle(torchio.ScalarImage(tensor=image[0])).data[0]
    frequency = (np.floor(positions * shape) - np.array(shape) // 2) / shape
    amplitude = 0.4 * image.double().mean().item() * np.ones((1, 2))
    ours = image[0, 0] + plane_waves(shape, frequency[None], amplitude, np.zeros((1, 2)))[0, 0]
    torch.testing.assert_close(ours, expected, atol=3e-6, rtol=0)


def test_spikes_change_as_many_lines_of_k_space_as_were_asked_for():
    image = volume(3, 1, 32, 40)
    spiked = Spike(count=(2, 2), intensity=0.5, frequency=(0.3, 0.7)).change(image.clone(), Draws(KEYS), None)
    changed = np.abs(np.fft.fftn((spiked - image).double().numpy(), axes=(2, 3)))
    peaks = changed > 0.1 * changed.max()
    # a real wave is two opposite points; its amplitude a shows as a·N/2 in each
    assert (peaks.sum(axis=(1, 2, 3)) == 4).all()
    np.testing.assert_allclose(changed.max(axis=(1, 2, 3)), 0.5 * image.mean(dim=(1, 2, 3)).numpy() * 32 * 40 / 2, rtol=1e-4)


def test_shifts_between_lines_are_torchios():
    image = torch.zeros(1, 1, 22, 24, 26)
    image[..., 6:15, 7:16, 8:18] = volume(9, 9, 10) + 0.5
    times = np.array([0.3, 0.7])
    degrees, shift = np.zeros((2, 3)), np.array([[1.5, -2.0, 2.5], [-1.0, 0.5, 3.0]])
    oracle = torchio.transforms.Motion(degrees=degrees, translation=shift, times=times, image_interpolation="linear")
    expected = oracle(torchio.ScalarImage(tensor=image[0], affine=np.eye(4))).data[0]
    # TorchIO samples at p + t in LPS: content moves by +t along its flipped x and y, by -t along z, and its identity takes the central segment too
    ours = moved_acquisition(image, degrees[None], (shift * [1, 1, -1])[None], times[None], 2, np.ones((1, 3)))
    torch.testing.assert_close(ours[0, 0], expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_poses_turn_about_the_centre_in_millimetres(dims):
    shape, spacing = ((15, 18, 20), np.array([[2.0, 1.0, 0.7]])) if dims == 3 else ((18, 20), np.array([[1.0, 0.7]]))
    angle, shift = np.array([[20.0, 0.0, 0.0]]), np.array([[1.0, -0.8, 0.5]])[:, 3 - dims :]
    image = torch.zeros(1, 1, *shape)
    image[(..., *[slice(4, n - 4) for n in shape])] = volume(*[n - 8 for n in shape])
    times = np.array([[0.0]])
    # a move before the first line that holds to the last: the centre is acquired in that pose, so nothing is seen to move
    still = moved_acquisition(image, angle[:, None], shift[:, None], times, 0, spacing)
    torch.testing.assert_close(still, image, atol=1e-6, rtol=0)
    # about z by 20 degrees: y' = cos y - sin x, x' = sin y + cos x, in mm
    c, s = np.cos(np.radians(20.0)), np.sin(np.radians(20.0))
    turn = np.array([[c, -s], [s, c]]) if dims == 2 else np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    scale = np.diag(spacing[0])
    matrix = np.linalg.inv(scale) @ turn.T @ scale
    centre = (np.array(shape) - 1) / 2
    expected = ndi.affine_transform(image[0, 0].double().numpy(), matrix, centre - matrix @ (centre + shift[0] / spacing[0]), order=1)
    moved = _posed(image, _index_matrices(angle, shift, spacing, shape))[0, 0]
    inner = tuple(slice(2, -2) for _ in shape)
    np.testing.assert_allclose(moved.numpy()[inner], expected[inner], atol=1e-5)


def test_both_ways_of_posing_agree():
    image = volume(2, 2, 9, 11, 13)
    matrices = _index_matrices(np.array([[5.0, -3, 2], [0, 8, 1]]), np.array([[1.0, 2, 0], [0, -1, 1]]), np.ones((2, 3)), (9, 11, 13))
    torch.testing.assert_close(_posed(image, matrices), _posed_torch(image, matrices), atol=1e-5, rtol=0)


def test_motion_mixes_poses_line_by_line():
    # one move at 3/4 of the lines: the late lines are those of the moved image, all others the image's own
    image = volume(1, 1, 20, 24)
    angle, shift, spacing = np.zeros((1, 1, 3)), np.array([[[3.0, 0.0]]]), np.ones((1, 2))
    moved = moved_acquisition(image, angle, shift, np.array([[0.75]]), 0, spacing)[0, 0].double().numpy()
    own = image[0, 0].double().numpy()
    posed = ndi.shift(own, (3, 0), order=1, mode="nearest")
    late = np.fft.ifftshift(np.arange(20) >= 15)[:, None]
    expected = np.fft.ifft2(np.where(late, np.fft.fft2(posed), np.fft.fft2(own))).real
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_motion_needs_millimetres_and_known_axes():
    with pytest.raises(AugmentationError, match="spacing"):
        Motion().change(volume(1, 1, 8, 8), Draws(KEYS[:1]), None)
    with pytest.raises(AugmentationError, match="names another"):
        Ghosting(axes=(2,)).change(volume(1, 1, 8, 8), Draws(KEYS[:1]), None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ghosting(count=(1, 2)),
        lambda: Ghosting(axes=()),
        lambda: Gibbs(kept=0),
        lambda: Spike(count=(0, 1)),
        lambda: Motion(movements=(0, 1)),
    ],
)
def test_senseless_options_of_k_space_are_refused(make):
    with pytest.raises(AugmentationError):
        make()
