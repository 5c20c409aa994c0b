"""Makes, judges and promotes the models that the filter serves."""

import logging

# At its import it warns of a package without which its CPU kernel is slower; training does not use that kernel.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
