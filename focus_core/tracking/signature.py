"""What MLflow is told of a model: which arrays go in and come out, and what it was made for.

Knows a model's description only, neither its weights nor where they are stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from focus_core.model import ModelSpec

DIGESTS = "digests"
"""Key of the files' digests in a logged model's metadata."""


def metadata_of(spec: ModelSpec, digests: dict[str, str]) -> dict[str, Any]:
    """Return the part of the description that a user asks for before loading, and the files' digests."""
    shown = spec.model_dump(
        mode="json",
        include={"wavelength_nm", "groups", "classes", "reference_class", "quantity", "backbone", "simulated"},
    )
    return {**shown, DIGESTS: digests}


def signature_of(spec: ModelSpec) -> Any:
    """Return the signature: any number and size of windows, the model's own bands, named outputs."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    single = np.dtype("float32")
    per_class = (-1, len(spec.classes))
    per_group = (*per_class, len(spec.groups))
    outputs = {
        "logit": per_class,
        "probability": per_class,
        "importance": per_group,
        "evidence": per_group,
        "sink_share": per_group,
        "saliency": (*per_group, -1, -1),
    }
    return ModelSignature(
        inputs=Schema([TensorSpec(single, (-1, len(spec.wavelength_nm), -1, -1))]),
        outputs=Schema([TensorSpec(single, shape, name) for name, shape in outputs.items()]),
    )
