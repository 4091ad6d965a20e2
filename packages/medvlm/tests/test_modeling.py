"""The composite behaves as any causal language model, and the image is in it."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from medmodels import create_model
from medvlm import EncoderConfig, VisionLanguageConfig, VisionLanguageError, VisionLanguageModel

IMAGE = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def prompt(model: VisionLanguageModel, *text: int, size: tuple[int, ...] = (16, 16)) -> list[int]:
    return [1, *[3] * model.num_image_tokens(size), *text]


@pytest.mark.parametrize(
    ("arch", "dims", "size", "count"),
    [
        ("vit_tiny", 2, (16, 20), 2 * 3),  # patches of 8, the last one padded
        ("vit_tiny", 3, (8, 16, 16), 1 * 2 * 2),
        ("resunet_tiny", 2, (32, 40), 4 * 5),  # coarsest stride 8
    ],
)
def test_an_image_takes_as_many_places_as_the_encoders_coarsest_grid(make_model, arch, dims, size, count):
    model = make_model(arch, dims)
    assert model.num_image_tokens(size) == count
    assert model.embed_image(torch.randn(2, 1, *size)).shape == (2, count, 32)


def test_image_embeddings_stand_at_the_placeholders_in_order(make_model):
    model = make_model()
    ids = torch.tensor([prompt(model, 10, 11), [1, 10, *[3] * 4, 11]])
    text, image = model.get_input_embeddings()(ids), model.embed_image(IMAGE)
    expected = torch.stack([torch.cat([text[0, :1], image[0], text[0, 5:]]), torch.cat([text[1, :2], image[1], text[1, 6:]])])
    torch.testing.assert_close(model(input_ids=ids, pixel_values=IMAGE).logits, model(inputs_embeds=expected).logits)


def test_loss_of_labels_is_the_decoders_shifted_cross_entropy(make_model):
    model = make_model()
    ids = torch.tensor([prompt(model, 10, 11, 12, 13)] * 2)
    labels = ids.clone()
    labels[:, :6] = -100
    out = model(input_ids=ids, pixel_values=IMAGE, labels=labels)
    by_hand = cross_entropy(out.logits[:, 5:-1].reshape(-1, 300), ids[:, 6:].reshape(-1))
    torch.testing.assert_close(out.loss, by_hand)


@pytest.mark.parametrize("family", ["llama", "gpt2"])  # relative and absolute positions
def test_padding_on_either_side_leaves_the_logits_alone(make_model, family):
    model = make_model(family=family)
    row = prompt(model, 10, 11, 12)
    alone = model(input_ids=torch.tensor([row]), pixel_values=IMAGE[:1]).logits[0]
    n = len(row)
    for left, right in ((3, 0), (0, 3)):
        ids = torch.tensor([[0] * left + row + [0] * right])
        mask = torch.tensor([[0] * left + [1] * n + [0] * right])
        padded = model(input_ids=ids, pixel_values=IMAGE[:1], attention_mask=mask).logits[0, left : left + n]
        torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_generation_with_cache_in_a_left_padded_batch_equals_each_alone_without_cache(make_model, family):
    model = make_model(family=family)
    rows = [prompt(model, 10, 11, 12, 20, 21), prompt(model, 13)]
    length = max(map(len, rows))
    ids = torch.tensor([[0] * (length - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    together = model.generate(input_ids=ids, pixel_values=IMAGE, attention_mask=mask, **options)[:, length:]
    for index, row in enumerate(rows):
        alone = model.generate(
            input_ids=torch.tensor([row]),
            pixel_values=IMAGE[index : index + 1],
            attention_mask=torch.ones(1, len(row)).long(),
            use_cache=False,
            **options,
        )
        assert together[index].tolist() == alone[0, len(row) :].tolist()


def test_beam_search_repeats_the_image_for_its_beams(make_model):
    model = make_model()
    ids = torch.tensor([prompt(model, 10)] * 2)
    options = {"attention_mask": torch.ones_like(ids), "max_new_tokens": 6, "num_beams": 3, "pad_token_id": 0, "eos_token_id": None}
    both = model.generate(input_ids=ids, pixel_values=IMAGE, **options)
    options["attention_mask"] = torch.ones_like(ids[1:])
    assert both[1].tolist() == model.generate(input_ids=ids[1:], pixel_values=IMAGE[1:], **options)[0].tolist()


def test_generation_never_writes_an_image_token(make_model):
    model = make_model()
    with torch.no_grad():  # an untied head that would always say token 3
        head = torch.nn.Linear(32, 300)
        head.weight.zero_()
        head.bias.zero_()
        head.bias[3] = 9.0
    model.set_output_embeddings(head)
    ids = torch.tensor([prompt(model, 10)])
    out = model.generate(input_ids=ids, pixel_values=IMAGE[:1], attention_mask=torch.ones_like(ids), max_new_tokens=4, pad_token_id=0)
    assert 3 not in out[0, ids.shape[1] :].tolist()


def test_save_and_load_keep_every_weight_the_configuration_and_the_logits(make_model, tmp_path):
    model = make_model("resunet_tiny")
    model.save_pretrained(tmp_path)
    again, report = VisionLanguageModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert (again.config.vision_config.arch, again.config.vision_config.spatial_dims) == ("resunet_tiny", 2)
    assert again.config.text_config.hidden_size == 32
    assert again.generation_config.suppress_tokens == [3]
    image = torch.randn(1, 1, 32, 32)
    ids = torch.tensor([prompt(model, 10, 11, size=(32, 32))])
    assert torch.equal(again(input_ids=ids, pixel_values=image).logits, model(input_ids=ids, pixel_values=image).logits)


def test_a_trained_encoder_and_decoder_keep_their_weights(make_model):
    encoder = create_model("vit_tiny", spatial_dims=2, patch_size=8, depth=1)
    decoder = make_model().decoder
    with torch.no_grad():
        for parameter in [*encoder.parameters(), *decoder.parameters()]:
            parameter.fill_(0.25)
    model = VisionLanguageModel(
        VisionLanguageConfig(EncoderConfig("vit_tiny", arch_kwargs={"patch_size": 8, "depth": 1}), decoder.config),
        encoder=encoder,
        decoder=decoder,
    )
    assert all((p == 0.25).all() for p in [*model.backbone.parameters(), *model.decoder.parameters()])
    assert model.connector.expand.weight.std() > 0


def test_the_encoders_own_initialisation_survives():
    # the composite's post_init would otherwise draw every linear layer and convolution of the encoder anew
    torch.manual_seed(0)
    expected = create_model("vit_tiny", spatial_dims=2, patch_size=8, depth=1)
    torch.manual_seed(0)
    model = VisionLanguageModel(VisionLanguageConfig(EncoderConfig("vit_tiny", arch_kwargs={"patch_size": 8, "depth": 1})))
    assert all(torch.equal(a, b) for a, b in zip(expected.parameters(), model.backbone.parameters(), strict=True))


def test_image_tokens_differ_from_one_another_at_the_start(make_model):
    # a connector that starts at rank one would feed the decoder one token many times
    tokens = make_model().embed_image(torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(3)))[0]
    assert torch.linalg.matrix_rank(tokens - tokens.mean(0)) >= 10


def test_lora_trains_its_adapters_and_the_connector_alone(make_model):
    peft = pytest.importorskip("peft")
    model = make_model()
    ids = torch.tensor([prompt(model, 10, 11, 12)] * 2)
    before = model(input_ids=ids, pixel_values=IMAGE).logits
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=["connector"], task_type="CAUSAL_LM")
    wrapped = peft.get_peft_model(model, config)
    torch.testing.assert_close(wrapped(input_ids=ids, pixel_values=IMAGE).logits, before)  # LoRA's B starts at zero
    trained = {name for name, p in wrapped.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name or "connector" in name for name in trained)
    optimiser = torch.optim.SGD([p for p in wrapped.parameters() if p.requires_grad], lr=0.5)
    losses = []
    for _ in range(5):
        loss = wrapped(input_ids=ids, pixel_values=IMAGE, labels=ids).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    out = wrapped.generate(input_ids=ids, pixel_values=IMAGE, attention_mask=torch.ones_like(ids), max_new_tokens=3, pad_token_id=0)
    merged = wrapped.merge_and_unload().generate(
        input_ids=ids, pixel_values=IMAGE, attention_mask=torch.ones_like(ids), max_new_tokens=3, pad_token_id=0
    )
    assert out.tolist() == merged.tolist()


def test_errors_say_what_does_not_fit(make_model):
    model = make_model()
    with pytest.raises(VisionLanguageError, match=r"2 images of 4 tokens do not fit rows with \[1, 1\]"):
        model(input_ids=torch.tensor([[1, 3, 10]] * 2), pixel_values=IMAGE)
    with pytest.raises(VisionLanguageError, match="no pixel_values; give one image a row"):
        model(input_ids=torch.tensor([prompt(model, 10)]))
    with pytest.raises(VisionLanguageError, match="either input_ids or inputs_embeds"):
        model(pixel_values=IMAGE)
    with pytest.raises(VisionLanguageError, match="no connector 'qformer'"):
        VisionLanguageConfig(connector="qformer")
    with pytest.raises(VisionLanguageError, match="outside the decoder's vocabulary of 1024"):
        VisionLanguageConfig(image_token_id=1024)
    with pytest.raises(VisionLanguageError, match="no model_type"):
        VisionLanguageConfig(text_config={"vocab_size": 10})
