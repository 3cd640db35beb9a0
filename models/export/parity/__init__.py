"""Random pipelines of the official classes at toy widths, and the clips that diffusers makes with them."""
