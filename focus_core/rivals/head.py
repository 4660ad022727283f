"""The linear head on frozen features that the rivals explain: multinomial logistic regression.

Its logit is a sum over wavelength groups, as FOCUS's is, but its features are the backbone's own and nothing is
trained through the backbone.
"""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from torch import Tensor, nn

from focus_core.errors import ModelError
from focus_core.model import layout_of
from focus_core.model.backbone import freeze
from focus_core.model.blocks import Vit

logger = logging.getLogger(__name__)

_LADDER = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse strengths of the L2 penalty that are tried, strongest first."""
_MOST_STEPS = 10_000
_FEATURE_TILES = 32


class LinearHead(nn.Module):
    """A linear map of every group's features, summed over groups, on a frozen ViT.

    The logits are contrastive: weights and bias are kept less their means over classes, which leaves the softmax as
    it was, so whatever explains a logit explains the class against the others.

    Parameters
    ----------
    vit
        The frozen backbone; frozen here again.
    weight
        ``(cls, group, dim)``, logit per unit of feature.
    bias
        ``(cls,)``, logit.

    Raises
    ------
    ModelError
        If the backbone is unsupported.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, vit: Vit, weight: Float[Tensor, "cls group dim"], bias: Float[Tensor, " cls"]) -> None:
        super().__init__()
        self.layout = layout_of(vit)
        self.vit = freeze(vit)
        self.register_buffer("weight", weight - weight.mean(dim=0))
        self.register_buffer("bias", bias - bias.mean())

    def evidence(self, images: Float[Tensor, "tile group 3 height width"]) -> Float[Tensor, "tile cls group"]:
        """Return what each group adds to each class's contrastive logit."""
        return torch.einsum("tgd,cgd->tcg", features(self.vit, images), self.weight)

    def logits(self, images: Float[Tensor, "tile group 3 height width"]) -> Float[Tensor, "tile cls"]:
        """Return the contrastive logits, differentiable with respect to the images."""
        return self.evidence(images).sum(dim=-1) + self.bias


def features(vit: Vit, images: Float[Tensor, "tile group 3 height width"]) -> Float[Tensor, "tile group dim"]:
    """Return what the ViT's own head would be given for each group image: class token or pooled patches."""
    pooled = vit.forward_head(vit.forward_features(images.flatten(0, 1)), pre_logits=True)
    by_tile: Tensor = pooled.unflatten(0, images.shape[:2])
    return by_tile


def fit_head(
    vit: Vit,
    images_train: Float[Tensor, "tile group 3 height width"],
    label_train: Int[Tensor, " tile"],
    images_validation: Float[Tensor, "validation group 3 height width"],
    label_validation: Int[Tensor, " validation"],
) -> LinearHead:
    """Fit the head on training tiles weighted by class balance; validation tiles choose the penalty.

    Parameters
    ----------
    vit
        The frozen backbone.
    images_train, images_validation
        Standardised group images of tiles of disjoint plots.
    label_train, label_validation
        Class index of each tile.

    Raises
    ------
    ModelError
        If the backbone is unsupported, or a class has no training tile.
    """
    freeze(vit)
    label = label_train.numpy()
    present = np.unique(label)
    if len(present) < 2 or len(present) != present.max() + 1:
        raise ModelError(
            f"the linear head found training tiles of the classes {present.tolist()}; "
            "it needs two or more, counted from 0 without a gap"
        )
    found = _all_features(vit, images_train)
    scaler = StandardScaler().fit(found.reshape(len(found), -1))
    held_out = _all_features(vit, images_validation)
    scaled, scaled_held_out = (scaler.transform(part.reshape(len(part), -1)) for part in (found, held_out))
    coefficients, intercept = _of_every_class(_best_fit(scaled, label, scaled_held_out, label_validation.numpy()))
    weight = coefficients / scaler.scale_  # the standardisation becomes part of weights and bias
    bias = intercept - weight @ scaler.mean_
    shaped = weight.reshape(len(weight), *found.shape[1:])
    return LinearHead(vit, torch.from_numpy(shaped).float(), torch.from_numpy(bias).float())


@torch.no_grad()
def _all_features(vit: Vit, images: Float[Tensor, "tile group 3 height width"]) -> npt.NDArray[np.float64]:
    return torch.cat([features(vit, part) for part in images.split(_FEATURE_TILES)]).double().numpy()


def _best_fit(
    train: Float[np.ndarray, "tile feature"],
    label: Int[np.ndarray, " tile"],
    held_out: Float[np.ndarray, "validation feature"],
    label_held_out: Int[np.ndarray, " validation"],
) -> LogisticRegression:
    """Fit with each penalty and return the fit of least class-balanced validation loss."""
    weight = compute_sample_weight("balanced", label_held_out)
    fits, losses = [], []
    for strength in _LADDER:
        fit = LogisticRegression(C=strength, class_weight="balanced", max_iter=_MOST_STEPS).fit(train, label)
        probability = fit.predict_proba(held_out)
        losses.append(log_loss(label_held_out, probability, sample_weight=weight, labels=fit.classes_))
        fits.append(fit)
    best = int(np.argmin(losses))
    logger.info("linear head: C = %g, validation loss %.4f", _LADDER[best], losses[best])
    return fits[best]


def _of_every_class(fit: LogisticRegression) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return one row per class; for two classes scikit-learn keeps only the second's logit against the first."""
    if len(fit.classes_) > 2:
        return fit.coef_, fit.intercept_
    sides = np.array([-0.5, 0.5])
    return sides[:, None] * fit.coef_, sides * fit.intercept_
