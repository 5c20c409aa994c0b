from tests.training.conftest import tiny_base, tiny_model

__all__ = ["tiny_base", "tiny_model"]
