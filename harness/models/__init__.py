"""Language models: finding, describing and loading them."""

import os

# transformers reads this once, when it is imported. Where the library `kernels` is installed, it would fetch code from the Hub unasked.
os.environ.setdefault("USE_HUB_KERNELS", "NO")
