"""The model as MLflow serves it, loaded from this code and never unpickled.

It answers what `smsift classify --json` answers, one object a text. The model folder and smsift's own code come with
the MLflow Model; the base's weights do not: they are found as everywhere else (SMSIFT_BASE, the hub's cache, the package
that carries them, the hub).
"""

from dataclasses import asdict
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class SpamFilter(PythonModel):
    """Texts in the column `text` in, one classification each out, in their order.

    The type of the input is the one that lets a server take all of MLflow's layouts: a plain list of texts, too.
    """

    def load_context(self, context: PythonModelContext) -> None:
        from consumer.classifier import load
        from consumer.settings import load_settings

        settings = load_settings()
        folder = context.artifacts["model"]
        self._model = load(folder, base=settings.base, device=settings.device, threads=settings.threads or None)

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - the signature is MLflow's
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        texts = [str(text) for text in model_input["text"]]
        found = self._model.classify(texts)
        return [
            {"text": text, **asdict(each), "signals": list(each.signals)}
            for text, each in zip(texts, found, strict=True)
        ]


set_model(SpamFilter())
