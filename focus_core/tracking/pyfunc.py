"""The registered model as MLflow serves it: reflectance windows in, logits and explanations out.

MLflow stores this file beside the weights and runs it when the model is loaded; it holds no logic of its own
beyond checking digests, and finds the library installed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.models import Model
from mlflow.pyfunc import PythonModel, PythonModelContext

from focus_core.errors import ModelError
from focus_core.tracking.signature import DIGESTS

_OUTPUTS = ("logit", "probability", "importance", "evidence", "sink_share", "saliency")
_BATCH = 16


class FocusModel(PythonModel):  # type: ignore[misc]  # MLflow ships no types
    """A FOCUS model behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the weights onto their backbone.

        Raises
        ------
        ModelError
            If files are not those that were logged, or the backbone is another.
        """
        from focus_core.cubes.record import digest
        from focus_core.model import load_model, read_spec
        from focus_core.tracking import fetch_backbone

        paths = [Path(path) for path in context.artifacts.values()]
        folder = paths[0].parent
        recorded = set(Model.load(str(folder.parent)).metadata[DIGESTS].values())
        for path in paths:
            found = digest(path)
            if found not in recorded:
                raise ModelError(f"'{path}' has digest {found}, recorded are {sorted(recorded)}; use another version")
        self._model = load_model(folder, fetch_backbone(read_spec(folder).backbone.uri))

    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> dict[str, np.ndarray]:
        """Explain windows ``(window, band, ty, tx)``, float32 in the model's quantity, NaN outside the plot.

        Returns
        -------
        dict
            ``logit, probability (window, cls)``, ``importance, evidence, sink_share (window, cls, group)`` and
            ``saliency (window, cls, group, py, px)``, float32.
        """
        import torch

        found = [
            self._model.explain(part)
            for part in torch.split(torch.from_numpy(np.ascontiguousarray(model_input)), _BATCH)
        ]
        return {name: torch.cat([getattr(part, name) for part in found]).to(torch.float32).numpy() for name in _OUTPUTS}


mlflow.models.set_model(FocusModel())
