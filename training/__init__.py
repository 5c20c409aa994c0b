"""Makes, judges and promotes the models that the filter serves."""
