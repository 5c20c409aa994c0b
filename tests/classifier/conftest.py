from tests.training.conftest import tiny_base, tiny_bases, tiny_model, tiny_splits

__all__ = ["tiny_base", "tiny_bases", "tiny_model", "tiny_splits"]
