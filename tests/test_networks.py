"""The networks: shapes, numbers of parameters, and the law of the noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from trained import layer_outputs

from utils.networks import Autoencoder, Classifier, ConvDecoder, ConvEncoder, GaussianNoise


@pytest.fixture(autouse=True)
def fixed_random_numbers():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def images():
    return torch.randn(20, 1, 28, 28)


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_classifier_names_its_layers_in_order(images):
    layers = layer_outputs(Classifier(), images)
    assert [(name, *layer.shape[1:]) for name, layer in layers.items()] == [
        ("layer 1", 8 * 13 * 13),
        ("layer 2", 16 * 5 * 5),
        ("layer 3", 32),
        ("layer 4", 32),
        ("layer 5", 10),
        ("exp(layer 5)", 10),
    ]


def test_the_classifier_returns_log_probabilities(images):
    layers = layer_outputs(Classifier(), images)
    np.testing.assert_allclose(layers["exp(layer 5)"], np.exp(layers["layer 5"]), rtol=1e-6)
    np.testing.assert_allclose(layers["exp(layer 5)"].sum(axis=1), np.ones(20), rtol=1e-6)


def test_the_forward_pass_is_layer_5(images):
    classifier = Classifier().eval()
    torch.manual_seed(1)
    result = classifier(images).detach().numpy()
    torch.manual_seed(1)
    np.testing.assert_array_equal(result, layer_outputs(classifier, images)["layer 5"])


def test_layer_4_takes_layer_3_and_so_on(images):
    classifier = Classifier(noise=0.0).eval()
    outputs = layer_outputs(classifier, images)
    layers = {name: torch.from_numpy(layer) for name, layer in outputs.items()}
    with torch.no_grad():
        expected = nn.functional.leaky_relu(classifier.blocks[3][2](layers["layer 3"]), 0.01)
        torch.testing.assert_close(layers["layer 4"], expected)
        expected = classifier.blocks[4][1](layers["layer 4"]).log_softmax(dim=1)
        torch.testing.assert_close(layers["layer 5"], expected)


def test_the_classifiers_layers_do_not_depend_on_batches_but_for_the_noise(images):
    classifier = Classifier(noise=0.0)
    whole, parts = (layer_outputs(classifier, images, batch_size=size) for size in (20, 7))
    for name in whole:
        # Sums of at most 72 float32 terms in another order, through five layers.
        np.testing.assert_allclose(whole[name], parts[name], rtol=1e-4, atol=1e-5)


def test_numbers_of_parameters():
    # A convolution of a to b channels has 9ab + b, a linear layer of a to b values ab + b.
    convolutions = (9 * 8 + 8) + (9 * 8 * 16 + 16) + (9 * 16 * 32 + 32)
    assert n_parameters(Classifier()) == convolutions + (32 * 32 + 32) + (32 * 10 + 10)
    encoder = convolutions + (288 * 128 + 128) + (128 * 4 + 4)
    assert n_parameters(ConvEncoder()) == encoder
    decoder = (
        (4 * 128 + 128)
        + (128 * 1568 + 1568)
        + (9 * 32 * 16 + 16)
        + (9 * 16 * 8 + 8)
        + (9 * 8 * 1 + 1)
    )
    assert n_parameters(ConvDecoder()) == decoder
    assert n_parameters(Autoencoder()) == encoder + decoder


@pytest.mark.parametrize("latent", [1, 4, 7])
def test_codes_lie_between_0_and_1_and_decode_to_images(images, latent):
    codes = ConvEncoder(latent=latent)(images)
    assert codes.shape == (20, latent)
    assert ((codes > 0) & (codes < 1)).all()
    assert ConvDecoder(latent=latent)(codes).shape == images.shape
    assert Autoencoder(latent=latent)(images).shape == images.shape


def test_every_convolution_is_behind_dropout_and_noise():
    for block in Classifier(noise=0.2).blocks[:3]:
        dropout, noise, convolution = block[:3]
        assert [type(part) for part in (dropout, noise, convolution)] == [
            nn.Dropout,
            GaussianNoise,
            nn.Conv2d,
        ]
        assert (dropout.p, noise.sigma) == (0.1, 0.2)
    noises = [module for module in Classifier().modules() if isinstance(module, GaussianNoise)]
    assert len(noises) == 5
    assert all(noise.proportional and noise.in_evaluation for noise in noises)


@pytest.mark.parametrize("value", [0.01, -3.0, 100.0])
@pytest.mark.parametrize("training", [True, False])
def test_proportional_noise_follows_the_value(value, training):
    n, sigma = 40_000, 0.1
    noise = GaussianNoise(sigma, proportional=True, in_evaluation=True).train(training)
    relative = (noise(torch.full((n,), value, dtype=torch.float64)) / value - 1) / sigma
    assert_standard_normal(relative)


def test_the_noise_on_the_autoencoders_code_is_proportional_to_the_code():
    # The decoder is left out, so that the code comes back with its noise.
    n, sigma = 20_000, 0.1
    autoencoder = Autoencoder(latent=2, noise=sigma).double()
    autoencoder.encoder = nn.Identity()
    autoencoder.decoder = nn.Identity()
    codes = torch.tensor([0.01, 0.9], dtype=torch.float64).expand(n, 2)
    assert_standard_normal((autoencoder.train()(codes) / codes - 1) / sigma)
    assert torch.equal(autoencoder.eval()(codes), codes)


def test_additive_noise_is_the_same_everywhere():
    n, sigma = 40_000, 0.1
    signal = torch.linspace(-5, 5, n, dtype=torch.float64)
    assert_standard_normal((GaussianNoise(sigma)(signal) - signal) / sigma)


def assert_standard_normal(sample):
    # 4 standard deviations of the mean, the variance and the distribution function at 1.
    n = sample.numel()
    assert abs(sample.mean()) < 4 / math.sqrt(n)
    assert abs(sample.var() - 1) < 4 * math.sqrt(2 / n)
    below = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    assert abs((sample < 1).double().mean() - below) < 4 * math.sqrt(below * (1 - below) / n)


def test_noise_on_two_values_is_independent():
    n = 40_000
    sample = GaussianNoise(1.0)(torch.zeros(n, 2, dtype=torch.float64))
    assert abs(torch.corrcoef(sample.T)[0, 1]) < 4 / math.sqrt(n)


def test_proportional_noise_leaves_zero_alone():
    noise = GaussianNoise(0.5, proportional=True)
    assert torch.equal(noise(torch.zeros(100)), torch.zeros(100))


def test_where_the_noise_is_off_nothing_is_changed_or_drawn():
    x = torch.randn(5)
    before = torch.get_rng_state()
    assert GaussianNoise(0.1).eval()(x) is x
    assert GaussianNoise(0.0, in_evaluation=True)(x) is x
    assert torch.equal(before, torch.get_rng_state())


def test_the_classifier_is_noisy_in_evaluation(images):
    classifier = Classifier(noise=1e-3).eval()
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        drawn.append(layer_outputs(classifier, images))
    first, second = drawn
    for name in first:
        assert (first[name] != second[name]).any()
    quiet = Classifier(noise=0.0).eval()
    assert torch.equal(quiet(images), quiet(images))


def test_the_autoencoder_is_noisy_in_training_only(images):
    autoencoder = Autoencoder(noise=0.1)
    assert torch.equal(autoencoder.eval()(images), autoencoder(images))
    for module in autoencoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    autoencoder.train()
    assert not torch.equal(autoencoder(images), autoencoder(images))


def test_a_negative_sigma_is_refused():
    with pytest.raises(ValueError, match=r"sigma=-0\.1"):
        GaussianNoise(-0.1)
    with pytest.raises(ValueError, match="sigma=nan"):
        GaussianNoise(float("nan"))
