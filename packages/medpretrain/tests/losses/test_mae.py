import numpy as np
import pytest
import torch

from medpretrain import PretrainError, mae_loss, patchify


def draw(patches: int = 6, values: int = 8, batch: int = 3, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randn(batch, patches, values, generator=generator, dtype=dtype)
    target = 3 * torch.randn(batch, patches, values, generator=generator, dtype=dtype) + 40
    mask = torch.rand(batch, patches, generator=generator) < 0.5
    mask[0, 0], mask[0, 1] = True, False
    return prediction, target, mask


def published(prediction: np.ndarray, target: np.ndarray, mask: np.ndarray, normalize: bool) -> tuple[float, np.ndarray]:
    """He et al.: mean squared error a patch, averaged over removed patches; its gradient in the prediction, by hand. Loops, so that nothing is shared with ours."""
    total, removed = 0.0, int(mask.sum())
    gradient = np.zeros_like(prediction)
    for b in range(len(mask)):
        for n in range(mask.shape[1]):
            if mask[b, n]:
                patch = target[b, n]
                if normalize:
                    variance = ((patch - patch.mean()) ** 2).sum() / (len(patch) - 1)
                    patch = (patch - patch.mean()) / (variance + 1e-6) ** 0.5
                total += ((prediction[b, n] - patch) ** 2).sum() / len(patch) / removed
                gradient[b, n] = 2 * (prediction[b, n] - patch) / len(patch) / removed
    return total, gradient


@pytest.mark.parametrize("normalize", [True, False])
def test_value_and_gradient_equal_the_papers_formula(normalize):
    prediction, target, mask = draw()
    prediction.requires_grad_()
    loss = mae_loss(prediction, target, mask, normalize=normalize)
    loss.backward()
    value, gradient = published(prediction.detach().numpy(), target.numpy(), mask.numpy(), normalize)
    assert loss.item() == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(prediction.grad.numpy(), gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("normalize", [True, False])
def test_gradients_in_prediction_and_target_equal_finite_differences(normalize):
    prediction, target, mask = draw(patches=4, values=5, batch=2)
    assert torch.autograd.gradcheck(
        lambda p, t: mae_loss(p, t, mask, normalize=normalize), (prediction.requires_grad_(), target.requires_grad_()), atol=1e-6
    )


@pytest.mark.parametrize("normalize", [True, False])
def test_visible_patches_change_neither_value_nor_gradient(normalize):
    prediction, target, mask = draw()
    prediction.requires_grad_()
    target.requires_grad_()
    loss = mae_loss(prediction, target, mask, normalize=normalize)
    by_prediction, by_target = torch.autograd.grad(loss, [prediction, target])
    assert by_prediction[~mask].abs().max() == 0
    assert by_target[~mask].abs().max() == 0
    assert by_prediction[mask].abs().min() > 0
    changed_prediction, changed_target = prediction.detach().clone(), target.detach().clone()
    changed_prediction[~mask] = 1e6
    changed_target[~mask] = float("nan")
    assert mae_loss(changed_prediction, changed_target, mask, normalize=normalize) == loss


@pytest.mark.parametrize("normalize", [True, False])
def test_value_and_gradient_equal_transformers_vitmae(normalize):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    decoder = {"decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2, "decoder_intermediate_size": 16}
    config = transformers.ViTMAEConfig(image_size=12, patch_size=4, num_channels=3, norm_pix_loss=normalize, **size, **decoder)
    image = torch.randn(2, 3, 12, 12)
    reference = transformers.ViTMAEForPreTraining(config)(image)
    loss = mae_loss(reference.logits, patchify(image, (4, 4)), reference.mask.bool(), normalize=normalize)
    torch.testing.assert_close(loss, reference.loss)
    (theirs,) = torch.autograd.grad(reference.loss, reference.logits, retain_graph=True)
    (ours,) = torch.autograd.grad(loss, reference.logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)


def test_a_perfect_prediction_costs_nothing_and_a_normalised_mean_prediction_costs_the_unbiased_share():
    _, target, mask = draw()
    assert mae_loss(target, target, mask, normalize=False) == 0
    # Predicting each patch's mean, 0 when normalised, leaves the biased variance over the unbiased one: (P - 1) / P = 7 / 8.
    assert mae_loss(torch.zeros_like(target), target, mask).item() == pytest.approx(7 / 8, abs=1e-6)


def test_a_flat_patch_stays_finite_and_half_precision_is_summed_in_float32():
    prediction, target, mask = draw(dtype=torch.float32)
    assert torch.isfinite(mae_loss(prediction, torch.full_like(target, 5.0), mask))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = mae_loss(prediction.bfloat16(), target, mask)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(mae_loss(prediction, target, mask).item(), rel=5e-3)


def test_shapes_that_differ_or_nothing_hidden_are_named():
    prediction, target, mask = draw()
    with pytest.raises(PretrainError, match=r"must be \(B, N, P\) twice and \(B, N\)"):
        mae_loss(prediction[:, :4], target, mask)
    with pytest.raises(PretrainError, match="nothing is hidden"):
        mae_loss(prediction, target, torch.zeros_like(mask))
    with pytest.raises(PretrainError, match="a patch of one value has no spread"):
        mae_loss(prediction[..., :1], target[..., :1], mask)
